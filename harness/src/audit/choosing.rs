//! Answers that are asked for to find out how tokens are chosen.

use std::collections::HashMap;

use fathom_engine::{Extend, Logits, Model, PromptTree, TreeOptions};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::Result;
use crate::audit::drawn::{Found, Place, judge};
use crate::audit::observe::untruncated;
use crate::audit::refine::Refined;
use crate::audit::table::Shape;
use crate::backend::sample;
use crate::endpoint::{
    Capabilities, Chat, Completed, Completion, Endpoint, Failure, Position, Prompt, Sampling,
};
use crate::filler;
use crate::item::Filler;
use crate::opened::Opened;

/// Tokens of each of two answers without sampling, and of each of two that are drawn: fewer than 500 together.
const LENGTHS: [usize; 2] = [48, 200];
/// Answers that are drawn, at most, where some of them end early.
const DRAWN: usize = 4;
/// Tokens of all prompts and answers, at most: what a budget needs room for.
pub const TOKENS: usize = 2 * (LENGTHS[0] + LENGTHS[1]) + (2 + DRAWN) * 150;
/// Tokens that are looked at in a place.
const LOOKED: usize = 256;
/// A user's message that many words follow.
const OPEN: &str =
    "Tell me a long story about the keeper of a lighthouse and the people of the town.";

/// Why nothing is known where nothing tells.
const UNKNOWN: &str = "how tokens are chosen is not known without the model, or the most probable tokens of an answer";

/// .. and where the budget has no room.
pub const NO_ROOM: &str = "not asked how tokens are chosen: the budget has no room for it";

/// Who is asked, and what the answers are held against.
#[derive(Clone, Copy, Debug)]
pub struct Choosing<'a> {
    /// The service.
    pub endpoint: &'a Endpoint,
    /// What it can do.
    pub can: &'a Capabilities,
    /// How it is asked.
    pub shape: Shape,
    /// The reference; without it, what the service tells of each place.
    pub opened: Option<&'a Opened>,
    /// Threads of the engine.
    pub threads: usize,
    /// Probability of a wrong word.
    pub alpha: f64,
    /// Seed of the text that is continued.
    pub seed: u64,
}

/// What was found out about the choice of tokens.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Chosen {
    /// Tokens of the answers that were looked at: without sampling, and drawn at temperature 1.
    pub tokens: [usize; 2],
    /// Tokens of prompts and answers.
    pub billed: usize,
    /// Rules that are rejected.
    pub excluded: Vec<String>,
    /// Rules that are not.
    pub not_excluded: Vec<String>,
    /// Why there is nothing more to say, where that is so.
    pub unknown: Option<String>,
    /// Rules that are used in place of those that were asked for.
    #[serde(skip)]
    pub forced: Vec<Refined>,
}

