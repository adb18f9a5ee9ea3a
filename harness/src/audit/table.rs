//! What every hypothesis predicts of every probe, and how honest engines differ: all that an audit needs of a model.

use std::cell::Cell;

use fathom_engine::variant::Variant;
use fathom_engine::{Extend, Logits, Model, PromptTree, TreeOptions};
use serde::{Deserialize, Serialize};

use crate::audit::counts::Count;
use crate::audit::evidence::Seen;
use crate::audit::hypothesis::{Edit, HONEST, Honest, Hypothesis};
use crate::audit::observe::NUMBERED;
use crate::audit::probe::Probe;
use crate::backend::sample::{self, log_sum_exp};
use crate::stop::Stop;
use crate::{Error, Result};

/// Tokens that are looked at in each place of an answer.
pub(super) const TAIL: usize = 64;
/// Probes on which the noise under a hypothesis is measured.
const NOISE_PROBES: usize = 8;
/// .. behind those places whose log probabilities are asked for.
const LATE_TAIL: usize = 16;
/// Tokens of an answer, at most.
const PATH: usize = 48;

/// How probes are put to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// As text, or its tokens, that is continued.
    Raw,
    /// As a user's message.
    Chat,
}

/// Predictions, in nats; NaN where a hypothesis predicts nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Table {
    /// How probes are put.
    pub shape: Shape,
    /// Whether log probabilities of the prompts are predicted, and not those of the answers alone.
    pub scored: bool,
    /// Prompts whose tokens are counted.
    pub counts: Vec<Count>,
    /// The hypotheses, sound first.
    pub hypotheses: Vec<Hypothesis>,
    /// The probes.
    pub probes: Vec<Probe>,
    /// Of hypothesis h and probe p, `predicted[h][p]`, as long as [`Probe::data`]; empty where the probe is not evaluated.
    #[serde(skip)]
    pub predicted: Vec<Vec<Vec<f32>>>,
    /// The same of sound models in other numerics.
    #[serde(skip)]
    pub honest: Vec<Vec<Vec<f32>>>,
    /// Of each hypothesis, how much further than under sound an honest engine is from what it predicts, at most on a few probes:
    /// where a fault has led a model astray, small deviations grow, or do not.
    pub noise: Vec<f64>,
}

/// How the reference's own answers to probes come about.
#[derive(Clone, Copy, Debug)]
pub enum Answers<'a> {
    /// The most probable token each time, up to one of these.
    Likeliest {
        /// Tokens that end an answer.
        ends: &'a [u32],
    },
    /// They were drawn before; a probe without one is not evaluated.
    Drawn,
}

/// What a table is made of.
pub struct Making<'a> {
    /// The reference.
    pub model: &'a Model,
    /// Threads; 0: one a core.
    pub threads: usize,
    /// Ends the work.
    pub stop: &'a Stop,
    /// Told of each evaluation: how many are done, of how many.
    pub progress: &'a dyn Fn(usize, usize),
}

impl<'a> Making<'a> {
    /// Of a reference; nobody is told how far it is.
    pub fn new(model: &'a Model, threads: usize, stop: &'a Stop) -> Self {
        Self {
            model,
            threads,
            stop,
            progress: &|_, _| (),
        }
    }
}

