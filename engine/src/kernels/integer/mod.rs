//! y = W x in integers of 16 or eight bits: faster than the multiply-adds of f32, and rounder.
//!
//! | file | holds |
//! |---|---|
//! | `width.rs` | the two widths |
//! | `pack.rs` | activations as integers |
//! | `codes.rs` | stored blocks as integers and factors |
//! | `block.rs` | the register block |
//! | `gemv.rs` | the same for one token |
//!
//! Every strip of 32 activations becomes integers in a unit of its own, a 32 767th of the strip's greatest magnitude or a
//! 127th, which is what engines with 8-bit activations take. Weights are the integers that they are stored as. A strip's
//! products are added exactly in 32 bits: at most 32 x 128 x 32 767. Then, strip by strip in ascending order,
//!
//! ```text
//! y = fma(products, scale * unit, y)      Q6_K: for each half of the strip
//! y = fma(offset, unit * sum of the integers, y)      where the type has offsets
//! ```
//!
//! so that each output is one reduction in one order: as in f32, its bits depend neither on the threads, nor on the
//! tile, nor on the instruction set. Types that are no integers are multiplied in f32, and those of eight bits with
//! activations of 16: their products would not fit where two of them are added.

mod block;
pub(super) mod codes;
mod gemv;
mod pack;
mod width;

use std::marker::PhantomData;
use std::ops::Range;

use self::block::{Block, VECTORS, enter_block, fill};
use self::codes::{STRIP, bits};
use self::gemv::Gemv;
use self::pack::Pack;
use self::width::{Int8, Int16, Width};
use super::buffer::Pool;
use super::dot::tile;
use super::isa::Isa;
use super::matmul::{POOL, Precision, TASK_WORK, TOKENS};
use super::simd::{Kernel, Simd};
use super::{Layout, Matrix, team};

/// Most floats of a panel: it stays in the first-level cache.
const PANEL_ROOM: usize = 6 << 10;

/// Most bits of a code that is multiplied with activations of eight bits.
const SMALL: u32 = 6;

/// Whether `w` is stored as integers that are read here.
pub fn takes(w: &Matrix<'_>) -> bool {
    matches!(w.layout, Layout::RowMajor | Layout::Rows { .. })
        && w.scales.is_none()
        && bits(w.ty).is_some()
}

/// What `w` is multiplied in where `precision` is asked for.
pub(super) fn precision(w: &Matrix<'_>, precision: Precision) -> Precision {
    match precision {
        _ if !takes(w) => Precision::F32,
        Precision::Int8 if bits(w.ty).is_none_or(|bits| bits > SMALL) => Precision::Int16,
        precision => precision,
    }
}

/// A matrix that [`takes`] says yes to, and where its products go: [n, w.rows].
pub(super) struct Job<'a> {
    pub(super) w: &'a Matrix<'a>,
    pub(super) y: *mut f32,
}

// SAFETY: tasks write disjoint elements.
unsafe impl Sync for Job<'_> {}

/// Memory of the packed activations, written by one task a part.
struct Packed(*mut i32);

// SAFETY: tasks write disjoint parts.
unsafe impl Sync for Packed {}

