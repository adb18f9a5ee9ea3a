//! Mixtral: a Mistral whose feed-forward part is a mixture of experts in every layer; softmax over all experts, the
//! chosen weights divided by their sum.
//!
//! Sources: `MixtralForCausalLM` in transformers; `llama` in llama.cpp, where a number of experts makes a Mixtral.
//! A GGUF file does not carry the sliding window: none is implied.

use serde_json::json;

use super::families::{GgufSource, HfSource};
use super::sizes::Sizes;
use super::{
    Activation, Attention, Ffn, LayerSpec, Mask, ModelSpec, Moe, Norm, NormKind, Pairing, Rope,
    rope,
};
use crate::Result;

const CLASS: Sizes = Sizes {
    n_layers: 32,
    dim: 4096,
    n_heads: 32,
    n_kv_heads: 8,
    head_dim: 0,
    hidden_dim: 14336,
    n_vocab: 32000,
    context_length: 131_072,
    norm: Norm {
        kind: NormKind::Rms,
        eps: 1e-5,
        plus_one: false,
    },
    tied: false,
};

/// From `config.json`.
pub fn from_hf(source: &HfSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    keys.must_be("hidden_act", &json!("silu"))?;
    let sizes = Sizes::from_hf(source, &CLASS)?;
    let n_experts = keys.opt_size("num_local_experts")?.unwrap_or(8);
    let n_used = keys.opt_size("num_experts_per_tok")?.unwrap_or(2);
    let mask = keys
        .opt_size("sliding_window")?
        .map_or(Mask::Full, Mask::Window);
    let (head_dim, pairing) = (sizes.head_dim, Pairing::Half);
    let rope = rope::from_hf(keys, source.file, head_dim, 1e6, pairing)?;
    Ok(model(&sizes, [n_experts, n_used], mask, rope))
}

/// From GGUF metadata of the architecture `llama` with experts.
pub fn from_gguf(source: &GgufSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    let sizes = Sizes::from_gguf(source, NormKind::Rms)?;
    let experts = [keys.size("expert_count")?, keys.size("expert_used_count")?];
    let factors = source.rope_factors.as_deref();
    let rope = rope::from_gguf(keys, sizes.head_dim, factors, Pairing::Interleaved)?;
    Ok(model(&sizes, experts, Mask::Full, rope))
}

fn model(sizes: &Sizes, [n_experts, n_used]: [usize; 2], mask: Mask, rope: Rope) -> ModelSpec {
    let layer = LayerSpec {
        mask,
        attention: Attention {
            rope: Some(rope),
            ..sizes.attention()
        },
        ffn: Ffn::Moe(Moe {
            normalise: true,
            ..Moe::plain(n_experts, n_used, sizes.hidden_dim, Activation::Silu)
        }),
        ..sizes.layer(Activation::Silu)
    };
    sizes.model("mixtral", vec![layer; sizes.n_layers])
}
