//! Llama 4 (iRoPE): chunked layers with RoPE between layers without positions whose queries grow with the
//! position, and experts whose *input* is scaled by the router.
//!
//! Sources: `Llama4ForCausalLM` in transformers; `llama4` in llama.cpp, whose files carry neither chunk size nor
//! temperature: 8192 tokens, floor 8192 and scale 0.1 are implied there, and no QK norm where there are 128
//! experts.

use serde_json::json;

use super::families::{GgufSource, HfSource};
use super::sizes::Sizes;
use super::{Mask, ModelSpec, Norm, NormKind, Pairing, Temperature, llama4_layers, rope};
use crate::Result;

const CLASS: Sizes = Sizes {
    dim: 5120,
    n_heads: 40,
    n_kv_heads: 8,
    head_dim: 128,
    hidden_dim: 8192,
    n_vocab: 202_048,
    context_length: 131_072,
    norm: Norm::rms(1e-5),
    ..Sizes::NONE
};

/// From `config.json` (of a text model, or the `text_config` of one with a vision tower).
pub fn from_hf(source: &HfSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    keys.must_be("hidden_act", &json!("silu"))?;
    let sizes = Sizes::from_hf(source, &CLASS)?;
    let (n, expert_dim) = (sizes.n_layers, sizes.hidden_dim);
    let n_experts = keys.opt_size("num_local_experts")?.unwrap_or(16);
    let n_used = keys.opt_size("num_experts_per_tok")?.unwrap_or(1);
    let temperature = Temperature {
        offset: 1,
        floor: keys.positive_or("floor_scale", 8192.0)?,
        scale: keys.opt_number("attn_scale")?.unwrap_or(0.1),
    };
    let tuning = keys.flag_or("attn_temperature_tuning", true)?;
    let dense_dim = keys.opt_size("intermediate_size_mlp")?.unwrap_or(16384);
    let pairing = Pairing::Interleaved;
    let parts = llama4_layers::Parts {
        rope: rope::from_hf(keys, source.file, sizes.head_dim, 500_000.0, pairing)?,
        qk_norm: keys.flag_or("use_qk_norm", true)?,
        bias: keys.flag_or("attention_bias", false)?,
        temperature: tuning.then_some(temperature),
        moe: llama4_layers::moe([n_experts, n_used], expert_dim, expert_dim),
        sizes: Sizes {
            hidden_dim: dense_dim,
            ..sizes
        },
    };
    let roped = llama4_layers::roped(keys, n)?;
    let masks = llama4_layers::masks(keys, &roped)?;
    let mixed = llama4_layers::mixed(keys, n)?;
    let layer = |i: usize| parts.layer(roped[i], masks[i], mixed[i]);
    Ok(parts.sizes.model("llama4", (0..n).map(layer).collect()))
}

/// From GGUF metadata.
pub fn from_gguf(source: &GgufSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    let sizes = Sizes::from_gguf(source, NormKind::Rms)?;
    let (n, used) = (keys.size("expert_count")?, keys.size("expert_used_count")?);
    let expert_dim = keys.size("expert_feed_forward_length")?;
    let shared = keys.opt_size("expert_shared_feed_forward_length")?;
    let factors = source.rope_factors.as_deref();
    let parts = llama4_layers::Parts {
        rope: rope::from_gguf(keys, sizes.head_dim, factors, Pairing::Interleaved)?,
        qk_norm: n != 128,
        bias: false,
        temperature: Some(Temperature {
            offset: 1,
            floor: 8192.0,
            scale: 0.1,
        }),
        moe: llama4_layers::moe([n, used], expert_dim, shared.unwrap_or(expert_dim)),
        sizes,
    };
    let step = keys.opt_size("interleave_moe_layer_step")?.unwrap_or(1);
    let chunk = Mask::Chunk(keys.opt_size("attention.chunk_size")?.unwrap_or(8192));
    let layer = |nth: usize| match nth % 4 {
        0 => parts.layer(false, Mask::Full, nth.is_multiple_of(step)),
        _ => parts.layer(true, chunk, nth.is_multiple_of(step)),
    };
    let layers = (1..=sizes.n_layers).map(layer).collect();
    Ok(sizes.model("llama4", layers))
}
