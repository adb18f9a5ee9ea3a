//! Stored blocks to f32, one function a type, bit for bit as ggml's `dequantize_row_*` (ggml-quants.c).
//!
//! Every product, sum and difference is rounded to f32 in the order written there; nothing is fused.
//! Bytes are little endian. `src` holds whole blocks and `dst` room for their values.

use half::f16;

pub(super) fn f32(src: &[u8], dst: &mut [f32]) {
    for (s, d) in src.as_chunks().0.iter().zip(dst) {
        *d = f32::from_le_bytes(*s);
    }
}

pub(super) fn f16(src: &[u8], dst: &mut [f32]) {
    for (s, d) in src.as_chunks().0.iter().zip(dst) {
        *d = f16::from_le_bytes(*s).to_f32();
    }
}

pub(super) fn bf16(src: &[u8], dst: &mut [f32]) {
    for (s, d) in src.as_chunks().0.iter().zip(dst) {
        *d = f32::from_bits(u32::from(u16::from_le_bytes(*s)) << 16);
    }
}

/// Block: scale f16, 32 signed bytes.
pub(super) fn q8_0(src: &[u8], dst: &mut [f32]) {
    for (b, y) in blocks::<34, 32>(src, dst) {
        let d = half_at(b, 0);
        for (y, &q) in y.iter_mut().zip(&b[2..]) {
            *y = f32::from(q as i8) * d;
        }
    }
}

/// Block: scale f16, 32 nibbles (low ones first), offset 8.
pub(super) fn q4_0(src: &[u8], dst: &mut [f32]) {
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
pub(super) fn q4_1(src: &[u8], dst: &mut [f32]) {
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
pub(super) fn q5_0(src: &[u8], dst: &mut [f32]) {
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
pub(super) fn q5_1(src: &[u8], dst: &mut [f32]) {
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

/// Block of 8 groups of 32: scale of scales f16, scale of minimums f16, 12 bytes of 6-bit scales and
/// minimums, 128 bytes of nibbles (groups 2k in the low, 2k + 1 in the high ones of 32 bytes).
pub(super) fn q4_k(src: &[u8], dst: &mut [f32]) {
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
pub(super) fn q5_k(src: &[u8], dst: &mut [f32]) {
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
pub(super) fn q6_k(src: &[u8], dst: &mut [f32]) {
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

/// Pairs of a block's `B` bytes and its `V` values.
fn blocks<'a, const B: usize, const V: usize>(
    src: &'a [u8],
    dst: &'a mut [f32],
) -> impl Iterator<Item = (&'a [u8; B], &'a mut [f32; V])> {
    src.as_chunks::<B>()
        .0
        .iter()
        .zip(dst.as_chunks_mut::<V>().0)
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn word_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// A nibble with bit `i` of `fifth` above it.
fn five(nibble: u8, fifth: u32, i: usize) -> f32 {
    f32::from(nibble | ((((fifth >> i) & 1) as u8) << 4))
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
