"""Small random checkpoints and their logits by transformers (float32, eager attention).

    python make_checkpoints.py            writes the folders beside this file
    python make_checkpoints.py --search   tries seeds and prints the router margins they give

The weights are random and large: attention is sharp, every layer matters, routers are decided (the smallest gap
between the chosen expert and the next is printed), so that a fault shows and rounding does not.
"""

import argparse
import copy
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, DynamicCache, LlamaConfig, LlamaForCausalLM
from transformers import Llama4Config, Llama4ForCausalLM, Llama4ForConditionalGeneration, Llama4TextConfig

from oracle import Oracle

HERE = Path(__file__).parent
LENGTHS = [1, 7, 16, 17, 60, 100]
N_VOCAB = 272  # 256 bytes, 12 merges, 4 special tokens
FAR = 10_000_000

LLAMA4 = dict(
    vocab_size=N_VOCAB, hidden_size=32, head_dim=16, num_attention_heads=4, num_key_value_heads=2,
    num_hidden_layers=6, rms_norm_eps=1e-5, tie_word_embeddings=False, bos_token_id=268, eos_token_id=269,
    pad_token_id=None, use_cache=True, attention_bias=False,
)
SCOUT = Llama4TextConfig(
    **LLAMA4, intermediate_size=24, intermediate_size_mlp=48, num_local_experts=4, num_experts_per_tok=1,
    interleave_moe_layer_step=1, use_qk_norm=True, attention_chunk_size=16, floor_scale=8, attn_scale=0.2,
    attn_temperature_tuning=True, max_position_embeddings=16_777_216,
    rope_parameters=dict(rope_type="llama3", rope_theta=500000.0, factor=16.0, low_freq_factor=1.0,
                         high_freq_factor=1.0, original_max_position_embeddings=24),
)
MAVERICK = Llama4TextConfig(
    **LLAMA4, intermediate_size=24, intermediate_size_mlp=56, num_local_experts=12, num_experts_per_tok=1,
    interleave_moe_layer_step=2, use_qk_norm=False, attention_chunk_size=12, floor_scale=10, attn_scale=0.3,
    attn_temperature_tuning=True, max_position_embeddings=4096,
    rope_parameters=dict(rope_type="default", rope_theta=500000.0),
)
LLAMA31 = LlamaConfig(
    vocab_size=N_VOCAB, hidden_size=64, head_dim=16, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=96, num_hidden_layers=4, rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=268,
    eos_token_id=[269, 270], max_position_embeddings=2048,
    rope_parameters=dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
                         high_freq_factor=4.0, original_max_position_embeddings=64),
)
# GGUF implies chunk 8192, floor 8192 and scale 0.1; no QK norm when there are 128 experts.
IMPLIED = dict(attention_chunk_size=8192, floor_scale=8192, attn_scale=0.1)
LLAMA4_128E = Llama4TextConfig(
    **{**LLAMA4, "num_hidden_layers": 5}, intermediate_size=8, intermediate_size_mlp=40, num_local_experts=128,
    num_experts_per_tok=1, interleave_moe_layer_step=2, use_qk_norm=False, **IMPLIED,
    attn_temperature_tuning=True, max_position_embeddings=65536,
    rope_parameters=dict(rope_type="default", rope_theta=500000.0),
)

SEEDS = dict(llama4_scout=10, llama4_maverick=1, llama31=1, llama4_128e=8)  # by --search: wide router margins


def randomise(model, seed):
    """Every weight anew: bf16 values, of a size that makes attention and routing decided."""
    g = torch.Generator().manual_seed(seed)
    normal = lambda p, std: torch.randn(p.shape, generator=g) * std
    c = model.config
    with torch.no_grad():
        for name, p in model.named_parameters():
            fan_in = p.shape[-1]
            if "norm" in name:
                w = 1 + normal(p, 0.2)
            elif "embed_tokens" in name:
                w = normal(p, 1.0)
            elif "lm_head" in name:
                w = normal(p, 2.0 * fan_in**-0.5)
            elif "router" in name:
                w = normal(p, 3.0 * fan_in**-0.5)
            elif "q_proj" in name or "k_proj" in name:
                # scores have a standard deviation of about 1.5; where a norm follows, its eps matters
                layer = int(name.split(".")[2])
                normed = getattr(c, "use_qk_norm", False) and c.no_rope_layers[layer]
                w = normal(p, (0.02 if normed else 0.6) * fan_in**-0.5)
                if not normed:
                    w = w * (16 / c.head_dim) ** 0.25
            elif "experts.gate_up_proj" in name or "experts.down_proj" in name:
                w = normal(p, (1.0 if "gate_up" in name else 1.5) * p.shape[-2] ** -0.5)
            elif "o_proj" in name or "down_proj" in name:
                w = normal(p, 1.2 * fan_in**-0.5)
            else:
                w = normal(p, fan_in**-0.5)
            p.copy_(w.to(torch.bfloat16).float())


