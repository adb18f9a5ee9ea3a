//! An answer put together: from one body, or from the pieces of a stream.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::endpoint::logprobs::{self, Position};
use crate::http::{error_words, one_line};
use crate::json::kind;

/// What a request was billed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
    /// Tokens of the prompt that were not computed again, where the service tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completed {
    /// Its text; with `echo`, after that of the prompt.
    pub text: String,
    /// What was thought before it, where the service tells that apart.
    pub reasoning: String,
    /// Why the model refuses, where the service tells that apart.
    pub refusal: Option<String>,
    /// Why it ended: `stop`, `length`, `content_filter`, ..
    pub finish_reason: Option<String>,
    /// Its tokens with log probabilities, where they were asked for and told.
    pub tokens: Vec<Position>,
    /// What was billed, where the service tells.
    pub usage: Option<Usage>,
    /// The model as the answer names it.
    pub model: Option<String>,
    /// From the request to the first piece with text or a token, seconds; of streams.
    pub first_token_s: Option<f64>,
    /// From the request to each piece with text or a token, seconds; of streams.
    pub piece_s: Vec<f64>,
    /// From the last try's request to the end of its answer, seconds.
    pub total_s: f64,
    /// Requests that were made until one was answered.
    pub tries: u32,
    /// vLLM's log probabilities of the prompt, as they came.
    pub(super) prompt_logprobs: Value,
}

/// Why a body or a piece is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The service says that it failed; its code, where it tells a number.
    Said(String, Option<u16>),
    /// It ends before its end.
    Cut(String),
    /// It is none that can be used.
    Malformed(String),
}

impl Completed {
    /// Takes a body, or a piece of a stream that came after `at`.
    ///
    /// # Errors
    /// When it tells an error or cannot be used.
    pub(super) fn take(&mut self, value: &Value, piece: Option<Duration>) -> Result<(), Wrong> {
        let malformed = |why: String| Wrong::Malformed(why);
        if !value.is_object() {
            let why = format!("found {}, expected an object", kind(value));
            return Err(malformed(why));
        }
        said(value)?;
        if let Some(model) = value["model"].as_str() {
            self.model = Some(one_line(model));
        }
        if let Some(usage) = usage(&value["usage"]).map_err(malformed)? {
            self.usage = Some(usage);
        }
        let choice = match value["choices"].as_array().map(Vec::as_slice) {
            Some([choice]) => choice,
            Some([]) | None if piece.is_some() => return Ok(()),
            found => {
                let found = found.map_or("none".to_owned(), |c| c.len().to_string());
                return Err(malformed(format!("choices: found {found}, expected 1")));
            }
        };
        said(choice)?;
        let reason = choice["finish_reason"].as_str();
        if reason == Some("error") {
            return Err(Wrong::Said("finish_reason error".to_owned(), None));
        }
        if let Some(reason) = reason {
            self.finish_reason = Some(one_line(reason));
        }
        let message = [&choice["message"], &choice["delta"]];
        let message = message.into_iter().find(|m| m.is_object());
        let text = match message {
            Some(message) => &message["content"],
            None => &choice["text"],
        };
        let text = match text {
            Value::Null => "",
            Value::String(text) => text,
            other => {
                let why = format!("the answer's text: found {}, expected a text", kind(other));
                return Err(malformed(why));
            }
        };
        if piece.is_none() && message.is_none() && !choice["text"].is_string() {
            let why = "choices[0]: found neither text nor message".to_owned();
            return Err(malformed(why));
        }
        let tokens = logprobs::read(&choice["logprobs"]).map_err(malformed)?;
        let aside = |name: &str| message.and_then(|m| m[name].as_str()).unwrap_or("");
        let reasoning = match aside("reasoning_content") {
            "" => aside("reasoning"),
            text => text,
        };
        let said = !text.is_empty() || !reasoning.is_empty() || !tokens.is_empty();
        if let Some(at) = piece.filter(|_| said) {
            self.first_token_s.get_or_insert(at.as_secs_f64());
            self.piece_s.push(at.as_secs_f64());
        }
        self.text += text;
        self.reasoning += reasoning;
        if !aside("refusal").is_empty() {
            *self.refusal.get_or_insert_default() += aside("refusal");
        }
        self.tokens.extend(tokens);
        for place in [choice, value] {
            if !place["prompt_logprobs"].is_null() {
                self.prompt_logprobs = place["prompt_logprobs"].clone();
            }
        }
        Ok(())
    }

    /// Checks counts when all has come: `most` tokens of an answer were asked for, after an echo of any length.
    ///
    /// # Errors
    /// When there are more, or usage contradicts it.
    pub(super) fn check(&self, most: usize, echo: bool) -> Result<(), Wrong> {
        // Some servers count the token that ends an answer.
        let most = most.saturating_add(1);
        if !echo && self.tokens.len() > most {
            let n = self.tokens.len();
            let why = format!("{n} tokens, where at most {} were asked for", most - 1);
            return Err(Wrong::Malformed(why));
        }
        match self.usage {
            Some(usage) if usage.completion_tokens > most as u64 => Err(Wrong::Malformed(format!(
                "usage.completion_tokens: found {}, expected at most {}",
                usage.completion_tokens,
                most - 1
            ))),
            _ => Ok(()),
        }
    }
}

/// An error inside an answer of status 200.
fn said(value: &Value) -> Result<(), Wrong> {
    let there = !value["error"].is_null() || value["object"] == "error";
    if !there {
        return Ok(());
    }
    let words = error_words(value).unwrap_or_else(|| "an error without words".to_owned());
    let code = [&value["error"]["code"], &value["code"]];
    let code = code.into_iter().find_map(|code| match code {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|c| u16::try_from(c).ok()),
    });
    Err(Wrong::Said(one_line(&words), code))
}

fn usage(value: &Value) -> Result<Option<Usage>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let count = |field: &Value, name: &str| match field {
        Value::Null => Ok(None),
        field => field.as_u64().map(Some).ok_or_else(|| {
            format!(
                "usage.{name}: found {}, expected a count",
                one_line(&field.to_string())
            )
        }),
    };
    let Some(prompt_tokens) = count(&value["prompt_tokens"], "prompt_tokens")? else {
        return Ok(None);
    };
    let cached = &value["prompt_tokens_details"]["cached_tokens"];
    Ok(Some(Usage {
        prompt_tokens,
        completion_tokens: count(&value["completion_tokens"], "completion_tokens")?.unwrap_or(0),
        cached_tokens: count(cached, "prompt_tokens_details.cached_tokens")?,
    }))
}
