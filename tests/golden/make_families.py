"""Small random checkpoints of the dense families, their logits by transformers (float32, eager attention), the same with
each of the family's faults, and llama.cpp's GGUF files.

    python make_families.py LLAMA_CPP [NAME ...]    LLAMA_CPP as in make_gguf.py

Windows lie inside the prompts; every kind of layer has a layer after it. A fault is an edit of transformers' model: of its
configuration where there is a key, else of its weights or of one function. CHECKPOINT/faults.json has the shape of the
rows of faults.json.
"""

import contextlib
import copy
import json
import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import (AutoModelForCausalLM, Cohere2Config, Gemma2Config, Gemma3Config, Gemma3ForConditionalGeneration,
                          Gemma3TextConfig, Ministral3Config, Mistral3Config, Mistral3ForConditionalGeneration, MistralConfig,
                          Qwen2Config, Qwen3Config)

from make_checkpoints import (N_VOCAB, compare, load, logits_of, make_spellings, make_tokenizer, save_checkpoint, save_logits,
                              write_json)
from make_gguf import check, convert

HERE = Path(__file__).parent
LENGTHS = [1, 12, 70]
CRITERION = 2e-4

SHAPE = dict(vocab_size=N_VOCAB, hidden_size=32, head_dim=16, num_attention_heads=4, num_key_value_heads=2, intermediate_size=24,
             bos_token_id=268, eos_token_id=269, pad_token_id=None)
THREE_HEADS = dict(hidden_size=48, num_attention_heads=3, num_key_value_heads=1)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64)
GELU = dict(hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6)

# `gguf`: what a GGUF file implies in place of the configuration's value, or what the converter wants to see.
# `apart`: how far llama.cpp may be, in standard deviations; its GELU is a table of half-precision numbers.
CASES = dict(
    # heads of hidden_size / num_attention_heads: `head_dim` is no key of the class
    cohere2=dict(
        seed=1, config=Cohere2Config(
            **{**SHAPE, **THREE_HEADS}, num_hidden_layers=5, layer_norm_eps=1e-5, logit_scale=0.25, sliding_window=12,
            max_position_embeddings=2048, rope_parameters=dict(rope_type="default", rope_theta=50000.0)),
        pre="command-r", gguf=dict(rotary_pct=1.0)),
    qwen2=dict(
        seed=2, config=Qwen2Config(
            **{**SHAPE, **THREE_HEADS}, num_hidden_layers=4, rms_norm_eps=1e-5, max_position_embeddings=256,
            use_sliding_window=True, sliding_window=12, max_window_layers=2, rope_parameters=dict(**YARN, rope_theta=1000.0)),
        pre="qwen2", gguf=dict(use_sliding_window=False, sliding_window=None, layer_types=["full_attention"] * 4)),
    qwen3=dict(
        seed=3, config=Qwen3Config(
            **SHAPE, num_hidden_layers=4, rms_norm_eps=1e-6, max_position_embeddings=256, tie_word_embeddings=True,
            rope_parameters=dict(rope_type="default", rope_theta=1000000.0)),
        pre="qwen2"),
    mistral=dict(
        seed=4, config=MistralConfig(
            **SHAPE, num_hidden_layers=4, rms_norm_eps=1e-5, sliding_window=12, max_position_embeddings=2048,
            rope_parameters=dict(rope_type="default", rope_theta=10000.0)),
        pre="tekken", gguf=dict(sliding_window=None)),
    mistral3=dict(
        seed=5, config=MistralConfig(
            **SHAPE, num_hidden_layers=4, rms_norm_eps=1e-5, sliding_window=None, max_position_embeddings=2048,
            rope_parameters=dict(rope_type="default", rope_theta=1000000000.0)),
        pre="tekken"),
    # steps of 16 tokens; `mscale_all_dim` differs from `mscale`, so that cos and sin have a factor
    ministral3=dict(
        seed=8, config=Ministral3Config(
            **SHAPE, num_hidden_layers=4, rms_norm_eps=1e-5, sliding_window=None, max_position_embeddings=256,
            rope_parameters=dict(rope_type="yarn", rope_theta=1000.0, factor=4.0, original_max_position_embeddings=16, beta_fast=2.0,
                                 beta_slow=0.2, mscale=1.0, mscale_all_dim=0.5, llama_4_scaling_beta=0.3)),
        pre="tekken"),
    gemma2=dict(
        seed=6, config=Gemma2Config(
            **SHAPE, **GELU, num_hidden_layers=4, sliding_window=12, max_position_embeddings=2048, query_pre_attn_scalar=24,
            attn_logit_softcapping=4.0, final_logit_softcapping=20.0, rope_parameters=dict(rope_type="default", rope_theta=10000.0)),
        pre="default", gguf=dict(query_pre_attn_scalar=16), apart=2e-3),
    gemma3=dict(
        seed=7, config=Gemma3TextConfig(
            **SHAPE, **GELU, num_hidden_layers=7, sliding_window=12, max_position_embeddings=2048, query_pre_attn_scalar=24,
            rope_parameters=dict(full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1000000.0),
                                 sliding_attention=dict(rope_type="default", rope_theta=10000.0))),
        pre="default", gguf=dict(query_pre_attn_scalar=16), apart=2e-3),
)