def build(config, seed):
    kind = Llama4ForCausalLM if isinstance(config, Llama4TextConfig) else LlamaForCausalLM
    config._attn_implementation = "eager"
    model = kind(config).float().eval()
    randomise(model, seed)
    return model


def prompts(seed):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 268, n).tolist() for n in LENGTHS]


def logits_of(model, prompt):
    with torch.no_grad():
        return model(torch.tensor([prompt]), use_cache=False).logits[0].float()


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def save_logits(path, tokens, logits):
    offsets = np.concatenate([[0], np.cumsum([len(t) for t in tokens])])
    save_file({
        "tokens": torch.tensor(sum(tokens, []), dtype=torch.int32),
        "logits": torch.cat(logits).contiguous(),
        "offsets": torch.tensor(offsets, dtype=torch.int64),
    }, path)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def save_checkpoint(model, folder):
    """As `save_pretrained` writes it today; the values are bf16 already."""
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(folder)


def make_tokenizer():
    """Byte-level BPE with Llama 4's pre-tokenizer: 256 bytes, 12 merges, 4 special tokens."""
    split = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
             r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
             r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(split), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=N_VOCAB - 4, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    text = "the rain in the hall then thinned; another thing that the thane and the heron were hearing there. " * 8
    tok.train_from_iterator([text], trainer)
    tok.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot|>", "<|pad|>"])
    assert tok.get_vocab_size() == N_VOCAB, tok.get_vocab_size()
    return tok


class FarCache(DynamicCache):
    """Claims that `FAR` tokens went before, and holds none: a sequence that starts at position `FAR`."""

    def get_seq_length(self, layer_idx=0):
        return FAR

    def get_mask_sizes(self, query_length, layer_idx=0):
        return query_length, FAR

    def get_query_offset(self, layer_idx=0):
        return FAR

    def update(self, keys, values, layer_idx, *args, **kwargs):
        return keys, values


def far_logits(model, prompt):
    position_ids = torch.arange(len(prompt))[None] + FAR
    cache = FarCache()
    with torch.no_grad():
        return model(torch.tensor([prompt]), position_ids=position_ids, cache=cache, use_cache=True).logits[0]


def compare(a, b, std):
    return float(np.abs(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)).max() / std)


def check(name, folder, tokens, logits):
    """The float64 oracle agrees; prints how closely, and the smallest router margin."""
    oracle = Oracle(folder)
    truth = [oracle.logits(t) for t in tokens]
    std = float(torch.cat(logits).std())
    worst = max(compare(a, b, std) for a, b in zip(truth, logits))
    same = all((a.argmax(-1) == b.numpy().argmax(-1)).all() for a, b in zip(truth, logits))
    print(f"{name}: std {std:.3f}, float64 differs by {worst:.1e} of it, same argmax {same}, "
          f"router margin {oracle.router_margin:.1e}")
    assert worst < 5e-5 and same
    return std


OLD_LLAMA4 = dict(
    attention_chunk_size=16, attn_scale=0.2, floor_scale=8, attn_temperature_tuning=4, no_rope_layers=[],
    for_llm_compression=False, cache_implementation="hybrid", hidden_act="silu", initializer_range=0.02,
    output_router_logits=False, router_aux_loss_coef=0.001, router_jitter_noise=0.0, attention_dropout=0.0,
    moe_layers=None, rope_theta=500000.0,
    rope_scaling=dict(factor=16.0, high_freq_factor=1.0, low_freq_factor=1.0, original_max_position_embeddings=24,
                      rope_type="llama3"),
)


