//! An OpenAI-compatible API as a backend: several items at a time, within a budget; what fails is the end of an item and of
//! no run.
//!
//! | file | holds |
//! |---|---|
//! | `asker.rs` | one item: its requests, and what their answers mean |
//! | `budget.rs` | prices and limits, and what is spent |
//! | `calibrate.rs` | tokens of a text, seconds of a request: measured before the run |
//! | `speed.rs` | time to the first token and between tokens, cold and warm |

pub mod asker;
pub mod budget;
pub mod calibrate;
mod speed;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use fathom_engine::tokenizer::Tokenizer;
use serde_json::{Value, json};

use crate::backend::endpoint::asker::{Asker, Route};
use crate::backend::endpoint::budget::{Leave, Purse, Terms, Tokens};
use crate::backend::endpoint::calibrate::Pace;
use crate::backend::{Backend, Event, Listener, ModelCard, Outcome, Request, SpeedSample};
use crate::endpoint::{Capabilities, Endpoint};
use crate::layout::{Encode, Frame, Pieces, Scale};
use crate::run::speed::DECODE;
use crate::{Error, Result};

/// A stop is noticed this soon.
const SLICE: Duration = Duration::from_millis(100);
/// Tokens of a word or a sign, where nobody tells: an assumption.
const TOKENS_A_WORD: f64 = 4.0 / 3.0;
/// Items that are handed over at once, for each that is under way.
const AHEAD: usize = 8;

/// What is asked of a service, beside its address.
#[derive(Debug)]
pub struct Wishes {
    /// Where prompts go; without it, by what the service offers and what is known of the template.
    pub route: Option<Route>,
    /// The model's tokenizer and what stands around a message, in its template.
    pub known: Option<(Arc<Tokenizer>, Frame, Templated)>,
    /// A message before the user's, where the service has the template.
    pub system: Option<String>,
    /// The question is text that the model continues.
    pub raw: bool,
    /// Items at a time.
    pub concurrency: usize,
    /// Prices and limits.
    pub terms: Terms,
}

/// Whether the tokenizer came with a chat template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Templated {
    /// It did.
    Yes,
    /// It did not: prompts are text.
    No,
}

/// A service that answers.
#[derive(Debug)]
pub struct Remote {
    asker: Arc<Asker>,
    purse: Arc<Purse>,
    card: ModelCard,
    pace: Pace,
    concurrency: usize,
    scale: Option<Scale>,
    /// Prompts of speed measurements that were sent so far, and what makes them new to any cache.
    measured: u64,
    first_seed: u64,
}