def randomise(model, seed):
    """Every weight anew: bf16 values, of a size that makes attention decided."""
    g = torch.Generator().manual_seed(seed)
    normal = lambda p, std: torch.randn(p.shape, generator=g) * std
    c = model.config
    plus_one = c.model_type.startswith("gemma")
    with torch.no_grad():
        for name, p in model.named_parameters():
            fan_in = p.shape[-1]
            if "norm" in name:
                w = (0 if plus_one else 1) + normal(p, 0.2)
            elif name.endswith("bias"):
                w = normal(p, 0.5)
            elif "embed_tokens" in name:
                w = normal(p, 1.0 if c.tie_word_embeddings else 0.7)
            elif "lm_head" in name:
                w = normal(p, 2.0 * fan_in**-0.5)
            elif "q_proj" in name or "k_proj" in name:
                w = normal(p, 1.2 * fan_in**-0.5)
            elif "o_proj" in name or "down_proj" in name:
                w = normal(p, 1.2 * fan_in**-0.5)
            else:
                w = normal(p, fan_in**-0.5)
            p.copy_(w.to(torch.bfloat16).float())


def build(config, state=None, seed=None):
    config = copy.deepcopy(config)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    if state is None:
        randomise(model, seed)
    else:
        model.load_state_dict(state)
    return model


# --- faults -------------------------------------------------------------------------------------------------------------

def attentions(model):
    return [layer.self_attn for layer in model.model.layers]


def change(**keys):
    """A fault that the configuration can name."""
    def edit(config, model):
        config = copy.deepcopy(config)
        for key, value in keys.items():
            setattr(config, key, value(config) if callable(value) else value)
        return build(config, model.state_dict())
    return edit


def weights(rule):
    """A fault that the weights can name: `rule(model)` edits them."""
    def edit(config, model):
        model = copy.deepcopy(model)
        with torch.no_grad():
            rule(model)
        return model
    return edit


def masks(name, other):
    """One kind of mask in place of another, in the module of the model."""
    def edit(config, model):
        model.patches = [(import_module(type(model).__module__), name, other)]
        return model
    return edit


def zero_biases(model):
    for a in attentions(model):
        for part in (a.q_proj, a.k_proj, a.v_proj):
            part.bias.zero_()


def minus_one(model):
    for name, p in model.named_parameters():
        if "norm" in name:
            p -= 1


def without_qk_norm(model):
    for a in attentions(model):
        a.q_norm = a.k_norm = torch.nn.Identity()


def no_embedding_scale(model):
    model.model.embed_tokens.embed_scale.fill_(1.0)


def other_pairs(model):
    """Rows of Q and K in another order: pairs (2i, 2i + 1) stand where the model takes (i, i + half), or the reverse."""
    hd = attentions(model)[0].head_dim
    order = torch.arange(hd).reshape(hd // 2, 2).T.reshape(-1)
    if model.config.model_type == "cohere2":
        order = torch.argsort(order)
    for a in attentions(model):
        for part in (a.q_proj, a.k_proj):
            part.weight.copy_(part.weight.reshape(-1, hd, part.weight.shape[1])[:, order].reshape(part.weight.shape))
            if part.bias is not None:
                part.bias.copy_(part.bias.reshape(-1, hd)[:, order].reshape(-1))
        for norm in (getattr(a, "q_norm", None), getattr(a, "k_norm", None)):
            if norm is not None:
                norm.weight.copy_(norm.weight[order])


def sequential(self, hidden_states, position_embeddings=None, attention_mask=None, **kwargs):
    """Cohere2DecoderLayer as if it were Llama's, with the one norm in both places."""
    h, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), position_embeddings=position_embeddings,
                          attention_mask=attention_mask)
    h = hidden_states + h
    return h + self.mlp(self.input_layernorm(h))


