//! `/v1/completions`: text, several texts, token ids or several lists of them, continued.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::mpsc::unbounded_channel;

use crate::opened::Opened;
use crate::serve::error::{ApiError, ApiResult};
use crate::serve::fields::{Fields, show, token_ids};
use crate::serve::http::App;
use crate::serve::job::{Finish, Job, Token};
use crate::serve::logprobs::{Names, Offsets, lists};
use crate::serve::reply::{Asked, Format, Said};
use crate::serve::sampling::{MAX_TOP, Sampling};

/// Tokens of an answer, where the request does not say (as OpenAI).
const MAX_TOKENS: usize = 16;

/// A prompt as it is told with `echo`.
#[derive(Debug)]
struct Prompt {
    ids: Vec<u32>,
    text: String,
    /// Bytes of the tokens that do not stand in the text: an added BOS, a vocabulary's space before everything.
    skip: usize,
}

/// How completions are written.
#[derive(Debug)]
pub struct Completions {
    opened: Arc<Opened>,
    prompts: Vec<Prompt>,
    n: usize,
    echo: bool,
    logprobs: bool,
    token_ids: bool,
    names_are_ids: bool,
    /// Where each answer's next token begins, in a stream.
    offsets: Vec<Offsets>,
}

/// Reads a request.
///
/// # Errors
/// What is wrong with it, by field.
pub fn read(app: &App, body: &[u8]) -> ApiResult<Asked<Completions>> {
    let limits = &app.limits;
    let mut fields = Fields::parse(body)?;
    app.check_model(&mut fields)?;
    let sampling = Sampling::read(&mut fields, limits.batch)?;
    let echo = fields.flag("echo")?.unwrap_or(false);
    let logprobs = fields.count("logprobs", 0..=MAX_TOP)?;
    let max_tokens = fields.count("max_tokens", 0..=usize::MAX)?;
    let add_bos = fields.flag("add_special_tokens")?.unwrap_or(true);
    let prompt = fields.take("prompt");
    fields.only("best_of", &[json!(sampling.n)])?;
    fields.only("suffix", &[json!("")])?;
    fields.done()?;
    let prompt = prompt.ok_or_else(|| {
        ApiError::field("prompt", "nothing", "text, token ids, or a list of either")
    })?;
    let prompts = prompts(app, prompt, add_bos)?;
    if prompts.len() > limits.queue {
        let expected = format!("at most {}", limits.queue);
        return Err(ApiError::field("prompt", prompts.len(), expected));
    }
    let (sender, events) = unbounded_channel();
    let deadline = Instant::now() + limits.time;
    let mut jobs = Vec::new();
    for (i, prompt) in prompts.iter().enumerate() {
        let left = limits.context.saturating_sub(prompt.ids.len());
        let job = Job {
            ids: prompt.ids.clone(),
            score_prompt: echo && logprobs.is_some(),
            top: logprobs.unwrap_or(0),
            answers: sampling.answers(max_tokens.unwrap_or(MAX_TOKENS.min(left))),
            stops: sampling.stops.clone(),
            fresh_text: false,
            first: i * sampling.n,
            deadline,
            events: sender.clone(),
        };
        app.check_job("prompt", &job)?;
        jobs.push(job);
    }
    let format = Completions {
        opened: app.opened.clone(),
        offsets: vec![Offsets::default(); prompts.len() * sampling.n],
        prompts,
        n: sampling.n,
        echo,
        logprobs: logprobs.is_some(),
        token_ids: sampling.token_ids,
        names_are_ids: sampling.names_are_ids,
    };
    Ok(Asked {
        format,
        stream: sampling.stream,
        include_usage: sampling.include_usage,
        jobs,
        events,
    })
}

fn prompts(app: &App, value: Value, add_bos: bool) -> ApiResult<Vec<Prompt>> {
    let expected = "text, token ids, or a list of either";
    match value {
        Value::String(text) => Ok(vec![Prompt::of_text(app, "prompt", text, add_bos)?]),
        Value::Array(list) if list.first().is_some_and(Value::is_number) => {
            Ok(vec![Prompt::of_ids(app, "prompt", &list)?])
        }
        Value::Array(list) if !list.is_empty() => {
            let one = |(i, value)| {
                let name = format!("prompt[{i}]");
                match value {
                    Value::String(text) => Prompt::of_text(app, &name, text, add_bos),
                    Value::Array(ids) => Prompt::of_ids(app, &name, &ids),
                    other => Err(ApiError::field(name, show(&other), "text or token ids")),
                }
            };
            list.into_iter().enumerate().map(one).collect()
        }
        Value::Array(_) => Err(ApiError::field("prompt", "an empty list", expected)),
        other => Err(ApiError::field("prompt", show(&other), expected)),
    }
}

