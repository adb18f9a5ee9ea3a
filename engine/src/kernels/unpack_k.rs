//! K-quants to f32, in parts of a block: `unpack.rs` for blocks of 256 values with scales inside.
#![allow(
    clippy::needless_range_loop,
    reason = "vectors of a block are numbered across several arrays"
)]

use super::integer::codes::{Integers, Q5_K, Q6_K};
use super::simd::{Code, Rows, Simd};
use super::unpack::{Sink, at, half, halves, nibbles};

// SAFETY of the functions below: as `unpack` says, with one block a pointer.

#[inline(always)]
pub(super) unsafe fn q4_k<V: Simd>(
    b: Rows<*const u8>,
    scales: &(V, V),
    pair: usize,
    out: &mut impl Sink<V>,
) {
    // SAFETY: above.
    unsafe {
        let q = nibbles::<V, 8>(at(b, 16 + 32 * pair));
        for half in 0..2 {
            let group = 2 * pair + half;
            let table = V::table::<Lowered>([scales.0.lane(group), scales.1.lane(group)]);
            for i in 0..4 {
                let value = V::look_up::<Lowered>(table, q[4 * half + i]);
                out.put(4 * group + i, value);
            }
        }
    }
}

#[inline(always)]
pub(super) unsafe fn q5_k<V: Simd>(
    b: Rows<*const u8>,
    scales: &(V, V),
    pair: usize,
    out: &mut impl Sink<V>,
) {
    // SAFETY: above.
    unsafe {
        for group in 2 * pair..2 * pair + 2 {
            let (d, min) = (scales.0.lane(group), scales.1.lane(group));
            let q = V::spread(Q5_K::codes::<V>(b, group));
            for i in 0..4 {
                out.put(4 * group + i, d.mul(V::to_real(q[i])).sub(min));
            }
        }
    }
}

#[inline(always)]
pub(super) unsafe fn q6_k<V: Simd>(
    b: Rows<*const u8>,
    scales: &[V; 2],
    part: usize,
    out: &mut impl Sink<V>,
) {
    // SAFETY: above.
    unsafe {
        let offset = V::splat(32.0);
        // Half of a strip has a scale.
        for r in 0..4 {
            let q = V::spread(Q6_K::codes::<V>(b, 4 * part + r));
            for i in 0..4 {
                let scale = scales[part].lane(2 * r + i / 2);
                let q = V::to_real(q[i]).sub(offset);
                out.put(16 * part + 4 * r + i, scale.mul(q));
            }
        }
    }
}

/// The block's half times the sixteen signed scales, those of half a block in a vector.
#[inline(always)]
pub(super) unsafe fn scales_k6<V: Simd>(b: Rows<*const u8>) -> [V; 2] {
    // SAFETY: above.
    unsafe {
        let d: V = half(b, 208);
        [
            d.mul(V::to_real(V::load_i8(at(b, 192)))),
            d.mul(V::to_real(V::load_i8(at(b, 200)))),
        ]
    }
}

/// `d * code - m`.
struct Lowered;

impl<V: Simd> Code<V> for Lowered {
    #[inline(always)]
    unsafe fn value([d, m]: [V; 2], code: V) -> V {
        // SAFETY: above.
        unsafe { d.mul(code).sub(m) }
    }
}

/// The block's two halves times the eight 6-bit scales, and times the eight 6-bit minimums (`get_scale_min_k4`): a
/// group's in each lane.
#[inline(always)]
pub(super) unsafe fn scales_k4<V: Simd>(p: Rows<*const u8>) -> (V, V) {
    // SAFETY: above.
    unsafe {
        let [d, min]: [V; 2] = halves(p, 0);
        let (mut scales, mut mins) = ([[0u8; 8]; 2], [[0u8; 8]; 2]);
        for i in 0..V::ROWS {
            let [a, b, c] = p[i].add(4).cast::<[[u8; 4]; 3]>().read();
            let (a, b, c) = (
                u32::from_le_bytes(a),
                u32::from_le_bytes(b),
                u32::from_le_bytes(c),
            );
            // Four groups in 6 bits of a and b; four in nibbles of c, their upper two bits on top of a and b.
            let both = |low: u32, high: u32| (u64::from(low) | u64::from(high) << 32).to_le_bytes();
            scales[i] = both(a & 0x3f3f_3f3f, (c & 0x0f0f_0f0f) | (a >> 2 & 0x3030_3030));
            mins[i] = both(
                b & 0x3f3f_3f3f,
                (c >> 4 & 0x0f0f_0f0f) | (b >> 2 & 0x3030_3030),
            );
        }
        let of = |bytes: &[[u8; 8]; 2]| [bytes[0].as_ptr(), bytes[1].as_ptr()];
        (
            d.mul(V::to_real(V::load_u8(of(&scales)))),
            min.mul(V::to_real(V::load_u8(of(&mins)))),
        )
    }
}
