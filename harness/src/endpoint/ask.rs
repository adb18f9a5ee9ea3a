//! One request: what is sent, and what comes of it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::endpoint::answer::Completed;
use crate::endpoint::request::{Chat, Completion, Sampling};
use crate::endpoint::settings::Settings;
use crate::endpoint::wire::Wire;
use crate::http::{self, Client, Token, one_line};
use crate::stop::Stop;
use crate::{Error, Result};

/// The limit of an answer's tokens, as most services know it.
const OLD_LIMIT: &str = "max_tokens";
/// .. and as OpenAI's newer models do, in chat.
const NEW_LIMIT: &str = "max_completion_tokens";

/// Why a request brought no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In words, with the host; never with a key.
    pub why: String,
    /// What kind it is of.
    pub kind: Kind,
    /// Status of the last answer, where it was one of failure.
    pub status: Option<u16>,
    /// The service's own name for the error, such as `content_filter`.
    pub code: Option<String>,
    /// Requests that were made.
    pub tries: u32,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The service does not do this (400, 404, 413, 422, an error in the answer).
    Refused,
    /// The service does not do this for us (401, 402, 403).
    Forbidden,
    /// No answer came, or half of one, however often it was asked; or it took too long.
    Transport,
    /// What came is no answer.
    Malformed,
    /// Somebody asked us to stop.
    Interrupted,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            Kind::Interrupted => Self::Interrupted,
            _ => Self::Unfinished(failure.why),
        }
    }
}

/// A service. Threads share it.
#[derive(Debug)]
pub struct Endpoint {
    pub(super) client: Client,
    pub(super) settings: Settings,
    base: String,
    model: String,
    pub(super) stop: Stop,
    billed: Mutex<Billed>,
    /// Whether a limit of tokens goes by its newer name.
    renamed: AtomicBool,
}

/// What all requests that were answered were billed, as far as the service told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Billed {
    /// Requests that were answered.
    pub requests: u64,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Tokens of answers.
    pub completion_tokens: u64,
}

/// What one request is, beside its body.
struct Call<'a> {
    path: &'a str,
    stream: bool,
    /// Tokens of the answer that were asked for.
    most: usize,
    echo: bool,
    tries: u32,
}

impl Endpoint {
    /// Finds out which model is asked: the one named, or the only one that the service lists.
    ///
    /// # Errors
    /// When the address cannot be used, or no model is named and there is not exactly one.
    pub fn open(settings: &Settings, stop: &Stop) -> Result<Self> {
        let base = settings.base.trim_end_matches('/').to_owned();
        // Text of the environment that is no UTF-8 is no key.
        let key = std::env::var(&settings.api_key_env).ok();
        let token = key.as_deref().and_then(Token::new);
        let client = Client::new(&base, token, settings.stall)
            .map_err(|expected| Error::input("endpoint", "address", one_line(&base), expected))?;
        let mut endpoint = Self {
            client,
            settings: settings.clone(),
            base,
            model: settings.api_model.clone().unwrap_or_default(),
            stop: stop.clone(),
            billed: Mutex::default(),
            renamed: AtomicBool::new(false),
        };
        if settings.api_model.is_none() {
            endpoint.model = match &endpoint.models()?[..] {
                [only] => only.clone(),
                found => {
                    let mut names = found.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
                    if found.len() > 8 {
                        names += ", ..";
                    }
                    let found = format!("{} models ({names})", found.len());
                    return Err(Error::input(
                        "endpoint",
                        "--api-model",
                        found,
                        "the name of one",
                    ));
                }
            };
        }
        Ok(endpoint)
    }

