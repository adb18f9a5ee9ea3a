//! ik_llama.cpp's types whose rows lie four, eight or sixteen together: one row's values out of their blocks.
//!
//! The values are those of the type without the suffix, up to the order of operations, which is the reference's for
//! each (`dequantize_row_*_r4`, `_r8`, `_r16`). `k` is the row.

use super::super::types::RowPart;
use super::ik::{VALUES_2, VALUES_3, VALUES_4, VALUES_5, float_at, scale_list};
use super::{blocks, half_at};

/// Pairs of a block of all rows and the values of one.
macro_rules! each {
    ($part:ident, $dst:ident, $bytes:literal, $values:literal) => {
        blocks::<$bytes, $values>($part.blocks, $dst)
    };
}

/// Where the low and the high nibble of byte 16 `l` + 4 `k` + `i` of four rows' 64 go, without `i`.
const NIBBLES_AT: [[usize; 2]; 4] = [[0, 8], [16, 24], [4, 12], [20, 28]];

/// The 32 nibbles of row `k` in the order of the values; `high(l, h, i)` is set above: of byte `l`, `h` 0 for the low nibble.
fn codes(packed: &[u8], k: usize, high: impl Fn(usize, usize, usize) -> u8) -> [u8; 32] {
    let mut out = [0; 32];
    for (l, at) in NIBBLES_AT.into_iter().enumerate() {
        for i in 0..4 {
            let q = packed[16 * l + 4 * k + i];
            out[at[0] + i] = q & 15 | high(l, 0, i) << 4;
            out[at[1] + i] = q >> 4 | high(l, 1, i) << 4;
        }
    }
    out
}

/// No bits above the nibbles.
fn none(_: usize, _: usize, _: usize) -> u8 {
    0
}

/// The 32 pairs of bits of row `k`, in the order of the values, third bits above.
fn pairs(packed: &[u8], k: usize, thirds: Option<&[u8]>) -> [u8; 32] {
    std::array::from_fn(|at| {
        let (half, shift, i) = (at / 16, at / 4 % 4, at % 4);
        let low = packed[16 * half + 4 * k + i] >> (2 * shift) & 3;
        let third = thirds.map_or(0, |t| t[4 * k + i] >> (4 * half + shift) & 1);
        low | third << 2
    })
}

/// `i`th of 6-bit scales: upper pairs of bits in 16 bytes, lower nibbles in 32.
fn scale_6(high: &[u8], low: &[u8], i: usize) -> f32 {
    let low = low[i % 32] >> (4 * (i / 32)) & 15;
    f32::from(low | (high[i % 16] >> (2 * (i / 16)) & 3) << 4)
}

/// `d * (code - offset)` for a group of 32 with a scale for each half.
fn centred(y: &mut [f32], d: [f32; 2], codes: &[u8; 32], offset: f32) {
    for (j, (y, &q)) in y.iter_mut().zip(codes).enumerate() {
        *y = d[j / 16] * (f32::from(q) - offset);
    }
}

/// `d * values[code]` for a group of 32 with a scale and a list for each half.
fn listed(y: &mut [f32], d: [f32; 2], codes: &[u8; 32], values: &[i8], lists: [usize; 2]) {
    for (j, (y, &q)) in y.iter_mut().zip(codes).enumerate() {
        let list = lists[j / 16] * values.len() / 2;
        *y = d[j / 16] * f32::from(values[usize::from(q) + list]);
    }
}

/// Bit `group` of the bytes of row `k` for each half: which list.
fn lists(extra: &[u8], k: usize, group: usize) -> [usize; 2] {
    [0, 4].map(|half| usize::from(extra[k + half] >> group & 1))
}

pub(in crate::format) fn q4_0_r8(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in each!(part, dst, 144, 32) {
        let d = half_at(b, 2 * k);
        for j in 0..16 {
            let q = b[16 + 32 * (j / 4) + 4 * k + j % 4];
            y[j] = d * (f32::from(q & 15) - 8.0);
            y[j + 16] = d * (f32::from(q >> 4) - 8.0);
        }
    }
}

pub(in crate::format) fn q5_0_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in each!(part, dst, 88, 32) {
        let d = half_at(b, 2 * k);
        let m = -16.0 * d;
        let codes = codes(&b[24..], k, |l, h, i| b[8 + 4 * k + i] >> (l + 4 * h) & 1);
        y.iter_mut()
            .zip(codes)
            .for_each(|(y, q)| *y = d * f32::from(q) + m);
    }
}

