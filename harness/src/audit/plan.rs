//! What a probe is expected to bring, from the predictions alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::audit::choices::likelihood;
use crate::audit::evidence::Seen;
use crate::audit::observe::{Told, Weighed};
use crate::audit::request::{CONTRADICTION, UNKNOWN, UNTOLD, of_one, other_spelling};
use crate::audit::table::Table;

/// The honest engine that may serve: how far from the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Noise {
    /// As far as ours are.
    Usual,
    /// Further by as much as an honest one may be.
    Largest,
}

/// Probe, truth, the other one.
type Key = (usize, usize, usize, Noise);

/// Expectations of a table for one kind of service; each is computed once.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The predictions.
    pub table: &'a Table,
    /// What evidence is made of.
    pub weighed: Weighed,
    /// Divergence of each hypothesis from sound in the answers to all probes, nats a token; none where numbers are told, which measure it.
    pub divergences: Vec<f64>,
    /// Places of the numbers that the service tells of each probe.
    told: Vec<Vec<usize>>,
    /// Tokens of each probe's prompt and answer.
    costs: Vec<usize>,
    known: Mutex<HashMap<Key, Arc<[f64]>>>,
}

impl<'a> Plan<'a> {
    /// For a service that tells so much.
    pub fn new(table: &'a Table, told: Told) -> Self {
        Self {
            table,
            weighed: told.weighed(),
            divergences: match told.weighed() {
                Weighed::Numbers => Vec::new(),
                Weighed::Choices | Weighed::Samples => divergences(table),
            },
            told: table.probes.iter().map(|p| told.places(p)).collect(),
            costs: table
                .probes
                .iter()
                .map(|p| p.ids.len() + told.answer(p))
                .collect(),
            known: Mutex::default(),
        }
    }

    /// Tokens that a probe costs.
    pub fn cost(&self, probe: usize) -> usize {
        self.costs[probe]
    }

    /// Log of the evidence for `g` against `h` that a probe brings when g is true: the mean over honest engines.
    pub fn expected(&self, probe: usize, g: usize, h: usize) -> f64 {
        let logs = self.by_engine(probe, g, h, Noise::Usual);
        logs.iter().sum::<f64>() / logs.len().max(1) as f64
    }

    /// The same by honest engine; where text alone is weighed there is one.
    pub fn by_engine(&self, probe: usize, g: usize, h: usize, noise: Noise) -> Arc<[f64]> {
        let key = (probe, g, h, noise);
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(logs) = known().get(&key) {
            return Arc::clone(logs);
        }
        let logs: Arc<[f64]> = match self.weighed {
            _ if g == h => vec![0.0; self.engines()].into(),
            Weighed::Numbers => self.of_numbers(key).into(),
            Weighed::Choices => [self.of_choices(probe, g, h)].into(),
            Weighed::Samples => [self.of_samples(probe, g, h)].into(),
        };
        known().insert(key, Arc::clone(&logs));
        logs
    }

    /// Honest engines that are told apart.
    pub fn engines(&self) -> usize {
        match self.weighed {
            Weighed::Numbers => self.table.honest.len(),
            Weighed::Choices | Weighed::Samples => 1,
        }
    }

    /// Of an answer that g draws.
    fn of_samples(&self, probe: usize, g: usize, h: usize) -> f64 {
        // Another program rounds to other numbers.
        match g == 0 && self.table.hypotheses[h].rounds() {
            true => 0.0,
            false => {
                let like = like(self.table, probe);
                let all = like.iter().map(|p| of_one(apart(self.table, *p, g, h)));
                all.sum::<f64>() / like.len().max(1) as f64
            }
        }
    }

    fn of_numbers(&self, (probe, g, h, noise): Key) -> Vec<f64> {
        // What another program rounds otherwise may hide in an honest engine's noise, which in service is about twice ours.
        let (scale, hidden) = match noise {
            Noise::Usual => (1.0, 2.0),
            Noise::Largest => (UNKNOWN, 1.0),
        };
        let table = self.table;
        let sound = &table.predicted[0][probe];
        let truth = &table.predicted[g][probe];
        let tolerance = [h, g].map(|i| table.hypotheses[i].tolerance());
        let hides = g == 0 && table.hypotheses[h].rounds();
        let of_engine = |engine: &Vec<Vec<f32>>| {
            let noise = |i: usize| scale * f64::from(engine[probe][i] - sound[i]);
            let values: Vec<(usize, f64)> = self.told[probe]
                .iter()
                .map(|&i| (i, f64::from(truth[i]) + noise(i)))
                .collect();
            let seen = Seen::of(table, probe, &values, &[0, h, g]);
            if seen.silent(1) > UNTOLD && seen.silent(2) <= UNTOLD {
                return CONTRADICTION;
            }
            if hides && other_spelling(hidden * seen.distance(0), seen.effect(1)) {
                return 0.0;
            }
            let slope = seen.slope(1, 2);
            slope.map_or(0.0, |s| s.evidence(tolerance[1], tolerance[0]))
        };
        table.honest.par_iter().map(of_engine).collect()
    }

