//! Stored blocks as what they are: integers, and factors on them. A strip is 32 columns.
//!
//! A value is `scale * (code - bias)` or `scale * code + offset`, code and factors those of the type's own formula
//! (`unpack.rs`); a Q6_K strip has a scale for each of its halves. Codes are not negative but in Q8_0.
#![allow(
    clippy::needless_range_loop,
    reason = "rows and strips are numbered across several arrays"
)]

use super::super::simd::{Rows, Simd};
use super::super::unpack::at;
use super::super::unpack_k::scales_k6;
use crate::format::StoredType;

/// Columns of a strip.
pub(super) const STRIP: usize = 32;

/// A stored type as integers and factors.
///
/// # Safety
/// Its functions need the instruction set of V, a block of the type behind each pointer, and room where the factors go.
pub(in super::super) trait Integers {
    /// The type.
    const TYPE: StoredType;
    /// Bits of a code.
    const BITS: u32;
    /// What is subtracted from every code.
    const BIAS: i32;
    /// Scales of a strip, each of an equal part of it.
    const SCALES: usize;
    /// Offsets of a strip: one or none.
    const OFFSETS: usize;

    /// Strips of a block.
    #[inline(always)]
    fn strips() -> usize {
        Self::TYPE.info().block / STRIP
    }
    /// Bytes of a block.
    #[inline(always)]
    fn bytes() -> usize {
        Self::TYPE.info().bytes
    }
    /// The codes of a block's strip in one row, or in two: bytes in ascending order, signed where they have eight bits.
    unsafe fn codes<V: Simd>(block: Rows<*const u8>, strip: usize) -> V::Int;
    /// The factors of all strips of a block.
    unsafe fn factors<V: Simd>(blocks: &Places, to: Factors);
}

/// A type for each line, that is [`Integers`]; and `with_integers!(type, T => expression, other)`, with the type as `T`
/// where it stands here, and `other` for types that are no integers, or none that are read here.
macro_rules! integers {
    ($d:tt $($ty:ident: $codes:ident, $bits:literal - $bias:literal; $factors:ident, $scales:literal, $offsets:literal;)*) => {
        $(
            #[allow(non_camel_case_types, reason = "named as in the table of stored types")]
            pub(in super::super) struct $ty;

            impl Integers for $ty {
                const TYPE: StoredType = StoredType::$ty;
                const BITS: u32 = $bits;
                const BIAS: i32 = $bias;
                const SCALES: usize = $scales;
                const OFFSETS: usize = $offsets;

                #[inline(always)]
                unsafe fn codes<V: Simd>(block: Rows<*const u8>, strip: usize) -> V::Int {
                    // SAFETY: the caller's.
                    unsafe { $codes::<V>(block, strip) }
                }
                #[inline(always)]
                unsafe fn factors<V: Simd>(blocks: &Places, to: Factors) {
                    // SAFETY: the caller's.
                    unsafe { $factors::<V>(blocks, to) }
                }
            }
        )*

        macro_rules! with_integers {
            ($d ty:expr, $d T:ident => $d each:expr, $d other:expr) => {
                match $d ty {
                    $(StoredType::$ty => {
                        type $d T = super::codes::$ty;
                        $d each
                    })*
                    _ => $d other,
                }
            };
        }
    };
}

integers! { $
    Q8_0: q8_0, 8 - 0; one_half, 1, 0;
    Q4_0: q4_0, 4 - 8; one_half, 1, 0;
    Q4_1: q4_1, 4 - 0; two_halves, 1, 1;
    Q5_0: q5_0, 5 - 16; one_half, 1, 0;
    Q5_1: q5_1, 5 - 0; two_halves, 1, 1;
    Q4_K: q4_k, 4 - 0; of_k4, 1, 1;
    Q5_K: q5_k, 5 - 0; of_k4, 1, 1;
    Q6_K: q6_k, 6 - 32; of_k6, 2, 0;
}
pub(super) use with_integers;

/// Bits of a type's codes, where they are read here.
pub(super) fn bits(ty: StoredType) -> Option<u32> {
    with_integers!(ty, T => Some(T::BITS), None)
}

/// The same place in eight rows, or in eight and the eight behind them.
pub(in super::super) type Places = [Rows<*const u8>; 8];

/// Where a block's factors go, [`Simd::LANES`] rows side by side.
#[derive(Clone, Copy)]
pub(in super::super) struct Factors {
    /// The first strip's scales.
    pub(super) to: *mut f32,
    /// Floats from one strip to the next, and from one vector of factors to the next: scales, then offset.
    pub(super) strip: usize,
    pub(super) vector: usize,
}

impl Factors {
    /// Where vector `i` of a strip goes.
    fn at(self, strip: usize, i: usize) -> *mut f32 {
        self.to.wrapping_add(strip * self.strip + i * self.vector)
    }
}

// SAFETY of the functions below: they need the instruction set of V, a block of the type behind each pointer, and room
// where the factors go.

#[inline(always)]
unsafe fn q8_0<V: Simd>(b: Rows<*const u8>, _: usize) -> V::Int {
    // SAFETY: above.
    unsafe { V::load_bytes(at(b, 2)) }
}

#[inline(always)]
unsafe fn q4_0<V: Simd>(b: Rows<*const u8>, _: usize) -> V::Int {
    // SAFETY: above.
    unsafe { V::load_nibbles(at(b, 2)) }
}

#[inline(always)]
unsafe fn q4_1<V: Simd>(b: Rows<*const u8>, _: usize) -> V::Int {
    // SAFETY: above.
    unsafe { V::load_nibbles(at(b, 4)) }
}

