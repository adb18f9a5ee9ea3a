"""What rounder arithmetic costs in the logits: fathom's integer products beside llama.cpp's, each against f32 of its own.

    cargo build --release
    python3 reports/speed/divergence.py --model SmolLM2-135M-Q4_1=model.gguf --text FILE > table.md

Both get the same ids. fathom's reference is `fathom logits record`, its candidates `--precision int16` and `int8`. llama.cpp's reference
is llama.cpp itself on a copy of the model whose weights the Python package gguf has unpacked to f32; its candidate is the model
as it is, activations rounded to 8 bits in blocks of 32 or 256. Keys and values are f32 and flash attention is off.
`fathom logits check` measures both. The last line of each model compares the two references: what is left when nothing is rounded.
Needs tests/golden/requirements.txt.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/golden"))


def in_f32(path, out):
    """A copy of a GGUF file whose tensors are all F32."""
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(out, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        sub = field.types[1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], sub_type=sub)
    for t in reader.tensors:
        writer.add_tensor(t.name, gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llamacpp_logits(path, ids, out, threads):
    import llamacpp

    logits = llamacpp.Model(path, n_ctx=len(ids), kv="f32", threads=threads).logits(ids)
    save_file({"tokens": np.array(ids, np.int32), "logits": logits}, out)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--model", action="append", required=True, metavar="NAME=FILE")
    args.add_argument("--text", required=True, type=Path)
    args.add_argument("--tokens", default=512, type=int)
    args.add_argument("--fathom", default=ROOT / "target/release/fathom", type=Path)
    args.add_argument("--threads", default=os.cpu_count(), type=int)
    args = args.parse_args()

    def fathom(*command):
        found = subprocess.run([args.fathom, *command], capture_output=True, text=True)
        assert found.returncode in (0, 1), found.stderr
        return found.stdout

    def divergence(reference, *candidate):
        found = json.loads(fathom("logits", "check", "--reference", reference, *candidate, "--json"))["all"]
        kl = found["kl"]
        return f"{kl['mean']:.2e} | {kl['low']:.2e} to {kl['high']:.2e} | {100 * found['top1']['mean']:.2f} %"

    print("| model | tokens | arithmetic | KL, nats a token | 95 % | same most probable token |\n|---|---|---|---|---|---|")
    for entry in args.model:
        name, path = entry.split("=", 1)
        with tempfile.TemporaryDirectory() as folder:
            at = lambda name: str(Path(folder) / name)
            ids = json.loads(fathom("tokenize", "--model", path, "--file", args.text, "--json"))[: args.tokens]
            Path(at("tokens.json")).write_text(json.dumps(ids))
            fathom("logits", "record", "--model", path, "--tokens", at("tokens.json"), "--out", at("f32.safetensors"))
            llamacpp_logits(path, ids, at("peer.safetensors"), args.threads)
            in_f32(path, at("f32.gguf"))
            llamacpp_logits(at("f32.gguf"), ids, at("peer_f32.safetensors"), args.threads)
            for what, *compared in [
                *((f"fathom, {p}", at("f32.safetensors"), "--model", path, "--precision", p) for p in ("int16", "int8")),
                ("llama.cpp, as it is", at("peer_f32.safetensors"), "--candidate", at("peer.safetensors")),
                ("llama.cpp in f32 beside fathom in f32", at("f32.safetensors"), "--candidate", at("peer_f32.safetensors")),
            ]:
                print(f"| {name} | {len(ids)} | {what} | {divergence(*compared)} |", flush=True)


if __name__ == "__main__":
    main()
