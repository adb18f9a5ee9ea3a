//! From an item to a prompt that has exactly the length asked for, in the model's own tokens, template included.
//!
//! | file | holds |
//! |---|---|
//! | `encode.rs` | what is asked of a tokenizer |
//! | `pieces.rs` | what is counted where the tokenizer is not known, and its scale |
//! | `frame.rs` | what stands around the user's message: a chat template's turns, or nothing |
//! | `walk.rs` | which sentence of the filler stands before which piece |
//! | `fit.rs` | the last sentences of the filler, chosen so that the count comes out |
//! | `text.rs` | pieces and filler as one text, evidence found in it |
//!
//! The document is measured as what a user would send: one text, encoded as a whole. Sentences are counted one by one
//! to plan it, then the whole is encoded, and what is missing or too much is made up for in the longest stretch of
//! filler: by whole sentences where that can be, else by a sentence cut at a word. Two or three encodings of the whole
//! are usual.

mod encode;
mod fit;
mod frame;
mod pieces;
mod text;
mod walk;

use std::collections::HashMap;

use crate::filler::{self, Unit};
use crate::item::{Context, Filler, Item, Piece, Place, Prompt, Question, Role};
use crate::record::PromptOption;
use crate::{Error, Result};

pub use encode::Encode;
use fit::Manner;
pub use frame::Frame;
pub use pieces::{Pieces, Scale};
use text::{Segment, join};

/// Mark of items whose length nobody knows exactly.
pub const APPROXIMATE: &str = "approximate-length";

/// What became of an item.
#[derive(Clone, Debug)]
pub enum Laid {
    /// It can be sent.
    Fits {
        /// What is sent.
        prompt: Prompt,
        /// What a reader should know: `filler-repeats`.
        marks: Vec<String>,
    },
    /// It cannot, and why: `does not fit: needs 412 tokens, the length is 256`.
    Skip(String),
}

/// Lays items out for one model.
///
/// Keeps the counted sentences of the last filler, so items of one question should follow each other.
pub struct Layout<'a> {
    tokenizer: &'a dyn Encode,
    frame: Frame,
    scale: Option<Scale>,
    counted: Option<Counted>,
}

/// The beginning of a filler's stream, with the tokens of each sentence.
struct Counted {
    filler: Filler,
    stream: filler::Units,
    units: Vec<(Unit, usize)>,
}

/// Attempts to reach a length in each manner of ending.
const ATTEMPTS: usize = 6;

/// Tokens at the end of the longest stretch of filler that are chosen anew to make the count come out.
const SLACK: usize = 48;

impl<'a> Layout<'a> {
    /// For prompts of this frame, counted by this tokenizer.
    pub fn new(tokenizer: &'a dyn Encode, frame: Frame) -> Self {
        Self {
            tokenizer,
            frame,
            scale: None,
            counted: None,
        }
    }

    /// What the tokenizer counts is no token: so much of it makes the tokens of a prompt, about.
    pub fn scaled(mut self, scale: Scale) -> Self {
        self.scale = Some(scale);
        self
    }

    /// The prompt of an item of a question.
    ///
    /// # Errors
    /// When the filler cannot be read or the tokenizer fails. What does not fit is no error, but [`Laid::Skip`].
    pub fn lay(&mut self, question: &Question, item: &Item) -> Result<Laid> {
        let mut laid = self.lay_counted(question, item)?;
        if let (Some(scale), Laid::Fits { prompt, marks }) = (self.scale, &mut laid) {
            let ids = std::mem::take(&mut prompt.ids);
            prompt.about = Some(scale.tokens(ids.len()));
            marks.push(APPROXIMATE.to_owned());
        }
        Ok(laid)
    }

    fn lay_counted(&mut self, question: &Question, item: &Item) -> Result<Laid> {
        match item.context {
            Context::None => {
                let alone = Question {
                    instruction: String::new(),
                    ..question.clone()
                };
                let prompt = self.prompt(&alone, &[], "")?;
                Ok(Laid::Fits {
                    prompt,
                    marks: Vec::new(),
                })
            }
            Context::Short => {
                let segments: Vec<Segment> = question
                    .pieces
                    .iter()
                    .filter(|p| p.role == Role::Evidence)
                    .map(Segment::Piece)
                    .collect();
                let prompt = self.prompt(question, &segments, filler::joint(&question.filler))?;
                Ok(Laid::Fits {
                    prompt,
                    marks: Vec::new(),
                })
            }
            Context::Length(length) => self.lay_exactly(question, item.depth, length),
        }
    }

