//! Attention of a tile of queries over cached blocks: softmax block by block, in the order of positions.
//!
//! Blocks lie at absolute positions, so a row's sums do not depend on where its prompt was cut. What a row does not see
//! is skipped, not multiplied by zero: masked slots may hold anything.

use std::ops::Range;

use super::buffer::Buffer;
use super::dot::{accumulate, finish, pack_tokens, tile, with_tokens, zero};
use super::isa::Isa;
use super::math::{exp, exp_real, tanh_real};
use super::panel::fill;
use super::simd::{GROUP, Kernel, Simd};
use super::{KV_BLOCK, Layout, Matrix};
use crate::format::StoredType;

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
    /// Packed queries: n x head_dim, rounded up to eights.
    q: Buffer,
    /// A block's keys, packed.
    keys: Buffer,
    /// [n, 64]
    scores: Buffer,
    rows: Vec<Row>,
    seeing: Vec<usize>,
}

/// A query row's softmax so far.
struct Row {
    max: f32,
    sum: f32,
    /// Factor on what was summed before the present block.
    keep: f32,
    /// What it sees of the present block.
    seen: Range<usize>,
}

/// Attention of `n` query rows of one key-value head (several query heads and tokens alike), on this thread.
///
/// q is [n, head_dim], out [n, v_dim]; row i sees the absolute positions `visible[i]`, which lie inside of the
/// blocks given. `sinks` is empty or [n]: one more logit in each row's denominator. What masked slots hold
/// (rows never written, NaN) does not matter, nor what else is in the tile. A row that sees nothing gives zeros.
///
/// For each block in ascending order: scores as [`matmul`](super::matmul) has them, `m' = max(m, scores)`,
/// `p = exp(s - m')`, the sum of p in sixteen lanes (lane j takes positions j mod 16), `sum * exp(m - m') + sum(p)`, and
/// `out = fma(p, v, out)` position by position after `out *= exp(m - m')`. At last `out *= 1 / sum`.
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
    attend_on(
        Isa::current(),
        Attend {
            q,
            visible,
            kv,
            scores,
            sinks,
            out,
            scratch,
        },
    );
}

/// The arguments of [`attend`].
pub(super) struct Attend<'a, 'k> {
    pub(super) q: &'a [f32],
    pub(super) visible: &'a [Range<usize>],
    pub(super) kv: &'a KvBlocks<'k>,
    pub(super) scores: &'a Scores,
    pub(super) sinks: &'a [f32],
    pub(super) out: &'a mut [f32],
    pub(super) scratch: &'a mut Scratch,
}

/// [`attend`] on an instruction set that is available.
pub(super) fn attend_on(isa: Isa, work: Attend<'_, '_>) {
    let n = work.visible.len();
    if n == 0 {
        return;
    }
    let (head_dim, v_dim) = (work.q.len() / n, work.out.len() / n);
    assert!(
        work.q.len() == n * head_dim && work.out.len() == n * v_dim,
        "q: [n, head_dim], out: [n, v_dim]"
    );
    assert!(
        work.sinks.is_empty() || work.sinks.len() == n,
        "sinks: [n] or none"
    );
    assert_eq!(
        work.kv.k.len(),
        work.kv.v.len(),
        "as many blocks of keys as of values"
    );
    assert!(
        work.kv.k.iter().all(|k| k.len() == KV_BLOCK * head_dim),
        "k: [64, head_dim] each"
    );
    assert!(
        work.kv.v.iter().all(|v| v.len() == KV_BLOCK * v_dim),
        "v: [64, v_dim] each"
    );
    let held = work.kv.first_block * KV_BLOCK..(work.kv.first_block + work.kv.k.len()) * KV_BLOCK;
    let inside = |r: &Range<usize>| r.is_empty() || (r.start >= held.start && r.end <= held.end);
    assert!(
        work.visible.iter().all(inside),
        "visible positions inside of the blocks"
    );
    isa.run(work);
}

