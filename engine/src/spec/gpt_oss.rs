//! gpt-oss: windowed and full layers in turn, a learned sink in every head's softmax, biases everywhere, YaRN whose ramp is
//! not rounded to whole pairs, and experts with a clamped SwiGLU; the choice, then softmax over the chosen.
//!
//! Sources: `GptOssForCausalLM` in transformers; `gpt-oss` in llama.cpp, whose files carry neither `truncate`, the limit and
//! gain of the SwiGLU, nor which layers are windowed: no rounding, 7, 1.702 and every second layer from the first on are
//! implied. (llama.cpp itself rounds the ramp.)

use serde_json::json;

use super::families::{GgufSource, HfSource};
use super::rope::Yarn;
use super::sizes::{Sizes, masks_from_gguf, masks_from_hf};
use super::{
    Activation, Attention, Ffn, LayerSpec, Mask, ModelSpec, Moe, Norm, NormKind, Pairing, Rope,
    Scoring, rope,
};
use crate::Result;

const CLASS: Sizes = Sizes {
    n_layers: 36,
    dim: 2880,
    n_heads: 64,
    n_kv_heads: 8,
    head_dim: 64,
    hidden_dim: 2880,
    n_vocab: 201_088,
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
    keys.must_be("attention_bias", &json!(true))?;
    keys.irrelevant(&["experts_per_token", "initial_context_length"]);
    let sizes = Sizes::from_hf(source, &CLASS)?;
    // A window of null switches it off (and is not the default, which an absent key means).
    let window = match keys.opt_size("sliding_window")? {
        None if keys.is_null("sliding_window") => None,
        n => Some(n.unwrap_or(128)),
    };
    let masks = masks_from_hf(keys, sizes.n_layers, window, |i| i % 2 == 0)?;
    let activation = Activation::ClampedSwiglu {
        limit: keys.positive_or("swiglu_limit", 7.0)? as f32,
        alpha: keys.positive_or("swiglu_alpha", 1.702)? as f32,
    };
    let n_experts = keys.opt_size("num_local_experts")?.unwrap_or(128);
    let n_used = keys.opt_size("num_experts_per_tok")?.unwrap_or(4);
    let moe = Moe::plain(n_experts, n_used, sizes.hidden_dim, activation);
    let (head_dim, pairing) = (sizes.head_dim, Pairing::Half);
    let rope = rope::from_hf(keys, source.file, head_dim, 150_000.0, pairing)?;
    Ok(model(&sizes, &masks, moe, &rope))
}

/// From GGUF metadata.
pub fn from_gguf(source: &GgufSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    let sizes = Sizes::from_gguf(source, NormKind::Rms)?;
    let masks = masks_from_gguf(keys, sizes.n_layers, None, 2)?;
    let (n, used) = (keys.size("expert_count")?, keys.size("expert_used_count")?);
    let hidden_dim = keys.size("expert_feed_forward_length")?;
    let activation = Activation::ClampedSwiglu {
        limit: 7.0,
        alpha: 1.702,
    };
    let mut rope = rope::from_gguf(keys, sizes.head_dim, None, Pairing::Half)?;
    let yarn = Yarn {
        truncate: false,
        ..rope::yarn_from_gguf(keys)?
    };
    rope.inv_freq.clone_from(&rope.unscaled);
    yarn.apply(&mut rope.inv_freq);
    let moe = Moe::plain(n, used, hidden_dim, activation);
    Ok(model(&sizes, &masks, moe, &rope))
}

fn model(sizes: &Sizes, masks: &[Mask], moe: Moe, rope: &Rope) -> ModelSpec {
    let ffn = Ffn::Moe(Moe {
        scoring: Scoring::SoftmaxChosen,
        biases: true,
        ..moe
    });
    let layer = |mask: &Mask| LayerSpec {
        mask: *mask,
        attention: Attention {
            rope: Some(rope.clone()),
            sinks: true,
            qkv_bias: true,
            out_bias: true,
            ..sizes.attention()
        },
        ffn: ffn.clone(),
        ..sizes.layer(Activation::Silu)
    };
    sizes.model("gpt_oss", masks.iter().map(layer).collect())
}
