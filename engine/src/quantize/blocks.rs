//! Blocks of 32 values with one scale, and with a minimum.

use half::f16;

/// Scale amax / 127, codes to the nearest.
pub(super) fn q8_0(x: &[f32], out: &mut Vec<u8>) {
    for x in x.as_chunks::<32>().0 {
        let d = x.iter().fold(0.0f32, |m, v| m.max(v.abs())) / 127.0;
        let inverse = inverse(d);
        out.extend(f16::from_f32(d).to_le_bytes());
        out.extend(x.map(|v| (v * inverse).round() as i8 as u8));
    }
}

/// The value of largest size gets the code that is farthest from 0: -8.
pub(super) fn q4_0(x: &[f32], out: &mut Vec<u8>) {
    for x in x.as_chunks::<32>().0 {
        let codes = centred(x, 8.0, out);
        nibbles(&codes, out);
    }
}

/// As Q4_0 with -16, fifth bits before the nibbles.
pub(super) fn q5_0(x: &[f32], out: &mut Vec<u8>) {
    for x in x.as_chunks::<32>().0 {
        let codes = centred(x, 16.0, out);
        fifths(&codes, out);
        nibbles(&codes, out);
    }
}

/// From the least value to the largest.
pub(super) fn q4_1(x: &[f32], out: &mut Vec<u8>) {
    for x in x.as_chunks::<32>().0 {
        let codes = from_minimum(x, 15.0, out);
        nibbles(&codes, out);
    }
}

/// As Q4_1, fifth bits before the nibbles.
pub(super) fn q5_1(x: &[f32], out: &mut Vec<u8>) {
    for x in x.as_chunks::<32>().0 {
        let codes = from_minimum(x, 31.0, out);
        fifths(&codes, out);
        nibbles(&codes, out);
    }
}

fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// Writes the scale; codes 0 .. 2 `offset` - 1.
fn centred(x: &[f32; 32], offset: f32, out: &mut Vec<u8>) -> [u8; 32] {
    let larger = |a: f32, b: &f32| if b.abs() > a.abs() { *b } else { a };
    let d = x.iter().fold(0.0, larger) / -offset;
    let inverse = inverse(d);
    out.extend(f16::from_f32(d).to_le_bytes());
    x.map(|v| (v * inverse + offset + 0.5).min(2.0 * offset - 1.0) as u8)
}

/// Writes scale and minimum; codes 0 ..= `top`.
fn from_minimum(x: &[f32; 32], top: f32, out: &mut Vec<u8>) -> [u8; 32] {
    let least = x.iter().fold(f32::INFINITY, |m, v| m.min(*v));
    let most = x.iter().fold(f32::NEG_INFINITY, |m, v| m.max(*v));
    let d = (most - least) / top;
    let inverse = inverse(d);
    out.extend(f16::from_f32(d).to_le_bytes());
    out.extend(f16::from_f32(least).to_le_bytes());
    x.map(|v| ((v - least) * inverse + 0.5).min(top) as u8)
}

/// The lower nibbles: code i low, code i + 16 high.
fn nibbles(codes: &[u8; 32], out: &mut Vec<u8>) {
    out.extend((0..16).map(|i| codes[i] & 15 | (codes[i + 16] & 15) << 4));
}

/// The fifth bits, bit i of code i.
fn fifths(codes: &[u8; 32], out: &mut Vec<u8>) {
    let bits = (0..32).fold(0u32, |bits, i| bits | u32::from(codes[i] >> 4 & 1) << i);
    out.extend(bits.to_le_bytes());
}