impl Making<'_> {
    /// Evaluates everything.
    ///
    /// # Errors
    /// When a hypothesis contradicts the weights, or the work is stopped.
    pub fn table(
        &self,
        shape: Shape,
        scored: bool,
        catalogue: Vec<(Hypothesis, Edit)>,
        mut probes: Vec<Probe>,
        answers: Answers<'_>,
    ) -> Result<Table> {
        // Of what is drawn no numbers are weighed.
        let (honest, few) = match answers {
            Answers::Likeliest { .. } => (&HONEST[..], probes.len().min(NOISE_PROBES)),
            Answers::Drawn => (&[][..], 0),
        };
        let exact = catalogue.iter().filter(|(h, _)| !h.rounds()).count();
        let all = match answers {
            Answers::Likeliest { .. } => probes.len(),
            Answers::Drawn => probes.iter().filter(|p| !p.path.is_empty()).count(),
        };
        let total = all * (catalogue.len() + honest.len()) + few * exact;
        let done = Cell::new(0);
        let count = || {
            done.set(done.get() + 1);
            (self.progress)(done.get(), total);
            self.stop.check()
        };
        for probe in &mut probes {
            self.stop.check()?;
            if let Answers::Likeliest { ends } = answers {
                self.answer(probe, ends)?;
            }
        }
        let mut table = Table {
            shape,
            scored,
            counts: Vec::new(),
            hypotheses: Vec::new(),
            probes,
            predicted: Vec::new(),
            honest: Vec::new(),
            noise: Vec::new(),
        };
        // The noisiest of honest engines under every hypothesis, on a few probes.
        let noisy = Honest::noisiest();
        let mut astray = Vec::new();
        for (hypothesis, edit) in catalogue {
            let faulty = self.faulty(&edit)?;
            let model = faulty.as_ref().unwrap_or(self.model);
            let own = as_is;
            let row = self.row(&table, model, &edit, hypothesis.first, own, &count)?;
            table.predicted.push(row);
            let rounded = Variant::parse(noisy.variant)?.model(model)?;
            let mut rows = Vec::new();
            // Another program's rounding is not held to ours.
            for p in 0..(if hypothesis.rounds() { 0 } else { few }) {
                count()?;
                rows.push(match &rounded {
                    Some(rounded) => {
                        self.one(&table, p, rounded, &edit, hypothesis.first, noisy.told())?
                    }
                    None => None,
                });
            }
            astray.push(rows);
            table.hypotheses.push(hypothesis);
        }
        for engine in honest {
            let variant = Variant::parse(engine.variant)?;
            // Another rounding of a cache that is rounded already is no other numerics.
            if let Some(model) = variant.model(self.model)? {
                let row = self.row(&table, &model, &Edit::None, 0, engine.told(), &count)?;
                table.honest.push(row);
            }
        }
        table.noise = noise(&table, &astray);
        Ok(table)
    }

    /// A table of these hypotheses and of sound, for the probes of another at these places: what was not thought of before.
    ///
    /// # Errors
    /// As [`Making::table`].
    pub fn extended(
        &self,
        table: &Table,
        places: &[usize],
        more: &[(Hypothesis, Edit)],
    ) -> Result<Table> {
        let of = |rows: &Vec<Vec<f32>>| places.iter().map(|p| rows[*p].clone()).collect();
        let mut small = Table {
            shape: table.shape,
            scored: table.scored,
            counts: Vec::new(),
            hypotheses: table.hypotheses[..1].to_vec(),
            probes: places.iter().map(|p| table.probes[*p].clone()).collect(),
            predicted: vec![of(&table.predicted[0])],
            honest: table.honest.iter().map(of).collect(),
            noise: vec![1.0],
        };
        for (hypothesis, edit) in more {
            let faulty = self.faulty(edit)?;
            let model = faulty.as_ref().unwrap_or(self.model);
            let count = || self.stop.check();
            let row = self.row(&small, model, edit, hypothesis.first, as_is, &count)?;
            small.predicted.push(row);
            small.hypotheses.push(hypothesis.clone());
            small.noise.push(1.0);
        }
        Ok(small)
    }

    /// The model with an edit, where that is another.
    ///
    /// # Errors
    /// When the edit contradicts the weights.
    pub fn faulty(&self, edit: &Edit) -> Result<Option<Model>> {
        Ok(match edit {
            Edit::Variant(variant) => variant.model(self.model)?,
            Edit::Checkpoint(model) => Some((**model).clone()),
            Edit::None | Edit::Prompt(_) => None,
        })
    }

    /// What a model predicts of every probe of a table.
    fn row(
        &self,
        table: &Table,
        model: &Model,
        edit: &Edit,
        first: usize,
        told: fn(f32) -> f32,
        count: &dyn Fn() -> Result<()>,
    ) -> Result<Vec<Vec<f32>>> {
        let probes = 0..table.probes.len();
        let rows = probes.map(|p| {
            if table.probes[p].path.is_empty() && !table.scored {
                return Ok(Vec::new());
            }
            count()?;
            let row = self.one(table, p, model, edit, first, told)?;
            // What cannot show is as sound is.
            Ok(row.unwrap_or_else(|| table.predicted[0][p].clone()))
        });
        rows.collect()
    }

    /// What it predicts of one; nothing where it is sound's prediction.
    fn one(
        &self,
        table: &Table,
        p: usize,
        model: &Model,
        edit: &Edit,
        first: usize,
        told: fn(f32) -> f32,
    ) -> Result<Option<Vec<f32>>> {
        let probe = &table.probes[p];
        edited(probe, edit, first, probe.path.len())
            .map(|prompt| self.evaluate(model, probe, &prompt, table.scored, told))
            .transpose()
    }

    /// The reference's own answer to a probe becomes its path; what is probable in each place, its tail.
    fn answer(&self, probe: &mut Probe, ends: &[u32]) -> Result<()> {
        let mut tree = self.tree(self.model)?;
        let span = tree.root(0);
        let mut tokens = probe.ids.clone();
        while probe.path.len() < PATH {
            let mut best = Vec::new();
            let extend = Extend {
                span,
                tokens: &tokens,
                logits: Logits::Last,
            };
            tree.extend(&[extend], &mut |row| {
                let n = if probe.path.len() < NUMBERED {
                    TAIL
                } else {
                    LATE_TAIL
                };
                best = sample::top(row.logits, n);
            })?;
            let best: Vec<u32> = best.into_iter().map(|(id, _)| id).collect();
            let Some(&next) = best.first() else { break };
            probe.path.push(next);
            probe.tail.push(best);
            if ends.contains(&next) {
                break;
            }
            tokens = vec![next];
        }
        Ok(())
    }

    /// A tree as the work wants it.
    ///
    /// # Errors
    /// When there are no threads for it.
    pub fn tree<'m>(&self, model: &'m Model) -> Result<PromptTree<'m>> {
        let options = TreeOptions::of(model, self.threads);
        Ok(PromptTree::new(model, options)?)
    }

    /// What a model predicts of an edited prompt and the reference's answer; `as_told` is what becomes of its logits.
    fn evaluate(
        &self,
        model: &Model,
        probe: &Probe,
        prompt: &[(u32, Option<usize>)],
        scored: bool,
        as_told: fn(f32) -> f32,
    ) -> Result<Vec<f32>> {
        if prompt.is_empty() {
            return Err(Error::Usage(
                "an edit of a prompt left nothing of it".to_owned(),
            ));
        }
        let path = probe.path.split_last().map_or(&[][..], |(_, path)| path);
        let tokens: Vec<u32> = prompt
            .iter()
            .map(|(id, _)| *id)
            .chain(path.iter().copied())
            .collect();
        let mut tree = self.tree(model)?;
        let span = tree.root(0);
        let mut flat = vec![f32::NAN; probe.data()];
        let logits = match scored {
            true => Logits::All,
            false => Logits::From(prompt.len() - 1),
        };
        let batch = [Extend {
            span,
            tokens: &tokens,
            logits,
        }];
        let mut told = Vec::new();
        tree.extend(&batch, &mut |row| {
            told.clear();
            told.extend(row.logits.iter().map(|l| as_told(*l)));
            match prompt.get(row.pos + 1) {
                Some((next, Some(from))) if *from > 0 => {
                    flat[from - 1] = sample::logprob(&told, *next) as f32;
                }
                Some(_) => {}
                None => {
                    let j = row.pos + 1 - prompt.len();
                    let (start, lse) = (probe.tail_start(j), log_sum_exp(&told));
                    for (k, id) in probe.tail[j].iter().enumerate() {
                        flat[start + k] = (f64::from(told[*id as usize]) - lse) as f32;
                    }
                }
            }
        })?;
        Ok(flat)
    }
}

