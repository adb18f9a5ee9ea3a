//! How much context a service advertises, accepts, bills and really reads.

use std::sync::Arc;

use fathom_engine::tokenizer::Tokenizer;
use serde::Serialize;

use crate::Result;
use crate::audit::probe::{self, Kind};
use crate::audit::table::Shape;
use crate::endpoint::{Chat, Completion, Endpoint, Kind as FailureKind, Prompt, Sampling};
use crate::stop::Stop;

/// A length, and what became of texts of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rung {
    /// Tokens of a text, by the model's tokenizer.
    pub tokens: usize,
    /// Texts that were sent.
    pub sent: usize,
    /// Those that were answered.
    pub accepted: usize,
    /// Why one was not.
    pub refused: Option<String>,
    /// The fewest tokens that were billed for a text.
    pub billed: Option<u64>,
    /// Answers that tell the number that the text tells, far back.
    pub read: usize,
}

/// Questions a length.
const QUESTIONS: u64 = 4;
/// Tokens that an answer may take to come to the number.
const ANSWER: usize = 48;

/// Asks questions about texts of growing length; ends at the first length of which no text is accepted.
///
/// # Errors
/// When the tokenizer fails, or somebody asks to stop.
pub fn ladder(
    endpoint: &Endpoint,
    shape: Shape,
    tokenizer: &Arc<Tokenizer>,
    lengths: &[usize],
    seed: u64,
    stop: &Stop,
) -> Result<Vec<Rung>> {
    let mut rungs = Vec::new();
    for &length in lengths {
        let mut rung = Rung {
            tokens: length,
            ..Rung::default()
        };
        for index in 0..QUESTIONS {
            stop.check()?;
            let asked = probe::ask(Kind::Story, length, seed, 1000 + index, tokenizer)?;
            let sampling = Sampling::greedy(ANSWER);
            let answer = match shape {
                Shape::Chat => endpoint.chat(&Chat::user(asked.text, sampling)),
                Shape::Raw => {
                    endpoint.complete(&Completion::new(Prompt::Text(asked.text), sampling))
                }
            };
            rung.sent += 1;
            match answer {
                Ok(done) => {
                    rung.accepted += 1;
                    rung.read += usize::from(done.text.contains(&asked.value));
                    let billed = done.usage.map(|u| u.prompt_tokens);
                    rung.billed = rung.billed.into_iter().chain(billed).min();
                }
                Err(failure) if failure.kind == FailureKind::Interrupted => stop.check()?,
                Err(failure) => rung.refused = Some(failure.why),
            }
        }
        let over = rung.accepted == 0;
        rungs.push(rung);
        if over {
            break;
        }
    }
    Ok(rungs)
}

impl Rung {
    /// A line of a table.
    pub fn row(&self) -> Vec<String> {
        let billed = self.billed.map_or("-".to_owned(), |b| b.to_string());
        vec![
            self.tokens.to_string(),
            format!("{} of {}", self.accepted, self.sent),
            billed,
            format!("{} of {}", self.read, self.accepted),
            self.refused.clone().unwrap_or_default(),
        ]
    }
}
