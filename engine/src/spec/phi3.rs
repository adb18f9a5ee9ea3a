//! Phi-3, Phi-3.5 mini, Phi-4 and Phi-4 mini: fused projections, LongRoPE where the file has its lists, and in some a
//! rotation of the first part of each head, or a window on every layer.
//!
//! Sources: `Phi3ForCausalLM` in transformers; `phi3` in llama.cpp, which reads no window though its files carry it, and
//! chooses LongRoPE's list by the allocated context. The scaling's `attention_factor` is all a file has of it.

use serde_json::json;

use super::families::{GgufSource, HfSource};
use super::sizes::Sizes;
use super::{
    Activation, Attention, LayerSpec, Mask, ModelSpec, Norm, NormKind, Pairing, Rope, longrope,
    rope,
};
use crate::Result;

const CLASS: Sizes = Sizes {
    n_layers: 32,
    dim: 3072,
    n_heads: 32,
    n_kv_heads: 0,
    head_dim: 0,
    hidden_dim: 8192,
    n_vocab: 32064,
    context_length: 4096,
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
    for flag in ["attention_bias", "mlp_bias", "lm_head_bias"] {
        keys.must_be(flag, &json!(false))?;
    }
    // Files of Phi-4 mini carry them; transformers does not read them.
    keys.irrelevant(&["full_attn_mod", "interpolate_factor"]);
    let sizes = Sizes::from_hf(source, &CLASS)?;
    let window = keys.opt_size("sliding_window")?;
    let (head_dim, pairing) = (sizes.head_dim, Pairing::Half);
    let rope = rope::from_hf(keys, source.file, head_dim, 10_000.0, pairing)?;
    Ok(model(&sizes, window, rope))
}

/// From GGUF metadata.
pub fn from_gguf(source: &GgufSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    let rotary_dim = keys.size("rope.dimension_count")?;
    let sizes = Sizes::of_any_heads(source, NormKind::Rms)?;
    keys.must_be("attention.value_length", &json!(sizes.head_dim))?;
    // 0: none.
    let window = keys.opt_number("attention.sliding_window")?;
    let window = window.filter(|n| *n > 0.0).map(|n| n as usize);
    let rope = match longrope::from_gguf(source, rotary_dim)? {
        Some(rope) => rope,
        None => rope::from_gguf(keys, rotary_dim, None, Pairing::Half)?,
    };
    Ok(model(&sizes, window, rope))
}

fn model(sizes: &Sizes, window: Option<usize>, rope: Rope) -> ModelSpec {
    let layer = LayerSpec {
        mask: window.map_or(Mask::Full, Mask::Window),
        attention: Attention {
            rope: Some(rope),
            ..sizes.attention()
        },
        ..sizes.layer(Activation::Silu)
    };
    sizes.model("phi3", vec![layer; sizes.n_layers])
}
