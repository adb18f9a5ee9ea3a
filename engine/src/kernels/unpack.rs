//! Stored blocks to f32, eight values at a time for the rows of a vector: bit for bit the table's `unpack`.
//!
//! Every function takes the same block of each row and hands its values on as vectors of eight along the row, in
//! ascending order: to a panel, or straight into sums. As in the table, every operation rounds to f32 and none is fused.
//! Types that have no such function here pass through the table's.
#![allow(
    clippy::needless_range_loop,
    reason = "vectors of a block are numbered across several arrays"
)]

use super::integer::codes::{Integers, Q5_0, Q5_1};
use super::panel::COLS_UNIT;
use super::simd::{Code, Rows, Simd};
use crate::format::StoredType;

/// Unpacks `blocks` blocks of each row.
///
/// # Safety
/// Needs the instruction set of V. Each pointer holds `blocks` blocks of `ty`, whose values are a multiple of
/// eight (a type with one value a block counts as one of eight); `out` has room for all vectors.
#[inline(always)]
pub(super) unsafe fn unpack<V: Simd>(
    ty: StoredType,
    from: Rows<*const u8>,
    blocks: usize,
    out: *mut f32,
    step: usize,
) {
    /// One loop for each type, so that the choice is made outside of it.
    macro_rules! each {
        ($ty:ident, $values:literal, $unpack:ident, $scales:ident, $parts:literal) => {
            for b in 0..blocks {
                // SAFETY: block b of each row, and the room for its vectors.
                unsafe {
                    let mut out = Out {
                        at: out.add(b * ($values / 8) * step),
                        step,
                    };
                    let from = at(from, b * block_bytes(StoredType::$ty));
                    let scales = $scales::<V>(from);
                    for part in 0..$parts {
                        $unpack::<V>(from, &scales, part, &mut out);
                    }
                }
            }
        };
    }
    with_type!(ty, each, {
        let (values, bytes) = (block_values(ty), block_bytes(ty));
        let mut unpacked = [[0.0; COLS_UNIT]; 2];
        for b in 0..blocks {
            // SAFETY: block b of each row, and the room for its vectors.
            unsafe {
                for i in 0..V::ROWS {
                    let block = std::slice::from_raw_parts(from[i].add(b * bytes), bytes);
                    ty.unpack(block, &mut unpacked[i][..values]);
                }
                let out = out.add(b * (values / 8) * step);
                put_rows::<V>(&unpacked, values / 8, out, step);
            }
        }
    });
}

/// Writes `chunks` vectors of the two rows, `step` floats apart.
///
/// # Safety
/// Needs the instruction set of V; `out` has room for the vectors.
#[inline(always)]
pub(super) unsafe fn put_rows<V: Simd>(
    rows: &Rows<[f32; COLS_UNIT]>,
    chunks: usize,
    out: *mut f32,
    step: usize,
) {
    for i in 0..chunks {
        // SAFETY: the caller's; the slices are eight values.
        unsafe {
            let [a, b] = [&rows[0][8 * i..][..8], &rows[1][8 * i..][..8]];
            V::load_rows([a.as_ptr(), b.as_ptr()]).store(out.add(i * step));
        }
    }
}

/// Whether a type has a function here.
pub(super) fn in_registers(ty: StoredType) -> bool {
    macro_rules! yes {
        ($ty:ident, $values:literal, $unpack:ident, $scales:ident, $parts:literal) => {
            true
        };
    }
    with_type!(ty, yes, false)
}

/// Calls `$each!(type, values, unpack, scales, parts)` with the type's name, the values of a block, the function that
/// unpacks a part of it, the one that gives what all parts need, and the number of parts; `$other` for types that have
/// none here. Several rows whose parts take turns keep the processor busier than one row after another.
macro_rules! with_type {
    ($ty:expr, $each:ident, $other:expr) => {
        match $ty {
            StoredType::F32 => $each!(F32, 8, f32, none, 1),
            StoredType::F16 => $each!(F16, 8, f16, none, 1),
            StoredType::BF16 => $each!(BF16, 8, bf16, none, 1),
            StoredType::Q8_0 => $each!(Q8_0, 32, q8_0, scale, 1),
            StoredType::Q4_0 => $each!(Q4_0, 32, q4_0, table_q4_0, 1),
            StoredType::Q4_1 => $each!(Q4_1, 32, q4_1, table_q4_1, 1),
            StoredType::Q5_0 => $each!(Q5_0, 32, q5_0, scale, 1),
            StoredType::Q5_1 => $each!(Q5_1, 32, q5_1, scale_and_offset, 1),
            StoredType::Q4_K => $each!(Q4_K, 256, q4_k, scales_k4, 4),
            StoredType::Q5_K => $each!(Q5_K, 256, q5_k, scales_k4, 4),
            StoredType::Q6_K => $each!(Q6_K, 256, q6_k, scales_k6, 2),
            _ => $other,
        }
    };
}
pub(super) use super::unpack_k::{q4_k, q5_k, q6_k, scales_k4, scales_k6};
pub(super) use with_type;

