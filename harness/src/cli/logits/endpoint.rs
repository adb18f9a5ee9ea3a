//! `fathom logits check --endpoint`: what an API tells of recorded tokens, position by position.

use std::collections::BTreeSet;
use std::path::Path;

use crate::divergence::measure::Row;
use crate::divergence::rows::Recorded;
use crate::divergence::verdict::Comparison;
use crate::endpoint::{Capabilities, Completion, Endpoint, Position, Prompt, Sampling, Settings};
use crate::stop::Stop;
use crate::{Error, Result};

/// What is asked.
pub struct Wishes<'a> {
    /// The reference's file, for messages.
    pub reference: &'a Path,
    /// How the API is asked.
    pub settings: Settings,
    /// Most probable tokens at a position.
    pub top: usize,
    /// Positions of a sequence, where each is a request.
    pub positions: usize,
}

/// Asks an API about each sequence, and tells how it was asked. A token that it does not tell is not known, and not zero.
///
/// # Errors
/// When it does not tell enough, or does not answer.
pub fn compare<'a>(
    reference: &'a mut Recorded,
    wishes: &Wishes<'_>,
) -> Result<(Comparison<'a>, String)> {
    if reference.begins_with_bos() {
        let expected = "what `fathom logits record` writes: here the first token of each chunk stands for a BOS that only the model's tokenizer knows";
        let found = "a base file of KL divergence";
        let file = wishes.reference.display();
        return Err(Error::input(file, "format", found, expected));
    }
    let stop = Stop::on_signals()?;
    let endpoint = Endpoint::open(&wishes.settings, &stop)?;
    let can = endpoint.probe()?;
    let of_prompts = can.echo_ids || can.prompt_logprobs;
    let of_answers = can.completion_top > 0 && can.told_ids;
    if !(can.ids && (of_prompts || of_answers)) {
        let found = can.in_words().trim_end().replace('\n', "; ");
        let expected = "prompts as token ids, and log probabilities with ids";
        return Err(Error::input("--endpoint", endpoint.host(), found, expected));
    }
    let top = wishes.top.min(can.completion_top.max(1));
    let sequences: Vec<Vec<u32>> = reference
        .sequences()
        .into_iter()
        .map(|range| reference.tokens[range].to_vec())
        .collect();
    let mut comparison = Comparison::new(reference);
    let sequences = sequences.into_iter().enumerate();
    for (i, ids) in sequences.filter(|s| s.1.len() > 1) {
        if of_prompts {
            stop.check()?;
            prompt(&endpoint, &can, &ids, top, &mut |pos, told| {
                take(&mut comparison, i, pos, told, told.logprob)
            })?;
            continue;
        }
        for pos in spread(ids.len(), wishes.positions) {
            stop.check()?;
            let told = answer(&endpoint, &ids[..=pos], top)?;
            let next = ids.get(pos + 1);
            let next = told
                .top
                .iter()
                .find(|(t, _)| next.is_some() && t.id.as_ref() == next);
            take(&mut comparison, i, pos, &told, next.map(|n| n.1))?;
        }
    }
    let how = match of_prompts {
        true => {
            format!("asked: every position, by log probabilities of prompts; {top} tokens each")
        }
        false => format!(
            "asked: the first token of an answer at {} positions of each sequence, {top} tokens each",
            wishes.positions
        ),
    };
    Ok((comparison, how + "; the KL is at least what is shown"))
}

/// Log probabilities of a prompt: what is told of a token is the row after the one before it.
fn prompt(
    endpoint: &Endpoint,
    can: &Capabilities,
    ids: &[u32],
    top: usize,
    take: &mut dyn FnMut(usize, &Position) -> Result<()>,
) -> Result<()> {
    let told = endpoint.score_prompt(can, &Prompt::Ids(ids.to_vec()), top)?;
    let other = |(told, sent): (&Position, &u32)| told.token.id.is_some_and(|id| id != *sent);
    let other = told.iter().zip(ids).position(other);
    if told.len() != ids.len() || other.is_some() {
        let from = other.map_or_else(String::new, |i| format!(", another from token {i} on"));
        return Err(Error::Beyond(format!(
            "{}: {} of a prompt's {} tokens came back{from}: the server reads another prompt",
            endpoint.host(),
            told.len(),
            ids.len()
        )));
    }
    let mut rows = told.iter().skip(1).enumerate();
    rows.try_for_each(|(pos, position)| take(pos, position))
}

/// The first token of an answer.
fn answer(endpoint: &Endpoint, ids: &[u32], top: usize) -> Result<Position> {
    let sampling = Sampling {
        logprobs: Some(top),
        ..Sampling::greedy(1)
    };
    let done = endpoint.complete(&Completion::new(Prompt::Ids(ids.to_vec()), sampling))?;
    let first = done.tokens.into_iter().next();
    first.filter(|first| !first.top.is_empty()).ok_or_else(|| {
        let why = "an answer without log probabilities";
        Error::Unfinished(format!("{}: {why}", endpoint.host()))
    })
}

fn take(
    comparison: &mut Comparison<'_>,
    sequence: usize,
    pos: usize,
    told: &Position,
    next: Option<f64>,
) -> Result<()> {
    let known = told.top.iter();
    let (ids, logits): (Vec<u32>, Vec<f32>) = known
        .filter_map(|(token, logprob)| Some((token.id?, *logprob as f32)))
        .unzip();
    let row = Row::Top {
        ids: &ids,
        logits: &logits,
        log_sum_exp: 0.0,
        next: next.map_or(f32::NAN, |l| l as f32),
    };
    comparison.take(sequence, pos, row)
}

/// At most `n` positions of a sequence of `len` tokens, its first and its last among them; each is further from the one
/// before, as what is wrong with a long context shows late.
fn spread(len: usize, n: usize) -> BTreeSet<usize> {
    if len <= n {
        return (0..len).collect();
    }
    let steps = (n - 1) as f64;
    let at = |i: usize| ((len as f64).powf(i as f64 / steps) - 1.0).round() as usize;
    (0..n).map(at).map(|at| at.min(len - 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_reach_from_the_first_to_the_last() {
        assert_eq!(spread(3, 8).len(), 3);
        let many = spread(5000, 24);
        assert!(many.len() > 16 && many.len() <= 24);
        assert_eq!((many.first(), many.last()), (Some(&0), Some(&4999)));
    }
}
