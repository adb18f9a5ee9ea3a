//! Norms, activations, softmax.

use proptest::prelude::*;

use super::{Noise, bits, isas};
use crate::kernels::elementwise::{LogSumExp, Norm, Softmax, gate_on, norm_on};
use crate::kernels::{Isa, log_sum_exp, softmax};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn rows_are_the_same_everywhere_and_right(dim in 1usize..300, n in 1usize..4, seed: u64) {
        let noise = &mut Noise(seed);
        let x: Vec<f32> = noise.floats(n * dim).iter().map(|v| v * 8.0).collect();
        let weight = noise.floats(dim);
        for centre in [false, true] {
            let norm = |isa: Isa| {
                let mut out = vec![f32::NAN; n * dim];
                let (x, weight) = (&x[..], Some(&weight[..]));
                norm_on(isa, Norm { x, dim, weight, plus_one: true, eps: 1e-5, centre, out: &mut out });
                out
            };
            let expected = norm(Isa::Portable);
            for isa in isas() {
                prop_assert_eq!(bits(&norm(isa)), bits(&expected), "{}", isa);
            }
            for (x, got) in x.chunks_exact(dim).zip(expected.chunks_exact(dim)) {
                let x: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
                let mean = if centre { x.iter().sum::<f64>() / dim as f64 } else { 0.0 };
                let square = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / dim as f64;
                for ((x, w), got) in x.iter().zip(&weight).zip(got) {
                    let truth = (x - mean) / (square + 1e-5).sqrt() * (1.0 + f64::from(*w));
                    prop_assert!((f64::from(*got) - truth).abs() < 2e-5, "{got} for {truth}");
                }
            }
        }
        let up = noise.floats(n * dim);
        let gate = |isa: Isa, gelu: bool| {
            let mut gate = x.clone();
            if gelu { gate_on::<true>(isa, &mut gate, &up) } else { gate_on::<false>(isa, &mut gate, &up) }
            gate
        };
        let row = |isa: Isa| {
            let mut row = x.clone();
            isa.run(Softmax { x: &mut row });
            (bits(&row), isa.run(LogSumExp { x: &x }).to_bits())
        };
        for isa in isas() {
            prop_assert_eq!(bits(&gate(isa, false)), bits(&gate(Isa::Portable, false)), "{}", isa);
            prop_assert_eq!(bits(&gate(isa, true)), bits(&gate(Isa::Portable, true)), "{}", isa);
            prop_assert_eq!(row(isa), row(Isa::Portable), "{}", isa);
        }
        for (i, (g, u)) in x.iter().zip(&up).enumerate() {
            let (g, u) = (f64::from(*g), f64::from(*u));
            let silu = g / (1.0 + (-g).exp()) * u;
            let gelu = g / 2.0 * (1.0 + (0.797_884_560_802_865_4 * (g + 0.044_715 * g * g * g)).tanh()) * u;
            prop_assert!((f64::from(gate(Isa::Portable, false)[i]) - silu).abs() < 2e-6);
            prop_assert!((f64::from(gate(Isa::Portable, true)[i]) - gelu).abs() < 2e-6);
        }
        let sum: f64 = x.iter().map(|&v| f64::from(v).exp()).sum();
        prop_assert!((log_sum_exp(&x) - sum.ln()).abs() < 1e-6);
        let mut probabilities = x.clone();
        softmax(&mut probabilities);
        for (p, x) in probabilities.iter().zip(&x) {
            prop_assert!((f64::from(*p) - f64::from(*x).exp() / sum).abs() < 1e-6);
        }
    }
}
