//! The register block: dot products of a group of rows with a few tokens, in the one order of every matrix product.
//!
//! Eight lanes along the columns (lane j takes c = j mod 8), fused multiply-add in ascending c, short rows padded
//! with zeros, then the tree of [`Simd::store_sums`]. Operands are packed so that both are read straight on:
//!
//! - rows: `[columns / 8][GROUP][ROWS][8]`: vector m holds the rows `m * ROWS ..`;
//! - tokens: `[columns / 8][N][8]`.
#![allow(
    clippy::needless_range_loop,
    reason = "register blocks are indexed by token and vector alike"
)]

use super::simd::{GROUP, Simd};

/// Accumulators of N tokens x GROUP vectors of rows.
pub(super) type Acc<V, const N: usize> = [[V; GROUP]; N];

/// All zero.
///
/// # Safety
/// Needs the instruction set of V.
#[inline(always)]
pub(super) unsafe fn zero<V: Simd, const N: usize>() -> Acc<V, N> {
    // SAFETY: the caller's.
    unsafe { [[V::splat(0.0); GROUP]; N] }
}

/// Adds the products of `chunks` x 8 columns.
///
/// # Safety
/// Needs the instruction set of V; `rows` and `tokens` hold `chunks` chunks of their packings.
#[inline(always)]
pub(super) unsafe fn accumulate<V: Simd, const N: usize>(
    rows: *const f32,
    tokens: *const f32,
    chunks: usize,
    mut acc: Acc<V, N>,
) -> Acc<V, N> {
    let (mut rows, mut tokens) = (rows, tokens);
    for _ in 0..chunks {
        // SAFETY: one more chunk of each.
        unsafe {
            // Tokens first: N + 1 registers besides the accumulators, where AVX2 has four to spare.
            let mut x = [V::splat(0.0); N];
            for (t, x) in x.iter_mut().enumerate() {
                *x = V::load_shared(tokens.add(t * 8));
            }
            for m in 0..GROUP {
                let w = V::load(rows.add(m * V::LANES));
                for t in 0..N {
                    acc[t][m] = w.fma(x[t], acc[t][m]);
                }
            }
            rows = rows.add(GROUP * V::LANES);
            tokens = tokens.add(N * 8);
        }
    }
    acc
}

/// Sums the lanes: token t's products with the group's `GROUP * ROWS` rows go to `out[t * stride ..]`, of which
/// `n_rows` are kept.
///
/// # Safety
/// Needs the instruction set of V; `out` has room for `n_rows` values a token.
#[inline(always)]
pub(super) unsafe fn finish<V: Simd, const N: usize>(
    acc: Acc<V, N>,
    out: *mut f32,
    stride: usize,
    n_rows: usize,
) {
    for (t, acc) in acc.into_iter().enumerate() {
        // SAFETY: the caller's; a part of a group takes the way over `all`.
        unsafe {
            let out = out.add(t * stride);
            if n_rows >= GROUP * V::ROWS {
                V::store_sums(acc, out);
            } else {
                let mut all = [0.0f32; GROUP * 2];
                V::store_sums(acc, all.as_mut_ptr());
                out.copy_from_nonoverlapping(all.as_ptr(), n_rows);
            }
        }
    }
}

/// Packs N tokens, whose rows of `cols` values are `stride` apart, as the register block reads them. `out` is
/// [cols.div_ceil(8), n, 8].
pub(super) fn pack_tokens(x: &[f32], n: usize, cols: usize, stride: usize, out: &mut [f32]) {
    let chunk = n * 8;
    for t in 0..n {
        let (whole, tail) = x[t * stride..][..cols].as_chunks::<8>();
        let mut to = out[t * 8..].chunks_mut(chunk);
        for (from, to) in whole.iter().zip(&mut to) {
            to[..8].copy_from_slice(from);
        }
        if let Some(to) = to.next()
            && !tail.is_empty()
        {
            to[..tail.len()].copy_from_slice(tail);
            to[tail.len()..8].fill(0.0);
        }
    }
}

/// Calls `$f::<$V, N>` for a number of tokens N that is only known at run time, at most `V::TOKENS`.
macro_rules! with_tokens {
    ($n:expr, $f:ident::<$V:ident>($($arg:expr),* $(,)?)) => {
        match $n {
            1 => $f::<$V, 1>($($arg),*),
            2 if $V::TOKENS >= 2 => $f::<$V, 2>($($arg),*),
            3 if $V::TOKENS >= 3 => $f::<$V, 3>($($arg),*),
            4 if $V::TOKENS >= 4 => $f::<$V, 4>($($arg),*),
            5 if $V::TOKENS >= 5 => $f::<$V, 5>($($arg),*),
            6 if $V::TOKENS >= 6 => $f::<$V, 6>($($arg),*),
            n => unreachable!("{n} tokens in a block of {}", $V::TOKENS),
        }
    };
}
pub(super) use with_tokens;

/// Cuts `n` tokens into tiles of at most `most`, as even as can be: (first token, tokens) of tile `i`.
pub(super) fn tile(i: usize, n: usize, most: usize) -> (usize, usize) {
    let tiles = n.div_ceil(most);
    let first = i * n / tiles;
    (first, (i + 1) * n / tiles - first)
}
