#!/usr/bin/env python3
"""Weights with scales of their own, by torch and transformers: `fp8/`, `fp8_*/`.

    python make_fp8.py

`fp8/model.safetensors`: the checkpoint of `llama31/` with the matrices of its layers as DeepSeek V3 ships them (float8_e4m3fn and
`weight_scale_inv`, here in blocks of 24 x 40, which do not divide the shapes), except one layer by row and one by tensor
(`weight_scale`, float8_e5m2). `fp8/logits.safetensors`: transformers in float32 on the values `q.float() * scale`.
`fp8_deepseek_v3/`, `fp8_phi3/`: the same of those checkpoints (all in blocks, by row), whose latents and fused matrices are taken
apart by rows that no block ends at. `fp8_llama4/`: `llama4_scout/` with its stacked experts as Llama 4 Maverick ships them,
`gate_up_proj` and `gate_up_proj_scale` [n, 1, outputs].
`fp8/values.safetensors`: of every float8 byte its value by torch; random MXFP4 blocks and scales with the values of gpt-oss's
`convert_moe_packed_tensors` in float32, [n, rows, cols].
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from make_checkpoints import logits_of, save_logits, write_json
from make_mixtures import load

HERE = Path(__file__).parent
BLOCK = (24, 40)
E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2


def spread(scale, shape):
    """A factor a block to a factor a value."""
    return scale.repeat_interleave(BLOCK[0], 0).repeat_interleave(BLOCK[1], 1)[: shape[0], : shape[1]]


def by_block(w):
    rows, cols = (-(-n // b) for n, b in zip(w.shape, BLOCK))
    scale = torch.empty(rows, cols)
    for r in range(rows):
        for c in range(cols):
            part = w[r * BLOCK[0] : (r + 1) * BLOCK[0], c * BLOCK[1] : (c + 1) * BLOCK[1]]
            scale[r, c] = part.abs().max() / 448
    q = (w / spread(scale, w.shape)).to(E4M3)
    return q, "weight_scale_inv", scale, q.float() * spread(scale, w.shape)


def by_row(w):
    scale = w.abs().amax(1, keepdim=True) / 448
    q = (w / scale).to(E4M3)
    return q, "weight_scale", scale, q.float() * scale


def by_tensor(w):
    scale = w.abs().max() / 57344
    q = (w / scale).to(E5M2)
    return q, "weight_scale", scale, q.float() * scale


def by_expert(w):
    """Stacked and input-major: a factor an output."""
    scale = w.abs().amax(1, keepdim=True) / 448
    q = (w / scale).to(E4M3)
    return q, "_scale", scale, q.float() * scale


def make(name, source, choose):
    """A checkpoint with the matrices for which `choose` gives a way, and transformers' logits on what they stand for."""
    folder, source = HERE / name, HERE / source
    folder.mkdir(exist_ok=True)
    stored = load_file(source / "model.safetensors")
    plain = {k: w.float() if w.is_floating_point() else w for k, w in stored.items()}
    for key, w in list(stored.items()):
        quantise = choose(key)
        if quantise is None:
            continue
        q, suffix, scale, plain[key] = quantise(w.float())
        stored[key] = q
        stored[key.removesuffix("weight") + suffix] = scale.contiguous()
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((source / "config.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        write_json(Path(scratch) / "config.json", config)
        save_file(plain, Path(scratch) / "model.safetensors", {"format": "pt"})
        model = load(scratch)
    config["quantization_config"] = {
        "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": list(BLOCK),
    }
    write_json(folder / "config.json", config)
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
    given = load_file(source / "logits.safetensors")
    ends = given["offsets"].tolist()
    prompts = [given["tokens"][a:b].tolist() for a, b in zip(ends, ends[1:]) if b - a in (7, 60)]
    save_logits(folder / "logits.safetensors", prompts, [logits_of(model, p) for p in prompts])


def matrices(*others):
    """The layers' matrices, those of the layers 0, 1 .. by `others` where it is given, else by block."""
    def choose(name):
        if not name.endswith(("_proj.weight", "_proj_with_mqa.weight")) or ".eh_proj." in name:
            return None
        return dict(enumerate(others)).get(int(name.split(".")[2]), by_block)
    return choose


def main():
    make("fp8", "llama31", matrices(by_block, by_row, by_tensor))
    make("fp8_deepseek_v3", "deepseek_v3", matrices())
    make("fp8_phi3", "phi3", matrices(by_block, by_row))
    make("fp8_llama4", "llama4_scout", lambda name: by_expert if name.endswith(("gate_up_proj", "down_proj")) else None)
    folder = HERE / "fp8"
    every = torch.arange(256, dtype=torch.uint8)
    g = torch.Generator().manual_seed(1)
    blocks = torch.randint(0, 256, (2, 6, 3, 16), generator=g, dtype=torch.uint8)
    scales = torch.randint(100, 140, (2, 6, 3), generator=g, dtype=torch.uint8)
    values = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32).transpose(1, 2).contiguous()
    save_file({
        "F8_E4M3": every.view(E4M3).float(), "F8_E5M2": every.view(E5M2).float(), "F8_E8M0": every.view(torch.float8_e8m0fnu).float(),
        "experts_blocks": blocks, "experts_scales": scales, "experts_values": values,
    }, folder / "values.safetensors")


main()
