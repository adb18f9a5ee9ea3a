//! A probe put to a service, and what it says, as numbers beside the predictions.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::audit::probe::Probe;
use crate::audit::sampled::LENGTH;
use crate::audit::table::Shape;
use crate::endpoint::{
    Capabilities, Chat, Completed, Completion, Endpoint, Failure, Kind, Piece, Position, Prompt,
    Sampling, Usage,
};

/// Places of an answer whose log probabilities are asked for; choices are weighed further, as each tells less.
pub const NUMBERED: usize = 16;

/// What a service tells that can be weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Log probabilities of the prompt's tokens.
    Prompt,
    /// So many of the most probable tokens at each place of the answer.
    Top(usize),
    /// The answer's text alone.
    Text,
    /// The same of answers that are drawn at temperature 1.
    Sampled,
}

/// What evidence is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighed {
    /// Log probabilities.
    Numbers,
    /// The most probable tokens, in their order.
    Choices,
    /// Tokens that were drawn.
    Samples,
}

impl Told {
    /// The most that a service tells of prompts of a shape.
    pub fn most(can: &Capabilities, shape: Shape) -> Self {
        match shape {
            Shape::Raw if can.ids && (can.echo || can.prompt_logprobs) => Self::Prompt,
            _ => Self::top(can, shape),
        }
    }

    /// The most that it tells of answers.
    pub fn top(can: &Capabilities, shape: Shape) -> Self {
        let top = match shape {
            Shape::Raw => can.completion_top,
            Shape::Chat => can.chat_top,
        };
        if top > 0 { Self::Top(top) } else { Self::Text }
    }

    /// The same, without the prompts.
    pub fn of_answers(self, can: &Capabilities, shape: Shape) -> Self {
        match self {
            Self::Prompt => Self::top(can, shape),
            other => other,
        }
    }

    /// The places of a probe's numbers that are told.
    pub fn places(self, probe: &Probe) -> Vec<usize> {
        match self {
            Self::Prompt => (0..probe.prompt_data()).collect(),
            Self::Top(k) => {
                let places = probe.tail.iter().enumerate().take(NUMBERED);
                let places = places.map(|(j, tail)| (probe.tail_start(j), tail.len().min(k)));
                places.flat_map(|(start, n)| start..start + n).collect()
            }
            Self::Text | Self::Sampled => Vec::new(),
        }
    }

    /// What it is weighed as.
    pub fn weighed(self) -> Weighed {
        match self {
            Self::Prompt | Self::Top(_) => Weighed::Numbers,
            Self::Text => Weighed::Choices,
            Self::Sampled => Weighed::Samples,
        }
    }

    /// Tokens of an answer that are asked for.
    pub fn answer(self, probe: &Probe) -> usize {
        match self {
            Self::Prompt => 1,
            Self::Top(_) => probe.path.len().min(NUMBERED),
            Self::Text => probe.path.len(),
            Self::Sampled => LENGTH,
        }
    }

    /// In words.
    pub fn in_words(self) -> String {
        match self {
            Self::Prompt => "log probabilities of the prompt's tokens".to_owned(),
            Self::Top(k) => {
                format!("log probabilities of the {k} most probable tokens of an answer")
            }
            Self::Text => "the text of an answer alone".to_owned(),
            Self::Sampled => "the text alone of answers that are sampled".to_owned(),
        }
    }
}

/// What a service said of a probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Places among the probe's numbers, and what was told there.
    pub values: Vec<(usize, f64)>,
    /// Of each place of the answer as long as it follows the path: which of the tail's tokens came, or another one.
    #[serde(default)]
    pub choices: Vec<Option<usize>>,
    /// Tokens of the prompt that were read, where the service tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<usize>,
    /// Which of the prompt's tokens were not, where it tells: the first, and how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<(usize, usize)>,
    /// What was billed, where it is told.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// Seconds.
    #[serde(default)]
    pub seconds: f64,
}

/// Bytes of tokens, so that a service that tells no ids is understood.
pub type Bytes = HashMap<u32, Vec<u8>>;

/// Puts a probe to a service.
///
/// # Errors
/// When it does not answer.
pub fn observe(
    endpoint: &Endpoint,
    can: &Capabilities,
    told: Told,
    shape: Shape,
    probe: &Probe,
    bytes: &Bytes,
) -> Result<Observation, Failure> {
    let begun = std::time::Instant::now();
    if told == Told::Prompt {
        let positions = endpoint.score_prompt(can, &Prompt::Ids(probe.ids.clone()), 1)?;
        return Ok(Observation {
            seconds: begun.elapsed().as_secs_f64(),
            ..echoed(&positions, probe, bytes)
        });
    }
    let mut sampling = Sampling::greedy(told.answer(probe));
    if let Told::Top(k) = told {
        sampling.logprobs = Some(k);
    }
    let done = put(endpoint, can, shape, probe, sampling, Map::new())?;
    Ok(Observation {
        seconds: begun.elapsed().as_secs_f64(),
        ..read(&done, probe, bytes)
    })
}