impl Kernel for Attend<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        let Self {
            q,
            visible,
            kv,
            scores,
            sinks,
            out,
            scratch,
        } = self;
        let n = visible.len();
        let (head_dim, v_dim) = (q.len() / n, out.len() / n);
        let (chunks, group) = (head_dim.div_ceil(8), GROUP * V::ROWS);
        let packed = scratch.q.room(n * chunks * 8);
        for i in 0..n.div_ceil(V::TOKENS) {
            let (first, len) = tile(i, n, V::TOKENS);
            let to = &mut packed[first * chunks * 8..][..len * chunks * 8];
            pack_tokens(&q[first * head_dim..], len, head_dim, head_dim, to);
        }
        let keys = scratch.keys.room(KV_BLOCK * chunks * 8).as_mut_ptr();
        let logits = scratch.scores.room(n * KV_BLOCK);
        let rows = &mut scratch.rows;
        rows.clear();
        rows.resize_with(n, || Row {
            max: f32::NEG_INFINITY,
            sum: 0.0,
            keep: 0.0,
            seen: 0..0,
        });
        out.fill(0.0);

        for (b, (k, v)) in kv.k.iter().zip(kv.v).enumerate() {
            let start = (kv.first_block + b) * KV_BLOCK;
            scratch.seeing.clear();
            for (i, (row, visible)) in rows.iter_mut().zip(visible).enumerate() {
                let seen = visible.start.max(start)..visible.end.min(start + KV_BLOCK);
                row.seen = if seen.is_empty() {
                    0..0
                } else {
                    seen.start - start..seen.end - start
                };
                if !seen.is_empty() {
                    scratch.seeing.push(i);
                }
            }
            let Some(all) = union(rows) else { continue };
            let all = all.start / group * group..all.end.next_multiple_of(group);
            // SAFETY: the caller has the instruction set; `attend_on` checked the lengths; the buffers have the room that
            // their docs say; the groups of keys lie inside of a block.
            unsafe {
                let data = std::slice::from_raw_parts(k.as_ptr().cast(), size_of_val(*k));
                let (ty, layout) = (StoredType::F32, Layout::RowMajor);
                let matrix = Matrix {
                    ty,
                    rows: KV_BLOCK,
                    cols: head_dim,
                    layout,
                    data,
                };
                fill::<V>(&matrix, all.clone(), 0..head_dim, keys);
                for i in 0..n.div_ceil(V::TOKENS) {
                    let (first, len) = tile(i, n, V::TOKENS);
                    let Some(part) = union(&rows[first..first + len]) else {
                        continue;
                    };
                    let q = packed.as_ptr().add(first * chunks * 8);
                    for at in (part.start / group * group..part.end).step_by(group) {
                        let keys = keys.add((at - all.start) * chunks * 8);
                        let to = logits.as_mut_ptr().add(first * KV_BLOCK + at);
                        with_tokens!(len, score::<V>(keys, q, chunks, to));
                    }
                }
                for &i in &scratch.seeing {
                    weigh::<V>(&mut rows[i], scores, logits.as_mut_ptr().add(i * KV_BLOCK));
                }
                let seeing = &scratch.seeing;
                for i in 0..seeing.len().div_ceil(V::TOKENS) {
                    let (first, len) = tile(i, seeing.len(), V::TOKENS);
                    let values = Values {
                        v,
                        v_dim,
                        rows,
                        logits,
                        out: out.as_mut_ptr(),
                    };
                    with_tokens!(len, add_values::<V>(&values, &seeing[first..first + len]));
                }
            }
        }
        for (i, (row, out)) in rows
            .iter_mut()
            .zip(out.chunks_exact_mut(v_dim.max(1)))
            .enumerate()
        {
            let mut factor = 1.0;
            if let Some(&sink) = sinks.get(i) {
                let max = if sink > row.max { sink } else { row.max };
                factor = exp(row.max - max);
                row.sum = row.sum * factor + exp(sink - max);
            }
            if row.sum != 0.0 {
                factor /= row.sum;
                out.iter_mut().for_each(|o| *o *= factor);
            }
        }
    }
}

/// The positions of the block that some of the rows see; `None` when there are none.
fn union(rows: &[Row]) -> Option<Range<usize>> {
    let seen = rows
        .iter()
        .filter(|row| !row.seen.is_empty())
        .map(|row| &row.seen);
    seen.fold(None, |all, seen| match all {
        None => Some(seen.clone()),
        Some(all) => Some(all.start.min(seen.start)..all.end.max(seen.end)),
    })
}

