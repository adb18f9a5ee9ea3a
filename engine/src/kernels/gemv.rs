//! y = W x for one token: stored blocks go through registers into the sums, without a panel.
//!
//! The order of the sums is that of `dot.rs`, and so are the bits.
#![allow(
    clippy::needless_range_loop,
    reason = "register blocks are indexed by vector"
)]

use std::ops::Range;

use super::dot::finish;
use super::panel::padded;
use super::simd::{GROUP, Kernel, Rows, Simd};
use super::unpack::{self, Sink, at, block_bytes, block_values, in_registers, with_type};
use super::{Layout, Matrix};
use crate::format::StoredType;

/// Bytes of a group of rows up to which a later group, of so many, is fetched ahead; of longer rows, what comes in the
/// row.
const NEXT_GROUP: usize = 24 << 10;
const GROUPS_AHEAD: usize = 4;
const AHEAD: usize = 1 << 10;
/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

/// The products of some rows with one token.
pub(super) struct Gemv<'a, 'w> {
    /// Row by row.
    pub(super) w: &'a Matrix<'w>,
    pub(super) rows: Range<usize>,
    /// [cols], zeros up to a multiple of eight.
    pub(super) x: &'a [f32],
    /// [w.rows], of which `rows` are written.
    pub(super) y: *mut f32,
}

impl Gemv<'_, '_> {
    /// Whether rows of `w` can be unpacked in registers.
    pub(super) fn takes(w: &Matrix<'_>) -> bool {
        w.layout == Layout::RowMajor && w.scales.is_none() && in_registers(w.ty)
    }
}

impl Kernel for Gemv<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        let (info, group) = (self.w.ty.info(), GROUP * V::ROWS);
        let row_bytes = self.w.cols / info.block * info.bytes;
        let in_groups = group * row_bytes <= NEXT_GROUP;
        for start in self.rows.clone().step_by(group) {
            let n_rows = (self.rows.end - start).min(group);
            // SAFETY: the caller has the instruction set; the rows are inside of `w`, whose lengths were checked, and
            // of `y`; x is as long as a row.
            unsafe {
                let mut from = [[self.w.data.as_ptr(); 2]; GROUP];
                for m in 0..GROUP {
                    for i in 0..V::ROWS {
                        let row = start + (m * V::ROWS + i).min(n_rows - 1);
                        from[m][i] = self.w.data.as_ptr().add(row * row_bytes);
                    }
                }
                let acc = products::<V>(self.w, from, self.x.as_ptr(), in_groups);
                finish::<V, 1>([acc], self.y.add(start), 0, n_rows);
            }
        }
    }
}

/// Eight lanes of the products of a group of rows with x.
///
/// # Safety
/// Needs the instruction set of V; each pointer holds a row of `w`, `x` its columns and zeros up to a multiple of
/// eight.
#[inline(always)]
unsafe fn products<V: Simd>(
    w: &Matrix<'_>,
    from: [Rows<*const u8>; GROUP],
    x: *const f32,
    in_groups: bool,
) -> [V; GROUP] {
    let (values, bytes) = (block_values(w.ty), block_bytes(w.ty));
    let blocks = w.cols / values;
    let row_bytes = w.cols / w.ty.info().block * w.ty.info().bytes;
    // SAFETY: the caller's; a block is fetched from memory long before its turn.
    unsafe {
        let mut acc = [V::splat(0.0); GROUP];
        macro_rules! each {
            ($ty:ident, $values:literal, $unpack:ident, $scales:ident, $parts:literal) => {{
                let (mut from, mut x, mut first) = (from, x, 0);
                let mut next = from[0][0].wrapping_add(GROUPS_AHEAD * GROUP * V::ROWS * row_bytes);
                let bytes = block_bytes(StoredType::$ty);
                for _ in 0..blocks {
                    if in_groups {
                        // As many bytes as are read here, in the order in which they lie.
                        for line in (0..GROUP * V::ROWS * bytes).step_by(LINE) {
                            V::prefetch(next.wrapping_add(line));
                        }
                        next = next.wrapping_add(GROUP * V::ROWS * bytes);
                    } else if first % LINE < bytes {
                        // Once a cache line.
                        for m in 0..GROUP {
                            for i in 0..V::ROWS {
                                for line in (0..bytes).step_by(LINE) {
                                    V::prefetch(from[m][i].wrapping_add(AHEAD + line));
                                }
                            }
                        }
                    }
                    let mut scales = [unpack::$scales::<V>(from[0]); GROUP];
                    for m in 1..GROUP {
                        scales[m] = unpack::$scales::<V>(from[m]);
                    }
                    for part in 0..$parts {
                        for m in 0..GROUP {
                            let mut sum = Sum { acc: acc[m], x };
                            unpack::$unpack::<V>(from[m], &scales[m], part, &mut sum);
                            acc[m] = sum.acc;
                        }
                    }
                    for m in 0..GROUP {
                        from[m] = at(from[m], bytes);
                    }
                    x = x.add($values);
                    first += bytes;
                }
            }};
        }
        with_type!(w.ty, each, unreachable!("{}: `takes` says no", w.ty));
        // Only types without blocks leave a rest.
        let rest = w.cols % values;
        if rest > 0 {
            let x = x.add(blocks * values);
            for m in 0..GROUP {
                let padded = padded::<V>(at(from[m], blocks * bytes), rest * w.ty.info().bytes);
                let mut v = V::splat(0.0);
                let from = [padded[0].as_ptr(), padded[1].as_ptr()];
                unpack::unpack::<V>(w.ty, from, 1, (&raw mut v).cast(), 0);
                acc[m] = v.fma(V::load_shared(x), acc[m]);
            }
        }
        acc
    }
}

/// Multiplies a block's vectors with x and adds them up.
struct Sum<V> {
    acc: V,
    /// The block's columns of x.
    x: *const f32,
}

impl<V: Simd> Sink<V> for Sum<V> {
    #[inline(always)]
    unsafe fn put(&mut self, i: usize, v: V) {
        // SAFETY: the caller's; x has the block's columns.
        unsafe { self.acc = v.fma(V::load_shared(self.x.add(8 * i)), self.acc) }
    }
}
