//! Norms, activations and softmax over rows.
//!
//! Sums run in sixteen lanes (lane j takes elements j mod 16), folded by the tree of every product.

use super::isa::Isa;
use super::math::{exp_real, gelu_tanh_real, ln, sigmoid, silu_real};
use super::simd::{Kernel, Simd};
use super::team;

/// Gates that are worked on together.
const GATES: usize = 16;

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
    norm_on(
        Isa::current(),
        Norm {
            x,
            dim,
            weight,
            plus_one,
            eps,
            centre: false,
            out,
        },
    );
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
    norm_on(
        Isa::current(),
        Norm {
            x,
            dim,
            weight,
            plus_one,
            eps,
            centre: true,
            out,
        },
    );
}

/// `gate = gate * sigmoid(gate) * up`.
///
/// # Panics
/// When the lengths differ.
pub fn silu_mul(gate: &mut [f32], up: &[f32]) {
    gate_on::<false>(Isa::current(), gate, up);
}

/// `gate = gelu(gate) * up` with the tanh approximation,
/// `gelu(g) = g / 2 * (1 + tanh(sqrt(2 / pi) (g + 0.044715 g^3)))`.
///
/// # Panics
/// When the lengths differ.
pub fn gelu_tanh_mul(gate: &mut [f32], up: &[f32]) {
    gate_on::<true>(Isa::current(), gate, up);
}

/// gpt-oss's clamped gate: `g = min(gate, limit)`, `gate = (clamp(up, -limit, limit) + 1) * (g * sigmoid(alpha g))`.
///
/// # Panics
/// When the lengths differ.
pub fn clamped_swiglu_mul(gate: &mut [f32], up: &[f32], limit: f32, alpha: f32) {
    assert_eq!(gate.len(), up.len(), "as many gates as ups");
    for (gate, up) in gate.iter_mut().zip(up) {
        let g = gate.min(limit);
        let u = up.max(-limit).min(limit);
        *gate = (u + 1.0) * (g * sigmoid(alpha * g));
    }
}

/// Softmax in place.
pub fn softmax(x: &mut [f32]) {
    Isa::current().run(Softmax { x });
}

/// `ln(sum(e^x))`; minus infinity for none.
pub fn log_sum_exp(x: &[f32]) -> f64 {
    Isa::current().run(LogSumExp { x })
}

/// A norm of [n, dim].
pub(super) struct Norm<'a> {
    pub(super) x: &'a [f32],
    pub(super) dim: usize,
    pub(super) weight: Option<&'a [f32]>,
    pub(super) plus_one: bool,
    pub(super) eps: f32,
    /// Take the mean away first.
    pub(super) centre: bool,
    pub(super) out: &'a mut [f32],
}

/// A norm on an instruction set that is available, on the current team.
pub(super) fn norm_on(isa: Isa, norm: Norm<'_>) {
    assert!(
        norm.dim > 0 && norm.x.len().is_multiple_of(norm.dim),
        "x: [n, dim]"
    );
    assert_eq!(norm.x.len(), norm.out.len(), "out: [n, dim]");
    assert!(
        norm.weight.is_none_or(|w| w.len() == norm.dim),
        "weight: [dim]"
    );
    let Norm { x, dim, out, .. } = norm;
    team::for_rows(out, dim, |first, out| {
        let x = &x[first * dim..][..out.len()];
        isa.run(Norm { x, out, ..norm });
    });
}

impl Kernel for Norm<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        let n = self.dim as f32;
        let one = if self.plus_one { 1.0 } else { 0.0 };
        for (x, out) in self
            .x
            .chunks_exact(self.dim)
            .zip(self.out.chunks_exact_mut(self.dim))
        {
            // SAFETY: the caller has the instruction set.
            unsafe {
                let mean = if self.centre {
                    sum::<V, false>(x) / n
                } else {
                    0.0
                };
                for (o, v) in out.iter_mut().zip(x) {
                    *o = v - mean;
                }
                let scale = 1.0 / (sum::<V, true>(out) / n + self.eps).sqrt();
                match self.weight {
                    Some(weight) => {
                        for (o, w) in out.iter_mut().zip(weight) {
                            *o = *o * scale * (w + one);
                        }
                    }
                    None => out.iter_mut().for_each(|o| *o *= scale),
                }
            }
        }
    }
}

/// Sum of x, or of its squares.
///
/// # Safety
/// Needs the instruction set of V.
#[inline(always)]
unsafe fn sum<V: Simd, const SQUARED: bool>(x: &[f32]) -> f32 {
    let (whole, rest) = x.as_chunks::<16>();
    let mut tail = [0.0; 16];
    tail[..rest.len()].copy_from_slice(rest);
    // SAFETY: the caller's; each chunk is sixteen values.
    unsafe {
        let mut sums = [V::splat(0.0); 2];
        for chunk in whole.iter().chain([&tail]) {
            for (half, sum) in sums.iter_mut().enumerate().take(16 / V::LANES) {
                let v = V::load(chunk.as_ptr().add(half * V::LANES));
                *sum = if SQUARED { v.fma(v, *sum) } else { sum.add(v) };
            }
        }
        V::sum16(sums)
    }
}

