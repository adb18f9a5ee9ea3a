//! Gemma 2: windowed and full layers in turn, soft caps on scores and logits, norms before and after both sublayers that
//! multiply by 1 + w, embeddings times the square root of the width.
//!
//! Sources: `Gemma2ForCausalLM` in transformers; `gemma2` in llama.cpp, whose files hold 1 + w, and imply that the odd
//! layers (0-based) are full and what the scores are divided by: the root of the head's width, in the 27B that of
//! `dim / n_heads`.

use serde_json::json;

use super::families::{GgufSource, HfSource};
use super::sizes::{Sizes, masks_from_gguf, masks_from_hf};
use super::{
    Activation, Attention, LayerSpec, Mask, ModelSpec, Norm, NormKind, Pairing, Rope, rope,
};
use crate::Result;

/// What the class in transformers supplies.
pub const CLASS: Sizes = Sizes {
    n_layers: 26,
    dim: 2304,
    n_heads: 8,
    n_kv_heads: 4,
    head_dim: 256,
    hidden_dim: 9216,
    n_vocab: 256_000,
    context_length: 8192,
    norm: Norm {
        plus_one: true,
        ..Norm::rms(1e-6)
    },
    tied: true,
};

/// From `config.json`.
pub fn from_hf(source: &HfSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    keys.must_be("hidden_activation", &json!("gelu_pytorch_tanh"))?;
    keys.must_be("use_bidirectional_attention", &json!(false))?;
    keys.must_be("attention_bias", &json!(false))?;
    // Of no effect beside `hidden_activation`, and of no use without.
    keys.irrelevant(&["hidden_act", "sliding_window_size"]);
    let sizes = Sizes::from_hf(source, &CLASS)?;
    let window = match keys.opt_size("sliding_window")? {
        None if keys.is_null("sliding_window") => None,
        n => Some(n.unwrap_or(4096)),
    };
    let masks = masks_from_hf(keys, sizes.n_layers, window, |i| i % 2 == 0)?;
    let cap = |key: &str, default: f64| match keys.opt_number(key)? {
        None if keys.is_null(key) => Ok(None),
        _ => keys.positive_or(key, default).map(Some),
    };
    let caps = [
        cap("attn_logit_softcapping", 50.0)?,
        cap("final_logit_softcapping", 30.0)?,
    ];
    let divisor = keys.positive_or("query_pre_attn_scalar", 256.0)?;
    let rope = rope::from_hf(keys, source.file, sizes.head_dim, 10_000.0, Pairing::Half)?;
    Ok(model(&sizes, &masks, &rope, divisor, caps))
}

/// From GGUF metadata.
pub fn from_gguf(source: &GgufSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    let sizes = Sizes::from_gguf(source, NormKind::Rms)?;
    let masks = masks_from_gguf(keys, sizes.n_layers, Some(4096), 2)?;
    let caps = [
        Some(keys.positive_or("attn_logit_softcapping", 50.0)?),
        Some(keys.positive_or("final_logit_softcapping", 30.0)?),
    ];
    let divisor = divisor(&sizes, 46);
    let factors = source.rope_factors.as_deref();
    let rope = rope::from_gguf(keys, sizes.head_dim, factors, Pairing::Half)?;
    Ok(model(&sizes, &masks, &rope, divisor, caps))
}

/// What GGUF implies for `query_pre_attn_scalar`: the 27B, known by its number of layers, differs.
pub fn divisor(sizes: &Sizes, layers_of_27b: usize) -> f64 {
    if sizes.n_layers == layers_of_27b {
        (sizes.dim / sizes.n_heads) as f64
    } else {
        sizes.head_dim as f64
    }
}

fn model(
    sizes: &Sizes,
    masks: &[Mask],
    rope: &Rope,
    divisor: f64,
    [attn_cap, logit_cap]: [Option<f64>; 2],
) -> ModelSpec {
    let layer = |mask: &Mask| LayerSpec {
        mask: *mask,
        attention: Attention {
            scale: divisor.sqrt().recip() as f32,
            rope: Some(rope.clone()),
            softcap: attn_cap.map(|c| c as f32),
            ..sizes.attention()
        },
        attn_post_norm: Some(sizes.norm),
        ffn_post_norm: Some(sizes.norm),
        ..sizes.layer(Activation::GeluTanh)
    };
    ModelSpec {
        embedding_scale: (sizes.dim as f64).sqrt() as f32,
        logit_softcap: logit_cap.map(|c| c as f32),
        ..sizes.model("gemma2", masks.iter().map(layer).collect())
    }
}
