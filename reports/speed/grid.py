"""An exact grid of lengths and depths: `fathom run` beside llama.cpp's server with its prompt cache driven as well as it can be.

    cargo build --release
    python3 reports/speed/grid.py --model MODEL.gguf [--lengths 1k,2k,4k] [--depths 6] [--questions 2] > table.md

The server (the Python package xllamacpp, one slot) gets the very prompts of the run as token ids, sorted, so that each has as
much as possible in common with the one before: what a prompt shares with its neighbour is not evaluated again, and no other
order would leave less. Tokens worked are what the server says it evaluated, and what a tree of the prompts has. A second line is
of a server that is asked in the run's order without a cache. Needs tests/golden/requirements.txt.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUITE = """format = 1
name = "grid"
description = "One needle by length and depth"
seed = 42
lengths = [{lengths}]
depths = [{depths}]
depth-mode = "each"
method = "generate"

[[task]]
kind = "needle"
name = "single"
questions = {questions}
"""


def ours(args, folder):
    """Seconds of the run, and its prompts by id with the tokens of their answers."""
    lengths = ", ".join(f'"{n}"' for n in args.lengths.split(","))
    depths = ", ".join(str(round(i / (args.depths - 1), 4)) for i in range(args.depths))
    suite = folder / "grid.toml"
    suite.write_text(SUITE.format(lengths=lengths, depths=depths, questions=args.questions))
    command = [args.fathom, "run", "--model", args.model, "--suite", suite, "--out", folder / "run", "--no-speed", "--raw",
               "--precision", args.precision, "--threads", str(args.threads)]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    lines = lambda name: [json.loads(line) for line in (folder / "run" / name).read_text().splitlines()]
    answers = {a["item"]: len(a["ids"]) for a in lines("answers.jsonl")}
    items = lines("items.jsonl")
    return seconds, [(i["prompt"]["ids"], answers[i["item"]["id"]]) for i in items]


def ask(url, ids, n, cache):
    body = {"prompt": ids, "n_predict": n, "cache_prompt": cache, "temperature": 0, "ignore_eos": True, "id_slot": 0}
    request = urllib.request.Request(f"{url}/completion", json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=3600))["timings"]["prompt_n"]


def theirs(url, prompts, cache):
    """Seconds, and the tokens of prompts that were evaluated."""
    start = time.perf_counter()
    worked = sum(ask(url, ids, n, cache) for ids, n in prompts)
    return time.perf_counter() - start, worked


def tree(prompts):
    """Tokens of the tree that the prompts make."""
    worked, last = 0, []
    for ids, _ in sorted(prompts):
        same = next((i for i, (a, b) in enumerate(zip(last, ids)) if a != b), min(len(last), len(ids)))
        worked, last = worked + len(ids) - same, ids
    return worked


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--model", required=True)
    args.add_argument("--fathom", default=ROOT / "target/release/fathom", type=Path)
    args.add_argument("--lengths", default="1k,2k,4k")
    args.add_argument("--depths", default=6, type=int)
    args.add_argument("--questions", default=2, type=int)
    args.add_argument("--precision", default="f32")
    args.add_argument("--threads", default=os.cpu_count(), type=int)
    args = args.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        seconds, prompts = ours(args, Path(folder))
    total, answered = sum(len(ids) for ids, _ in prompts), sum(n for _, n in prompts)
    context = max(len(ids) + n for ids, n in prompts) + 64
    serve = [sys.executable, ROOT / "tests/audit/llama_server.py", args.model, "0", f"n_ctx={context}", f"threads={args.threads}"]
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        url = re.search(r"http\S+", server.stdout.readline())[0]
        cached = theirs(url, sorted(prompts), True)
        plain = theirs(url, prompts, False)
    finally:
        server.terminate()
        server.wait()

    print(f"{len(prompts)} prompts of {args.lengths} tokens at {args.depths} depths, {total} tokens; {answered} tokens of answers.\n")
    print("| engine | tokens of prompts worked | seconds | fathom is faster by | of that, tokens |\n|---|---|---|---|---|")
    print(f"| fathom, {args.precision} | {tree(prompts)} | {seconds:.1f} | | |")
    for name, (s, worked) in [("llama.cpp's server, sorted, with its cache", cached), ("the same, no cache", plain)]:
        print(f"| {name} | {worked} | {s:.1f} | {s / seconds:.2f} x | {worked / tree(prompts):.2f} x |")


if __name__ == "__main__":
    main()
