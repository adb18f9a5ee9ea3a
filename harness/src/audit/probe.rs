//! The texts that are sent: what a model says after them depends on all of them.

use std::ops::Range;

use fathom_engine::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::item::{Filler, Magic};
use crate::rng::Rng;
use crate::tasks::magic::{Keys, Maker};
use crate::{Result, filler};

/// A prompt and where to look at what is said of it.
///
/// Of a prompt of n tokens and a continuation of m, a hypothesis predicts one row of numbers: the log probabilities of the
/// prompt's tokens 1 to n - 1, then for each of the m places of the answer those of [`Probe::tail`]'s tokens there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// `recall-1`.
    pub name: String,
    /// The text, as a user would send it.
    pub text: String,
    /// The whole prompt in tokens: with BOS, or in the model's template.
    pub ids: Vec<u32>,
    /// The text's own tokens among them.
    pub body: Range<usize>,
    /// What the reference says, token by token, when it always takes the most probable one.
    pub path: Vec<u32>,
    /// For each place of the path, the tokens that are looked at: the reference's most probable ones, best first.
    pub tail: Vec<Vec<u32>>,
}

impl Probe {
    /// Whether its parts fit together: what is read from a file may not.
    pub fn is_consistent(&self) -> bool {
        let body = self.body.start <= self.body.end && self.body.end <= self.ids.len();
        let tail = self.tail.len() == self.path.len() && self.tail.iter().all(|t| !t.is_empty());
        body && tail && !self.ids.is_empty()
    }

    /// Numbers that are predicted of the prompt itself.
    pub fn prompt_data(&self) -> usize {
        self.ids.len().saturating_sub(1)
    }

    /// Where the numbers of the answer's place `j` begin.
    pub fn tail_start(&self, j: usize) -> usize {
        self.prompt_data() + self.tail[..j].iter().map(Vec::len).sum::<usize>()
    }

    /// All numbers.
    pub fn data(&self) -> usize {
        self.tail_start(self.tail.len())
    }

    /// The block that a number belongs to: numbers of one block are not independent of each other.
    pub fn blocks(&self) -> Vec<usize> {
        let prompt = (0..self.prompt_data()).map(|i| i / BLOCK);
        let first = self.prompt_data().div_ceil(BLOCK);
        let tail = self.tail.iter().enumerate();
        let tail = tail.flat_map(|(j, ids)| std::iter::repeat_n(first + j, ids.len()));
        prompt.chain(tail).collect()
    }
}

/// Tokens of a prompt that stand together when evidence is counted.
const BLOCK: usize = 16;

/// What texts are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Statements, and questions about earlier ones with their answers: what comes next stands far back.
    Recall,
    /// A told story with such a question at its end.
    Story,
}

impl Kind {
    /// The kind's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recall => "recall",
            Self::Story => "story",
        }
    }
}

/// A text with an open question about something in it, and the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The text; the question stands at its end.
    pub text: String,
    /// The number that is asked for; in a story it stands once.
    pub value: String,
}

/// What a text tells, before anything is asked.
struct Told {
    text: String,
    /// Keys and values in it.
    pairs: Vec<(String, String)>,
    order: Rng,
}

fn question(key: &str) -> String {
    format!(
        "What is the special magic number for {key} mentioned in the provided text? The special magic number for {key} \
         mentioned in the provided text is"
    )
}

