//! What the tokens of a greedy answer are under each hypothesis.

use crate::audit::table::Table;
use crate::backend::sample::log_sum_exp;

/// The temperature at which an honest engine's greedy choice is modelled: how far its logits may be off.
pub const GREEDY: f64 = 0.1;

/// Temperatures that an engine's choices may have, all of an answer the same: the closer it is to the reference, the lower.
const ENGINES: [f64; 3] = [0.01, 0.03, GREEDY];
/// Probability that an honest engine chooses as if it drew: text that has gone astray makes small deviations grow.
const LOOSE: f64 = 0.02;
/// A choice with less than this probability is a miss.
const UNLIKELY: f64 = 0.05;

/// What an answer's choices are under each hypothesis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Likelihood {
    /// Log probabilities of all of them: the mean over the engines that may have answered ..
    pub logs: Vec<f64>,
    /// .. and by the one that gives them the most.
    pub most: Vec<f64>,
    /// Choices that an honest engine would not make.
    pub misses: Vec<usize>,
    /// Choices that are not the most probable one.
    pub others: Vec<usize>,
    /// Choices.
    pub places: usize,
}

impl Likelihood {
    /// Log of the ratio of `g` to `h`, whichever engine answered under `h`. Were it one of the noisiest always, what is sure of its
    /// choices would win over `h` wherever two tokens are near each other, though they come as `h` says.
    pub fn ratio(&self, g: usize, h: usize) -> f64 {
        if g == h {
            0.0
        } else {
            self.logs[g] - self.most[h]
        }
    }
}

/// How likely an answer's choices are under each hypothesis. Where a fault leads the model astray, logits of honest engines are off by more,
/// as their log probabilities are.
pub fn likelihood(table: &Table, probe: usize, choices: &[Option<usize>]) -> Likelihood {
    let p = &table.probes[probe];
    let mut all = Likelihood {
        places: choices.len(),
        ..Likelihood::default()
    };
    for (row, noise) in table.predicted.iter().zip(&table.noise) {
        let (mut logs, mut misses, mut others) = ([0.0; ENGINES.len()], 0, 0);
        for (j, choice) in choices.iter().enumerate() {
            let start = p.tail_start(j);
            let tail = &row[probe][start..start + p.tail[j].len()];
            let best = tail.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let share = |temperature: f64| {
                let weight = |l: f32| (f64::from(l - best) / temperature).exp();
                let sum: f64 = tail.iter().map(|l| weight(*l)).sum();
                choice.map_or(0.0, |k| weight(tail[k]) / sum)
            };
            let rare = 0.5 * share(1.0) + 0.5 / (tail.len() + 1) as f64;
            let mut likeliest = 0.0;
            for (log, temperature) in logs.iter_mut().zip(ENGINES) {
                likeliest = share(temperature * noise.max(1.0));
                *log += ((1.0 - LOOSE) * likeliest + LOOSE * rare).ln();
            }
            // The last engine is the noisiest.
            misses += usize::from(likeliest < UNLIKELY);
            others += usize::from(choice.is_none_or(|k| tail[k] < best));
        }
        all.logs
            .push(log_sum_exp(&logs) - (ENGINES.len() as f64).ln());
        all.most
            .push(logs.into_iter().fold(f64::NEG_INFINITY, f64::max));
        all.misses.push(misses);
        all.others.push(others);
    }
    all
}
