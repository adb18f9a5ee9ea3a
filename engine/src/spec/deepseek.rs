//! What DeepSeek V2 and V3 share: latent attention, YaRN's factor on the scores, dense layers before the mixtures.
//!
//! Sources: `DeepseekV2ForCausalLM` and `DeepseekV3ForCausalLM` in transformers; `deepseek2` in llama.cpp. The norms of the
//! low-rank queries and of the latent have an eps of 1e-6 whatever `rms_norm_eps` says, as in transformers. A GGUF file
//! does not carry YaRN's `mscale`, which is taken to be `mscale_all_dim`, so that cos and sin have no factor.

use serde_json::json;

use super::families::{GgufSource, HfSource};
use super::sizes::Sizes;
use super::{
    Activation, Attention, Ffn, Latent, LayerSpec, ModelSpec, Moe, Norm, NormKind, Pairing, Rope,
    rope,
};
use crate::Result;

const NORM_EPS: f32 = 1e-6;

/// What the classes of transformers supply where a file is silent.
pub const CLASS: Sizes = Sizes {
    n_layers: 0,
    dim: 0,
    n_heads: 0,
    n_kv_heads: 0,
    head_dim: 0,
    hidden_dim: 0,
    n_vocab: 0,
    context_length: 4096,
    norm: Norm {
        kind: NormKind::Rms,
        eps: 1e-6,
        plus_one: false,
    },
    tied: false,
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
    // The draft head is not run; transformers writes the widths of heads that follow from the others.
    keys.irrelevant(&["num_nextn_predict_layers", "num_mtp_layers", "qk_head_dim"]);
    keys.irrelevant(&["aux_loss_alpha", "seq_aux", "ep_size"]);
    let sizes = Sizes::from_hf(source, &CLASS)?;
    let rope_dim = keys.opt_size("qk_rope_head_dim")?.unwrap_or(64);
    let latent = Latent {
        q_rank: match keys.opt_size("q_lora_rank")? {
            None if keys.is_null("q_lora_rank") => None,
            rank => Some(rank.unwrap_or(1536)),
        },
        kv_rank: keys.opt_size("kv_lora_rank")?.unwrap_or(512),
        rope_dim,
        v_dim: keys.opt_size("v_head_dim")?.unwrap_or(128),
        norm_eps: NORM_EPS,
    };
    let head_dim = rope_dim + keys.opt_size("qk_nope_head_dim")?.unwrap_or(128);
    let pairing = if keys.flag_or("rope_interleave", true)? {
        Pairing::Interleaved
    } else {
        Pairing::Half
    };
    let rope = rope::from_hf(keys, source.file, rope_dim, 10_000.0, pairing)?;
    let factor = rope::score_factor_from_hf(keys, source.file)?;
    let hidden = keys.size("moe_intermediate_size")?;
    let shared = keys.opt_size("n_shared_experts")?;
    let n_experts = keys.size("n_routed_experts")?;
    let n_used = keys.size("num_experts_per_tok")?;
    let first_dense = keys.opt_number("first_k_dense_replace")?.unwrap_or(0.0);
    Ok(Parts {
        attention: attention(&sizes, latent, head_dim, rope, factor),
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
    let sizes = Sizes {
        n_layers: keys.layers("block_count")?,
        dim: keys.size("embedding_length")?,
        n_heads: keys.size("attention.head_count")?,
        hidden_dim: keys.size("feed_forward_length")?,
        n_vocab: source.n_vocab,
        context_length: keys.opt_size("context_length")?.unwrap_or(0),
        norm: Norm::rms(keys.positive_or("attention.layer_norm_rms_epsilon", 0.0)? as f32),
        tied: source.tied,
        ..CLASS
    };
    // A file from before April 2025 caches expanded keys and has neither the split matrices nor these lengths.
    if keys.get("attention.key_length_mla").is_none() {
        let expected =
            "the width of a head: a file that caches the latent (converted since April 2025)";
        return Err(keys.error("attention.key_length_mla", expected));
    }
    keys.must_be("attention.head_count_kv", &json!(1))?;
    keys.irrelevant(&[
        "attention.key_length",
        "attention.value_length",
        "nextn_predict_layers",
    ]);
    let rope_dim = keys.size("rope.dimension_count")?;
    let latent = Latent {
        q_rank: keys.opt_size("attention.q_lora_rank")?,
        kv_rank: keys.size("attention.kv_lora_rank")?,
        rope_dim,
        v_dim: keys.size("attention.value_length_mla")?,
        norm_eps: NORM_EPS,
    };
    let head_dim = keys.size("attention.key_length_mla")?;
    let mut rope = rope::from_gguf(keys, rope_dim, None, Pairing::Interleaved)?;
    let mut factor = 1.0;
    // 0.1 mscale_all_dim.
    if let Some(m) = keys.opt_number("rope.scaling.yarn_log_multiplier")? {
        let yarn = rope::yarn_from_gguf(keys)?;
        rope.attention_factor = 1.0;
        rope.origin = format!("theta {}{}", yarn.theta, yarn.origin(1.0));
        factor = rope::score_factor(10.0 * m, yarn.factor);
    }
    let hidden = keys.size("expert_feed_forward_length")?;
    let shared = keys
        .opt_number("expert_shared_count")?
        .unwrap_or(0.0)
        .max(0.0) as usize;
    let (n_experts, n_used) = (keys.size("expert_count")?, keys.size("expert_used_count")?);
    let first_dense = keys.opt_number("leading_dense_block_count")?.unwrap_or(0.0);
    Ok(Parts {
        attention: attention(&sizes, latent, head_dim, rope, factor),
        moe: Moe {
            shared_hidden_dim: (shared > 0).then_some(shared.saturating_mul(hidden)),
            score_scale: keys.positive_or("expert_weights_scale", 1.0)? as f32,
            ..Moe::plain(n_experts, n_used, hidden, Activation::Silu)
        },
        first_dense: first_dense.max(0.0) as usize,
        sizes,
    })
}

fn attention(sizes: &Sizes, latent: Latent, head_dim: usize, rope: Rope, factor: f64) -> Attention {
    Attention {
        latent: Some(latent),
        scale: ((head_dim as f64).sqrt().recip() * factor) as f32,
        rope: Some(rope),
        ..Attention::grouped(sizes.n_heads, 1, head_dim)
    }
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