def spellings_scout():
    """The scout's configuration as files in the wild spell it, flat and nested; one set of weights."""
    common = {k: getattr(SCOUT, k) for k in (
        "vocab_size", "hidden_size", "head_dim", "num_attention_heads", "num_key_value_heads", "num_hidden_layers",
        "rms_norm_eps", "tie_word_embeddings", "bos_token_id", "eos_token_id", "use_cache", "attention_bias",
        "intermediate_size", "intermediate_size_mlp", "num_local_experts", "num_experts_per_tok",
        "interleave_moe_layer_step", "use_qk_norm", "max_position_embeddings")}
    old = dict(architectures=["Llama4ForCausalLM"], model_type="llama4_text", torch_dtype="bfloat16",
               transformers_version="4.51.0.dev0", pad_token_id=200018, **common, **OLD_LLAMA4)
    old["pad_token_id"] = 271
    null = dict(old, no_rope_layers=None, no_rope_layer_interval=4, attn_temperature_tuning=True,
                rope_scaling={**{k: v for k, v in OLD_LLAMA4["rope_scaling"].items() if k != "rope_type"}, "type": "llama3"})
    full = SCOUT.to_dict() | dict(architectures=["Llama4ForCausalLM"], dtype="bfloat16")
    return {"old": old, "old_null": null, "full": full}


def spellings_llama31():
    common = {k: getattr(LLAMA31, k) for k in (
        "vocab_size", "hidden_size", "num_attention_heads", "num_key_value_heads", "intermediate_size",
        "num_hidden_layers", "rms_norm_eps", "tie_word_embeddings", "bos_token_id", "eos_token_id",
        "max_position_embeddings")}
    rope = {k: v for k, v in LLAMA31.rope_parameters.items() if k != "rope_theta"}
    old = dict(architectures=["LlamaForCausalLM"], model_type="llama", torch_dtype="bfloat16", attention_bias=False,
               attention_dropout=0.0, hidden_act="silu", initializer_range=0.02, mlp_bias=False, pretraining_tp=1,
               transformers_version="4.43.0.dev0", use_cache=True, rope_theta=500000.0, rope_scaling=rope, **common)
    return {"old": old}


def for_transformers(config):
    """transformers 5 refuses the number that early files have for `attn_temperature_tuning`; any but 0 meant true."""
    config = dict(config)
    if "text_config" in config:
        config["text_config"] = for_transformers(config["text_config"])
    if "attn_temperature_tuning" in config:
        config["attn_temperature_tuning"] = bool(config["attn_temperature_tuning"])
    return config


def make_spellings(folder, spellings, tokens, logits):
    out = folder / "spellings"
    out.mkdir(exist_ok=True)
    for name, config in spellings.items():
        scratch = folder / "scratch"
        scratch.mkdir(exist_ok=True)
        write_json(out / f"{name}.json", config)
        write_json(scratch / "config.json", for_transformers(config))
        shutil.copy(folder / "model.safetensors", scratch)
        model = load(scratch)
        worst = max(float((logits_of(model, t) - l).abs().max()) for t, l in zip(tokens, logits))
        print(f"  spelling {folder.name}/{name}: differs by {worst}")
        assert worst == 0
        shutil.rmtree(scratch)


def make_nested(scout, tokens, logits):
    """A real download's shape: text_config inside, prefixes, a vision tower beside it, two shards and an index."""
    folder = HERE / "llama4_nested"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    text = dict(spellings_scout()["old"])
    text.pop("architectures"), text.pop("transformers_version")
    vision = dict(
        model_type="llama4_vision_model", hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        image_size=4, patch_size=2, num_channels=3, vision_output_dim=8, projector_input_dim=8, projector_output_dim=8,
        pixel_shuffle_ratio=0.5, rope_theta=10000, norm_eps=1e-5, hidden_act="gelu", initializer_range=0.02,
        attention_dropout=0.0, projector_dropout=0.0, multi_modal_projector_bias=False,
        vision_feature_layer=-1, vision_feature_select_strategy="default")
    config = dict(
        architectures=["Llama4ForConditionalGeneration"], model_type="llama4", torch_dtype="bfloat16",
        transformers_version="4.51.0.dev0", boi_token_index=264, eoi_token_index=265, image_token_index=266,
        tie_word_embeddings=False, text_config=text, vision_config=vision)
    write_json(folder / "config.json", config)
    torch.manual_seed(5)
    readable = for_transformers(config)
    whole = Llama4ForConditionalGeneration(Llama4Config(**json.loads(json.dumps(readable))))
    tensors = {}
    for k, v in whole.state_dict().items():
        if k.startswith(("model.language_model", "lm_head", "language_model")):
            continue
        k = k.removeprefix("model.")
        tensors[k] = v.to(torch.bfloat16).contiguous()
    assert any(k.startswith("vision_model.") for k in tensors) and any(k.startswith("multi_modal") for k in tensors), list(tensors)
    for k, v in scout.state_dict().items():
        tensors[f"language_model.{k}"] = v.to(torch.bfloat16).contiguous()
    # shards as a real save makes them: by size, in the order of the state
    first = {k: v for k, v in tensors.items() if not k.startswith("language_model.") or ".layers.0." in k or ".layers.2." in k}
    shards = {"model-00001-of-00002.safetensors": first,
              "model-00002-of-00002.safetensors": {k: v for k, v in tensors.items() if k not in first}}
    for name, part in shards.items():
        save_file(part, folder / name, metadata={"format": "pt"})
    write_json(folder / "model.safetensors.index.json", {
        "metadata": {"total_size": sum(v.numel() * 2 for v in tensors.values())},
        "weight_map": {k: name for name, part in shards.items() for k in sorted(part)}})
    model, info = Llama4ForConditionalGeneration.from_pretrained(
        folder, config=Llama4Config(**readable), dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    model.eval()
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], info
    # The outer forward wants an attribute that this version's output for text alone lacks; the inner one is the text model.
    worst = max(float((logits_of(model.language_model, t) - l).abs().max()) for t, l in zip(tokens, logits))
    print(f"  nested: differs by {worst}")
    assert worst == 0


