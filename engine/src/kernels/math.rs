//! exp, tanh, sigmoid and ln of our own: the same bits on every machine, exp within one unit in the last place, the
//! others within three.
//!
//! The system's would do for accuracy, but they differ between libraries and between processors.

use super::simd::Real;

/// e^x. Exact at 0; 0 below -104, infinity above 88.73.
///
/// ```
/// use fathom_engine::kernels::exp;
/// assert_eq!(exp(0.0), 1.0);
/// assert_eq!(exp(f32::NEG_INFINITY), 0.0);
/// ```
pub fn exp(x: f32) -> f32 {
    // SAFETY: f32 needs no instruction set.
    unsafe { exp_real(x) }
}

/// 1 / (1 + e^-x).
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Hyperbolic tangent.
pub fn tanh(x: f32) -> f32 {
    // SAFETY: f32 needs no instruction set.
    unsafe { tanh_real(x) }
}

/// Natural logarithm of a positive, normal number.
///
/// ```
/// assert_eq!(fathom_engine::kernels::ln(1.0), 0.0);
/// ```
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
        p = (p + 1.0 / f64::from(odd)) * s2;
    }
    e * std::f64::consts::LN_2 + 2.0 * (s + s * p)
}

/// e^x in every lane.
///
/// # Safety
/// Needs the instruction set of V.
#[inline(always)]
pub(super) unsafe fn exp_real<V: Real>(x: V) -> V {
    // SAFETY: the caller has the instruction set.
    unsafe { exp_bounded(V::splat(89.0).min(x)) }
}

/// [`exp_real`] of what is at most 89, or NaN.
///
/// # Safety
/// Needs the instruction set of V.
#[inline(always)]
pub(super) unsafe fn exp_bounded<V: Real>(x: V) -> V {
    // x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, so that r is exact to f32.
    const LN2_HI: f32 = 0.693_145_75;
    const LN2_LO: f32 = 1.428_606_8e-6;
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: what is added to it is rounded to an integer
    // (e^r - 1 - r) / r^2, least greatest error relative to e^r.
    const Q: [f32; 5] = [
        1.381_46e-3,
        8.368_717e-3,
        4.166_839e-2,
        0.166_665_21,
        0.499_999_94,
    ];
    // SAFETY: the caller has the instruction set.
    unsafe {
        // In this order a NaN stays one.
        let x = V::splat(-105.0).max(x);
        let n = x
            .fma(V::splat(std::f32::consts::LOG2_E), V::splat(ROUND))
            .sub(V::splat(ROUND));
        let r = n.fma(V::splat(-LN2_HI), x);
        let r = n.fma(V::splat(-LN2_LO), r);
        let mut q = V::splat(Q[0]);
        q = q.fma(r, V::splat(Q[1]));
        q = q.fma(r, V::splat(Q[2]));
        q = q.fma(r, V::splat(Q[3]));
        q = q.fma(r, V::splat(Q[4]));
        let e = q.fma(r.mul(r), r).add(V::splat(1.0));
        e.scale(n)
    }
}

/// Hyperbolic tangent in every lane.
///
/// # Safety
/// Needs the instruction set of V.
#[inline(always)]
pub(super) unsafe fn tanh_real<V: Real>(x: V) -> V {
    // (tanh a - a) / a^3 as a polynomial in a^2, for a < 0.625.
    const P: [f32; 5] = [
        -5.704_988_7e-3,
        2.063_909e-2,
        -5.373_971_5e-2,
        1.333_144_2e-1,
        -0.333_332_8,
    ];
    // SAFETY: the caller has the instruction set.
    unsafe {
        let a = x.copysign(V::splat(1.0));
        let s = a.mul(a);
        let mut p = V::splat(P[0]);
        p = p.fma(s, V::splat(P[1]));
        p = p.fma(s, V::splat(P[2]));
        p = p.fma(s, V::splat(P[3]));
        p = p.fma(s, V::splat(P[4]));
        let small = p.mul(s).fma(a, a);
        let e = exp_real(a.add(a));
        let large = V::splat(1.0).sub(V::splat(2.0).div(e.add(V::splat(1.0))));
        V::if_less(a, V::splat(0.625), small, large).copysign(x)
    }
}

