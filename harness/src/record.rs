//! What a run's folder holds, line by line. Formats carry a version; a reader says what it cannot read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::endpoint::Usage;
use crate::item::{Item, Prompt, Question};

/// Version of the folder's formats.
pub const FORMAT: u32 = 1;

/// One line of `items.jsonl`: an item as it is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ItemRecord {
    /// The item.
    pub item: Item,
    /// Its question, without the pieces of the document: they stand in the prompt's text.
    pub question: Question,
    /// What is sent; empty where the item is skipped.
    pub prompt: Prompt,
    /// Items of one group have a long beginning in common, which is evaluated once; empty: stands alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Options by log-likelihood, as appended to the prompt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<PromptOption>,
    /// What a reader should know: `beyond-declared-context`, `filler-repeats`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<String>,
    /// Why the item cannot be sent at all (the question is longer than the length); empty where it can.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub skip: String,
}

/// An option to be scored by log-likelihood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptOption {
    /// The text as appended to the prompt.
    pub text: String,
    /// Its tokens.
    pub ids: Vec<u32>,
}

/// How an item ended. Every item ends in exactly one of these, and stays in the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// An answer was judged.
    Scored,
    /// The answer met its token limit before it ended or could be judged: wrong, shown apart.
    Truncated,
    /// The API said that it refuses: wrong, shown apart.
    Refused,
    /// Transport or server failed: says nothing about the model.
    Failed,
    /// Not attempted (does not fit): says nothing about the model.
    Skipped,
}

/// One line of `answers.jsonl`: what came back for an item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The item's id.
    pub item: String,
    /// How it ended, before judging (`Scored` means: there is an answer to judge).
    pub status: Status,
    /// Why, for every status but `Scored`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The answer, without thought.
    #[serde(default)]
    pub text: String,
    /// What a reasoning model thought, recorded and never scored.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub thought: String,
    /// Ids of everything generated.
    #[serde(default)]
    pub ids: Vec<u32>,
    /// Log probability of each generated id under the model (before temperature).
    #[serde(default)]
    pub logprobs: Vec<f32>,
    /// Log-likelihood of each option, where the item is scored so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<OptionScore>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Seconds from the start of the prompt to its last logits; absent for forks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill_s: Option<f64>,
    /// Seconds of decoding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_s: Option<f64>,
    /// Hash of the logits that the answer came from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub logits_hash: String,
    /// What an API billed, where it told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// Log-likelihood of one option.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptionScore {
    /// The option's text as appended.
    pub text: String,
    /// Sum of its tokens' log probabilities, natural logarithm.
    pub logprob: f64,
    /// Its tokens.
    pub tokens: usize,
}

/// One row of `scores.csv`: an item judged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScoreRow {
    /// The item's id.
    pub item: String,
    /// Suite.
    pub suite: String,
    /// Task.
    pub task: String,
    /// `none`, `short` or the length in tokens.
    pub context: String,
    /// Depth, where the task has that axis.
    pub depth: Option<f64>,
    /// Cluster of items that are not independent.
    pub cluster: String,
    /// `generate` or `likelihood`.
    pub method: String,
    /// How it ended.
    pub status: Status,
    /// Score in 0..=1; empty where nothing can be said (`failed`, `skipped`).
    pub score: Option<f64>,
    /// What a guess would score.
    pub chance: f64,
    /// Answer is empty, loops, or is not text.
    pub defect: String,
    /// Further figures by name (`tau`, `ndcg`, `recall`, `f1`), as `name=value` separated by spaces.
    pub detail: String,
}

/// One row of `speed.csv`: one length measured by itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SpeedRow {
    /// Tokens of the prompt.
    pub context: usize,
    /// Prompt tokens a second.
    pub prefill_tokens_per_s: f64,
    /// Generated tokens a second at this context.
    pub decode_tokens_per_s: f64,
    /// Seconds from the start of the prompt to the first token.
    pub first_token_s: f64,
    /// Peak resident memory of the process so far, bytes.
    pub peak_rss_bytes: u64,
    /// Bytes of the key-value cache at this context.
    pub cache_bytes: u64,
    /// Repetitions measured; the figures are medians.
    pub repeats: usize,
    /// Tokens of the prompt as an API told them, or as they were sent; empty where they are `context`.
    #[serde(default)]
    pub prompt_tokens: Option<usize>,
    /// Seconds to the first token of the same prompt sent again, at an API.
    #[serde(default)]
    pub warm_first_token_s: Option<f64>,
    /// Tokens of the prompt that an API told to be cached the first time.
    #[serde(default)]
    pub cold_cached_tokens: Option<u64>,
    /// .. and the second time.
    #[serde(default)]
    pub warm_cached_tokens: Option<u64>,
}

/// `manifest.json`: what was run, on what, with what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the folder's formats.
    pub format: u32,
    /// Version of fathom and commit, as far as known.
    pub fathom: String,
    /// Version of the engine's numerics: logits are comparable bit for bit within one.
    pub numeric_version: u32,
    /// UTC, ISO 8601.
    pub started: String,
    /// UTC, ISO 8601; empty while the run is unfinished.
    pub finished: String,
    /// What makes two runs the same run: any difference in here refuses to continue.
    pub identity: BTreeMap<String, serde_json::Value>,
    /// Facts for people: CPU, threads, memory, paths, command line.
    pub environment: BTreeMap<String, serde_json::Value>,
    /// The model as declared: name, context length, trained length, layers in words.
    pub model: BTreeMap<String, serde_json::Value>,
    /// Hash of the logits of a fixed prompt.
    pub logits_fingerprint: String,
}