/// Products of N queries with a group of keys, to `out` of [N, 64].
///
/// # Safety
/// As [`accumulate`] and [`finish`].
#[inline(always)]
unsafe fn score<V: Simd, const N: usize>(
    keys: *const f32,
    q: *const f32,
    chunks: usize,
    out: *mut f32,
) {
    // SAFETY: the caller's.
    unsafe {
        let acc = accumulate::<V, N>(keys, q, chunks, zero::<V, N>());
        finish::<V, N>(acc, out, KV_BLOCK, GROUP * V::ROWS);
    }
}

/// A row's products with a block's keys, [64], to the weights of its values; the row's state moves on.
///
/// # Safety
/// Needs the instruction set of V; `s` holds a block.
#[inline(always)]
unsafe fn weigh<V: Simd>(row: &mut Row, scores: &Scores, s: *mut f32) {
    // SAFETY: the caller's.
    unsafe {
        let scale = V::splat(scores.scale);
        let seen = row.seen.clone();
        for i in (0..KV_BLOCK).step_by(V::LANES) {
            let mut v = V::load(s.add(i)).mul(scale);
            if let Some(cap) = scores.softcap {
                let cap = V::splat(cap);
                v = cap.mul(tanh_real(v.div(cap)));
            }
            v.store(s.add(i));
        }
        if seen != (0..KV_BLOCK) {
            let s = std::slice::from_raw_parts_mut(s, KV_BLOCK);
            s[..seen.start].fill(f32::NEG_INFINITY);
            s[seen.end..].fill(f32::NEG_INFINITY);
        }
        let mut max = V::splat(row.max);
        for i in (0..KV_BLOCK).step_by(V::LANES) {
            max = V::load(s.add(i)).max(max);
        }
        let new_max = max.max_lane();
        let minus = V::splat(new_max);
        let mut sums = [V::splat(0.0); 2];
        for i in (0..KV_BLOCK).step_by(16) {
            for (half, sum) in sums.iter_mut().enumerate().take(16 / V::LANES) {
                let at = s.add(i + half * V::LANES);
                let p = exp_real(V::load(at).sub(minus));
                p.store(at);
                *sum = sum.add(p);
            }
        }
        row.keep = exp(row.max - new_max);
        row.sum = row.sum * row.keep + V::sum16(sums);
        row.max = new_max;
    }
}

/// What [`add_values`] reads and writes.
struct Values<'a> {
    /// [64, v_dim]
    v: &'a [f32],
    v_dim: usize,
    rows: &'a [Row],
    /// The weights, [n, 64].
    logits: &'a [f32],
    /// [n, v_dim]
    out: *mut f32,
}

/// `out = keep * out + sum_p weight[p] * v[p]` for N rows, position by position.
///
/// # Safety
/// Needs the instruction set of V; `which` are N rows.
#[inline(always)]
unsafe fn add_values<V: Simd, const N: usize>(values: &Values<'_>, which: &[usize]) {
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
            for &r in which {
                let row = &values.rows[r];
                let out = values.out.add(r * values.v_dim + i);
                let mut acc = *out * row.keep;
                for p in row.seen.clone() {
                    acc = values.logits[r * KV_BLOCK + p]
                        .mul_add(values.v[p * values.v_dim + i], acc);
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
    let mut weights = [values.logits.as_ptr(); N];
    // SAFETY: rows of `out`, `logits` and `v`, and columns inside of them.
    unsafe {
        let mut acc = [[V::splat(0.0); M]; N];
        for t in 0..N {
            let row = &values.rows[which[t]];
            seen[t] = row.seen.clone();
            weights[t] = values.logits.as_ptr().add(which[t] * KV_BLOCK);
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
                        weight.fma(V::load(v.add(p * values.v_dim + m * V::LANES)), acc[t][m]);
                }
            }
        }
        for p in joint.clone() {
            let mut value = [V::splat(0.0); M];
            for m in 0..M {
                value[m] = V::load(v.add(p * values.v_dim + m * V::LANES));
            }
            for t in 0..N {
                let weight = V::splat(*weights[t].add(p));
                for m in 0..M {
                    acc[t][m] = weight.fma(value[m], acc[t][m]);
                }
            }
        }
        for t in 0..N {
            for p in seen[t].start.max(joint.end)..seen[t].end {
                let weight = V::splat(*weights[t].add(p));
                for m in 0..M {
                    acc[t][m] =
                        weight.fma(V::load(v.add(p * values.v_dim + m * V::LANES)), acc[t][m]);
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
