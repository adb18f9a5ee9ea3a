//! The sequence of an audit: which probe is next, and when it is enough.

use rayon::prelude::*;

use crate::audit::observe::{Observation, likelihood, seen};
use crate::audit::process::{Evidence, Process};
use crate::audit::table::Table;
use crate::audit::verdict::{State, Terms, Verdict};

/// What may be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Budget {
    /// Requests with probes.
    pub requests: usize,
    /// Tokens of prompts and answers.
    pub tokens: usize,
}

/// An audit under way.
#[derive(Debug)]
pub struct Session<'a> {
    /// The predictions.
    pub table: &'a Table,
    /// The evidence so far.
    pub process: Process,
    terms: Terms,
    budget: Budget,
    numbers: bool,
    /// Tokens spent.
    pub tokens: usize,
    /// The probes that were put, in order.
    pub put: Vec<usize>,
    /// What was told of each, where numbers were.
    pub observed: Vec<(usize, Vec<(usize, f64)>)>,
    decidable: Vec<bool>,
    /// Requests and tokens that would tell a hypothesis from sound, where the budget is not enough.
    pub needed: Vec<Option<(usize, usize)>>,
    tolerance: Vec<f64>,
    /// Numbers that the service tells of each probe.
    told: Vec<Vec<usize>>,
}

impl<'a> Session<'a> {
    /// Before the first request. `told` gives, of a probe, the places of the numbers that the service will tell; of a
    /// service that tells none, nothing.
    pub fn new(
        table: &'a Table,
        terms: Terms,
        budget: Budget,
        told: impl Fn(usize) -> Vec<usize>,
    ) -> Self {
        let told: Vec<Vec<usize>> = (0..table.probes.len()).map(told).collect();
        let mut session = Self {
            process: Process::new(&table.hypotheses),
            terms,
            budget,
            numbers: told.iter().any(|t| !t.is_empty()),
            tokens: 0,
            put: Vec::new(),
            observed: Vec::new(),
            decidable: Vec::new(),
            needed: Vec::new(),
            tolerance: table.hypotheses.iter().map(|h| h.tolerance).collect(),
            told,
            table,
        };
        session.plan();
        session
    }

    /// Which hypotheses the budget is expected to tell from sound, by what the predictions say.
    fn plan(&mut self) {
        // A bet on one of many has to win its stake back first.
        let goal = -self.terms.alpha.ln() + (self.tolerance.len() as f64).ln();
        for f in 0..self.tolerance.len() {
            let mut each: Vec<(f64, usize)> = (0..self.table.probes.len())
                .map(|p| (self.expected(p, f, 0), self.cost(p)))
                .collect();
            each.sort_by(|a, b| b.0.total_cmp(&a.0));
            let (mut sum, mut tokens) = (0.0, 0);
            for (log, cost) in each.iter().take(self.budget.requests) {
                if tokens + cost <= self.budget.tokens {
                    sum += log.max(0.0);
                    tokens += cost;
                }
            }
            let enough = f > 0 && sum >= SAFE * goal;
            self.decidable.push(enough);
            let mean = each.iter().map(|e| e.0.max(0.0)).sum::<f64>() / each.len().max(1) as f64;
            let cost = each.iter().map(|e| e.1).sum::<usize>() / each.len().max(1);
            let more = (SAFE * goal / mean).ceil();
            let more = (!enough && f > 0 && more < 1e6).then_some(more as usize);
            self.needed.push(more.map(|n| (n, n * cost)));
        }
    }