def sequential_residual(config, model):
    module = import_module(type(model).__module__)
    model.patches = [(module.Cohere2DecoderLayer, "forward", lambda _: sequential)]
    return model


def rope(**keys):
    return change(rope_parameters=lambda c: {**c.rope_parameters, **keys})


def rope_of(kind):
    return change(rope_parameters=lambda c: {k: dict(c.rope_parameters[kind]) for k in c.rope_parameters})


full = lambda module: module.create_causal_mask
windowed = lambda module: module.create_sliding_window_causal_mask
NO_WINDOW = {"no-window": masks("create_sliding_window_causal_mask", full),
             "window-plus-one": change(sliding_window=lambda c: c.sliding_window + 1)}
WINDOWS = {**NO_WINDOW, "window-everywhere": masks("create_causal_mask", windowed)}
PAIRS = {"rope-pairing": weights(other_pairs)}
GEMMA = {"scale-by-head-dim": change(query_pre_attn_scalar=lambda c: c.head_dim), "norm-without-one": weights(minus_one),
         "no-embedding-scale": weights(no_embedding_scale)}
FAULTS = dict(
    cohere2={**WINDOWS, **PAIRS, "no-logit-scale": change(logit_scale=1.0), "sequential-residual": sequential_residual},
    qwen2={**WINDOWS, **PAIRS, "no-qkv-bias": weights(zero_biases), "no-rope-attention-factor": rope(attention_factor=1.0),
           "no-rope-scaling": change(rope_parameters=lambda c: dict(rope_type="default", rope_theta=1000.0))},
    qwen3={**PAIRS, "no-qk-norm": weights(without_qk_norm)},
    mistral={**NO_WINDOW, **PAIRS},
    mistral3={**PAIRS},
    ministral3={**PAIRS, "no-temperature": rope(llama_4_scaling_beta=0.0), "no-rope-attention-factor": rope(attention_factor=1.0),
                "no-rope-scaling": change(rope_parameters=lambda c: {
                    k: v for k, v in c.rope_parameters.items() if k in ("rope_theta", "original_max_position_embeddings", "llama_4_scaling_beta")
                } | dict(rope_type="default"))},
    gemma2={**WINDOWS, **PAIRS, **GEMMA, "no-softcap": change(attn_logit_softcapping=None),
            "no-logit-softcap": change(final_logit_softcapping=None)},
    gemma3={**WINDOWS, **PAIRS, **GEMMA, "no-qk-norm": weights(without_qk_norm),
            "local-rope-on-full": rope_of("sliding_attention"), "full-rope-on-local": rope_of("full_attention"),
            "no-rope-scaling": change(rope_parameters=lambda c: {
                **c.rope_parameters, "full_attention": dict(rope_type="default", rope_theta=1000000.0)})},
)


@contextlib.contextmanager
def patched(patches):
    before = [(place, name, getattr(place, name)) for place, name, _ in patches]
    for place, name, other in patches:
        setattr(place, name, other(place))
    yield
    for place, name, value in before:
        setattr(place, name, value)


def make_faults(name, config, model, tokens, logits):
    rows, std = [], float(torch.cat(logits).std())
    for fault, edit in FAULTS[name].items():
        faulty = edit(config, copy.deepcopy(model))
        first, deviation, before, worst = [], [], 0.0, 0.0
        with patched(getattr(faulty, "patches", [])):
            for t, right in zip(tokens, logits):
                moved = ((logits_of(faulty, t) - right).abs().max(-1).values / std).numpy()
                over = np.flatnonzero(moved > CRITERION)
                first.append(int(over[0]) if len(over) else None)
                deviation.append(float(f"{moved[over[0]]:.2e}") if len(over) else None)
                before = max(before, moved[: over[0] if len(over) else None].max(initial=0.0))
                worst = max(worst, moved.max())
        rows.append(dict(checkpoint=name, fault=fault, first_position=first, deviation=deviation,
                         before=float(f"{before:.2e}"), worst=float(f"{worst:.2e}")))
        print(" ", fault, first, deviation, f"{before:.1e} {worst:.1e}", flush=True)
        assert worst > 100 * CRITERION and before < CRITERION / 10
    lines = ",\n".join("  " + json.dumps(r) for r in rows)
    (HERE / name / "faults.json").write_text(f"[\n{lines}\n]\n")


# --- other spellings -----------------------------------------------------------------------------------------------------

