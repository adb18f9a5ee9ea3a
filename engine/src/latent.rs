//! Multi-head latent attention (DeepSeek; arXiv 2405.04434, 2.1) in the absorbed form, for prefill and decoding alike.
//!
//! ```text
//! c      = norm(first kv_rank of kv_down h)                    cached, [kv_rank]
//! k_rope = rope(last rope_dim of kv_down h)                    cached, [rope_dim], one for all heads
//! q      = q_up norm(q_down h), or one projection              a head: [nope | rope_dim]
//! score  = q_nope . (W_k c) + q_rope . k_rope  =  [W_k^T q_nope | rope(q_rope)] . [c | k_rope]
//! value  = W_v c, so that a head's result is W_v (sum of weights * c)
//! ```
//!
//! So attention runs over one key-value head of width kv_rank + rope_dim whose values are the first kv_rank elements of
//! its keys. Expanding keys and values in prefill would cost about a third of the products and give other bits.

use crate::angles::Rotation;
use crate::forward::matmul;
use crate::kernels;
use crate::spec::{Attention, Latent};
use crate::weights::{LatentWeights, Weight};

/// Queries that meet the latent, [n, n_heads * key width], from h, [n, dim].
pub(crate) fn queries(
    h: &[f32],
    a: &Attention,
    q_up: &Weight,
    w: &LatentWeights,
    rotation: &Rotation<'_>,
) -> Vec<f32> {
    let Some(latent) = a.latent else {
        return Vec::new();
    };
    let q = match &w.q_down {
        Some((down, weights)) => matmul(&norm(&matmul(h, down), weights, latent), q_up),
        None => matmul(h, q_up),
    };
    let (plain, mut turned) = split(&q, a.head_dim - latent.rope_dim, a.head_dim);
    rotation.rotate(&mut turned, latent.rope_dim);
    join(&each_head(&plain, &w.absorb_q), &turned, latent)
}

/// What is cached, [n, key width], from h, [n, dim].
pub(crate) fn keys(
    h: &[f32],
    a: &Attention,
    w: &LatentWeights,
    rotation: &Rotation<'_>,
) -> Vec<f32> {
    let Some(latent) = a.latent else {
        return Vec::new();
    };
    let (c, mut k_rope) = split(&matmul(h, &w.kv_down), latent.kv_rank, a.key_width());
    rotation.rotate(&mut k_rope, latent.rope_dim);
    join(&norm(&c, &w.kv_norm, latent), &k_rope, latent)
}

/// [latent | rotated] of each row and head.
fn join(latents: &[f32], turned: &[f32], latent: Latent) -> Vec<f32> {
    let rows = latents
        .chunks_exact(latent.kv_rank)
        .zip(turned.chunks_exact(latent.rope_dim));
    rows.flat_map(|(a, b)| [a, b].concat()).collect()
}

/// Sums of latents, [n, n_heads * kv_rank], to values, [n, n_heads * v_dim].
pub(crate) fn values(attended: &[f32], w: &LatentWeights) -> Vec<f32> {
    each_head(attended, &w.v_up)
}

/// Each head's part of x, [n, n_heads * cols], by its own matrix, [rows, cols]: [n, n_heads * rows].
fn each_head(x: &[f32], w: &[Weight]) -> Vec<f32> {
    let Some((cols, rows)) = w.first().map(|w| (w.cols(), w.rows())) else {
        return Vec::new();
    };
    let n_heads = w.len();
    let mut out = vec![0.0; x.len() / cols * rows];
    for (head, w) in w.iter().enumerate() {
        let part = x.chunks_exact(cols).skip(head).step_by(n_heads);
        let y = matmul(&part.flatten().copied().collect::<Vec<_>>(), w);
        let to = out.chunks_exact_mut(rows).skip(head).step_by(n_heads);
        to.zip(y.chunks_exact(rows))
            .for_each(|(to, y)| to.copy_from_slice(y));
    }
    out
}

fn norm(x: &[f32], weights: &[f32], latent: Latent) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    kernels::rms_norm(
        x,
        weights.len(),
        Some(weights),
        false,
        latent.norm_eps,
        &mut out,
    );
    out
}

/// The first `at` elements of each `width`, and the rest.
fn split(x: &[f32], at: usize, width: usize) -> (Vec<f32>, Vec<f32>) {
    let rows = || x.chunks_exact(width);
    (
        rows().flat_map(|row| &row[..at]).copied().collect(),
        rows().flat_map(|row| &row[at..]).copied().collect(),
    )
}
