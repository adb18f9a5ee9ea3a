#!/usr/bin/env python3
"""Files of `fathom quantize` in llama.cpp: they load, and the logits are fathom's.

    python check_quantize.py FATHOM LLAMA_CPP    the command; a llama.cpp source tree (as for make_gguf.py)

A random Llama with rows of 256 and 512 values is converted, quantised to every type, and evaluated by both. llama.cpp rounds
activations beside quantised weights, so it is asked twice: for the file itself, and for the same values as F32 (unpacked by the gguf
package), where it must agree to 2e-4 of the logits' standard deviation. Nothing is committed.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from transformers import LlamaConfig

from llamacpp import Model
from make_checkpoints import build, save_checkpoint
from make_gguf import convert

TYPES = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q6_K"]
HERE = Path(__file__).parent


def unpacked(source, out):
    """The file with every quantised tensor as F32."""
    import gguf  # the source tree's, whose path `convert` adds

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(out, "llama")
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub)
    for t in reader.tensors:
        values = gguf.dequantize(t.data, t.tensor_type).astype(np.float32)
        writer.add_tensor(t.name, values.reshape(list(reversed(t.shape.tolist()))))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    fathom, llama_cpp = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        folder = scratch / "model"
        folder.mkdir()
        config = LlamaConfig(
            vocab_size=272, hidden_size=256, intermediate_size=512, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
            bos_token_id=268, eos_token_id=269, tie_word_embeddings=False, max_position_embeddings=2048)
        save_checkpoint(build(config, 3), folder)
        (folder / "tokenizer.json").write_text((HERE / "llama31/tokenizer.json").read_text())
        convert(llama_cpp, folder, scratch / "bf16.gguf", "bf16", "llama-bpe")
        tokens = np.random.default_rng(1).integers(0, 268, 60).tolist()
        (scratch / "tokens.json").write_text(json.dumps(tokens))
        for kind in TYPES:
            out = scratch / f"{kind}.gguf"
            run = lambda *args: json.loads(subprocess.run([fathom, *map(str, args)], check=True, capture_output=True).stdout or "null")
            done = run("quantize", "--model", scratch / "bf16.gguf", "--type", kind, "--out", out, "--json")
            subprocess.run([fathom, "logits", "record", "--model", out, "--tokens", scratch / "tokens.json", "--out",
                            scratch / "logits.safetensors"], check=True, capture_output=True)
            ours = load_file(scratch / "logits.safetensors")["logits"]
            unpacked(out, scratch / "f32.gguf")
            exact, packed = (Model(p, n_ctx=256).logits(tokens) for p in (scratch / "f32.gguf", out))
            off = [np.abs(x - ours).max() / ours.std() for x in (exact, packed)]
            same = [(x.argmax(-1) == ours.argmax(-1)).mean() for x in (exact, packed)]
            print(f"{kind}: relative error {done['relative_error']:.5f}; llama.cpp on the unpacked values off by {off[0]:.1e} std, argmax "
                  f"{same[0]:.0%}; on the file {off[1]:.1e} std, argmax {same[1]:.0%}")
            assert off[0] < 2e-4 and same[0] == 1


main()