pub(in crate::format) fn q6_0_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in each!(part, dst, 104, 32) {
        let d = half_at(b, 2 * k);
        let m = -32.0 * d;
        let high =
            |l: usize, h: usize, i| b[8 + 4 * k + i + 16 * (l % 2)] >> (2 * (l / 2) + 4 * h) & 3;
        let codes = codes(&b[40..], k, high);
        y.iter_mut()
            .zip(codes)
            .for_each(|(y, q)| *y = d * f32::from(q) + m);
    }
}

pub(in crate::format) fn q8_0_r8(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in each!(part, dst, 272, 32) {
        let d = half_at(b, 2 * k);
        for (j, y) in y.iter_mut().enumerate() {
            *y = d * f32::from(b[16 + 32 * (j / 4) + 4 * k + j % 4] as i8);
        }
    }
}

pub(in crate::format) fn q2_k_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in each!(part, dst, 336, 256) {
        let (d, m) = (half_at(b, 2 * k), half_at(b, 8 + 2 * k));
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let codes = pairs(&b[80 + 32 * g..], k, None);
            for (j, (y, q)) in y.iter_mut().zip(codes).enumerate() {
                let scale = b[16 + 8 * g + k + 4 * (j / 16)];
                *y = d * f32::from(scale & 15) * f32::from(q) - m * f32::from(scale >> 4);
            }
        }
    }
}

pub(in crate::format) fn q3_k_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in each!(part, dst, 440, 256) {
        let d = half_at(b, 2 * k);
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let d = [0, 4].map(|half| d * (scale_6(&b[8..], &b[24..], 8 * g + k + half) - 32.0));
            let codes = pairs(&b[184 + 32 * g..], k, Some(&b[56 + 16 * g..]));
            centred(y, d, &codes, 4.0);
        }
    }
}

/// `d * scale` and `m * minimum` of a group, 6 bits each: lower nibbles in a byte, upper pairs of bits in a nibble.
fn scale_min(b: &[u8], k: usize, group: usize) -> (f32, f32) {
    let i = 4 * group + k;
    let (low, high) = (b[32 + i], b[16 + i % 16] >> (4 * (i / 16)));
    (
        half_at(b, 2 * k) * f32::from(low & 15 | (high & 3) << 4),
        half_at(b, 8 + 2 * k) * f32::from(low >> 4 | (high & 12) << 2),
    )
}

pub(in crate::format) fn q4_k_r4(part: RowPart<'_>, dst: &mut [f32]) {
    for (b, y) in each!(part, dst, 576, 256) {
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let (d, m) = scale_min(b, part.row, g);
            let codes = codes(&b[64 + 64 * g..], part.row, none);
            y.iter_mut()
                .zip(codes)
                .for_each(|(y, q)| *y = d * f32::from(q) - m);
        }
    }
}

pub(in crate::format) fn q5_k_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in each!(part, dst, 704, 256) {
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let (d, m) = scale_min(b, k, g);
            let fifths = &b[64 + 16 * g..];
            let at = [0, 4, 2, 6];
            let codes = codes(&b[192 + 64 * g..], k, |l, h, i| {
                fifths[4 * k + i] >> (at[l] + h) & 1
            });
            y.iter_mut()
                .zip(codes)
                .for_each(|(y, q)| *y = d * f32::from(q) - m);
        }
    }
}

pub(in crate::format) fn q6_k_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in each!(part, dst, 840, 256) {
        let d = half_at(b, 2 * k);
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let d = [0, 4].map(|half| d * f32::from(b[8 + 8 * g + k + half] as i8));
            let high = |l: usize, h: usize, i| {
                b[72 + 32 * g + 4 * k + i + 16 * (l % 2)] >> (4 * (l / 2) + 2 * h) & 3
            };
            centred(y, d, &codes(&b[328 + 64 * g..], k, high), 32.0);
        }
    }
}

/// Blocks of 256 signed bytes with scales before them, `rows` rows together.
fn q8_k(part: RowPart<'_>, dst: &mut [f32], rows: usize, value: impl Fn(f32, u8) -> f32) {
    let blocks = part.blocks.chunks_exact(258 * rows);
    for (b, y) in blocks.zip(dst.chunks_exact_mut(256)) {
        let d = half_at(b, 2 * part.row);
        for (j, y) in y.iter_mut().enumerate() {
            *y = value(d, b[2 * rows + 4 * rows * (j / 4) + 4 * part.row + j % 4]);
        }
    }
}

pub(in crate::format) fn q8_k_r8(part: RowPart<'_>, dst: &mut [f32]) {
    q8_k(part, dst, 8, |d, q| d * f32::from(q as i8));
}

pub(in crate::format) fn q8_k_r16(part: RowPart<'_>, dst: &mut [f32]) {
    q8_k(part, dst, 16, |d, q| d * f32::from(q) + -128.0 * d);
}