    /// Of the choices that g would make.
    fn of_choices(&self, probe: usize, g: usize, h: usize) -> f64 {
        let p = &self.table.probes[probe];
        let mut choices = Vec::new();
        for (j, tail) in p.tail.iter().enumerate() {
            let start = p.tail_start(j);
            let row = &self.table.predicted[g][probe][start..start + tail.len()];
            let best = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
            choices.push(best);
            if best.map(|k| tail[k]) != Some(p.path[j]) {
                break;
            }
        }
        likelihood(self.table, probe, &choices).ratio(g, h)
    }
}

/// Divergence of each hypothesis from sound in the answers to all probes, nats a token; infinite where there is no answer to know it from.
fn divergences(table: &Table) -> Vec<f64> {
    let places: usize = table.probes.iter().map(|p| p.tail.len()).sum();
    let of = |h| {
        let probes = 0..table.probes.len();
        probes.map(|p| apart(table, p, 0, h)).sum::<f64>()
    };
    let all = (0..table.hypotheses.len()).into_par_iter();
    all.map(|h| match places {
        0 => f64::INFINITY,
        n => of(h) / n as f64,
    })
    .collect()
}

/// KL divergence of `h` from `g` in an answer, nats: of the tokens that are looked at, and all others as one.
fn apart(table: &Table, probe: usize, g: usize, h: usize) -> f64 {
    let p = &table.probes[probe];
    let place = |(j, tail): (usize, &Vec<u32>)| {
        let there = p.tail_start(j)..p.tail_start(j) + tail.len();
        let [own, other] = [g, h].map(|i| with_rest(&table.predicted[i][probe][there.clone()]));
        let pairs = own.iter().zip(&other);
        let sum: f64 = pairs.map(|(a, b)| a * (a / b).ln()).sum();
        sum.max(0.0)
    };
    p.tail.iter().enumerate().map(place).sum()
}

/// The probe, or where it is not evaluated those of its kind and about its length that are.
fn like(table: &Table, probe: usize) -> Vec<usize> {
    let known = |p: &usize| !table.probes[*p].path.is_empty();
    if known(&probe) {
        return vec![probe];
    }
    let kind = |p: usize| table.probes[p].name.split('-').next();
    let length = |p: usize| table.probes[p].ids.len();
    let near = |p: &usize| 4 * length(*p) > 3 * length(probe) && 3 * length(*p) < 4 * length(probe);
    let all: Vec<usize> = (0..table.probes.len()).filter(known).collect();
    let same = all.iter().copied().filter(near);
    let same: Vec<usize> = same.filter(|p| kind(*p) == kind(probe)).collect();
    if same.is_empty() { all } else { same }
}

/// Probabilities of a place's tokens, and of all others together.
fn with_rest(logs: &[f32]) -> Vec<f64> {
    let least = |p: f64| p.max(1e-9);
    let mut all: Vec<f64> = logs.iter().map(|l| least(f64::from(*l).exp())).collect();
    all.push(least(1.0 - all.iter().sum::<f64>()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::hypothesis::Hypothesis;
    use crate::audit::probe::Probe;
    use crate::audit::table::Shape;
    use crate::rng::Rng;

    /// One probe of 400 numbers, a fault that moves them by `effect`, one honest engine that moves them by `noise`.
    fn table(effect: f64, noise: f64) -> Table {
        let mut rng = Rng::new(1);
        let sound: Vec<f32> = (0..400).map(|_| -2.0 * rng.uniform() as f32).collect();
        let mut moved = |by: f64| -> Vec<f32> {
            let all = sound.iter();
            all.map(|x| x + (by * rng.normal()) as f32).collect()
        };
        let (faulty, honest) = (moved(effect), moved(noise));
        let fault = Hypothesis {
            name: "window-plus-one".to_owned(),
            ..Hypothesis::sound()
        };
        Table {
            shape: Shape::Raw,
            scored: true,
            counts: Vec::new(),
            hypotheses: vec![Hypothesis::sound(), fault],
            probes: vec![Probe {
                ids: (0..401).collect(),
                body: 0..401,
                ..Probe::default()
            }],
            predicted: vec![vec![sound], vec![faulty]],
            honest: vec![vec![honest]],
            noise: vec![1.0; 2],
        }
    }

    #[test]
    fn a_fault_as_small_as_noise_is_told_less_well_where_an_engine_is_further_away() {
        let gain = |effect, noise| {
            let table = table(effect, 1e-3);
            let plan = Plan::new(&table, Told::Prompt);
            plan.by_engine(0, 0, 1, noise)[0]
        };
        let (small, large) = (3e-4, 1e-1);
        assert!(gain(small, Noise::Usual) > gain(small, Noise::Largest) + 0.5);
        assert!(gain(large, Noise::Largest) > 5.0);
    }
}
