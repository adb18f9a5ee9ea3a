//! From a job's events to a response: a whole answer, or a stream of server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::serve::error::{ApiError, ApiResult, json_response};
use crate::serve::http::App;
use crate::serve::job::{Event, Finish, Job, Token};

/// A line for proxies and clients that give up on a silent connection.
const STILL_HERE: Duration = Duration::from_secs(10);

/// How an endpoint writes answers.
pub trait Format: Send + 'static {
    /// `object` and the first letters of the id, of a whole response and of a piece.
    fn names(&self) -> [&'static str; 3];
    /// One of `choices` of a whole response; `scores` are of its prompt.
    fn whole(&self, answer: usize, scores: &[Token], said: &Said) -> Value;
    /// One of `choices` of the piece that opens a stream, if there is one.
    fn open(&mut self, answer: usize, scores: &[Token]) -> Option<Value>;
    /// One of `choices` of a piece.
    fn piece(&mut self, answer: usize, text: &str, tokens: &[Token]) -> Value;
    /// One of `choices` of an answer's last piece.
    fn end(&self, answer: usize, finish: Finish) -> Value;
}

/// An answer put together.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The text.
    pub text: String,
    /// The tokens.
    pub tokens: Vec<Token>,
    /// How it ended.
    pub finish: Option<Finish>,
}

/// A request that has been read.
#[derive(Debug)]
pub struct Asked<F> {
    /// How it is answered.
    pub format: F,
    /// In pieces.
    pub stream: bool,
    /// A last piece has the usage.
    pub include_usage: bool,
    /// What the engine is asked.
    pub jobs: Vec<Job>,
    /// What it tells.
    pub events: UnboundedReceiver<Event>,
}

/// Asks the engine and responds.
///
/// # Errors
/// When the queue is full, or the engine does not finish.
pub async fn respond<F: Format>(app: &App, asked: Asked<F>) -> ApiResult<Response> {
    let Asked {
        format,
        stream,
        include_usage,
        jobs,
        events,
    } = asked;
    let prompts = jobs.iter().map(|j| (j.first, j.answers.len()));
    let reply = Reply {
        names: format.names(),
        id: format!(
            "{}{:016x}",
            format.names()[0],
            RandomState::new().hash_one(1)
        ),
        created: unix_seconds(),
        model: app.name.clone(),
        prompts: prompts.collect(),
        open: jobs.iter().map(|j| j.answers.len()).sum(),
        prompt_tokens: jobs.iter().map(|j| j.ids.len()).sum(),
        cached: 0,
        generated: 0,
        include_usage,
        format,
        events,
        ready: VecDeque::new(),
        over: false,
    };
    if !app.desk.submit(jobs) {
        let message = "too many prompts are waiting already; try again later";
        return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, message));
    }
    if !stream {
        return reply.whole().await;
    }
    let events = unfold(reply, |mut reply| async {
        let data = reply.next().await?;
        let event = sse::Event::default().data(data);
        Some((Ok::<_, Infallible>(event), reply))
    });
    let keep_alive = KeepAlive::new().interval(STILL_HERE);
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

struct Reply<F> {
    names: [&'static str; 3],
    id: String,
    created: u64,
    model: String,
    /// First answer and number of answers of each prompt.
    prompts: Vec<(usize, usize)>,
    /// Answers that have not ended.
    open: usize,
    prompt_tokens: usize,
    cached: usize,
    generated: usize,
    include_usage: bool,
    format: F,
    events: UnboundedReceiver<Event>,
    /// Data of server-sent events that can be sent.
    ready: VecDeque<String>,
    over: bool,
}

impl<F: Format> Reply<F> {
    async fn event(&mut self) -> ApiResult<Event> {
        match self.events.recv().await {
            Some(Event::Failed(failure)) => Err(ApiError::from(&failure)),
            Some(event) => Ok(event),
            None => Err(ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the engine gave no answer",
            )),
        }
    }

    async fn whole(mut self) -> ApiResult<Response> {
        let mut said = vec![Said::default(); self.open];
        let mut scores_of = vec![Vec::new(); self.open];
        while self.open > 0 {
            match self.event().await? {
                Event::Prompt {
                    first,
                    cached,
                    scores,
                } => {
                    self.cached += cached;
                    for answer in self.answers_from(first) {
                        scores_of[answer].clone_from(&scores);
                    }
                }
                Event::Piece {
                    answer,
                    text,
                    tokens,
                } => {
                    said[answer].text += &text;
                    said[answer].tokens.extend(tokens);
                }
                Event::End {
                    answer,
                    finish,
                    generated,
                } => {
                    said[answer].finish = Some(finish);
                    self.generated += generated;
                    self.open -= 1;
                }
                Event::Failed(_) => {}
            }
        }
        let choices = said.iter().zip(&scores_of).enumerate();
        let choices = choices.map(|(i, (said, scores))| self.format.whole(i, scores, said));
        let mut whole = self.envelope(1, choices.collect());
        whole["usage"] = self.usage();
        Ok(json_response(&whole))
    }

    /// Data of the next server-sent event.
    async fn next(&mut self) -> Option<String> {
        while self.ready.is_empty() && !self.over {
            match self.event().await {
                Ok(event) => self.take(event),
                Err(error) => {
                    self.ready.push_back(error.body().to_string());
                    self.over = true;
                }
            }
        }
        self.ready.pop_front()
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Prompt {
                first,
                cached,
                scores,
            } => {
                self.cached += cached;
                for answer in self.answers_from(first) {
                    let choice = self.format.open(answer, &scores);
                    choice.into_iter().for_each(|choice| self.push(choice));
                }
            }
            Event::Piece {
                answer,
                text,
                tokens,
            } => {
                let choice = self.format.piece(answer, &text, &tokens);
                self.push(choice);
            }
            Event::End {
                answer,
                finish,
                generated,
            } => {
                self.generated += generated;
                self.open -= 1;
                self.push(self.format.end(answer, finish));
            }
            Event::Failed(_) => {}
        }
        if self.open == 0 {
            if self.include_usage {
                let mut last = self.envelope(2, Vec::new());
                last["usage"] = self.usage();
                self.ready.push_back(last.to_string());
            }
            self.ready.push_back("[DONE]".to_owned());
            self.over = true;
        }
    }

    fn push(&mut self, choice: Value) {
        let mut chunk = self.envelope(2, vec![choice]);
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        self.ready.push_back(chunk.to_string());
    }

    fn answers_from(&self, first: usize) -> std::ops::Range<usize> {
        let prompt = self.prompts.iter().find(|(f, _)| *f == first);
        first..first + prompt.map_or(0, |(_, n)| *n)
    }

    fn envelope(&self, name: usize, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": self.names[name],
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }

    fn usage(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.generated,
            "total_tokens": self.prompt_tokens + self.generated,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        })
    }
}

/// Seconds since 1970.
pub fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    since.map_or(0, |t| t.as_secs())
}