/// The products of all jobs with x, [n, cols], in integers of `precision`, on the current team.
pub(super) fn multiply(
    isa: Isa,
    precision: Precision,
    x: &[f32],
    n: usize,
    cols: usize,
    jobs: &[Job<'_>],
) {
    match precision {
        Precision::F32 => unreachable!("f32 is no width of integers"),
        Precision::Int16 => multiply_in::<Int16>(isa, x, n, cols, jobs),
        Precision::Int8 => multiply_in::<Int8>(isa, x, n, cols, jobs),
    }
}

fn multiply_in<W: Width>(isa: Isa, x: &[f32], n: usize, cols: usize, jobs: &[Job<'_>]) {
    POOL.with(|pool| {
        pool.with(|packed| {
            let packed = packed.room(n * cols / STRIP * W::RECORD).as_mut_ptr();
            let packed = Packed(packed.cast());
            pack::<W>(isa, x, n, cols, &packed);
            run::<W>(isa, packed.0, n, cols, jobs);
        });
    });
}

fn pack<W: Width>(isa: Isa, x: &[f32], n: usize, cols: usize, to: &Packed) {
    let tiles = n.div_ceil(isa.tokens().1);
    let parts = if n * cols < 1 << 15 {
        1
    } else {
        4 * team::threads()
    }
    .min(tiles);
    team::for_each(parts, |i| {
        isa.run(Pack {
            width: PhantomData::<W>,
            x,
            n,
            cols,
            tiles: i * tiles / parts..(i + 1) * tiles / parts,
            to: to.0,
        });
    });
}

fn run<W: Width>(isa: Isa, packed: *const i32, n: usize, cols: usize, jobs: &[Job<'_>]) {
    /// Rows of a part are a multiple of every instruction set's block.
    const ROWS: usize = 16 * VECTORS;
    let tiles = n.div_ceil(isa.tokens().1);
    let all_rows: usize = jobs.iter().map(|job| job.w.rows).sum();
    let wanted = (n * all_rows * cols / TASK_WORK).clamp(1, 4 * team::threads());
    let mut tasks = Vec::new();
    for job in jobs {
        let wanted = (wanted * job.w.rows).div_ceil(all_rows);
        let rows = job.w.rows.div_ceil(wanted).next_multiple_of(ROWS);
        let by_rows = job.w.rows.div_ceil(rows);
        let by_tiles = (wanted / by_rows).min(tiles.div_ceil(4));
        let by_tiles = by_tiles.max(n.div_ceil(TOKENS)).min(tiles);
        for part in 0..by_tiles {
            for first in (0..job.w.rows).step_by(rows) {
                let rows = first..job.w.rows.min(first + rows);
                tasks.push(Task {
                    w: job.w,
                    y: job.y,
                    rows,
                    tiles: part * tiles / by_tiles..(part + 1) * tiles / by_tiles,
                    n,
                    packed,
                });
            }
        }
    }
    team::for_each(tasks.len(), |i| {
        let task = &tasks[i];
        POOL.with(|pool: &Pool| {
            pool.with(|scratch| match n {
                1 => isa.run(Gemv {
                    width: PhantomData::<W>,
                    w: task.w,
                    rows: task.rows.clone(),
                    x: task.packed,
                    y: task.y,
                    scratch,
                }),
                _ => isa.run(Panelled {
                    width: PhantomData::<W>,
                    task,
                    panel: scratch,
                }),
            });
        });
    });
}

/// The products of some rows with some tiles of tokens.
struct Task<'a> {
    w: &'a Matrix<'a>,
    y: *mut f32,
    rows: Range<usize>,
    tiles: Range<usize>,
    /// All tokens: what the tiles are cut from.
    n: usize,
    packed: *const i32,
}

// SAFETY: tasks write disjoint elements, and read what nobody writes.
unsafe impl Sync for Task<'_> {}

/// A task, a block of rows at a time: a panel of it, all tiles of tokens, the next piece of the columns.
struct Panelled<'a, W> {
    width: PhantomData<W>,
    task: &'a Task<'a>,
    panel: &'a mut super::buffer::Buffer,
}

impl<W: Width> Kernel for Panelled<'_, W> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        let Task {
            w,
            y,
            rows,
            tiles,
            n,
            packed,
        } = self.task;
        let strips = w.cols / STRIP;
        let group = VECTORS * V::LANES;
        // Equal pieces of whole blocks.
        let unit = (w.ty.info().block / STRIP).max(1);
        let most = PANEL_ROOM / (W::PANEL * group) / unit * unit;
        let piece = strips
            .div_ceil(strips.div_ceil(most))
            .next_multiple_of(unit);
        let panel = self.panel.room(piece * W::PANEL * group).as_mut_ptr();
        for first in rows.clone().step_by(group) {
            for start in (0..strips).step_by(piece) {
                let part = start..strips.min(start + piece);
                // SAFETY: the caller has the instruction set; `matmuls` checked the lengths; the panel has room for a
                // block's rows of a piece, and the rows and tokens are this task's own.
                unsafe {
                    fill::<V, W>(w, first, rows.end - 1, part.clone(), panel);
                    for i in tiles.clone() {
                        let (token, len) = tile(i, *n, V::WORD_TOKENS);
                        let block = &Block {
                            ty: w.ty,
                            panel,
                            tokens: packed.add((token * strips + start * len) * W::RECORD),
                            strips: part.len(),
                            goes_on: start > 0,
                            out: y.add(token * w.rows + first),
                            stride: w.rows,
                            n_rows: (rows.end - first).min(group),
                        };
                        match len {
                            1 => enter_block::<V, W, 1>(block),
                            2 => enter_block::<V, W, 2>(block),
                            3 if V::WORD_TOKENS >= 3 => enter_block::<V, W, 3>(block),
                            4 if V::WORD_TOKENS >= 4 => enter_block::<V, W, 4>(block),
                            5 if V::WORD_TOKENS >= 5 => enter_block::<V, W, 5>(block),
                            6 if V::WORD_TOKENS >= 6 => enter_block::<V, W, 6>(block),
                            n => unreachable!("{n} tokens in a block of {}", V::WORD_TOKENS),
                        }
                    }
                }
            }
        }
    }
}
