//! Answers that are sampled at temperature 1, weighed by their text: every token that is drawn says how likely it was.
//!
//! Of text alone, what always takes the most probable token tells of a fault only where another one becomes the most probable. What is
//! drawn tells of all that it changes: log probabilities of an answer's tokens under two hypotheses differ by their KL divergence
//! on average, token by token, and their ratio is a ratio of likelihoods. It needs the model, as nobody knows beforehand what will come.

use fathom_engine::tokenizer::Tokenizer;
use fathom_engine::{Extend, Logits, Model};

use crate::Result;
use crate::audit::drawn::{Place, Rule, judge};
use crate::audit::hypothesis::Edit;
use crate::audit::probe::Probe;
use crate::audit::process::Process;
use crate::audit::refine::Refined;
use crate::audit::request::{Evidence, at_least, of_one};
use crate::audit::table::{Making, TAIL, Table, edited};
use crate::backend::sample::{self, Sampler, log_sum_exp};

/// Tokens of an answer.
pub const LENGTH: usize = 64;
/// Draws of the reference's own answer to a probe, until one does not end at once.
const TRIES: u64 = 8;
/// A token is improbable where it and all that are no more probable have this share together.
const RARE: f64 = 0.002;
/// How much more often an honest engine's may be than the reference's own.
const UNKNOWN: f64 = 3.0;
/// A token is told from others where the reference gives it this share; all others are one. What is read as text may be other tokens
/// than those that were drawn, of which models think as they like.
const PROBABLE: f64 = 1e-3;
/// Share of tokens that come as the reference has them whatever was done.
const ASTRAY: f64 = 0.02;
/// Tokens of a place that are looked at to find out by which rule they are chosen.
const LOOKED: usize = 256;

/// What answers are weighed with.
pub struct Sampled<'a> {
    /// The reference.
    pub making: &'a Making<'a>,
    /// Its tokenizer: an answer is read as text.
    pub tokenizer: &'a Tokenizer,
    /// What each hypothesis of the table does.
    pub edits: &'a [Edit],
    /// Share of improbable tokens in the reference's own answers, read as text.
    pub rare: f64,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// What it says of the hypotheses; nothing where it is empty.
    pub evidence: Option<Evidence>,
    /// Its tokens beside what the reference finds probable.
    pub places: Vec<Place>,
}

/// An answer under a hypothesis.
#[derive(Clone, Debug, Default)]
struct Under {
    /// Of each place: the probability of the token that came, or of all others where it is none of the probable ones.
    shares: Vec<f64>,
    /// Tokens that are improbable.
    rare: usize,
}

/// A place of an answer: the tokens that the reference finds probable, and which of them came.
#[derive(Clone, Debug)]
struct Known {
    tokens: Vec<u32>,
    came: Option<usize>,
}

impl Under {
    fn take(&mut self, logits: &[f32], came: u32, known: &Known) {
        let sum = log_sum_exp(logits);
        let share = |logit: f32| (f64::from(logit) - sum).exp();
        let of = |id: u32| logits.get(id as usize).map_or(0.0, |logit| share(*logit));
        self.shares.push(match known.came {
            Some(k) => of(known.tokens[k]),
            None => (1.0 - known.tokens.iter().map(|id| of(*id)).sum::<f64>()).max(0.0),
        });
        let own = logits.get(came as usize).copied().unwrap_or(f32::NAN);
        let less = || logits.iter().filter(|l| **l <= own);
        let improbable = of(came) <= RARE && less().map(|l| share(*l)).sum::<f64>() <= RARE;
        self.rare += usize::from(improbable);
    }
}

/// A text's tokens.
fn ids(tokenizer: &Tokenizer, text: &str, most: usize) -> Result<Vec<u32>> {
    // A character that was cut in two at the end.
    let text = text.split('\u{fffd}').next().unwrap_or_default();
    let mut ids = tokenizer.encode(text)?;
    ids.truncate(most);
    Ok(ids)
}

/// The reference's own answer to a probe becomes its path, what is probable in each place its tail; told: tokens, and those of them
/// that are improbable.
///
/// # Errors
/// When somebody asks to stop.
pub fn draw(
    making: &Making<'_>,
    tokenizer: &Tokenizer,
    ends: &[u32],
    seed: u64,
    probe: &mut Probe,
) -> Result<(usize, usize)> {
    for i in 0..TRIES {
        making.stop.check()?;
        let text = tokenizer.decode(&going_on(making, ends, seed + i, &probe.ids)?);
        probe.path = ids(tokenizer, &text, LENGTH)?;
        if !probe.path.is_empty() {
            break;
        }
    }
    let (mut under, path) = (Under::default(), [probe.path.clone()]);
    evaluate(
        making,
        making.model,
        &probe.ids,
        &path,
        &mut |_, j, logits| {
            let best = sample::top(logits, TAIL);
            let tokens: Vec<u32> = best.into_iter().map(|(id, _)| id).collect();
            probe.tail.push(tokens.clone());
            let came = tokens.iter().position(|id| *id == path[0][j]);
            under.take(logits, path[0][j], &Known { tokens, came });
        },
    )?;
    Ok((path[0].len(), under.rare))
}