#[inline(always)]
unsafe fn q5_0<V: Simd>(b: Rows<*const u8>, _: usize) -> V::Int {
    // SAFETY: above.
    unsafe { fifth::<V>(V::load_nibbles(at(b, 6)), at(b, 2)) }
}

#[inline(always)]
unsafe fn q5_1<V: Simd>(b: Rows<*const u8>, _: usize) -> V::Int {
    // SAFETY: above.
    unsafe { fifth::<V>(V::load_nibbles(at(b, 8)), at(b, 4)) }
}

#[inline(always)]
unsafe fn q4_k<V: Simd>(b: Rows<*const u8>, strip: usize) -> V::Int {
    // SAFETY: above.
    unsafe { nibbles_of::<V>(at(b, 16 + strip / 2 * 32), strip % 2 == 1) }
}

#[inline(always)]
unsafe fn q5_k<V: Simd>(b: Rows<*const u8>, strip: usize) -> V::Int {
    // SAFETY: above.
    unsafe {
        let q = nibbles_of::<V>(at(b, 48 + strip / 2 * 32), strip % 2 == 1);
        let fifth = V::shift_down(V::load_bytes(at(b, 16)), strip as u32);
        V::or(q, V::shl::<4>(V::and(fifth, V::int(0x0101_0101))))
    }
}

#[inline(always)]
unsafe fn q6_k<V: Simd>(b: Rows<*const u8>, strip: usize) -> V::Int {
    // SAFETY: above.
    unsafe {
        // The four strips of half a block: the lower nibbles of two times 32 bytes, then the upper ones.
        let (half, r) = (strip / 4, strip % 4);
        let q = nibbles_of::<V>(at(b, 64 * half + 32 * (r % 2)), r / 2 == 1);
        let upper = V::shift_down(V::load_bytes(at(b, 128 + 32 * half)), 2 * r as u32);
        V::or(q, V::shl::<4>(V::and(upper, V::int(0x0303_0303))))
    }
}

/// The low or the high nibbles of 32 bytes.
#[inline(always)]
unsafe fn nibbles_of<V: Simd>(p: Rows<*const u8>, high: bool) -> V::Int {
    // SAFETY: above.
    unsafe {
        let shift = if high { 4 } else { 0 };
        V::and(V::shift_down(V::load_bytes(p), shift), V::int(0x0f0f_0f0f))
    }
}

/// Codes with the fifth bits that stand at `p`, one a column.
#[inline(always)]
unsafe fn fifth<V: Simd>(q: V::Int, p: Rows<*const u8>) -> V::Int {
    // SAFETY: above.
    unsafe {
        let bits = |p: *const u8| u32::from_le_bytes(p.cast::<[u8; 4]>().read());
        V::fifth_byte_bits(q, [bits(p[0]), bits(p[1])])
    }
}

/// A half at the block's beginning.
#[inline(always)]
unsafe fn one_half<V: Simd>(from: &Places, factors: Factors) {
    // SAFETY: above.
    unsafe { V::halves(V::load_lanes(*from)).store(factors.at(0, 0)) }
}

/// Two of them: scale and offset.
#[inline(always)]
unsafe fn two_halves<V: Simd>(from: &Places, factors: Factors) {
    // SAFETY: above.
    unsafe {
        let both = V::load_lanes(*from);
        V::halves(both).store(factors.at(0, 0));
        V::halves(V::shr::<16>(both)).store(factors.at(0, 1));
    }
}

/// Q4_K and Q5_K: the value is `scale * code - min`. A block begins with two halves, `d` and `m`, and the eight scales and
/// minimums of six bits that are multiplied with them (`get_scale_min_k4`).
#[inline(always)]
unsafe fn of_k4<V: Simd>(from: &Places, factors: Factors) {
    // SAFETY: above.
    unsafe {
        let [both, a, b, c] = V::load_fours(*from);
        let (d, m) = (V::halves(both), V::halves(V::shr::<16>(both)));
        let zero = V::splat(0.0);
        let (six, four, two) = (V::int(63), V::int(15), V::int(0x30));
        for i in 0..4 {
            let n = 8 * i as u32;
            // Four strips in six bits of a and b; four in nibbles of c, their upper two bits on top of a and b.
            let scale = V::and(V::shift_down(a, n), six);
            let min = V::and(V::shift_down(b, n), six);
            d.mul(V::to_real(scale)).store(factors.at(i, 0));
            zero.sub(m.mul(V::to_real(min))).store(factors.at(i, 1));
            let upper = |v: V::Int| V::and(V::shr::<2>(V::shift_down(v, n)), two);
            let scale = V::or(V::and(V::shift_down(c, n), four), upper(a));
            let min = V::or(V::and(V::shift_down(c, n + 4), four), upper(b));
            d.mul(V::to_real(scale)).store(factors.at(4 + i, 0));
            zero.sub(m.mul(V::to_real(min))).store(factors.at(4 + i, 1));
        }
    }
}

#[inline(always)]
unsafe fn of_k6<V: Simd>(from: &Places, factors: Factors) {
    // SAFETY: above.
    unsafe {
        let mut scales = [[V::splat(0.0); 8]; 2];
        for j in 0..8 {
            let [low, high] = scales_k6::<V>(from[j]);
            scales[0][j] = low;
            scales[1][j] = high;
        }
        for half in 0..2 {
            for (i, scale) in V::transpose(scales[half]).into_iter().enumerate() {
                scale.store(factors.at(4 * half + i / 2, i % 2));
            }
        }
    }
}
