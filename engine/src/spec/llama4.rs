//! Llama 4 (iRoPE): chunked layers with RoPE between layers without positions whose queries grow with the
//! position, and experts whose *input* is scaled by the router.
//!
//! Sources: `Llama4ForCausalLM` in transformers; `llama4` in llama.cpp, whose files carry neither chunk size nor
//! temperature: 8192 tokens, floor 8192 and scale 0.1 are implied there, and no QK norm where there are 128
//! experts.

use serde_json::json;

use super::families::{GgufSource, HfSource};
use super::{
    Activation, Attention, Ffn, LayerSpec, Mask, ModelSpec, Moe, Norm, Pairing, QkNorm,
    QkNormOrder, Residual, Rope, RopePrecision, ScoreOn, Scoring, Temperature, rope,
};
use crate::Result;

/// From `config.json` (of a text model, or the `text_config` of one with a vision tower).
pub fn from_hf(source: &HfSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    keys.must_be("hidden_act", &json!("silu"))?;
    let n_layers = keys.layers("num_hidden_layers")?;
    let dim = keys.opt_size("hidden_size")?.unwrap_or(5120);
    let n_heads = keys.opt_size("num_attention_heads")?.unwrap_or(40);
    let head_dim = keys.opt_size("head_dim")?.unwrap_or(128);
    let as_flag = |v: &serde_json::Value| {
        v.as_u64()
            .filter(|n| *n <= 1)
            .map(|n| n == 1)
            .or(v.as_bool())
    };
    let interval = keys.opt_size("no_rope_layer_interval")?.unwrap_or(4);
    let roped = keys
        .opt_list(
            "no_rope_layers",
            "a list of 0 (no positions) and 1, one a layer",
            as_flag,
        )?
        .unwrap_or_else(|| (0..n_layers).map(|i| (i + 1) % interval != 0).collect());
    // A chunk size of null switches chunks off (and is not the default, which an absent key means).
    let chunk = match keys.opt_size("attention_chunk_size")? {
        None if keys.is_null("attention_chunk_size") => None,
        size => Some(size.unwrap_or(8192)),
    };
    let chunked = keys
        .opt_list(
            "layer_types",
            "a list of chunked_attention and full_attention, one a layer",
            |v| match v.as_str()? {
                "chunked_attention" => Some(true),
                "full_attention" => Some(false),
                _ => None,
            },
        )?
        .unwrap_or_else(|| roped.iter().map(|r| *r && chunk.is_some()).collect());
    let step = keys.opt_size("interleave_moe_layer_step")?.unwrap_or(1);
    let as_index = |v: &serde_json::Value| v.as_u64().map(|n| n as usize);
    let moe = match keys.opt_list("moe_layers", "a list of layer indices", as_index)? {
        Some(layers) => (0..n_layers).map(|i| layers.contains(&i)).collect(),
        None if keys.get("moe_layers").is_some() => vec![false; n_layers],
        None => (0..n_layers)
            .map(|i| (i + 1) % step == 0)
            .collect::<Vec<_>>(),
    };
    let expert_dim = keys.opt_size("intermediate_size")?.unwrap_or(8192);
    let shape = Shape {
        n_heads,
        n_kv_heads: keys.opt_size("num_key_value_heads")?.unwrap_or(8),
        head_dim,
        eps: keys.positive_or("rms_norm_eps", 1e-5)? as f32,
        bias: keys.flag_or("attention_bias", false)?,
        rope: rope::from_hf(keys, source.file, head_dim, 500_000.0, Pairing::Interleaved)?,
        qk_norm: keys.flag_or("use_qk_norm", true)?,
        temperature: Temperature {
            floor: keys.positive_or("floor_scale", 8192.0)?,
            scale: keys.opt_number("attn_scale")?.unwrap_or(0.1),
        },
        tuning: keys.flag_or("attn_temperature_tuning", true)?,
        n_experts: keys.opt_size("num_local_experts")?.unwrap_or(16),
        n_used: keys.opt_size("num_experts_per_tok")?.unwrap_or(1),
        expert_dim,
        shared_dim: expert_dim,
        dense_dim: keys.opt_size("intermediate_size_mlp")?.unwrap_or(16384),
    };
    for (key, len) in [
        ("no_rope_layers", roped.len()),
        ("layer_types", chunked.len()),
    ] {
        if len < n_layers {
            return Err(keys.error(key, &format!("{n_layers} entries, one a layer")));
        }
    }
    if chunked.iter().any(|c| *c) && chunk.is_none() {
        return Err(keys.error(
            "attention_chunk_size",
            "a number of tokens, as layer_types has chunks",
        ));
    }
    let mask = |i: usize| {
        if chunked[i] {
            Mask::Chunk(chunk.unwrap_or(usize::MAX))
        } else {
            Mask::Full
        }
    };
    let layers = (0..n_layers)
        .map(|i| shape.layer(roped[i], mask(i), moe[i]))
        .collect();
    Ok(ModelSpec {
        n_vocab: keys.opt_size("vocab_size")?.unwrap_or(202_048),
        context_length: keys.opt_size("max_position_embeddings")?.unwrap_or(131_072),
        tied_head: source.tied.unwrap_or(false),
        ..shape.model(dim, layers)
    })
}

