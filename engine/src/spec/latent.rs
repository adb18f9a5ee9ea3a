//! Latent attention under both spellings: ranks, widths of heads, and YaRN's factor on the scores.
//!
//! The norms of the low-rank queries and of the latent have an eps of 1e-6 whatever `rms_norm_eps` says, as in transformers.
//! A GGUF file does not carry YaRN's `mscale`, which is taken to be `mscale_all_dim`, so that cos and sin have no factor.

use super::families::{GgufSource, HfSource};
use super::{Attention, Latent, Pairing, Rope, rope};
use crate::Result;

const NORM_EPS: f32 = 1e-6;

/// From `config.json`.
///
/// # Errors
/// A missing or ill-typed key, named.
pub fn from_hf(source: &HfSource<'_>, n_heads: usize) -> Result<Attention> {
    let keys = &source.keys;
    // transformers writes the widths of heads that follow from the others.
    keys.irrelevant(&["qk_head_dim"]);
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
    Ok(attention(n_heads, latent, head_dim, rope, factor))
}

/// From GGUF metadata.
///
/// # Errors
/// A missing or ill-typed key, named, and a file that caches expanded keys.
pub fn from_gguf(source: &GgufSource<'_>, n_heads: usize) -> Result<Attention> {
    let keys = &source.keys;
    // A file from before April 2025 caches expanded keys and has neither the split matrices nor these lengths.
    if keys.get("attention.key_length_mla").is_none() {
        let expected =
            "the width of a head: a file that caches the latent (converted since April 2025)";
        return Err(keys.error("attention.key_length_mla", expected));
    }
    keys.irrelevant(&["attention.key_length", "attention.value_length"]);
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
    Ok(attention(n_heads, latent, head_dim, rope, factor))
}

fn attention(n: usize, latent: Latent, head_dim: usize, rope: Rope, factor: f64) -> Attention {
    Attention {
        latent: Some(latent),
        scale: ((head_dim as f64).sqrt().recip() * factor) as f32,
        rope: Some(rope),
        ..Attention::grouped(n, 1, head_dim)
    }
}
