//! Floats, and blocks of 32 with one scale.

use half::f16;

use super::{blocks, half_at, word_at};

pub(in crate::format) fn f32(src: &[u8], dst: &mut [f32]) {
    for (s, d) in src.as_chunks().0.iter().zip(dst) {
        *d = f32::from_le_bytes(*s);
    }
}

pub(in crate::format) fn f16(src: &[u8], dst: &mut [f32]) {
    for (s, d) in src.as_chunks().0.iter().zip(dst) {
        *d = f16::from_le_bytes(*s).to_f32();
    }
}

pub(in crate::format) fn bf16(src: &[u8], dst: &mut [f32]) {
    for (s, d) in src.as_chunks().0.iter().zip(dst) {
        *d = f32::from_bits(u32::from(u16::from_le_bytes(*s)) << 16);
    }
}

/// Block: scale f16, 32 signed bytes.
pub(in crate::format) fn q8_0(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<34, 32>(src, dst) {
        let d = half_at(b, 0);
        for (y, &q) in y.iter_mut().zip(&b[2..]) {
            *y = f32::from(q as i8) * d;
        }
    }
}

/// Block: scale f16, 32 nibbles (low ones first), offset 8.
pub(in crate::format) fn q4_0(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<18, 32>(src, dst) {
        let d = half_at(b, 0);
        let (low, high) = y.split_at_mut(16);
        for ((l, h), &q) in low.iter_mut().zip(high).zip(&b[2..]) {
            *l = (f32::from(q & 15) - 8.0) * d;
            *h = (f32::from(q >> 4) - 8.0) * d;
        }
    }
}

/// Block: scale f16, minimum f16, 32 nibbles.
pub(in crate::format) fn q4_1(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<20, 32>(src, dst) {
        let (d, m) = (half_at(b, 0), half_at(b, 2));
        let (low, high) = y.split_at_mut(16);
        for ((l, h), &q) in low.iter_mut().zip(high).zip(&b[4..]) {
            *l = f32::from(q & 15) * d + m;
            *h = f32::from(q >> 4) * d + m;
        }
    }
}

/// Block: scale f16, 32 fifth bits, 32 nibbles, offset 16.
pub(in crate::format) fn q5_0(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<22, 32>(src, dst) {
        let d = half_at(b, 0);
        let (low, high) = y.split_at_mut(16);
        let fifth = word_at(b, 2);
        for (i, &q) in b[6..].iter().enumerate() {
            low[i] = (five(q & 15, fifth, i) - 16.0) * d;
            high[i] = (five(q >> 4, fifth, i + 16) - 16.0) * d;
        }
    }
}

/// Block: scale f16, minimum f16, 32 fifth bits, 32 nibbles.
pub(in crate::format) fn q5_1(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<24, 32>(src, dst) {
        let (d, m) = (half_at(b, 0), half_at(b, 2));
        let (low, high) = y.split_at_mut(16);
        let fifth = word_at(b, 4);
        for (i, &q) in b[8..].iter().enumerate() {
            low[i] = five(q & 15, fifth, i) * d + m;
            high[i] = five(q >> 4, fifth, i + 16) * d + m;
        }
    }
}

/// A nibble with bit `i` of `fifth` above it.
fn five(nibble: u8, fifth: u32, i: usize) -> f32 {
    f32::from(nibble | ((((fifth >> i) & 1) as u8) << 4))
}
