//! K-quants: the scale of each group is the best of some tries in the weighted squares of the errors, then becomes a
//! small integer times the super-block's.

use half::f16;

/// Tries of a group's scale around the one that uses the whole range, and their distance in codes.
const TRIES: i32 = 10;
const STEP: f32 = 0.1;

/// 8 groups of 32 values: scale and minimum 6 bits, codes 4 bits.
pub(super) fn q4_k(x: &[f32], out: &mut Vec<u8>) {
    for x in x.as_chunks::<256>().0 {
        let groups = x.as_chunks::<32>().0;
        let fits: Vec<(f32, f32)> = groups.iter().map(|x| scale_and_minimum(x, 15.0)).collect();
        let most = |of: fn(&(f32, f32)) -> f32| fits.iter().map(of).fold(0.0, f32::max);
        let (d, dmin) = (most(|f| f.0) / 63.0, most(|f| f.1) / 63.0);
        let six = |v: f32, d: f32| (v * inverse(d)).round_ties_even().clamp(0.0, 63.0) as u8;
        let codes: Vec<(u8, u8)> = fits.iter().map(|f| (six(f.0, d), six(f.1, dmin))).collect();
        let (d, dmin) = (f16::from_f32(d), f16::from_f32(dmin));
        out.extend(d.to_le_bytes());
        out.extend(dmin.to_le_bytes());
        out.extend(pack_scales(&codes));
        let code = |g: usize, i: usize| {
            let (scale, minimum) = codes[g];
            let d = d.to_f32() * f32::from(scale);
            let above = groups[g][i] + dmin.to_f32() * f32::from(minimum);
            (above * inverse(d)).round_ties_even().clamp(0.0, 15.0) as u8
        };
        for pair in 0..4 {
            out.extend((0..32).map(|i| code(2 * pair, i) | code(2 * pair + 1, i) << 4));
        }
    }
}

/// 16 groups of 16 values: scale 8 bits with sign, codes 6 bits.
pub(super) fn q6_k(x: &[f32], out: &mut Vec<u8>) {
    for x in x.as_chunks::<256>().0 {
        let scales: [f32; 16] = std::array::from_fn(|g| scale(&x.as_chunks::<16>().0[g], 32.0));
        let larger = |a: f32, b: &f32| if b.abs() > a.abs() { *b } else { a };
        let d = f16::from_f32(scales.iter().fold(0.0, larger) / -128.0);
        let inverse_d = inverse(d.to_f32());
        let scales = scales.map(|s| (s * inverse_d).round_ties_even().clamp(-128.0, 127.0) as i8);
        let codes: [u8; 256] = std::array::from_fn(|i| {
            let d = d.to_f32() * f32::from(scales[i / 16]);
            let code = (x[i] * inverse(d)).round_ties_even().clamp(-32.0, 31.0);
            (code + 32.0) as u8
        });
        // Two halves of 128 values, four rows of 32 each: rows 0 and 1 in the low nibbles, 2 and 3 in the high ones.
        for half in codes.as_chunks::<128>().0 {
            out.extend((0..64).map(|i| half[i] & 15 | (half[i + 64] & 15) << 4));
        }
        for half in codes.as_chunks::<128>().0 {
            let pair = |i: usize, row: usize| (half[32 * row + i] >> 4) << (2 * row);
            out.extend((0..32).map(|i| (0..4).fold(0, |byte, row| byte | pair(i, row))));
        }
        out.extend(scales.map(|s| s as u8));
        out.extend(d.to_le_bytes());
    }
}

fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// Scale s and minimum m >= 0 of codes q in 0 ..= `top` with x near s q - m: for each try of the codes the least squares,
/// weighted by the values' size.
fn scale_and_minimum(x: &[f32; 32], top: f32) -> (f32, f32) {
    let least = x.iter().fold(0.0f32, |m, v| m.min(*v));
    let most = x.iter().fold(f32::NEG_INFINITY, |m, v| m.max(*v));
    if most <= least {
        return (0.0, -least);
    }
    let size = (x.iter().map(|v| v * v).sum::<f32>() / 32.0).sqrt();
    let mut best = (f32::INFINITY, 0.0, 0.0);
    for i in -TRIES..=TRIES {
        let inverse = (top + STEP * i as f32) / (most - least);
        let code = |v: f32| ((v - least) * inverse).round_ties_even().clamp(0.0, top);
        let [mut w, mut wq, mut wqq, mut wx, mut wqx] = [0.0f32; 5];
        for &v in x {
            let (weight, q) = (size + v.abs(), code(v));
            w += weight;
            wq += weight * q;
            wqq += weight * q * q;
            wx += weight * v;
            wqx += weight * q * v;
        }
        let determinant = w * wqq - wq * wq;
        if determinant <= 0.0 {
            continue;
        }
        let mut s = (w * wqx - wx * wq) / determinant;
        let mut m = (wqq * wx - wq * wqx) / determinant;
        if m > 0.0 {
            (s, m) = (wqx / wqq, 0.0);
        }
        let error = x.iter().fold(0.0, |e, &v| {
            let off = s * code(v) + m - v;
            e + (size + v.abs()) * off * off
        });
        if error < best.0 {
            best = (error, s, -m);
        }
    }
    (best.1, best.2)
}

/// Scale s of codes q in -`half` .. `half` with x near s q: the try that leaves least of the squares, weighted by them.
fn scale(x: &[f32; 16], half: f32) -> f32 {
    let larger = |a: f32, b: &f32| if b.abs() > a.abs() { *b } else { a };
    let most = x.iter().fold(0.0, larger);
    if most == 0.0 {
        return 0.0;
    }
    let mut best = (0.0, 0.0);
    for i in -TRIES..=TRIES {
        let inverse = -(half + STEP * i as f32) / most;
        let (mut qx, mut qq) = (0.0f32, 0.0f32);
        for &v in x {
            let q = (v * inverse).round_ties_even().clamp(-half, half - 1.0);
            qx += v * v * q * v;
            qq += v * v * q * q;
        }
        if qq > 0.0 && qx * qx > best.0 * qq {
            best = (qx * qx / qq, qx / qq);
        }
    }
    best.1
}

/// Eight 6-bit scales and minimums in 12 bytes (`get_scale_min_k4`).
fn pack_scales(codes: &[(u8, u8)]) -> [u8; 12] {
    let mut out = [0; 12];
    for (g, &(scale, minimum)) in codes.iter().enumerate() {
        if g < 4 {
            out[g] |= scale;
            out[g + 4] |= minimum;
        } else {
            out[g + 4] = scale & 15 | (minimum & 15) << 4;
            out[g - 4] |= (scale >> 4) << 6;
            out[g] |= (minimum >> 4) << 6;
        }
    }
    out
}
