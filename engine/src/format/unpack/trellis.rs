//! ik_llama.cpp's IQ*_KT types: a code seeds a generator, and a value is the sum of four 6-bit digits of a state.

use super::super::types::RowPart;
use super::ik::{VALUES_4, float_at, half_word};
use super::{blocks, word_at};

/// The values of a code: a state times a constant each, the sum of its masked bytes less 126.
fn walk(seed: u32) -> impl Iterator<Item = f32> {
    let mut x = seed;
    std::iter::repeat_with(move || {
        x = x.wrapping_mul(0xcbac_1fed);
        let sum: u8 = (x & 0x3f3f_3f3f).to_le_bytes().into_iter().sum();
        f32::from(sum) - 126.0
    })
}

/// Where every walk of the three lower types begins.
const OFFSET: u32 = 4096;

/// Row: scale f32. Block of 8 groups of 32, four codes of 13 bits each: a byte with the scale's code and the codes' upper bits,
/// their lower bytes, nibbles.
pub(in crate::format) fn iq1_kt(part: RowPart<'_>, dst: &mut [f32]) {
    let d = float_at(part.meta, 0);
    for (b, y) in blocks::<56, 256>(part.blocks, dst) {
        for (i, y) in y.chunks_exact_mut(8).enumerate() {
            let scale = b[i / 4];
            let d = d * f32::from(VALUES_4[usize::from(scale & 15)]);
            let high = u32::from(b[40 + i % 16] >> (4 * (i / 16)) & 15);
            let top = u32::from(scale >> (4 + i % 4) & 1);
            let code = u32::from(b[8 + i]) | high << 8 | top << 12;
            y.iter_mut()
                .zip(walk(code + OFFSET))
                .for_each(|(y, v)| *y = d * v);
        }
    }
}

/// Row: scale f32. Block of 8 groups of 32: codes of scales, four low nibbles, then four high ones; four codes of 16 bits a group.
pub(in crate::format) fn iq2_kt(part: RowPart<'_>, dst: &mut [f32]) {
    let d = float_at(part.meta, 0);
    for (b, y) in blocks::<68, 256>(part.blocks, dst) {
        for (i, y) in y.chunks_exact_mut(8).enumerate() {
            let d = d * f32::from(VALUES_4[usize::from(halves_nibble(b, i / 4))]);
            let seed = u32::from(half_word(b, 4 + 2 * i)) + OFFSET;
            y.iter_mut().zip(walk(seed)).for_each(|(y, v)| *y = d * v);
        }
    }
}

/// As IQ2_KT, but the scales are the nibbles themselves, the values without signs, and 32 bytes of signs behind: bit `group` of
/// byte i.
pub(in crate::format) fn iq3_kt(part: RowPart<'_>, dst: &mut [f32]) {
    let d = float_at(part.meta, 0);
    for (b, y) in blocks::<100, 256>(part.blocks, dst) {
        for (i, y) in y.chunks_exact_mut(8).enumerate() {
            let group = i / 4;
            let d = d * f32::from(halves_nibble(b, group));
            let signs = &b[68 + 8 * (i % 4)..];
            let seed = u32::from(half_word(b, 4 + 2 * i)) + OFFSET;
            for ((y, v), sign) in y.iter_mut().zip(walk(seed)).zip(signs) {
                let size = d * v.abs();
                *y = if sign >> group & 1 == 1 { -size } else { size };
            }
        }
    }
}

/// Row: scale f32. Block of 8 groups of 32, eight codes of 15 bits for four values each: words with a scale (offset 64), a bit that
/// moves the walks' beginning, and upper triples of bits; lower bytes; nibbles.
pub(in crate::format) fn iq4_kt(part: RowPart<'_>, dst: &mut [f32]) {
    let d = float_at(part.meta, 0);
    for (b, y) in blocks::<128, 256>(part.blocks, dst) {
        for (i, y) in y.chunks_exact_mut(4).enumerate() {
            let word = word_at(b, 4 * (i / 8));
            let d = d * ((word >> 1 & 127) as f32 - 64.0);
            let high = u32::from(b[96 + i % 32] >> (4 * (i / 32)) & 15);
            let top = word >> (8 + 3 * (i % 8)) & 7;
            let code = u32::from(b[32 + i]) | high << 8 | top << 12;
            let seed = code + OFFSET + ((word & 1) << 15);
            y.iter_mut().zip(walk(seed)).for_each(|(y, v)| *y = d * v);
        }
    }
}

/// Nibble `i` of eight: four low ones, then four high ones.
fn halves_nibble(packed: &[u8], i: usize) -> u8 {
    packed[i % 4] >> (4 * (i / 4)) & 15
}
