//! The tokens that end an answer.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{ChatTemplate, Message};
use crate::format::checkpoint::{Checkpoint, Config};
use crate::format::gguf;
use crate::tokenizer::{TURN_ENDS, Tokenizer};
use crate::{Error, Result};

/// What may say which tokens end an answer. All that is there counts.
#[derive(Clone, Copy, Default, Debug)]
pub struct StopSources<'a> {
    /// `generation_config.json`.
    pub generation_config: Option<&'a [u8]>,
    /// `config.json`, with its `text_config`.
    pub config: Option<&'a Map<String, Value>>,
    /// GGUF metadata.
    pub gguf: Option<&'a gguf::Metadata>,
    /// The model's chat template.
    pub template: Option<&'a ChatTemplate>,
}

impl<'a> StopSources<'a> {
    /// What an opened checkpoint has, and its template.
    pub fn of(checkpoint: &'a Checkpoint, template: Option<&'a ChatTemplate>) -> Self {
        let (config, gguf) = match &checkpoint.config {
            Config::Hf(config) => (Some(config), None),
            Config::Gguf(meta) => (None, Some(meta)),
        };
        let generation_config = checkpoint
            .files
            .get("generation_config.json")
            .map(|bytes| &**bytes);
        Self {
            generation_config,
            config,
            gguf,
            template,
        }
    }
}

/// The union of all sources: `eos_token_id` of the configurations, the tokenizer's own, GGUF's end of sequence, turn and message,
/// the tokens whose text llama.cpp takes for the end of a turn (GGUF), and what the template writes after an answer.
///
/// # Errors
/// When a file is not JSON or an id is not one.
pub fn stop_tokens(tokenizer: &Tokenizer, sources: &StopSources) -> Result<BTreeSet<u32>> {
    let mut stops: BTreeSet<u32> = tokenizer.eos().into_iter().collect();
    if let Some(bytes) = sources.generation_config {
        let file = "generation_config.json";
        let config: Map<String, Value> = serde_json::from_slice(bytes)
            .map_err(|e| Error::input(file, "content", e, "a JSON object"))?;
        add_eos(file, config.get("eos_token_id"), &mut stops)?;
    }
    if let Some(config) = sources.config {
        add_eos("config.json", config.get("eos_token_id"), &mut stops)?;
        let inner = config
            .get("text_config")
            .and_then(|text| text.get("eos_token_id"));
        add_eos("config.json", inner, &mut stops)?;
    }
    if let Some(meta) = sources.gguf {
        for name in ["eos", "eot", "eom"] {
            let id = match meta.get(&format!("tokenizer.ggml.{name}_token_id")) {
                Some(gguf::Value::Unsigned(id)) => u32::try_from(*id).ok(),
                Some(gguf::Value::Signed(id)) => u32::try_from(*id).ok(),
                _ => None,
            };
            stops.extend(id);
        }
        let has = |text: &str| tokenizer.id(text).is_some();
        // In these vocabularies the token ends a part of an answer, not the answer.
        let inner = if has("<|call|>") && has("<|return|>") || has("<|calls|>") && has("<|flush|>")
        {
            Some("<|end|>")
        } else if has("<|tool_response>") {
            Some("</s>")
        } else {
            None
        };
        let texts = TURN_ENDS.iter().filter(|text| Some(**text) != inner);
        stops.extend(texts.filter_map(|text| tokenizer.id(text)));
    }
    stops.extend(
        sources
            .template
            .and_then(|template| turn_end(tokenizer, template)),
    );
    Ok(stops)
}

/// `eos_token_id`: an id, several, or null. Negative ones stand for none.
fn add_eos(file: &str, value: Option<&Value>, stops: &mut BTreeSet<u32>) -> Result<()> {
    let one = |value: &Value| match value.as_i64() {
        Some(id) if id <= i64::from(u32::MAX) => Ok(u32::try_from(id).ok()),
        _ => Err(Error::input(
            file,
            "eos_token_id",
            value,
            "a token id or a list of them",
        )),
    };
    match value {
        None | Some(Value::Null) => {}
        Some(Value::Array(list)) => {
            for id in list {
                stops.extend(one(id)?);
            }
        }
        Some(id) => stops.extend(one(id)?),
    }
    Ok(())
}

/// The special token that the template writes after an answer.
fn turn_end(tokenizer: &Tokenizer, template: &ChatTemplate) -> Option<u32> {
    const ANSWER: &str = "fathom-answer";
    let messages = [
        Message::new("user", "question"),
        Message::new("assistant", ANSWER),
    ];
    let prompt = template.render(&messages, false).ok()?;
    let (_, tail) = prompt.rsplit_once(ANSWER)?;
    let ids = tokenizer.encode_special(tail.trim_start()).ok()?;
    ids.first().copied().filter(|&id| tokenizer.is_special(id))
}
