//! What one request says of every hypothesis: numbers or the text of an answer, beside what was predicted.

use rayon::prelude::*;

use crate::audit::choices::Likelihood;
use crate::audit::evidence::Seen;
use crate::audit::hypothesis::Hypothesis;
use crate::audit::line::tail;
use crate::audit::table::Table;

/// Honest engines that nobody measured may be further away than those that were by this factor: a model that is bf16 throughout is
/// twice as far as ours with bf16 where it has been measured (`tests/audit/speak.py`).
pub const UNKNOWN: f64 = 3.0;
/// What another program rounds is as far from our rounding of it as both effects together, and may have half as much effect again.
const SPELLED: f64 = 3.0;
/// Scale of the logarithm of an honest distance: one engine's, from text to text, is 0.1 for prompts and 0.25 for answers.
pub(super) const SPREAD: f64 = 0.25;

/// A single number that an honest engine may have wrong by so much, nats, whatever was measured: a route to another expert, a token
/// at the edge of what is told.
const JUMP: f64 = 0.5;

/// What a fault leaves of the deviation from sound, at most, to explain it. Where it has led the model astray honest engines are far from each
/// other, and something else that is as far astray may be among them by its distance alone.
pub(super) const LEFT: f64 = 2.0 / 3.0;

/// The most that one sampled answer may say, nats.
const MOST: f64 = 4.0;

/// Share of an answer's tokens that an honest engine chooses otherwise, without a near tie.
const MISSES: f64 = 0.02;

/// Share of numbers that were told though a hypothesis leaves no room for them: that may be a fault of counting.
pub const UNTOLD: f64 = 0.02;
/// Log of the evidence against a hypothesis that leaves no room for what was told.
pub const CONTRADICTION: f64 = 10.0;

/// Log of the distance at which it is counted.
const CONTRADICTED: f64 = 4.0;

/// Whether a deviation of this distance from sound may be a rounding with this effect, spelled otherwise.
pub fn other_spelling(distance: f64, effect: f64) -> bool {
    distance >= 0.5 * effect
}

/// One request's evidence.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// `[g][h]`: log of the ratio of g to h.
    pub ratios: Vec<Vec<f64>>,
    /// Of each hypothesis: log of the distance from it in distances that are honest.
    pub far: Option<Vec<f64>>,
    /// Of sound and of roundings: log of the largest deviation of a single number in largest ones of honest engines; of other hypotheses
    /// nothing is said (minus infinity).
    pub jump: Vec<f64>,
    /// Of each hypothesis, where there is `far`: the share of the deviation from sound that it leaves; 0 where it leaves no more than an
    /// honest engine deviates from sound, and of one that rounds, as other programs round to other numbers.
    pub left: Vec<f64>,
    /// Of each hypothesis: log of the ratio of its direction to none; of one that rounds, both may be off by what other programs differ by.
    pub direction: Vec<f64>,
    /// Divergence from sound, nats a token.
    pub divergence: Option<f64>,
}

