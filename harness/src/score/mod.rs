//! How an answer is judged. Nothing here runs a model.
//!
//! | file | holds |
//! |---|---|
//! | `text.rs` | references found in a text, equality |
//! | `choice.rs` | a letter out of several, true or false |
//! | `order.rs` | rankings: Kendall's tau, NDCG |
//! | `arc.rs` | free text on the course of a life |
//! | `likelihood.rs` | the likeliest of several options |
//! | `defect.rs` | answers that are empty, loop, or are not text |
//! | `rows.rs` | items and answers to rows of `scores.csv` |

mod arc;
mod choice;
mod defect;
mod likelihood;
mod order;
mod rows;
mod text;

use std::fmt::Write as _;

use crate::item::Scorer;

pub use arc::arc;
pub use choice::{claim, letter};
pub use defect::defect;
pub use likelihood::{chance_of_options, likeliest, options};
pub use order::{kendall_tau, ndcg, parse_order};
pub use rows::row;
pub use text::{contains_all, contains_any, exact};

/// A judged answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// In 0..=1.
    pub score: f64,
    /// Further figures, `name=value` separated by spaces.
    pub detail: String,
}

impl Judged {
    fn of(score: f64) -> Self {
        Self {
            score,
            detail: String::new(),
        }
    }

    fn with(mut self, name: &str, value: f64) -> Self {
        let space = if self.detail.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = write!(self.detail, "{space}{name}={value:.4}");
        self
    }
}

/// Judges a generated answer (without its thought).
///
/// ```
/// use fathom_harness::{item::Scorer, score};
/// let scorer = Scorer::ContainsAll { references: vec!["12".into(), "34".into()], distractors: vec![] };
/// assert_eq!(score::judge(&scorer, "It is 12.").score, 0.5);
/// ```
pub fn judge(scorer: &Scorer, answer: &str) -> Judged {
    match scorer {
        Scorer::ContainsAll { references, .. } => Judged::of(contains_all(answer, references)),
        Scorer::ContainsAny { references } => {
            Judged::of(f64::from(u8::from(contains_any(answer, references))))
        }
        Scorer::Exact { references } => Judged::of(f64::from(u8::from(exact(answer, references)))),
        Scorer::Choice { options, correct } => {
            let chosen = letter(answer, options);
            let judged = Judged::of(f64::from(u8::from(chosen == Some(*correct))));
            chosen.map_or_else(
                || judged.clone().with("parsed", 0.0),
                |c| judged.clone().with("chosen", c as f64),
            )
        }
        Scorer::Claim { truth, .. } => {
            let said = claim(answer);
            let judged = Judged::of(f64::from(u8::from(said == Some(*truth))));
            if said.is_none() {
                judged.with("parsed", 0.0)
            } else {
                judged
            }
        }
        Scorer::Ranking { order } => {
            let given = parse_order(answer, order);
            let tau = kendall_tau(&given, order);
            Judged::of((tau + 1.0) / 2.0)
                .with("tau", tau)
                .with("ndcg", ndcg(&given, order, 10))
                .with("exact", f64::from(u8::from(given == *order)))
        }
        Scorer::Arc { events, never } => arc(answer, events, never),
    }
}

/// What a guess scores when text is generated.
///
/// A free answer cannot be guessed: 0. A letter: 1 / options. One claim: 1/2 (a pair: 1/4). A ranking: tau of a random
/// order is 0, which scores 1/2.
pub fn chance(scorer: &Scorer) -> f64 {
    match scorer {
        Scorer::ContainsAll { .. }
        | Scorer::ContainsAny { .. }
        | Scorer::Exact { .. }
        | Scorer::Arc { .. } => 0.0,
        Scorer::Choice { options, .. } => 1.0 / options.len().max(1) as f64,
        Scorer::Claim { .. } | Scorer::Ranking { .. } => 0.5,
    }
}

#[cfg(test)]
mod tests;
