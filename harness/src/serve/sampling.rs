//! The fields that completions and chat have in common: how answers are chosen, how many, and how they are sent.

use std::hash::{BuildHasher, RandomState};

use serde_json::{Value, json};

use crate::backend::Generate;
use crate::rng::derive;
use crate::serve::error::{ApiError, ApiResult};
use crate::serve::fields::{Fields, show};

/// Alternatives that are told with a token, at most.
pub const MAX_TOP: usize = 20;
/// Stop strings at most, and bytes of one.
const STOPS: usize = 16;
const STOP_BYTES: usize = 1024;

/// How answers are chosen and sent.
#[derive(Clone, Debug)]
pub struct Sampling {
    /// Answers to each prompt.
    pub n: usize,
    /// Strings that end an answer.
    pub stops: Vec<String>,
    /// Sent in pieces.
    pub stream: bool,
    /// A last piece has the usage.
    pub include_usage: bool,
    /// Ids stand beside the text (as in vLLM).
    pub token_ids: bool,
    /// Tokens of log probabilities are named `token_id:7` in place of their text, which is not always theirs alone (as in
    /// vLLM).
    pub names_are_ids: bool,
    temperature: f32,
    top_p: f32,
    seed: u64,
}

impl Sampling {
    /// Reads the fields; at most `batch` answers to a prompt.
    ///
    /// # Errors
    /// A field that holds something that cannot be used, or would have an effect that is not offered.
    pub fn read(fields: &mut Fields, batch: usize) -> ApiResult<Self> {
        let stream = fields.flag("stream")?.unwrap_or(false);
        let n = fields.count("n", 1..=batch)?.unwrap_or(1);
        let seed = fields.integer("seed", i64::MIN..=i64::MAX)?;
        let sampling = Self {
            n,
            stops: stops(fields.take("stop"))?,
            stream,
            include_usage: include_usage(fields, stream)?,
            token_ids: fields.flag("return_token_ids")?.unwrap_or(false),
            names_are_ids: fields.flag("return_tokens_as_token_ids")?.unwrap_or(false),
            temperature: fields.number("temperature", 0.0..=2.0)?.unwrap_or(1.0),
            top_p: fields.number("top_p", 0.0..=1.0)?.unwrap_or(1.0),
            seed: seed.map_or_else(|| RandomState::new().hash_one(0), |n| n as u64),
        };
        // Neutral values are sent by clients that always send every parameter.
        for (name, neutral) in [
            ("frequency_penalty", vec![json!(0)]),
            ("presence_penalty", vec![json!(0)]),
            ("repetition_penalty", vec![json!(1)]),
            ("logit_bias", vec![json!({})]),
            ("top_k", vec![json!(0), json!(-1)]),
            ("min_p", vec![json!(0)]),
            ("ignore_eos", vec![json!(false)]),
            ("min_tokens", vec![json!(0)]),
        ] {
            fields.only(name, &neutral)?;
        }
        fields.ignore(&["user", "metadata", "service_tier", "safety_identifier"]);
        Ok(sampling)
    }

    /// How each answer to a prompt is generated. One with the same prompt, seed and number is the same.
    pub fn answers(&self, max_tokens: usize) -> Vec<Generate> {
        let generate = |i: usize| Generate {
            max_tokens,
            thought_budget: max_tokens,
            thinking: false,
            one_line: false,
            temperature: self.temperature,
            top_p: self.top_p,
            seed: match i {
                0 => self.seed,
                i => derive(self.seed, "serve", i as u64, "answer"),
            },
        };
        (0..self.n).map(generate).collect()
    }
}

fn stops(value: Option<Value>) -> ApiResult<Vec<String>> {
    let expected = format!("a string, or up to {STOPS} of them, of at most {STOP_BYTES} bytes");
    let wrong = |value: &Value| ApiError::field("stop", show(value), &expected);
    let list = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= STOPS => list,
        Some(Value::String(text)) => vec![Value::String(text)],
        Some(other) => return Err(wrong(&other)),
    };
    let one = |value: Value| match value {
        Value::String(text) if text.len() <= STOP_BYTES => Ok(text),
        other => Err(wrong(&other)),
    };
    list.into_iter().map(one).collect()
}

fn include_usage(fields: &mut Fields, stream: bool) -> ApiResult<bool> {
    let options = fields.object("stream_options")?;
    if !options.is_empty() && !stream {
        let expected = "none without 'stream': true";
        return Err(ApiError::field("stream_options", "an object", expected));
    }
    let mut wanted = false;
    for (name, value) in options {
        match (&name[..], value) {
            ("include_usage", Value::Bool(b)) => wanted = b,
            ("include_usage" | "include_obfuscation", Value::Null | Value::Bool(false)) => {}
            _ => return Err(ApiError::unsupported(format!("stream_options.{name}"))),
        }
    }
    Ok(wanted)
}
