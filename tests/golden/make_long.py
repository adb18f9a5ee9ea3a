"""SmolLM2 and Gemma 3 after 100, 2 000 and 8 000 tokens of Moby Dick, by llama.cpp: greedy text and log probabilities.

    python make_long.py CACHE [NAME ...]     CACHE as tests/fetch_models.py leaves it

As in make_smollm2.py llama.cpp runs the weights unpacked to float32 (a scratch file), the reference, and as packed, which
rounds activations to 8 bits; how far that takes it is measured and written down, as the tolerance for it.
long_NAME.json holds of the last 16 positions before each length the 8 most probable tokens and their log probabilities,
and of each of the 24 tokens of the greedy text after each length its log probability and its lead over the second. Where the
lead is small, the token is a matter of rounding; so a test is to read these tokens, and not go its own way.
"""

import hashlib
import json
import re
import sys
import tempfile
from pathlib import Path

import numpy as np

from llamacpp import VERSION, Model
from make_smollm2 import log_softmax, unpack

HERE = Path(__file__).parent
MODELS = {"smollm2": "smollm2-135m-instruct-q4_1.gguf", "gemma3": "gemma-3-270m-q4_k_m.gguf"}
LENGTHS = [100, 2000, 8000]
# The packed weights are asked at the first two: what rounding does, it has done by then.
N_PACKED = 2
ROWS, TOP, N_GREEDY = 16, 8, 24
# Where the book's text begins to be a story; before it stand a table of contents and extracts.
SKIP = 40_000


def run(path, tokens, lengths):
    """Of each length: [ROWS, n_vocab] log probabilities, and of the greedy text ids, log probabilities and leads."""
    model = Model(path, n_ctx=8192, n_batch=512, threads=1)
    out = []
    for n in lengths:
        logits = model.logits_at(tokens[:n], range(n - ROWS, n))
        greedy = ids, _, leads = model.greedy_after(logits[-1], n, N_GREEDY)
        assert len(ids) == N_GREEDY, "an end among the greedy text's tokens"
        print(f"  {n} tokens: {model.text(ids).decode(errors='replace')!r}, smallest lead {min(leads):.4f}", flush=True)
        out.append((log_softmax(logits), *greedy))
    return out


def main():
    cache, only = Path(sys.argv[1]), sys.argv[2:]
    text = (cache / "moby-dick.txt").read_bytes()
    for name, file in MODELS.items():
        if only and name not in only:
            continue
        vocab = Model(cache / file, vocab_only=True)
        # A BOS where the model's file asks for one.
        bos = [vocab.lib.llama_vocab_bos(vocab.vocab)] if vocab.lib.llama_vocab_get_add_bos(vocab.vocab) else []
        excerpt = text[SKIP: SKIP + 60_000].decode(errors="ignore")
        tokens = (bos + vocab.tokenize(excerpt))[: LENGTHS[-1]]
        assert len(tokens) == LENGTHS[-1]
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            unpack(cache / file, Path(scratch) / file)
            print(name, "unpacked", flush=True)
            exact = run(Path(scratch) / file, tokens, LENGTHS)
        print(name, "packed", flush=True)
        packed = run(cache / file, tokens, LENGTHS[:N_PACKED])
        rows = []
        for i, (n, (right, ids, logp, leads)) in enumerate(zip(LENGTHS, exact)):
            top = np.argsort(-right, -1, kind="stable")[:, :TOP]
            take = lambda x: [[round(float(v), 5) for v in row] for row in np.take_along_axis(x, top, -1)]
            row = dict(tokens=n, greedy=ids, greedy_logp=[round(x, 5) for x in logp], greedy_lead=[round(x, 5) for x in leads],
                       top_ids=top.tolist(), top_logp=take(right))
            if i < N_PACKED:
                rounded, other, *_ = packed[i]
                off = np.abs(np.take_along_axis(right - rounded, top, -1))
                agree = next((i for i, (a, b) in enumerate(zip(ids, other)) if a != b), N_GREEDY)
                print(f"  {n}: packed off by {off.mean():.4f} on average, {off.max():.4f} at most; agrees for {agree} tokens", flush=True)
                row |= dict(packed_logp=take(rounded), packed_agrees_for=agree,
                            packed_off=dict(mean=round(float(off.mean()), 4), max=round(float(off.max()), 4)))
            rows.append(row)
        out = dict(made_by=VERSION, file=file, text=dict(file="moby-dick.txt", skip=SKIP, bytes=60_000), bos=bos,
                   tokens_sha256=hashlib.sha256(np.array(tokens, dtype="<u4").tobytes()).hexdigest(), lengths=rows)
        squeezed = re.sub(r"\[[\s\d,.e-]+\]", lambda m: re.sub(r"\s+", " ", m[0]), json.dumps(out, indent=1))
        (HERE / f"long_{name}.json").write_text(squeezed + "\n")


if __name__ == "__main__":
    main()