impl Prompt {
    fn of_text(app: &App, name: &str, text: String, add_bos: bool) -> ApiResult<Self> {
        let ids = app.encode(name, &text, add_bos)?;
        let bytes = app.opened.tokenizer.decode_bytes(&ids);
        let skip = if bytes.ends_with(text.as_bytes()) {
            bytes.len() - text.len()
        } else {
            0
        };
        Self { ids, text, skip }.checked(name)
    }

    fn of_ids(app: &App, name: &str, values: &[Value]) -> ApiResult<Self> {
        let ids = token_ids(name, values, app.opened.model.spec.n_vocab)?;
        let text = String::from_utf8_lossy(&app.opened.tokenizer.decode_bytes(&ids)).into_owned();
        Self { ids, text, skip: 0 }.checked(name)
    }

    fn checked(self, name: &str) -> ApiResult<Self> {
        if self.ids.is_empty() {
            return Err(ApiError::field(name, "no token", "at least one"));
        }
        Ok(self)
    }
}

impl Completions {
    fn prompt(&self, answer: usize) -> &Prompt {
        &self.prompts[answer / self.n]
    }

    /// Lists of log probabilities: of the prompt's tokens where `scores` are given, then of `tokens`.
    fn lists(
        &self,
        answer: usize,
        scores: Option<&[Token]>,
        tokens: &[Token],
        offsets: &mut Offsets,
    ) -> Value {
        if !self.logprobs {
            return Value::Null;
        }
        let echoed = scores.map_or(&[][..], |_| &self.prompt(answer).ids);
        let known = std::iter::once(None).chain(scores.unwrap_or_default().iter().map(Some));
        let prompt = echoed.iter().copied().zip(known);
        let said = tokens.iter().map(|t| (t.id, Some(t)));
        let names = Names {
            tokenizer: &self.opened.tokenizer,
            ids: self.names_are_ids,
        };
        lists(names, prompt.chain(said), offsets)
    }

    fn choice(&self, answer: usize, text: &str, logprobs: Value, finish: Option<Finish>) -> Value {
        json!({
            "index": answer,
            "text": text,
            "logprobs": logprobs,
            "finish_reason": finish.map(Finish::word),
        })
    }

    fn echoed_offsets(&self, answer: usize) -> Offsets {
        let skip = if self.echo {
            self.prompt(answer).skip
        } else {
            0
        };
        Offsets::new(skip)
    }
}

impl Format for Completions {
    fn names(&self) -> [&'static str; 3] {
        ["cmpl-", "text_completion", "text_completion"]
    }

    fn whole(&self, answer: usize, scores: &[Token], said: &Said) -> Value {
        let prompt = self.prompt(answer);
        let echoed = if self.echo { &prompt.text[..] } else { "" };
        let scores = self.echo.then_some(scores);
        let mut offsets = self.echoed_offsets(answer);
        let logprobs = self.lists(answer, scores, &said.tokens, &mut offsets);
        let text = format!("{echoed}{}", said.text);
        let mut choice = self.choice(answer, &text, logprobs, said.finish);
        if self.token_ids {
            choice["token_ids"] = said.tokens.iter().map(|t| t.id).collect();
            choice["prompt_token_ids"] = json!(prompt.ids);
        }
        choice
    }

    fn open(&mut self, answer: usize, scores: &[Token]) -> Option<Value> {
        if !self.echo && !self.token_ids {
            return None;
        }
        let mut offsets = self.echoed_offsets(answer);
        let prompt = self.prompt(answer);
        let mut choice = if self.echo {
            let logprobs = self.lists(answer, Some(scores), &[], &mut offsets);
            self.choice(answer, &prompt.text, logprobs, None)
        } else {
            self.choice(answer, "", Value::Null, None)
        };
        if self.token_ids {
            choice["token_ids"] = json!([]);
            choice["prompt_token_ids"] = json!(prompt.ids);
        }
        self.offsets[answer] = offsets;
        Some(choice)
    }

    fn piece(&mut self, answer: usize, text: &str, tokens: &[Token]) -> Value {
        let mut offsets = std::mem::take(&mut self.offsets[answer]);
        let logprobs = self.lists(answer, None, tokens, &mut offsets);
        self.offsets[answer] = offsets;
        let mut choice = self.choice(answer, text, logprobs, None);
        if self.token_ids {
            choice["token_ids"] = tokens.iter().map(|t| t.id).collect();
        }
        choice
    }

    fn end(&self, answer: usize, finish: Finish) -> Value {
        self.choice(answer, "", Value::Null, Some(finish))
    }
}