def spellings(name, config):
    """The configuration as transformers 4 wrote it and as real downloads have it; all must give the same bits."""
    c = config.to_dict()
    c["_name_or_path"] = f"tests/golden/{name}"
    keep = lambda *keys: {k: c[k] for k in keys}
    common = keep("architectures", "model_type", "vocab_size", "hidden_size", "num_attention_heads", "num_key_value_heads",
                  "intermediate_size", "num_hidden_layers", "max_position_embeddings", "bos_token_id", "eos_token_id",
                  "tie_word_embeddings", "attention_dropout", "initializer_range", "use_cache")
    common |= dict(torch_dtype="bfloat16", transformers_version="4.48.0")
    if name == "cohere2":  # c4ai-command-a-03-2025
        return dict(old=common | keep("layer_norm_eps", "logit_scale", "sliding_window", "hidden_act") | dict(
            attention_bias=False, cache_implementation="hybrid", head_dim=16, layer_switch=4,
            order_of_interleaved_layers="local_attn_first", pad_token_id=0, position_embedding_type="rope_gptj", rope_scaling=None,
            rope_theta=50000, rotary_pct=1.0, sliding_window_pattern=4, use_embedding_sharing=True, use_gated_activation=True,
            use_parallel_block=True, use_parallel_embedding=True, use_qk_norm=False))
    if name == "qwen2":  # QwQ-32B with the scaling that its card tells to add
        old = common | keep("rms_norm_eps", "hidden_act", "use_sliding_window", "sliding_window", "max_window_layers") | dict(
            rope_theta=1000.0, rope_scaling=dict(type="yarn", factor=4.0, original_max_position_embeddings=64))
        return dict(old=old, full=c)
    if name == "qwen3":
        return dict(old=common | keep("rms_norm_eps", "hidden_act", "head_dim") | dict(
            attention_bias=False, rope_theta=1000000, rope_scaling=None, use_sliding_window=False, sliding_window=None,
            max_window_layers=4))
    if name == "mistral":
        return dict(old=common | keep("rms_norm_eps", "hidden_act", "head_dim", "sliding_window") | dict(rope_theta=10000.0))
    if name == "ministral3":  # Ministral-3-8B-Base-2512's text_config has both names of the kind
        return dict(both=common | keep("rms_norm_eps", "hidden_act", "head_dim", "sliding_window") | dict(
            rope_parameters={**config.rope_parameters, "type": "yarn", "max_position_embeddings": 256}))
    if name == "gemma2":
        return dict(old=common | keep("rms_norm_eps", "head_dim", "sliding_window", "query_pre_attn_scalar", "attn_logit_softcapping",
                                      "final_logit_softcapping", "hidden_activation") | dict(
            attention_bias=False, cache_implementation="hybrid", hidden_act="gelu_pytorch_tanh", pad_token_id=0, rope_theta=10000.0))
    if name == "gemma3":
        old = common | keep("rms_norm_eps", "head_dim", "sliding_window", "query_pre_attn_scalar", "hidden_activation") | dict(
            attention_bias=False, attn_logit_softcapping=None, cache_implementation="hybrid", final_logit_softcapping=None, pad_token_id=0,
            rope_local_base_freq=10000, rope_scaling=dict(factor=8.0, rope_type="linear"), rope_theta=1000000, sliding_window_pattern=6)
        hidden = {k: v for k, v in old.items() if k != "sliding_window_pattern"} | dict(_sliding_window_pattern=6, use_bidirectional_attention=False)
        return dict(old=old, hidden=hidden, full=c)
    return {}


def make_nested(model, folder, config, kind, config_kind):
    """A real download's shape: text_config inside, prefixes, a vision tower and a projector beside it."""
    torch.manual_seed(5)
    whole = kind(config_kind.from_dict(copy.deepcopy(config)))
    tensors = {k.removeprefix("model."): v.to(torch.bfloat16).contiguous() for k, v in whole.state_dict().items()
               if not k.startswith(("model.language_model", "lm_head", "language_model"))}
    assert any(k.startswith("vision_tower.") for k in tensors), list(tensors)
    tied = model.config.tie_word_embeddings
    tensors |= {f"language_model.{k}": v.to(torch.bfloat16).contiguous() for k, v in model.state_dict().items() if not (tied and k == "lm_head.weight")}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_json(folder / "config.json", config)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    make_tokenizer().save(str(folder / "tokenizer.json"))
    read, info = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], info
    return read.eval()


