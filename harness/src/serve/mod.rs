//! The engine behind an OpenAI-compatible endpoint, so that other people's programs can drive it.
//!
//! ```text
//! connection -> handler: fields, prompts, limits -> Job -> the engine's thread -> Event .. -> JSON or SSE
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `http.rs` | connections, routes, start and stop |
//! | `error.rs` | errors as OpenAI's clients read them |
//! | `fields.rs`, `sampling.rs` | a request's fields: each is used, has no effect, or is refused by name |
//! | `completions.rs`, `chat.rs`, `tokens.rs` | the endpoints |
//! | `reply.rs`, `logprobs.rs` | from events to a whole answer or a stream of pieces |
//! | `job.rs` | what the engine's thread is asked and what it tells |
//! | `desk.rs` | the way to it: a queue with an end |
//! | `worker.rs`, `running.rs` | the thread: one step extends all answers and a part of the prompts together |
//! | `kept.rs` | sequences kept for prompts that begin with them |
//! | `answer.rs`, `text.rs` | one answer: tokens, settled text, stop strings |
//!
//! Answers have the bits of `fathom generate`, whatever they are evaluated together with and whatever was kept.

mod answer;
mod chat;
mod completions;
mod desk;
mod error;
mod fields;
mod http;
mod job;
mod kept;
mod logprobs;
mod reply;
mod running;
mod sampling;
pub mod text;
mod tokens;
mod worker;

use std::time::Duration;

pub use http::{bind, serve};

/// What a server grants.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Tokens of a prompt and its answer.
    pub context: usize,
    /// Answers that are decoded together.
    pub batch: usize,
    /// Prompts that wait for their turn.
    pub queue: usize,
    /// Sequences that are kept when their request has ended.
    pub kept: usize,
    /// Bytes of keys and values, those of kept sequences included.
    pub memory: u64,
    /// Bytes of a request's body.
    pub body: usize,
    /// Time from a request to the end of its answer.
    pub time: Duration,
    /// Time that running answers have when the server is stopped.
    pub grace: Duration,
}

impl Limits {
    /// The defaults, for a model with this context, in so much memory.
    pub fn new(context: usize, memory: u64) -> Self {
        Self {
            context,
            batch: 16,
            queue: 256,
            kept: 16,
            memory,
            body: 16 << 20,
            time: Duration::from_secs(600),
            grace: Duration::from_secs(10),
        }
    }
}
