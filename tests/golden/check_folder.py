#!/usr/bin/env python3
"""Files that `fathom quantize` makes of Hugging Face folders, in llama.cpp: they load, and the logits are transformers'.

    python check_folder.py FATHOM    the command

Every golden folder whose model GGUF has a place for, as F32: llama.cpp's logits against the folder's reference, to 2e-4 of their
standard deviation (Gemma: 1e-3, as its GELU is a table of half-precision numbers there). Where the configuration says what GGUF does not carry, that key is changed, and the reference is the one of the
committed GGUF file. DeepSeek V2 is left out, whose groups llama.cpp chooses otherwise,
and Phi-3, whose file by llama.cpp's own converter it does not load either. Nothing is committed.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from make_gguf import check

HERE = Path(__file__).parent
IMPLIED = dict(attention_chunk_size=8192, floor_scale=8192, attn_scale=0.1)
NO_WINDOW = dict(use_sliding_window=False, layer_types=None)
FOLDERS = dict(
    cohere2={}, deepseek_v3={}, gemma2=dict(query_pre_attn_scalar=16),
    gemma3=dict(query_pre_attn_scalar=16), gpt_oss={}, gpt_oss_mxfp4={}, llama31={}, llama4_scout=IMPLIED, ministral3={},
    mistral=dict(sliding_window=None), mistral3={}, mixtral=dict(sliding_window=None), qwen2=NO_WINDOW, qwen3={},
    qwen3_moe_all={}, fp8={}, fp8_deepseek_v3={}, ct_fp8={}, ct_int={},
)


def main():
    fathom = Path(sys.argv[1]).resolve()
    worst = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, edits in FOLDERS.items():
            folder = Path(scratch) / name
            shutil.copytree(HERE / name, folder)
            config = json.loads((folder / "config.json").read_text()) | edits
            (folder / "config.json").write_text(json.dumps(config))
            out = Path(scratch) / f"{name}.gguf"
            subprocess.run([fathom, "quantize", "--model", folder, "--type", "F32", "--out", out], check=True, capture_output=True)
            own = folder / "logits_gguf.safetensors"
            worst[name] = check(out, own if edits and own.exists() else folder / "logits.safetensors")
    off = [name for name, x in worst.items() if not x < (1e-3 if name.startswith("gemma") else 2e-4)]
    sys.exit(f"off: {', '.join(off)}" if off else 0)


if __name__ == "__main__":
    main()
