//! exp, tanh, sigmoid and ln of our own: the same bits on every machine, at most two units in the last place off.

/// e^x. Exact at 0; 0 below -104, infinity above 88.73.
pub fn exp(x: f32) -> f32 {
    // x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, so that r is exact to f32.
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const LN2_HI: f32 = 0.693_145_75;
    const LN2_LO: f32 = 1.428_606_8e-6;
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer in the low bits
    let x = if x < -105.0 { -105.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let shifted = x.mul_add(LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN2_HI, x);
    let r = n.mul_add(-LN2_LO, r);
    let mut p = 1.0 / 5040.0f32;
    for c in [
        1.0 / 720.0f32,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = p.mul_add(r, c);
    }
    // 2^n in two factors: n reaches -151 and 128, beyond what one f32 holds.
    let n = shifted.to_bits() as i32 - ROUND.to_bits() as i32;
    let half = n >> 1;
    let pow2 = |n: i32| f32::from_bits(((n + 127) as u32) << 23);
    p * pow2(half) * pow2(n - half)
}

/// 1 / (1 + e^-x).
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Hyperbolic tangent.
pub fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let t = if a < 0.625 {
        let s = a * a;
        let mut p = -5.704_988_7e-3f32;
        for c in [
            2.063_908_9e-2f32,
            -5.373_971_5e-2,
            1.333_144_2e-1,
            -3.333_328_2e-1,
        ] {
            p = p.mul_add(s, c);
        }
        (p * s).mul_add(a, a)
    } else {
        1.0 - 2.0 / (exp(2.0 * a) + 1.0)
    };
    t.copysign(x)
}

/// Natural logarithm of a positive, normal number.
pub fn ln(x: f64) -> f64 {
    if !(x > 0.0 && x < f64::INFINITY) {
        return match x {
            0.0 => f64::NEG_INFINITY,
            x if x > 0.0 => x,
            _ => f64::NAN,
        };
    }
    // x = 2^e m with m in [sqrt 1/2, sqrt 2); ln m = 2 artanh s, s = (m - 1) / (m + 1), |s| <= 0.1716.
    let mut e = ((x.to_bits() >> 52) as i64 - 1023) as f64;
    let mut m = f64::from_bits(x.to_bits() & 0x000f_ffff_ffff_ffff | 0x3ff0_0000_0000_0000);
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        e += 1.0;
    }
    let s = (m - 1.0) / (m + 1.0);
    let s2 = s * s;
    let mut p = 0.0;
    for odd in (3..=21).rev().step_by(2) {
        p = (p + 1.0 / odd as f64) * s2;
    }
    e * std::f64::consts::LN_2 + 2.0 * (s + s * p)
}