impl Remote {
    /// Finds out what the service does, how it counts and how long it takes, with some twenty small requests.
    ///
    /// # Errors
    /// When it cannot be asked, or does not offer the route that is wished for.
    pub fn open(endpoint: Endpoint, wishes: Wishes) -> Result<Self> {
        let can = endpoint.probe()?;
        let route = route(&can, &wishes, &endpoint)?;
        let (known, exact) = match (wishes.known, route) {
            (None, _) => (None, false),
            // Who has the template there and not here does not know what it adds.
            (Some((t, frame, Templated::No)), Route::Chat) => (Some((t, frame)), false),
            (Some((t, frame, _)), Route::Chat) => (Some((t, frame.of_messages())), true),
            (Some((t, frame, _)), Route::Completions) => (Some((t, frame)), true),
        };
        let frame = match (&known, exact) {
            (Some((_, frame)), true) => frame.clone(),
            _ => Frame::raw(""),
        };
        let mut asker = Asker {
            endpoint,
            can,
            route,
            frame,
            tokenizer: known.map(|(tokenizer, _)| tokenizer),
            system: wishes.system.filter(|_| route == Route::Chat),
            thinks: false,
        };
        let counter = counter(&asker);
        let first_seed = clock_seed();
        let sent = calibrate::send(&asker, &*counter, exact, first_seed)?;
        let (thinks, answer_token_s) = calibrate::thinks(&asker, &*counter, exact)?;
        let pace = Pace::of(&sent, answer_token_s);
        asker.thinks = thinks;
        let assumed = if asker.tokenizer.is_some() {
            1.0
        } else {
            TOKENS_A_WORD
        };
        let fitted = (!exact).then(|| calibrate::scale(&sent, assumed));
        let mut card = card(&asker);
        let lengths = match (&fitted, sent.differs) {
            (Some((scale, basis)), _) => format!(
                "approximate: {:.3} tokens a {} and {:.1} more, {basis}",
                scale.slope,
                if asker.tokenizer.is_some() {
                    "token of the text"
                } else {
                    "word or sign"
                },
                scale.overhead,
            ),
            (None, Some((here, there))) => format!(
                "exact in the tokenizer given; the API tells {there} tokens of a prompt that has {here}"
            ),
            (None, None) if sent.billed.is_empty() => {
                "exact in the tokenizer given; the API tells no usage to check it by".to_owned()
            }
            (None, None) => "exact: the API tells the same numbers".to_owned(),
        };
        card.facts.insert("lengths".to_owned(), lengths.into());
        card.facts.insert("thinks_first".to_owned(), thinks.into());
        let billed = asker.endpoint.billed();
        let spent = Tokens {
            prompt: billed.prompt_tokens,
            answer: billed.completion_tokens,
        };
        Ok(Self {
            asker: Arc::new(asker),
            purse: Arc::new(Purse::new(wishes.terms, spent)),
            card,
            pace,
            concurrency: wishes.concurrency,
            scale: fitted.map(|(scale, _)| scale),
            measured: 0,
            first_seed,
        })
    }

    /// What asks the service.
    pub fn asker(&self) -> &Asker {
        &self.asker
    }

    /// What is spent.
    pub fn purse(&self) -> &Purse {
        &self.purse
    }

    /// What counts lengths, and how its units become tokens where they are none.
    pub fn counter(&self) -> (Arc<dyn Encode>, Option<Scale>) {
        (counter(&self.asker), self.scale)
    }
}

fn counter(asker: &Asker) -> Arc<dyn Encode> {
    match &asker.tokenizer {
        Some(tokenizer) => tokenizer.clone(),
        None => Arc::new(Pieces),
    }
}

fn route(can: &Capabilities, wishes: &Wishes, endpoint: &Endpoint) -> Result<Route> {
    let known = wishes.known.is_some() || wishes.raw;
    let wanted = match wishes.route {
        Some(route) => route,
        None if can.completions && (known || !can.chat) => Route::Completions,
        None => Route::Chat,
    };
    let offered = match wanted {
        Route::Completions => can.completions,
        Route::Chat => can.chat,
    };
    if offered {
        return Ok(wanted);
    }
    let expected = format!("{}, which is wanted", wanted.name());
    let found = can.in_words().trim_end().replace('\n', "; ");
    Err(Error::input("--model", endpoint.host(), found, expected))
}

fn card(asker: &Asker) -> ModelCard {
    let name = asker.endpoint.model();
    let facts: [(&str, Value); 5] = [
        ("name", name.into()),
        (
            "endpoint",
            asker.endpoint.scrubbed(asker.endpoint.base()).into(),
        ),
        ("route", asker.route.name().into()),
        ("capabilities", json!(asker.can)),
        (
            "template",
            match asker.route {
                Route::Chat => "the API's own",
                Route::Completions => "rendered here",
            }
            .into(),
        ),
    ];
    let short: String = name.rsplit('/').next().unwrap_or(name).chars().collect();
    ModelCard {
        name: short
            .chars()
            .map(|c| {
                if c.is_alphanumeric() || "._-".contains(c) {
                    c
                } else {
                    '-'
                }
            })
            .collect(),
        context_length: 0,
        numeric_version: 0,
        identity: BTreeMap::new(),
        facts: facts.map(|(k, v)| (k.to_owned(), v)).into(),
    }
}

