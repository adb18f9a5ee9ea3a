//! As `interleaved.rs`: the types whose codes choose from grids.

use super::super::types::RowPart;
use super::ik::half_word;
use super::iq::{shifted, signed};
use super::{blocks, grids, half_at};

/// Signs of a byte whose lowest bit is a scale's: each of the others combined with its neighbour.
fn signs_of(byte: u8) -> u8 {
    (byte & 0xfe) ^ (byte & 0xfe) >> 1
}

/// The scale in the lowest bits of four bytes.
fn scale_of(bytes: &[u8]) -> f32 {
    f32::from((0..4).fold(0, |s, i| s | (bytes[i] & 1) << i))
}

pub(in crate::format) fn iq2_xxs_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in blocks::<264, 256>(part.blocks, dst) {
        let d = 0.125 * half_at(b, 2 * k);
        for (i, y) in y.as_chunks_mut().0.iter_mut().enumerate() {
            let at = 16 * (i / 4) + 4 * k;
            let d = d * (2.0 * scale_of(&b[8 + at..]) + 1.0);
            let values = grids::IQ2_XXS.get(b[136 + at + i % 4].into());
            *y = signed(d, values, signs_of(b[8 + at + i % 4]));
        }
    }
}

pub(in crate::format) fn iq2_xs_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in blocks::<296, 256>(part.blocks, dst) {
        let d = 0.125 * half_at(b, 2 * k);
        for (i, y) in y.as_chunks_mut().0.iter_mut().enumerate() {
            let d = d * odd_scale(b[264 + 4 * (i / 4) + k], i / 2 % 2);
            let code = half_word(b, 8 + 2 * (16 * (i / 4) + 4 * k + i % 4));
            let signs = (code >> 9) as u8;
            let values = grids::IQ2_XS.get((code & 511).into());
            *y = signed(d, values, signs ^ signs << 1);
        }
    }
}

pub(in crate::format) fn iq2_s_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in blocks::<328, 256>(part.blocks, dst) {
        let d = 0.125 * half_at(b, 2 * k);
        for (i, y) in y.as_chunks_mut().0.iter_mut().enumerate() {
            let (four, at) = (4 * (i / 4) + k, 16 * (i / 4) + 4 * k + i % 4);
            let d = d * odd_scale(b[296 + four], i / 2 % 2);
            let high = usize::from(b[136 + four] >> (2 * (i % 4)) & 3);
            let values = grids::IQ2_S.get(usize::from(b[8 + at]) | high << 8);
            *y = signed(d, values, b[168 + at]);
        }
    }
}

pub(in crate::format) fn iq3_xxs_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in blocks::<392, 256>(part.blocks, dst) {
        let d = 0.25 * half_at(b, 2 * k);
        for (i, y) in y.as_chunks_mut().0.iter_mut().enumerate() {
            let at = 16 * (i / 4) + 4 * k;
            let d = d * (2.0 * scale_of(&b[8 + at..]) + 1.0);
            let code = &b[136 + 32 * (i / 4) + 8 * k + 2 * (i % 4)..];
            let values = grids::IQ3_XXS.get(code[0].into(), code[1].into());
            *y = signed(d, values, signs_of(b[8 + at + i % 4]));
        }
    }
}

pub(in crate::format) fn iq3_s_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in blocks::<440, 256>(part.blocks, dst) {
        let d = half_at(b, 2 * k);
        for (i, y) in y.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            // Four values of the first or the second half of a group of 32.
            let (group, half, four) = (i / 8, i / 4 % 2, i % 4);
            let at = 4 * group + k;
            let scale = b[424 + at % 16] >> (4 * (at / 16)) & 15;
            let d = d * f32::from(1 + 2 * scale);
            let bit = 4 * half + four;
            let ninth = usize::from(b[264 + at] >> bit & 1);
            let code = usize::from(b[8 + 32 * group + k + 8 * four + 4 * half]) | ninth << 8;
            let values = grids::IQ3_S.get(code, code);
            for (j, y) in y.iter_mut().enumerate() {
                let sign = b[296 + 16 * group + 4 * k + j] >> bit & 1;
                *y = d * values[j] * if sign == 1 { -1.0 } else { 1.0 };
            }
        }
    }
}

pub(in crate::format) fn iq1_s_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    let d = half_at(part.meta, 2 * k);
    for (b, y) in blocks::<24, 32>(part.blocks, dst) {
        let high = half_word(b, 16 + 2 * k);
        let d = d * f32::from(2 * (high >> 12 & 7) + 1);
        for (i, y) in y.as_chunks_mut().0.iter_mut().enumerate() {
            let code = usize::from(b[4 * i + k]) | usize::from(high >> (3 * i) & 7) << 8;
            *y = shifted(d, grids::IQ1_S.get(code), high & 0x8000 != 0);
        }
    }
}

pub(in crate::format) fn iq1_m_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    let d = half_at(part.meta, 2 * k);
    for (b, y) in blocks::<28, 32>(part.blocks, dst) {
        for (i, y) in y.as_chunks_mut().0.iter_mut().enumerate() {
            let d = d * f32::from(b[24 + k] >> (4 * (i / 2)) & 15);
            let high = b[16 + 4 * (i / 2) + k] >> (4 * (i % 2));
            let code = usize::from(b[4 * i + k]) | usize::from(high & 7) << 8;
            *y = shifted(d, grids::IQ1_S.get(code), high & 8 != 0);
        }
    }
}

/// `2 * scale + 1` with the low or the high nibble.
fn odd_scale(scales: u8, which: usize) -> f32 {
    f32::from(2 * (scales >> (4 * which) & 15) + 1)
}