/// Tokens that are drawn after a prompt.
fn going_on(making: &Making<'_>, ends: &[u32], seed: u64, prompt: &[u32]) -> Result<Vec<u32>> {
    let mut sampler = Sampler::new(1.0, 1.0, seed);
    let mut tree = making.tree(making.model)?;
    let span = tree.root(0);
    let (mut answer, mut next) = (Vec::new(), prompt.to_vec());
    while answer.len() < LENGTH {
        let mut came = 0;
        let extend = Extend {
            span,
            tokens: &next,
            logits: Logits::Last,
        };
        tree.extend(&[extend], &mut |row| came = sampler.choose(row.logits))?;
        if ends.contains(&came) {
            break;
        }
        answer.push(came);
        next = vec![came];
    }
    Ok(answer)
}

/// Tells the logits that stand before each token of each answer to a prompt: the answer, the token's place, and [n_vocab].
fn evaluate(
    making: &Making<'_>,
    model: &Model,
    prompt: &[u32],
    answers: &[Vec<u32>],
    each: &mut (dyn FnMut(usize, usize, &[f32]) + Send),
) -> Result<()> {
    let Some((last, before)) = prompt.split_last() else {
        return Ok(());
    };
    let mut tree = making.tree(model)?;
    let root = tree.root(0);
    if !before.is_empty() {
        let extend = Extend {
            span: root,
            tokens: before,
            logits: Logits::None,
        };
        tree.extend(&[extend], &mut |_| ())?;
    }
    let mut spans = Vec::new();
    let mut tokens = Vec::new();
    for answer in answers {
        let but_last = answer.split_last().map_or(&[][..], |(_, rest)| rest);
        spans.push(tree.fork(root, before.len())?);
        tokens.push([&[*last], but_last].concat());
    }
    let there = (0..answers.len()).filter(|i| !answers[*i].is_empty());
    let extends: Vec<Extend<'_>> = there
        .map(|i| Extend {
            span: spans[i],
            tokens: &tokens[i],
            logits: Logits::All,
        })
        .collect();
    tree.extend(&extends, &mut |row| {
        if let Some(i) = spans.iter().position(|span| *span == row.span) {
            each(i, row.pos - before.len(), row.logits);
        }
    })?;
    Ok(())
}

