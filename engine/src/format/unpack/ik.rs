//! ik_llama.cpp's IQ*_K types: codes into uneven values, of which every group takes one of two lists. The types with an S, and
//! IQ2_KL, have one scale a row.

use super::super::types::RowPart;
use super::{blocks, half_at, word_at};

/// Two lists of 4 (`iq2nl_values`).
pub(super) const VALUES_2: [i8; 8] = [-31, -13, 1, 17, -26, -8, 6, 22];
/// Two lists of 8 (`iq3nl_values`).
pub(super) const VALUES_3: [i8; 16] = [
    -63, -40, -23, -10, 1, 13, 28, 47, -59, -36, -19, -6, 5, 17, 32, 51,
];
/// Two lists of 16 (`iq4k_values`).
pub(super) const VALUES_4: [i8; 32] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113, //
    -123, -100, -79, -61, -45, -31, -18, -6, 5, 17, 29, 42, 57, 73, 93, 117,
];
/// Two lists of 32 (`iq5nl_values`).
pub(super) const VALUES_5: [i8; 64] = [
    -126, -114, -103, -92, -83, -74, -65, -57, -50, -43, -36, -30, -24, -18, -12, -6, //
    -1, 5, 11, 17, 23, 29, 36, 43, 51, 59, 68, 77, 87, 97, 109, 121, //
    -124, -112, -101, -90, -81, -72, -63, -55, -48, -41, -34, -28, -22, -16, -10, -4, //
    1, 7, 13, 19, 25, 31, 38, 45, 53, 61, 70, 79, 89, 99, 111, 123,
];
/// Pairs (`iq2kl_values`).
const PAIRS: [[i8; 2]; 32] = [
    [-63, -23],
    [-63, 13],
    [-40, -63],
    [-40, -10],
    [-40, 13],
    [-40, 47],
    [-23, -40],
    [-23, -23],
    [-23, 1],
    [-23, 13],
    [-23, 28],
    [-10, -63],
    [-10, 1],
    [-10, 13],
    [-10, 47],
    [1, -23],
    [1, -10],
    [1, 1],
    [1, 13],
    [1, 28],
    [13, -40],
    [13, -23],
    [13, -10],
    [13, 1],
    [13, 13],
    [28, -63],
    [28, -23],
    [28, 1],
    [28, 28],
    [28, 47],
    [47, -23],
    [47, 13],
];

/// Block: scale f16, 8 bytes of upper pairs of bits, 16 of nibbles, offset 32.
pub(in crate::format) fn q6_0(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<26, 32>(src, dst) {
        let d = half_at(b, 0);
        for j in 0..16 {
            let high = b[2 + j % 8] >> (4 * (j / 8));
            let q = [
                b[10 + j] & 15 | high << 4 & 0x30,
                b[10 + j] >> 4 | high << 2 & 0x30,
            ];
            y[j] = (f32::from(q[0]) - 32.0) * d;
            y[j + 16] = (f32::from(q[1]) - 32.0) * d;
        }
    }
}

/// Block of 16 groups of 16: scale f16, 16 bits that choose the list, 4-bit scales (offset 8), pairs of bits.
pub(in crate::format) fn iq2_k(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<76, 256>(src, dst) {
        let (d, lists) = (half_at(b, 0), half_word(b, 2));
        for (g, y) in y.chunks_exact_mut(16).enumerate() {
            let d = d * (f32::from(nibble(&b[4..], g)) - 8.0);
            let values = &VALUES_2[4 * bit(lists, g)..];
            let codes = &b[12 + 32 * (g / 8) + 16 * (g % 2)..];
            for (y, &q) in y.iter_mut().zip(codes) {
                *y = d * f32::from(values[usize::from(q >> (2 * (g / 2 % 4)) & 3)]);
            }
        }
    }
}

/// Block of 16 groups of 16: scale f16, 16 bits that choose the list, 16 signs of scales, 4-bit scales, pairs of bits, third bits.
pub(in crate::format) fn iq3_k(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<110, 256>(src, dst) {
        let (d, lists, signs) = (half_at(b, 0), half_word(b, 2), half_word(b, 4));
        for (g, y) in y.chunks_exact_mut(16).enumerate() {
            let size = f32::from(2 * nibble(&b[6..], g) + 1);
            let d = d * if bit(signs, g) == 1 { -size } else { size };
            let values = &VALUES_3[8 * bit(lists, g)..];
            for (j, y) in y.iter_mut().enumerate() {
                let low = b[14 + 32 * (g / 8) + 16 * (g % 2) + j] >> (2 * (g / 2 % 4)) & 3;
                let third = b[78 + 16 * (g % 2) + j] >> (g / 2) & 1;
                *y = d * f32::from(values[usize::from(low | third << 2)]);
            }
        }
    }
}

