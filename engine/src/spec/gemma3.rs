//! Gemma 3: five windowed layers to one full, each kind with its own base of the rotary embedding, and scaling on the full
//! ones alone; a weighted norm on query and key heads before it; else as Gemma 2, without its caps on the scores.
//!
//! Sources: `Gemma3ForCausalLM` and `Gemma3ForConditionalGeneration` in transformers; `gemma3` in llama.cpp, whose files
//! hold 1 + w, and imply that every sixth layer is full, the base 10 000 of the windowed layers (older files), and what
//! the scores are divided by (as in Gemma 2).

use serde_json::json;

use super::families::{GgufSource, HfSource};
use super::sizes::{Sizes, masks_from_gguf, masks_from_hf};
use super::{
    Activation, Attention, LayerSpec, Mask, ModelSpec, NormKind, Pairing, QkNorm, QkNormOrder,
    Rope, gemma2, rope,
};
use crate::Result;

const CLASS: Sizes = Sizes {
    n_vocab: 262_208,
    context_length: 131_072,
    ..gemma2::CLASS
};

/// From `config.json` (of a text model, or the `text_config` of one with a vision tower).
pub fn from_hf(source: &HfSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    keys.must_be("hidden_activation", &json!("gelu_pytorch_tanh"))?;
    keys.must_be("use_bidirectional_attention", &json!(false))?;
    keys.must_be("attention_bias", &json!(false))?;
    // transformers has the key and no cap on the scores.
    keys.irrelevant(&["attn_logit_softcapping"]);
    let sizes = Sizes::from_hf(source, &CLASS)?;
    let window = keys.opt_size("sliding_window")?.unwrap_or(4096);
    let old = keys.opt_size("_sliding_window_pattern")?;
    let every = keys
        .opt_size("sliding_window_pattern")?
        .or(old)
        .unwrap_or(6);
    let by_index = |i: usize| !(i + 1).is_multiple_of(every);
    let masks = masks_from_hf(keys, sizes.n_layers, Some(window), by_index)?;
    let cap = keys.opt_number("final_logit_softcapping")?;
    let divisor = keys.positive_or("query_pre_attn_scalar", 256.0)?;
    let local = keys.positive_or("rope_local_base_freq", 10_000.0)?;
    let bases = [1_000_000.0, local];
    let ropes = rope::by_kind(keys, source.file, sizes.head_dim, bases, Pairing::Half)?;
    Ok(model(&sizes, &masks, &ropes, divisor, cap))
}

/// From GGUF metadata.
pub fn from_gguf(source: &GgufSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    let sizes = Sizes::from_gguf(source, NormKind::Rms)?;
    let masks = masks_from_gguf(keys, sizes.n_layers, None, 6)?;
    let cap = keys.opt_number("final_logit_softcapping")?;
    let factors = source.rope_factors.as_deref();
    let full = rope::from_gguf(keys, sizes.head_dim, factors, Pairing::Half)?;
    let local = keys.positive_or("rope.freq_base_swa", 10_000.0)?;
    let ropes = [full, rope::plain(local, sizes.head_dim, Pairing::Half)];
    let divisor = gemma2::divisor(&sizes, 62);
    Ok(model(&sizes, &masks, &ropes, divisor, cap))
}

fn model(
    sizes: &Sizes,
    masks: &[Mask],
    [full, local]: &[Rope; 2],
    divisor: f64,
    cap: Option<f64>,
) -> ModelSpec {
    let layer = |mask: &Mask| LayerSpec {
        mask: *mask,
        attention: Attention {
            scale: divisor.sqrt().recip() as f32,
            rope: Some(if *mask == Mask::Full { full } else { local }.clone()),
            qk_norm: Some(QkNorm {
                order: QkNormOrder::BeforeRope,
                weighted: true,
                plus_one: sizes.norm.plus_one,
                eps: sizes.norm.eps,
            }),
            ..sizes.attention()
        },
        attn_post_norm: Some(sizes.norm),
        ffn_post_norm: Some(sizes.norm),
        ..sizes.layer(Activation::GeluTanh)
    };
    ModelSpec {
        embedding_scale: (sizes.dim as f64).sqrt() as f32,
        logit_softcap: cap.map(|c| c as f32),
        ..sizes.model("gemma3", masks.iter().map(layer).collect())
    }
}
