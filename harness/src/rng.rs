//! Random numbers that are the same on every machine and for ever: ChaCha8 under our own distributions.
//!
//! Nothing is drawn from a shared stream. A seed is derived by hashing what the numbers are for, so that an item is
//! the same whatever else a suite holds, in whatever order and however many items are made.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// A seed for one purpose: the first eight bytes of the BLAKE3 hash of the suite's seed, the task, the index of the
/// item and the purpose.
///
/// ```
/// use fathom_harness::rng::derive;
/// assert_ne!(derive(1, "needle/single", 0, "keys"), derive(1, "needle/single", 0, "values"));
/// assert_eq!(derive(1, "needle/single", 0, "keys"), derive(1, "needle/single", 0, "keys"));
/// ```
pub fn derive(seed: u64, task: &str, index: u64, purpose: &str) -> u64 {
    let mut hash = blake3::Hasher::new();
    hash.update(b"fathom seed 1");
    hash.update(&seed.to_le_bytes());
    hash.update(&(task.len() as u64).to_le_bytes());
    hash.update(task.as_bytes());
    hash.update(&index.to_le_bytes());
    hash.update(purpose.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// A deterministic stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The stream of a seed: the ChaCha8 key stream whose key is the seed's eight bytes (little endian), four times.
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        for part in key.chunks_exact_mut(8) {
            part.copy_from_slice(&seed.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// The stream of [`derive`]'s seed.
    pub fn of(seed: u64, task: &str, index: u64, purpose: &str) -> Self {
        Self::new(derive(seed, task, index, purpose))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A whole number in `0..n`, every one equally likely (multiply and reject, Lemire 2019, arXiv:1805.10941).
    ///
    /// # Panics
    /// When `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "nothing to choose from");
        let n = n as u64;
        let reject_below = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.bits()) * u128::from(n);
            if product as u64 >= reject_below {
                return (product >> 64) as usize;
            }
        }
    }

    /// A number in `0.0..1.0`: the upper 53 bits, over 2^53.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// One of these.
    ///
    /// # Panics
    /// When there are none.
    pub fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Into random order (Fisher and Yates, from the end).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// `k` different numbers of `0..n` in random order (all of them where `k >= n`).
    pub fn sample(&mut self, n: usize, k: usize) -> Vec<usize> {
        let mut chosen: Vec<usize> = Vec::with_capacity(k.min(n));
        if k.saturating_mul(8) < n {
            while chosen.len() < k {
                let candidate = self.below(n);
                if !chosen.contains(&candidate) {
                    chosen.push(candidate);
                }
            }
        } else {
            chosen.extend(0..n);
            self.shuffle(&mut chosen);
            chosen.truncate(k);
        }
        chosen
    }

    /// A normally distributed number of mean 0 and variance 1 (Box and Muller 1958; the cosine half).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_and_seeds_never_change() {
        // Worked out with an independent implementation of ChaCha8.
        let mut rng = Rng::new(1);
        let bits: Vec<u64> = (0..4).map(|_| rng.bits()).collect();
        assert_eq!(
            bits,
            [
                0x3f6e96e558117293,
                0x80f75be4523f8968,
                0xbc8acea9b087cf47,
                0xb06a0906edea6b07
            ]
        );
        let below: Vec<usize> = (0..8).map(|_| rng.below(10)).collect();
        assert_eq!(below, [9, 4, 2, 5, 1, 3, 9, 5]);
        assert_eq!(rng.sample(100, 5), [43, 41, 14, 72, 97]);
        assert_eq!(rng.uniform(), 0.9149509024734237);
        assert_eq!(
            derive(42, "needle/single", 3, "keys"),
            4_742_577_966_131_555_449
        );
    }

    #[test]
    fn every_number_is_equally_likely() {
        let mut rng = Rng::new(2);
        let mut counts = [0usize; 7];
        for _ in 0..70_000 {
            counts[rng.below(7)] += 1;
        }
        // Chi squared with 6 degrees of freedom: 22.5 is its 99.9 % point.
        let chi: f64 = counts
            .iter()
            .map(|&c| (c as f64 - 10_000.0).powi(2) / 10_000.0)
            .sum();
        assert!(chi < 22.5, "{counts:?}");
    }

    #[test]
    fn normal_has_mean_0_and_variance_1() {
        let mut rng = Rng::new(3);
        let draws: Vec<f64> = (0..40_000).map(|_| rng.normal()).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / draws.len() as f64;
        assert!(
            mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03,
            "{mean} {variance}"
        );
    }

    #[test]
    fn samples_are_distinct_and_shuffles_keep_everything() {
        let mut rng = Rng::new(4);
        for (n, k) in [(5, 5), (100, 3), (3, 9), (0, 2)] {
            let mut sample = rng.sample(n, k);
            sample.sort_unstable();
            sample.dedup();
            assert_eq!(sample.len(), k.min(n));
        }
        let mut all: Vec<u32> = (0..50).collect();
        rng.shuffle(&mut all);
        assert_ne!(all, (0..50).collect::<Vec<_>>());
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    }
}
