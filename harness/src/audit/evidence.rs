//! One request's evidence between two hypotheses, and of one against all that is known.
//!
//! Tokens of a text are not independent observations: one route of an expert that flips moves many of them. So a request is
//! one observation. Of what was observed, d = x - mu(h) is the deviation from hypothesis h, and u = mu(g) - mu(h) what g
//! would add; the slope of d on u is 0 under h and 1 under g, with an error that is Student's with 3 degrees of freedom and
//! a scale taken from the request itself (the sandwich estimate over blocks of tokens) and from how honest engines'
//! deviations fall along u. The ratio of the two densities is the evidence. How: METHODOLOGY.md.

use crate::audit::line::{Line, NU, median, scale};
use crate::audit::table::Table;

/// Nats that numbers are told exactly to, at best: the scale of a deviation is never less.
const EXACT: f64 = 2e-5;

/// A request's numbers: what was observed, with all that was predicted of it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Observed log probabilities, nats; only numbers that the reference predicts.
    pub x: Vec<f64>,
    /// Predictions of every hypothesis for the same; NaN where it makes none.
    pub mu: Vec<Vec<f64>>,
    /// Deviations of honest engines from the reference.
    pub honest: Vec<Vec<f64>>,
    /// The block of each number, ascending.
    pub block: Vec<usize>,
    /// What each number weighs in a mean over tokens: 1 for a token of the prompt, its probability for one that an answer might
    /// have had.
    pub weight: Vec<f64>,
    /// Scale of honest deviations of each number.
    sigma: Vec<f64>,
}

/// What a request says about two hypotheses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slope {
    /// Slope of the deviation on the difference: 0 under the one, 1 under the other.
    pub slope: f64,
    /// Its scale.
    pub error: f64,
    /// Degrees of freedom.
    pub nu: f64,
}

impl Seen {
    /// A request's numbers beside what some hypotheses of a table, in this order, predict of them.
    pub fn of(table: &Table, probe: usize, values: &[(usize, f64)], hypotheses: &[usize]) -> Self {
        let sound = &table.predicted[0][probe];
        let known = |i: usize| sound.get(i).is_some_and(|p| p.is_finite());
        let there = values.iter().filter(|(i, x)| known(*i) && x.is_finite());
        let there: Vec<(usize, f64)> = there.copied().collect();
        let of =
            |row: &[f32]| -> Vec<f64> { there.iter().map(|(i, _)| f64::from(row[*i])).collect() };
        let less = |row: &[f32]| -> Vec<f64> {
            there
                .iter()
                .map(|(i, _)| f64::from(row[*i]) - f64::from(sound[*i]))
                .collect()
        };
        let blocks = table.probes[probe].blocks();
        let prompt = table.probes[probe].prompt_data();
        Self::new(
            there.iter().map(|(_, x)| *x).collect(),
            hypotheses
                .iter()
                .map(|h| of(&table.predicted[*h][probe]))
                .collect(),
            table.honest.iter().map(|row| less(&row[probe])).collect(),
            there.iter().map(|(i, _)| blocks[*i]).collect(),
        )
        .weighed(there.iter().map(|(i, _)| match *i < prompt {
            true => 1.0,
            false => f64::from(sound[*i]).exp(),
        }))
    }

    fn weighed(self, weight: impl Iterator<Item = f64>) -> Self {
        Self {
            weight: weight.collect(),
            ..self
        }
    }