impl Evidence {
    /// Of what a service told of a probe; `missing` are the tokens that it did not read, if it says so: the first, and how many.
    pub fn of_numbers(
        table: &Table,
        probe: usize,
        values: &[(usize, f64)],
        missing: Option<(usize, usize)>,
    ) -> Self {
        let all: Vec<usize> = (0..table.hypotheses.len()).collect();
        let seen = Seen::of(table, probe, values, &all);
        let tolerance: Vec<f64> = table.hypotheses.iter().map(Hypothesis::tolerance).collect();
        let n = all.len();
        let mut ratios = vec![vec![0.0; n]; n];
        let pairs: Vec<(usize, usize)> = (0..n)
            .flat_map(|h| (h + 1..n).map(move |g| (h, g)))
            .collect();
        // What is told where a hypothesis leaves no room for it, or not where it does.
        let unread = |h: usize| {
            let Some((first, gap)) = missing else {
                return 0.0;
            };
            let row = &table.predicted[h][probe];
            let places = first.saturating_sub(1)..(first + gap).saturating_sub(1);
            let read = row.get(places).unwrap_or_default();
            read.iter().filter(|x| x.is_finite()).count() as f64 / gap.max(1) as f64
        };
        let silent: Vec<bool> = (0..n)
            .map(|h| seen.silent(h) > UNTOLD || unread(h) > UNTOLD)
            .collect();
        let log = |&(h, g): &(usize, usize)| match (silent[h], silent[g]) {
            (true, false) => CONTRADICTION,
            (false, true) => -CONTRADICTION,
            (true, true) => 0.0,
            (false, false) => {
                let slope = seen.slope(h, g);
                slope.map_or(0.0, |s| s.evidence(tolerance[g], tolerance[h]))
            }
        };
        let logs: Vec<f64> = pairs.par_iter().map(log).collect();
        for ((h, g), log) in pairs.into_iter().zip(logs) {
            ratios[g][h] = log;
            ratios[h][g] = -log;
        }
        let distances: Vec<f64> = (0..n).map(|h| seen.distance(h)).collect();
        let distance = distances[0];
        let effects: Vec<f64> = (0..n).map(|h| seen.effect(h)).collect();
        // Another program rounds the same numbers to other ones: that is a deviation of this size, in any direction.
        for g in (1..n).filter(|g| table.hypotheses[*g].rounds()) {
            if other_spelling(distance, effects[g]) {
                for h in (0..n).filter(|h| *h != g) {
                    ratios[h][g] = ratios[h][g].min(ratios[h][0]);
                }
            }
        }
        let honest = UNKNOWN * seen.honest_distance();
        let far = (0..n).map(|h| {
            let own = match table.hypotheses[h].rounds() {
                true => honest.max(SPELLED * effects[h]),
                // Where a fault has led the model astray, honest noise is another.
                false => honest * table.noise[h].max(1.0),
            };
            let far = (distances[h] / own).max(1e-9).ln();
            if silent[h] {
                far.max(CONTRADICTED)
            } else {
                far
            }
        });
        let honest_jump = UNKNOWN * seen.honest_jump().max(JUMP);
        let jump = (0..n).map(|h| {
            let own = match h {
                0 => honest_jump,
                _ if table.hypotheses[h].rounds() => {
                    honest_jump.max(SPELLED * seen.jump_of_effect(h))
                }
                _ => f64::INFINITY,
            };
            (seen.jump(h) / own).ln()
        });
        let left = |h: usize| match distances[h] {
            own if own <= honest => 0.0,
            own => own / distance.max(1e-9),
        };
        // A rounding's ratio to sound may be one of size alone; and its direction is part of many another's.
        let direction = (0..n).map(|g| match table.hypotheses[g].rounds() {
            true => {
                let slope = seen.slope(0, g);
                let log = slope.map_or(0.0, |s| s.evidence(tolerance[g], tolerance[g]));
                if left(g) <= LEFT { log } else { log.min(0.0) }
            }
            false => ratios[g][0],
        });
        let direction = direction.collect();
        let left = (0..n).map(|h| match table.hypotheses[h].rounds() {
            true => 0.0,
            false => left(h),
        });
        Self {
            far: Some(far.collect()),
            jump: jump.collect(),
            left: left.collect(),
            direction,
            divergence: Some(seen.divergence(0)),
            ratios,
        }
    }

    /// Of an answer's text, by its likelihood under each hypothesis. Too far is what misses more often than honest engines do.
    pub fn of_choices(likelihood: &Likelihood) -> Self {
        let all = || 0..likelihood.logs.len();
        let row = |g: usize| all().map(|h| likelihood.ratio(g, h)).collect();
        let left = |others: &usize| *others as f64 / likelihood.others[0].max(1) as f64;
        let far = likelihood.misses.iter().map(|misses| {
            let p = at_least(*misses, likelihood.places, MISSES);
            SPREAD * quantile(p)
        });
        Self {
            ratios: all().map(row).collect(),
            far: Some(far.collect()),
            jump: Vec::new(),
            left: likelihood.others.iter().map(left).collect(),
            direction: all().map(|g| likelihood.ratio(g, 0)).collect(),
            divergence: None,
        }
    }

    /// Of an answer that was sampled, by its log probability under each hypothesis. Too far is what has too many improbable
    /// tokens, of which an honest engine's answers have a share of `rate` at most.
    pub fn of_sample(
        hypotheses: &[Hypothesis],
        logs: &[f64],
        rare: &[usize],
        places: usize,
        rate: f64,
    ) -> Self {
        let row = |g: &f64| logs.iter().map(|h| of_one(g - h)).collect();
        let mut ratios: Vec<Vec<f64>> = logs.iter().map(row).collect();
        // Another program rounds to other numbers: an answer that is not ours may still be its.
        for g in (1..logs.len()).filter(|g| hypotheses[*g].rounds()) {
            for h in (0..logs.len()).filter(|h| *h != g) {
                ratios[h][g] = ratios[h][g].min(ratios[h][0]);
            }
        }
        let far = |rare: &usize| SPREAD * quantile(at_least(*rare, places, rate));
        Self {
            far: Some(rare.iter().map(far).collect()),
            jump: Vec::new(),
            left: vec![0.0; logs.len()],
            direction: logs.iter().map(|log| of_one(log - logs[0])).collect(),
            divergence: None,
            ratios,
        }
    }
}

