//! Questions and items: what is asked, of which document, and how an answer is judged.
//!
//! A [`Question`] knows no length. A length, a control and a depth make it an [`Item`]; `layout.rs` lays an item
//! out in the tokens of a model.

use serde::{Deserialize, Serialize};

/// A question together with everything that must stand in the document for it to have one answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    /// Unique in a run: `needle/multikey/0007`.
    pub id: String,
    /// Suite.
    pub suite: String,
    /// Task in it.
    pub task: String,
    /// Questions of one cluster share a document and are not independent; equal to `id` where they are.
    pub cluster: String,
    /// Stands before the document; may be empty.
    pub instruction: String,
    /// The parts of the document that are not filler, in document order.
    pub pieces: Vec<Piece>,
    /// What fills the document up to the length.
    pub filler: Filler,
    /// Stands after the document.
    pub ask: String,
    /// The beginning of the answer, given to the model; may be empty.
    pub answer_prefix: String,
    /// How an answer is judged.
    pub scorer: Scorer,
    /// Tokens an answer may have.
    pub max_tokens: usize,
    /// Set where the questions of a cluster are asked of the beginnings of one document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<Shared>,
}

impl Question {
    /// Name of the group of items, at any length, that have a long beginning in common; empty where there is none.
    pub fn group(&self) -> &str {
        if self.shared.is_some() {
            &self.cluster
        } else {
            ""
        }
    }
}

/// One document for several questions: every item is a beginning of it, with its question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shared {
    /// The longest of the cluster's `ask` and answer prefix: what depths of [`Place::Cell`] leave room for.
    pub reserve: String,
}

/// A part of the document that is not filler.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Piece {
    /// The text, with its own white space or line ends.
    pub text: String,
    /// What it is to the question.
    pub role: Role,
    /// Where it stands.
    pub place: Place,
}

/// What a piece is to its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Needed for the answer: kept in the short control.
    Evidence,
    /// Looks like evidence and is not.
    Distractor,
    /// Neither, but part of the document (a scene, a section): left out of the short control.
    Body,
}

/// Where a piece stands, as a share of the filler before it. Pieces never change their order.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// At the item's depth.
    Depth,
    /// At a fixed share in 0..=1.
    Share(f64),
    /// Where this depth is at this length, whatever length the item has (documents that are [`Shared`]).
    Cell {
        /// Length in tokens.
        length: usize,
        /// Depth at that length, in 0..=1.
        depth: f64,
    },
}

/// What fills the document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Filler {
    /// Our own generated prose, from this seed.
    Prose {
        /// Seed of the stream.
        seed: u64,
    },
    /// A text file (named and hashed in the manifest), from a sentence chosen by this seed, wrapping around.
    Text {
        /// Path as given.
        path: String,
        /// Seed of the starting sentence.
        seed: u64,
    },
    /// RULER's noise sentences.
    Noise,
    /// Needles that nobody asks for (RULER's multikey 2 and 3).
    Needles {
        /// Seed of keys and values.
        seed: u64,
        /// Template with `{key}` and `{value}`.
        template: String,
        /// What keys are.
        key: Magic,
        /// What values are.
        value: Magic,
    },
    /// The rest of a document that the pieces come from; then, where it ends before the length, another filler.
    Document {
        /// The text before each piece, and after the last.
        parts: Vec<String>,
        /// What follows the document.
        then: Box<Filler>,
    },
    /// Nothing: the pieces are the document.
    None,
}

/// What a needle's key or value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Magic {
    /// Two words: `able angle`.
    Word,
    /// Seven digits.
    Number,
    /// A version 4 UUID.
    Uuid,
}

impl Magic {
    /// As RULER's wording names it, in the singular.
    pub fn name(self) -> &'static str {
        match self {
            Self::Word => "word",
            Self::Number => "number",
            Self::Uuid => "uuid",
        }
    }
}

/// How an answer is judged. Formulas and sources are in METHODOLOGY.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Scorer {
    /// Share of the references found as case-insensitive substrings (RULER `string_match_all`).
    ContainsAll {
        /// What must be found.
        references: Vec<String>,
        /// Wrong values to compare with by log-likelihood; may be empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        distractors: Vec<String>,
    },
    /// 1 when any reference is found (RULER `string_match_part`).
    ContainsAny {
        /// Accepted answers.
        references: Vec<String>,
    },
    /// Equal after trimming, lower case, and removal of punctuation at the ends.
    Exact {
        /// Accepted answers.
        references: Vec<String>,
    },
    /// One of several options, by letter or by log-likelihood.
    Choice {
        /// The options' texts, in the order shown.
        options: Vec<String>,
        /// Index of the right one.
        correct: usize,
    },
    /// A claim that is true or false; counted in pairs: both of a pair right or wrong (NoCha).
    Claim {
        /// Whether the document supports it.
        truth: bool,
        /// The pair's id; both claims of a pair have the same.
        pair: String,
    },
    /// An order of labels, best first (`B > A > C`): Kendall's tau and NDCG.
    Ranking {
        /// Labels, best first.
        order: Vec<String>,
    },
    /// Free text on an arc: events recalled, their order, things that never happened.
    Arc {
        /// The events in order, each with the phrases that count as mentioning it.
        events: Vec<Vec<String>>,
        /// Phrases of things that never happened.
        never: Vec<String>,
    },
}

/// How much of the document an item sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Context {
    /// The question alone.
    None,
    /// The evidence and the question.
    Short,
    /// A document that makes the prompt exactly this long, in the model's own tokens.
    Length(usize),
}

/// A question at a length and a depth.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Unique in a run: `needle/multikey/0007@4096/d0.5` (and `#2` for the second repeat).
    pub id: String,
    /// The question's id.
    pub question: String,
    /// How much document.
    pub context: Context,
    /// Depth of the pieces placed at `Place::Depth`, 0 = first, 1 = last; `None` for tasks without that axis.
    pub depth: Option<f64>,
    /// 0-based repeat, for sampling.
    pub repeat: usize,
}

/// An item in the tokens of a model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prompt {
    /// What is sent, special tokens included; its length is the context length.
    pub ids: Vec<u32>,
    /// The same as text (as rendered, template included).
    pub text: String,
    /// Byte ranges of the evidence in `text`.
    pub evidence: Vec<std::ops::Range<usize>>,
    /// Its tokens, about, where nobody knows the tokenizer and there are no ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<usize>,
}

impl Prompt {
    /// How many tokens it has.
    pub fn tokens(&self) -> usize {
        self.about.unwrap_or(self.ids.len())
    }
}
