//! Attention of a tile of queries over cached blocks: softmax block by block, in the order of positions.

use std::ops::Range;

use super::KV_BLOCK;
use super::math::{exp, tanh};
use super::matmul::dot;

/// Cached keys and values of one key-value head.
#[derive(Clone, Copy)]
pub struct KvBlocks<'a> {
    /// Block b of the slices holds positions `64 (first_block + b) ..` of the sequence.
    pub first_block: usize,
    /// Keys: each [64, head_dim].
    pub k: &'a [&'a [f32]],
    /// Values: each [64, v_dim].
    pub v: &'a [&'a [f32]],
}

/// What is done to `q . k` before the softmax.
#[derive(Clone, Copy, Debug)]
pub struct Scores {
    /// Factor.
    pub scale: f32,
    /// `c * tanh(s / c)` after the factor.
    pub softcap: Option<f32>,
}

/// Buffers that calls of [`attend`] share.
#[derive(Default)]
pub struct Scratch {
    scores: Vec<f32>,
}

/// Attention of `n` query rows of one key-value head (several query heads and tokens alike).
///
/// q is [n, head_dim], out [n, v_dim]; row i sees the absolute positions `visible[i]`, which lie inside the
/// blocks given. `sinks` is empty or [n]: one more logit in each row's denominator. What masked slots hold
/// (rows never written, NaN) does not matter, nor what else is in the tile. A row that sees nothing gives zeros.
///
/// # Panics
/// When a length is not that of its shape or a visible position lies outside of the blocks.
pub fn attend(
    q: &[f32],
    visible: &[Range<usize>],
    kv: &KvBlocks<'_>,
    scores: &Scores,
    sinks: &[f32],
    out: &mut [f32],
    scratch: &mut Scratch,
) {
    let n = visible.len();
    if n == 0 {
        return;
    }
    let (head_dim, v_dim) = (q.len() / n, out.len() / n);
    assert!(
        q.len() == n * head_dim && out.len() == n * v_dim,
        "q: [n, head_dim], out: [n, v_dim]"
    );
    assert!(sinks.is_empty() || sinks.len() == n, "sinks: [n] or none");
    scratch.scores.resize(KV_BLOCK, 0.0);
    let s = &mut scratch.scores;
    for i in 0..n {
        let q = &q[i * head_dim..][..head_dim];
        let out = &mut out[i * v_dim..][..v_dim];
        out.fill(0.0);
        let (mut max, mut sum) = (f32::NEG_INFINITY, 0.0f32);
        let Range { start, end } = visible[i];
        for b in start / KV_BLOCK..end.div_ceil(KV_BLOCK) {
            if start >= end {
                break;
            }
            let first = b * KV_BLOCK;
            let seen = start.max(first) - first..end.min(first + KV_BLOCK) - first;
            let (k, v) = (kv.k[b - kv.first_block], kv.v[b - kv.first_block]);
            s.fill(f32::NEG_INFINITY);
            let mut new_max = max;
            for p in seen.clone() {
                let mut score = dot(q, &k[p * head_dim..][..head_dim]) * scores.scale;
                if let Some(cap) = scores.softcap {
                    score = cap * tanh(score / cap);
                }
                s[p] = score;
                if score > new_max {
                    new_max = score;
                }
            }
            let keep = exp(max - new_max);
            let mut lanes = [0.0f32; 16];
            for (p, s) in s.iter_mut().enumerate() {
                *s = exp(*s - new_max);
                lanes[p % 16] += *s;
            }
            sum = sum * keep + fold(lanes);
            out.iter_mut().for_each(|o| *o *= keep);
            for p in seen {
                for (o, v) in out.iter_mut().zip(&v[p * v_dim..][..v_dim]) {
                    *o = s[p].mul_add(*v, *o);
                }
            }
            max = new_max;
        }
        if let Some(&sink) = sinks.get(i) {
            let new_max = if sink > max { sink } else { max };
            let keep = exp(max - new_max);
            sum = sum * keep + exp(sink - new_max);
            out.iter_mut().for_each(|o| *o *= keep);
        }
        if sum > 0.0 {
            out.iter_mut().for_each(|o| *o /= sum);
        }
    }
}

/// Sixteen lanes to one.
pub(super) fn fold(l: [f32; 16]) -> f32 {
    let mut h = [0.0; 8];
    for j in 0..8 {
        h[j] = l[j] + l[j + 8];
    }
    ((h[0] + h[4]) + (h[2] + h[6])) + ((h[1] + h[5]) + (h[3] + h[7]))
}
