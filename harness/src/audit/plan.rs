//! What a probe is expected to bring, from the predictions alone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::audit::evidence::Seen;
use crate::audit::observe::likelihood;
use crate::audit::process::{CONTRADICTION, UNTOLD, other_spelling};
use crate::audit::table::Table;

/// Expectations of a table for one kind of service; each is computed once.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The predictions.
    pub table: &'a Table,
    /// Places of the numbers that the service tells of each probe.
    told: Vec<Vec<usize>>,
    known: Mutex<HashMap<(usize, usize, usize), f64>>,
}

impl<'a> Plan<'a> {
    /// For a service that tells the numbers at `told` of each probe; nothing, where it tells none.
    pub fn new(table: &'a Table, told: impl Fn(usize) -> Vec<usize>) -> Self {
        Self {
            table,
            told: (0..table.probes.len()).map(told).collect(),
            known: Mutex::default(),
        }
    }

    /// Whether the service tells numbers.
    pub fn numbers(&self) -> bool {
        self.told.iter().any(|t| !t.is_empty())
    }

    /// Log of the evidence for `g` against `h` that a probe brings when g is true: the mean over honest noises.
    pub fn expected(&self, probe: usize, g: usize, h: usize) -> f64 {
        if g == h {
            return 0.0;
        }
        let key = (probe, g, h);
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = known().get(&key) {
            return *log;
        }
        let log = match self.numbers() {
            true => self.of_numbers(probe, g, h),
            false => self.of_choices(probe, g, h),
        };
        known().insert(key, log);
        log
    }

    fn of_numbers(&self, probe: usize, g: usize, h: usize) -> f64 {
        let table = self.table;
        let sound = &table.predicted[0][probe];
        let truth = &table.predicted[g][probe];
        let tolerance = [h, g].map(|i| table.hypotheses[i].tolerance());
        // What another program rounds otherwise may hide in the noise of the noisiest honest engine, which in service is
        // about twice as far as ours.
        let hides = g == 0 && table.hypotheses[h].rounds();
        let logs: Vec<(f64, bool)> = table
            .honest
            .par_iter()
            .map(|engine| {
                let x = |i: &usize| f64::from(truth[*i] + engine[probe][*i] - sound[*i]);
                let values: Vec<(usize, f64)> =
                    self.told[probe].iter().map(|i| (*i, x(i))).collect();
                let seen = Seen::of(table, probe, &values, &[0, h, g]);
                let slope = seen.slope(1, 2);
                if seen.silent(1) > UNTOLD && seen.silent(2) <= UNTOLD {
                    return (CONTRADICTION, false);
                }
                let log = slope.map_or(0.0, |s| s.evidence(tolerance[1], tolerance[0]));
                (log, other_spelling(2.0 * seen.distance(0), seen.effect(1)))
            })
            .collect();
        if hides && logs.iter().any(|l| l.1) {
            return 0.0;
        }
        logs.iter().map(|l| l.0).sum::<f64>() / logs.len().max(1) as f64
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
        let logs = likelihood(self.table, probe, &choices).logs;
        logs[g] - logs[h]
    }
}
