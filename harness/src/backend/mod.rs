//! What can answer a prompt: an engine in this process, or an endpoint.
//!
//! | file | holds |
//! |---|---|
//! | `local.rs` | the engine: shared beginnings evaluated once, answers decoded together |
//! | `larger.rs` | a model larger than memory: what is in memory at once |
//! | `disk.rs` | what the disk under a checkpoint delivers by itself |
//! | `endpoint/` | an OpenAI-compatible API: items side by side, a budget, lengths calibrated |
//! | `evaluation.rs` | a group of requests on one tree |
//! | `sharing.rs` | which prompts of a group continue which |
//! | `rate.rs` | how long the engine will take, from a short probe |
//! | `generation.rs` | one answer under way: choice of the next token, limits, thought and answer |
//! | `sample.rs` | log probabilities, greedy choice, sampling that is the same everywhere |
//!
//! A [`Backend`] is handed groups of [`Request`]s. It may evaluate a beginning that several of them have in common
//! once, and several answers at a time; what it returns for a request must not depend on the others.

pub mod disk;
pub mod endpoint;
mod evaluation;
pub mod generation;
pub mod larger;
pub mod local;
pub mod rate;
pub mod sample;
pub mod sharing;

use std::collections::BTreeMap;

use crate::Result;
use crate::backend::endpoint::budget::Terms;
use crate::endpoint::Usage;
use crate::record::{OptionScore, PromptOption};

/// A model as it presents itself.
#[derive(Clone, Debug, Default)]
pub struct ModelCard {
    /// Short name for people and for folders.
    pub name: String,
    /// Longest context that the model declares, in tokens; 0 when it declares none.
    pub context_length: usize,
    /// Version of the numerics; results are comparable bit for bit within one.
    pub numeric_version: u32,
    /// What identifies it: hashes of weights, spec, tokenizer and template.
    pub identity: BTreeMap<String, serde_json::Value>,
    /// What describes it: family, layers in words, sizes.
    pub facts: BTreeMap<String, serde_json::Value>,
}

/// A prompt and what is wanted of it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The prompt, special tokens included; at least one, or none where nobody knows the tokenizer.
    pub ids: Vec<u32>,
    /// The prompt's text, for who sends text; as rendered.
    pub text: String,
    /// Tokens of the prompt, about where there are no ids.
    pub prompt_tokens: usize,
    /// Wanted text; `None` when only options are scored.
    pub generate: Option<Generate>,
    /// Options to be scored by log-likelihood; may be empty.
    pub options: Vec<PromptOption>,
}

impl Request {
    /// Tokens that its sequence has at the end, at most.
    pub fn tokens(&self) -> usize {
        let answer = self.generate.as_ref();
        let answer = answer.map_or(0, |g| g.max_tokens + g.thought_budget);
        let options = self.options.iter().map(|o| o.ids.len()).max();
        self.ids.len() + answer.max(options.unwrap_or(0))
    }
}

/// How text is generated.
#[derive(Clone, Debug, PartialEq)]
pub struct Generate {
    /// Tokens that the answer may have.
    pub max_tokens: usize,
    /// Tokens that a thought may have, beside the answer's.
    pub thought_budget: usize,
    /// The prompt itself opens a thought.
    pub thinking: bool,
    /// The answer ends with its first line: for models that are given no turns, and go on.
    pub one_line: bool,
    /// 0 is greedy.
    pub temperature: f32,
    /// Share of the probability that is sampled from; 1 is all.
    pub top_p: f32,
    /// Seed of this answer; two answers with one seed and one prompt are equal.
    pub seed: u64,
}

/// How a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The model ended its turn.
    Stop,
    /// The answer met its limit.
    Limit,
    /// The thought met its budget.
    ThoughtLimit,
}

/// What came back for a request.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Text as generated, thought included, without the stop token.
    pub text: String,
    /// Ids generated, the stop token included where there was one.
    pub ids: Vec<u32>,
    /// Log probability of each, before temperature.
    pub logprobs: Vec<f32>,
    /// How the text ended; `None` when none was wanted.
    pub end: Option<End>,
    /// In the order of the request's options.
    pub options: Vec<OptionScore>,
    /// Seconds from the start of the prompt to its last logits; `None` where the beginning was shared.
    pub prefill_s: Option<f64>,
    /// Seconds of decoding; of the whole batch where several answers were decoded together.
    pub decode_s: Option<f64>,
    /// Hash of the logits after the prompt's last token; empty where a backend has none.
    pub logits_hash: String,
    /// What an API billed, where it told.
    pub usage: Option<Usage>,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// With something to judge.
    Reply(Reply),
    /// The API said that it refuses.
    Refused(String),
    /// Transport or server failed.
    Failed(String),
    /// It was not tried.
    Skipped(String),
}

