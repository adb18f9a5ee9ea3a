//! Llama 1 to 3.3 and what has their shape: grouped-query attention, full mask, one gated feed-forward part.
//!
//! Sources: `LlamaForCausalLM` in transformers; `llama` in llama.cpp, whose converter permutes the rows of Q and
//! K so that the pairs of the rotary embedding become interleaved.

use serde_json::json;

use super::families::{GgufSource, HfSource};
use super::sizes::Sizes;
use super::{Activation, Attention, LayerSpec, ModelSpec, NormKind, Pairing, Rope, mixtral, rope};
use crate::Result;

/// From `config.json`.
pub fn from_hf(source: &HfSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    keys.must_be("hidden_act", &json!("silu"))?;
    keys.must_be("mlp_bias", &json!(false))?;
    let sizes = Sizes::from_hf(source, &Sizes::NONE)?;
    let bias = keys.flag_or("attention_bias", false)?;
    let rope = rope::from_hf(keys, source.file, sizes.head_dim, 10_000.0, Pairing::Half)?;
    Ok(model(&sizes, bias, rope))
}

/// From GGUF metadata.
pub fn from_gguf(source: &GgufSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    if keys.opt_number("expert_count")?.is_some_and(|n| n > 0.0) {
        return mixtral::from_gguf(source);
    }
    keys.must_be("expert_used_count", &json!(0))?;
    let sizes = Sizes::of_any_heads(source, NormKind::Rms)?;
    let head_dim = sizes.head_dim;
    keys.must_be("attention.value_length", &json!(head_dim))?;
    let rotary_dim = keys.opt_size("rope.dimension_count")?.unwrap_or(head_dim);
    let factors = source.rope_factors.as_deref();
    let rope = rope::from_gguf(keys, rotary_dim, factors, Pairing::Interleaved)?;
    Ok(model(&sizes, false, rope))
}

fn model(sizes: &Sizes, bias: bool, rope: Rope) -> ModelSpec {
    let layer = LayerSpec {
        attention: Attention {
            rope: Some(rope),
            qkv_bias: bias,
            out_bias: bias,
            ..sizes.attention()
        },
        ..sizes.layer(Activation::Silu)
    };
    sizes.model("llama", vec![layer; sizes.n_layers])
}
