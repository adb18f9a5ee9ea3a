//! Stored blocks to f32, eight values at a time for the rows of a vector: bit for bit the table's `unpack`.
//!
//! Every function takes the same block of each row and writes its values as vectors of eight along the row,
//! `step` floats apart. As in the table, every operation rounds to f32 and none is fused.

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
        ($values:literal, $unpack:ident) => {
            for b in 0..blocks {
                let bytes = b * block_bytes(ty);
                // SAFETY: block b of each row, and the room for its vectors.
                unsafe {
                    let from = [from[0].add(bytes), from[1].add(bytes)];
                    $unpack::<V>(
                        from,
                        Out {
                            at: out.add(b * ($values / 8) * step),
                            step,
                        },
                    );
                }
            }
        };
    }
    match ty {
        StoredType::F32 => each!(8, f32),
        StoredType::F16 => each!(8, f16),
        StoredType::BF16 => each!(8, bf16),
        StoredType::Q8_0 => each!(32, q8_0),
        StoredType::Q4_0 => each!(32, q4_0),
        StoredType::Q4_1 => each!(32, q4_1),
        StoredType::Q5_0 => each!(32, q5_0),
        StoredType::Q5_1 => each!(32, q5_1),
        StoredType::Q4_K => each!(256, q4_k),
        StoredType::Q5_K => each!(256, q5_k),
        StoredType::Q6_K => each!(256, q6_k),
    }
}

/// Values that are unpacked together: a block, or eight values of a type without blocks.
pub(super) fn block_values(ty: StoredType) -> usize {
    ty.info().block.max(8)
}

/// Bytes of [`block_values`].
pub(super) fn block_bytes(ty: StoredType) -> usize {
    ty.info().bytes * (block_values(ty) / ty.info().block)
}

/// Where a block's vectors go.
#[derive(Clone, Copy)]
struct Out {
    at: *mut f32,
    step: usize,
}

impl Out {
    /// # Safety
    /// Needs the instruction set of V, and room for vector `i`.
    #[inline(always)]
    unsafe fn put<V: Simd>(self, i: usize, v: V) {
        // SAFETY: the caller's.
        unsafe { v.store(self.at.add(i * self.step)) }
    }
}