/// From GGUF metadata.
pub fn from_gguf(source: &GgufSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    let n_layers = keys.layers("block_count")?;
    let dim = keys.size("embedding_length")?;
    let n_heads = keys.size("attention.head_count")?;
    let head_dim = keys
        .opt_size("attention.key_length")?
        .unwrap_or(dim / n_heads);
    keys.must_be("attention.value_length", &json!(head_dim))?;
    let rotary_dim = keys.opt_size("rope.dimension_count")?.unwrap_or(head_dim);
    let n_experts = keys.size("expert_count")?;
    let expert_dim = keys.size("expert_feed_forward_length")?;
    let shape = Shape {
        n_heads,
        n_kv_heads: keys.opt_size("attention.head_count_kv")?.unwrap_or(n_heads),
        head_dim,
        eps: keys.positive_or("attention.layer_norm_rms_epsilon", 0.0)? as f32,
        bias: false,
        rope: rope::from_gguf(
            keys,
            rotary_dim,
            source.rope_factors.as_deref(),
            Pairing::Interleaved,
        )?,
        qk_norm: n_experts != 128,
        temperature: Temperature {
            floor: 8192.0,
            scale: 0.1,
        },
        tuning: true,
        n_experts,
        n_used: keys.size("expert_used_count")?,
        expert_dim,
        shared_dim: keys
            .opt_size("expert_shared_feed_forward_length")?
            .unwrap_or(expert_dim),
        dense_dim: keys.size("feed_forward_length")?,
    };
    let step = keys.opt_size("interleave_moe_layer_step")?.unwrap_or(1);
    let chunk = keys.opt_size("attention.chunk_size")?.unwrap_or(8192);
    let layers = (0..n_layers).map(|i| {
        let roped = (i + 1) % 4 != 0;
        shape.layer(
            roped,
            if roped {
                Mask::Chunk(chunk)
            } else {
                Mask::Full
            },
            (i + 1) % step == 0,
        )
    });
    Ok(ModelSpec {
        n_vocab: source.n_vocab,
        context_length: keys.opt_size("context_length")?.unwrap_or(0),
        tied_head: source.tied,
        ..shape.model(dim, layers.collect())
    })
}

struct Shape {
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    eps: f32,
    bias: bool,
    rope: Rope,
    qk_norm: bool,
    temperature: Temperature,
    tuning: bool,
    n_experts: usize,
    n_used: usize,
    expert_dim: usize,
    shared_dim: usize,
    dense_dim: usize,
}

impl Shape {
    fn layer(&self, roped: bool, mask: Mask, moe: bool) -> LayerSpec {
        let activation = Activation::Silu;
        let qk_norm = QkNorm {
            order: QkNormOrder::AfterRope,
            weighted: false,
            plus_one: false,
            eps: self.eps,
        };
        LayerSpec {
            attention: Attention {
                rope: roped.then(|| self.rope.clone()),
                qk_norm: (roped && self.qk_norm).then_some(qk_norm),
                temperature: (!roped && self.tuning).then_some(self.temperature),
                qkv_bias: self.bias,
                out_bias: self.bias,
                ..Attention::grouped(self.n_heads, self.n_kv_heads, self.head_dim)
            },
            mask,
            ffn: if moe {
                Ffn::Moe(Moe {
                    shared_hidden_dim: Some(self.shared_dim),
                    scoring: Scoring::Sigmoid,
                    score_on: ScoreOn::Input,
                    ..Moe::plain(self.n_experts, self.n_used, self.expert_dim, activation)
                })
            } else {
                Ffn::Dense {
                    hidden_dim: self.dense_dim,
                    activation,
                }
            },
            residual: Residual::Sequential,
            attn_norm: Some(Norm::rms(self.eps)),
            attn_post_norm: None,
            ffn_norm: Some(Norm::rms(self.eps)),
            ffn_post_norm: None,
        }
    }

    fn model(&self, dim: usize, layers: Vec<LayerSpec>) -> ModelSpec {
        ModelSpec {
            family: "llama4".into(),
            dim,
            n_vocab: 0,
            context_length: 0,
            embedding_scale: 1.0,
            layers,
            final_norm: Norm::rms(self.eps),
            logit_scale: 1.0,
            logit_softcap: None,
            tied_head: false,
            rope_precision: RopePrecision::F64,
        }
    }
}