/// Values that are unpacked together: a block, or eight values of a type without blocks.
pub(super) fn block_values(ty: StoredType) -> usize {
    ty.info().block.max(8)
}

/// Bytes of [`block_values`].
pub(super) fn block_bytes(ty: StoredType) -> usize {
    ty.info().bytes * (block_values(ty) / ty.info().block)
}

/// Takes a block's vectors, in ascending order.
pub(super) trait Sink<V: Simd> {
    /// Vector `i` of the block.
    ///
    /// # Safety
    /// Needs the instruction set of V, and room for the vector where it goes.
    unsafe fn put(&mut self, i: usize, v: V);
}

/// Vectors in memory, `step` floats apart.
struct Out {
    at: *mut f32,
    step: usize,
}

impl<V: Simd> Sink<V> for Out {
    #[inline(always)]
    unsafe fn put(&mut self, i: usize, v: V) {
        // SAFETY: the caller's.
        unsafe { v.store(self.at.add(i * self.step)) }
    }
}

/// The pointers, `n` bytes further.
///
/// # Safety
/// They hold as many.
#[inline(always)]
pub(super) unsafe fn at(p: Rows<*const u8>, n: usize) -> Rows<*const u8> {
    // SAFETY: the caller's.
    unsafe { [p[0].add(n), p[1].add(n)] }
}

/// The half at `n` of each row, in all of its lanes.
///
/// # Safety
/// Needs the instruction set of V, and two bytes there.
#[inline(always)]
pub(super) unsafe fn half<V: Simd>(p: Rows<*const u8>, n: usize) -> V {
    // SAFETY: the caller's.
    unsafe {
        let p = at(p, n);
        V::splat_half([
            u16::from_le_bytes(p[0].cast::<[u8; 2]>().read()),
            u16::from_le_bytes(p[1].cast::<[u8; 2]>().read()),
        ])
    }
}

/// The two halves at `n` of each row, each in all of its lanes.
///
/// # Safety
/// Needs the instruction set of V, and four bytes there.
#[inline(always)]
pub(super) unsafe fn halves<V: Simd>(p: Rows<*const u8>, n: usize) -> [V; 2] {
    // SAFETY: the caller's.
    unsafe {
        let p = at(p, n);
        V::splat_halves([
            u32::from_le_bytes(p[0].cast::<[u8; 4]>().read()),
            u32::from_le_bytes(p[1].cast::<[u8; 4]>().read()),
        ])
    }
}

// SAFETY of the functions below: as [`unpack`] says, with one block a pointer.

/// For types without scales.
#[inline(always)]
pub(super) unsafe fn none<V: Simd>(_: Rows<*const u8>) {}

#[inline(always)]
pub(super) unsafe fn f32<V: Simd>(b: Rows<*const u8>, _: &(), _: usize, out: &mut impl Sink<V>) {
    // SAFETY: above.
    unsafe { out.put(0, V::load_rows([b[0].cast(), b[1].cast()])) }
}

#[inline(always)]
pub(super) unsafe fn f16<V: Simd>(b: Rows<*const u8>, _: &(), _: usize, out: &mut impl Sink<V>) {
    // SAFETY: above.
    unsafe { out.put(0, V::load_half(b)) }
}

#[inline(always)]
pub(super) unsafe fn bf16<V: Simd>(b: Rows<*const u8>, _: &(), _: usize, out: &mut impl Sink<V>) {
    // SAFETY: above.
    unsafe { out.put(0, V::from_bits(V::shl::<16>(V::load_u16(b)))) }
}