/// Row: scale f32 (and a sum), then signed bytes.
pub(in crate::format) fn q8_kv(part: RowPart<'_>, dst: &mut [f32]) {
    let d = float_at(part.meta, 0);
    dst.iter_mut()
        .zip(part.blocks)
        .for_each(|(y, &q)| *y = d * f32::from(q as i8));
}

pub(in crate::format) fn q8_kv_r8(part: RowPart<'_>, dst: &mut [f32]) {
    let d = float_at(part.meta, 4 * part.row);
    for (j, y) in dst.iter_mut().enumerate() {
        *y = d * f32::from(part.blocks[32 * (j / 4) + 4 * part.row + j % 4] as i8);
    }
}

pub(in crate::format) fn iq4_nl_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in each!(part, dst, 72, 32) {
        let d = half_at(b, 2 * k);
        listed(y, [d; 2], &codes(&b[8..], k, none), &VALUES_4, [0; 2]);
    }
}

pub(in crate::format) fn iq4_xs_r8(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in each!(part, dst, 1088, 256) {
        let d = half_at(b, 2 * k);
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let d = d * (scale_6(&b[16..], &b[32..], 8 * g + k) - 32.0);
            for (j, y) in y.iter_mut().enumerate() {
                let q = b[64 + 128 * g + 32 * (j / 8) + 4 * k + j % 4] >> (4 * (j / 4 % 2)) & 15;
                *y = d * f32::from(VALUES_4[usize::from(q)]);
            }
        }
    }
}

pub(in crate::format) fn iq4_ks_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    let d = float_at(part.meta, 4 * k);
    for (b, y) in each!(part, dst, 544, 256) {
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let (d, list) = scale_list(d, b[4 * g + k]);
            let codes = codes(&b[32 + 64 * g..], k, none);
            listed(y, [d; 2], &codes, &VALUES_4, [list; 2]);
        }
    }
}

pub(in crate::format) fn iq5_ks_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    let d = float_at(part.meta, 4 * k);
    for (b, y) in each!(part, dst, 672, 256) {
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let (d, list) = scale_list(d, b[4 * g + k]);
            let fifths = &b[544 + 16 * g..];
            let codes = codes(&b[32 + 64 * g..], k, |l, h, i| {
                fifths[4 * k + i] >> (2 * l + h) & 1
            });
            listed(y, [d; 2], &codes, &VALUES_5, [list; 2]);
        }
    }
}

pub(in crate::format) fn iq2_k_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in each!(part, dst, 304, 256) {
        let d = half_at(b, 2 * k);
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let d = [0, 4].map(|half| {
                let i = 8 * g + k + half;
                d * (f32::from(b[16 + i % 32] >> (4 * (i / 32)) & 15) - 8.0)
            });
            let codes = pairs(&b[48 + 32 * g..], k, None);
            listed(y, d, &codes, &VALUES_2, lists(&b[8..], k, g));
        }
    }
}

pub(in crate::format) fn iq3_k_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in each!(part, dst, 440, 256) {
        let d = half_at(b, 2 * k);
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let d = [0, 4].map(|half| {
                let i = 8 * g + k + half;
                let size = d * f32::from(2 * (b[24 + i % 32] >> (4 * (i / 32)) & 15) + 1);
                if b[16 + i % 8] >> (i / 8) & 1 == 1 {
                    -size
                } else {
                    size
                }
            });
            let codes = pairs(&b[56 + 32 * g..], k, Some(&b[312 + 16 * g..]));
            listed(y, d, &codes, &VALUES_3, lists(&b[8..], k, g));
        }
    }
}

pub(in crate::format) fn iq4_k_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in each!(part, dst, 576, 256) {
        let d = half_at(b, 2 * k);
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let d = [0, 4].map(|half| d * (scale_6(&b[16..], &b[32..], 8 * g + k + half) - 32.0));
            let codes = codes(&b[64 + 64 * g..], k, none);
            listed(y, d, &codes, &VALUES_4, lists(&b[8..], k, g));
        }
    }
}

pub(in crate::format) fn iq5_k_r4(part: RowPart<'_>, dst: &mut [f32]) {
    let k = part.row;
    for (b, y) in each!(part, dst, 704, 256) {
        let d = half_at(b, 2 * k);
        for (g, y) in y.chunks_exact_mut(32).enumerate() {
            let d = [0, 4].map(|half| d * (scale_6(&b[16..], &b[32..], 8 * g + k + half) - 32.0));
            let fifths = &b[576 + 16 * g..];
            let codes = codes(&b[64 + 64 * g..], k, |l, h, i| {
                fifths[4 * k + i] >> (2 * l + h) & 1
            });
            listed(y, d, &codes, &VALUES_5, lists(&b[8..], k, g));
        }
    }
}