/// What a backend tells while it works. An error from the listener stops the work and is passed on.
#[derive(Debug)]
pub enum Event {
    /// Prompt tokens evaluated since the last event.
    Prefilled(usize),
    /// Answer tokens generated since the last event.
    Decoded(usize),
    /// The request of this index in the group has ended.
    Done(usize, Outcome),
}

/// Receives events. Called at least every few hundred tokens, so that a stop is noticed.
pub type Listener<'a> = dyn FnMut(Event) -> Result<()> + 'a;

/// One measurement of speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpeedSample {
    /// Seconds of the prompt's tokens.
    pub prefill_s: f64,
    /// Seconds to the first generated token, the prompt's included.
    pub first_token_s: f64,
    /// Seconds of the further generated tokens.
    pub decode_s: f64,
    /// Generated tokens in `decode_s`.
    pub decoded: usize,
    /// Bytes of the key-value cache at the end; 0 where unknown.
    pub cache_bytes: u64,
    /// Tokens of the prompt: as many as were asked for, or about.
    pub prompt_tokens: usize,
    /// The same prompt a second time, at an API.
    pub again: Option<Again>,
}

/// The same prompt sent twice to an API: what its cache of prompts is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Again {
    /// Seconds to the first generated token the second time.
    pub first_token_s: f64,
    /// Tokens of the prompt that came from the cache the first time, where the API tells.
    pub cold_cached: Option<u64>,
    /// .. and the second time.
    pub warm_cached: Option<u64>,
}

/// What can answer prompts.
pub trait Backend {
    /// The model as it presents itself.
    fn card(&self) -> &ModelCard;

    /// Hash of the logits of a fixed prompt, 16 hexadecimal digits; empty where there are no logits to be had.
    ///
    /// # Errors
    /// When the model cannot be evaluated.
    fn fingerprint(&mut self) -> Result<String>;

    /// Bytes of memory on this machine for one sequence of so many tokens, weights included; 0 where it needs none.
    fn bytes_needed(&self, tokens: usize) -> u64;

    /// Bytes that each further sequence of so many tokens adds.
    fn bytes_per_sequence(&self, tokens: usize) -> u64;

    /// Whether as many requests as memory allows should be handed over together, whatever their length and document: each
    /// time costs as much as reading the whole model.
    fn takes_all(&self) -> bool {
        false
    }

    /// Requests that are handed over together whatever their length and document; `None` where those of one document
    /// or one length are.
    fn together(&self) -> Option<usize> {
        None
    }

    /// What the tokens of a run may cost, where somebody bills them. What fails there is no end of a run.
    fn terms(&self) -> Option<&Terms> {
        None
    }

    /// Measurements of the speed at one length, at most.
    fn speed_repeats(&self) -> usize {
        3
    }

    /// Estimated seconds of evaluating `prompt` tokens behind `context` others and generating `generated` more:
    /// for plans and progress, from a short measurement or a stated assumption.
    fn seconds(&self, context: usize, prompt: usize, generated: usize) -> f64;

    /// What [`Backend::seconds`] rests on, in words: `probe: 5300 prompt tokens/s, 90 generated tokens/s`.
    fn rate_basis(&self) -> String;

    /// Answers every request of a group, each exactly once.
    ///
    /// # Errors
    /// When the work cannot go on, or the listener said so. A request that fails by itself is an [`Outcome`].
    fn evaluate(&mut self, group: &[Request], listener: &mut Listener<'_>) -> Result<()>;

    /// Measures one prompt of `context` tokens and `decode` generated ones by itself.
    ///
    /// # Errors
    /// When the model cannot be evaluated, or the listener said so.
    fn measure(
        &mut self,
        context: usize,
        decode: usize,
        listener: &mut Listener<'_>,
    ) -> Result<SpeedSample>;
}