/// x / (1 + e^-x) in every lane.
///
/// # Safety
/// Needs the instruction set of V.
#[inline(always)]
pub(super) unsafe fn silu_real<V: Real>(x: V) -> V {
    // SAFETY: the caller has the instruction set.
    unsafe { x.div(exp_real(V::splat(0.0).sub(x)).add(V::splat(1.0))) }
}

/// `x / 2 * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))` in every lane.
///
/// # Safety
/// Needs the instruction set of V.
#[inline(always)]
pub(super) unsafe fn gelu_tanh_real<V: Real>(x: V) -> V {
    // (1 + tanh u) / 2 = 1 / (1 + e^(-2 u)).
    const MINUS_TWO_ROOT: f32 = -1.595_769;
    // SAFETY: the caller has the instruction set.
    unsafe {
        let cubic = x.mul(x).fma(V::splat(0.044_715), V::splat(1.0));
        let u = x.mul(V::splat(MINUS_TWO_ROOT)).mul(cubic);
        x.div(exp_real(u).add(V::splat(1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distance in units in the last place of the f32 nearest to the truth.
    fn ulps(got: f32, truth: f64) -> f64 {
        let near = truth as f32;
        let unit = f64::from(f32::from_bits(near.abs().to_bits() + 1)) - f64::from(near.abs());
        (f64::from(got) - truth).abs() / unit
    }

    fn worst(f: impl Fn(f32) -> f32, truth: impl Fn(f64) -> f64, range: (f32, f32)) -> f64 {
        let n = 2_000_000;
        let at = |i: i32| range.0 + (range.1 - range.0) * (i as f32 / n as f32);
        (0..=n)
            .map(|i| ulps(f(at(i)), truth(f64::from(at(i)))))
            .fold(0.0, f64::max)
    }

    #[test]
    fn exp_is_within_one_ulp_of_f64() {
        assert!(worst(exp, f64::exp, (-87.0, 88.7)) < 1.0);
        assert!(worst(exp, f64::exp, (-1.0, 1.0)) < 1.0);
        assert!(
            worst(exp, f64::exp, (-103.9, -87.0)) < 1.0,
            "denormal results"
        );
        assert_eq!((exp(0.0), exp(-0.0)), (1.0, 1.0));
        assert_eq!((exp(-104.1), exp(f32::NEG_INFINITY)), (0.0, 0.0));
        assert_eq!(
            (exp(88.73), exp(f32::INFINITY)),
            (f32::INFINITY, f32::INFINITY)
        );
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn tanh_and_sigmoid_are_within_three_ulps_of_f64() {
        assert!(worst(tanh, f64::tanh, (-10.0, 10.0)) < 2.0);
        assert!(worst(tanh, f64::tanh, (-0.7, 0.7)) < 2.0);
        assert!(worst(sigmoid, |x| 1.0 / (1.0 + (-x).exp()), (-80.0, 20.0)) < 3.0);
        assert_eq!((tanh(100.0), tanh(-100.0), tanh(0.0)), (1.0, -1.0, 0.0));
        assert!(tanh(f32::NAN).is_nan());
    }

    #[test]
    fn ln_is_the_systems_to_two_ulps() {
        for i in 1..1_000_000 {
            let x = f64::from(i) * 0.37e-3;
            let error = (ln(x) - x.ln()).abs();
            assert!(
                error <= 4.5e-16 * x.ln().abs().max(1.0),
                "ln {x}: off by {error}"
            );
        }
        assert_eq!(ln(0.0), f64::NEG_INFINITY);
        assert!(ln(-1.0).is_nan());
    }
}
