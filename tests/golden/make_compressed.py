#!/usr/bin/env python3
"""Checkpoints in FP8 and packed integers, by the code that ships them: `fbgemm_llama4/`, `ct_*/`, `fp8_tensor/`.

    python make_compressed.py

`fbgemm_llama4/`: `llama4_maverick/` as Meta ships Maverick's FP8: matrices and stacked experts by transformers' FbgemmFp8Quantize
(the one function of fbgemm's that it calls, rounding by row, is stated here: it needs a GPU). `ct_fp8/`, `ct_int/`: `qwen3/`, and
`ct_llama4/`: `llama4_scout/` with experts apart, by compressed-tensors' own compressors and its configuration. `fp8_tensor/`: `mistral/`
as Mistral ships FP8: `weight_block_size` null, one factor a matrix, static scales of activations beside it. Logits of two prompts:
transformers in float32 on the values that the same libraries unpack.
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.integrations import fbgemm_fp8
from transformers.integrations.finegrained_fp8 import _dequantize_fp8_weight

from make_checkpoints import logits_of, save_logits, write_json
from make_mixtures import load

HERE = Path(__file__).parent
E4M3 = torch.float8_e4m3fn


def finish(name, source, stored, plain, quantization):
    """Writes a checkpoint, and transformers' logits on what it stands for."""
    folder, source = HERE / name, HERE / source
    folder.mkdir(exist_ok=True)
    save_file({k: v.contiguous() for k, v in stored.items()}, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((source / "config.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        write_json(Path(scratch) / "config.json", config)
        save_file({k: v.float().contiguous() for k, v in plain.items()}, Path(scratch) / "model.safetensors", {"format": "pt"})
        model = load(scratch)
    write_json(folder / "config.json", config | {"quantization_config": quantization})
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
    given = load_file(source / "logits.safetensors")
    ends = given["offsets"].tolist()
    prompts = [given["tokens"][a:b].tolist() for a, b in zip(ends, ends[1:])]
    prompts = sorted(prompts, key=len)[-2:]
    save_logits(folder / "logits.safetensors", prompts, [logits_of(model, p) for p in prompts])
    print(name, {k: (str(v.dtype), list(v.shape)) for k, v in list(stored.items())[:6]})


def is_matrix(name):
    return name.endswith("_proj.weight")


def quantize_fp8_per_row(x, *_):
    scale = x.abs().amax(1) / 448
    return (x / scale[:, None]).to(E4M3), scale


def fbgemm():
    """Experts, and the other matrices of the first three layers: as in Meta's files some modules stay as they are."""
    fbgemm_fp8.quantize_fp8_per_row = quantize_fp8_per_row
    stored = load_file(HERE / "llama4_maverick/model.safetensors")
    plain = {k: v.float() for k, v in stored.items()}

    class Experts(fbgemm_fp8.FbgemmFp8Llama4TextExperts):
        def __init__(self):
            nn.Module.__init__(self)

    for key, w in list(stored.items()):
        experts = key.endswith(("experts.gate_up_proj", "experts.down_proj"))
        if not experts and not (is_matrix(key) and int(key.split(".")[2]) < 3):
            continue
        parts, part = key.rsplit(".", 1)
        root = nn.Module()
        at = root
        for step in parts.split(".")[:-1]:
            at.add_module(step, nn.Module())
            at = getattr(at, step)
        module = Experts() if experts else nn.Module()
        module.register_parameter(part, nn.Parameter(w.float()))
        at.add_module(parts.split(".")[-1], module)
        made = fbgemm_fp8.FbgemmFp8Quantize(None).convert({key: [w.float()]}, root)
        stored |= {k: v.detach() for k, v in made.items()}
        scale = made[key + "_scale"].detach()
        # A factor an output, which is the last dimension of stacked experts.
        plain[key] = made[key].detach().float() * (scale.reshape(len(scale), 1, -1) if experts else scale)
    finish("fbgemm_llama4", "llama4_maverick", stored, plain, {
        "activation_scale_ub": 1200.0, "modules_to_not_convert": ["model.layers.3.self_attn", "lm_head"], "quant_method": "fbgemm_fp8",
    })


def args(**kw):
    return QuantizationArgs(**dict(symmetric=True, dynamic=False) | kw)


SCHEMES = {
    "channel": ("float-quantized", args(num_bits=8, type="float", strategy="channel")),
    "tensor": ("float-quantized", args(num_bits=8, type="float", strategy="tensor")),
    "block": ("float-quantized", args(num_bits=8, type="float", strategy="block", block_structure=[16, 20])),
    "int8": ("int-quantized", args(num_bits=8, type="int", strategy="channel")),
    "w4": ("pack-quantized", args(num_bits=4, type="int", strategy="group", group_size=8)),
    "w4channel": ("pack-quantized", args(num_bits=4, type="int", strategy="channel")),
    "w8": ("pack-quantized", args(num_bits=8, type="int", strategy="group", group_size=8)),
}
STATIC = args(num_bits=8, type="float", strategy="tensor")
DYNAMIC = args(num_bits=8, type="float", strategy="token", dynamic=True)
DYNAMIC_INT = args(num_bits=8, type="int", strategy="token", dynamic=True)


def compress(w, name, scale_type):
    """What stands beside a matrix's name, and its values."""
    kind, how = SCHEMES[name]
    if how.strategy == "tensor":
        least, most = w.min().reshape(1), w.max().reshape(1)
    elif how.strategy == "group":
        groups = w.unflatten(1, (-1, how.group_size))
        least, most = groups.amin(2), groups.amax(2)
    elif how.strategy == "block":
        high, wide = how.block_structure
        parts = [[w[r : r + high, c : c + wide] for c in range(0, w.shape[1], wide)] for r in range(0, w.shape[0], high)]
        least = torch.stack([torch.stack([p.min() for p in row]) for row in parts])
        most = torch.stack([torch.stack([p.max() for p in row]) for row in parts])
    else:
        least, most = w.amin(1, keepdim=True), w.amax(1, keepdim=True)
    scale, _ = calculate_qparams(least, most, how)
    scale = scale.to(scale_type)
    scheme = QuantizationScheme(targets=["Linear"], weights=how)
    compressor = BaseCompressor.get_value_from_registry(kind)
    made = compressor.compress({"weight": w, "weight_scale": scale.float()}, scheme)
    plain = compressor.decompress(dict(made), scheme)["weight"]
    assert plain.dtype == torch.float32
    return made | {"weight_scale": scale}, plain


def compressed(name, source, choose, activations, apart=False):
    """`choose`: of a matrix's name that of its scheme."""
    stored = load_file(HERE / source / "model.safetensors")
    plain = {k: v.float() for k, v in stored.items()}
    used = {}
    def store(key, w):
        scheme = choose(key)
        if scheme is None:
            return None
        used.setdefault(scheme, []).append(key.removesuffix(".weight"))
        made, values = compress(w.float(), scheme, torch.float32 if scheme == "w8" else torch.bfloat16)
        beside = key.removesuffix("weight")
        stored.update({beside + k: v for k, v in made.items()})
        if activations.get(scheme) is STATIC:
            stored[beside + "input_scale"] = torch.tensor([0.02])
        return values
    for key, w in list(stored.items()):
        if apart and key.endswith(("experts.gate_up_proj", "experts.down_proj")):
            # One module an expert and part, outputs first, as llm-compressor takes them apart.
            del stored[key]
            parts = dict(zip(("gate", "up"), w.chunk(2, 2))) if "gate_up" in key else {"down": w}
            for e in range(len(w)):
                values = []
                for part, p in parts.items():
                    at = f"{key.rsplit('.', 1)[0]}.{e}.{part}_proj.weight"
                    values.append(store(at, p[e].T.contiguous()).T)
                plain[key][e] = torch.cat(values, 1)
        elif is_matrix(key):
            values = store(key, w)
            if values is not None:
                plain[key] = values
                if SCHEMES[choose(key)][0] == "pack-quantized":
                    del stored[key]
    groups = {
        f"group_{i}": QuantizationScheme(targets=used[s], weights=SCHEMES[s][1], input_activations=activations.get(s), format=SCHEMES[s][0])
        for i, s in enumerate(used)
    }
    formats = {SCHEMES[s][0] for s in used}
    config = QuantizationConfig(
        config_groups=groups, quantization_status="compressed", ignore=["lm_head"],
        format=formats.pop() if len(formats) == 1 else "mixed-precision")
    written = config.model_dump(mode="json")
    written |= {"quant_method": "compressed-tensors", "sparsity_config": {}, "transform_config": {}, "version": "0.20.0"}
    finish(name, source, stored, plain, written)


def by_layer(*schemes):
    def choose(name):
        layer = int(name.split(".")[2])
        return schemes[layer] if layer < len(schemes) else schemes[-1]
    return choose


def by_tensor():
    stored = load_file(HERE / "mistral/model.safetensors")
    plain = {k: v.float() for k, v in stored.items()}
    for key, w in list(stored.items()):
        if is_matrix(key):
            scale = w.float().abs().max() / 448
            stored[key] = (w.float() / scale).to(E4M3)
            stored[key + "_scale_inv"] = scale
            stored[key.removesuffix("weight") + "activation_scale"] = torch.tensor(0.02)
            plain[key] = _dequantize_fp8_weight(stored[key], scale, None, torch.float32)
    finish("fp8_tensor", "mistral", stored, plain, {
        "activation_scheme": "static", "dequantize": False, "modules_to_not_convert": ["lm_head"], "quant_method": "fp8",
        "weight_block_size": None,
    })


def main():
    by_tensor()
    fbgemm()
    compressed("ct_fp8", "qwen3", by_layer("channel", "tensor", "block"), {"channel": DYNAMIC, "tensor": STATIC, "block": DYNAMIC})
    compressed("ct_int", "qwen3", by_layer("w4", "w8", "w4channel", "int8"), {"int8": DYNAMIC_INT})
    compressed("ct_llama4", "llama4_scout", lambda name: "channel" if ".experts." in name and "shared" not in name else None,
               {"channel": DYNAMIC}, apart=True)


if __name__ == "__main__":
    main()