/// Different in every run.
fn clock_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |d| d.as_nanos() as u64)
}

impl Backend for Remote {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn fingerprint(&mut self) -> Result<String> {
        Ok(String::new())
    }

    fn bytes_needed(&self, _: usize) -> u64 {
        0
    }

    fn bytes_per_sequence(&self, _: usize) -> u64 {
        0
    }

    fn together(&self) -> Option<usize> {
        Some(AHEAD * self.concurrency)
    }

    fn terms(&self) -> Option<&Terms> {
        Some(self.purse.terms())
    }

    fn speed_repeats(&self) -> usize {
        let terms = self.purse.terms();
        if terms.limited() || terms.price.is_some() {
            1
        } else {
            3
        }
    }

    fn seconds(&self, _: usize, prompt: usize, generated: usize) -> f64 {
        self.pace.seconds(prompt, generated) / self.concurrency as f64
    }

    fn rate_basis(&self) -> String {
        let Pace {
            request_s,
            prompt_token_s,
            answer_token_s,
        } = self.pace;
        let billed = self.asker.endpoint.billed();
        format!(
            "{} small requests to {} ({} tokens): {request_s:.2} s each, {:.2} s more for 1000 prompt tokens, {:.3} s for a generated one; {} at a time",
            billed.requests,
            self.asker.endpoint.host(),
            billed.prompt_tokens + billed.completion_tokens,
            1000.0 * prompt_token_s,
            answer_token_s,
            self.concurrency
        )
    }

    fn evaluate(&mut self, group: &[Request], listener: &mut Listener<'_>) -> Result<()> {
        let (tell, told) = channel();
        let (mut next, mut running) = (0, 0);
        loop {
            while running < self.concurrency
                && let Some(request) = group.get(next)
            {
                if let Some(why) = self.asker.cannot(request) {
                    listener(Event::Done(next, Outcome::Skipped(why.to_owned())))?;
                    next += 1;
                    continue;
                }
                let foreseen = self.asker.foreseen(request);
                let held = match self.purse.ask(foreseen) {
                    Leave::Granted(held) => held,
                    Leave::Later => break,
                    Leave::Never => {
                        listener(Event::Done(next, Outcome::Skipped(self.purse.reason())))?;
                        next += 1;
                        continue;
                    }
                };
                let (asker, purse) = (self.asker.clone(), self.purse.clone());
                let (request, tell, i) = (request.clone(), tell.clone(), next);
                let work = move || {
                    let (outcome, spent) = asker.answer(&request);
                    purse.settle(foreseen, held, spent);
                    // Whoever stopped listening has stopped the run.
                    let _ = tell.send((i, outcome, spent));
                };
                // Not joined: on a stop, a request that hangs is left behind.
                std::thread::Builder::new()
                    .spawn(work)
                    .map_err(|e| Error::Unfinished(format!("cannot start a thread: {e}")))?;
                (next, running) = (next + 1, running + 1);
            }
            if running == 0 && next == group.len() {
                return Ok(());
            }
            match told.recv_timeout(SLICE) {
                Ok((i, outcome, spent)) => {
                    running -= 1;
                    listener(Event::Decoded(spent.answer as usize))?;
                    listener(Event::Prefilled(spent.prompt as usize))?;
                    listener(Event::Done(i, outcome))?;
                }
                Err(RecvTimeoutError::Timeout) => listener(Event::Prefilled(0))?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Unfinished("nobody answers".to_owned()));
                }
            }
        }
    }

    fn measure(
        &mut self,
        context: usize,
        decode: usize,
        listener: &mut Listener<'_>,
    ) -> Result<SpeedSample> {
        self.measured += 1;
        let seed = self.first_seed.wrapping_add(self.measured);
        speed::measure(self, seed, context, decode, listener)
    }
}

/// Tokens that measuring the speed at a length is billed, once.
pub fn speed_tokens(length: usize) -> Tokens {
    let once = Tokens::new(length, DECODE);
    once.and(once)
}
