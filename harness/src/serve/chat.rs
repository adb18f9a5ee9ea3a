//! `/v1/chat/completions`: a conversation in the model's own template.

use std::sync::Arc;
use std::time::Instant;

use fathom_engine::chat::Message;
use serde_json::{Value, json};
use tokio::sync::mpsc::unbounded_channel;

use crate::opened::Opened;
use crate::serve::error::{ApiError, ApiResult};
use crate::serve::fields::{Fields, show};
use crate::serve::http::App;
use crate::serve::job::{Finish, Job, Token};
use crate::serve::logprobs::{Names, content};
use crate::serve::reply::{Asked, Format, Said};
use crate::serve::sampling::{MAX_TOP, Sampling};

/// Tokens of an answer where the request does not say, if the context has so many left.
const MAX_TOKENS: usize = 4096;

/// How answers in a conversation are written.
#[derive(Debug)]
pub struct Chat {
    opened: Arc<Opened>,
    prompt: Vec<u32>,
    logprobs: bool,
    token_ids: bool,
    names_are_ids: bool,
}

/// Reads a request.
///
/// # Errors
/// What is wrong with it, by field.
pub fn read(app: &App, body: &[u8]) -> ApiResult<Asked<Chat>> {
    let limits = &app.limits;
    let mut fields = Fields::parse(body)?;
    app.check_model(&mut fields)?;
    let sampling = Sampling::read(&mut fields, limits.batch)?;
    let logprobs = fields.flag("logprobs")?.unwrap_or(false);
    let top = fields.count("top_logprobs", 0..=MAX_TOP)?;
    if top.is_some_and(|n| n > 0) && !logprobs {
        let expected = "none without 'logprobs': true";
        return Err(ApiError::field("top_logprobs", "a number", expected));
    }
    let older = fields.count("max_tokens", 0..=usize::MAX)?;
    let max_tokens = fields
        .count("max_completion_tokens", 0..=usize::MAX)?
        .or(older);
    let prompt = prompt(app, &mut fields)?;
    for (name, neutral) in [
        ("tools", vec![json!([])]),
        ("functions", vec![json!([])]),
        ("tool_choice", vec![json!("none"), json!("auto")]),
        ("function_call", vec![json!("none"), json!("auto")]),
        ("response_format", vec![json!({"type": "text"})]),
        ("modalities", vec![json!(["text"])]),
        ("continue_final_message", vec![json!(false)]),
    ] {
        fields.only(name, &neutral)?;
    }
    fields.ignore(&["store", "parallel_tool_calls", "prompt_cache_key"]);
    fields.done()?;

    let left = limits.context.saturating_sub(prompt.len());
    let (sender, events) = unbounded_channel();
    let job = Job {
        ids: prompt.clone(),
        score_prompt: false,
        top: top.unwrap_or(0),
        answers: sampling.answers(max_tokens.unwrap_or(MAX_TOKENS.min(left))),
        stops: sampling.stops.clone(),
        fresh_text: true,
        first: 0,
        deadline: Instant::now() + limits.time,
        events: sender,
    };
    app.check_job("messages", &job)?;
    let format = Chat {
        opened: app.opened.clone(),
        prompt,
        logprobs,
        token_ids: sampling.token_ids,
        names_are_ids: sampling.names_are_ids,
    };
    Ok(Asked {
        format,
        stream: sampling.stream,
        include_usage: sampling.include_usage,
        jobs: vec![job],
        events,
    })
}

/// Reads the fields that make a conversation's prompt: its ids.
///
/// # Errors
/// What is wrong with them, by field; the template may refuse the messages.
pub fn prompt(app: &App, fields: &mut Fields) -> ApiResult<Vec<u32>> {
    let generation = fields.flag("add_generation_prompt")?.unwrap_or(true);
    let variables = fields.object("chat_template_kwargs")?;
    let expected = "a list of messages, at least one";
    let list = match fields.take("messages") {
        Some(Value::Array(list)) if !list.is_empty() => list,
        Some(other) => return Err(ApiError::field("messages", show(&other), expected)),
        None => return Err(ApiError::field("messages", "nothing", expected)),
    };
    let messages = list.into_iter().enumerate();
    let messages = messages.map(message).collect::<ApiResult<Vec<_>>>()?;
    let ids = app
        .opened
        .conversation(messages, generation, &variables)
        .map_err(|e| ApiError::field("messages", e, "what the chat template renders"))?;
    match ids.is_empty() {
        true => Err(ApiError::field("messages", "no token", "at least one")),
        false => Ok(ids),
    }
}

