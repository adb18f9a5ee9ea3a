//! What every hypothesis predicts of every probe, and how honest engines differ: all that an audit needs of a model.

use fathom_engine::variant::Variant;
use fathom_engine::{Extend, Logits, Model, PromptTree, TreeOptions};
use half::bf16;
use serde::{Deserialize, Serialize};

use crate::audit::counts::Count;
use crate::audit::hypothesis::{Edit, HONEST, Hypothesis};
use crate::audit::probe::Probe;
use crate::backend::sample::{self, log_sum_exp};
use crate::stop::Stop;
use crate::{Error, Result};

/// Tokens that are looked at in each place of an answer.
const TAIL: usize = 64;
/// Tokens of an answer, at most.
const PATH: usize = 16;

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
    /// Of hypothesis h and probe p, `predicted[h][p]`, as long as [`Probe::data`].
    #[serde(skip)]
    pub predicted: Vec<Vec<Vec<f32>>>,
    /// The same of sound models in other numerics.
    #[serde(skip)]
    pub honest: Vec<Vec<Vec<f32>>>,
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

impl Making<'_> {
    /// Evaluates everything. Probes come without path and tail, which the reference decides.
    ///
    /// # Errors
    /// When a hypothesis contradicts the weights, or the work is stopped.
    pub fn table(
        &self,
        shape: Shape,
        scored: bool,
        catalogue: Vec<(Hypothesis, Edit)>,
        mut probes: Vec<Probe>,
        ends: &[u32],
    ) -> Result<Table> {
        let total = probes.len() * (catalogue.len() + HONEST.len());
        let mut done = 0;
        for probe in &mut probes {
            self.stop.check()?;
            self.answer(probe, ends)?;
        }
        let mut sound: Vec<Vec<f32>> = Vec::new();
        let mut all = |model: &Model, edit: &Edit, first: usize| -> Result<Vec<Vec<f32>>> {
            let mut row = Vec::new();
            for (i, probe) in probes.iter().enumerate() {
                self.stop.check()?;
                done += 1;
                (self.progress)(done, total);
                let edited = match edit {
                    Edit::Prompt(edit) => edit.apply(&probe.ids, probe.body.clone()),
                    // Nothing can show in so short a text.
                    Edit::Variant(_) if first >= probe.ids.len() + probe.path.len() => None,
                    _ => Some(plain(&probe.ids)),
                };
                row.push(match edited {
                    None => sound[i].clone(),
                    Some(prompt) => {
                        let as_told: fn(f32) -> f32 = match edit {
                            Edit::Engine(engine) if engine.bf16_logits => {
                                |l| bf16::from_f32(l).to_f32()
                            }
                            _ => |l| l,
                        };
                        self.evaluate(model, probe, &prompt, scored, as_told)?
                    }
                });
            }
            if sound.is_empty() {
                sound.clone_from(&row);
            }
            Ok(row)
        };
        let (mut hypotheses, mut predicted) = (Vec::new(), Vec::new());
        for (hypothesis, edit) in catalogue {
            let faulty = match &edit {
                Edit::Variant(variant) => variant.model(self.model)?,
                Edit::Checkpoint(model) => Some((**model).clone()),
                Edit::None | Edit::Prompt(_) | Edit::Engine(_) => None,
            };
            let model = faulty.as_ref().unwrap_or(self.model);
            predicted.push(all(model, &edit, hypothesis.first)?);
            hypotheses.push(hypothesis);
        }
        let mut honest = Vec::new();
        for engine in HONEST {
            let variant = Variant::parse(engine.variant)?;
            // Another rounding of a cache that is rounded already is no other numerics.
            if let Some(model) = variant.model(self.model)? {
                honest.push(all(&model, &Edit::Engine(engine), 0)?);
            }
        }
        Ok(Table {
            shape,
            scored,
            counts: Vec::new(),
            hypotheses,
            probes,
            predicted,
            honest,
        })
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
                best = sample::top(row.logits, TAIL);
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

    fn tree<'m>(&self, model: &'m Model) -> Result<PromptTree<'m>> {
        let options = TreeOptions {
            threads: self.threads,
            ..TreeOptions::default()
        };
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

/// A prompt as it is.
fn plain(ids: &[u32]) -> Vec<(u32, Option<usize>)> {
    ids.iter()
        .enumerate()
        .map(|(i, id)| (*id, Some(i)))
        .collect()
}
