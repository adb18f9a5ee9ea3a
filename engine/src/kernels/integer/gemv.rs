//! One token's integer products: stored blocks go through registers, a few rows at a time. The bits are those of the
//! register block, as sums over strips are exact and the rest is in the same order.
#![allow(
    clippy::needless_range_loop,
    reason = "register blocks are indexed by row and vector alike"
)]

use std::ops::Range;

use super::super::Matrix;
use super::super::simd::{Kernel, Simd};
use super::block::places;
use super::codes::{Factors, Integers, Places, STRIP, with_integers};
use super::pack::RECORD;
use crate::format::StoredType;

/// Strips whose factors are unpacked together: long before they are read.
const TOGETHER: usize = 32;
/// Bytes of a cache line.
const LINE: usize = 64;

/// The products of some rows with one token.
pub(super) struct Gemv<'a, 'w> {
    pub(super) w: &'a Matrix<'w>,
    pub(super) rows: Range<usize>,
    /// The token's records.
    pub(super) x: *const i32,
    /// [w.rows], of which `rows` are written.
    pub(super) y: *mut f32,
}

impl Kernel for Gemv<'_, '_> {
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

impl Gemv<'_, '_> {
    /// A vector's rows at a time.
    ///
    /// # Safety
    /// Needs the instruction set of V; the rows are inside of `w` and `y`, x holds all strips.
    #[inline(always)]
    unsafe fn each_vector<V: Simd, T: Integers>(&self) {
        for first in self.rows.clone().step_by(V::LANES) {
            // SAFETY: the caller's.
            unsafe {
                let sum = self.products::<V, T>(first);
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
    /// As [`Gemv::each_vector`].
    #[inline(always)]
    unsafe fn products<V: Simd, T: Integers>(&self, first: usize) -> V {
        let strips = self.w.cols / STRIP;
        let ahead = strips / T::strips() * T::bytes() * V::LANES;
        let mut factors = [0.0f32; TOGETHER * 2 * 16];
        let (mut x, mut passed) = (self.x, 0);
        // SAFETY: the caller's; the factors have room for `TOGETHER` strips.
        unsafe {
            let mut sum = V::splat(0.0);
            for start in (0..strips).step_by(TOGETHER) {
                let blocks = (strips - start).min(TOGETHER) / T::strips();
                let mut from = places::<V>(self.w, first, self.rows.end - 1, start);
                unpack_factors::<V, T>(from, blocks, factors.as_mut_ptr());
                for block in 0..blocks {
                    // The next rows' blocks, once a cache line.
                    if passed % LINE < T::bytes() {
                        prefetch::<V>(&from, ahead, T::bytes());
                    }
                    passed += T::bytes();
                    for strip in 0..T::strips() {
                        let at = (block * T::strips() + strip) * 2 * V::LANES;
                        sum = add_strip::<V, T>(&from, strip, x, factors.as_ptr().add(at), sum);
                        x = x.add(RECORD);
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
unsafe fn add_strip<V: Simd, T: Integers>(
    from: &Places,
    strip: usize,
    x: *const i32,
    factors: *const f32,
    mut sum: V,
) -> V {
    // SAFETY: the caller's.
    unsafe {
        let zero = V::int(0);
        let halves = [V::load_shared_ints(x), V::load_shared_ints(x.add(8))];
        let mut lanes = [[zero; 8]; 2];
        for j in 0..8 {
            let [low, high] = T::codes::<V>(from[j], strip);
            let product = V::add_products(zero, low, halves[0]);
            let (of_high, to) = if T::SCALES == 1 {
                (product, 0)
            } else {
                (zero, 1)
            };
            lanes[0][j] = product;
            lanes[to][j] = V::add_products(of_high, high, halves[1]);
        }
        let unit = x.add(STRIP / 2).cast::<f32>();
        for part in 0..T::SCALES {
            let exact = V::to_real(V::sum_rows(lanes[part]));
            let factor = V::load(factors.add(part * V::LANES)).mul(V::splat(*unit));
            sum = exact.fma(factor, sum);
        }
        if T::OFFSETS > 0 {
            let offset = V::load(factors.add(T::SCALES * V::LANES));
            sum = offset.fma(V::splat(*unit.add(1)), sum);
        }
        sum
    }
}
