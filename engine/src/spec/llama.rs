//! Llama 1 to 3.3 and what has their shape: grouped-query attention, full mask, one gated feed-forward part.
//!
//! Sources: `LlamaForCausalLM` in transformers; `llama` in llama.cpp, whose converter permutes the rows of Q and
//! K so that the pairs of the rotary embedding become interleaved.

use serde_json::json;

use super::families::{GgufSource, HfSource};
use super::{
    Activation, Attention, Ffn, LayerSpec, Mask, ModelSpec, Norm, NormKind, Pairing, Residual,
    Rope, RopePrecision, mixtral, rope,
};
use crate::Result;

/// From `config.json`.
pub fn from_hf(source: &HfSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    keys.must_be("hidden_act", &json!("silu"))?;
    keys.must_be("mlp_bias", &json!(false))?;
    let dim = keys.size("hidden_size")?;
    let n_heads = keys.size("num_attention_heads")?;
    let head_dim = keys.opt_size("head_dim")?.unwrap_or(dim / n_heads);
    let bias = keys.flag_or("attention_bias", false)?;
    let layer = layer(Shape {
        n_heads,
        n_kv_heads: keys.opt_size("num_key_value_heads")?.unwrap_or(n_heads),
        head_dim,
        hidden_dim: keys.size("intermediate_size")?,
        eps: keys.positive_or("rms_norm_eps", 1e-6)? as f32,
        bias,
        rope: rope::from_hf(keys, source.file, head_dim, 10_000.0, Pairing::Half)?,
    });
    Ok(ModelSpec {
        family: "llama".into(),
        dim,
        n_vocab: keys.size("vocab_size")?,
        context_length: keys.opt_size("max_position_embeddings")?.unwrap_or(0),
        embedding_scale: 1.0,
        final_norm: layer.attn_norm.unwrap_or(Norm::rms(1e-6)),
        layers: vec![layer; keys.layers("num_hidden_layers")?],
        logit_scale: 1.0,
        logit_softcap: None,
        tied_head: source.tied.unwrap_or(false),
        rope_precision: RopePrecision::F64,
    })
}

/// From GGUF metadata.
pub fn from_gguf(source: &GgufSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    if keys.opt_number("expert_count")?.is_some_and(|n| n > 0.0) {
        return mixtral::from_gguf(source);
    }
    keys.must_be("expert_used_count", &json!(0))?;
    let dim = keys.size("embedding_length")?;
    let n_heads = keys.size("attention.head_count")?;
    let head_dim = keys
        .opt_size("attention.key_length")?
        .unwrap_or(dim / n_heads);
    keys.must_be("attention.value_length", &json!(head_dim))?;
    let rotary_dim = keys.opt_size("rope.dimension_count")?.unwrap_or(head_dim);
    let layer = layer(Shape {
        n_heads,
        n_kv_heads: keys.opt_size("attention.head_count_kv")?.unwrap_or(n_heads),
        head_dim,
        hidden_dim: keys.size("feed_forward_length")?,
        eps: keys.positive_or("attention.layer_norm_rms_epsilon", 0.0)? as f32,
        bias: false,
        rope: rope::from_gguf(
            keys,
            rotary_dim,
            source.rope_factors.as_deref(),
            Pairing::Interleaved,
        )?,
    });
    Ok(ModelSpec {
        family: "llama".into(),
        dim,
        n_vocab: source.n_vocab,
        context_length: keys.opt_size("context_length")?.unwrap_or(0),
        embedding_scale: 1.0,
        final_norm: layer.attn_norm.unwrap_or(Norm::rms(1e-6)),
        layers: vec![layer; keys.layers("block_count")?],
        logit_scale: 1.0,
        logit_softcap: None,
        tied_head: source.tied,
        rope_precision: RopePrecision::F64,
    })
}

struct Shape {
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    hidden_dim: usize,
    eps: f32,
    bias: bool,
    rope: Rope,
}

fn layer(s: Shape) -> LayerSpec {
    let norm = Norm {
        kind: NormKind::Rms,
        eps: s.eps,
        plus_one: false,
    };
    LayerSpec {
        attention: Attention {
            rope: Some(s.rope),
            qkv_bias: s.bias,
            out_bias: s.bias,
            ..Attention::grouped(s.n_heads, s.n_kv_heads, s.head_dim)
        },
        mask: Mask::Full,
        ffn: Ffn::Dense {
            hidden_dim: s.hidden_dim,
            activation: Activation::Silu,
        },
        residual: Residual::Sequential,
        attn_norm: Some(norm),
        attn_post_norm: None,
        ffn_norm: Some(norm),
        ffn_post_norm: None,
    }
}
