#!/usr/bin/env python3
"""Weights with scales of their own, by torch and transformers: `fp8/`.

    python make_fp8.py

`fp8/model.safetensors`: the checkpoint of `llama31/` with the matrices of its layers as DeepSeek V3 ships them (float8_e4m3fn and
`weight_scale_inv`, here in blocks of 24 x 40, which do not divide the shapes), except one layer by row and one by tensor
(`weight_scale`, float8_e5m2). `fp8/logits.safetensors`: transformers in float32 on the values `q.float() * scale`.
`fp8/values.safetensors`: of every float8 byte its value by torch; random MXFP4 blocks and scales with the values of gpt-oss's
`convert_moe_packed_tensors` in float32, [n, rows, cols].
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from make_checkpoints import load, logits_of, save_logits, write_json

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


def main():
    folder, source = HERE / "fp8", HERE / "llama31"
    folder.mkdir(exist_ok=True)
    model = load(source)
    stored = load_file(source / "model.safetensors")
    parameters = dict(model.named_parameters())
    for name, w in list(stored.items()):
        if not name.endswith("_proj.weight"):
            continue
        quantise = {1: by_row, 2: by_tensor}.get(int(name.split(".")[2]), by_block)
        q, suffix, scale, values = quantise(w.float())
        stored[name] = q
        stored[name.removesuffix("weight") + suffix] = scale.contiguous()
        with torch.no_grad():
            parameters[name].copy_(values)
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"] = {
        "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": list(BLOCK),
    }
    write_json(folder / "config.json", config)
    (folder / "tokenizer.json").write_text((source / "tokenizer.json").read_text())
    prompts = [p for p in json.loads((source / "tokens.json").read_text()) if len(p) in (7, 60)]
    save_logits(folder / "logits.safetensors", prompts, [logits_of(model, p) for p in prompts])

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
