"""Answers the probes of a reference pack with transformers' Gemma 3, read from a GGUF file, sound or with a fault made in its code.

    python3 tests/audit/speak_gemma.py PACK MODEL.gguf OUT_DIR [NAME ...]

As `speak.py`, with a real model that has norms on queries and keys and two rotary embeddings. The file's types are unpacked, and computed with in
f32 or bf16. Needs torch, transformers, accelerate, gguf and safetensors.
"""

import json
import sys
import time
from pathlib import Path

import torch
from safetensors import safe_open
from told import told
from transformers import AutoModelForCausalLM
from transformers import __version__ as version


def no_qk_norm(model) -> None:
    for layer in model.model.layers:
        layer.self_attn.q_norm = layer.self_attn.k_norm = torch.nn.Identity()


def no_window(model) -> None:
    model.config.sliding_window = 1 << 20
    for layer in model.model.layers:
        layer.self_attn.sliding_window = None


def one_rope(model) -> None:
    """The windowed layers' rotary embedding on the full ones."""
    rotary = model.model.rotary_emb
    plain = rotary.forward
    rotary.forward = lambda x, at, kind=None: plain(x, at, "sliding_attention" if kind else kind)


def nothing(model) -> None:
    del model


# Name: truth, precision, edit.
SPEAKERS = {
    "f32": ("sound", torch.float32, nothing),
    "bf16": ("sound", torch.bfloat16, nothing),
    "no-qk-norm": ("no-qk-norm", torch.float32, no_qk_norm),
    "no-window": ("no-window", torch.float32, no_window),
    "local-rope": ("local-rope-on-full", torch.float32, one_rope),
}


def main() -> None:
    pack_path, path, out, *names = sys.argv[1:]
    with safe_open(pack_path, "pt") as file:
        pack = json.loads(file.metadata()["fathom_audit_pack"])
    Path(out).mkdir(parents=True, exist_ok=True)
    for name in names or SPEAKERS:
        truth, precision, edit = SPEAKERS[name]
        folder, file = Path(path).parent, Path(path).name
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=precision, attn_implementation="eager").eval()
        lines = [{"engine": f"transformers {version} gemma {name}", "truth": truth}]
        with torch.no_grad():
            edit(model)
            for probe in pack["table"]["probes"]:
                ids = probe["ids"]
                begun = time.perf_counter()
                logits = model(torch.tensor([ids + probe["path"]])).logits[0].float()
                lines.append(told(probe, ids, list(range(len(ids))), torch.log_softmax(logits, -1).numpy(), begun))
        (Path(out) / f"gemma-{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        print(f"{name}: {truth}, {len(lines) - 1} probes", flush=True)


if __name__ == "__main__":
    main()
