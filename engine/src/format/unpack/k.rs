//! K-quants: super-blocks of 256 values whose groups have small integer scales.

use super::{blocks, half_at, word_at};

/// Block of 8 groups of 32: scale of scales f16, scale of minimums f16, 12 bytes of 6-bit scales and
/// minimums, 128 bytes of nibbles (groups 2k in the low, 2k + 1 in the high ones of 32 bytes).
pub(in crate::format) fn q4_k(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<144, 256>(src, dst) {
        let (d, min) = (half_at(b, 0), half_at(b, 2));
        for (group, y) in y.chunks_exact_mut(32).enumerate() {
            let (scale, m) = scale_min_k4(&b[4..16], group);
            let (d, m) = (d * scale, min * m);
            let nibbles = &b[16 + 32 * (group / 2)..][..32];
            for (y, &q) in y.iter_mut().zip(nibbles) {
                *y = d * f32::from((q >> (4 * (group % 2))) & 15) - m;
            }
        }
    }
}

/// As Q4_K, with 32 bytes of fifth bits before the nibbles: bit `group` of byte i.
pub(in crate::format) fn q5_k(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<176, 256>(src, dst) {
        let (d, min) = (half_at(b, 0), half_at(b, 2));
        for (group, y) in y.chunks_exact_mut(32).enumerate() {
            let (scale, m) = scale_min_k4(&b[4..16], group);
            let (d, m) = (d * scale, min * m);
            let nibbles = &b[48 + 32 * (group / 2)..][..32];
            for ((y, &q), &fifth) in y.iter_mut().zip(nibbles).zip(&b[16..48]) {
                let q = ((q >> (4 * (group % 2))) & 15) | (((fifth >> group) & 1) << 4);
                *y = d * f32::from(q) - m;
            }
        }
    }
}

/// Block of 16 groups of 16: 128 bytes of nibbles, 64 bytes of upper pairs of bits, 16 signed scales,
/// scale of scales f16; offset 32.
pub(in crate::format) fn q6_k(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<210, 256>(src, dst) {
        let d = half_at(b, 208);
        // Two halves of 128 values, each four rows of 32 that share 64 bytes of nibbles and 32 of pairs.
        for (row, y) in y.chunks_exact_mut(32).enumerate() {
            let (half, row) = (row / 4, row % 4);
            let nibbles = &b[64 * half + 32 * (row % 2)..][..32];
            let pairs = &b[128 + 32 * half..][..32];
            let scales = &b[192 + 8 * half + 2 * row..][..2];
            for (i, (y, (&q, &pair))) in y.iter_mut().zip(nibbles.iter().zip(pairs)).enumerate() {
                let q = ((q >> (4 * (row / 2))) & 15) | (((pair >> (2 * row)) & 3) << 4);
                *y = d * f32::from(scales[i / 16] as i8) * (f32::from(q) - 32.0);
            }
        }
    }
}

/// Block of 16 groups of 16: 4-bit scales and minimums, 64 bytes of pairs of bits, scale of scales f16, scale of
/// minimums f16.
pub(in crate::format) fn q2_k(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<84, 256>(src, dst) {
        let (d, min) = (half_at(b, 80), half_at(b, 82));
        for (group, y) in y.chunks_exact_mut(16).enumerate() {
            let scale = b[group];
            let (d, m) = (d * f32::from(scale & 15), min * f32::from(scale >> 4));
            // Two halves of 128 values: four rows of 32 in the pairs of bits of 32 bytes.
            let (half, row) = (group / 8, group % 8 / 2);
            let pairs = &b[16 + 32 * half + 16 * (group % 2)..][..16];
            for (y, &q) in y.iter_mut().zip(pairs) {
                *y = d * f32::from((q >> (2 * row)) & 3) - m;
            }
        }
    }
}

/// Block of 16 groups of 16: 32 bytes of third bits, 64 bytes of pairs of bits, 12 bytes of 6-bit scales (offset
/// 32), scale of scales f16; a third bit that is not set takes 4 off.
pub(in crate::format) fn q3_k(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<110, 256>(src, dst) {
        let d = half_at(b, 108);
        let scales = scales_q3(&b[96..108]);
        for (group, y) in y.chunks_exact_mut(16).enumerate() {
            let d = d * (f32::from(scales[group]) - 32.0);
            let (half, row) = (group / 8, group % 8 / 2);
            let part = 16 * (group % 2);
            let pairs = &b[32 + 32 * half + part..][..16];
            for ((y, &q), &third) in y.iter_mut().zip(pairs).zip(&b[part..]) {
                let low = f32::from((q >> (2 * row)) & 3);
                let third = (third >> (4 * half + row)) & 1;
                *y = d * (low - f32::from(4 * (1 - third)));
            }
        }
    }
}

/// Block: scale f32, 256 signed bytes, 16 sums that only products need.
pub(in crate::format) fn q8_k(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<292, 256>(src, dst) {
        let d = f32::from_bits(word_at(b, 0));
        for (y, &q) in y.iter_mut().zip(&b[4..]) {
            *y = d * f32::from(q as i8);
        }
    }
}

/// Scale and minimum of group 0..8 from 12 bytes (`get_scale_min_k4`): the first four groups in 6 bits of
/// bytes 0..8, the others in nibbles of bytes 8..12 with their upper two bits on top of bytes 0..8.
fn scale_min_k4(packed: &[u8], group: usize) -> (f32, f32) {
    let (scale, min) = if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        (
            (packed[group + 4] & 15) | ((packed[group - 4] >> 6) << 4),
            (packed[group + 4] >> 4) | ((packed[group] >> 6) << 4),
        )
    };
    (f32::from(scale), f32::from(min))
}

/// The sixteen 6-bit scales in 12 bytes: their lower nibbles in 8, their upper pairs of bits in the last 4.
fn scales_q3(packed: &[u8]) -> [u8; 16] {
    std::array::from_fn(|i| {
        let low = (packed[i % 8] >> (4 * (i / 8))) & 15;
        let high = (packed[8 + i % 4] >> (2 * (i / 4))) & 3;
        low | high << 4
    })
}
