//! What the engine's thread is asked, and what it tells.

use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use crate::backend::Generate;

/// A prompt to be read, and answers to it.
#[derive(Debug)]
pub struct Job {
    /// The prompt: at least one token, all in the vocabulary.
    pub ids: Vec<u32>,
    /// Log probabilities of the prompt's tokens are wanted.
    pub score_prompt: bool,
    /// Most probable alternatives that are told with every token.
    pub top: usize,
    /// How each answer is generated; at least one.
    pub answers: Vec<Generate>,
    /// Strings that end an answer and are no part of it.
    pub stops: Vec<String>,
    /// One leading space that the vocabulary puts before every text is no part of an answer.
    pub fresh_text: bool,
    /// Number of the first answer among the request's.
    pub first: usize,
    /// When it is too late.
    pub deadline: Instant,
    /// Where events go; closed when whoever asked has gone.
    pub events: UnboundedSender<Event>,
}

/// A token as it was judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Log probability, before temperature.
    pub logprob: f32,
    /// The most probable tokens there, most probable first.
    pub top: Vec<(u32, f32)>,
}

/// Told while a job is worked on, in order for each answer.
#[derive(Debug)]
pub enum Event {
    /// The prompt of these answers has been read.
    Prompt {
        /// Number of the first answer.
        first: usize,
        /// Tokens that did not have to be evaluated.
        cached: usize,
        /// Tokens of the prompt from the second on, where they were wanted.
        scores: Vec<Token>,
    },
    /// More of an answer. The pieces' texts joined are its text, and so are the tokens.
    Piece {
        /// Number of the answer.
        answer: usize,
        /// Text that is settled; may be empty.
        text: String,
        /// Tokens that begin in the text so far.
        tokens: Vec<Token>,
    },
    /// An answer has ended.
    End {
        /// Number of the answer.
        answer: usize,
        /// Why.
        finish: Finish,
        /// Tokens generated, the stop token included.
        generated: usize,
    },
    /// No more comes.
    Failed(Failure),
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// A stop token or a stop string.
    Stop,
    /// The limit of tokens.
    Length,
}

impl Finish {
    /// OpenAI's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// Why a job was not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It took too long.
    TooLate,
    /// The server is being stopped.
    Stopping,
    /// The engine failed.
    Engine(String),
}