/// What one sampled answer may say, of the log of a ratio of likelihoods: a route to another expert makes an honest engine's answer
/// go on as another model's would, a few in a hundred. Cut on both sides, and by so much less that it is an e-value still.
pub fn of_one(log: f64) -> f64 {
    log.clamp(-MOST, MOST) - (-MOST).exp().ln_1p()
}

/// Probability of `k` or more of `n` at a rate.
pub fn at_least(k: usize, n: usize, rate: f64) -> f64 {
    let mut term = (1.0 - rate).powi(n as i32);
    let mut below = 0.0;
    for i in 0..k.min(n + 1) {
        below += term;
        term *= (n - i) as f64 / (i + 1) as f64 * rate / (1.0 - rate);
    }
    (1.0 - below).clamp(1e-12, 1.0)
}

/// Where the tail of Student's distribution has this probability.
fn quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-1e3, 1e5);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if tail(middle) > p {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::process::Process;

    #[test]
    fn an_answer_that_misses_is_far_from_what_predicts_otherwise() {
        // scipy.stats.binom.sf(k - 1, 8, 0.02)
        for (k, p) in [(0, 1.0), (1, 0.149_236), (2, 0.010_338_7), (9, 1e-12)] {
            assert!((at_least(k, 8, 0.02) / p - 1.0).abs() < 1e-3, "{k}");
        }
        for p in [0.9, 0.5, 0.15, 0.01, 1e-6] {
            assert!((tail(quantile(p)) / p - 1.0).abs() < 1e-3, "{p}");
        }
        let seen = Evidence::of_choices(&Likelihood {
            logs: vec![-0.1, -30.0],
            most: vec![-0.1, -30.0],
            misses: vec![0, 4],
            others: vec![0, 4],
            places: 8,
        });
        let far = seen.far.unwrap_or_default();
        assert!(far[0] < 0.0 && far[1] > 1.0, "{far:?}");
        // A fault whose tokens come where sound's do not explains them; one that only may have them does not.
        let mut wide = Process::new(3);
        wide.take(Evidence::of_choices(&Likelihood {
            logs: vec![-30.0, -1.0, -3.0],
            most: vec![-30.0, -1.0, -3.0],
            misses: vec![3, 0, 0],
            others: vec![3, 0, 3],
            places: 8,
        }));
        assert!(wide.fits(1) && !wide.fits(2));
        // One answer that misses on all accounts, again and again, is something that nobody has thought of.
        let mut process = Process::new(2);
        for _ in 0..6 {
            process.take(Evidence::of_choices(&Likelihood {
                logs: vec![-20.0, -20.0],
                most: vec![-20.0, -20.0],
                misses: vec![2, 2],
                others: vec![2, 2],
                places: 8,
            }));
        }
        assert!(process.survivors(0.01).is_empty());
    }

    #[test]
    fn a_sampled_answer_says_so_much_and_nothing_for_sound_against_a_rounding() {
        let names = ["sound", "no-chunk", "weights=q4_0"];
        let hypotheses = names.map(|name| Hypothesis {
            name: name.to_owned(),
            ..Hypothesis::sound()
        });
        let of = |logs: &[f64]| Evidence::of_sample(&hypotheses, logs, &[0, 3, 0], 64, 0.01);
        let seen = of(&[-10.0, -90.0, -12.0]);
        assert!((3.9..4.0).contains(&seen.ratios[0][1]), "{:?}", seen.ratios);
        assert!((-4.1..-4.0).contains(&seen.ratios[1][0]));
        assert!(seen.ratios[0][2] < 0.0 && seen.direction[2] < -1.9);
        // It is found where it is likelier.
        assert!((1.9..2.0).contains(&of(&[-12.0, -90.0, -10.0]).ratios[2][0]));
        let far = seen.far.unwrap_or_default();
        assert!(far[0] < 0.0 && far[1] > 0.5, "{far:?}");
    }

    /// The mean of what is bet under what is true, where ratios are wide: at most 1.
    #[test]
    fn what_one_answer_says_is_an_e_value() {
        let mut rng = crate::rng::Rng::new(1);
        for size in [0.5, 2.0, 5.0] {
            // A ratio whose logarithm is normal has the mean 1 with this centre.
            let n = 100_000;
            let one = |_| of_one(size * rng.normal() - 0.5 * size * size).exp();
            let mean = (0..n).map(one).sum::<f64>() / f64::from(n);
            assert!(mean < 1.02, "{size}: {mean}");
        }
    }
}
