//! Stored blocks to f32, eight values at a time for the rows of a vector: bit for bit the table's `unpack`.
//!
//! Every function takes the same block of each row and hands its values on as vectors of eight along the row, in
//! ascending order: to a panel, or straight into sums. As in the table, every operation rounds to f32 and none is fused.
//! Types that have no such function here pass through the table's.
#![allow(
    clippy::needless_range_loop,
    reason = "vectors of a block are numbered across several arrays"
)]

use super::panel::COLS_UNIT;
use super::simd::{Rows, Simd};
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
        ($ty:ident, $values:literal, $unpack:ident) => {
            for b in 0..blocks {
                // SAFETY: block b of each row, and the room for its vectors.
                unsafe {
                    let mut out = Out {
                        at: out.add(b * ($values / 8) * step),
                        step,
                    };
                    $unpack::<V>(at(from, b * block_bytes(StoredType::$ty)), &mut out);
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
        ($ty:ident, $values:literal, $unpack:ident) => {
            true
        };
    }
    with_type!(ty, yes, false)
}

/// Calls `$each!(type, values, unpack)` with the type's name, the values of a block, and the function that unpacks it;
/// `$other` for types that have none here.
macro_rules! with_type {
    ($ty:expr, $each:ident, $other:expr) => {
        match $ty {
            StoredType::F32 => $each!(F32, 8, f32),
            StoredType::F16 => $each!(F16, 8, f16),
            StoredType::BF16 => $each!(BF16, 8, bf16),
            StoredType::Q8_0 => $each!(Q8_0, 32, q8_0),
            StoredType::Q4_0 => $each!(Q4_0, 32, q4_0),
            StoredType::Q4_1 => $each!(Q4_1, 32, q4_1),
            StoredType::Q5_0 => $each!(Q5_0, 32, q5_0),
            StoredType::Q5_1 => $each!(Q5_1, 32, q5_1),
            StoredType::Q4_K => $each!(Q4_K, 256, q4_k),
            StoredType::Q5_K => $each!(Q5_K, 256, q5_k),
            StoredType::Q6_K => $each!(Q6_K, 256, q6_k),
            _ => $other,
        }
    };
}
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

/// The byte at `n` of each row.
///
/// # Safety
/// They hold as many.
#[inline(always)]
unsafe fn byte(p: Rows<*const u8>, n: usize) -> Rows<u8> {
    // SAFETY: the caller's.
    unsafe { [*p[0].add(n), *p[1].add(n)] }
}

/// The half at `n` of each row, in all of its lanes.
///
/// # Safety
/// Needs the instruction set of V, and two bytes there.
#[inline(always)]
unsafe fn half<V: Simd>(p: Rows<*const u8>, n: usize) -> V {
    // SAFETY: the caller's.
    unsafe {
        let p = at(p, n);
        V::splat_half([
            u16::from_le_bytes(p[0].cast::<[u8; 2]>().read()),
            u16::from_le_bytes(p[1].cast::<[u8; 2]>().read()),
        ])
    }
}

// SAFETY of the functions below: as [`unpack`] says, with one block a pointer.

#[inline(always)]
pub(super) unsafe fn f32<V: Simd>(b: Rows<*const u8>, out: &mut impl Sink<V>) {
    // SAFETY: above.
    unsafe { out.put(0, V::load_rows([b[0].cast(), b[1].cast()])) }
}

#[inline(always)]
pub(super) unsafe fn f16<V: Simd>(b: Rows<*const u8>, out: &mut impl Sink<V>) {
    // SAFETY: above.
    unsafe { out.put(0, V::load_half(b)) }
}

#[inline(always)]
pub(super) unsafe fn bf16<V: Simd>(b: Rows<*const u8>, out: &mut impl Sink<V>) {
    // SAFETY: above.
    unsafe { out.put(0, V::from_bits(V::shl::<16>(V::load_u16(b)))) }
}

#[inline(always)]
pub(super) unsafe fn q8_0<V: Simd>(b: Rows<*const u8>, out: &mut impl Sink<V>) {
    // SAFETY: above.
    unsafe {
        let d: V = half(b, 0);
        for i in 0..4 {
            let q = V::to_real(V::load_i8(at(b, 2 + 8 * i)));
            out.put(i, q.mul(d));
        }
    }
}

#[inline(always)]
pub(super) unsafe fn q4_0<V: Simd>(b: Rows<*const u8>, out: &mut impl Sink<V>) {
    // SAFETY: above.
    unsafe {
        let d: V = half(b, 0);
        let offset = V::splat(8.0);
        let q = nibbles::<V, 4>(at(b, 2));
        for i in 0..4 {
            out.put(i, V::to_real(q[i]).sub(offset).mul(d));
        }
    }
}

#[inline(always)]
pub(super) unsafe fn q4_1<V: Simd>(b: Rows<*const u8>, out: &mut impl Sink<V>) {
    // SAFETY: above.
    unsafe {
        let d: V = half(b, 0);
        let m: V = half(b, 2);
        let q = nibbles::<V, 4>(at(b, 4));
        for i in 0..4 {
            out.put(i, V::to_real(q[i]).mul(d).add(m));
        }
    }
}

#[inline(always)]
pub(super) unsafe fn q5_0<V: Simd>(b: Rows<*const u8>, out: &mut impl Sink<V>) {
    // SAFETY: above.
    unsafe {
        let d: V = half(b, 0);
        let offset = V::splat(16.0);
        let q = nibbles::<V, 4>(at(b, 6));
        for i in 0..4 {
            let q = V::or(q[i], V::shl::<4>(V::bits(byte(b, 2 + i))));
            out.put(i, V::to_real(q).sub(offset).mul(d));
        }
    }
}

#[inline(always)]
pub(super) unsafe fn q5_1<V: Simd>(b: Rows<*const u8>, out: &mut impl Sink<V>) {
    // SAFETY: above.
    unsafe {
        let d: V = half(b, 0);
        let m: V = half(b, 2);
        let q = nibbles::<V, 4>(at(b, 8));
        for i in 0..4 {
            let q = V::or(q[i], V::shl::<4>(V::bits(byte(b, 4 + i))));
            out.put(i, V::to_real(q).mul(d).add(m));
        }
    }
}

#[inline(always)]
pub(super) unsafe fn q4_k<V: Simd>(b: Rows<*const u8>, out: &mut impl Sink<V>) {
    // SAFETY: above.
    unsafe {
        let d: V = half(b, 0);
        let min: V = half(b, 2);
        let groups = [scales_k4(b[0].add(4)), scales_k4(b[1].add(4))];
        for pair in 0..4 {
            let (d0, m0) = scale_k4(groups, 2 * pair, d, min);
            let (d1, m1) = scale_k4(groups, 2 * pair + 1, d, min);
            let q = nibbles::<V, 8>(at(b, 16 + 32 * pair));
            for i in 0..4 {
                out.put(8 * pair + i, d0.mul(V::to_real(q[i])).sub(m0));
            }
            for i in 0..4 {
                out.put(8 * pair + 4 + i, d1.mul(V::to_real(q[4 + i])).sub(m1));
            }
        }
    }
}

#[inline(always)]
pub(super) unsafe fn q5_k<V: Simd>(b: Rows<*const u8>, out: &mut impl Sink<V>) {
    /// Four vectors of 32 bytes: the groups 2 PAIR and 2 PAIR + 1, whose fifth bits are at these numbers.
    macro_rules! pair {
        ($b:ident, $out:ident, $groups:ident, $d:ident, $min:ident, $pair:literal, $low:literal, $high:literal) => {
            let (d0, m0) = scale_k4($groups, 2 * $pair, $d, $min);
            let (d1, m1) = scale_k4($groups, 2 * $pair + 1, $d, $min);
            let one = V::int(1);
            let q = nibbles::<V, 8>(at($b, 48 + 32 * $pair));
            for i in 0..4 {
                let fifth = V::and(V::shr::<$low>(V::load_u8(at($b, 16 + 8 * i))), one);
                let q = V::or(q[i], V::shl::<4>(fifth));
                $out.put(8 * $pair + i, d0.mul(V::to_real(q)).sub(m0));
            }
            for i in 0..4 {
                let fifth = V::and(V::shr::<$high>(V::load_u8(at($b, 16 + 8 * i))), one);
                let q = V::or(q[4 + i], V::shl::<4>(fifth));
                $out.put(8 * $pair + 4 + i, d1.mul(V::to_real(q)).sub(m1));
            }
        };
    }
    // SAFETY: above.
    unsafe {
        let d: V = half(b, 0);
        let min: V = half(b, 2);
        let groups = [scales_k4(b[0].add(4)), scales_k4(b[1].add(4))];
        pair!(b, out, groups, d, min, 0, 0, 1);
        pair!(b, out, groups, d, min, 1, 2, 3);
        pair!(b, out, groups, d, min, 2, 4, 5);
        pair!(b, out, groups, d, min, 3, 6, 7);
    }
}

#[inline(always)]
pub(super) unsafe fn q6_k<V: Simd>(b: Rows<*const u8>, out: &mut impl Sink<V>) {
    // SAFETY: above.
    unsafe {
        let d: V = half(b, 208);
        for part in 0..2 {
            let (q02, q13) = (
                nibbles::<V, 8>(at(b, 64 * part)),
                nibbles::<V, 8>(at(b, 64 * part + 32)),
            );
            let mut upper = [V::int(0); 4];
            for i in 0..4 {
                upper[i] = V::load_u8(at(b, 128 + 32 * part + 8 * i));
            }
            // The 32 values of row r of this half take the scales 2 r and 2 r + 1.
            for r in 0..4 {
                for i in 0..4 {
                    let lower = if r % 2 == 0 { q02 } else { q13 }[r / 2 * 4 + i];
                    let q = V::or(lower, V::shl::<4>(V::and(upper[i], V::int(3))));
                    upper[i] = V::shr::<2>(upper[i]);
                    let scale = d.mul(signed(b, 192 + 8 * part + 2 * r + i / 2));
                    let q = V::to_real(q).sub(V::splat(32.0));
                    out.put(16 * part + 4 * r + i, scale.mul(q));
                }
            }
        }
    }
}

/// The signed byte at `n` of each row, in all of its lanes.
#[inline(always)]
unsafe fn signed<V: Simd>(p: Rows<*const u8>, n: usize) -> V {
    // SAFETY: above.
    unsafe {
        let s = byte(p, n);
        V::splat_rows([f32::from(s[0] as i8), f32::from(s[1] as i8)])
    }
}

/// N vectors: the low nibbles of N / 2 times eight bytes a row, then the high ones.
#[inline(always)]
unsafe fn nibbles<V: Simd, const N: usize>(p: Rows<*const u8>) -> [V::Int; N] {
    // SAFETY: above.
    unsafe {
        let mut q = [V::int(0); N];
        for i in 0..N / 2 {
            let bytes = V::load_u8(at(p, 8 * i));
            q[i] = V::and(bytes, V::int(15));
            q[N / 2 + i] = V::shr::<4>(bytes);
        }
        q
    }
}

/// The eight 6-bit scales and the eight 6-bit minimums in 12 bytes, one a byte (`get_scale_min_k4`).
#[inline(always)]
unsafe fn scales_k4(p: *const u8) -> ([u8; 8], [u8; 8]) {
    // SAFETY: the caller's pointer holds twelve bytes.
    let [a, b, c] = unsafe { p.cast::<[[u8; 4]; 3]>().read() }.map(u32::from_le_bytes);
    // Four groups in 6 bits of a and b; four in nibbles of c, their upper two bits on top of a and b.
    let scales = [a & 0x3f3f_3f3f, (c & 0x0f0f_0f0f) | (a >> 2 & 0x3030_3030)];
    let mins = [
        b & 0x3f3f_3f3f,
        (c >> 4 & 0x0f0f_0f0f) | (b >> 2 & 0x3030_3030),
    ];
    let bytes = |w: [u32; 2]| (u64::from(w[0]) | u64::from(w[1]) << 32).to_le_bytes();
    (bytes(scales), bytes(mins))
}

/// `d * scale` and `min * m` of a group.
#[inline(always)]
unsafe fn scale_k4<V: Simd>(rows: Rows<([u8; 8], [u8; 8])>, group: usize, d: V, min: V) -> (V, V) {
    // SAFETY: above.
    unsafe {
        let scale = V::splat_rows([f32::from(rows[0].0[group]), f32::from(rows[1].0[group])]);
        let m = V::splat_rows([f32::from(rows[0].1[group]), f32::from(rows[1].1[group])]);
        (d.mul(scale), min.mul(m))
    }
}