    /// The model's name there.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Its address, `/v1` or the like included.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// What was billed so far.
    pub fn billed(&self) -> Billed {
        *self.billed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A text without the key, should it stand there.
    pub fn scrubbed(&self, text: &str) -> String {
        self.client.scrubbed(text)
    }

    /// Host and port.
    pub fn host(&self) -> String {
        self.client.home().to_string()
    }

    /// Names of the models that the service lists.
    ///
    /// # Errors
    /// When it lists none.
    pub fn models(&self) -> Result<Vec<String>, Failure> {
        let listed = self.listed()?;
        let names = listed.iter().filter_map(|m| m["id"].as_str());
        Ok(names.map(one_line).collect())
    }

    /// Tokens of context that the service advertises for the model, where it does: vLLM's `max_model_len`, a router's
    /// `context_length`, llama.cpp's `meta.n_ctx`.
    ///
    /// # Errors
    /// When it lists no models.
    pub fn context(&self) -> Result<Option<u64>, Failure> {
        let listed = self.listed()?;
        let own = listed.iter().find(|m| m["id"] == self.model.as_str());
        let told = own.and_then(|m| {
            let places = [
                &m["max_model_len"],
                &m["context_length"],
                &m["meta"]["n_ctx"],
            ];
            places.into_iter().find_map(Value::as_u64)
        });
        Ok(told)
    }

    fn listed(&self) -> Result<Vec<Value>, Failure> {
        let address = format!("{}/models", self.base);
        let headers = &self.settings.headers;
        let value = self.tries(self.settings.tries, |_, left| {
            let until = Instant::now() + left;
            let own = |origin: &http::Origin| {
                let ours = origin == self.client.home();
                let headers = headers.iter().filter(|_| ours);
                headers.map(|(n, v)| (n.as_str(), v.clone())).collect()
            };
            let reply = self.client.get(&address, &own).map_err(Wire::Http)?;
            self.whole(reply, until)
        })?;
        match &value.0["data"] {
            Value::Array(listed) => Ok(listed.clone()),
            _ => Err(self.failed(Kind::Malformed, "/models: expected a list named data", 1)),
        }
    }

    /// Continues a prompt (`/completions`).
    ///
    /// # Errors
    /// When there is no answer that can be used.
    pub fn complete(&self, asked: &Completion) -> Result<Completed, Failure> {
        self.complete_in(asked, self.settings.tries)
    }

    pub(super) fn complete_in(&self, asked: &Completion, tries: u32) -> Result<Completed, Failure> {
        let call = Call::new("/completions", &asked.sampling, asked.echo, tries);
        self.call(&call, asked.fields())
    }

    /// Answers a conversation (`/chat/completions`), in the service's own template.
    ///
    /// # Errors
    /// When there is no answer that can be used.
    pub fn chat(&self, asked: &Chat) -> Result<Completed, Failure> {
        self.chat_in(asked, self.settings.tries)
    }

    pub(super) fn chat_in(&self, asked: &Chat, tries: u32) -> Result<Completed, Failure> {
        let call = Call::new("/chat/completions", &asked.sampling, false, tries);
        let fields = || {
            let mut fields = asked.fields();
            if self.renamed.load(Ordering::Relaxed)
                && let Some(most) = fields.remove(OLD_LIMIT)
            {
                fields.insert(NEW_LIMIT.to_owned(), most);
            }
            fields
        };
        match self.call(&call, fields()) {
            // Services with newer models know the limit by its newer name alone, and say so.
            Err(failure)
                if failure.kind == Kind::Refused
                    && failure.why.contains(NEW_LIMIT)
                    && !self.renamed.swap(true, Ordering::Relaxed) =>
            {
                self.call(&call, fields())
            }
            done => done,
        }
    }

    /// Any JSON request below the base, or beside it where the path begins with `/../`.
    pub(super) fn post_json(
        &self,
        path: &str,
        fields: Map<String, Value>,
    ) -> Result<Value, Failure> {
        let address = match path.strip_prefix("/..") {
            Some(beside) => {
                let root = self
                    .base
                    .rsplit_once('/')
                    .map_or(&*self.base, |(root, _)| root);
                format!("{root}{beside}")
            }
            None => format!("{}{path}", self.base),
        };
        let body = Value::Object(fields).to_string();
        let answer = self.tries(1, |_, left| {
            let until = Instant::now() + left;
            let headers = &self.settings.headers;
            let reply = self.client.post(&address, headers, body.as_bytes(), left);
            self.whole(reply.map_err(Wire::Http)?, until)
        })?;
        Ok(answer.0)
    }

    fn call(&self, call: &Call<'_>, mut fields: Map<String, Value>) -> Result<Completed, Failure> {
        fields.insert("model".to_owned(), self.model.as_str().into());
        fields.extend(self.settings.extra.clone());
        let body = Value::Object(fields).to_string();
        let address = format!("{}{}", self.base, call.path);
        let (mut done, tries) = self.tries(call.tries, |_, left| {
            let begun = Instant::now();
            let headers = &self.settings.headers;
            let reply = self
                .client
                .post(&address, headers, body.as_bytes(), left)
                .map_err(Wire::Http)?;
            let mut done = Completed::default();
            let kind = reply.header("content-type").unwrap_or("");
            if kind.contains("event-stream") || (call.stream && !kind.contains("json")) {
                self.pieces(reply, begun, left, &mut done)?;
            } else {
                let value = self.whole(reply, begun + left)?;
                done.take(&value, None).map_err(Wire::Answer)?;
            }
            done.check(call.most, call.echo).map_err(Wire::Answer)?;
            done.total_s = begun.elapsed().as_secs_f64();
            Ok(done)
        })?;
        done.tries = tries;
        let mut billed = self.billed.lock().unwrap_or_else(PoisonError::into_inner);
        let usage = done.usage.unwrap_or_default();
        billed.requests += 1;
        billed.prompt_tokens = billed.prompt_tokens.saturating_add(usage.prompt_tokens);
        billed.completion_tokens = billed
            .completion_tokens
            .saturating_add(usage.completion_tokens);
        for text in [&mut done.text, &mut done.reasoning] {
            *text = self.client.scrubbed(text);
        }
        for text in [&mut done.finish_reason, &mut done.model, &mut done.refusal] {
            *text = text.take().map(|text| self.client.scrubbed(&text));
        }
        Ok(done)
    }

    pub(super) fn failed(&self, kind: Kind, why: &str, tries: u32) -> Failure {
        Failure {
            why: format!("{}: {why}", self.client.home()),
            kind,
            status: None,
            code: None,
            tries,
        }
    }
}

impl<'a> Call<'a> {
    fn new(path: &'a str, sampling: &Sampling, echo: bool, tries: u32) -> Self {
        Self {
            path,
            stream: sampling.stream,
            most: sampling.max_tokens,
            echo,
            tries,
        }
    }
}