MISTRAL3 = dict(
    architectures=["Mistral3ForConditionalGeneration"], model_type="mistral3", torch_dtype="bfloat16", transformers_version="4.50.0.dev0",
    image_token_index=10, multimodal_projector_bias=False, projector_hidden_act="gelu", spatial_merge_size=2, vision_feature_layer=-1,
    tie_word_embeddings=False,
    text_config=dict(
        attention_dropout=0.0, head_dim=16, hidden_act="silu", hidden_size=32, initializer_range=0.02, intermediate_size=24,
        max_position_embeddings=2048, model_type="mistral", num_attention_heads=4, num_hidden_layers=4, num_key_value_heads=2,
        rms_norm_eps=1e-05, rope_theta=1000000000.0, sliding_window=None, use_cache=True, vocab_size=N_VOCAB),
    vision_config=dict(
        attention_dropout=0.0, head_dim=4, hidden_act="silu", hidden_size=8, image_size=8, initializer_range=0.02, intermediate_size=16,
        model_type="pixtral", num_attention_heads=2, num_channels=3, num_hidden_layers=1, patch_size=2, rope_theta=10000.0))
GEMMA3 = dict(
    architectures=["Gemma3ForConditionalGeneration"], model_type="gemma3", torch_dtype="bfloat16", transformers_version="4.50.0.dev0",
    boi_token_index=264, eoi_token_index=265, eos_token_id=[269, 270], image_token_index=266, initializer_range=0.02, mm_tokens_per_image=4,
    # what equals the class's value is left out: tied head, activation, eps, heads of 256 would be
    text_config=dict(
        head_dim=16, hidden_size=32, intermediate_size=24, model_type="gemma3_text", num_attention_heads=4, num_hidden_layers=7,
        num_key_value_heads=2, query_pre_attn_scalar=24, rope_scaling=dict(factor=8.0, rope_type="linear"), sliding_window=12,
        vocab_size=N_VOCAB),
    vision_config=dict(
        hidden_size=8, image_size=8, intermediate_size=16, model_type="siglip_vision_model", num_attention_heads=2, num_hidden_layers=1,
        patch_size=2, vision_use_head=False))


def main():
    llama_cpp, only = Path(sys.argv[1]), sys.argv[2:]
    torch.set_num_threads(1)
    for name, case in CASES.items():
        if only and name not in only:
            continue
        folder, seed, config = HERE / name, case["seed"], case["config"]
        shutil.rmtree(folder, ignore_errors=True)
        model = build(config, seed=seed)
        save_checkpoint(model, folder)
        make_tokenizer().save(str(folder / "tokenizer.json"))
        model = load(folder)
        rng = np.random.default_rng(seed)
        tokens = [rng.integers(0, 268, n).tolist() for n in LENGTHS]
        logits = [logits_of(model, t) for t in tokens]
        std = float(torch.cat(logits).std())
        exact = copy.deepcopy(model).double()
        worst = max(compare(logits_of(exact, t), l, std) for t, l in zip(tokens, logits))
        print(f"\n{name}: std {std:.3f}, transformers in float64 differs by {worst:.1e} of it", flush=True)
        nested = {"mistral3": (folder, MISTRAL3, Mistral3ForConditionalGeneration, Mistral3Config),
                  "gemma3": (HERE / "gemma3_nested", GEMMA3, Gemma3ForConditionalGeneration, Gemma3Config)}
        if name in nested:
            read = make_nested(model, *nested[name])
            assert all((logits_of(read, t) == l).all() for t, l in zip(tokens, logits))
        save_logits(folder / "logits.safetensors", tokens, logits)
        make_faults(name, config, model, tokens, logits)
        if spelled := spellings(name, model.config):
            make_spellings(folder, spelled, tokens, logits)
        make_gguf(name, case, llama_cpp, config, model, tokens, logits)


def make_gguf(name, case, llama_cpp, config, model, tokens, logits):
    folder, edits = HERE / name, case.get("gguf", {})
    reference = "logits.safetensors"
    if any(getattr(config, k, v) != v for k, v in edits.items()):
        reference = "logits_gguf.safetensors"
        as_read = copy.deepcopy(config)
        for key, value in edits.items():
            setattr(as_read, key, value)
        logits = [logits_of(build(as_read, model.state_dict()), t) for t in tokens]
        save_logits(folder / reference, tokens, logits)
    convert(llama_cpp, folder, folder / "model-bf16.gguf", "bf16", case["pre"], edits)
    with tempfile.TemporaryDirectory() as scratch:
        f32 = Path(scratch) / f"{name}-f32.gguf"
        convert(llama_cpp, folder, f32, "f32", case["pre"], edits)
        assert check(f32, folder / reference) < case.get("apart", 2e-5)


if __name__ == "__main__":
    main()
