"""Word lists, wordings and the rule that holds keys and names out of training.

The lists are data (`../words.json`, `../wordings.json`), so that the evaluation harness reads the same ones.
Run as a program, writes the held-out keys, one a line, to `../heldout_keys.txt`.
"""

import json
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
WORDS = json.loads((HOME / "words.json").read_text(encoding="utf-8"))
WORDINGS = json.loads((HOME / "wordings.json").read_text(encoding="utf-8"))


def fnv1a(text: str) -> int:
    """FNV-1a, 64 bits, of the UTF-8 bytes of `text`."""
    digest = 14695981039346656037
    for byte in text.encode("utf-8"):
        digest = ((digest ^ byte) * 1099511628211) % 2**64
    return digest


def is_held_out(text: str) -> bool:
    """True for the tenth of all keys and names that training never shows."""
    return fnv1a(text) % 10 == 0


def keys(held_out: bool) -> list[str]:
    """All needle keys ("adjective noun") on one side of the split."""
    pairs = (f"{a} {n}" for a in WORDS["adjectives"] for n in WORDS["nouns"])
    return [pair for pair in pairs if is_held_out(pair) == held_out]


def names(held_out: bool) -> list[str]:
    """All full names ("Given Family") on one side of the split."""
    pairs = (f"{g} {f}" for g in WORDS["given_names"] for f in WORDS["family_names"])
    return [pair for pair in pairs if is_held_out(pair) == held_out]


if __name__ == "__main__":
    (HOME / "heldout_keys.txt").write_text("\n".join(keys(held_out=True)) + "\n", encoding="utf-8")
