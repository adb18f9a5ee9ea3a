//! The steps of attention over one block of the cache: scores, softmax, weighted values, each for a few rows at a time.
#![allow(
    clippy::needless_range_loop,
    reason = "register blocks are indexed by token and vector alike"
)]

use std::ops::Range;

use super::KV_BLOCK;
use super::math::{exp, exp_bounded, tanh_real};
use super::simd::{GROUP, Simd};

/// A query row's softmax so far.
pub(super) struct Row {
    pub(super) max: f32,
    pub(super) sum: f32,
    /// Factor on what was summed before the present block.
    pub(super) keep: f32,
    /// What it sees of the present block.
    pub(super) seen: Range<usize>,
    /// Positions that it saw of all blocks so far.
    pub(super) passed: usize,
}

/// The keys of a block that are `seen`, [64, head_dim], to [head_dim, 64]: a score's sum then needs no lanes. Meanwhile what is read next is
/// fetched: blocks of 64 rows each, so many floats apart.
///
/// # Safety
/// Needs the instruction set of V; `to` has room for a block.
#[inline(always)]
pub(super) unsafe fn transpose<V: Simd>(
    k: &[f32],
    head_dim: usize,
    seen: &Range<usize>,
    to: *mut f32,
    next: [(*const f32, usize); 2],
) {
    let whole = head_dim / V::LANES * V::LANES;
    for p in (seen.start / 8 * 8..seen.end).step_by(8) {
        for d in (0..whole).step_by(V::LANES) {
            // SAFETY: eight positions and the dimensions of a vector, all inside of the block.
            unsafe {
                let mut v = [V::splat(0.0); 8];
                for (i, v) in v.iter_mut().enumerate() {
                    *v = V::load(k.as_ptr().add((p + i) * head_dim + d));
                    // Once a cache line.
                    if d % 16 == 0 {
                        for (block, stride) in next {
                            V::prefetch(block.wrapping_add((p + i) * stride + d).cast());
                        }
                    }
                }
                for (i, v) in V::transpose(v).into_iter().enumerate() {
                    let low = to.add((d + i) * KV_BLOCK + p);
                    v.store_rows([low, low.add((V::ROWS - 1) * 8 * KV_BLOCK)]);
                }
            }
        }
        for d in whole..head_dim {
            for p in p..p + 8 {
                // SAFETY: inside of the block.
                unsafe { to.add(d * KV_BLOCK + p).write(k[p * head_dim + d]) };
            }
        }
    }
}

/// Products of N queries with as many keys as `GROUP` vectors hold, times `scale`, to their columns of `out`, [N, 64].
///
/// # Safety
/// Needs the instruction set of V; `which` are N rows of q, [n, head_dim]; `keys` and `out` start at the columns.
#[inline(always)]
pub(super) unsafe fn score<V: Simd, const N: usize>(
    which: &[usize],
    (q, head_dim): (&[f32], usize),
    scale: f32,
    keys: *const f32,
    out: *mut f32,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut queries = [q.as_ptr(); N];
        for t in 0..N {
            queries[t] = q.as_ptr().add(which[t] * head_dim);
        }
        let mut acc = [[V::splat(0.0); GROUP]; N];
        add_products(&mut acc, &queries, 0..head_dim, keys, KV_BLOCK);
        let scale = V::splat(scale);
        for t in 0..N {
            for m in 0..GROUP {
                let at = out.add(t * KV_BLOCK + m * V::LANES);
                acc[t][m].mul(scale).store(at);
            }
        }
    }
}

/// `acc[t] += sum_i factors[t][i] * values[i]`, one i after another.
///
/// # Safety
/// Needs the instruction set of V; row i of `values` is at `i * stride` and has M vectors.
#[inline(always)]
unsafe fn add_products<V: Simd, const N: usize, const M: usize>(
    acc: &mut [[V; M]; N],
    factors: &[*const f32; N],
    range: Range<usize>,
    values: *const f32,
    stride: usize,
) {
    let mut sums = *acc;
    let mut values = values.wrapping_add(range.start * stride);
    for i in range {
        // SAFETY: the caller's.
        unsafe {
            // Factors first: N + 1 registers besides the accumulators, where AVX2 has four to spare.
            let mut factor = [V::splat(0.0); N];
            for t in 0..N {
                factor[t] = V::splat(*factors[t].add(i));
            }
            for m in 0..M {
                let value = V::load(values.add(m * V::LANES));
                for t in 0..N {
                    sums[t][m] = factor[t].fma(value, sums[t][m]);
                }
            }
            values = values.wrapping_add(stride);
        }
    }
    *acc = sums;
}

