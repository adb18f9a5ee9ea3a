//! One token's integer products. Each output has the bits of the register block, as sums over strips are exact and the
//! rest is in the same order; the work goes another way:
//!
//! 1. Rows are read as they lie, one behind the other, and become the exact sums of their strips: a strip a lane.
//! 2. A vector's rows are turned, a row a lane, and their strips' sums are scaled and added up in ascending order.
//!
//! Memory is read in one stream, which is what processors read ahead of; interleaved rows come at a third of that.
#![allow(
    clippy::needless_range_loop,
    reason = "register blocks are indexed by row and vector alike"
)]

use std::marker::PhantomData;
use std::ops::Range;

use super::super::buffer::Buffer;
use super::super::gemv::LINE;
use super::super::simd::{Kernel, Rows, Simd};
use super::super::{Layout, Matrix};
use super::block::places;
use super::codes::{Factors, Integers, Places, STRIP, with_integers};
use super::width::{Width, join};
use crate::format::StoredType;

/// Strips whose factors are unpacked together: long before they are read.
const TOGETHER: usize = 32;

/// Bytes that are fetched ahead of those which are read.
const AHEAD: usize = 1 << 10;

/// Strips whose sums are made together, at most: a lane each.
const LANES: usize = 16;

/// Most bytes of so many strips, as blocks.
const BLOCKS: usize = 16 * 40;

/// The products of some rows with one token.
pub(super) struct Gemv<'a, 'w, W> {
    pub(super) width: PhantomData<W>,
    pub(super) w: &'a Matrix<'w>,
    pub(super) rows: Range<usize>,
    /// The token's records.
    pub(super) x: *const i32,
    /// [w.rows], of which `rows` are written.
    pub(super) y: *mut f32,
    pub(super) scratch: &'a mut Buffer,
}

impl<W: Width> Kernel for Gemv<'_, '_, W> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        // SAFETY: the caller has the instruction set; the rows are inside of `w`, whose lengths were checked, and of `y`;
        // x holds all strips.
        unsafe {
            with_integers!(
                self.w.ty,
                T => self.each_vector::<V, T>(),
                unreachable!("{}: `takes` says no", self.w.ty)
            );
        }
    }
}

impl<W: Width> Gemv<'_, '_, W> {
    /// A vector's rows at a time.
    ///
    /// # Safety
    /// Needs the instruction set of V; the rows are inside of `w` and `y`, x holds all strips.
    #[inline(always)]
    unsafe fn each_vector<V: Simd, T: Integers>(self) {
        let (w, strips) = (self.w, self.w.cols / STRIP);
        let row_bytes = strips / T::strips() * T::bytes();
        let last = self.rows.end - 1;
        let n_sums = LANES * (strips + 1);
        let room = (strips + LANES) * (W::LANES + 2) + 2 * n_sums + TOGETHER * 2 * LANES;
        let scratch = self.scratch.room(room);
        let (token, scratch) = scratch.split_at_mut((strips + LANES) * (W::LANES + 2));
        let (sums, factors) = scratch.split_at_mut(2 * n_sums);
        // SAFETY: the caller's; the scratch has the room that each part's docs ask for.
        unsafe {
            let token = Token::new::<W, T>(self.x, strips, token);
            let sums = [sums.as_mut_ptr(), sums.as_mut_ptr().wrapping_add(n_sums)];
            for first in self.rows.clone().step_by(V::LANES) {
                let n_rows = (self.rows.end - first).min(V::LANES);
                let from = |row: usize| w.data.as_ptr().add(w.stored_row(first + row) * row_bytes);
                match w.layout {
                    Layout::RowMajor => {
                        strip_sums::<V, W, T>(from(0), n_rows * strips, &token, sums);
                    }
                    _ => {
                        for row in 0..n_rows {
                            let sums = sums.map(|sums| sums.wrapping_add(row * strips));
                            strip_sums::<V, W, T>(from(row), strips, &token, sums);
                        }
                    }
                }
                let from = places::<V>(w, first, last, 0);
                let y = add_up::<V, W, T>(from, self.x, strips, sums, factors.as_mut_ptr());
                let mut all = [0.0f32; LANES];
                y.store(all.as_mut_ptr());
                self.y
                    .add(first)
                    .copy_from_nonoverlapping(all.as_ptr(), n_rows);
            }
        }
    }
}

