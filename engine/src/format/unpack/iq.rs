//! IQ types: codes into grids of eight or four values with signs apart, and into sixteen uneven values.

use half::f16;

use super::{IQ4_NL, blocks, grids, half_at, nibbles, word_at};

/// Shift of the ternary values (`IQ1S_DELTA`).
const DELTA: f32 = 0.125;

/// Block of 8 groups of 32: scale f16; a group has four codes, four times seven signs and a scale of 4 bits.
pub(in crate::format) fn iq2_xxs(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<66, 256>(src, dst) {
        let d = half_at(b, 0);
        for (group, y) in y.chunks_exact_mut(32).enumerate() {
            let codes = &b[2 + 8 * group..][..4];
            let packed = word_at(b, 6 + 8 * group);
            let d = d * (0.5 + (packed >> 28) as f32) * 0.25;
            for (i, (y, &code)) in y.as_chunks_mut().0.iter_mut().zip(codes).enumerate() {
                let values = grids::IQ2_XXS.get(code.into());
                *y = signed(d, values, eighth_sign(packed >> (7 * i)));
            }
        }
    }
}

/// Block of 16 groups of 16: scale f16, 32 codes of 9 bits with seven signs above, 4-bit scales.
pub(in crate::format) fn iq2_xs(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<74, 256>(src, dst) {
        let d = half_at(b, 0);
        for (i, y) in y.as_chunks_mut().0.iter_mut().enumerate() {
            let code = u16::from_le_bytes([b[2 + 2 * i], b[3 + 2 * i]]);
            let d = quarter_scale(d, b[66 + i / 4], i / 2 % 2);
            let values = grids::IQ2_XS.get((code & 511).into());
            *y = signed(d, values, eighth_sign((code >> 9).into()));
        }
    }
}

/// Block of 16 groups of 16: scale f16, 32 codes' lower bytes, 32 bytes of signs, 8 of upper pairs of bits, 4-bit
/// scales.
pub(in crate::format) fn iq2_s(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<82, 256>(src, dst) {
        let d = half_at(b, 0);
        for (i, y) in y.as_chunks_mut().0.iter_mut().enumerate() {
            let high = usize::from(b[66 + i / 4] >> (2 * (i % 4))) & 3;
            let d = quarter_scale(d, b[74 + i / 4], i / 2 % 2);
            let values = grids::IQ2_S.get(usize::from(b[2 + i]) | high << 8);
            *y = signed(d, values, b[34 + i]);
        }
    }
}

/// Block of 8 groups of 32: scale f16, 64 codes; then of each group four times seven signs and a 4-bit scale.
pub(in crate::format) fn iq3_xxs(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<98, 256>(src, dst) {
        let d = half_at(b, 0);
        for (i, y) in y.as_chunks_mut().0.iter_mut().enumerate() {
            let packed = word_at(b, 66 + 4 * (i / 4));
            let d = d * (0.5 + (packed >> 28) as f32) * 0.5;
            let values = grids::IQ3_XXS.get(b[2 + 2 * i].into(), b[3 + 2 * i].into());
            *y = signed(d, values, eighth_sign(packed >> (7 * (i % 4))));
        }
    }
}

/// Block of 8 groups of 32: scale f16, 64 codes' lower bytes, 8 bytes of their ninth bits, 32 of signs, 4-bit scales.
pub(in crate::format) fn iq3_s(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<110, 256>(src, dst) {
        let d = half_at(b, 0);
        for (i, y) in y.as_chunks_mut().0.iter_mut().enumerate() {
            let group = i / 4;
            let scale = (b[106 + group / 2] >> (4 * (group % 2))) & 15;
            let d = d * f32::from(1 + 2 * scale);
            let ninth = usize::from(b[66 + group]) >> (2 * (i % 4));
            let code = |j: usize| usize::from(b[2 + 2 * i + j]) | (ninth >> j & 1) << 8;
            *y = signed(d, grids::IQ3_S.get(code(0), code(1)), b[74 + i]);
        }
    }
}