/// Block of 16 groups of 16: scale f16, 16 bits that choose the list, upper pairs of bits and lower nibbles of 6-bit scales
/// (offset 32), nibbles.
pub(in crate::format) fn iq4_k(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<144, 256>(src, dst) {
        let (d, lists) = (half_at(b, 0), half_word(b, 2));
        for (g, y) in y.chunks_exact_mut(16).enumerate() {
            let d = d * (f32::from(nibble(&b[8..], g) | pair(&b[4..], g) << 4) - 32.0);
            let values = &VALUES_4[16 * bit(lists, g)..];
            for (y, &q) in y.iter_mut().zip(&b[16 + 16 * (g / 2)..]) {
                *y = d * f32::from(values[usize::from(q >> (4 * (g % 2)) & 15)]);
            }
        }
    }
}

/// As IQ4_K, with fifth bits behind.
pub(in crate::format) fn iq5_k(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<176, 256>(src, dst) {
        let (d, lists) = (half_at(b, 0), half_word(b, 2));
        for (g, y) in y.chunks_exact_mut(16).enumerate() {
            let d = d * (f32::from(nibble(&b[8..], g) | pair(&b[4..], g) << 4) - 32.0);
            let values = &VALUES_5[32 * bit(lists, g)..];
            let part = 16 * (g % 2);
            for (j, y) in y.iter_mut().enumerate() {
                let low = b[16 + 32 * (g / 4) + part + j] >> (4 * (g / 2 % 2)) & 15;
                let fifth = b[144 + part + j] >> (g / 2) & 1;
                *y = d * f32::from(values[usize::from(low | fifth << 4)]);
            }
        }
    }
}

/// Block of 16 groups of 16: scale f16, 16 bits that add 1, signed scales, nibbles, upper pairs of bits; the values are those of
/// a cubic.
pub(in crate::format) fn iq6_k(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<212, 256>(src, dst) {
        let (d, shifts) = (half_at(b, 0), half_word(b, 2));
        for (g, y) in y.chunks_exact_mut(16).enumerate() {
            let d = d * f32::from(b[4 + g] as i8);
            let shift = bit(shifts, g) as f32;
            let part = 16 * (g % 2);
            for (j, y) in y.iter_mut().enumerate() {
                let low = b[20 + 32 * (g / 4) + part + j] >> (4 * (g / 2 % 2)) & 15;
                let high = b[148 + 32 * (g / 8) + part + j] >> (2 * (g / 2 % 4)) & 3;
                let q = f32::from(low | high << 4);
                *y = d * (-127.0 + q * (6.2568 + q * (-0.11218 + q * 0.001_197_2)) + shift);
            }
        }
    }
}

/// Row: scale f16. Block of 8 groups of 32: bits 0 to 7 choose the list, bits 8 to 15 are fifth bits of scales (offset 16), 4-bit
/// scales, pairs of bits.
pub(in crate::format) fn iq2_ks(part: RowPart<'_>, dst: &mut [f32]) {
    let d = half_at(part.meta, 0);
    for (b, y) in blocks::<70, 256>(part.blocks, dst) {
        let extra = half_word(b, 0);
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let scale = nibble(&b[2..], g) | (bit(extra, 8 + g) as u8) << 4;
            let d = d * (f32::from(scale) - 16.0);
            let values = &VALUES_2[4 * bit(extra, g)..];
            for (y, &q) in y.iter_mut().zip(&b[6 + 32 * (g / 4)..]) {
                *y = d * f32::from(values[usize::from(q >> (2 * (g % 4)) & 3)]);
            }
        }
    }
}

/// Row: scale f16. Block of 8 groups of 32: upper pairs of bits and lower nibbles of 6-bit scales (offset 32), 16 bytes a pair of
/// groups of nibbles, fifth bits; a code is two values.
pub(in crate::format) fn iq2_kl(part: RowPart<'_>, dst: &mut [f32]) {
    let d = half_at(part.meta, 0);
    for (b, y) in blocks::<86, 256>(part.blocks, dst) {
        let high = half_word(b, 0);
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let low = b[2 + g % 4] >> (4 * (g / 4)) & 15;
            let scale = u16::from(low) | (high >> (2 * g) & 3) << 4;
            let d = d * (f32::from(scale) - 32.0);
            for (j, y) in y.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let low = b[6 + 16 * (g / 2) + j] >> (4 * (g % 2)) & 15;
                let fifth = b[70 + j] >> g & 1;
                *y = PAIRS[usize::from(low | fifth << 4)].map(|v| d * f32::from(v));
            }
        }
    }
}

