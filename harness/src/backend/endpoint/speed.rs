//! The speed of an API at a length: a prompt that nobody has sent before, streamed, and the same once more.

use crate::backend::endpoint::asker::Asker;
use crate::backend::endpoint::budget::Tokens;
use crate::backend::endpoint::{Remote, calibrate, speed_tokens};
use crate::backend::{Again, Event, Listener, SpeedSample};
use crate::endpoint::{Completed, Kind, Sampling};
use crate::{Error, Result};

/// Measures a prompt of `context` tokens, or about, and `decode` tokens of its answer: cold, then warm.
///
/// The time to the first token is that of the first piece with text, the network's included. Tokens that come after it
/// are counted by usage, where pieces hold more than one.
pub fn measure(
    remote: &Remote,
    seed: u64,
    context: usize,
    decode: usize,
    listener: &mut Listener<'_>,
) -> Result<SpeedSample> {
    let asker = remote.asker();
    if !asker.can.streams {
        return Err(Error::Unfinished("the API does not stream".to_owned()));
    }
    let (ids, text) = prompt(remote, seed, context)?;
    let foreseen = speed_tokens(context);
    let Some(held) = remote.purse.hold(foreseen) else {
        return Err(Error::Unfinished(remote.purse.reason()));
    };
    let before = asker.endpoint.billed();
    let result = twice(asker, &ids, &text, decode, listener);
    let after = asker.endpoint.billed();
    let told = Tokens {
        prompt: after.prompt_tokens.saturating_sub(before.prompt_tokens),
        answer: after
            .completion_tokens
            .saturating_sub(before.completion_tokens),
    };
    let spent = if told.prompt > 0 { told } else { held };
    remote.purse.settle(foreseen, held, spent);
    let [cold, warm] = result?;
    let (Some(first), Some(last)) = (cold.first_token_s, cold.piece_s.last()) else {
        return Err(Error::Unfinished("an answer without text".to_owned()));
    };
    let tokens = match cold.usage {
        Some(usage) if usage.completion_tokens > 0 => usage.completion_tokens as usize,
        _ => cold.piece_s.len(),
    };
    if tokens < 2 || *last <= first {
        let why = "the answer came at once: nothing to time between its tokens";
        return Err(Error::Unfinished(why.to_owned()));
    }
    let cached = |done: &Completed| done.usage.and_then(|u| u.cached_tokens);
    Ok(SpeedSample {
        prefill_s: first,
        first_token_s: first,
        decode_s: last - first,
        decoded: tokens - 1,
        cache_bytes: 0,
        prompt_tokens: cold.usage.map_or(context, |u| u.prompt_tokens as usize),
        again: warm.first_token_s.map(|first_token_s| Again {
            first_token_s,
            cold_cached: cached(&cold),
            warm_cached: cached(&warm),
        }),
    })
}

fn twice(
    asker: &Asker,
    ids: &[u32],
    text: &str,
    decode: usize,
    listener: &mut Listener<'_>,
) -> Result<[Completed; 2]> {
    let mut once = || -> Result<Completed> {
        let sampling = Sampling {
            stream: true,
            ..Sampling::greedy(decode)
        };
        let done = asker.send(ids, text, sampling);
        let done = done.map_err(|failure| match failure.kind {
            Kind::Interrupted => Error::Interrupted,
            _ => Error::Unfinished(failure.why),
        })?;
        let usage = done.usage.unwrap_or_default();
        listener(Event::Prefilled(usage.prompt_tokens as usize))?;
        listener(Event::Decoded(usage.completion_tokens as usize))?;
        Ok(done)
    };
    Ok([once()?, once()?])
}

/// Prose that ends within a sentence, so that it is gone on with.
fn prompt(remote: &Remote, seed: u64, context: usize) -> Result<(Vec<u32>, String)> {
    let (counter, scale) = remote.counter();
    let units = scale.map_or(context, |scale| scale.units(context));
    let around = counter.encode(&remote.asker().frame.fill("", ""))?.len();
    let wanted = units.saturating_sub(around).max(1);
    let prose = calibrate::prose(seed, wanted, &*counter)?;
    let ends: Vec<usize> = prose.match_indices(' ').map(|(at, _)| at).collect();
    // Units grow with the text: the place is found by halving.
    let (mut low, mut high) = (0, ends.len());
    while low < high {
        let middle = (low + high) / 2;
        if counter.encode(&prose[..ends[middle]])?.len() < wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let end = ends.get(low).copied().unwrap_or(prose.len());
    let text = remote.asker().frame.fill(&prose[..end], "");
    let ids = match scale {
        None => counter.encode(&text)?,
        Some(_) => Vec::new(),
    };
    Ok((ids, text))
}
