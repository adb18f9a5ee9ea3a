//! Qwen 3: no biases, and a weighted norm on query and key heads before the rotary embedding.
//!
//! Sources: `Qwen3ForCausalLM` in transformers; `qwen3` in llama.cpp, which cannot carry the window that some layers may
//! have (`qwen2.rs`) nor `attention_bias`.

use serde_json::json;

use super::families::{GgufSource, HfSource};
use super::sizes::Sizes;
use super::{
    Activation, Attention, LayerSpec, Mask, ModelSpec, NormKind, Pairing, QkNorm, QkNormOrder,
    Rope, qwen2, rope,
};
use crate::Result;

const CLASS: Sizes = Sizes {
    head_dim: 128,
    ..qwen2::CLASS
};

/// From `config.json`.
pub fn from_hf(source: &HfSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    keys.must_be("hidden_act", &json!("silu"))?;
    let sizes = Sizes::from_hf(source, &CLASS)?;
    let masks = qwen2::masks(source, &sizes)?;
    let bias = keys.flag_or("attention_bias", false)?;
    let rope = rope::from_hf(keys, source.file, sizes.head_dim, 10_000.0, Pairing::Half)?;
    Ok(model(&sizes, &masks, bias, rope))
}

/// From GGUF metadata.
pub fn from_gguf(source: &GgufSource<'_>) -> Result<ModelSpec> {
    let sizes = Sizes::from_gguf(source, NormKind::Rms)?;
    let factors = source.rope_factors.as_deref();
    let rope = rope::from_gguf(&source.keys, sizes.head_dim, factors, Pairing::Half)?;
    let masks = vec![Mask::Full; sizes.n_layers];
    Ok(model(&sizes, &masks, false, rope))
}

fn model(sizes: &Sizes, masks: &[Mask], bias: bool, rope: Rope) -> ModelSpec {
    let layer = |mask: &Mask| LayerSpec {
        mask: *mask,
        attention: Attention {
            rope: Some(rope.clone()),
            qk_norm: Some(QkNorm {
                order: QkNormOrder::BeforeRope,
                weighted: true,
                plus_one: false,
                eps: sizes.norm.eps,
            }),
            qkv_bias: bias,
            out_bias: bias,
            ..sizes.attention()
        },
        ..sizes.layer(Activation::Silu)
    };
    sizes.model("qwen3", masks.iter().map(layer).collect())
}
