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
use super::codes::{self, Factors, STRIP, with_integers};
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
        macro_rules! each {
            ($ty:ident, $codes:ident, $factors:ident, $scales:literal, $offsets:literal) => {{
                let info = StoredType::$ty.info();
                let (in_block, all) = (info.block / STRIP, self.w.cols / STRIP);
                let row_bytes = self.w.cols / info.block * info.bytes;
                for first in self.rows.clone().step_by(V::LANES) {
                    // SAFETY: the caller has the instruction set; the rows are inside of `w`, whose lengths were
                    // checked, and of `y`; x holds all strips.
                    unsafe {
                        let mut sum = V::splat(0.0);
                        let mut factors = [0.0f32; TOGETHER * 2 * 16];
                        let last = self.rows.end - 1;
                        let mut x = self.x;
                        for start in (0..all).step_by(TOGETHER) {
                            let strips = (all - start).min(TOGETHER);
                            let from = places::<V>(self.w, first, last, start);
                            let mut block = from;
                            for b in 0..strips / in_block {
                                let to = Factors {
                                    to: factors.as_mut_ptr().add(b * in_block * 2 * V::LANES),
                                    strip: 2 * V::LANES,
                                    vector: V::LANES,
                                };
                                codes::$factors::<V>(&block, to);
                                block = block.map(|p| p.map(|p| p.wrapping_add(info.bytes)));
                            }
                            let mut block = from;
                            let mut factors = factors.as_ptr();
                            let mut passed = 0;
                            for _ in 0..strips / in_block {
                                // The next rows' blocks, once a cache line.
                                if passed % LINE < info.bytes {
                                    let ahead = row_bytes * V::LANES;
                                    for j in 0..8 {
                                        for i in 0..V::ROWS {
                                            for line in (0..info.bytes).step_by(LINE) {
                                                V::prefetch(block[j][i].wrapping_add(ahead + line));
                                            }
                                        }
                                    }
                                }
                                passed += info.bytes;
                                for strip in 0..in_block {
                                    let exact = {
                                        let (low, high) = (
                                            V::load_shared_ints(x),
                                            V::load_shared_ints(x.add(8)),
                                        );
                                        let mut lanes = [[V::int(0); 8]; $scales];
                                        for j in 0..8 {
                                            let q = codes::$codes::<V>(block[j], strip);
                                            let zero = V::int(0);
                                            let a = V::add_products(zero, q[0], low);
                                            if $scales == 1 {
                                                lanes[0][j] = V::add_products(a, q[1], high);
                                            } else {
                                                lanes[0][j] = a;
                                                lanes[$scales - 1][j] =
                                                    V::add_products(zero, q[1], high);
                                            }
                                        }
                                        let mut exact = [V::int(0); $scales];
                                        for part in 0..$scales {
                                            exact[part] = V::sum_rows(lanes[part]);
                                        }
                                        exact
                                    };
                                    let unit = x.add(STRIP / 2).cast::<f32>();
                                    for part in 0..$scales {
                                        let scale = V::load(factors.add(part * V::LANES));
                                        let factor = scale.mul(V::splat(*unit));
                                        sum = V::to_real(exact[part]).fma(factor, sum);
                                    }
                                    if $offsets > 0 {
                                        let offset = V::load(factors.add($scales * V::LANES));
                                        sum = offset.fma(V::splat(*unit.add(1)), sum);
                                    }
                                    factors = factors.add(2 * V::LANES);
                                    x = x.add(RECORD);
                                }
                                block = block.map(|p| p.map(|p| p.wrapping_add(info.bytes)));
                            }
                        }
                        let n_rows = (self.rows.end - first).min(V::LANES);
                        let mut all = [0.0f32; 16];
                        sum.store(all.as_mut_ptr());
                        self.y
                            .add(first)
                            .copy_from_nonoverlapping(all.as_ptr(), n_rows);
                    }
                }
            }};
        }
        with_integers!(
            self.w.ty,
            each,
            unreachable!("{}: `takes` says no", self.w.ty)
        );
    }
}