/// `gate = activation(gate) * up` on an instruction set that is available and on the current team; the activation is GELU or SiLU.
pub(super) fn gate_on<const GELU: bool>(isa: Isa, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "gate and up: the same shape");
    team::for_rows(gate, GATES, |first, gate| {
        let up = &up[first * GATES..][..gate.len()];
        isa.run(Gate::<GELU> { gate, up });
    });
}

struct Gate<'a, const GELU: bool> {
    gate: &'a mut [f32],
    up: &'a [f32],
}

impl<const GELU: bool> Kernel for Gate<'_, GELU> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        let (gates, gate_rest) = self.gate.as_chunks_mut::<GATES>();
        let (ups, up_rest) = self.up.as_chunks::<GATES>();
        // SAFETY: the caller has the instruction set.
        unsafe {
            for (gate, up) in gates.iter_mut().zip(ups) {
                gate16::<V, GELU>(gate, up);
            }
            let (mut gate, mut up) = ([0.0; GATES], [0.0; GATES]);
            gate[..gate_rest.len()].copy_from_slice(gate_rest);
            up[..up_rest.len()].copy_from_slice(up_rest);
            gate16::<V, GELU>(&mut gate, &up);
            gate_rest.copy_from_slice(&gate[..gate_rest.len()]);
        }
    }
}

/// # Safety
/// Needs the instruction set of V.
#[inline(always)]
unsafe fn gate16<V: Simd, const GELU: bool>(gate: &mut [f32; 16], up: &[f32; 16]) {
    for i in (0..16).step_by(V::LANES) {
        // SAFETY: the caller's; the lanes are inside of the sixteen.
        unsafe {
            let to = gate.as_mut_ptr().add(i);
            let g = V::load(to);
            let g = if GELU {
                gelu_tanh_real(g)
            } else {
                silu_real(g)
            };
            g.mul(V::load(up.as_ptr().add(i))).store(to);
        }
    }
}

/// Softmax of one row, in place.
pub(super) struct Softmax<'a> {
    pub(super) x: &'a mut [f32],
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let max = greatest(self.x);
            let (whole, rest) = self.x.as_chunks_mut::<16>();
            for chunk in whole {
                exp16::<V>(chunk, max);
            }
            let mut tail = [0.0; 16];
            tail[..rest.len()].copy_from_slice(rest);
            exp16::<V>(&mut tail, max);
            rest.copy_from_slice(&tail[..rest.len()]);
            let factor = 1.0 / sum::<V, false>(self.x);
            self.x.iter_mut().for_each(|v| *v *= factor);
        }
    }
}

/// `ln(sum(e^x))` of one row; the sum is in f64.
pub(super) struct LogSumExp<'a> {
    pub(super) x: &'a [f32],
}

impl Kernel for LogSumExp<'_> {
    type Output = f64;

    #[inline(always)]
    unsafe fn run<V: Simd>(self) -> f64 {
        let max = greatest(self.x);
        if !max.is_finite() {
            return f64::from(max);
        }
        let mut lanes = [0.0f64; 16];
        for x in self.x.chunks(16) {
            let mut chunk = [f32::NEG_INFINITY; 16];
            chunk[..x.len()].copy_from_slice(x);
            // SAFETY: the caller has the instruction set.
            unsafe { exp16::<V>(&mut chunk, max) };
            for (lane, v) in lanes.iter_mut().zip(chunk) {
                *lane += f64::from(v);
            }
        }
        f64::from(max) + ln(lanes.iter().sum())
    }
}

/// `x = e^(x - max)`.
///
/// # Safety
/// Needs the instruction set of V.
#[inline(always)]
unsafe fn exp16<V: Simd>(x: &mut [f32; 16], max: f32) {
    for i in (0..16).step_by(V::LANES) {
        // SAFETY: the caller's; the lanes are inside of the sixteen.
        unsafe {
            let at = x.as_mut_ptr().add(i);
            exp_real(V::load(at).sub(V::splat(max))).store(at);
        }
    }
}

/// The greatest value that is a number; minus infinity for none.
#[inline(always)]
fn greatest(x: &[f32]) -> f32 {
    // In lanes, so that it compiles to vectors.
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (whole, rest) = x.as_chunks::<16>();
    for chunk in whole {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = if v > *lane { v } else { *lane };
        }
    }
    rest.iter()
        .chain(&lanes)
        .fold(f32::NEG_INFINITY, |m, &v| if v > m { v } else { m })
}
