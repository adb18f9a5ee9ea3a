//! Command A, Command R7B, Tiny Aya: windowed layers with RoPE between full layers without positions; attention and
//! feed-forward part read one LayerNorm and both add to the stream; logits have a factor.
//!
//! Sources: `Cohere2ForCausalLM` in transformers; `cohere2` in llama.cpp, whose files imply that every fourth layer is
//! full and cannot carry biases.

use serde_json::json;

use super::families::{GgufSource, HfSource};
use super::sizes::{Sizes, masks_from_gguf, masks_from_hf};
use super::{
    Activation, Attention, LayerSpec, Mask, ModelSpec, Norm, NormKind, Pairing, Residual, Rope,
    rope,
};
use crate::Result;

const CLASS: Sizes = Sizes {
    n_layers: 40,
    dim: 8192,
    n_heads: 64,
    n_kv_heads: 0,
    head_dim: 0,
    hidden_dim: 22528,
    n_vocab: 256_000,
    context_length: 8192,
    norm: Norm {
        kind: NormKind::Layer,
        eps: 1e-5,
        plus_one: false,
    },
    tied: true,
};

/// From `config.json`.
pub fn from_hf(source: &HfSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    keys.must_be("hidden_act", &json!("silu"))?;
    keys.must_be("order_of_interleaved_layers", &json!("local_attn_first"))?;
    keys.must_be("position_embedding_type", &json!("rope_gptj"))?;
    keys.must_be("rotary_pct", &json!(1.0))?;
    keys.must_be("use_gated_activation", &json!(true))?;
    keys.must_be("use_parallel_block", &json!(true))?;
    keys.must_be("use_qk_norm", &json!(false))?;
    // Who holds which part of a shared table, and the pattern's length once more.
    keys.irrelevant(&[
        "layer_switch",
        "use_embedding_sharing",
        "use_parallel_embedding",
    ]);
    let sizes = Sizes::from_hf(source, &CLASS)?;
    let every = keys.opt_size("sliding_window_pattern")?.unwrap_or(4);
    let window = match keys.opt_size("sliding_window")? {
        None if keys.is_null("sliding_window") => None,
        n => Some(n.unwrap_or(4096)),
    };
    // Rotary embedding goes with the window, and there is none without.
    let masks = masks_from_hf(keys, sizes.n_layers, window, |i| (i + 1) % every != 0)?;
    let bias = keys.flag_or("attention_bias", false)?;
    let pairing = Pairing::Interleaved;
    let rope = rope::from_hf(keys, source.file, sizes.head_dim, 10_000.0, pairing)?;
    let scale = keys.opt_number("logit_scale")?.unwrap_or(0.0625);
    Ok(model(&sizes, &masks, bias, &rope, scale))
}

/// From GGUF metadata.
pub fn from_gguf(source: &GgufSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    let sizes = Sizes::from_gguf(source, NormKind::Layer)?;
    let masks = masks_from_gguf(keys, sizes.n_layers, None, 4)?;
    let factors = source.rope_factors.as_deref();
    let rope = rope::from_gguf(keys, sizes.head_dim, factors, Pairing::Interleaved)?;
    let scale = keys.number("logit_scale")?;
    Ok(model(&sizes, &masks, false, &rope, scale))
}

fn model(sizes: &Sizes, masks: &[Mask], bias: bool, rope: &Rope, scale: f64) -> ModelSpec {
    let layer = |mask: &Mask| LayerSpec {
        mask: *mask,
        attention: Attention {
            rope: (*mask != Mask::Full).then(|| rope.clone()),
            qkv_bias: bias,
            out_bias: bias,
            ..sizes.attention()
        },
        residual: Residual::Parallel,
        ffn_norm: None,
        ..sizes.layer(Activation::Silu)
    };
    ModelSpec {
        logit_scale: scale as f32,
        ..sizes.model("cohere2", masks.iter().map(layer).collect())
    }
}
