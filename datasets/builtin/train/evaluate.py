"""Measures a checkpoint on keys, names, wordings and text that training never showed.

Usage: python evaluate.py WORK CHECKPOINT [--items 100] [--long-items 33] [--only NAME ..] [--json FILE]
An item is right when the arg-max of every token of the answer is right, given the ones before it: what greedy decoding would give.
Intervals are Wilson's, 95 %. Weights are rounded to bfloat16 first, as they are exported.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch

from data import Item, Source, needle_item, state_item
from model import Config, Llama4
from words import WORDINGS

MODES = {
    "as trained": {},
    "no temperature": {"temperature": False},
    "full attention": {"chunked": False},
}


def wilson(right: int, items: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z, p = 1.959964, right / items
    centre = (p + z * z / (2 * items)) / (1 + z * z / items)
    half = z / (1 + z * z / items) * math.sqrt(p * (1 - p) / items + z * z / (4 * items * items))
    return centre - half, centre + half


def load(checkpoint: Path) -> Llama4:
    """The model with weights rounded to bfloat16, arithmetic in float32."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model = Llama4(Config(**state["config"])).eval()
    model.load_state_dict({name: weight.bfloat16().float() for name, weight in state["model"].items()})
    return model


@torch.no_grad()
def right_tokens(model: Llama4, item: Item) -> list[bool]:
    """For each token of the answer: is it the arg-max."""
    ids = torch.tensor([item.prompt + item.answer[:-1]])
    guess = model.lm_head(model(ids, last=len(item.answer))[0][0]).argmax(-1)
    return (guess == torch.tensor(item.answer)).tolist()


def cell(model: Llama4, work: Path, items: int, mode: str, make: Callable[[Source, int], Item]) -> dict:
    """One figure: share of right answers over `items` items, and of right tokens."""
    source = Source(work, seed=7, held_out=True)
    for name in ("temperature", "chunked"):
        setattr(model.config, name, MODES[mode].get(name, True))
    right = tokens = all_tokens = 0
    for i in range(items):
        marks = right_tokens(model, make(source, i))
        right, tokens, all_tokens = right + all(marks), tokens + sum(marks), all_tokens + len(marks)
    low, high = wilson(right, items)
    return {"right": right / items, "low": low, "high": high, "tokens": tokens / all_tokens, "items": items}


def depth(i: int) -> float:
    """0, 0.1 .. 1, 0, .."""
    return i % 11 / 10


def lengths_table(needles: int, lengths: list[int], modes: list[str], **how: str) -> list[tuple]:
    """Rows (mode), columns (length) of one needle task."""
    return [
        (mode, str(length), lambda s, i, length=length: needle_item(s, length, depth(i), needles, **how))
        for mode in modes
        for length in lengths
    ]


def tables() -> dict[str, list[tuple]]:
    """Name of a table to its cells: row (its mode, or a label with the mode as trained), column, how to make an item."""
    plain, all_modes = ["as trained", "no temperature"], list(MODES)
    held = WORDINGS["question_heldout"]
    result = {
        "1 needle": lengths_table(1, [256, 1024, 2048, 8192], all_modes) + lengths_table(1, [32768], plain),
        "4 needles": lengths_table(4, [256, 1024, 2048, 8192, 32768], plain),
        "16 needles": lengths_table(16, [1024, 2048, 8192, 32768], plain),
        "64 needles": lengths_table(64, [2048, 8192, 32768], plain),
        "4 needles, words": lengths_table(4, [1024, 4096], plain[:1], kind="word"),
        "4 needles in generated prose": lengths_table(4, [1024, 4096], plain[:1], filler="prose"),
        "4 needles in the novel": lengths_table(4, [1024, 4096], plain[:1], filler="novel"),
    }
    for i, wording in enumerate(held):
        result[f"4 needles, held-out wording {i + 1}"] = lengths_table(4, [1024, 4096], plain[:1], wording=wording)
    for label, apart, unseen in [
        ("never changed", None, False),
        ("never changed, held-out wording", None, True),
        ("changed 20 tokens before", 20, False),
        ("changed 300 tokens before", 300, False),
    ]:
        result[f"state of one of 8 people, {label}"] = [
            ("as trained", str(length), lambda s, i, n=length, a=apart, u=unseen: state_item(s, n, 8, a, u))
            for length in (600, 2048)
        ]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--long-items", type=int, default=33, help="a cell from 8 192 tokens up, where each is dear")
    parser.add_argument("--only", nargs="*", default=[], help="tables whose name begins so")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, record = load(args.checkpoint), {}
    for name, cells in tables().items():
        if args.only and not name.startswith(tuple(args.only)):
            continue
        print(f"\n{name}", flush=True)
        for row, column, make in cells:
            began = time.time()
            items = args.items if int(column) < 8192 else args.long_items
            figure = cell(model, args.work, items, row, make)
            record.setdefault(name, {}).setdefault(row, {})[column] = figure
            print(
                f"  {row:15} {column:>6}: {figure['right']:.2f} [{figure['low']:.2f}, {figure['high']:.2f}] "
                f"tokens {figure['tokens']:.3f} ({time.time() - began:.0f} s)",
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