impl Choosing<'_> {
    /// Asks for answers at these temperatures, 0 or 1 each, until something is found.
    ///
    /// # Errors
    /// When the service does not answer, or the reference cannot be evaluated.
    pub fn look(&self, temperatures: &[f64], chosen: &mut Chosen) -> Result<()> {
        for &asked in temperatures {
            let i = usize::from(asked > 0.0);
            let mut answers: Vec<Vec<Place>> = Vec::new();
            let mut texts = Vec::new();
            while let Some(length) = further(asked, &answers) {
                let done = self.ask(asked, length, 1 + answers.len() as u64)?;
                let usage = done.usage.unwrap_or_default();
                chosen.billed += (usage.prompt_tokens + usage.completion_tokens) as usize;
                match self.places(&done)? {
                    Some(places) => answers.push(places),
                    None => {
                        chosen.unknown = Some(UNKNOWN.to_owned());
                        return Ok(());
                    }
                }
                texts.push(done.text);
            }
            chosen.tokens[i] = answers.iter().map(Vec::len).sum();
            let found = judge(&answers, asked, texts[0] != texts[1], self.alpha);
            chosen.take(found, self.alpha);
            if !chosen.forced.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Most probable tokens that are told of a place.
    fn top(&self) -> usize {
        match self.shape {
            Shape::Raw => self.can.completion_top,
            Shape::Chat => self.can.chat_top,
        }
    }

    fn ask(&self, temperature: f64, tokens: usize, seed: u64) -> Result<Completed, Failure> {
        let top = self.top();
        let sampling = Sampling {
            temperature: temperature as f32,
            seed: self.can.seed.then_some(seed),
            logprobs: (top > 0).then_some(top),
            ..Sampling::greedy(tokens)
        };
        untruncated(|extra| self.put(sampling.clone(), extra))
    }

    fn put(&self, sampling: Sampling, extra: Map<String, Value>) -> Result<Completed, Failure> {
        match self.shape {
            Shape::Raw => {
                let mut asked = Completion::new(Prompt::Text(story(self.seed)), sampling);
                asked.extra = extra;
                self.endpoint.complete(&asked)
            }
            Shape::Chat => {
                let mut asked = Chat::user(OPEN, sampling);
                asked.extra = extra;
                self.endpoint.chat(&asked)
            }
        }
    }

    /// Each place of an answer beside what was probable there; none where nothing tells.
    fn places(&self, done: &Completed) -> Result<Option<Vec<Place>>> {
        match self.opened {
            Some(opened) => self.by_reference(opened, done).map(Some),
            None if done.tokens.iter().any(|t| t.top.len() > 1) => {
                let most = self.top();
                let places = done.tokens.iter().map(|t| as_told(t, most));
                Ok(Some(places.collect()))
            }
            None => Ok(None),
        }
    }

    /// Beside what the reference finds probable after the same text.
    fn by_reference(&self, opened: &Opened, done: &Completed) -> Result<Vec<Place>> {
        let answer = match ids(done, opened) {
            Some(ids) => ids,
            // Where the answer was made of other tokens than its text is read as, that is few of them.
            None => opened.tokenizer.encode(&done.text)?,
        };
        let prompt = match self.shape {
            Shape::Raw => opened.raw(&story(self.seed))?,
            Shape::Chat => opened.chat(OPEN)?,
        };
        let known = |id: &&u32| (**id as usize) < opened.model.spec.n_vocab;
        let answer: Vec<u32> = answer.iter().take_while(known).copied().collect();
        beside(&opened.model, self.threads, &prompt, &answer)
    }
}

/// Tokens of the next answer at this temperature, 0 or 1, after these; nothing where they are enough. An answer that ends early is made up
/// for by another.
pub fn further(asked: f64, answers: &[Vec<Place>]) -> Option<usize> {
    let length = LENGTHS[usize::from(asked > 0.0)];
    let came: usize = answers.iter().map(Vec::len).sum();
    match answers.len() {
        0 | 1 => Some(length),
        n if asked > 0.0 && n < DRAWN && came < 2 * length => Some(length.min(2 * length - came)),
        _ => None,
    }
}

/// The beginning of a told story, without its last sign: it goes on.
pub fn story(seed: u64) -> String {
    let units = filler::units(&Filler::Prose { seed });
    let units = units.into_iter().flatten().take(6);
    let text: String = units.map(|u| format!("{}{}", u.before, u.text)).collect();
    text.trim_start()
        .trim_end_matches(['.', '!', '?'])
        .to_owned()
}

/// Each token of an answer beside what a model finds probable after a prompt and the tokens before it.
///
/// # Errors
/// When the model cannot be evaluated.
pub fn beside(model: &Model, threads: usize, prompt: &[u32], answer: &[u32]) -> Result<Vec<Place>> {
    let Some((_, before)) = answer.split_last() else {
        return Ok(Vec::new());
    };
    let mut tree = PromptTree::new(model, TreeOptions::of(model, threads))?;
    let span = tree.root(0);
    let tokens = [prompt, before].concat();
    let extend = Extend {
        span,
        tokens: &tokens,
        logits: Logits::From(prompt.len() - 1),
    };
    let mut places = Vec::new();
    tree.extend(&[extend], &mut |row| {
        let top = sample::top(row.logits, LOOKED);
        let came = answer[row.pos + 1 - prompt.len()];
        places.push(Place {
            came: top.iter().position(|(id, _)| *id == came),
            top: top.into_iter().map(|(_, log)| log).collect(),
        });
    })?;
    Ok(places)
}

/// The answer's tokens where the service tells them, by ids or by bytes that only one token has.
fn ids(done: &Completed, opened: &Opened) -> Option<Vec<u32>> {
    if done.tokens.is_empty() {
        return None;
    }
    let mut of_bytes: HashMap<Vec<u8>, Option<u32>> = HashMap::new();
    if done.tokens.iter().any(|t| t.token.id.is_none()) {
        for id in 0..opened.tokenizer.n_vocab() as u32 {
            let there = of_bytes.entry(opened.tokenizer.decode_bytes(&[id]));
            there.and_modify(|id| *id = None).or_insert(Some(id));
        }
    }
    let id = |position: &Position| {
        let by_bytes = || of_bytes.get(&position.token.bytes).copied().flatten();
        position.token.id.or_else(by_bytes)
    };
    done.tokens.iter().map(id).collect()
}

/// A place as the service tells it: the `most` most probable tokens, behind which some put the one that came.
fn as_told(position: &Position, most: usize) -> Place {
    let mut top: Vec<_> = position.top.iter().collect();
    top.sort_by(|a, b| b.1.total_cmp(&a.1));
    top.truncate(most);
    let same = |piece: &crate::endpoint::Piece| match (piece.id, position.token.id) {
        (Some(a), Some(b)) => a == b,
        _ => piece.bytes == position.token.bytes,
    };
    Place {
        came: top.iter().position(|(piece, _)| same(piece)),
        top: top.iter().map(|(_, log)| *log).collect(),
    }
}

impl Chosen {
    fn take(&mut self, found: Found, alpha: f64) {
        for (name, log) in found.against {
            // What was rejected stays rejected.
            if log >= -alpha.ln() {
                self.not_excluded.retain(|n| *n != name);
                if !self.excluded.contains(&name) {
                    self.excluded.push(name);
                }
            } else if !self.excluded.contains(&name) && !self.not_excluded.contains(&name) {
                self.not_excluded.push(name);
            }
        }
        self.forced = found.forced;
    }

    /// In words.
    pub fn in_words(&self) -> String {
        if let Some(why) = &self.unknown {
            return why.clone();
        }
        let [greedy, drawn] = self.tokens;
        let open = match &self.not_excluded[..] {
            names if names.is_empty() || !self.forced.is_empty() => String::new(),
            names => format!("; not excluded: {}", names.join(", ")),
        };
        format!("{greedy} tokens without sampling and {drawn} drawn at temperature 1{open}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_ends_early_is_made_up_for() {
        let answers = |lengths: &[usize]| -> Vec<Vec<Place>> {
            let of = |n: &usize| vec![Place::default(); *n];
            lengths.iter().map(of).collect()
        };
        let cases: [(f64, &[usize], Option<usize>); 7] = [
            (0.0, &[48], Some(48)),
            (0.0, &[3, 3], None),
            (1.0, &[], Some(200)),
            (1.0, &[200, 200], None),
            (1.0, &[3, 200], Some(197)),
            (1.0, &[3, 3, 3], Some(200)),
            (1.0, &[3, 3, 3, 3], None),
        ];
        for (asked, lengths, next) in cases {
            assert_eq!(
                further(asked, &answers(lengths)),
                next,
                "{asked} {lengths:?}"
            );
        }
    }
}