def make_far(model, folder):
    """Forty tokens from position 10 000 000: transformers' float32 product, and the float64 truth."""
    prompt = np.random.default_rng(10).integers(0, 268, 40).tolist()
    # The trick with the cache is right where nothing is far: from position 0 it gives the plain logits.
    global FAR
    keep, FAR = FAR, 0
    assert float((far_logits(model, prompt) - logits_of(model, prompt)).abs().max()) == 0
    FAR = keep
    f32 = far_logits(model, prompt)
    inv_freq = model.model.rotary_emb.inv_freq.numpy()
    oracle = Oracle(folder)
    print("  inverse frequencies equal transformers' bits:", bool((oracle.inv_freq == inv_freq).all()))
    truth = oracle.logits(prompt, start=FAR)
    near = oracle.logits(prompt)
    std = truth.std()
    print(f"  far: float32 product differs by {compare(truth, f32, std):.2f} std, position 0 by {compare(truth, near, std):.2f} std, "
          f"router margin {oracle.router_margin:.1e}")
    save_file({
        "tokens": torch.tensor(prompt, dtype=torch.int32),
        "start": torch.tensor([FAR], dtype=torch.int64),
        "inv_freq": torch.tensor(inv_freq),
        "logits": torch.tensor(truth, dtype=torch.float32),
        "logits_f32_product": f32.contiguous(),
    }, folder / "far.safetensors")


def margin_of(config, seed, tokens):
    model = build(config, seed)
    folder = HERE / "scratch"
    save_checkpoint(model, folder)
    oracle = Oracle(folder)
    for t in tokens:
        oracle.logits(t)
    shutil.rmtree(folder)
    return oracle.router_margin


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--search", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cases = dict(llama4_scout=SCOUT, llama4_maverick=MAVERICK, llama31=LLAMA31, llama4_128e=LLAMA4_128E)
    if args.search:
        for name in ("llama4_scout", "llama4_maverick", "llama4_128e"):
            for seed in range(1, 13):
                print(name, seed, f"{margin_of(cases[name], seed, prompts(seed)):.1e}", flush=True)
        return
    tokenizer = make_tokenizer()
    for name, config in cases.items():
        seed, folder = SEEDS[name], HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        model = build(config, seed)
        save_checkpoint(model, folder)
        tokenizer.save(str(folder / "tokenizer.json"))
        model = load(folder)
        tokens = prompts(seed) if name != "llama4_128e" else prompts(seed)[:4]
        logits = [logits_of(model, t) for t in tokens]
        write_json(folder / "tokens.json", tokens)
        save_logits(folder / "logits.safetensors", tokens, logits)
        check(name, folder, tokens, logits)
        if name == "llama4_scout":
            make_spellings(folder, spellings_scout(), tokens, logits)
            make_nested(model, tokens, logits)
            make_far(model, folder)
            # The same weights as a GGUF file describes them.
            scratch = HERE / "scratch"
            shutil.copytree(folder, scratch)
            write_json(scratch / "config.json", json.loads((folder / "config.json").read_text()) | IMPLIED)
            model = load(scratch)
            logits = [logits_of(model, t) for t in tokens]
            save_logits(folder / "logits_gguf.safetensors", tokens, logits)
            check("llama4_scout as GGUF", scratch, tokens, logits)
            shutil.rmtree(scratch)
        if name == "llama31":
            make_spellings(folder, spellings_llama31(), tokens, logits)


if __name__ == "__main__":
    main()
