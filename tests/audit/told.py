"""What a program says of a probe, as `fathom audit --record` writes it: for `speak.py` and `speak_mlx.py`."""

import json
import time
from pathlib import Path

import numpy as np
from safetensors import safe_open
from tokenizers import Tokenizer

# Tokens of an answer that is sampled.
LENGTH = 64


def draws(truth: str) -> int:
    """Answers to a probe: what is sound has to be looked at most."""
    return 24 if truth == "sound" else 8


def probes(path: Path) -> list[dict]:
    """Those of a reference pack; or of a file of JSON lines that `certify --probes-to` writes, whose answers are sampled."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with safe_open(path, "np") as file:
        return json.loads(file.metadata()["fathom_audit_pack"])["table"]["probes"]


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


def sampled(probe: dict, answers: list[list[int]], folder: Path, begun: float) -> dict:
    """Texts of answers that were drawn, without what comes after their end."""
    ends = probe["ends"]
    cut = [answer[: next((i for i, token in enumerate(answer) if token in ends), len(answer))] for answer in answers]
    texts = Tokenizer.from_file(str(folder / "tokenizer.json")).decode_batch(cut, skip_special_tokens=True)
    return {"probe": probe["name"], "texts": texts, "seconds": (time.perf_counter() - begun) / len(answers)}
