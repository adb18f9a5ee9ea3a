//! Qwen3 MoE: Qwen3's attention (weighted norm on each query and key head before the rotary embedding, no biases) and
//! mixtures of experts, with dense layers where `mlp_only_layers` or `decoder_sparse_step` say so.
//!
//! Sources: `Qwen3MoeForCausalLM` in transformers; `qwen3moe` in llama.cpp, whose files carry neither the dense layers nor
//! `norm_topk_prob`: experts in every layer and weights divided by their sum are implied.

use serde_json::{Value, json};

use super::families::{GgufSource, HfSource};
use super::sizes::Sizes;
use super::{
    Activation, Attention, Ffn, LayerSpec, ModelSpec, Moe, Norm, NormKind, Pairing, QkNorm,
    QkNormOrder, Rope, rope,
};
use crate::Result;

const CLASS: Sizes = Sizes {
    n_layers: 24,
    dim: 2048,
    n_heads: 32,
    n_kv_heads: 4,
    head_dim: 0,
    hidden_dim: 6144,
    n_vocab: 151_936,
    context_length: 32768,
    norm: Norm {
        kind: NormKind::Rms,
        eps: 1e-6,
        plus_one: false,
    },
    tied: false,
};

/// From `config.json`.
pub fn from_hf(source: &HfSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    keys.must_be("hidden_act", &json!("silu"))?;
    keys.must_be("use_sliding_window", &json!(false))?;
    keys.must_be("attention_bias", &json!(false))?;
    // Real files have numbers beside `use_sliding_window: false`.
    keys.irrelevant(&["sliding_window", "max_window_layers"]);
    let sizes = Sizes::from_hf(source, &CLASS)?;
    let step = keys.opt_size("decoder_sparse_step")?.unwrap_or(1);
    let index = |v: &Value| v.as_u64().map(|n| n as usize);
    let dense = keys.opt_list("mlp_only_layers", "a list of layer indices", index)?;
    let dense = dense.unwrap_or_default();
    // Today's files have the second name.
    let n_experts = [
        keys.opt_size("num_experts")?,
        keys.opt_size("num_local_experts")?,
    ];
    let moe = Moe {
        normalise: keys.flag_or("norm_topk_prob", false)?,
        ..Moe::plain(
            n_experts[0].or(n_experts[1]).unwrap_or(128),
            keys.opt_size("num_experts_per_tok")?.unwrap_or(8),
            keys.opt_size("moe_intermediate_size")?.unwrap_or(768),
            Activation::Silu,
        )
    };
    let rope = rope::from_hf(keys, source.file, sizes.head_dim, 10_000.0, Pairing::Half)?;
    let sparse = |i: usize| !dense.contains(&i) && (i + 1).is_multiple_of(step);
    Ok(model(&sizes, sparse, &moe, &rope))
}

/// From GGUF metadata.
pub fn from_gguf(source: &GgufSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    let sizes = Sizes::from_gguf(source, NormKind::Rms)?;
    let (n, used) = (keys.size("expert_count")?, keys.size("expert_used_count")?);
    let hidden = keys.size("expert_feed_forward_length")?;
    let moe = Moe {
        normalise: true,
        ..Moe::plain(n, used, hidden, Activation::Silu)
    };
    let factors = source.rope_factors.as_deref();
    let rope = rope::from_gguf(keys, sizes.head_dim, factors, Pairing::Half)?;
    Ok(model(&sizes, |_| true, &moe, &rope))
}

fn model(sizes: &Sizes, sparse: impl Fn(usize) -> bool, moe: &Moe, rope: &Rope) -> ModelSpec {
    let dense = sizes.layer(Activation::Silu);
    let layer = |i| LayerSpec {
        attention: Attention {
            rope: Some(rope.clone()),
            qk_norm: Some(QkNorm {
                order: QkNormOrder::BeforeRope,
                weighted: true,
                plus_one: false,
                eps: sizes.norm.eps,
            }),
            ..sizes.attention()
        },
        ffn: if sparse(i) {
            Ffn::Moe(moe.clone())
        } else {
            dense.ffn.clone()
        },
        ..dense.clone()
    };
    sizes.model("qwen3_moe", (0..sizes.n_layers).map(layer).collect())
}
