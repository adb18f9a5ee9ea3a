//! What novels and papers have in common: sizes, splits, and how options are put to a model.

use serde::{Deserialize, Serialize};

use crate::item::{Piece, Place, Role};
use crate::rng::Rng;

/// How much there is to read, filler apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// Only what the question is about and its decoys: a novel of some 300 words.
    #[default]
    Small,
    /// More people or papers, and other matters between: a novel of some 900 words.
    Medium,
    /// More still: a novel of some 2 000 words.
    Large,
}

/// Which names and sentences are used; the two share none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// For training a model on these tasks.
    Train,
    /// For measuring; the split of every suite.
    #[default]
    Test,
}

/// The letter of an option.
///
/// ```
/// assert_eq!(fathom_harness::tasks::reading::letter(2), 'C');
/// ```
pub fn letter(option: usize) -> char {
    char::from_u32('A' as u32 + option as u32).unwrap_or('?')
}

/// A question with its lettered options, as it stands after the document.
pub fn with_options(question: &str, options: &[String]) -> String {
    let mut ask = format!("Question: {question}");
    for (i, option) in options.iter().enumerate() {
        ask.push_str(&format!("\n({}) {option}", letter(i)));
    }
    ask.push_str("\nReply with: The correct answer is (letter).");
    ask
}

/// The beginning of an answer that chooses: a letter in brackets and an option's own text both go on from here.
pub const CHOOSING: &str = "The correct answer is";

/// The beginning of an answer that judges a claim.
pub const JUDGING: &str = "The claim is";

/// Passages as pieces, paragraphs of their own, spread evenly (and not quite regularly) over the filler.
pub fn spread(rng: &mut Rng, passages: &[String], role: impl Fn(usize) -> Role) -> Vec<Piece> {
    let n = passages.len() as f64;
    passages
        .iter()
        .enumerate()
        .map(|(i, text)| Piece {
            text: format!("\n\n{text}\n\n"),
            role: role(i),
            place: Place::Share((i as f64 + 0.1 + 0.8 * rng.uniform()) / n),
        })
        .collect()
}
