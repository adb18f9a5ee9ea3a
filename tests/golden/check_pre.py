#!/usr/bin/env python3
"""Pre-tokenizers by name: fathom's ids against llama.cpp's, with one vocabulary under other names.

    python check_pre.py FATHOM MODEL.gguf NAME ..    the command; a GGUF file with a byte-level vocabulary (SmolLM2)

The file is written once a name, with nothing changed but `tokenizer.ggml.pre`; `nasty.txt`, whole and line by line. Nothing is committed.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf

from llamacpp import Model

HERE = Path(__file__).parent


def renamed(source, name, out):
    writer = gguf.GGUFWriter(out, "llama")
    for field in source.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            value = name if field.name == "tokenizer.ggml.pre" else field.contents()
            writer.add_key_value(field.name, value, field.types[0], sub_type=sub)
    for t in source.tensors:
        writer.add_tensor(t.name, t.data, raw_dtype=t.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    fathom, source = Path(sys.argv[1]).resolve(), gguf.GGUFReader(sys.argv[2])
    nasty = (HERE / "nasty.txt").read_bytes().decode()
    off = []
    with tempfile.TemporaryDirectory() as scratch:
        out, file = Path(scratch) / "model.gguf", Path(scratch) / "text.txt"
        for name in sys.argv[3:]:
            renamed(source, name, out)
            model = Model(out, vocab_only=True)
            for i, text in enumerate([nasty, *nasty.split("\n")]):
                file.write_bytes(text.encode())
                args = [fathom, "tokenize", "--model", out, "--file", file, "--json"]
                ids = json.loads(subprocess.run(args, check=True, capture_output=True).stdout)
                if ids != model.tokenize(text):
                    off.append(f"{name}: text {i}")
            print(f"{name}: {len(off)} texts off so far")
    sys.exit("\n".join(off))


if __name__ == "__main__":
    main()
