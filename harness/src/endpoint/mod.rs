//! A client of any OpenAI-compatible API: completions and chat, log probabilities, what a server is able to do.
//!
//! | file | |
//! |---|---|
//! | `settings` | where the service is and how long it is waited for |
//! | `request` | what is asked; every sampling parameter is sent, because servers fill gaps with a model's own |
//! | `ask` | one request, and what comes of it |
//! | `score` | log probabilities of a prompt's own tokens |
//! | `tries` | tries, back-off, deadline |
//! | `wire` | an answer's body, whole or as a stream |
//! | `stream` | server-sent events, in bounded memory |
//! | `answer` | an answer put together from a body or from a stream's pieces |
//! | `logprobs` | log probabilities in their three shapes |
//! | `probe` | what the service can do, measured with small requests |
//!
//! A key comes from the environment, goes to the service's own host alone and is never printed. Whatever a server does, a
//! request ends within its deadline, in an answer or in a [`Failure`].

mod answer;
mod ask;
mod logprobs;
mod probe;
mod request;
mod score;
mod settings;
mod stream;
mod tries;
mod wire;

pub use answer::{Completed, Usage};
pub use ask::{Billed, Endpoint, Failure, Kind};
pub use logprobs::{Piece, Position};
pub use probe::Capabilities;
pub use request::{Chat, Completion, Message, Prompt, Sampling};
pub use settings::Settings;
