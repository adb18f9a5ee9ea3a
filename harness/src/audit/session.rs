//! The sequence of an audit: which probe is next, and when it is enough.

use std::sync::Arc;

use crate::audit::choices::likelihood;
use crate::audit::observe::Observation;
use crate::audit::plan::{Noise, Plan};
use crate::audit::process::Process;
use crate::audit::request::Evidence;
use crate::audit::state::State;
use crate::audit::table::Table;
use crate::audit::verdict::{Kind, Terms, Verdict};

/// What may be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Budget {
    /// Requests with probes.
    pub requests: usize,
    /// Tokens of prompts and answers.
    pub tokens: usize,
    /// Minutes of asking, where they are limited.
    pub minutes: Option<u32>,
}

/// How much more evidence than needed a plan must expect.
const SAFE: f64 = 1.5;

/// An audit under way.
#[derive(Debug)]
pub struct Session<'a> {
    /// The predictions.
    pub table: &'a Table,
    /// The evidence so far.
    pub process: Process,
    plan: &'a Plan<'a>,
    terms: Terms,
    budget: Budget,
    /// Probes that may be put.
    probes: Vec<usize>,
    /// Tokens spent.
    pub tokens: usize,
    /// The probes that were put, in order.
    pub put: Vec<usize>,
    /// What was told of each.
    pub observed: Vec<(usize, Observation)>,
    /// Of each hypothesis, whether the budget is expected to tell it from sound on an engine like ours: as long as it may, it is tried.
    pub hopeful: Vec<bool>,
    /// .. and on any that is honest.
    pub decidable: Vec<bool>,
    /// Requests and tokens that would, where it is not.
    pub needed: Vec<Option<(usize, usize)>>,
}

impl<'a> Session<'a> {
    /// Before the first request, with the probes that may be put.
    pub fn new(plan: &'a Plan<'a>, terms: Terms, budget: Budget, probes: Vec<usize>) -> Self {
        let mut session = Self {
            table: plan.table,
            process: Process::new(plan.table.hypotheses.len()),
            plan,
            terms,
            budget,
            probes,
            tokens: 0,
            put: Vec::new(),
            observed: Vec::new(),
            hopeful: Vec::new(),
            decidable: Vec::new(),
            needed: Vec::new(),
        };
        for f in 0..session.table.hypotheses.len() {
            let [usual, largest] = [Noise::Usual, Noise::Largest].map(|n| session.outlook(f, n));
            session.hopeful.push(usual.0);
            session.decidable.push(usual.0 && largest.0);
            session.needed.push(largest.1);
        }
        session
    }

    /// Log of the evidence that rejects: a bet on one of many has to win its stake back first.
    fn goal(&self) -> f64 {
        -self.terms.alpha.ln() + (self.table.hypotheses.len() as f64).ln()
    }

    /// Whether the budget is expected to exclude `f` where sound is true and served by one of the engines, whichever it is; and what
    /// would.
    fn outlook(&self, f: usize, noise: Noise) -> (bool, Option<(usize, usize)>) {
        if f == 0 || self.probes.is_empty() {
            return (false, None);
        }
        let goal = SAFE * self.goal();
        let of = |p: &usize| {
            let logs = self.plan.by_engine(*p, 0, f, noise);
            (self.plan.expected(*p, 0, f), logs, self.plan.cost(*p))
        };
        let mut each: Vec<_> = self.probes.iter().map(of).collect();
        each.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut tokens = 0;
        let mut best = Vec::new();
        for probe in each.iter().take(self.budget.requests) {
            if tokens + probe.2 <= self.budget.tokens {
                tokens += probe.2;
                best.push(probe);
            }
        }
        // What the least favourable engine is expected to bring.
        let least = |probes: &[&(f64, Arc<[f64]>, usize)]| {
            let of = |engine: usize| probes.iter().map(|p| p.1[engine].max(0.0)).sum::<f64>();
            let engines = (0..self.plan.engines()).map(of);
            engines.fold(f64::INFINITY, f64::min)
        };
        if least(&best) >= goal {
            return (true, None);
        }
        let all: Vec<_> = each.iter().collect();
        let more = (goal * all.len() as f64 / least(&all)).ceil();
        let cost = all.iter().map(|p| p.2).sum::<usize>() / all.len();
        let needed = more < 1e6;
        (false, needed.then(|| (more as usize, more as usize * cost)))
    }