fn message((i, value): (usize, Value)) -> ApiResult<Message> {
    let name = |field: &str| format!("messages[{i}].{field}");
    let Value::Object(mut fields) = value else {
        let expected = "an object with role and content";
        return Err(ApiError::field(
            format!("messages[{i}]"),
            show(&value),
            expected,
        ));
    };
    let role = match fields.remove("role") {
        Some(Value::String(role))
            if ["system", "developer", "user", "assistant"].contains(&&role[..]) =>
        {
            role
        }
        other => {
            let found = other.as_ref().map_or_else(|| "nothing".to_owned(), show);
            let expected = "system, developer, user or assistant";
            return Err(ApiError::field(name("role"), found, expected));
        }
    };
    // Where OpenAI says developer, the templates of open models say system.
    let role = if role == "developer" {
        "system".to_owned()
    } else {
        role
    };
    let content = match fields.remove("content") {
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) => {
            let parts = parts.iter().enumerate();
            let texts = parts.map(|(p, part)| match (&part["type"], &part["text"]) {
                (Value::String(kind), Value::String(text)) if kind == "text" => Ok(&text[..]),
                _ => {
                    let name = format!("messages[{i}].content[{p}]");
                    Err(ApiError::field(name, show(part), "a part of type text"))
                }
            });
            texts.collect::<ApiResult<String>>()?
        }
        other => {
            let found = other.as_ref().map_or_else(|| "nothing".to_owned(), show);
            return Err(ApiError::field(
                name("content"),
                found,
                "text, or parts of text",
            ));
        }
    };
    // Clients send back what they were given.
    for empty in [
        "refusal",
        "tool_calls",
        "function_call",
        "audio",
        "annotations",
    ] {
        let value = fields.remove(empty).unwrap_or(Value::Null);
        if !(value.is_null() || value.as_array().is_some_and(Vec::is_empty)) {
            return Err(ApiError::unsupported(name(empty)));
        }
    }
    match fields.iter().find(|(_, value)| !value.is_null()) {
        Some((field, _)) => Err(ApiError::unsupported(name(field))),
        None => Ok(Message::new(role, content)),
    }
}

impl Chat {
    fn logprobs(&self, tokens: &[Token]) -> Value {
        if self.logprobs {
            let names = Names {
                tokenizer: &self.opened.tokenizer,
                ids: self.names_are_ids,
            };
            content(names, tokens)
        } else {
            Value::Null
        }
    }

    fn chunk(answer: usize, delta: Value, logprobs: Value, finish: Option<Finish>) -> Value {
        json!({
            "index": answer,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish.map(Finish::word),
        })
    }
}

impl Format for Chat {
    fn names(&self) -> [&'static str; 3] {
        ["chatcmpl-", "chat.completion", "chat.completion.chunk"]
    }

    fn whole(&self, answer: usize, _: &[Token], said: &Said) -> Value {
        let mut choice = json!({
            "index": answer,
            "message": {"role": "assistant", "content": said.text, "refusal": null},
            "logprobs": self.logprobs(&said.tokens),
            "finish_reason": said.finish.map(Finish::word),
        });
        if self.token_ids {
            choice["token_ids"] = said.tokens.iter().map(|t| t.id).collect();
            choice["prompt_token_ids"] = json!(self.prompt);
        }
        choice
    }

    fn open(&mut self, answer: usize, _: &[Token]) -> Option<Value> {
        let delta = json!({"role": "assistant", "content": "", "refusal": null});
        let mut choice = Self::chunk(answer, delta, Value::Null, None);
        if self.token_ids {
            choice["prompt_token_ids"] = json!(self.prompt);
        }
        Some(choice)
    }

    fn piece(&mut self, answer: usize, text: &str, tokens: &[Token]) -> Value {
        let delta = json!({"content": text});
        let mut choice = Self::chunk(answer, delta, self.logprobs(tokens), None);
        if self.token_ids {
            choice["token_ids"] = tokens.iter().map(|t| t.id).collect();
        }
        choice
    }

    fn end(&self, answer: usize, finish: Finish) -> Value {
        Self::chunk(answer, json!({}), Value::Null, Some(finish))
    }
}