/// Row: scale f16. Block of 8 groups of 32: fifth bits of scales (offset 16) in bits 0 to 7, bits 8 to 15 choose the list, 4-bit
/// scales (four low nibbles, then four high ones), pairs of bits, third bits.
pub(in crate::format) fn iq3_ks(part: RowPart<'_>, dst: &mut [f32]) {
    let d = half_at(part.meta, 0);
    for (b, y) in blocks::<102, 256>(part.blocks, dst) {
        let extra = half_word(b, 0);
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let scale = (b[2 + g % 4] >> (4 * (g / 4)) & 15) | (bit(extra, g) as u8) << 4;
            let d = d * (f32::from(scale) - 16.0);
            let values = &VALUES_3[8 * bit(extra, 8 + g)..];
            for (j, y) in y.iter_mut().enumerate() {
                let low = b[6 + 32 * (g / 4) + j] >> (2 * (g % 4)) & 3;
                let third = b[70 + j] >> g & 1;
                *y = d * f32::from(values[usize::from(low | third << 2)]);
            }
        }
    }
}

/// Row: scale f32. Block of 8 groups of 32: a byte of scale (offset 127) whose lowest bit chooses the list, nibbles.
pub(in crate::format) fn iq4_ks(part: RowPart<'_>, dst: &mut [f32]) {
    let d = float_at(part.meta, 0);
    for (b, y) in blocks::<136, 256>(part.blocks, dst) {
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let (d, list) = scale_list(d, b[g]);
            for (j, y) in y.iter_mut().enumerate() {
                let q = b[8 + 16 * g + j % 16] >> (4 * (j / 16)) & 15;
                *y = d * f32::from(VALUES_4[usize::from(q) + 16 * list]);
            }
        }
    }
}

/// Row: scale f32. Block of 8 groups of 32: scales as IQ4_KS, nibbles, fifth bits.
pub(in crate::format) fn iq5_ks(part: RowPart<'_>, dst: &mut [f32]) {
    let d = float_at(part.meta, 0);
    for (b, y) in blocks::<168, 256>(part.blocks, dst) {
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let (d, list) = scale_list(d, b[g]);
            for (j, y) in y.iter_mut().enumerate() {
                let low = b[8 + 32 * (g / 2) + j] >> (4 * (g % 2)) & 15;
                let fifth = b[136 + j] >> g & 1;
                *y = d * f32::from(VALUES_5[usize::from(low | fifth << 4) + 32 * list]);
            }
        }
    }
}

/// Row: scale f32. Block of 8 groups of 32, 8 words of 16 bits each: their lowest bits are the scale of IQ4_KS, the others, each
/// combined with its neighbour, nibbles.
pub(in crate::format) fn iq4_kss(part: RowPart<'_>, dst: &mut [f32]) {
    let d = float_at(part.meta, 0);
    for (b, y) in blocks::<128, 256>(part.blocks, dst) {
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let words: [u16; 8] = std::array::from_fn(|i| half_word(b, 16 * g + 2 * i));
            let scale = (0..8).fold(0, |s, i| s | (words[i] as u8 & 1) << i);
            let (d, list) = scale_list(d, scale);
            let codes = words.map(|w| (w & 0xfffe) ^ (w & 0xfffe) >> 1);
            for (j, y) in y.iter_mut().enumerate() {
                let q = codes[j % 16 / 2] >> (8 * (j % 2) + 4 * (j / 16)) & 15;
                *y = d * f32::from(VALUES_4[usize::from(q) + 16 * list]);
            }
        }
    }
}

/// The scale `d` times a byte with offset 127, and the list that its lowest bit chooses.
pub(super) fn scale_list(d: f32, byte: u8) -> (f32, usize) {
    (d * (f32::from(byte & 254) - 127.0), usize::from(byte & 1))
}

pub(super) fn float_at(bytes: &[u8], at: usize) -> f32 {
    f32::from_bits(word_at(bytes, at))
}

pub(super) fn half_word(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([b[at], b[at + 1]])
}

fn bit(bits: u16, i: usize) -> usize {
    usize::from(bits >> i & 1)
}

/// Nibble `i`, the low one of a byte first.
fn nibble(packed: &[u8], i: usize) -> u8 {
    packed[i / 2] >> (4 * (i % 2)) & 15
}

/// Pair of bits `i`, the lowest of a byte first.
fn pair(packed: &[u8], i: usize) -> u8 {
    packed[i / 4] >> (2 * (i % 4)) & 3
}