    /// The probe that brings most evidence for its tokens, of those that were not put and that the budget has room for:
    /// between the most likely hypothesis and the others that are left.
    pub fn next(&self) -> Option<usize> {
        if self.put.len() >= self.budget.requests {
            return None;
        }
        let left = self.process.survivors(self.terms.alpha);
        let likely = |a: &usize, b: &usize| {
            let of = |h: usize| self.process.ratio(h, 0);
            of(*a).total_cmp(&of(*b)).then(b.cmp(a))
        };
        let lead = left.iter().copied().max_by(likely).unwrap_or(0);
        let goal = self.goal();
        let gain = |probe: usize| {
            let others = left.iter().filter(|h| **h != lead);
            let open = others.filter(|h| self.hopeful[**h] || lead != 0);
            let gains = open.map(|h| {
                let missing = (goal - self.process.ratio(lead, *h)).max(0.0);
                self.plan.expected(probe, lead, *h).clamp(0.0, missing)
            });
            (gains.sum::<f64>() + 1e-6) / self.plan.cost(probe) as f64
        };
        let fits = |p: &usize| self.tokens + self.plan.cost(*p) <= self.budget.tokens;
        let free = self.probes.iter().copied();
        let free = free.filter(|p| !self.put.contains(p) && fits(p));
        let best = free.map(|p| (p, gain(p)));
        let best = best.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        best.map(|(p, _)| p)
    }

    /// Takes what a service said of a probe.
    pub fn take(&mut self, probe: usize, observation: Observation) {
        let evidence = weigh(self.table, probe, &observation);
        self.weighed(probe, observation, evidence);
    }

    /// Takes what a service said of a probe, with the evidence that it is.
    pub fn weighed(&mut self, probe: usize, observation: Observation, evidence: Option<Evidence>) {
        let usage = observation.usage;
        let billed = usage.map_or(0, |u| (u.prompt_tokens + u.completion_tokens) as usize);
        self.observed.push((probe, observation));
        self.spend(probe, billed, evidence);
    }

    /// Counts a probe that was put, with the evidence that it brought; a request that failed is spent as well.
    pub fn spend(&mut self, probe: usize, billed: usize, evidence: Option<Evidence>) {
        self.tokens += billed.max(self.plan.cost(probe));
        self.put.push(probe);
        if let Some(evidence) = evidence {
            self.process.take(evidence);
        }
    }

    /// The probe that comes furthest into the context, of those that the budget has or had room for, if it was not put: some faults
    /// are at the end only.
    fn furthest(&self) -> Option<usize> {
        let room = |p: &usize| self.tokens + self.plan.cost(*p) <= self.budget.tokens;
        let had = self.probes.iter().copied();
        let had = had.filter(|p| self.put.contains(p) || room(p));
        let furthest = had.max_by_key(|p| self.plan.cost(*p));
        furthest.filter(|p| !self.put.contains(p))
    }

    /// What was told of the longest probe.
    pub fn longest(&self) -> Option<(usize, &Observation)> {
        let tokens = |o: &&(usize, Observation)| self.table.probes[o.0].ids.len();
        let longest = self.observed.iter().max_by_key(tokens);
        longest.map(|(probe, observation)| (*probe, observation))
    }

    /// What is to be done now.
    pub fn step(&self) -> Step {
        let next = self.next();
        match (self.state(next.is_none()).verdict(), next) {
            (Some(verdict), Some(_)) if verdict.verdict == Kind::Same => match self.furthest() {
                Some(probe) => Step::Put(probe),
                None => Step::Done(Box::new(verdict)),
            },
            (Some(verdict), _) => Step::Done(Box::new(verdict)),
            (None, Some(probe)) => Step::Put(probe),
            (None, None) => Step::Done(Box::new(self.undecided())),
        }
    }

    /// The verdict where no more can be asked.
    pub fn ended(&self) -> Verdict {
        let verdict = self.state(true).verdict();
        verdict.unwrap_or_else(|| self.undecided())
    }

    /// The verdict where there is no more to be asked, and nothing was decided.
    pub fn undecided(&self) -> Verdict {
        self.state(true).undecided()
    }

    fn state(&self, spent: bool) -> State<'_> {
        State {
            hypotheses: &self.table.hypotheses,
            process: &self.process,
            terms: self.terms,
            hopeful: &self.hopeful,
            decidable: &self.decidable,
            weighed: self.plan.weighed,
            divergences: &self.plan.divergences,
            spent,
        }
    }
}

/// What an audit does next.
#[derive(Debug)]
pub enum Step {
    /// Puts this probe.
    Put(usize),
    /// Ends.
    Done(Box<Verdict>),
}

/// The evidence of what a service said of a probe; none where it said nothing that can be weighed.
pub fn weigh(table: &Table, probe: usize, observation: &Observation) -> Option<Evidence> {
    if !observation.values.is_empty() {
        let (values, missing) = (&observation.values, observation.missing);
        Some(Evidence::of_numbers(table, probe, values, missing))
    } else if !observation.choices.is_empty() {
        let likelihood = likelihood(table, probe, &observation.choices);
        Some(Evidence::of_choices(&likelihood))
    } else {
        None
    }
}