/// The pointers, `n` bytes further.
///
/// # Safety
/// They hold as many.
#[inline(always)]
unsafe fn at(p: Rows<*const u8>, n: usize) -> Rows<*const u8> {
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
unsafe fn f32<V: Simd>(b: Rows<*const u8>, out: Out) {
    // SAFETY: above.
    unsafe { out.put(0, V::load_rows([b[0].cast(), b[1].cast()])) }
}

#[inline(always)]
unsafe fn f16<V: Simd>(b: Rows<*const u8>, out: Out) {
    // SAFETY: above.
    unsafe { out.put(0, V::load_half(b)) }
}

#[inline(always)]
unsafe fn bf16<V: Simd>(b: Rows<*const u8>, out: Out) {
    // SAFETY: above.
    unsafe { out.put(0, V::from_bits(V::shl::<16>(V::load_u16(b)))) }
}

#[inline(always)]
unsafe fn q8_0<V: Simd>(b: Rows<*const u8>, out: Out) {
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
unsafe fn q4_0<V: Simd>(b: Rows<*const u8>, out: Out) {
    // SAFETY: above.
    unsafe {
        let d: V = half(b, 0);
        let offset = V::splat(8.0);
        for i in 0..2 {
            let (low, high) = nibbles::<V>(at(b, 2 + 8 * i));
            out.put(i, V::to_real(low).sub(offset).mul(d));
            out.put(i + 2, V::to_real(high).sub(offset).mul(d));
        }
    }
}

#[inline(always)]
unsafe fn q4_1<V: Simd>(b: Rows<*const u8>, out: Out) {
    // SAFETY: above.
    unsafe {
        let d: V = half(b, 0);
        let m: V = half(b, 2);
        for i in 0..2 {
            let (low, high) = nibbles::<V>(at(b, 4 + 8 * i));
            out.put(i, V::to_real(low).mul(d).add(m));
            out.put(i + 2, V::to_real(high).mul(d).add(m));
        }
    }
}

#[inline(always)]
unsafe fn q5_0<V: Simd>(b: Rows<*const u8>, out: Out) {
    // SAFETY: above.
    unsafe {
        let d: V = half(b, 0);
        let offset = V::splat(16.0);
        for i in 0..2 {
            let (low, high) = nibbles::<V>(at(b, 6 + 8 * i));
            let low = V::or(low, V::shl::<4>(V::bits(byte(b, 2 + i))));
            let high = V::or(high, V::shl::<4>(V::bits(byte(b, 4 + i))));
            out.put(i, V::to_real(low).sub(offset).mul(d));
            out.put(i + 2, V::to_real(high).sub(offset).mul(d));
        }
    }
}

#[inline(always)]
unsafe fn q5_1<V: Simd>(b: Rows<*const u8>, out: Out) {
    // SAFETY: above.
    unsafe {
        let d: V = half(b, 0);
        let m: V = half(b, 2);
        for i in 0..2 {
            let (low, high) = nibbles::<V>(at(b, 8 + 8 * i));
            let low = V::or(low, V::shl::<4>(V::bits(byte(b, 4 + i))));
            let high = V::or(high, V::shl::<4>(V::bits(byte(b, 6 + i))));
            out.put(i, V::to_real(low).mul(d).add(m));
            out.put(i + 2, V::to_real(high).mul(d).add(m));
        }
    }
}

#[inline(always)]
unsafe fn q4_k<V: Simd>(b: Rows<*const u8>, out: Out) {
    // SAFETY: above.
    unsafe {
        let d: V = half(b, 0);
        let min: V = half(b, 2);
        let groups = [scales_k4(b[0].add(4)), scales_k4(b[1].add(4))];
        for pair in 0..4 {
            let (d0, m0) = scale_k4(groups, 2 * pair, d, min);
            let (d1, m1) = scale_k4(groups, 2 * pair + 1, d, min);
            for i in 0..4 {
                let (low, high) = nibbles::<V>(at(b, 16 + 32 * pair + 8 * i));
                out.put(8 * pair + i, d0.mul(V::to_real(low)).sub(m0));
                out.put(8 * pair + 4 + i, d1.mul(V::to_real(high)).sub(m1));
            }
        }
    }
}

#[inline(always)]
unsafe fn q5_k<V: Simd>(b: Rows<*const u8>, out: Out) {
    /// Four vectors of 32 bytes: the groups 2 PAIR and 2 PAIR + 1, whose fifth bits are at these numbers.
    macro_rules! pair {
        ($b:ident, $out:ident, $groups:ident, $d:ident, $min:ident, $pair:literal, $low:literal, $high:literal) => {
            let (d0, m0) = scale_k4($groups, 2 * $pair, $d, $min);
            let (d1, m1) = scale_k4($groups, 2 * $pair + 1, $d, $min);
            for i in 0..4 {
                let fifth = V::load_u8(at($b, 16 + 8 * i));
                let one = V::int(1);
                let (low, high) = nibbles::<V>(at($b, 48 + 32 * $pair + 8 * i));
                let low = V::or(low, V::shl::<4>(V::and(V::shr::<$low>(fifth), one)));
                let high = V::or(high, V::shl::<4>(V::and(V::shr::<$high>(fifth), one)));
                $out.put(8 * $pair + i, d0.mul(V::to_real(low)).sub(m0));
                $out.put(8 * $pair + 4 + i, d1.mul(V::to_real(high)).sub(m1));
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
unsafe fn q6_k<V: Simd>(b: Rows<*const u8>, out: Out) {
    // SAFETY: above.
    unsafe {
        let d: V = half(b, 208);
        let offset = V::splat(32.0);
        let three = V::int(3);
        for part in 0..2 {
            for i in 0..4 {
                // The 32 values of row r of this half take the scales 2 r and 2 r + 1.
                let scales = at(b, 192 + 8 * part + i / 2);
                let pairs = V::load_u8(at(b, 128 + 32 * part + 8 * i));
                let (q0, q2) = nibbles::<V>(at(b, 64 * part + 8 * i));
                let (q1, q3) = nibbles::<V>(at(b, 64 * part + 32 + 8 * i));
                let q0 = V::or(q0, V::shl::<4>(V::and(pairs, three)));
                let q1 = V::or(q1, V::shl::<4>(V::and(V::shr::<2>(pairs), three)));
                let q2 = V::or(q2, V::shl::<4>(V::and(V::shr::<4>(pairs), three)));
                let q3 = V::or(q3, V::shl::<4>(V::shr::<6>(pairs)));
                let to = 16 * part + i;
                out.put(to, d.mul(signed(scales, 0)).mul(V::to_real(q0).sub(offset)));
                out.put(
                    to + 4,
                    d.mul(signed(scales, 2)).mul(V::to_real(q1).sub(offset)),
                );
                out.put(
                    to + 8,
                    d.mul(signed(scales, 4)).mul(V::to_real(q2).sub(offset)),
                );
                out.put(
                    to + 12,
                    d.mul(signed(scales, 6)).mul(V::to_real(q3).sub(offset)),
                );
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

/// Low and high nibbles of eight bytes a row.
#[inline(always)]
unsafe fn nibbles<V: Simd>(p: Rows<*const u8>) -> (V::Int, V::Int) {
    // SAFETY: above.
    unsafe {
        let bytes = V::load_u8(p);
        (V::and(bytes, V::int(15)), V::shr::<4>(bytes))
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