/// Scores of rows and a block's keys, in `logits` [rows of which, 64], to the weights of its values; the rows' states move
/// on.
///
/// The greatest score of every row first, then the exponentials: one row alone would wait for its own sums.
///
/// # Safety
/// Needs the instruction set of V; `which` are rows of `rows`.
#[inline(always)]
pub(super) unsafe fn weigh<V: Simd>(
    rows: &mut [Row],
    which: &[usize],
    softcap: Option<f32>,
    logits: *mut f32,
) {
    let vectors = KV_BLOCK / V::LANES;
    // SAFETY: the caller's.
    unsafe {
        for (i, &r) in which.iter().enumerate() {
            let (row, s) = (&mut rows[r], logits.add(i * KV_BLOCK));
            if let Some(cap) = softcap.map(|cap| V::splat(cap)) {
                for i in 0..vectors {
                    let at = s.add(i * V::LANES);
                    cap.mul(tanh_real(V::load(at).div(cap))).store(at);
                }
            }
            if row.seen != (0..KV_BLOCK) {
                let s = std::slice::from_raw_parts_mut(s, KV_BLOCK);
                s[..row.seen.start].fill(f32::NEG_INFINITY);
                s[row.seen.end..].fill(f32::NEG_INFINITY);
            }
            let mut max = V::splat(row.max);
            for i in 0..vectors {
                max = V::load(s.add(i * V::LANES)).max(max);
            }
            let max = max.max_lane();
            // e^0, most often.
            row.keep = match row.max == max {
                true => 1.0,
                false => exp(row.max - max),
            };
            row.max = max;
        }
        for (i, &r) in which.iter().enumerate() {
            let (row, s) = (&mut rows[r], logits.add(i * KV_BLOCK));
            let max = V::splat(row.max);
            let mut sums = [V::splat(0.0); 2];
            for i in 0..vectors {
                let at = s.add(i * V::LANES);
                let p = exp_bounded(V::load(at).sub(max));
                p.store(at);
                let sum = &mut sums[i % (16 / V::LANES)];
                *sum = sum.add(p);
            }
            row.sum = row.sum * row.keep + V::sum16(sums);
        }
    }
}

/// What [`add_values`] reads and writes.
pub(super) struct Values<'a> {
    /// 64 values, each the first `v_dim` elements of `stride`.
    pub(super) v: &'a [f32],
    pub(super) v_dim: usize,
    pub(super) stride: usize,
    pub(super) rows: &'a [Row],
    /// The weights of the N rows, [N, 64].
    pub(super) weights: *const f32,
    /// [n, v_dim]
    pub(super) out: *mut f32,
}

/// `out = keep * out + sum_p weight[p] * v[p]` for N rows, position by position.
///
/// # Safety
/// Needs the instruction set of V; `which` are N rows.
#[inline(always)]
pub(super) unsafe fn add_values<V: Simd, const N: usize>(values: &Values<'_>, which: &[usize]) {
    let mut at = 0;
    // SAFETY: the caller's; the widths together are at most `v_dim`.
    unsafe {
        while at + GROUP * V::LANES <= values.v_dim {
            add_columns::<V, N, GROUP>(values, which, at);
            at += GROUP * V::LANES;
        }
        while at + V::LANES <= values.v_dim {
            add_columns::<V, N, 1>(values, which, at);
            at += V::LANES;
        }
        for i in at..values.v_dim {
            for (t, &r) in which.iter().enumerate() {
                let row = &values.rows[r];
                let out = values.out.add(r * values.v_dim + i);
                let mut acc = *out * row.keep;
                for p in row.seen.clone() {
                    let weight = *values.weights.add(t * KV_BLOCK + p);
                    acc = weight.mul_add(values.v[p * values.stride + i], acc);
                }
                *out = acc;
            }
        }
    }
}

/// [`add_values`] for the columns `at .. at + M * LANES`.
///
/// # Safety
/// As [`add_values`], and the columns are inside of `v_dim`.
#[inline(always)]
unsafe fn add_columns<V: Simd, const N: usize, const M: usize>(
    values: &Values<'_>,
    which: &[usize],
    at: usize,
) {
    let mut seen: [Range<usize>; N] = std::array::from_fn(|_| 0..0);
    let mut weights = [values.weights; N];
    // SAFETY: rows of `out`, `weights` and `v`, and columns inside of them.
    unsafe {
        let mut acc = [[V::splat(0.0); M]; N];
        for t in 0..N {
            let row = &values.rows[which[t]];
            seen[t] = row.seen.clone();
            weights[t] = values.weights.add(t * KV_BLOCK);
            let keep = V::splat(row.keep);
            for m in 0..M {
                let out = values.out.add(which[t] * values.v_dim + at + m * V::LANES);
                acc[t][m] = V::load(out).mul(keep);
            }
        }
        // What all see is done together, what comes before and after it row by row.
        let mut joint = 0..KV_BLOCK;
        for seen in &seen {
            joint = joint.start.max(seen.start)..joint.end.min(seen.end);
        }
        if joint.is_empty() {
            joint = KV_BLOCK..KV_BLOCK;
        }
        let v = values.v.as_ptr().add(at);
        for t in 0..N {
            for p in seen[t].start..seen[t].end.min(joint.start) {
                let weight = V::splat(*weights[t].add(p));
                for m in 0..M {
                    acc[t][m] =
                        weight.fma(V::load(v.add(p * values.stride + m * V::LANES)), acc[t][m]);
                }
            }
        }
        add_products(&mut acc, &weights, joint.clone(), v, values.stride);
        for t in 0..N {
            for p in seen[t].start.max(joint.end)..seen[t].end {
                let weight = V::splat(*weights[t].add(p));
                for m in 0..M {
                    acc[t][m] =
                        weight.fma(V::load(v.add(p * values.stride + m * V::LANES)), acc[t][m]);
                }
            }
        }
        for t in 0..N {
            for m in 0..M {
                acc[t][m].store(values.out.add(which[t] * values.v_dim + at + m * V::LANES));
            }
        }
    }
}