    /// Evidence for `g` against `h` that a probe is expected to bring when g is true: the mean over honest noises.
    fn expected(&self, probe: usize, g: usize, h: usize) -> f64 {
        let table = self.table;
        let truth = &table.predicted[g][probe];
        if g == h {
            return 0.0;
        }
        if !self.numbers {
            // The choices that g would make.
            let p = &table.probes[probe];
            let mut choices = Vec::new();
            for (j, tail) in p.tail.iter().enumerate() {
                let start = p.tail_start(j);
                let row = &truth[start..start + tail.len()];
                let best = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
                choices.push(best);
                if best.map(|k| tail[k]) != Some(p.path[j]) {
                    break;
                }
            }
            let logs = likelihood(table, probe, &choices);
            return logs[g] - logs[h];
        }
        let sound = &table.predicted[0][probe];
        let logs = table.honest.par_iter().map(|engine| {
            let x = |i: &usize| f64::from(truth[*i] + engine[probe][*i] - sound[*i]);
            let values: Vec<(usize, f64)> = self.told[probe].iter().map(|i| (*i, x(i))).collect();
            let three = table.only(&[0, h, g], probe);
            let slope = seen(&three, 0, &values).slope(1, 2);
            slope.map_or(0.0, |s| s.evidence(self.tolerance[g], self.tolerance[h]))
        });
        logs.sum::<f64>() / table.honest.len().max(1) as f64
    }

    /// Tokens that a probe costs.
    fn cost(&self, probe: usize) -> usize {
        let probe = &self.table.probes[probe];
        probe.ids.len() + probe.path.len()
    }

    /// The probe that brings most evidence for its tokens, of those that were not put and that the budget has room for:
    /// between the most likely hypothesis and the others that are left.
    pub fn next(&self) -> Option<usize> {
        if self.put.len() >= self.budget.requests {
            return None;
        }
        let left = self.process.survivors(self.terms.alpha);
        let lead = left.iter().copied().max_by(|a, b| {
            let of = |h: usize| self.process.ratio(h, 0);
            of(*a).total_cmp(&of(*b)).then(b.cmp(a))
        });
        let lead = lead.unwrap_or(0);
        let goal = -self.terms.alpha.ln() + (self.tolerance.len() as f64).ln();
        let gain = |probe: usize| {
            let others = left
                .iter()
                .filter(|h| **h != lead && (self.decidable[**h] || lead != 0));
            let gains = others.map(|h| {
                let missing = (goal - self.process.ratio(lead, *h)).max(0.0);
                self.expected(probe, lead, *h).clamp(0.0, missing)
            });
            (gains.sum::<f64>() + 1e-6) / self.cost(probe) as f64
        };
        let free = (0..self.table.probes.len())
            .filter(|p| !self.put.contains(p) && self.tokens + self.cost(*p) <= self.budget.tokens);
        let best = free
            .map(|p| (p, gain(p)))
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        best.map(|(p, _)| p)
    }

    /// Takes what a service said of a probe.
    pub fn take(&mut self, probe: usize, observation: &Observation) {
        let billed = observation
            .usage
            .map(|u| (u.prompt_tokens + u.completion_tokens) as usize);
        self.tokens += billed.unwrap_or(0).max(self.cost(probe));
        self.put.push(probe);
        self.observed.push((probe, observation.values.clone()));
        let evidence = if !observation.values.is_empty() {
            Evidence::of_numbers(
                &seen(self.table, probe, &observation.values),
                &self.tolerance,
            )
        } else if !observation.choices.is_empty() {
            Evidence::of_choices(&likelihood(self.table, probe, &observation.choices))
        } else {
            return;
        };
        self.process.take(evidence);
    }

    /// A request that failed is spent as well.
    pub fn failed(&mut self, probe: usize) {
        self.tokens += self.cost(probe);
        self.put.push(probe);
    }

    /// The verdict, or none as long as the budget may bring one.
    pub fn verdict(&self) -> Option<Verdict> {
        let state = State {
            hypotheses: &self.table.hypotheses,
            process: &self.process,
            terms: self.terms,
            decidable: &self.decidable,
            numbers: self.numbers,
            spent: self.next().is_none(),
        };
        state.verdict()
    }
}

/// How much more evidence than needed a plan must expect.
const SAFE: f64 = 1.5;
