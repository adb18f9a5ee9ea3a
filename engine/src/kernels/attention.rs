//! Attention of a tile of queries over cached blocks: softmax block by block, in the order of positions.
//!
//! Blocks lie at absolute positions, so a row's sums do not depend on where its prompt was cut. What a row does not see
//! is skipped, not multiplied by zero: masked slots may hold anything.

use std::ops::Range;

use super::KV_BLOCK;
use super::attention_steps::{Row, Values, add_values, score, transpose, weigh};
use super::buffer::Buffer;
use super::dot::{tile, with_tokens};
use super::isa::Isa;
use super::math::exp;
use super::simd::{GROUP, Kernel, Simd};
use super::work as count;

/// Rows that take the steps of a block together: their scores stay in the first-level cache.
const TOGETHER: usize = 48;

/// Cached keys and values of one key-value head: 64 positions, and who reads them.
#[derive(Clone, Debug)]
pub struct KvBlock<'a> {
    /// It holds the positions `64 index ..`.
    pub index: usize,
    /// Keys: [64, head_dim].
    pub k: &'a [f32],
    /// Values: 64 rows, the first v_dim elements of `v_stride`.
    pub v: &'a [f32],
    /// The query rows whose sequences it belongs to: all, or some where the tile is of several sequences.
    pub rows: Range<usize>,
}

/// Cached keys and values of one key-value head.
#[derive(Clone, Copy)]
pub struct KvBlocks<'a> {
    /// For every row, its blocks stand here in ascending order.
    pub blocks: &'a [KvBlock<'a>],
    /// Elements from one value to the next: v_dim, or more where a value is the beginning of its key.
    pub v_stride: usize,
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
    /// A block's keys, [head_dim, 64].
    keys: Buffer,
    /// Of rows that take the steps together, [rows, 64].
    scores: Buffer,
    rows: Vec<Row>,
    seeing: Vec<usize>,
}

/// Attention of `n` query rows of one key-value head (several query heads and tokens alike), on this thread.
///
/// q is [n, head_dim], out [n, v_dim]; row i sees the absolute positions `visible[i]`, which lie inside of its
/// blocks. Rows of sequences that share blocks (forks) pass over those together. `sinks` is empty or [n]: one more logit in each row's denominator. What masked slots hold
/// (rows never written, NaN) does not matter, nor what else is in the tile. A row that sees nothing gives zeros.
///
/// For each block in ascending order: scores by fused multiply-add in ascending d, `m' = max(m, scores)`,
/// `p = exp(s - m')`, the sum of p in sixteen lanes (lane j takes positions j mod 16), `sum * exp(m - m') + sum(p)`, and
/// `out = fma(p, v, out)` position by position after `out *= exp(m - m')`. At last `out *= 1 / sum`.
///
/// # Panics
/// When a length is not that of its shape or a visible position lies outside of a row's blocks.
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
    let (blocks, stride) = (work.kv.blocks, work.kv.v_stride);
    assert!(
        blocks.iter().all(|b| b.k.len() == KV_BLOCK * head_dim),
        "k: [64, head_dim] each"
    );
    assert!(
        stride >= v_dim && blocks.iter().all(|b| b.v.len() == KV_BLOCK * stride),
        "v: [64, v_stride] each"
    );
    assert!(
        blocks.iter().all(|b| b.rows.end <= n),
        "blocks of rows of q"
    );
    let seen: usize = work.visible.iter().map(ExactSizeIterator::len).sum();
    let held = blocks.iter().map(|b| size_of_val(b.k) + size_of_val(b.v));
    count::add(2 * seen * (head_dim + v_dim), held.sum());
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
        let keys = scratch.keys.room(head_dim * KV_BLOCK).as_mut_ptr();
        let logits = scratch.scores.room(TOGETHER * KV_BLOCK).as_mut_ptr();
        let rows = &mut scratch.rows;
        rows.clear();
        rows.resize_with(n, || Row {
            max: f32::NEG_INFINITY,
            sum: 0.0,
            keep: 0.0,
            seen: 0..0,
            passed: 0,
        });
        out.fill(0.0);

        for (b, block) in kv.blocks.iter().enumerate() {
            let (k, v, start) = (block.k, block.v, block.index * KV_BLOCK);
            scratch.seeing.clear();
            for i in block.rows.clone() {
                let (row, visible) = (&mut rows[i], &visible[i]);
                let seen = visible.start.max(start)..visible.end.min(start + KV_BLOCK);
                row.seen = if seen.is_empty() {
                    0..0
                } else {
                    seen.start - start..seen.end - start
                };
                if !seen.is_empty() {
                    row.passed += seen.len();
                    scratch.seeing.push(i);
                }
            }
            let Some(all) = union(&rows[block.rows.clone()]) else {
                continue;
            };
            let columns = GROUP * V::LANES;
            // SAFETY: the caller has the instruction set; `attend_on` checked the lengths; the buffers have the room that
            // their docs say.
            unsafe {
                let next = kv.blocks.get(b + 1).map_or(k, |next| next.k);
                let next = [(next.as_ptr(), head_dim), (v.as_ptr(), kv.v_stride)];
                transpose::<V>(k, head_dim, &all, keys, next);
                for seeing in scratch.seeing.chunks(TOGETHER) {
                    let tiles = (0..seeing.len().div_ceil(V::TOKENS)).map(|i| {
                        let (first, len) = tile(i, seeing.len(), V::TOKENS);
                        (&seeing[first..first + len], logits.add(first * KV_BLOCK))
                    });
                    for (which, logits) in tiles.clone() {
                        for at in (all.start / columns * columns..all.end).step_by(columns) {
                            let keys = keys.add(at).cast_const();
                            with_tokens!(
                                which.len(),
                                score::<V>(
                                    which,
                                    (q, head_dim),
                                    scores.scale,
                                    keys,
                                    logits.add(at)
                                )
                            );
                        }
                    }
                    weigh::<V>(rows, seeing, scores.softcap, logits);
                    for (which, logits) in tiles {
                        let values = Values {
                            v,
                            v_dim,
                            stride: kv.v_stride,
                            rows,
                            weights: logits.cast_const(),
                            out: out.as_mut_ptr(),
                        };
                        with_tokens!(which.len(), add_values::<V>(&values, which));
                    }
                }
            }
        }
        for (i, (row, out)) in rows
            .iter_mut()
            .zip(out.chunks_exact_mut(v_dim.max(1)))
            .enumerate()
        {
            assert_eq!(
                row.passed,
                visible[i].len(),
                "visible positions inside of the row's blocks"
            );
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