/// Puts a probe to a service that draws its answer: the text, and what it took.
///
/// # Errors
/// When it does not answer.
pub fn sample(
    endpoint: &Endpoint,
    can: &Capabilities,
    shape: Shape,
    probe: &Probe,
    seed: u64,
) -> Result<(String, Observation), Failure> {
    let begun = std::time::Instant::now();
    let sampling = Sampling {
        temperature: 1.0,
        seed: can.seed.then_some(seed),
        ..Sampling::greedy(Told::Sampled.answer(probe))
    };
    let done = untruncated(|extra| put(endpoint, can, shape, probe, sampling.clone(), extra))?;
    let observation = Observation {
        usage: done.usage,
        seconds: begun.elapsed().as_secs_f64(),
        ..Observation::default()
    };
    Ok((done.text, observation))
}

/// Asks with the words that leave a distribution its tail: some services cut it where nobody says not to, others refuse the words.
///
/// # Errors
/// When the service answers neither way.
pub fn untruncated(
    ask: impl Fn(Map<String, Value>) -> Result<Completed, Failure>,
) -> Result<Completed, Failure> {
    let whole = [("top_k", 0.into()), ("min_p", 0.0.into())];
    let whole = whole.map(|(name, value)| (name.to_owned(), value));
    match ask(whole.into_iter().collect()) {
        Err(failure) if failure.kind == Kind::Refused => ask(Map::new()),
        done => done,
    }
}

fn put(
    endpoint: &Endpoint,
    can: &Capabilities,
    shape: Shape,
    probe: &Probe,
    sampling: Sampling,
    extra: Map<String, Value>,
) -> Result<Completed, Failure> {
    let done = match shape {
        Shape::Chat => {
            let mut asked = Chat::user(probe.text.clone(), sampling);
            asked.extra = extra;
            endpoint.chat(&asked)
        }
        Shape::Raw => {
            let prompt = match can.ids {
                true => Prompt::Ids(probe.ids.clone()),
                false => Prompt::Text(probe.text.clone()),
            };
            let mut asked = Completion::new(prompt, sampling);
            asked.extra = extra;
            endpoint.complete(&asked)
        }
    }?;
    unthought(done, &endpoint.host())
}

/// An answer, but for one that was thought about: what comes after thoughts depends on them.
fn unthought(done: Completed, host: &str) -> Result<Completed, Failure> {
    match done.reasoning.trim().is_empty() {
        true => Ok(done),
        false => Err(Failure {
            why: format!(
                "{host}: the answer has a reasoning part, behind which nothing can be weighed"
            ),
            kind: Kind::Malformed,
            status: None,
            code: None,
            tries: 1,
        }),
    }
}

/// A prompt's own tokens, all of them or what is left of a prompt that was cut in one place.
fn echoed(positions: &[Position], probe: &Probe, bytes: &Bytes) -> Observation {
    let (n, left) = (probe.ids.len(), positions.len());
    let same = |position: &Position, id: &u32| match position.token.id {
        Some(own) => own == *id,
        None => bytes.get(id).is_some_and(|b| *b == position.token.bytes),
    };
    let first = match left < n {
        false => n,
        true => {
            let pairs = positions.iter().zip(&probe.ids);
            pairs
                .take_while(|(position, id)| same(position, id))
                .count()
        }
    };
    let gap = n.saturating_sub(left);
    let fits = positions[first.min(left)..]
        .iter()
        .zip(&probe.ids[(first + gap).min(n)..])
        .all(|(position, id)| same(position, id));
    // What comes first has no log probability, nor means anything what is another text.
    let values = positions.iter().enumerate().skip(1).filter_map(|(i, p)| {
        let place = if i < first { i } else { i + gap };
        Some((place.checked_sub(1)?, p.logprob?))
    });
    Observation {
        values: if fits { values.collect() } else { Vec::new() },
        read: Some(left),
        missing: (gap > 0 && left > 1 && fits).then_some((first, gap)),
        ..Observation::default()
    }
}