/// The token as [`strip_sums`] reads it, from any strip on: so many strips of the beginning stand behind the end.
struct Token {
    strips: usize,
    /// [strips + LANES][W::LANES]
    lanes: *const i32,
    /// What the type's bias takes off the sums: [2][strips + LANES], a half of the strips each where each has a scale.
    biases: [*const i32; 2],
}

impl Token {
    /// # Safety
    /// `records` holds all strips, `room` has `strips + LANES` times `W::LANES + 2` places.
    #[inline(always)]
    unsafe fn new<W: Width, T: Integers>(
        records: *const i32,
        strips: usize,
        room: &mut [f32],
    ) -> Self {
        let all = strips + LANES;
        let lanes = room.as_mut_ptr().cast::<i32>();
        let biases = [0, 1].map(|i| lanes.wrapping_add(all * W::LANES + i * all));
        for i in 0..all {
            // SAFETY: the caller's.
            unsafe {
                let record = records.add(i % strips * W::RECORD);
                lanes
                    .add(i * W::LANES)
                    .copy_from_nonoverlapping(record, W::LANES);
                let halves = [0, 1].map(|i| -T::BIAS * *record.add(W::LANES + 2 + i));
                match T::SCALES {
                    1 => biases[0].add(i).write(halves[0] + halves[1]),
                    _ => (0..2).for_each(|half| biases[half].add(i).write(halves[half])),
                }
            }
        }
        Self {
            strips,
            lanes,
            biases: biases.map(<*mut i32>::cast_const),
        }
    }
}

/// The exact sums of `n` strips that lie one behind the other, a row's strips and the next row's, to `sums`: those of
/// the first halves and of the second ones where each has a scale.
///
/// # Safety
/// Needs the instruction set of V, the strips, and room for `n` and `LANES` more.
#[inline(always)]
unsafe fn strip_sums<V: Simd, W: Width, T: Integers>(
    from: *const u8,
    n: usize,
    token: &Token,
    sums: [*mut f32; 2],
) {
    let bytes = V::LANES / T::strips() * T::bytes();
    let mut padded = [0u8; BLOCKS];
    let (mut next, mut strip) = (from, 0);
    for first in (0..n).step_by(V::LANES) {
        // SAFETY: the caller's; the last blocks are followed by zeros.
        unsafe {
            let mut blocks = next;
            if n - first < V::LANES {
                let rest = (n - first) / T::strips() * T::bytes();
                padded.as_mut_ptr().copy_from_nonoverlapping(next, rest);
                blocks = padded.as_ptr();
            }
            for line in (0..bytes).step_by(LINE) {
                V::prefetch(next.wrapping_add(AHEAD + line));
            }
            let x = token.lanes.add(strip * W::LANES);
            let lanes = lanes_of::<V, W, T>(blocks, x);
            let mut exact = V::sum_halves(lanes[0]);
            if T::SCALES == 1 {
                exact[0] = V::add_ints(exact[0], exact[1]);
            } else if W::VECTORS == 2 {
                let second = V::sum_halves(lanes[1]);
                exact[0] = V::add_ints(exact[0], exact[1]);
                exact[1] = V::add_ints(second[0], second[1]);
            }
            for part in 0..T::SCALES {
                if T::BIAS != 0 {
                    let bias = V::load_ints(token.biases[part].add(strip));
                    exact[part] = V::add_ints(exact[part], bias);
                }
                V::to_real(exact[part]).store(sums[part].add(first));
            }
            next = next.wrapping_add(bytes);
            strip += V::LANES;
            while strip >= token.strips {
                strip -= token.strips;
            }
        }
    }
}

