"""Small random checkpoints of families with mixtures of experts, latent attention, sinks and LongRoPE.

    python make_mixtures.py LLAMA_CPP [NAME..]    writes the folders beside this file: a checkpoint, its logits by
                                                  transformers (float32, eager attention), the same weights as GGUF by
                                                  llama.cpp's own converter (see make_gguf.py)

Windows, scaling switches and groups of experts lie inside the prompts. Weights are large, so that attention is sharp,
routers are decided (the smallest gap between a chosen expert and the next is printed) and a fault shows. Where the converter
drops something, `logits_gguf.safetensors` holds transformers' logits without it.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, DeepseekV2Config, DeepseekV3Config, GptOssConfig, MixtralConfig
from transformers import Mxfp4Config, Phi3Config, Qwen3MoeConfig
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from make_checkpoints import N_VOCAB, logits_of, make_tokenizer, save_checkpoint, save_logits, write_json
from make_gguf import check, convert

HERE = Path(__file__).parent
COMMON = dict(vocab_size=N_VOCAB, bos_token_id=268, eos_token_id=269, pad_token_id=None, tie_word_embeddings=False)
LATENT = dict(
    **COMMON, hidden_size=32, num_attention_heads=4, num_key_value_heads=4, kv_lora_rank=20, qk_nope_head_dim=16,
    qk_rope_head_dim=8, v_head_dim=12, intermediate_size=40, moe_intermediate_size=12, num_hidden_layers=3,
    first_k_dense_replace=1, rms_norm_eps=1e-6, max_position_embeddings=512)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=8.0, original_max_position_embeddings=16, beta_fast=4, beta_slow=1)
MIXTRAL = MixtralConfig(
    **COMMON, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, intermediate_size=24, num_hidden_layers=3,
    num_local_experts=4, num_experts_per_tok=2, sliding_window=12, rms_norm_eps=1e-5, max_position_embeddings=512,
    rope_parameters=dict(rope_type="default", rope_theta=1e6))
QWEN3_MOE = Qwen3MoeConfig(
    **COMMON, hidden_size=32, head_dim=16, num_attention_heads=4, num_key_value_heads=2, intermediate_size=40,
    moe_intermediate_size=12, num_hidden_layers=4, num_experts=6, num_experts_per_tok=2, norm_topk_prob=True,
    decoder_sparse_step=1, mlp_only_layers=[1], max_position_embeddings=512, rms_norm_eps=1e-6,
    rope_parameters=dict(rope_type="default", rope_theta=1e6))
# The converter and llama.cpp know no dense layer in this family.
QWEN3_MOE_ALL = Qwen3MoeConfig(**{**QWEN3_MOE.to_dict(), "mlp_only_layers": [], "num_hidden_layers": 3})
DEEPSEEK_V3 = DeepseekV3Config(
    **LATENT, q_lora_rank=24, n_routed_experts=8, n_shared_experts=1, num_experts_per_tok=3, n_group=4, topk_group=2,
    norm_topk_prob=True, routed_scaling_factor=2.5, rope_parameters=dict(**YARN, mscale=1.0, mscale_all_dim=1.0))
DEEPSEEK_V2 = DeepseekV2Config(
    **LATENT, q_lora_rank=24, n_routed_experts=8, n_shared_experts=2, num_experts_per_tok=3, n_group=4, topk_group=2,
    topk_method="group_limited_greedy", norm_topk_prob=False, routed_scaling_factor=16.0,
    rope_parameters=dict(**YARN, mscale=0.707, mscale_all_dim=0.707))
DEEPSEEK_V2_LITE = DeepseekV2Config(
    **LATENT, q_lora_rank=None, n_routed_experts=6, n_shared_experts=2, num_experts_per_tok=2, n_group=1, topk_group=1,
    topk_method="greedy", norm_topk_prob=False, routed_scaling_factor=1.0,
    rope_parameters=dict(**YARN, mscale=0.707, mscale_all_dim=0.707))
PHI3 = Phi3Config(
    **COMMON, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48, num_hidden_layers=3,
    sliding_window=40, rms_norm_eps=1e-5, max_position_embeddings=128, original_max_position_embeddings=32,
    rope_parameters=dict(rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.75,
                         short_factor=[1.0, 1.05, 1.1, 1.2, 1.4, 1.5], long_factor=[1.1, 1.5, 2.5, 4.0, 5.0, 6.0]))
GPT_OSS = GptOssConfig(
    **COMMON, hidden_size=64, head_dim=16, num_attention_heads=4, num_key_value_heads=2, intermediate_size=32,
    num_hidden_layers=4, num_local_experts=4, num_experts_per_tok=2, sliding_window=8, rms_norm_eps=1e-5,
    max_position_embeddings=512,
    layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
    rope_parameters=dict(rope_type="yarn", rope_theta=150000.0, factor=8.0, beta_fast=4.0, beta_slow=1.0, truncate=False,
                         original_max_position_embeddings=16))
LENGTHS = [1, 7, 17, 60]
# Keys of real downloads that today's class no longer writes and the converter needs.
V3_KEYS = dict(scoring_func="sigmoid", topk_method="noaux_tc")
V2_KEYS = dict(scoring_func="softmax")
# A configuration, the pre-tokenizer's name (None: no GGUF), keys to add, keys that GGUF does not carry, and keys under which
# llama.cpp is asked to agree (None: it cannot).
CASES = dict(
    mixtral=(MIXTRAL, "llama-bpe", {}, dict(sliding_window=None), {}),
    qwen3_moe=(QWEN3_MOE, None, {}, {}, None),
    qwen3_moe_all=(QWEN3_MOE_ALL, "qwen2", {}, {}, {}),
    # llama.cpp reads no window and goes by the size of the context: the long list.
    phi3=(PHI3, "gpt-4o", {}, {}, None),
    deepseek_v3=(DEEPSEEK_V3, "deepseek-v3", V3_KEYS, {}, {}),
    # llama.cpp compares groups by their two best experts, as for V3.
    deepseek_v2=(DEEPSEEK_V2, "deepseek-llm", V2_KEYS, {}, None),
    # llama.cpp knows a Lite by its 27 layers.
    deepseek_v2_lite=(DEEPSEEK_V2_LITE, "deepseek-llm", V2_KEYS, {}, None),
    # llama.cpp rounds YaRN's ramp.
    gpt_oss=(GPT_OSS, "gpt-4o", {}, {}, dict(rope_parameters=GPT_OSS.rope_parameters | dict(truncate=True))),
    # llama.cpp rounds activations to 8 bits beside MXFP4.
    gpt_oss_mxfp4=(GPT_OSS, "gpt-4o", {}, {}, None),
)
SEED = 3
EAGER = dict(attn_implementation="eager", experts_implementation="eager")


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **EAGER).eval()


def randomise(model, seed):
    """Every weight anew: bf16 values, of a size that makes attention and routing decided."""
    g = torch.Generator().manual_seed(seed)
    normal = lambda p, std: torch.randn(p.shape, generator=g) * std
    tensors = list(model.named_parameters()) + [(k, b) for k, b in model.named_buffers() if "correction_bias" in k]
    with torch.no_grad():
        for name, p in tensors:
            fan_in = p.shape[-1]
            if "correction_bias" in name:
                w = normal(p, 0.2)
            elif "norm" in name:
                w = 1 + normal(p, 0.2)
            elif name.endswith("bias"):
                w = normal(p, 0.5)
            elif "sinks" in name:
                w = normal(p, 1.0)
            elif "embed_tokens" in name:
                w = normal(p, 1.0)
            elif "lm_head" in name:
                w = normal(p, 2.0 * fan_in**-0.5)
            elif "router.weight" in name or "mlp.gate.weight" in name or name.endswith("moe.gate.weight"):
                w = normal(p, 3.0 * fan_in**-0.5)
            elif any(k in name for k in ("q_proj", "k_proj", "q_b_proj", "kv_a_proj")):
                w = normal(p, 1.3 * fan_in**-0.5)
            elif "experts.gate_up_proj" in name or "experts.down_proj" in name:
                turned = model.config.model_type == "gpt_oss"
                std = 3.0 if turned and "gate_up" in name else 1.2  # some gates and ups reach the limit of 7
                w = normal(p, std * p.shape[-2 if turned else -1] ** -0.5)
            elif "o_proj" in name or "down_proj" in name:
                w = normal(p, 1.2 * fan_in**-0.5)
            else:
                w = normal(p, fan_in**-0.5)
            p.copy_(w.to(torch.bfloat16).float())


def prompts(name):
    rng = np.random.default_rng(SEED)
    lengths = [1, 7, 32, 33, 60] if name == "phi3" else LENGTHS
    return [rng.integers(0, 268, n).tolist() for n in lengths]


def margins(model, tokens):
    """The smallest gap between the last chosen expert and the next, in what decides, over all tokens and layers."""
    smallest = float("inf")
    def hook(module, _, out):
        nonlocal smallest
        logits, _, chosen = out
        rank = logits
        if hasattr(module, "e_score_correction_bias"):
            rank = logits.sigmoid() + module.e_score_correction_bias
        ranked = rank.gather(1, chosen).min(1).values
        rest = rank.clone().scatter_(1, chosen, float("-inf")).max(1).values
        # Where a group was left out, its experts may be better than the chosen.
        smallest = min([smallest, *(ranked - rest)[ranked >= rest].tolist()])
    handles = [m.register_forward_hook(hook) for m in model.modules() if type(m).__name__.lower().endswith("topkrouter")]
    for t in tokens:
        logits_of(model, t)
    for h in handles:
        h.remove()
    return smallest


def mxfp4(w):
    """[.., rows, cols] to the nearest MXFP4 values (OCP Microscaling 1.0): blocks and scales."""
    grid = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    grid = torch.cat([grid, -grid])
    x = w.reshape(*w.shape[:-1], -1, 32)
    exponent = torch.floor(torch.log2(x.abs().amax(-1).clamp(min=1e-30))) - 2
    scaled = x / torch.exp2(exponent)[..., None]
    codes = (scaled[..., None] - grid).abs().argmin(-1).to(torch.uint8)
    return (codes[..., 0::2] | (codes[..., 1::2] << 4)), (exponent + 127).to(torch.uint8)


NOT_MXFP4 = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]


def to_mxfp4(model, folder):
    """The experts as gpt-oss ships them: `_blocks` and `_scales`, output-major; the model gets what transformers unpacks of them."""
    tensors = load_file(folder / "model.safetensors")
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
                blocks, scales = mxfp4(p.transpose(1, 2))
                p.copy_(convert_moe_packed_tensors(blocks, scales, dtype=torch.float32))
                del tensors[name]
                tensors[f"{name}_blocks"], tensors[f"{name}_scales"] = blocks.contiguous(), scales.contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = dict(
        quant_method="mxfp4", modules_to_not_convert=NOT_MXFP4)
    write_json(folder / "config.json", config)


def add_draft_head(folder):
    """One more layer than the model runs, as real downloads have it (tensors of some parts of it)."""
    tensors = load_file(folder / "model.safetensors")
    i, dim = LATENT["num_hidden_layers"], LATENT["hidden_size"]
    shapes = {"eh_proj.weight": (dim, 2 * dim), "enorm.weight": (dim,), "hnorm.weight": (dim,),
              "shared_head.norm.weight": (dim,), "input_layernorm.weight": (dim,), "mlp.gate.weight": (8, dim)}
    for key, shape in shapes.items():
        tensors[f"model.layers.{i}.{key}"] = torch.ones(shape, dtype=torch.bfloat16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def spellings(config):
    """`config.json` of the same weights as downloads of transformers 4 have it."""
    c = config.to_dict()
    rope = dict(c["rope_parameters"])
    theta, kind = rope.pop("rope_theta"), rope.pop("rope_type")
    scaling = None if kind == "default" else dict(rope, type=kind)
    gone = ("rope_parameters", "dtype", "qk_head_dim", "num_mtp_layers", "transformers_version", "layer_types")
    old = {k: v for k, v in c.items() if k not in gone and not k.startswith("_")}
    old |= dict(torch_dtype="bfloat16", transformers_version="4.44.0", rope_theta=theta, rope_scaling=scaling)
    match c["model_type"]:
        case "qwen3_moe":
            old |= dict(num_experts=old.pop("num_local_experts", c.get("num_experts")), max_window_layers=4, sliding_window=4096)
        case "phi3":
            for key in ("partial_rotary_factor", "original_max_position_embeddings"):
                old[key] = scaling.pop(key, old.get(key))
            old |= dict(auto_map=dict(AutoConfig="configuration_phi3.Phi3Config"), full_attn_mod=1, interpolate_factor=1,
                        lm_head_bias=False, mlp_bias=False)
        case "deepseek_v3" | "deepseek_v2":
            old.pop("head_dim", None)
            old |= dict(moe_layer_freq=1, ep_size=1, aux_loss_alpha=0.001, seq_aux=True, pretraining_tp=1)
            old |= dict(V3_KEYS, num_nextn_predict_layers=1) if c["model_type"] == "deepseek_v3" else V2_KEYS
        case "gpt_oss":
            old |= dict(experts_per_token=4, initial_context_length=16, layer_types=c["layer_types"])
            scaling["rope_type"] = scaling.pop("type")
    return dict(old, architectures=[type_of(config)])


# YaRN's factors of cos and sin (mscale, divided by mscale_all_dim's) and of the scores (mscale_all_dim), apart.
MSCALES = dict(below=(0.6, 1.0), above=(1.0, 0.6))


def mscales(folder, tokens):
    """The same weights with the two factors apart, which GGUF cannot carry: `mscale/` has configurations and logits."""
    (folder / "mscale").mkdir(exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    for name, (m, all_dim) in MSCALES.items():
        rope = config["rope_parameters"] | dict(mscale=m, mscale_all_dim=all_dim)
        write_json(folder / "mscale" / f"{name}.json", config | dict(rope_parameters=rope))
        logits_with(folder, tokens, dict(rope_parameters=rope), folder / "mscale" / f"{name}.safetensors")


def type_of(config):
    return {"mixtral": "MixtralForCausalLM", "qwen3_moe": "Qwen3MoeForCausalLM", "phi3": "Phi3ForCausalLM",
            "deepseek_v2": "DeepseekV2ForCausalLM", "deepseek_v3": "DeepseekV3ForCausalLM",
            "gpt_oss": "GptOssForCausalLM"}[config.model_type]


def make(llama_cpp, name):
    config, pre, keys, dropped, checked = CASES[name]
    folder, tokens = HERE / name, prompts(name)
    shutil.rmtree(folder, ignore_errors=True)
    model = AutoModelForCausalLM.from_config(config, **EAGER).float().eval()
    randomise(model, SEED)
    save_checkpoint(model, folder)
    make_tokenizer().save(str(folder / "tokenizer.json"))
    if keys:
        write_json(folder / "config.json", json.loads((folder / "config.json").read_text()) | keys)
    if name == "deepseek_v3":
        add_draft_head(folder)
    if name == "gpt_oss_mxfp4":
        to_mxfp4(model, folder)
        as_shipped = Mxfp4Config(dequantize=True, modules_to_not_convert=NOT_MXFP4)
        whole = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, quantization_config=as_shipped, **EAGER).float().eval()
        worst = max(float((logits_of(whole, t) - logits_of(model, t)).abs().max()) for t in tokens)
        print(f"  loaded by transformers from its blocks: differs by {worst:.1e}")
        assert worst < 2e-5
    else:
        model = load(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    logits = [logits_of(model, t) for t in tokens]
    save_logits(folder / "logits.safetensors", tokens, logits)
    double = model.double()
    truth = [double(torch.tensor([t]), use_cache=False).logits[0].detach() for t in tokens]
    std = torch.cat(logits).std()
    off = max(float((a - b).abs().max() / std) for a, b in zip(truth, logits))
    same = all(bool((a.argmax(-1) == b.argmax(-1)).all()) for a, b in zip(truth, logits))
    model = model.float()
    print(f"{name}: std {std:.3f}, float64 (norms and angles in float32) differs by {off:.1e} of it, same argmax {same}, margin {margins(model, tokens):.1e}")
    assert same and off < 5e-5
    reference = folder / "logits.safetensors"
    if name not in ("qwen3_moe_all", "gpt_oss_mxfp4"):
        (folder / "spellings").mkdir()
        write_json(folder / "spellings" / "old.json", spellings(config))
        with tempfile.TemporaryDirectory() as scratch:
            logits_with(folder, tokens, None, Path(scratch) / "old", config=folder / "spellings" / "old.json")
            again = load_file(Path(scratch) / "old")["logits"]
        worst = float((again - torch.cat(logits)).abs().max())
        print(f"  spelling {name}/old: differs by {worst}")
        assert worst == 0
        if name == "phi3":
            # The first files' name for it, which transformers 5 no longer reads with the context at the top.
            old = json.loads((folder / "spellings" / "old.json").read_text())
            old["rope_scaling"]["type"] = "su"
            write_json(folder / "spellings" / "su.json", old)
    if name in ("deepseek_v3", "deepseek_v2"):
        mscales(folder, tokens)
    if dropped:
        reference = folder / "logits_gguf.safetensors"
        logits_with(folder, tokens, dropped, reference)
    if pre is None:
        return
    convert(llama_cpp, folder, folder / "model-bf16.gguf", "bf16", pre)
    if checked is None:
        return
    with tempfile.TemporaryDirectory() as scratch:
        f32 = Path(scratch) / f"{name}-f32.gguf"
        convert(llama_cpp, folder, f32, "f32", pre)
        if checked:
            reference = Path(scratch) / "logits.safetensors"
            logits_with(folder, tokens, checked, reference, model)
        assert check(f32, reference) < 5e-5


def logits_with(folder, tokens, keys, out, model=None, config=None):
    """Logits of the same weights under other keys, or another configuration."""
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch) / folder.name
        shutil.copytree(folder, scratch)
        given = json.loads((config or folder / "config.json").read_text())
        write_json(scratch / "config.json", given | (keys or {}))
        if model is None:
            other = load(scratch)
        else:
            config = AutoConfig.from_pretrained(scratch)
            other = AutoModelForCausalLM.from_config(config, **EAGER).float().eval()
            other.load_state_dict(model.state_dict())
        save_logits(out, tokens, [logits_of(other, t) for t in tokens])


def main():
    torch.set_num_threads(1)
    llama_cpp = Path(sys.argv[1]).resolve()
    sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]
    import conversion.phi

    # Phi-4's way: the tokenizer here is no SentencePiece model.
    conversion.phi.Phi3MiniModel.set_vocab = lambda self: self._set_vocab_gpt2()
    for name in sys.argv[2:] or CASES:
        make(llama_cpp, name)


if __name__ == "__main__":
    main()
