//! Floats of 4 and 8 bits, and ternary and binary digits.

use half::f16;

use super::{Nibbles, blocks, half_at, nibbles};

/// Twice the values of a 4-bit float, E2M1 (`kvalues_mxfp4`).
const TWICE_E2M1: Nibbles = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Block: scale E8M0, 32 nibbles (low ones first), E2M1.
pub(in crate::format) fn mxfp4(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<17, 32>(src, dst) {
        nibbles(&b[1..], half_e8m0(b[0]), &TWICE_E2M1, y);
    }
}

/// Block of 4 groups of 16: scales UE4M3, nibbles E2M1.
pub(in crate::format) fn nvfp4(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<36, 64>(src, dst) {
        for (group, y) in y.chunks_exact_mut(16).enumerate() {
            let d = half_ue4m3(b[group]);
            nibbles(&b[4 + 8 * group..][..8], d, &TWICE_E2M1, y);
        }
    }
}

/// Two E2M1 values a byte, the low nibble first, in 16 bytes; their scales are elsewhere (gpt-oss's `_blocks`).
pub(in crate::format) fn f4_e2m1(src: &[u8], dst: &mut [f32]) {
    for (pair, &q) in dst.as_chunks_mut::<2>().0.iter_mut().zip(src) {
        *pair = [q & 15, q >> 4].map(|q| {
            let size = 0.5 * f32::from(TWICE_E2M1[usize::from(q & 7)]);
            // Unlike in ggml's table, zero has its sign.
            if q & 8 == 0 { size } else { -size }
        });
    }
}

/// 1 sign, 4 exponent bits (bias 7), 3 mantissa bits; no infinities, NaN is all ones (`float8_e4m3fn`).
pub(in crate::format) fn f8_e4m3(src: &[u8], dst: &mut [f32]) {
    for (y, &b) in dst.iter_mut().zip(src) {
        let size = match b & 0x7f {
            0x7f => f32::NAN,
            // Exponent 0: mantissa * 2^-9.
            m @ 0..8 => f32::from(m) * (1.0 / 512.0),
            em => f32::from_bits((u32::from(em) << 20) + (120 << 23)),
        };
        *y = if b >> 7 == 1 { -size } else { size };
    }
}

/// 1 sign, 5 exponent bits (bias 15), 2 mantissa bits: the upper byte of a half (`float8_e5m2`).
pub(in crate::format) fn f8_e5m2(src: &[u8], dst: &mut [f32]) {
    for (y, &b) in dst.iter_mut().zip(src) {
        *y = f16::from_bits(u16::from(b) << 8).to_f32();
    }
}

/// An exponent alone (bias 127), NaN is all ones.
pub(in crate::format) fn f8_e8m0(src: &[u8], dst: &mut [f32]) {
    for (y, &b) in dst.iter_mut().zip(src) {
        *y = match b {
            255 => f32::NAN,
            b => 2.0 * half_e8m0(b),
        };
    }
}

/// Unsigned bytes as numbers.
pub(in crate::format) fn u8(src: &[u8], dst: &mut [f32]) {
    for (y, &b) in dst.iter_mut().zip(src) {
        *y = b.into();
    }
}

/// Signed bytes as numbers.
pub(in crate::format) fn i8(src: &[u8], dst: &mut [f32]) {
    for (y, &b) in dst.iter_mut().zip(src) {
        *y = b.cast_signed().into();
    }
}

/// Whole numbers, little endian, to the nearest float.
pub(in crate::format) fn i32(src: &[u8], dst: &mut [f32]) {
    for (y, &b) in dst.iter_mut().zip(src.as_chunks().0) {
        *y = i32::from_le_bytes(b) as f32;
    }
}

/// A word of eight numbers, the first in the lowest four bits, each 8 above its value (compressed-tensors'
/// `pack_to_int32`).
pub(in crate::format) fn packed_i4(src: &[u8], dst: &mut [f32]) {
    for (pair, &q) in dst.as_chunks_mut::<2>().0.iter_mut().zip(src) {
        *pair = [q & 15, q >> 4].map(|q| f32::from(q) - 8.0);
    }
}

/// Bytes, each 128 above its value (four to a word in compressed-tensors' `pack_to_int32`).
pub(in crate::format) fn packed_i8(src: &[u8], dst: &mut [f32]) {
    for (y, &q) in dst.iter_mut().zip(src) {
        *y = f32::from(q) - 128.0;
    }
}

/// Block: 48 bytes of five ternary digits, 4 of four, scale f16.
pub(in crate::format) fn tq1_0(src: &[u8], dst: &mut [f32]) {
    // The digits are those of the byte as a fraction of 256 in base 3: multiply by 3, take what overflows.
    const POW3: [u8; 5] = [1, 3, 9, 27, 81];
    for (b, y) in blocks::<54, 256>(src, dst) {
        let d = half_at(b, 52);
        let parts = [(&b[..32], 5), (&b[32..48], 5), (&b[48..52], 4)];
        let codes = parts.into_iter().flat_map(|(part, digits)| {
            let digits = POW3[..digits].iter();
            digits.flat_map(move |&pow| part.iter().map(move |&q| q.wrapping_mul(pow)))
        });
        for (y, q) in y.iter_mut().zip(codes) {
            *y = (f32::from((u16::from(q) * 3) >> 8) - 1.0) * d;
        }
    }
}

/// Block: 64 bytes of four 2-bit digits (values 32 apart), scale f16.
pub(in crate::format) fn tq2_0(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<66, 256>(src, dst) {
        let d = half_at(b, 64);
        for (row, y) in y.chunks_exact_mut(32).enumerate() {
            for (y, &q) in y.iter_mut().zip(&b[row / 4 * 32..]) {
                *y = (f32::from((q >> (2 * (row % 4))) & 3) - 1.0) * d;
            }
        }
    }
}

/// Block: scale f16, 128 bits: set is plus.
pub(in crate::format) fn q1_0(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<18, 128>(src, dst) {
        let d = half_at(b, 0);
        for (i, y) in y.iter_mut().enumerate() {
            *y = if b[2 + i / 8] >> (i % 8) & 1 == 1 {
                d
            } else {
                -d
            };
        }
    }
}

/// Block: scale f16, 64 2-bit digits: -1, 0, 1, 2.
pub(in crate::format) fn q2_0(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<18, 64>(src, dst) {
        let d = half_at(b, 0);
        for (i, y) in y.iter_mut().enumerate() {
            *y = (f32::from(b[2 + i / 4] >> (2 * (i % 4)) & 3) - 1.0) * d;
        }
    }
}

/// Half of 2^(e - 127) (`ggml_e8m0_to_fp32_half`).
fn half_e8m0(e: u8) -> f32 {
    f32::from_bits(match e {
        0 | 1 => 0x0020_0000 << e,
        _ => (u32::from(e) - 1) << 23,
    })
}

/// Half of an unsigned E4M3 (`ggml_ue4m3_to_fp32`): the sign is ignored, and 127 is 0.
fn half_ue4m3(x: u8) -> f32 {
    if x == 0x7f {
        return 0.0;
    }
    let (exp, man) = (i32::from(x >> 3 & 15), f32::from(x & 7));
    let raw = match exp {
        0 => man * (1.0 / 512.0),
        _ => (1.0 + man / 8.0) * f32::from_bits(((exp + 120) as u32) << 23),
    };
    raw * 0.5
}