    /// Options as they are appended to a prompt for their log-likelihood.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn options(&self, prompt: &Prompt, options: &[String]) -> Result<Vec<PromptOption>> {
        let space = if prompt.text.is_empty() || prompt.text.ends_with(char::is_whitespace) {
            ""
        } else {
            " "
        };
        options
            .iter()
            .map(|option| {
                let text = format!("{space}{option}");
                Ok(PromptOption {
                    ids: self.ids_after(prompt, &text)?,
                    text,
                })
            })
            .collect()
    }

    /// Ids of a text that follows a prompt: what encoding both together adds, where that leaves the prompt's ids alone.
    fn ids_after(&self, prompt: &Prompt, text: &str) -> Result<Vec<u32>> {
        for known in [24, prompt.ids.len()] {
            let tail = &prompt.ids[prompt.ids.len().saturating_sub(known)..];
            let before = self.tokenizer.decode(tail);
            if self.tokenizer.encode(&before)? != tail {
                continue;
            }
            let both = self.tokenizer.encode(&format!("{before}{text}"))?;
            if let Some(rest) = both.strip_prefix(tail).filter(|rest| !rest.is_empty()) {
                return Ok(rest.to_vec());
            }
        }
        Ok(self.tokenizer.encode(text)?)
    }

    fn lay_exactly(
        &mut self,
        question: &Question,
        depth: Option<f64>,
        length: usize,
    ) -> Result<Laid> {
        let joint = filler::joint(&question.filler);
        let pieces = walk::in_order(&question.pieces, depth);
        let alone: Vec<Segment> = pieces.iter().map(|(p, _)| Segment::Piece(p)).collect();
        let bare = self.prompt(question, &alone, joint)?;
        let needed = bare.ids.len();
        let told = |n| self.scale.map_or(n, |scale| scale.tokens(n));
        let asked = length;
        let length = self.scale.map_or(length, |scale| scale.units(length));
        if needed > length {
            let needed = told(needed);
            return Ok(Laid::Skip(format!(
                "does not fit: needs {needed} tokens, the length is {asked}"
            )));
        }
        if needed == length {
            return Ok(Laid::Fits {
                prompt: bare,
                marks: Vec::new(),
            });
        }
        if question.filler == Filler::None {
            let has = told(needed);
            return Ok(Laid::Skip(format!(
                "has {has} tokens and no filler, the length is {asked}"
            )));
        }
        let room = length - needed;
        self.count(&question.filler, room + 2 * SLACK)?;
        let (units, targets) = match &question.filler {
            Filler::Document { parts, .. } => self.document(parts, room)?,
            _ => (
                self.counted_units().to_vec(),
                self.targets(question, &pieces, room)?,
            ),
        };
        // Documents that others share, and those of one's own, are cut at their end.
        let own = matches!(question.filler, Filler::Document { .. });
        let cut_last = own || question.shared.is_some();
        let plans = walk::Walk::plans(&targets, &units, room, SLACK, cut_last);
        if plans.is_empty() {
            return Ok(Laid::Skip(format!(
                "a piece stands behind the first {asked} tokens of the document"
            )));
        }
        let any_order = filler::in_any_order(&question.filler);
        for walk in &plans {
            let fit = fit::Fit::new(self.tokenizer, &units, &walk.spare, any_order);
            for manner in [Manner::Whole, Manner::Cut, Manner::Words] {
                let parts = |ending: &[Unit]| walk.segments(&pieces, &units, ending);
                if let Some(laid) =
                    self.attempt(question, &fit, manner, walk.open, length, &parts)?
                {
                    return Ok(laid);
                }
            }
        }
        Ok(Laid::Skip(format!(
            "cannot be laid out in exactly {asked} tokens"
        )))
    }

    /// Tries endings of one manner.
    ///
    /// Where an ending meets what follows it, tokens may join. By how many is learnt from the first attempt, apart for each
    /// manner, because a full stop joins what a word does not.
    fn attempt<'q>(
        &self,
        question: &Question,
        fit: &fit::Fit,
        manner: Manner,
        open: usize,
        length: usize,
        segments: &dyn Fn(&[Unit]) -> Vec<Segment<'q>>,
    ) -> Result<Option<Laid>> {
        let joint = filler::joint(&question.filler);
        let mut want = open;
        let mut tried = HashMap::new();
        for _ in 0..ATTEMPTS {
            let nth: &mut usize = tried.entry(want).or_default();
            let Some(ending) = fit.ending(manner, want, *nth)? else {
                break;
            };
            *nth += 1;
            let segments = segments(&ending);
            let prompt = self.prompt(question, &segments, joint)?;
            let got = prompt.ids.len();
            if got == length {
                let again = segments
                    .iter()
                    .any(|s| matches!(s, Segment::Unit(u) if u.again));
                let marks = if again {
                    vec!["filler-repeats".to_owned()]
                } else {
                    Vec::new()
                };
                return Ok(Some(Laid::Fits { prompt, marks }));
            }
            want = (want + length).saturating_sub(got);
        }
        Ok(None)
    }

    fn counted_units(&self) -> &[(Unit, usize)] {
        self.counted.as_ref().map_or(&[], |c| &c.units)
    }

    /// The sentences of a document around its pieces that have room, what may follow, and the tokens before each piece.
    fn document(&self, parts: &[String], room: usize) -> Result<walk::Surroundings> {
        let anchor = self.tokenizer.encode(".")?.len();
        let mut counted = Vec::new();
        for (i, part) in parts.iter().enumerate() {
            let mut sentences = Vec::new();
            for (k, mut unit) in filler::sentences(part).into_iter().enumerate() {
                if k == 0 && i > 0 && !part.starts_with('\n') {
                    unit.before = " ";
                }
                let text = format!(".{}{}", unit.before, unit.text);
                sentences.push((
                    unit,
                    self.tokenizer.encode(&text)?.len().saturating_sub(anchor),
                ));
            }
            counted.push(sentences);
        }
        Ok(walk::around(counted, self.counted_units(), room))
    }

    /// Tokens of filler before each piece.
    fn targets(
        &self,
        question: &Question,
        pieces: &[(&Piece, f64)],
        room: usize,
    ) -> Result<Vec<f64>> {
        let mut targets: Vec<f64> = pieces
            .iter()
            .map(|(_, share)| share * room as f64)
            .collect();
        if let Some(shared) = &question.shared {
            // The same for all questions of the cluster, whatever they ask.
            let head = self.frame.fill(
                &format!("{}\n", question.instruction.trim()),
                &shared.reserve,
            );
            let mut taken = self.tokenizer.encode(&head)?.len();
            for (piece, _) in pieces {
                taken += self.tokenizer.encode(&piece.text)?.len();
            }
            for (target, (piece, _)) in targets.iter_mut().zip(pieces) {
                if let Place::Cell { length, depth } = piece.place {
                    let length = self.scale.map_or(length, |scale| scale.units(length));
                    *target = depth * length.saturating_sub(taken) as f64;
                }
            }
        }
        let mut least = 0f64;
        for target in &mut targets {
            least = least.max(*target);
            *target = least;
        }
        Ok(targets)
    }

    /// Reads and counts the filler until it has this many tokens.
    fn count(&mut self, filler: &Filler, tokens: usize) -> Result<()> {
        if self.counted.as_ref().is_none_or(|c| c.filler != *filler) {
            let stream = filler::units(filler)?;
            self.counted = Some(Counted {
                filler: filler.clone(),
                stream,
                units: Vec::new(),
            });
        }
        let Some(counted) = &mut self.counted else {
            return Ok(());
        };
        let anchor = self.tokenizer.encode(".")?.len();
        let mut total: usize = counted.units.iter().map(|(_, n)| n).sum();
        let mut dropped = 0;
        while total < tokens || counted.units.len() < 64 {
            let Some(unit) = counted.stream.next() else {
                break;
            };
            // Text that looks like a special token would be one in a rendered template.
            if unit.text.contains(['<', '[', '\u{ff5c}'])
                && self.tokenizer.has_special(&unit.text)?
            {
                dropped += 1;
                if dropped > 10_000 {
                    return Err(Error::Usage(
                        "the filler is nothing but special tokens".to_owned(),
                    ));
                }
                continue;
            }
            let n = self
                .tokenizer
                .encode(&format!(".{}{}", unit.before, unit.text))?
                .len()
                .saturating_sub(anchor);
            total += n;
            counted.units.push((unit, n));
        }
        Ok(())
    }

    /// The whole as text and ids, evidence found.
    fn prompt(&self, question: &Question, segments: &[Segment], joint: &str) -> Result<Prompt> {
        let (document, evidence) = join(segments, joint);
        let mut user = question.instruction.trim_start().to_owned();
        let mut add = |part: &str| {
            if !user.is_empty()
                && !part.is_empty()
                && !user.ends_with(['\n', ' '])
                && !part.starts_with(['\n', ' '])
            {
                user.push('\n');
            }
            user.push_str(part);
            user.len()
        };
        let at = add(&document) - document.len();
        add(&question.ask);
        let user = user.trim_end();
        let text = self.frame.fill(user, &question.answer_prefix);
        let start = self.frame.before_len() + at;
        let evidence = evidence
            .into_iter()
            .map(|r| r.start + start..r.end + start)
            .collect();
        Ok(Prompt {
            ids: self.tokenizer.encode(&text)?,
            text,
            evidence,
            about: None,
        })
    }
}

#[cfg(test)]
mod tests;
