//! What is found out before a run: tokens a text is billed, how long a request takes, whether the model thinks.

use crate::backend::endpoint::asker::{Asker, Route};
use crate::endpoint::{Completed, Failure, Kind, Sampling};
use crate::filler;
use crate::item::Filler;
use crate::layout::{Encode, Scale};
use crate::{Error, Result};

/// Units of text of the prompts that are sent, at least, in whole sentences: words and signs, or tokens.
const UNITS: [usize; 4] = [1, 120, 360, 700];
/// Tokens in which a model that thinks begins to.
const THOUGHT: usize = 48;
/// A question that can be answered at once.
const QUESTION: &str = "How many legs do three spiders have together?";

/// Seconds of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Of any request.
    pub request_s: f64,
    /// Of a token of the prompt.
    pub prompt_token_s: f64,
    /// Of a token of the answer.
    pub answer_token_s: f64,
}

/// What prompts of known text were billed and how long they took.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Units of text, and tokens of the prompt where the service told.
    pub billed: Vec<(usize, u64)>,
    /// Tokens of the prompt, told or counted, and seconds.
    pub took: Vec<(f64, f64)>,
    /// Token counts that are not those of the local rendering: counted here, told there.
    pub differs: Option<(usize, u64)>,
}

/// Sends texts of growing length, new to any cache by `seed`, and asks for one token of each. One that the service refuses is
/// left out.
///
/// # Errors
/// When the service cannot be asked at all.
pub fn send(asker: &Asker, counter: &dyn Encode, exact: bool, seed: u64) -> Result<Sent> {
    let mut sent = Sent::default();
    for (i, units) in UNITS.into_iter().enumerate() {
        let text = asker
            .frame
            .fill(&prose(seed.wrapping_sub(i as u64), units, counter)?, "");
        let ids = counter.encode(&text)?;
        let real: &[u32] = if exact { &ids } else { &[] };
        let Some(done) = answered(asker.send(real, &text, Sampling::greedy(1)))? else {
            continue;
        };
        let told = done.usage.map(|u| u.prompt_tokens);
        sent.billed.extend(told.map(|told| (ids.len(), told)));
        sent.took
            .push((told.map_or(ids.len() as f64, |t| t as f64), done.total_s));
        if exact && told.is_some_and(|told| told != ids.len() as u64) {
            sent.differs = told.map(|told| (ids.len(), told));
        }
    }
    Ok(sent)
}

/// Whether the model thinks before it answers, though nobody opened it a thought; and seconds of a token.
///
/// # Errors
/// When the service cannot be asked at all.
pub fn thinks(asker: &Asker, counter: &dyn Encode, exact: bool) -> Result<(bool, Option<f64>)> {
    let text = asker.frame.fill(QUESTION, "");
    let ids = if exact {
        counter.encode(&text)?
    } else {
        Vec::new()
    };
    let Some(done) = answered(asker.send(&ids, &text, Sampling::greedy(THOUGHT)))? else {
        return Ok((false, None));
    };
    let cut = done.finish_reason.as_deref() == Some("length");
    let hidden = asker.route == Route::Chat && cut && done.text.trim().is_empty();
    let thinks =
        hidden || !done.reasoning.is_empty() || done.text.trim_start().starts_with("<think>");
    let tokens = done.usage.map(|u| u.completion_tokens).filter(|n| *n > 1);
    Ok((thinks, tokens.map(|n| done.total_s / n as f64)))
}

impl Pace {
    /// From what was sent; of a token of an answer, what was measured.
    pub fn of(sent: &Sent, answer_token_s: Option<f64>) -> Self {
        let n = sent.took.len().max(1) as f64;
        let mean = |f: &dyn Fn(&(f64, f64)) -> f64| sent.took.iter().map(f).sum::<f64>() / n;
        let (x, y) = (mean(&|p| p.0), mean(&|p| p.1));
        let slope = mean(&|p| (p.0 - x) * (p.1 - y)) / mean(&|p| (p.0 - x).powi(2));
        // Also where nothing varies.
        let slope = if slope.is_finite() {
            slope.max(0.0)
        } else {
            0.0
        };
        Self {
            request_s: (y - slope * x).max(0.0),
            prompt_token_s: slope,
            answer_token_s: answer_token_s.unwrap_or(y),
        }
    }

    /// Seconds of a prompt and its answer.
    pub fn seconds(&self, prompt: usize, answer: usize) -> f64 {
        self.request_s + prompt as f64 * self.prompt_token_s + answer as f64 * self.answer_token_s
    }
}

/// Tokens of text, from what was billed; where nobody told, `assumed` for each unit.
pub fn scale(sent: &Sent, assumed: f64) -> (Scale, &'static str) {
    let assumed = Scale {
        slope: assumed,
        overhead: 0.0,
    };
    match Scale::fit(&sent.billed) {
        Some(scale) => (scale, "by usage.prompt_tokens of four prompts"),
        None => (assumed, "assumed: the API does not tell usage"),
    }
}

/// Prose of at least so many units.
///
/// # Errors
/// When the tokenizer fails.
pub fn prose(seed: u64, units: usize, counter: &dyn Encode) -> Result<String> {
    let mut text = String::new();
    let mut n = 0;
    for unit in filler::units(&Filler::Prose { seed })? {
        if n >= units {
            break;
        }
        let added = format!(
            "{}{}",
            if text.is_empty() { "" } else { unit.before },
            unit.text
        );
        n += counter.encode(&added)?.len();
        text += &added;
    }
    Ok(text)
}

/// An answer, or nothing where this request was refused and another may not be.
fn answered(result: Result<Completed, Failure>) -> Result<Option<Completed>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(failure) if failure.kind == Kind::Interrupted => Err(Error::Interrupted),
        Err(failure) if failure.kind == Kind::Refused => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_the_line_through_what_was_measured() {
        let took = [(100.0, 1.1), (200.0, 1.2), (600.0, 1.6)];
        let sent = Sent {
            took: took.to_vec(),
            ..Sent::default()
        };
        let pace = Pace::of(&sent, Some(0.5));
        assert!((pace.request_s - 1.0).abs() < 1e-9);
        assert!((pace.seconds(1000, 2) - 3.0).abs() < 1e-9);
        assert_eq!(Pace::of(&Sent::default(), None).seconds(10, 10), 0.0);
    }
}
