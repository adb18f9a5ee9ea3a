//! Qwen 2 and 2.5, QwQ, R1-Distill-Qwen: biases on q, k and v, and YaRN where the file asks for it.
//!
//! Sources: `Qwen2ForCausalLM` in transformers; `qwen2` in llama.cpp. `use_sliding_window: false` makes the number beside
//! it void; where it is true, layers from `max_window_layers` on have the window, which GGUF cannot carry.

use serde_json::json;

use super::families::{GgufSource, HfSource};
use super::sizes::{Sizes, masks_from_hf};
use super::{
    Activation, Attention, LayerSpec, Mask, ModelSpec, Norm, NormKind, Pairing, Rope, rope,
};
use crate::Result;

/// What the class in transformers supplies.
pub const CLASS: Sizes = Sizes {
    n_layers: 32,
    dim: 4096,
    n_heads: 32,
    n_kv_heads: 32,
    head_dim: 0,
    hidden_dim: 22016,
    n_vocab: 151_936,
    context_length: 32768,
    norm: Norm::rms(1e-6),
    tied: false,
};

/// From `config.json`.
pub fn from_hf(source: &HfSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    keys.must_be("hidden_act", &json!("silu"))?;
    keys.irrelevant(&["use_mrope"]);
    let sizes = Sizes::from_hf(source, &CLASS)?;
    let masks = masks(source, &sizes)?;
    let rope = rope::from_hf(keys, source.file, sizes.head_dim, 10_000.0, Pairing::Half)?;
    Ok(model(&sizes, &masks, rope))
}

/// From GGUF metadata.
pub fn from_gguf(source: &GgufSource<'_>) -> Result<ModelSpec> {
    let sizes = Sizes::from_gguf(source, NormKind::Rms)?;
    let factors = source.rope_factors.as_deref();
    let rope = rope::from_gguf(&source.keys, sizes.head_dim, factors, Pairing::Half)?;
    Ok(model(&sizes, &vec![Mask::Full; sizes.n_layers], rope))
}

/// The masks of Qwen 2 and 3.
pub fn masks(source: &HfSource<'_>, sizes: &Sizes) -> Result<Vec<Mask>> {
    let keys = &source.keys;
    let window = keys.opt_size("sliding_window")?;
    let window = if keys.flag_or("use_sliding_window", false)? {
        window
    } else {
        None
    };
    // 0 is a valid number here: every layer has the window.
    let first = keys.opt_number("max_window_layers")?.unwrap_or(28.0);
    masks_from_hf(keys, sizes.n_layers, window, |i| i as f64 >= first)
}

fn model(sizes: &Sizes, masks: &[Mask], rope: Rope) -> ModelSpec {
    let layer = |mask: &Mask| LayerSpec {
        mask: *mask,
        attention: Attention {
            rope: Some(rope.clone()),
            qkv_bias: true,
            ..sizes.attention()
        },
        ..sizes.layer(Activation::Silu)
    };
    sizes.model("qwen2", masks.iter().map(layer).collect())
}