/// An answer beside a probe's path.
fn read(done: &Completed, probe: &Probe, bytes: &Bytes) -> Observation {
    let mut seen = Observation {
        usage: done.usage,
        read: done.usage.map(|u| u.prompt_tokens as usize),
        ..Observation::default()
    };
    if done.tokens.is_empty() {
        seen.choices = choices(&done.text, probe, bytes);
        return seen;
    }
    for (j, position) in done.tokens.iter().take(probe.path.len()).enumerate() {
        let start = probe.tail_start(j);
        let chosen = position.logprob.map(|l| (&position.token, l));
        let mut there = Vec::new();
        for (piece, logprob) in position.top.iter().map(|(p, l)| (p, *l)).chain(chosen) {
            if let Some(k) = place(piece, &probe.tail[j], bytes)
                && !there.contains(&k)
            {
                there.push(k);
                seen.values.push((start + k, logprob));
            }
        }
        let came = place(&position.token, &probe.tail[j], bytes);
        seen.choices.push(came);
        // Behind another token stands another text.
        if came.map(|k| probe.tail[j][k]) != Some(probe.path[j]) {
            break;
        }
    }
    seen.values.sort_by_key(|v| v.0);
    seen
}

/// Which of the tail's tokens a piece is; none where several have its bytes.
fn place(piece: &Piece, tail: &[u32], bytes: &Bytes) -> Option<usize> {
    if let Some(id) = piece.id {
        return tail.iter().position(|t| *t == id);
    }
    let same = |id: &u32| {
        bytes
            .get(id)
            .is_some_and(|b| !b.is_empty() && *b == piece.bytes)
    };
    let mut all = tail.iter().enumerate().filter(|(_, id)| same(id));
    let first = all.next()?;
    all.next().is_none().then_some(first.0)
}

/// A text beside the path's: the path's tokens as long as it begins with them, then the longest of the tail's that it goes on with.
fn choices(text: &str, probe: &Probe, bytes: &Bytes) -> Vec<Option<usize>> {
    let mut rest = text.as_bytes();
    let mut all = Vec::new();
    for (j, tail) in probe.tail.iter().enumerate() {
        let of = |id: &u32| bytes.get(id).map_or(&[][..], |b| b);
        // An answer's first space is often left out.
        let first = |b: &[u8]| j == 0 && !rest.starts_with(b" ") && b.first() == Some(&b' ');
        let fits = |b: &[u8]| {
            let own = if first(b) { &b[1..] } else { b };
            (!own.is_empty() && rest.starts_with(own)).then_some(own.len())
        };
        if rest.is_empty() {
            break;
        }
        let expected = fits(of(&probe.path[j]));
        let Some(n) = expected else {
            let longest = tail
                .iter()
                .enumerate()
                .filter_map(|(k, id)| Some((fits(of(id))?, k)));
            all.push(
                longest
                    .max_by_key(|(n, k)| (*n, usize::MAX - k))
                    .map(|(_, k)| k),
            );
            break;
        };
        all.push(tail.iter().position(|id| *id == probe.path[j]));
        rest = &rest[n..];
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_thoughts_is_not_weighed() {
        let answer = |reasoning: &str| {
            let mut done = Completed::default();
            done.text.push_str("so it is");
            done.reasoning.push_str(reasoning);
            done
        };
        assert!(unthought(answer(" \n"), "host").is_ok());
        let failure = unthought(answer("Let me see."), "host");
        assert!(failure.is_err_and(|f| f.why.contains("reasoning")));
    }

    #[test]
    fn what_is_left_of_a_prompt_has_its_places_in_the_whole() {
        let probe = Probe {
            ids: vec![1, 5, 6, 7, 8, 9],
            ..Probe::default()
        };
        let told = |ids: &[u32]| {
            let positions: Vec<Position> = ids
                .iter()
                .map(|id| Position {
                    token: Piece {
                        id: Some(*id),
                        ..Piece::default()
                    },
                    logprob: Some(-f64::from(*id)),
                    top: Vec::new(),
                })
                .collect();
            let seen = echoed(&positions, &probe, &Bytes::new());
            let places: Vec<usize> = seen.values.iter().map(|v| v.0).collect();
            (places, seen.missing, seen.read)
        };
        assert_eq!(told(&probe.ids), (vec![0, 1, 2, 3, 4], None, Some(6)));
        assert_eq!(told(&[1, 5, 9]), (vec![0, 4], Some((2, 3)), Some(3)));
        assert_eq!(told(&[1, 5, 6]), (vec![0, 1], Some((3, 3)), Some(3)));
        assert_eq!(told(&[1, 8, 9]), (vec![3, 4], Some((1, 3)), Some(3)));
        // Another text tells nothing.
        assert_eq!(told(&[1, 9, 8]), (vec![], None, Some(3)));
        assert_eq!(told(&[]), (vec![], None, Some(0)));
    }
}
