//! What DeepSeek V2 and V3 share: latent attention (`latent.rs`) and dense layers before the mixtures.
//!
//! Sources: `DeepseekV2ForCausalLM` and `DeepseekV3ForCausalLM` in transformers; `deepseek2` in llama.cpp.

use serde_json::json;

use super::families::{GgufSource, HfSource};
use super::sizes::Sizes;
use super::{Activation, Attention, Ffn, LayerSpec, ModelSpec, Moe, NormKind, latent};
use crate::Result;

/// What the classes of transformers supply where a file is silent.
const CLASS: Sizes = Sizes {
    context_length: 4096,
    ..Sizes::NONE
};

/// Sizes, attention and experts of one configuration.
pub struct Parts {
    /// Those that all families have.
    pub sizes: Sizes,
    /// Of every layer.
    pub attention: Attention,
    /// Of every layer but the first `first_dense`.
    pub moe: Moe,
    /// Layers before the mixtures.
    pub first_dense: usize,
}

/// From `config.json`; scoring and choice of the experts are the family's own.
///
/// # Errors
/// A missing or ill-typed key, named.
pub fn from_hf(source: &HfSource<'_>) -> Result<Parts> {
    let keys = &source.keys;
    keys.must_be("hidden_act", &json!("silu"))?;
    for flag in ["attention_bias", "mlp_bias"] {
        keys.must_be(flag, &json!(false))?;
    }
    keys.must_be("moe_layer_freq", &json!(1))?;
    // The draft head is not run.
    keys.irrelevant(&["num_nextn_predict_layers", "num_mtp_layers"]);
    keys.irrelevant(&["aux_loss_alpha", "seq_aux", "ep_size"]);
    let sizes = Sizes::from_hf(source, &CLASS)?;
    let hidden = keys.size("moe_intermediate_size")?;
    let shared = keys.opt_size("n_shared_experts")?;
    let n_experts = keys.size("n_routed_experts")?;
    let n_used = keys.size("num_experts_per_tok")?;
    let first_dense = keys.opt_number("first_k_dense_replace")?.unwrap_or(0.0);
    Ok(Parts {
        attention: latent::from_hf(source, sizes.n_heads)?,
        moe: Moe {
            shared_hidden_dim: shared.map(|n| n.saturating_mul(hidden)),
            score_scale: keys.positive_or("routed_scaling_factor", 1.0)? as f32,
            ..Moe::plain(n_experts, n_used, hidden, Activation::Silu)
        },
        first_dense: first_dense.max(0.0) as usize,
        sizes,
    })
}

/// From GGUF metadata.
///
/// # Errors
/// A missing or ill-typed key, named.
pub fn from_gguf(source: &GgufSource<'_>) -> Result<Parts> {
    let keys = &source.keys;
    keys.must_be("attention.head_count_kv", &json!(1))?;
    keys.irrelevant(&["nextn_predict_layers"]);
    let sizes = Sizes::of_any_heads(source, NormKind::Rms)?;
    let hidden = keys.size("expert_feed_forward_length")?;
    let shared = keys.opt_number("expert_shared_count")?.unwrap_or(0.0);
    let shared = shared.max(0.0) as usize;
    let (n_experts, n_used) = (keys.size("expert_count")?, keys.size("expert_used_count")?);
    let first_dense = keys.opt_number("leading_dense_block_count")?.unwrap_or(0.0);
    Ok(Parts {
        attention: latent::from_gguf(source, sizes.n_heads)?,
        moe: Moe {
            shared_hidden_dim: (shared > 0).then_some(shared.saturating_mul(hidden)),
            score_scale: keys.positive_or("expert_weights_scale", 1.0)? as f32,
            ..Moe::plain(n_experts, n_used, hidden, Activation::Silu)
        },
        first_dense: first_dense.max(0.0) as usize,
        sizes,
    })
}

impl Parts {
    /// A model of these parts.
    pub fn model(&self, family: &str) -> ModelSpec {
        let dense = LayerSpec {
            attention: self.attention.clone(),
            ..self.sizes.layer(Activation::Silu)
        };
        let mixed = LayerSpec {
            ffn: Ffn::Moe(self.moe.clone()),
            ..dense.clone()
        };
        let first_dense = self.first_dense.min(self.sizes.n_layers);
        let mut layers = vec![dense; first_dense];
        layers.resize(self.sizes.n_layers, mixed);
        self.sizes.model(family, layers)
    }
}
