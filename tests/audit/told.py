"""What a program says of a probe of a reference pack, as `fathom audit --record` writes it: for `speak.py` and `speak_mlx.py`."""

import time

import numpy as np


def told(probe: dict, tokens: list[int], places: list[int | None], logs: np.ndarray, begun: float) -> dict:
    """The prompt's log probabilities, then those of an answer's places as far as it follows the reference's.

    `tokens` is the prompt as it was read, `places` where each of its tokens stands in the one that was sent; `logs` [tokens and path,
    vocabulary] are log probabilities after each token of the prompt and of the reference's answer, which took since `begun`. Behind a token that is not the
    reference's stands another text, so a greedy answer tells no more than this.
    """
    n = len(tokens)
    values = [[place - 1, float(logs[i, token])] for i, (place, token) in enumerate(zip(places[1:], tokens[1:])) if place]
    choices = []
    start = len(probe["ids"]) - 1
    for j, (tail, expected) in enumerate(zip(probe["tail"], probe["path"])):
        row = logs[n - 1 + j]
        values += [[start + k, float(row[token])] for k, token in enumerate(tail)]
        best = int(row.argmax())
        choices.append(tail.index(best) if best in tail else None)
        if best != expected:
            break
        start += len(tail)
    return {"probe": probe["name"], "values": values, "choices": choices, "seconds": time.perf_counter() - begun}