/// Logits as they are.
fn as_is(logit: f32) -> f32 {
    logit
}

/// Of each hypothesis, how much further an honest engine is at most from it than the same engine is from sound; 0 where that is not
/// known.
fn noise(table: &Table, astray: &[Vec<Option<Vec<f32>>>]) -> Vec<f64> {
    let distance = |h: usize, p: usize| -> Option<f64> {
        let row = astray[h][p].as_ref()?;
        let values = row.iter().map(|x| f64::from(*x)).enumerate();
        let values: Vec<(usize, f64)> = values.filter(|v| v.1.is_finite()).collect();
        Some(Seen::of(table, p, &values, &[h]).distance(0))
    };
    let of = |h: usize| {
        let probes = 0..astray[h].len();
        let pairs = probes.filter_map(|p| Some((distance(h, p)?, distance(0, p)?)));
        let ratios = pairs.filter(|(_, sound)| *sound > 0.0);
        ratios.map(|(own, sound)| own / sound).fold(0.0, f64::max)
    };
    (0..astray.len()).map(of).collect()
}

/// A probe's prompt with an edit; nothing where all is as under sound, the answer's `tokens` included.
pub fn edited(
    probe: &Probe,
    edit: &Edit,
    first: usize,
    tokens: usize,
) -> Option<Vec<(u32, Option<usize>)>> {
    match edit {
        Edit::Prompt(edit) => edit.apply(&probe.ids, probe.body.clone()),
        Edit::Variant(_) if first >= probe.ids.len() + tokens => None,
        _ => Some(plain(&probe.ids)),
    }
}

/// A prompt as it is.
fn plain(ids: &[u32]) -> Vec<(u32, Option<usize>)> {
    ids.iter()
        .enumerate()
        .map(|(i, id)| (*id, Some(i)))
        .collect()
}