    /// Of numbers that were observed.
    pub fn new(x: Vec<f64>, mu: Vec<Vec<f64>>, honest: Vec<Vec<f64>>, block: Vec<usize>) -> Self {
        let square = |i: usize| {
            let sum: f64 = honest
                .iter()
                .map(|e| e[i] * e[i])
                .filter(|e| e.is_finite())
                .sum();
            sum / honest.len().max(1) as f64
        };
        let squares: Vec<f64> = (0..x.len()).map(square).collect();
        let usual = median(squares.iter().copied()).unwrap_or(0.0);
        // A few engines say little of one token; of its neighbours they say some more.
        let mut near = Vec::with_capacity(squares.len());
        let mut rest = squares.as_slice();
        for same in block.chunk_by(|a, b| a == b) {
            let (own, after) = rest.split_at(same.len());
            let mean = own.iter().sum::<f64>() / own.len() as f64;
            near.extend(std::iter::repeat_n(mean, own.len()));
            rest = after;
        }
        let sigma = squares.iter().zip(&near);
        let sigma = sigma.map(|(own, near)| (own + near / 4.0 + usual + EXACT * EXACT).sqrt());
        Self {
            sigma: sigma.collect(),
            weight: vec![1.0; x.len()],
            x,
            mu,
            honest,
            block,
        }
    }

    /// The slope of what was observed between hypothesis `h` (0) and `g` (1); `None` where they predict the same.
    pub fn slope(&self, h: usize, g: usize) -> Option<Slope> {
        let (of_h, of_g) = (&self.mu[h], &self.mu[g]);
        let mut line = Line::default();
        for (i, sigma) in self.sigma.iter().enumerate() {
            let (d, u) = (self.x[i] - of_h[i], of_g[i] - of_h[i]);
            if d.is_finite() && u.is_finite() {
                line.push(i, d / sigma, u / sigma);
            }
        }
        let weight: f64 = line.u.iter().map(|u| u * u).sum();
        if weight <= 0.0 {
            return None;
        }
        let fits = [0.0, 1.0].map(|start| line.fit(start));
        let [a, b] = &fits;
        let fit = if b.cost < a.cost { b } else { a };
        // How honest deviations fall along u, as large as this request's own are.
        let mut along = 0.0;
        for deviation in &self.honest {
            let of_line = line.at.iter().map(|&i| deviation[i] / self.sigma[i]);
            let e: Vec<f64> = of_line
                .map(|e| if e.is_finite() { e } else { 0.0 })
                .collect();
            let own = scale(&e);
            let fall: f64 = e
                .iter()
                .zip(&line.u)
                .zip(&fit.weight)
                .map(|((e, u), w)| w * e * u)
                .sum();
            along += (fall / fit.bread * fit.scale / own.max(1e-12)).powi(2);
        }
        along /= self.honest.len().max(1) as f64;
        // Blocks that matter: with few, the sandwich says little.
        let mut sums: Vec<(f64, f64)> = Vec::new();
        let mut last = usize::MAX;
        for ((&i, (u, r)), w) in line
            .at
            .iter()
            .zip(line.u.iter().zip(&fit.rest))
            .zip(&fit.weight)
        {
            if self.block[i] != last {
                last = self.block[i];
                sums.push((0.0, 0.0));
            }
            if let Some(sum) = sums.last_mut() {
                sum.0 += w * u * r;
                sum.1 += w * u * u;
            }
        }
        let meat: f64 = sums.iter().map(|s| s.0 * s.0).sum();
        let squares: f64 = sums.iter().map(|s| s.1 * s.1).sum();
        let blocks = fit.bread * fit.bread / squares.max(1e-300);
        let sandwich = meat / (fit.bread * fit.bread) * blocks / (blocks - 1.0).max(0.25);
        // What was told is exact to so much.
        let exact = line.at.iter().zip(line.u.iter().zip(&fit.weight));
        let exact: f64 = exact
            .map(|(&i, (u, w))| (w * u * EXACT / self.sigma[i]).powi(2))
            .sum();
        let exact = exact / (fit.bread * fit.bread);
        Some(Slope {
            slope: fit.slope,
            error: (sandwich + along + exact).sqrt(),
            nu: (blocks - 1.0).clamp(1.0, NU),
        })
    }

    /// Share of what was told of which hypothesis `h` says that it could not be: tokens that are left out have no log
    /// probability.
    pub fn silent(&self, h: usize) -> f64 {
        let none = self.mu[h].iter().filter(|mu| mu.is_nan()).count();
        none as f64 / self.x.len().max(1) as f64
    }

