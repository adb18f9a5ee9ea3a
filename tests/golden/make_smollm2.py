"""SmolLM2-135M-Instruct (Q4_1): transformers in float32 on the unpacked weights, and llama.cpp on the packed ones.

    python make_smollm2.py CACHE     CACHE as tests/fetch_models.py leaves it

The first is exact arithmetic on the same numbers and a tight reference. The second is what people run, but it rounds
activations to 8 bits beside 4-bit weights; how far that takes it from the first is measured and written down. So llama.cpp
also runs the unpacked weights (a scratch file): it then agrees with transformers, and its greedy text is a tight reference.
smollm2.json: greedy text, and log probabilities of a given text, of both.
smollm2.safetensors: for every position of that text the 16 largest logits, the logit of the token that follows, and logsumexp.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from llamacpp import VERSION, Model

HERE = Path(__file__).parent
FILE = "smollm2-135m-instruct-q4_1.gguf"
TOP = 16
N_GREEDY = 64

TEXT = """The ferry left the harbour an hour late, and nobody on board seemed to mind. A clerk counted the passengers \
twice: 42 the first time, 43 the second. "One of you," he said, "was not here before." An old woman in the front row \
laughed and pointed at the child asleep under her coat.

By noon the fog had lifted. The captain, who had crossed these waters since 1987, told anyone who asked that the island \
had moved; it used to lie further east, he said, and the charts had never been corrected. His mate wrote the remark into \
the log in small, careful letters, then added a question mark.

They landed at the wrong pier. The post was carried up the hill on foot, the piano stayed on deck under a sheet, and in \
the only hotel the lamps were lit although it was still day. Nobody had seen the surveyor whom they had come to fetch."""

PROMPTS = [
    "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):\n    \"\"\"Returns the n-th Fibonacci number.\"\"\"\n",
    "The planets of the solar system, in order of their distance from the sun, are:\n1. Mercury\n2.",
    "Water boils at 100 degrees Celsius because",
]


def log_softmax(x):
    x = x.astype(np.float64)
    m = x.max(-1, keepdims=True)
    return x - m - np.log(np.exp(x - m).sum(-1, keepdims=True))


def unpack(packed, out):
    """The same GGUF file with every tensor in F32."""
    reader = gguf.GGUFReader(packed)
    writer = gguf.GGUFWriter(out, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            writer.add_key_value(key, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
    for t in reader.tensors:
        writer.add_tensor(t.name, gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    cache = Path(sys.argv[1])
    torch.set_num_threads(2)
    exact = AutoModelForCausalLM.from_pretrained(cache, gguf_file=FILE, dtype=torch.float32, attn_implementation="eager").eval()
    packed = Model(cache / FILE, n_ctx=512, kv="f32", threads=2)
    with tempfile.TemporaryDirectory() as scratch:
        unpack(cache / FILE, Path(scratch) / FILE)
        unpacked = Model(Path(scratch) / FILE, n_ctx=512, kv="f32", threads=2)

    tokens = packed.tokenize(TEXT)
    with torch.no_grad():
        logits = exact(torch.tensor([tokens]), use_cache=False).logits[0].numpy()
    std = float(logits.std())
    rows, nxt = np.arange(len(tokens) - 1), np.array(tokens[1:])
    exact_logp = log_softmax(logits)[rows, nxt]
    second = unpacked.logits(tokens)
    apart = float(np.abs(second - logits).max() / std)
    rounded = packed.logits(tokens)
    packed_logp = log_softmax(rounded)[rows, nxt]
    off = np.abs(packed_logp - exact_logp)
    print(f"{len(tokens)} tokens, logits' std {std:.3f}; llama.cpp with unpacked weights: logits off by {apart:.1e} std at most; packed: by "
          f"{np.abs(rounded - logits).max() / std:.3f}, log probabilities by {off.mean():.4f} on average, {off.max():.4f} at most, "
          f"same argmax {float((rounded.argmax(-1) == logits.argmax(-1)).mean()):.3f}", flush=True)
    assert apart < 1e-4 and (second.argmax(-1) == logits.argmax(-1)).all()

    greedy = []
    for prompt in PROMPTS:
        ids = packed.tokenize(prompt)
        out, logp, margin = unpacked.greedy(ids, N_GREEDY)
        other, _, _ = packed.greedy(ids, N_GREEDY)
        agree = next((i for i, (a, b) in enumerate(zip(out, other)) if a != b), min(len(out), len(other)))
        with torch.no_grad():
            forced = exact(torch.tensor([ids + out]), use_cache=False).logits[0, len(ids) - 1: len(ids) - 1 + len(out)].numpy()
        assert (forced.argmax(-1) == np.array(out)).all()
        text = unpacked.text(out).decode(errors="replace")
        print(f"{len(out)} tokens, smallest margin {min(margin):.4f}, packed agrees for {agree}: {prompt!r} {text!r}", flush=True)
        greedy.append(dict(prompt=prompt, prompt_ids=ids, ids=out, text=text, logp=[round(x, 5) for x in logp], ended=len(out) < N_GREEDY,
                           smallest_margin=round(min(margin), 5), packed_agrees_for=agree))

    top = np.argsort(-logits, -1, kind="stable")[:, :TOP]
    following = np.array(tokens[1:] + [tokens[0]])
    save_file({
        "tokens": torch.tensor(tokens, dtype=torch.int32),
        "top_ids": torch.tensor(top, dtype=torch.int32),
        "top_logits": torch.tensor(np.take_along_axis(logits, top, -1)),
        "next_logit": torch.tensor(logits[np.arange(len(tokens)), following]),
        "logsumexp": torch.logsumexp(torch.tensor(logits).double(), -1).float(),
        "std": torch.tensor([std], dtype=torch.float32),
    }, HERE / "smollm2.safetensors")
    out = dict(
        made_by=VERSION, file=FILE, text=TEXT, tokens=tokens,
        logp=[round(float(x), 5) for x in exact_logp], packed_logp=[round(float(x), 5) for x in packed_logp],
        packed_logp_off=dict(mean=round(float(off.mean()), 5), max=round(float(off.max()), 5)), greedy=greedy)
    text = re.sub(r"\[[\s\d,.e-]+\]", lambda m: re.sub(r"\s+", " ", m[0]), json.dumps(out, indent=1))
    (HERE / "smollm2.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
