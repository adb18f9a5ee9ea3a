//! From logits to a token: log probabilities, greedy choice, sampling that is the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

/// Terms of a sum that are added by one thread.
const TOGETHER: usize = 1 << 15;

/// Natural logarithm of the sum of the exponentials, in f64. The same bits for any number of threads.
pub fn log_sum_exp<T: Copy + Into<f64> + Sync>(logs: &[T]) -> f64 {
    let max = logs
        .iter()
        .map(|x| (*x).into())
        .fold(f64::NEG_INFINITY, f64::max);
    if !max.is_finite() {
        return max;
    }
    let sum = |logs: &[T]| -> f64 { logs.iter().map(|x| ((*x).into() - max).exp()).sum() };
    let sums: Vec<f64> = match logs.len() {
        ..=TOGETHER => vec![sum(logs)],
        _ => logs.par_chunks(TOGETHER).map(sum).collect(),
    };
    max + sums.iter().sum::<f64>().ln()
}

/// Log probability of a token; never below -1e30, so that it can be written as JSON.
pub fn logprob(logits: &[f32], id: u32) -> f64 {
    let x = logits
        .get(id as usize)
        .copied()
        .unwrap_or(f32::NEG_INFINITY);
    bounded(f64::from(x) - log_sum_exp(logits))
}

fn bounded(logprob: f64) -> f64 {
    if logprob.is_nan() {
        -1e30
    } else {
        logprob.clamp(-1e30, 0.0)
    }
}

/// The most probable token; the lowest id among equals, 0 when nothing is a number.
pub fn argmax(logits: &[f32]) -> u32 {
    // In lanes, so that it compiles to vectors; a comparison with NaN is false.
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (whole, rest) = logits.as_chunks::<16>();
    for chunk in whole {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    let max = rest.iter().chain(&lanes).copied();
    let max = max.fold(f32::NEG_INFINITY, |m, x| if x > m { x } else { m });
    logits.iter().position(|x| *x == max).unwrap_or(0) as u32
}

/// The `k` most probable tokens with their log probabilities: the most probable first, the lowest id among equals.
/// What is not a number is not among them.
///
/// ```
/// use fathom_harness::backend::sample::top;
/// let best: Vec<u32> = top(&[0.5, f32::NAN, 2.0, 0.5], 2).iter().map(|t| t.0).collect();
/// assert_eq!(best, [2, 0]);
/// ```
pub fn top(logits: &[f32], k: usize) -> Vec<(u32, f64)> {
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(k + 1);
    if k == 0 {
        return Vec::new();
    }
    for (id, &x) in (0u32..).zip(logits) {
        let worst = best.last().map_or(f32::NEG_INFINITY, |b| b.1);
        if x.is_nan() || (best.len() == k && x <= worst) {
            continue;
        }
        best.insert(best.partition_point(|b| b.1 >= x), (id, x));
        best.truncate(k);
    }
    let sum = log_sum_exp(logits);
    best.into_iter()
        .map(|(id, x)| (id, bounded(f64::from(x) - sum)))
        .collect()
}

/// A stream of choices: greedy at temperature 0, else sampled from the smallest set of tokens that holds `top_p`.
#[derive(Clone, Debug)]
pub struct Sampler {
    temperature: f64,
    top_p: f64,
    rng: ChaCha8Rng,
}

impl Sampler {
    /// Starts a stream.
    pub fn new(temperature: f32, top_p: f32, seed: u64) -> Self {
        Self {
            temperature: f64::from(temperature),
            top_p: f64::from(top_p),
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// The next token.
    pub fn choose(&mut self, logits: &[f32]) -> u32 {
        if self.temperature <= 0.0 {
            return argmax(logits);
        }
        let max = f64::from(logits[argmax(logits) as usize]);
        if !max.is_finite() {
            return argmax(logits);
        }
        let mut weights: Vec<(u32, f64)> = (0u32..)
            .zip(logits)
            .map(|(i, x)| (i, ((f64::from(*x) - max) / self.temperature).exp()))
            .filter(|(_, w)| *w > 0.0)
            .collect();
        weights.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let total: f64 = weights.iter().map(|w| w.1).sum();
        let mut kept = 0.0;
        let n = weights.iter().position(|w| {
            kept += w.1;
            kept >= self.top_p * total
        });
        weights.truncate(n.map_or(weights.len(), |n| n + 1));
        let mut at = self.uniform() * kept.min(weights.iter().map(|w| w.1).sum());
        for (id, w) in &weights {
            at -= w;
            if at < 0.0 {
                return *id;
            }
        }
        weights.last().map_or(0, |w| w.0)
    }

    /// In 0..1, with 53 bits.
    fn uniform(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_first_of_equals_and_survives_nan() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(argmax(&[f32::NAN, -2.0, -1.0]), 2);
        assert_eq!(argmax(&[f32::NAN]), 0);
        assert_eq!(logprob(&[f32::NAN, 1.0], 1), -1e30);
    }

    #[test]
    fn log_probabilities_match_the_formula() {
        let logits = [0.5f32, -1.0, 2.0];
        let z: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
        assert!((logprob(&logits, 0) - (0.5f64.exp() / z).ln()).abs() < 1e-12);
        assert_eq!(logprob(&[f32::NEG_INFINITY, 0.0], 0), -1e30);
    }

    #[test]
    fn sampling_has_the_right_frequencies_and_repeats() {
        let logits = [0.0f32, 1.0, 2.0, -30.0];
        let draw = |top_p: f32| {
            let mut counts = [0usize; 4];
            let mut s = Sampler::new(1.0, top_p, 7);
            (0..20_000).for_each(|_| counts[s.choose(&logits) as usize] += 1);
            counts
        };
        let counts = draw(1.0);
        for (i, expected) in [0.0900, 0.2447, 0.6652].into_iter().enumerate() {
            assert!(
                (counts[i] as f64 / 20_000.0 - expected).abs() < 0.01,
                "{counts:?}"
            );
        }
        assert_eq!(counts, draw(1.0));
        // 0.6652 alone is not 0.7 of the mass, 0.91 is.
        assert_eq!(draw(0.7)[0], 0);
        assert!(draw(0.7)[1] > 0);
        assert_eq!(draw(0.5)[1], 0);
    }
}