    /// How far the observed is from hypothesis `h`: the mean size of deviations in scales of honest ones, those beyond 30
    /// counted as 30.
    pub fn distance(&self, h: usize) -> f64 {
        let rows = self.x.iter().zip(&self.mu[h]).zip(&self.sigma);
        mean_size(rows.map(|((x, mu), sigma)| (x - mu) / sigma))
    }

    /// The distance of the furthest honest engine.
    pub fn honest_distance(&self) -> f64 {
        let of_engines = self.honest.iter().map(|deviation| {
            let rows = deviation.iter().zip(&self.sigma);
            mean_size(rows.map(|(e, sigma)| e / sigma))
        });
        of_engines.fold(EXACT, f64::max)
    }

    /// The largest deviation of one number from hypothesis `h`, nats: of those that the one or the other has for probable.
    pub fn jump(&self, h: usize) -> f64 {
        largest(self.x.iter().zip(&self.mu[h]))
    }

    /// The same of the honest engine whose largest is greatest.
    pub fn honest_jump(&self) -> f64 {
        let of_engine = |deviations: &Vec<f64>| {
            let sound = self.mu[0].iter();
            let of: Vec<f64> = sound.zip(deviations).map(|(mu, e)| mu + e).collect();
            largest(of.iter().zip(&self.mu[0]))
        };
        self.honest.iter().map(of_engine).fold(0.0, f64::max)
    }

    /// The same of hypothesis `h` from sound.
    pub fn jump_of_effect(&self, h: usize) -> f64 {
        largest(self.mu[h].iter().zip(&self.mu[0]))
    }

    /// How far hypothesis `h` is from sound.
    pub fn effect(&self, h: usize) -> f64 {
        let rows = self.mu[h].iter().zip(&self.mu[0]).zip(&self.sigma);
        mean_size(rows.map(|((mu, sound), sigma)| (mu - sound) / sigma))
    }

    /// Half of the mean square of what was observed less what hypothesis `h` predicts: nats a token, and for small
    /// differences the KL divergence.
    pub fn divergence(&self, h: usize) -> f64 {
        let rows = self.x.iter().zip(&self.mu[h]).zip(&self.weight);
        let rows = rows.map(|((x, mu), w)| (w * (x - mu).powi(2), w));
        let known = rows.filter(|(square, _)| square.is_finite());
        let (sum, weight) = known.fold((0.0, 0.0), |(s, t), (square, w)| (s + square, t + w));
        0.5 * sum / weight.max(1e-12)
    }
}

impl Slope {
    /// Logarithm of the ratio of the densities under slope 1 and under slope 0; `one` and `zero` are what other programs'
    /// versions of the two may differ by.
    pub fn evidence(&self, one: f64, zero: f64) -> f64 {
        let density = |at: f64, tolerance: f64| {
            let scale = self.error.hypot(tolerance);
            let z = (self.slope - at) / scale;
            -scale.ln() - (self.nu + 1.0) / 2.0 * (z * z / self.nu).ln_1p()
        };
        density(1.0, one) - density(0.0, zero)
    }
}

/// Probability of a token from which on its number alone may speak: those of less are less exact.
const PROBABLE: f64 = 0.05;

/// Deviations beyond this many scales count as this many.
const FAR: f64 = 30.0;

/// The largest difference of two log probabilities of which one is of something probable.
fn largest<'a>(pairs: impl Iterator<Item = (&'a f64, &'a f64)>) -> f64 {
    let probable = pairs.filter(|(a, b)| a.max(**b) >= PROBABLE.ln());
    let sizes = probable.map(|(a, b)| (a - b).abs());
    sizes.filter(|v| v.is_finite()).fold(0.0, f64::max)
}

