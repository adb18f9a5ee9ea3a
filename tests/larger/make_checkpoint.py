"""Writes a random Llama 4 (text) of any size, to show that a model larger than memory runs.

Usage: python make_checkpoint.py OUT [--layers 36]
Scout-like: 16 experts top-1 beside a shared one, three chunked layers to one without positions. A layer has 0.88 GB in bfloat16, 36 layers 31 GB.
Every weight is random, so that no disk or file system can compress it. The tokenizer is the built-in model's. Needs numpy.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

DIM, HEADS, KV_HEADS, HEAD_DIM, EXPERTS, HIDDEN, VOCAB = 2048, 16, 4, 128, 16, 4096, 2048
BUILTIN = Path(__file__).resolve().parents[2] / "datasets/builtin"


def config(layers: int) -> dict:
    return {
        "architectures": ["Llama4ForCausalLM"],
        "model_type": "llama4_text",
        "hidden_size": DIM,
        "intermediate_size": HIDDEN,
        "intermediate_size_mlp": HIDDEN,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "vocab_size": VOCAB,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "num_local_experts": EXPERTS,
        "num_experts_per_tok": 1,
        "interleave_moe_layer_step": 1,
        "use_qk_norm": True,
        "no_rope_layers": [int((i + 1) % 4 > 0) for i in range(layers)],
        "attention_chunk_size": 256,
        "attn_temperature_tuning": True,
        "floor_scale": 256,
        "attn_scale": 0.1,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }


def shapes(layer: int) -> dict[str, list[int]]:
    at = f"model.layers.{layer}"
    ffn = f"{at}.feed_forward"
    return {
        f"{at}.input_layernorm.weight": [DIM],
        f"{at}.post_attention_layernorm.weight": [DIM],
        f"{at}.self_attn.q_proj.weight": [HEADS * HEAD_DIM, DIM],
        f"{at}.self_attn.k_proj.weight": [KV_HEADS * HEAD_DIM, DIM],
        f"{at}.self_attn.v_proj.weight": [KV_HEADS * HEAD_DIM, DIM],
        f"{at}.self_attn.o_proj.weight": [DIM, HEADS * HEAD_DIM],
        f"{ffn}.router.weight": [EXPERTS, DIM],
        f"{ffn}.experts.gate_up_proj": [EXPERTS, DIM, 2 * HIDDEN],
        f"{ffn}.experts.down_proj": [EXPERTS, HIDDEN, DIM],
        f"{ffn}.shared_expert.gate_proj.weight": [HIDDEN, DIM],
        f"{ffn}.shared_expert.up_proj.weight": [HIDDEN, DIM],
        f"{ffn}.shared_expert.down_proj.weight": [DIM, HIDDEN],
    }


def random_bf16(rng: np.random.Generator, shape: list[int]) -> np.ndarray:
    """Bits of bfloat16: norms near 1, matrices of either sign with a magnitude of 1/256 to 1/64."""
    if len(shape) == 1:
        return rng.integers(0x3F70, 0x3F90, shape, np.uint16)
    bits = np.frombuffer(rng.bytes(2 * int(np.prod(shape))), np.uint16)
    return (bits & 0x80FF) + np.uint16(0x3B80)


def write_shard(path: Path, rng: np.random.Generator, tensors: dict[str, list[int]]) -> None:
    header, at = {}, 0
    for name, shape in tensors.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for shape in tensors.values():
            file.write(random_bf16(rng, shape).tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, default=36)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    shards = [shapes(i) for i in range(args.layers)]
    shards.append({"model.embed_tokens.weight": [VOCAB, DIM], "model.norm.weight": [DIM], "lm_head.weight": [VOCAB, DIM]})
    index = {}
    for i, tensors in enumerate(shards, 1):
        name = f"model-{i:05}-of-{len(shards):05}.safetensors"
        write_shard(args.out / name, rng, tensors)
        index |= dict.fromkeys(tensors, name)
        print(f"{name} written", flush=True)
    (args.out / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}, indent=1))
    (args.out / "config.json").write_text(json.dumps(config(args.layers), indent=2))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BUILTIN / name, args.out / name)


if __name__ == "__main__":
    main()