/// Block of 8 groups of 32: scale f16, 32 codes' lower bytes; of each group four upper triples of bits, a 3-bit scale
/// and the sign of the shift.
pub(in crate::format) fn iq1_s(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<50, 256>(src, dst) {
        let d = half_at(b, 0);
        for (i, y) in y.as_chunks_mut().0.iter_mut().enumerate() {
            let high = u16::from_le_bytes([b[34 + i / 4 * 2], b[35 + i / 4 * 2]]);
            let d = d * f32::from(2 * ((high >> 12) & 7) + 1);
            let code = usize::from(b[2 + i]) | usize::from(high >> (3 * (i % 4)) & 7) << 8;
            *y = shifted(d, grids::IQ1_S.get(code), high & 0x8000 != 0);
        }
    }
}

/// Block of 16 groups of 16: 32 codes' lower bytes; a nibble for each with three upper bits and the sign of the shift;
/// 3-bit scales, the block's f16 scale in the spare nibbles between them.
pub(in crate::format) fn iq1_m(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<56, 256>(src, dst) {
        let scales: [u16; 4] =
            std::array::from_fn(|i| u16::from_le_bytes([b[48 + 2 * i], b[49 + 2 * i]]));
        let bits = (0..4).fold(0, |bits, i| bits | (scales[i] >> 12) << (4 * i));
        let d = f16::from_bits(bits).to_f32();
        for (i, y) in y.as_chunks_mut().0.iter_mut().enumerate() {
            let group = i / 2;
            let scale = (scales[group / 4] >> (3 * (group % 4))) & 7;
            let d = d * f32::from(2 * scale + 1);
            let high = b[32 + i / 2] >> (4 * (i % 2));
            let code = usize::from(b[i]) | usize::from(high & 7) << 8;
            *y = shifted(d, grids::IQ1_S.get(code), high & 8 != 0);
        }
    }
}

/// Block: scale f16, 32 nibbles.
pub(in crate::format) fn iq4_nl(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<18, 32>(src, dst) {
        nibbles(&b[2..], half_at(b, 0), &IQ4_NL, y);
    }
}

/// Block of 8 groups of 32: scale f16, upper pairs and lower nibbles of 6-bit scales (offset 32), nibbles.
pub(in crate::format) fn iq4_xs(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<136, 256>(src, dst) {
        let d = half_at(b, 0);
        let high = u16::from_le_bytes([b[2], b[3]]);
        for (group, y) in y.chunks_exact_mut(32).enumerate() {
            let low = (b[4 + group / 2] >> (4 * (group % 2))) & 15;
            let scale = u16::from(low) | ((high >> (2 * group)) & 3) << 4;
            let d = d * (f32::from(scale) - 32.0);
            nibbles(&b[8 + 16 * group..][..16], d, &IQ4_NL, y);
        }
    }
}

/// `d * (0.5 + scale) * 0.25` with the low or the high nibble.
fn quarter_scale(d: f32, scales: u8, which: usize) -> f32 {
    d * (0.5 + f32::from((scales >> (4 * which)) & 15)) * 0.25
}

/// Seven signs and the eighth that makes their number even (`ksigns_iq2xs`).
fn eighth_sign(seven: u32) -> u8 {
    let seven = (seven & 127) as u8;
    seven | (seven.count_ones() as u8 & 1) << 7
}

/// `d * value`, negated where a sign is set.
pub(super) fn signed(d: f32, values: [f32; 8], signs: u8) -> [f32; 8] {
    std::array::from_fn(|j| d * values[j] * if signs >> j & 1 == 1 { -1.0 } else { 1.0 })
}

/// `d * (value +- DELTA)`.
pub(super) fn shifted(d: f32, values: [f32; 8], down: bool) -> [f32; 8] {
    let delta = if down { -DELTA } else { DELTA };
    values.map(|value| d * (value + delta))
}