fn mean_size(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut n) = (0.0, 0.0_f64);
    for v in values.filter(|v| !v.is_nan()) {
        sum += v.abs().min(FAR);
        n += 1.0;
    }
    sum / n.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Two hypotheses that differ in every tenth number, honest noise that is heavy-tailed.
    fn seen(truth: usize, noise: f64, seed: u64) -> Seen {
        let mut rng = Rng::new(seed);
        let n = 400;
        let sound: Vec<f64> = (0..n).map(|_| -2.0 * rng.uniform() - 0.1).collect();
        let mut faulty = sound.clone();
        for i in (0..n).step_by(10) {
            faulty[i] += 0.05 * rng.normal();
        }
        let mut noisy = |scale: f64| -> Vec<f64> {
            let mut one = || {
                let far = if rng.chance(0.02) { 30.0 } else { 1.0 };
                scale * far * rng.normal()
            };
            (0..n).map(|_| one()).collect()
        };
        let honest = vec![noisy(1e-3), noisy(1e-3), noisy(5e-3)];
        let mu = vec![sound, faulty];
        let x = mu[truth]
            .iter()
            .zip(noisy(noise))
            .map(|(m, e)| m + e)
            .collect();
        Seen::new(x, mu, honest, (0..n).map(|i| i / 16).collect())
    }

    #[test]
    fn the_slope_is_0_under_the_one_and_1_under_the_other() {
        for seed in 0..20 {
            for truth in [0, 1] {
                let found = seen(truth, 2e-3, seed).slope(0, 1).unwrap_or_default();
                assert!(
                    (found.slope - truth as f64).abs() < 0.15,
                    "{seed} {truth}: {found:?}"
                );
                let evidence = found.evidence(0.02, 0.02);
                assert!(
                    if truth == 1 {
                        evidence > 2.0
                    } else {
                        evidence < -2.0
                    },
                    "{evidence}"
                );
                // The other way round it is the same, with its sign turned.
                let turned = seen(truth, 2e-3, seed).slope(1, 0).unwrap_or_default();
                assert!((turned.evidence(0.02, 0.02) + evidence).abs() < 0.05 * evidence.abs());
            }
        }
        assert_eq!(seen(0, 1e-3, 1).slope(0, 0), None);
    }

    /// E(ratio) under the hypothesis in the denominator is at most 1: the guarantee rests on this.
    #[test]
    fn evidence_is_an_e_value_under_noise_as_large_as_the_difference() {
        for noise in [1e-3, 1e-2, 5e-2, 0.3] {
            let n = 400;
            let ratio = |seed| {
                let slope = seen(0, noise, seed).slope(0, 1).unwrap_or_default();
                slope.evidence(0.02, 0.02).exp()
            };
            let mean = (0..n).map(ratio).sum::<f64>() / n as f64;
            assert!(mean < 1.1, "{noise}: {mean}");
        }
    }

    #[test]
    fn what_nobody_predicts_is_further_than_honest_noise() {
        let honest = seen(0, 1e-3, 3);
        assert!(honest.distance(0) <= 2.0 * honest.honest_distance());
        let far = seen(0, 0.3, 3);
        assert!(far.distance(0) > 5.0 * far.honest_distance());
        assert!(far.divergence(0) > 100.0 * honest.divergence(0));
    }

    #[test]
    fn a_jump_is_of_what_is_probable() {
        let mut seen = seen(0, 1e-3, 3);
        let (sound, jump) = (seen.mu[0].clone(), seen.jump(0));
        assert!(jump < 2.0 * seen.honest_jump(), "{jump}");
        let likely = (0..400).find(|&i| sound[i] > -0.5).unwrap_or(0);
        seen.x[likely] = -9.0;
        assert!((seen.jump(0) - (9.0 + sound[likely])).abs() < 1e-12);
        // Improbable before and after.
        seen.x[likely] = sound[likely];
        (seen.x[0], seen.mu[0][0]) = (-12.0, -5.0);
        assert!((seen.jump(0) - jump).abs() < 1e-12);
    }
}