/// The half that a block begins with.
#[inline(always)]
pub(super) unsafe fn scale<V: Simd>(b: Rows<*const u8>) -> V {
    // SAFETY: above.
    unsafe { half(b, 0) }
}

/// The two halves that a block begins with.
#[inline(always)]
pub(super) unsafe fn scale_and_offset<V: Simd>(b: Rows<*const u8>) -> [V; 2] {
    // SAFETY: above.
    unsafe { halves(b, 0) }
}

#[inline(always)]
pub(super) unsafe fn table_q4_0<V: Simd>(b: Rows<*const u8>) -> [V; 2] {
    // SAFETY: above.
    unsafe { V::table::<Shifted>([V::splat(8.0), half(b, 0)]) }
}

#[inline(always)]
pub(super) unsafe fn table_q4_1<V: Simd>(b: Rows<*const u8>) -> [V; 2] {
    // SAFETY: above.
    unsafe { V::table::<Raised>(halves(b, 0)) }
}

#[inline(always)]
pub(super) unsafe fn q8_0<V: Simd>(b: Rows<*const u8>, d: &V, _: usize, out: &mut impl Sink<V>) {
    // SAFETY: above.
    unsafe {
        for i in 0..4 {
            let q = V::to_real(V::load_i8(at(b, 2 + 8 * i)));
            out.put(i, q.mul(*d));
        }
    }
}

#[inline(always)]
pub(super) unsafe fn q4_0<V: Simd>(
    b: Rows<*const u8>,
    table: &[V; 2],
    _: usize,
    out: &mut impl Sink<V>,
) {
    // SAFETY: above.
    unsafe {
        let q = nibbles::<V, 4>(at(b, 2));
        for i in 0..4 {
            out.put(i, V::look_up::<Shifted>(*table, q[i]));
        }
    }
}

#[inline(always)]
pub(super) unsafe fn q4_1<V: Simd>(
    b: Rows<*const u8>,
    table: &[V; 2],
    _: usize,
    out: &mut impl Sink<V>,
) {
    // SAFETY: above.
    unsafe {
        let q = nibbles::<V, 4>(at(b, 4));
        for i in 0..4 {
            out.put(i, V::look_up::<Raised>(*table, q[i]));
        }
    }
}

#[inline(always)]
pub(super) unsafe fn q5_0<V: Simd>(b: Rows<*const u8>, d: &V, _: usize, out: &mut impl Sink<V>) {
    // SAFETY: above.
    unsafe {
        let offset = V::splat(16.0);
        let q = V::spread(Q5_0::codes::<V>(b, 0));
        for i in 0..4 {
            out.put(i, V::to_real(q[i]).sub(offset).mul(*d));
        }
    }
}

#[inline(always)]
pub(super) unsafe fn q5_1<V: Simd>(
    b: Rows<*const u8>,
    factors: &[V; 2],
    _: usize,
    out: &mut impl Sink<V>,
) {
    // SAFETY: above.
    unsafe {
        let [d, m] = *factors;
        let q = V::spread(Q5_1::codes::<V>(b, 0));
        for i in 0..4 {
            out.put(i, V::to_real(q[i]).mul(d).add(m));
        }
    }
}

/// `(code - offset) * d`.
struct Shifted;

impl<V: Simd> Code<V> for Shifted {
    #[inline(always)]
    unsafe fn value([offset, d]: [V; 2], code: V) -> V {
        // SAFETY: above.
        unsafe { code.sub(offset).mul(d) }
    }
}

/// `code * d + m`.
struct Raised;

impl<V: Simd> Code<V> for Raised {
    #[inline(always)]
    unsafe fn value([d, m]: [V; 2], code: V) -> V {
        // SAFETY: above.
        unsafe { code.mul(d).add(m) }
    }
}

/// N vectors: the low nibbles of N / 2 times eight bytes a row, then the high ones. Only the lowest four bits count.
#[inline(always)]
pub(super) unsafe fn nibbles<V: Simd, const N: usize>(p: Rows<*const u8>) -> [V::Int; N] {
    // SAFETY: above.
    unsafe {
        let mut q = [V::int(0); N];
        for i in 0..N / 2 {
            let bytes = V::load_u8(at(p, 8 * i));
            q[i] = bytes;
            q[N / 2 + i] = V::shr::<4>(bytes);
        }
        q
    }
}