/// The products of `V::LANES` strips, each still in eight lanes: strips 0 to 7, and in the second row 8 to 15. Where a
/// strip's halves are vectors of their own and have a scale each, the second halves apart.
///
/// # Safety
/// Needs the instruction set of V, the blocks, and their token's lanes.
#[inline(always)]
unsafe fn lanes_of<V: Simd, W: Width, T: Integers>(
    blocks: *const u8,
    x: *const i32,
) -> [[V::Int; 8]; 2] {
    // SAFETY: the caller's.
    unsafe {
        let zero = V::int(0);
        let mut lanes = [[zero; 8]; 2];
        for j in 0..8 {
            let place = |i: usize| blocks.wrapping_add((8 * i + j) / T::strips() * T::bytes());
            let block = [place(0), place(V::ROWS - 1)];
            let codes = W::row::<V, T>(T::codes::<V>(block, j % T::strips()));
            for i in 0..W::VECTORS {
                let place = |row: usize| x.wrapping_add((8 * row + j) * W::LANES + 8 * i).cast();
                let x = V::load_bytes([place(0), place(V::ROWS - 1)]);
                let part = if T::SCALES == 1 { 0 } else { i };
                lanes[part][j] = W::add::<V>(lanes[part][j], codes[i], x);
            }
            if W::short_sums::<V>() {
                lanes[0][j] = join::<V>(zero, lanes[0][j]);
            }
        }
        lanes
    }
}

/// The sums of a vector's rows, each row's strips scaled and added up in ascending order: a row a lane.
///
/// # Safety
/// Needs the instruction set of V; the places hold the rows, `x` the token's records, `sums` those of [`strip_sums`], row
/// by row, and eight more; `factors` has room for `TOGETHER` strips.
#[inline(always)]
unsafe fn add_up<V: Simd, W: Width, T: Integers>(
    mut from: Places,
    x: *const i32,
    strips: usize,
    sums: [*mut f32; 2],
    factors: *mut f32,
) -> V {
    // SAFETY: the caller's.
    unsafe {
        let mut y = V::splat(0.0);
        for first in (0..strips).step_by(8) {
            let at = first % TOGETHER;
            if at == 0 {
                let blocks = (strips - first).min(TOGETHER) / T::strips();
                from = unpack_factors::<V, T>(from, blocks, factors);
            }
            let mut exact = [[V::splat(0.0); 8]; 2];
            for part in 0..T::SCALES {
                let sums = sums[part].wrapping_add(first);
                let mut rows = [V::splat(0.0); 8];
                for j in 0..8 {
                    let row = |i: usize| sums.wrapping_add((8 * i + j) * strips).cast_const();
                    let row: Rows<*const f32> = [row(0), row(V::ROWS - 1)];
                    rows[j] = V::load_rows(row);
                }
                exact[part] = V::transpose(rows);
            }
            for i in 0..8 {
                if first + i == strips {
                    break;
                }
                let unit = x.add((first + i) * W::RECORD + W::LANES).cast::<f32>();
                let factors = factors.add((at + i) * 2 * V::LANES);
                for part in 0..T::SCALES {
                    let scale = V::load(factors.add(part * V::LANES));
                    y = exact[part][i].fma(scale.mul(V::splat(*unit)), y);
                }
                if T::OFFSETS > 0 {
                    let offset = V::load(factors.add(T::SCALES * V::LANES));
                    y = offset.fma(V::splat(*unit.add(1)), y);
                }
            }
        }
        y
    }
}

/// The factors of some blocks, for each strip two vectors, and where the blocks behind them are.
///
/// # Safety
/// Needs the instruction set of V, the blocks, and the room.
#[inline(always)]
unsafe fn unpack_factors<V: Simd, T: Integers>(
    mut from: Places,
    blocks: usize,
    to: *mut f32,
) -> Places {
    for block in 0..blocks {
        // SAFETY: the caller's.
        unsafe {
            let to = Factors {
                to: to.add(block * T::strips() * 2 * V::LANES),
                strip: 2 * V::LANES,
                vector: V::LANES,
            };
            T::factors::<V>(&from, to);
        }
        from = from.map(|rows| rows.map(|p| p.wrapping_add(T::bytes())));
    }
    from
}
