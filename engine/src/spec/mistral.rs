//! Mistral 7B, Nemo, Small, and the text model of Mistral Small 3.1 and later (`mistral3`): Llama's shape, a head width of
//! its own, and in the first ones a window on every layer.
//!
//! Sources: `MistralForCausalLM` and `Mistral3ForConditionalGeneration` in transformers. llama.cpp's converter writes the
//! first as `llama` and the second as `mistral3`, permutes the rows of Q and K so that pairs are interleaved, and leaves
//! the window out. A `mistral3` with a temperature is a Ministral 3.

use serde_json::json;

use super::families::{GgufSource, HfSource};
use super::sizes::Sizes;
use super::{
    Activation, Attention, LayerSpec, Mask, ModelSpec, Norm, NormKind, Pairing, Rope, ministral3,
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
    norm: Norm::rms(1e-6),
    tied: false,
};

/// From `config.json` (of a text model, or the `text_config` of one with a vision tower).
pub fn from_hf(source: &HfSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    keys.must_be("hidden_act", &json!("silu"))?;
    let sizes = Sizes::from_hf(source, &CLASS)?;
    // A window of null switches it off (and is not the default, which an absent key means).
    let window = match keys.opt_size("sliding_window")? {
        None if keys.is_null("sliding_window") => None,
        n => Some(n.unwrap_or(4096)),
    };
    let mask = window.map_or(Mask::Full, Mask::Window);
    let rope = rope::from_hf(keys, source.file, sizes.head_dim, 10_000.0, Pairing::Half)?;
    Ok(model(&sizes, mask, rope))
}

/// From GGUF metadata (`mistral3`).
pub fn from_gguf(source: &GgufSource<'_>) -> Result<ModelSpec> {
    if source.keys.get("attention.temperature_scale").is_some() {
        return ministral3::from_gguf(source);
    }
    let sizes = Sizes::from_gguf(source, NormKind::Rms)?;
    let factors = source.rope_factors.as_deref();
    let pairing = Pairing::Interleaved;
    let rope = rope::from_gguf(&source.keys, sizes.head_dim, factors, pairing)?;
    Ok(model(&sizes, Mask::Full, rope))
}

fn model(sizes: &Sizes, mask: Mask, rope: Rope) -> ModelSpec {
    let layer = LayerSpec {
        mask,
        attention: Attention {
            rope: Some(rope),
            ..sizes.attention()
        },
        ..sizes.layer(Activation::Silu)
    };
    sizes.model("mistral", vec![layer; sizes.n_layers])
}
