//! One token's integer products: stored blocks go through registers, a few rows at a time. The bits are those of the
//! register block, as sums over strips are exact and the rest is in the same order.
#![allow(
    clippy::needless_range_loop,
    reason = "register blocks are indexed by row and vector alike"
)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::super::gemv::{LINE, NEXT_GROUP};
use super::super::simd::{Kernel, Simd};
use super::super::{Layout, Matrix};
use super::block::places;
use super::codes::{Factors, Integers, Places, STRIP, with_integers};
use super::width::{Width, join};
use crate::format::StoredType;

/// Strips whose factors are unpacked together: long before they are read.
const TOGETHER: usize = 32;

/// The lanes of bytes in each half of a strip.
const HALVES: [[i32; 8]; 2] = [[-1, -1, -1, -1, 0, 0, 0, 0], [0, 0, 0, 0, -1, -1, -1, -1]];

/// The products of some rows with one token.
pub(super) struct Gemv<'a, 'w, W> {
    pub(super) width: PhantomData<W>,
    pub(super) w: &'a Matrix<'w>,
    pub(super) rows: Range<usize>,
    /// The token's records.
    pub(super) x: *const i32,
    /// [w.rows], of which `rows` are written.
    pub(super) y: *mut f32,
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
    unsafe fn each_vector<V: Simd, T: Integers>(&self) {
        let mut factors = MaybeUninit::<[f32; TOGETHER * 2 * 16]>::uninit();
        for first in self.rows.clone().step_by(V::LANES) {
            // SAFETY: the caller's; the factors have room for `TOGETHER` strips.
            unsafe {
                let sum = self.products::<V, T>(first, factors.as_mut_ptr().cast());
                let n_rows = (self.rows.end - first).min(V::LANES);
                let mut all = [0.0f32; 16];
                sum.store(all.as_mut_ptr());
                self.y
                    .add(first)
                    .copy_from_nonoverlapping(all.as_ptr(), n_rows);
            }
        }
    }

    /// The products of a vector's rows, a row a lane.
    ///
    /// # Safety
    /// As [`Gemv::each_vector`]; `factors` has room for `TOGETHER` strips.
    #[inline(always)]
    unsafe fn products<V: Simd, T: Integers>(&self, first: usize, factors: *mut f32) -> V {
        let strips = self.w.cols / STRIP;
        let row_bytes = strips / T::strips() * T::bytes();
        let group = V::LANES * row_bytes;
        let in_groups = group <= NEXT_GROUP && self.w.layout == Layout::RowMajor;
        let group_start = self.w.data.as_ptr().wrapping_add(first * row_bytes);
        let mut next = group_start.wrapping_add(group);
        let (mut x, mut passed) = (self.x, 0);
        // SAFETY: the caller's.
        unsafe {
            let mut from = places::<V>(self.w, first, self.rows.end - 1, 0);
            let mut sum = V::splat(0.0);
            for start in (0..strips).step_by(TOGETHER) {
                let blocks = (strips - start).min(TOGETHER) / T::strips();
                unpack_factors::<V, T>(from, blocks, factors);
                for block in 0..blocks {
                    if in_groups {
                        // As many bytes as are read here, in the order in which they lie.
                        for line in (0..V::LANES * T::bytes()).step_by(LINE) {
                            V::prefetch(next.wrapping_add(line));
                        }
                        next = next.wrapping_add(V::LANES * T::bytes());
                    } else if passed % LINE < T::bytes() {
                        // The next rows' blocks, once a cache line.
                        prefetch::<V>(&from, group, T::bytes());
                    }
                    passed += T::bytes();
                    for strip in 0..T::strips() {
                        let at = (block * T::strips() + strip) * 2 * V::LANES;
                        sum = add_strip::<V, W, T>(&from, strip, x, factors.add(at), sum);
                        x = x.add(W::RECORD);
                    }
                    from = behind::<T>(from);
                }
            }
            sum
        }
    }
}

/// The factors of some blocks: for each strip two vectors.
///
/// # Safety
/// Needs the instruction set of V, the blocks, and the room.
#[inline(always)]
unsafe fn unpack_factors<V: Simd, T: Integers>(mut from: Places, blocks: usize, to: *mut f32) {
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
        from = behind::<T>(from);
    }
}

/// The next block of each row.
#[inline(always)]
fn behind<T: Integers>(from: Places) -> Places {
    from.map(|rows| rows.map(|p| p.wrapping_add(T::bytes())))
}

/// Has the `bytes` that stand `ahead` of each row's place fetched.
///
/// # Safety
/// Needs the instruction set of V.
#[inline(always)]
unsafe fn prefetch<V: Simd>(from: &Places, ahead: usize, bytes: usize) {
    for rows in from {
        for p in &rows[..V::ROWS] {
            for line in (0..bytes).step_by(LINE) {
                // SAFETY: the caller's.
                unsafe { V::prefetch(p.wrapping_add(ahead + line)) };
            }
        }
    }
}

/// `sum` and a strip's products with its record of x: exact in integers, then rounded as the register block does.
///
/// # Safety
/// Needs the instruction set of V; the places hold blocks of the type, `x` a record, `factors` two vectors.
#[inline(always)]
unsafe fn add_strip<V: Simd, W: Width, T: Integers>(
    from: &Places,
    strip: usize,
    x: *const i32,
    factors: *const f32,
    mut sum: V,
) -> V {
    // SAFETY: the caller's.
    unsafe {
        let zero = V::int(0);
        let mut codes = [[zero; 2]; 8];
        for j in 0..8 {
            codes[j] = W::row::<V, T>(T::codes::<V>(from[j], strip));
        }
        let unit = x.add(W::LANES).cast::<f32>();
        for part in 0..T::SCALES {
            // The part's vectors; half of one where it has no more.
            let vectors = match (T::SCALES, W::VECTORS) {
                (1, n) => 0..n,
                (_, 1) => 0..1,
                _ => part..part + 1,
            };
            let mut lanes = [zero; 8];
            for i in vectors {
                let mut x = V::load_shared_ints(x.add(8 * i));
                if W::VECTORS < T::SCALES {
                    x = V::and(x, V::load_shared_ints(HALVES[part].as_ptr()));
                }
                for j in 0..8 {
                    lanes[j] = W::add::<V>(lanes[j], codes[j][i], x);
                }
            }
            if W::short_sums::<V>() {
                // No `map`: it is not compiled for the instruction set.
                for j in 0..8 {
                    lanes[j] = join::<V>(zero, lanes[j]);
                }
            }
            let mut exact = V::sum_rows(lanes);
            if T::BIAS != 0 {
                let half = |i: usize| *x.add(W::LANES + 2 + i);
                let all = match T::SCALES {
                    1 => half(0) + half(1),
                    _ => half(part),
                };
                exact = V::add_ints(exact, V::int(-T::BIAS * all));
            }
            let factor = V::load(factors.add(part * V::LANES)).mul(V::splat(*unit));
            sum = V::to_real(exact).fma(factor, sum);
        }
        if T::OFFSETS > 0 {
            let offset = V::load(factors.add(T::SCALES * V::LANES));
            sum = offset.fma(V::splat(*unit.add(1)), sum);
        }
        sum
    }
}