/// A text of about `tokens` tokens, never more with the question after it.
fn tell(kind: Kind, tokens: usize, seed: u64, index: u64, tokenizer: &Tokenizer) -> Result<Told> {
    let rng = |purpose| Rng::of(seed, kind.name(), index, purpose);
    let mut maker = Maker::new(rng("keys"), Keys::All, true);
    let mut order = rng("order");
    let mut told: Vec<(String, String)> = Vec::new();
    let mut units = filler::units(&Filler::Prose {
        seed: rng("prose").bits(),
    })?;
    let state = |maker: &mut Maker, told: &mut Vec<(String, String)>| {
        let (key, value) = (maker.key(Magic::Word), maker.value(Magic::Number));
        let line = format!("One of the special magic numbers for {key} is: {value}.");
        told.push((key, value));
        line
    };
    let mut parts = vec![state(&mut maker, &mut told)];
    let mut count = tokenizer.encode(&parts[0])?.len();
    // Room for the question at the end, whose key is as long as others.
    let room = tokenizer.encode(&question(&told[0].0))?.len() + 8;
    for turn in 1.. {
        let part = match kind {
            Kind::Recall if turn % 3 == 2 => {
                let (key, value) = &told[order.below(told.len())];
                format!("\n{} {value}.", question(key))
            }
            Kind::Story if turn % 24 != 0 => {
                let unit = units.next();
                unit.map(|u| format!("{}{}", u.before, u.text))
                    .unwrap_or_default()
            }
            _ => format!("\n{}", state(&mut maker, &mut told)),
        };
        let n = tokenizer.encode(&part)?.len();
        if count + n + room > tokens {
            break;
        }
        count += n;
        parts.push(part);
    }
    let text = parts.concat();
    // One that was made and did not fit is not told.
    told.retain(|(_, value)| text.contains(value.as_str()));
    Ok(Told {
        text,
        pairs: told,
        order,
    })
}

/// A text of about `tokens` tokens, never more, that ends in an open question about something in its first half.
///
/// # Errors
/// When the tokenizer fails.
pub fn ask(
    kind: Kind,
    tokens: usize,
    seed: u64,
    index: u64,
    tokenizer: &Tokenizer,
) -> Result<Asked> {
    let Told {
        text,
        pairs,
        mut order,
    } = tell(kind, tokens, seed, index, tokenizer)?;
    // The earliest statements are the furthest back.
    let (key, value) = &pairs[order.below(pairs.len().div_ceil(2))];
    Ok(Asked {
        text: format!("{text}\n{}", question(key)),
        value: value.clone(),
    })
}

/// The same without a question: it ends within a sentence, so that there is much that may follow.
///
/// # Errors
/// When the tokenizer fails.
pub fn unfinished(
    kind: Kind,
    tokens: usize,
    seed: u64,
    index: u64,
    tokenizer: &Tokenizer,
) -> Result<String> {
    let text = tell(kind, tokens, seed, index, tokenizer)?.text;
    Ok(match kind {
        Kind::Recall => format!("{text}\nOne of the special magic numbers for"),
        Kind::Story => text.trim_end_matches(['.', '!', '?']).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;

    #[test]
    fn texts_have_their_length_and_ask_for_what_they_tell() -> Result<()> {
        let tokenizer = builtin::open()?.tokenizer()?;
        for kind in [Kind::Recall, Kind::Story] {
            for tokens in [128, 1000] {
                let asked = ask(kind, tokens, 7, 1, &tokenizer)?;
                let text = &asked.text;
                let n = tokenizer.encode(text)?.len();
                assert!(n <= tokens && n + 100 > tokens, "{kind:?} {tokens}: {n}");
                let (before, question) = text.rsplit_once('\n').unwrap_or_default();
                let key = question
                    .split_once("number for ")
                    .and_then(|(_, rest)| rest.split_once(" mentioned"));
                let key = key.map(|(key, _)| key).unwrap_or_default();
                assert!(before.contains(&format!("for {key} is: ")), "{question}");
                assert!(before.contains(&asked.value) || kind == Kind::Recall);
                assert_ne!(*text, ask(kind, tokens, 7, 2, &tokenizer)?.text);
                // What goes on tells the same, and asks nothing.
                let open = unfinished(kind, tokens, 7, 1, &tokenizer)?;
                assert!(open.starts_with(&before[..before.len() - 1]), "{open}");
                assert!(open.ends_with(|c: char| c.is_alphanumeric()), "{open}");
            }
        }
        Ok(())
    }

    #[test]
    fn numbers_of_a_probe_have_places_and_blocks() {
        let probe = Probe {
            ids: (0..40).collect(),
            tail: vec![vec![1, 2, 3], vec![4, 5]],
            ..Probe::default()
        };
        assert_eq!(
            (probe.prompt_data(), probe.tail_start(1), probe.data()),
            (39, 42, 44)
        );
        let blocks = probe.blocks();
        assert_eq!(blocks.len(), 44);
        assert_eq!((blocks[38], blocks[39], blocks[42]), (2, 3, 4));
    }
}
