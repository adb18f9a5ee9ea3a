//! Norms, activations and softmax over rows.

use super::attention::fold;
use super::math::{exp, ln, sigmoid};

/// Root mean square norm of each row of x, [n, dim]: `x / sqrt(mean(x^2) + eps) * weight`.
/// `plus_one`: the weight is stored as its distance from one (Gemma).
///
/// # Panics
/// When `x` is not whole rows, or `out` or `weight` have another length.
pub fn rms_norm(
    x: &[f32],
    dim: usize,
    weight: Option<&[f32]>,
    plus_one: bool,
    eps: f32,
    out: &mut [f32],
) {
    check(x, dim, weight, out);
    for (x, out) in x.chunks_exact(dim).zip(out.chunks_exact_mut(dim)) {
        let scale = 1.0 / (sum_of(x, |v| v * v) / dim as f32 + eps).sqrt();
        for (o, v) in out.iter_mut().zip(x) {
            *o = v * scale;
        }
        weigh(out, weight, plus_one);
    }
}

/// Layer norm of each row of x, [n, dim]: `(x - mean) / sqrt(variance + eps) * weight`, without a bias.
///
/// # Panics
/// As [`rms_norm`].
pub fn layer_norm(
    x: &[f32],
    dim: usize,
    weight: Option<&[f32]>,
    plus_one: bool,
    eps: f32,
    out: &mut [f32],
) {
    check(x, dim, weight, out);
    for (x, out) in x.chunks_exact(dim).zip(out.chunks_exact_mut(dim)) {
        let mean = sum_of(x, |v| v) / dim as f32;
        let variance = sum_of(x, |v| (v - mean) * (v - mean)) / dim as f32;
        let scale = 1.0 / (variance + eps).sqrt();
        for (o, v) in out.iter_mut().zip(x) {
            *o = (v - mean) * scale;
        }
        weigh(out, weight, plus_one);
    }
}

/// `gate = gate * sigmoid(gate) * up`.
///
/// # Panics
/// When the lengths differ.
pub fn silu_mul(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "gate and up: the same shape");
    for (g, u) in gate.iter_mut().zip(up) {
        *g = *g / (1.0 + exp(-*g)) * u;
    }
}

/// `gate = gelu(gate) * up` with the tanh approximation,
/// `gelu(g) = g / 2 * (1 + tanh(sqrt(2 / pi) (g + 0.044715 g^3)))`.
///
/// # Panics
/// When the lengths differ.
pub fn gelu_tanh_mul(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "gate and up: the same shape");
    // (1 + tanh u) / 2 = 1 / (1 + e^(-2 u))
    const MINUS_TWO_ROOT: f32 = -1.595_769_1;
    for (g, u) in gate.iter_mut().zip(up) {
        let inner = MINUS_TWO_ROOT * *g * (*g * *g).mul_add(0.044_715, 1.0);
        *g = *g / (1.0 + exp(inner)) * u;
    }
}

/// Softmax in place.
pub fn softmax(x: &mut [f32]) {
    let max = max_of(x);
    for v in x.iter_mut() {
        *v = exp(*v - max);
    }
    let sum = sum_of(x, |v| v);
    for v in x {
        *v /= sum;
    }
}

/// `sigmoid` of each value.
pub fn sigmoid_all(x: &mut [f32]) {
    for v in x {
        *v = sigmoid(*v);
    }
}

/// `ln(sum(e^x))`; minus infinity for none.
pub fn log_sum_exp(x: &[f32]) -> f64 {
    let max = max_of(x);
    if !max.is_finite() {
        return f64::from(max);
    }
    let mut lanes = [0.0f64; 16];
    for (i, v) in x.iter().enumerate() {
        lanes[i % 16] += f64::from(exp(*v - max));
    }
    f64::from(max) + ln(lanes.iter().sum())
}

fn max_of(x: &[f32]) -> f32 {
    x.iter()
        .fold(f32::NEG_INFINITY, |m, &v| if v > m { v } else { m })
}

fn sum_of(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    for (i, v) in x.iter().enumerate() {
        lanes[i % 16] += f(*v);
    }
    fold(lanes)
}

fn weigh(out: &mut [f32], weight: Option<&[f32]>, plus_one: bool) {
    let Some(weight) = weight else { return };
    let one = if plus_one { 1.0 } else { 0.0 };
    for (o, w) in out.iter_mut().zip(weight) {
        *o *= w + one;
    }
}

fn check(x: &[f32], dim: usize, weight: Option<&[f32]>, out: &[f32]) {
    assert!(dim > 0 && x.len().is_multiple_of(dim), "x: [n, dim]");
    assert!(
        x.len() == out.len() && weight.is_none_or(|w| w.len() == dim),
        "out: [n, dim], weight: [dim]"
    );
}