impl Sampled<'_> {
    /// Weighs answers to a probe, given as text.
    ///
    /// # Errors
    /// When a hypothesis contradicts the weights, or somebody asks to stop.
    pub fn weigh(&self, table: &Table, probe: usize, texts: &[String]) -> Result<Vec<Answer>> {
        let probe = &table.probes[probe];
        let answers = texts.iter().map(|text| ids(self.tokenizer, text, LENGTH));
        let answers: Vec<Vec<u32>> = answers.collect::<Result<_>>()?;
        let mut places = vec![Vec::new(); answers.len()];
        let mut known: Vec<Vec<Known>> = vec![Vec::new(); answers.len()];
        // By answer, then by hypothesis.
        let mut under: Vec<Vec<Under>> = vec![Vec::new(); answers.len()];
        for (h, (hypothesis, edit)) in table.hypotheses.iter().zip(self.edits).enumerate() {
            self.making.stop.check()?;
            let Some(prompt) = edited(probe, edit, hypothesis.first, LENGTH) else {
                // What cannot show is as sound is.
                for all in &mut under {
                    all.push(all[0].clone());
                }
                continue;
            };
            let prompt: Vec<u32> = prompt.into_iter().map(|(id, _)| id).collect();
            let faulty = self.making.faulty(edit)?;
            let model = faulty.as_ref().unwrap_or(self.making.model);
            under.iter_mut().for_each(|all| all.push(Under::default()));
            evaluate(
                self.making,
                model,
                &prompt,
                &answers,
                &mut |i, j, logits| {
                    let came = answers[i][j];
                    if h == 0 {
                        let top = sample::top(logits, LOOKED);
                        let at = top.iter().position(|(id, _)| *id == came);
                        let probable = top.iter().take_while(|t| t.1 >= PROBABLE.ln());
                        let tokens: Vec<u32> = probable.map(|(id, _)| *id).collect();
                        known[i].push(Known {
                            came: at.filter(|k| *k < tokens.len()),
                            tokens,
                        });
                        places[i].push(Place {
                            came: at,
                            top: top.into_iter().map(|(_, log)| log).collect(),
                        });
                    }
                    under[i][h].take(logits, came, &known[i][j]);
                },
            )?;
        }
        let all = under.iter().zip(&known).zip(places);
        let all = all.map(|((under, known), places)| Answer {
            evidence: self.evidence(table, under, known),
            places,
        });
        Ok(all.collect())
    }

    /// The rules that answers were chosen by in place of the one that was asked for, where that is likelier than all that may have been done to
    /// the model: what is drawn by another rule is likelier under some faults, too.
    pub fn rules(&self, answers: &[Vec<Place>], process: &Process, alpha: f64) -> Vec<Refined> {
        let found = judge(answers, 1.0, true, alpha);
        let Some(rule) = found.best else {
            return Vec::new();
        };
        let own = Rule::Temperature(1.0);
        let gain = |answer: &Vec<Place>| of_one(rule.logs(answer) - own.logs(answer));
        let gain: f64 = answers.iter().map(gain).sum();
        let faults = (1..process.e_values().len()).map(|h| process.ratio(h, 0));
        // Another model's tokens are improbable by any rule.
        let places = || answers.iter().flatten();
        let rare = places().filter(|place| rule.tail(place) <= RARE).count();
        let fits = at_least(rare, places().count(), self.rate()) >= alpha;
        match fits && gain > faults.fold(0.0, f64::max) {
            true => found.forced,
            false => Vec::new(),
        }
    }

    /// Share of improbable tokens, at most, in an honest engine's answers.
    fn rate(&self) -> f64 {
        UNKNOWN * self.rare.max(RARE)
    }

    /// Of an answer under every hypothesis.
    fn evidence(&self, table: &Table, under: &[Under], known: &[Known]) -> Option<Evidence> {
        let sound = under.first().filter(|sound| !sound.shares.is_empty())?;
        // What is read otherwise than it was drawn is not probable, whatever was done.
        let astray = |j: usize| match known[j].came {
            Some(_) => 0.0,
            None => self.rare,
        };
        let log = |own: &Under| -> f64 {
            let shares = own.shares.iter().zip(&sound.shares).enumerate();
            let logs = shares.map(|(j, (own, sound))| {
                ((1.0 - ASTRAY - self.rare) * own + ASTRAY * sound + astray(j))
                    .max(f64::MIN_POSITIVE)
                    .ln()
            });
            logs.sum()
        };
        let logs: Vec<f64> = under.iter().map(log).collect();
        let rare: Vec<usize> = under.iter().map(|u| u.rare).collect();
        let (all, places) = (&table.hypotheses, sound.shares.len());
        Some(Evidence::of_sample(all, &logs, &rare, places, self.rate()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::prepare::{self, Prepared, Wanted};
    use crate::audit::table::Shape;
    use crate::builtin;
    use crate::opened::{Opened, TemplateArgs};
    use crate::stop::Stop;

    /// Answers of the model itself speak for it, those of a faulty one for the fault, and none is far from what gave it.
    #[test]
    fn answers_are_likelier_under_what_gave_them() -> Result<()> {
        let opened = Opened::new(builtin::open()?, &TemplateArgs::default())?;
        let stop = Stop::default();
        let making = Making::new(&opened.model, 0, &stop);
        let wanted = Wanted {
            shape: Shape::Raw,
            scored: false,
            sampled: true,
            probes: 2,
            length: Some(300),
            most: opened.model.spec.context_length,
            seed: 3,
        };
        let Prepared { table, edits, rare } = prepare::table(&opened, Vec::new(), wanted, &making)?;
        assert!(rare < 0.1, "{rare}");
        let sampled = Sampled {
            making: &making,
            tokenizer: &opened.tokenizer,
            edits: &edits,
            rare,
        };
        let at = |name: &str| table.hypotheses.iter().position(|h| h.name == name);
        let fault = at("no-shared-expert").unwrap_or(0);
        let faulty = making.faulty(&edits[fault])?;
        let given_by = [Some(&opened.model), faulty.as_ref()];
        for (own, model) in [0, fault].into_iter().zip(given_by.into_iter().flatten()) {
            let other = Making { model, ..making };
            let ids = &table.probes[0].ids;
            let texts: Vec<String> = (0..3)
                .map(|seed| {
                    Ok(opened
                        .tokenizer
                        .decode(&going_on(&other, &opened.stop, seed, ids)?))
                })
                .collect::<Result<_>>()?;
            for answer in sampled.weigh(&table, 0, &texts)? {
                let evidence = answer.evidence.unwrap_or_default();
                let lead = evidence.ratios[own][fault - own];
                assert!(lead > 3.0, "{own}: {lead}");
                let far = evidence.far.unwrap_or_default();
                assert!(far[own] < 0.3, "{own}: {far:?}");
                assert!(answer.places.len() > 20);
            }
        }
        // What says nothing is no evidence, and what is cut within a character is read up to it.
        let none = sampled.weigh(&table, 0, &[String::new(), "\u{fffd} and".to_owned()])?;
        assert!(none.iter().all(|answer| answer.evidence.is_none()));
        Ok(())
    }
}
