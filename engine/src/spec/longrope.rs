//! LongRoPE: each inverse frequency divided by a factor of its own, from one list for short sequences and from another for
//! long ones (`_compute_longrope_parameters` in transformers; arXiv 2402.13753).
//!
//! The list goes by the length of the sequence at hand. llama.cpp goes by the size of the allocated context.

use serde_json::Value;

use super::check::MAX_HEAD_DIM;
use super::families::GgufSource;
use super::keys::Keys;
use super::rope::plain;
use super::{Pairing, Rope};
use crate::Result;

/// From an object of scaling parameters; `original` and `longest` are the context before and after, in tokens.
///
/// # Errors
/// A missing key, a list of another length than there are pairs, or a value out of range, named.
pub fn from_hf(
    scaling: &Keys<'_>,
    rotary_dim: usize,
    theta: f64,
    [original, longest]: [f64; 2],
    pairing: Pairing,
) -> Result<Rope> {
    if rotary_dim > MAX_HEAD_DIM {
        return Err(scaling.error("partial_rotary_factor", "at most 65536 rotated elements"));
    }
    let theta = scaling.positive_or("rope_theta", theta)?;
    let original = scaling.positive_or("original_max_position_embeddings", original)?;
    if original <= 1.0 {
        return Err(scaling.error("original_max_position_embeddings", "more than one token"));
    }
    let factor = scaling.positive_or("factor", longest / original)?;
    let implied = attention_factor(factor, original);
    let rope = plain(theta, rotary_dim, pairing);
    let pairs = rope.inv_freq.len();
    let expected = format!("{pairs} numbers above 0, one a pair");
    let list = |key: &str| {
        let positive = |v: &Value| v.as_f64().filter(|f| *f > 0.0).map(|f| f as f32);
        let list = scaling.opt_list(key, &expected, positive)?;
        list.filter(|l| l.len() == pairs)
            .ok_or_else(|| scaling.error(key, &expected))
    };
    let lists = [list("short_factor")?, list("long_factor")?];
    let factor = scaling.positive_or("attention_factor", implied)? as f32;
    scaling.irrelevant(&["type", "rope_type", "partial_rotary_factor"]);
    scaling.finish(false)?;
    Ok(scaled(rope, &lists, original as usize, factor))
}

/// From GGUF: `rope_factors_short.weight` and `rope_factors_long.weight`; `None` where there are none.
///
/// # Errors
/// Lists of another length than there are pairs, or a value out of range, named.
pub fn from_gguf(source: &GgufSource<'_>, rotary_dim: usize) -> Result<Option<Rope>> {
    let keys = &source.keys;
    let Some(lists) = &source.long_factors else {
        return Ok(None);
    };
    if rotary_dim > MAX_HEAD_DIM {
        return Err(keys.error("rope.dimension_count", "at most 65536"));
    }
    let longest = keys.positive_or("context_length", 0.0)?;
    let original = keys.positive_or("rope.scaling.original_context_length", longest)?;
    if original <= 1.0 {
        return Err(keys.error(
            "rope.scaling.original_context_length",
            "more than one token",
        ));
    }
    let implied = attention_factor(longest / original, original);
    let factor = keys.positive_or("rope.scaling.attn_factor", implied)? as f32;
    keys.irrelevant(&["rope.scaling.type"]);
    let theta = keys.positive_or("rope.freq_base", 10_000.0)?;
    let rope = plain(theta, rotary_dim, Pairing::Half);
    if lists.iter().any(|l| l.len() != rope.inv_freq.len()) {
        let expected = format!(
            "twice the {} values of rope_factors_*.weight",
            lists[0].len()
        );
        return Err(keys.error("rope.dimension_count", &expected));
    }
    Ok(Some(scaled(rope, lists, original as usize, factor)))
}

/// Factor on cos and sin, of both lists: `sqrt(1 + ln(factor) / ln(original))`.
fn attention_factor(factor: f64, original: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        (1.0 + libm::log(factor) / libm::log(original)).sqrt()
    }
}

fn scaled(rope: Rope, [short, long]: &[Vec<f32>; 2], limit: usize, attention_factor: f32) -> Rope {
    // transformers: 1 / (factor * power), each step in f32.
    let divided = |factors: &[f32]| -> Vec<f32> {
        let powers = rope.unscaled.iter().map(|f| 1.0 / f);
        powers.zip(factors).map(|(p, f)| 1.0 / (f * p)).collect()
    };
    Rope {
        inv_freq: divided(short),
        long: Some((limit, divided(long))),
        attention_factor,
        origin: format!(
            "{}, LongRoPE, cos and sin x {attention_factor:.4}",
            rope.origin
        ),
        ..rope
    }
}
