//! One request: sent, tried again while that may help, answered whole or as a stream, within its deadline.

use std::fmt;
use std::io::{ErrorKind, Read};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::endpoint::answer::{Completed, Wrong};
use crate::endpoint::request::{Chat, Completion, Prompt, Sampling};
use crate::endpoint::settings::Settings;
use crate::endpoint::stream::Events;
use crate::endpoint::{Capabilities, Position, logprobs};
use crate::fetch::patience::{GivenUp, Limits, Patience};
use crate::http::{self, Client, Reply, Token, one_line};
use crate::stop::Stop;
use crate::{Error, Result};

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
    client: Client,
    settings: Settings,
    base: String,
    model: String,
    stop: Stop,
    billed: Mutex<Billed>,
}

/// What all requests that were answered were billed, as far as the service told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
        self.call(&call, asked.fields())
    }

    /// Log probabilities of a prompt's own tokens and of the `top` most probable ones at each, in the way that was found
    /// to work. The first token has none.
    ///
    /// # Errors
    /// When the service does not tell them, or tells another number of tokens than it says to have read. One that says to have
    /// read fewer than were sent, tells those.
    pub fn score_prompt(
        &self,
        can: &Capabilities,
        prompt: &Prompt,
        top: usize,
    ) -> Result<Vec<Position>, Failure> {
        let malformed = |why: &str| self.failed(Kind::Malformed, why, 1);
        let mut asked = Completion::new(prompt.clone(), Sampling::greedy(1));
        let ids = match prompt {
            Prompt::Ids(ids) => Some(ids),
            Prompt::Text(_) => None,
        };
        if can.echo {
            asked.echo = true;
            asked.sampling.logprobs = Some(top);
            if can.echo_ids {
                let name = "return_tokens_as_token_ids".to_owned();
                asked.extra.insert(name, true.into());
            }
            let mut done = self.complete(&asked)?;
            let told = done.usage.map(|u| u.prompt_tokens as usize);
            let n = ids.map(Vec::len).or(told);
            let n =
                n.ok_or_else(|| malformed("echo: usage does not tell where the prompt ends"))?;
            // A prompt that was cut comes back cut; whoever asked for it sees what is missing.
            if let Some(told) = told.filter(|told| *told < n && ids.is_some()) {
                done.tokens.truncate(told);
                return Ok(done.tokens);
            }
            if done.tokens.len() < n || done.tokens.len() > n + 2 {
                let found = done.tokens.len();
                return Err(malformed(&format!(
                    "echo: found {found} tokens, expected {n} and one more"
                )));
            }
            done.tokens.truncate(n);
            for (position, id) in done.tokens.iter_mut().zip(ids.into_iter().flatten()) {
                position.token.id = Some(*id);
            }
            return Ok(done.tokens);
        }
        match ids.filter(|_| can.prompt_logprobs) {
            None => Err(self.failed(
                Kind::Refused,
                "the service does not tell log probabilities of a prompt",
                0,
            )),
            Some(ids) => {
                asked.extra.insert("prompt_logprobs".to_owned(), top.into());
                let done = self.complete(&asked)?;
                logprobs::prompt_logprobs(&done.prompt_logprobs, ids).map_err(|e| malformed(&e))
            }
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

    fn pieces(
        &self,
        reply: Reply,
        begun: Instant,
        left: Duration,
        done: &mut Completed,
    ) -> Result<(), Wire> {
        encoded(&reply)?;
        let body = Guarded {
            body: reply.body.into_reader(),
            until: begun + left,
        };
        let mut events = Events::new(body, self.settings.max_body);
        while let Some(data) = events.next().map_err(broken)? {
            self.stop.check().map_err(|_| Wire::Stopped)?;
            if data.trim() == "[DONE]" {
                return Ok(());
            }
            let value = parse(data.as_bytes())?;
            done.take(&value, Some(begun.elapsed()))
                .map_err(Wire::Answer)?;
        }
        if done.finish_reason.is_some() {
            return Ok(());
        }
        Err(Wire::Answer(Wrong::Cut(
            "a stream that ends before its answer".to_owned(),
        )))
    }

    /// A whole body of JSON.
    fn whole(&self, reply: Reply, until: Instant) -> Result<Value, Wire> {
        encoded(&reply)?;
        let most = self.settings.max_body;
        let body = Guarded {
            body: reply.body.into_reader(),
            until,
        };
        let mut bytes = Vec::new();
        let mut body = body.take(most + 1);
        body.read_to_end(&mut bytes).map_err(broken)?;
        if bytes.len() as u64 > most {
            let why = format!("a body longer than {most} bytes");
            return Err(Wire::Answer(Wrong::Malformed(why)));
        }
        parse(&bytes)
    }

    /// Tries until it is answered, refused, or too late. What a failure quotes of the server's words has no key in it.
    fn tries<T>(
        &self,
        tries: u32,
        one: impl FnMut(u32, Duration) -> Result<T, Wire>,
    ) -> Result<(T, u32), Failure> {
        self.attempts(tries, one).map_err(|failure| Failure {
            why: self.client.scrubbed(&failure.why),
            ..failure
        })
    }

    fn attempts<T>(
        &self,
        tries: u32,
        mut one: impl FnMut(u32, Duration) -> Result<T, Wire>,
    ) -> Result<(T, u32), Failure> {
        let deadline = self.settings.deadline;
        let begun = Instant::now();
        let mut patience = Patience::new(Limits { tries, deadline });
        let mut n = 0;
        let given_up = |given_up, status, n| match given_up {
            GivenUp::Failed(failure) => Failure {
                why: failure.why,
                kind: Kind::Transport,
                status: failure.status.or(status),
                code: failure.code,
                tries: n,
            },
            GivenUp::Stopped(_) => self.failed(Kind::Interrupted, "interrupted", n),
        };
        loop {
            patience
                .hold(&self.client, &self.stop)
                .map_err(|e| given_up(e, Some(429), n))?;
            let left = deadline.saturating_sub(begun.elapsed());
            if left.is_zero() {
                let why = format!("no answer in {} s", deadline.as_secs());
                return Err(self.failed(Kind::Transport, &why, n));
            }
            n += 1;
            let wire = match one(n, left) {
                Ok(done) => return Ok((done, n)),
                Err(wire) => wire,
            };
            let failure = match wire {
                Wire::Stopped => return Err(self.failed(Kind::Interrupted, "interrupted", n)),
                Wire::Http(failure) => failure,
                Wire::Answer(Wrong::Malformed(why)) => {
                    return Err(self.failed(Kind::Malformed, &why, n));
                }
                Wire::Answer(Wrong::Cut(why)) => {
                    http::Failure::passing(format!("{}: {why}", self.client.home()))
                }
                Wire::Answer(Wrong::Said(why, code)) => {
                    let why = format!("an error in the answer: {why}");
                    match code {
                        Some(408 | 429 | 500 | 502 | 503 | 504) => {
                            let why = format!("{}: {why}", self.client.home());
                            http::Failure {
                                status: code,
                                ..http::Failure::passing(why)
                            }
                        }
                        _ => {
                            let mut failure = self.failed(Kind::Refused, &why, n);
                            failure.status = code;
                            return Err(failure);
                        }
                    }
                }
            };
            let lasting = match (failure.status, failure.kind) {
                (Some(401..=403), _) => Some(Kind::Forbidden),
                (_, http::Kind::Lasting | http::Kind::Missing | http::Kind::Forbidden) => {
                    Some(Kind::Refused)
                }
                _ => None,
            };
            if let Some(kind) = lasting {
                return Err(Failure {
                    why: failure.why,
                    kind,
                    status: failure.status,
                    code: failure.code,
                    tries: n,
                });
            }
            let status = failure.status;
            patience
                .wait(&failure, &self.stop)
                .map_err(|e| given_up(e, status, n))?;
        }
    }

    fn failed(&self, kind: Kind, why: &str, tries: u32) -> Failure {
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

/// What one try may meet.
enum Wire {
    Http(http::Failure),
    Answer(Wrong),
    Stopped,
}

/// A body that is read no longer than until a moment, however slowly it trickles.
struct Guarded<R> {
    body: R,
    until: Instant,
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if Instant::now() >= self.until {
            return Err(std::io::Error::new(ErrorKind::TimedOut, "the deadline"));
        }
        self.body.read(buffer)
    }
}

fn broken(error: std::io::Error) -> Wire {
    Wire::Answer(match error.kind() {
        ErrorKind::FileTooLarge => Wrong::Malformed(error.to_string()),
        _ => Wrong::Cut(format!("the answer breaks off: {error}")),
    })
}

fn parse(bytes: &[u8]) -> Result<Value, Wire> {
    serde_json::from_slice(bytes).map_err(|e| {
        let begins = String::from_utf8_lossy(bytes.get(..60).unwrap_or(bytes)).into_owned();
        let why = format!("found no JSON ({e}) in {:?}", one_line(&begins));
        Wire::Answer(if e.is_eof() {
            Wrong::Cut(why)
        } else {
            Wrong::Malformed(why)
        })
    })
}

/// Refuses a compressed body, which nobody asked for.
fn encoded(reply: &Reply) -> Result<(), Wire> {
    match reply.header("content-encoding") {
        None | Some("" | "identity") => Ok(()),
        Some(other) => Err(Wire::Answer(Wrong::Malformed(format!(
            "a body in {}, which was not asked for",
            one_line(other)
        )))),
    }
}
