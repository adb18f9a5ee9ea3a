//! One answer under way: tokens chosen, text settled, stop strings found.

use fathom_engine::tokenizer::Tokenizer;

use crate::backend::generation::Generation;
use crate::backend::sample::top;
use crate::backend::{End, Generate};
use crate::serve::job::{Event, Finish, Token};
use crate::serve::text::TextStream;

/// An answer of a job.
#[derive(Debug)]
pub struct Answer {
    number: usize,
    generation: Generation,
    max_tokens: usize,
    top: usize,
    fresh_text: bool,
    text: TextStream,
    /// Bytes of all tokens so far.
    bytes: usize,
    /// Text that is settled and has not been told.
    said: String,
    /// Tokens that have not been told, with where their bytes begin.
    held: Vec<(usize, Token)>,
    finish: Option<Finish>,
}

impl Answer {
    /// Before the first token.
    pub fn new(
        number: usize,
        generate: &Generate,
        stops: &[String],
        top: usize,
        fresh_text: bool,
    ) -> Self {
        Self {
            number,
            generation: Generation::new(generate),
            max_tokens: generate.max_tokens,
            top,
            fresh_text,
            text: TextStream::new(stops),
            bytes: 0,
            said: String::new(),
            held: Vec::new(),
            finish: (generate.max_tokens == 0).then_some(Finish::Length),
        }
    }

    /// Chooses the next token from logits `[n_vocab]` and returns it when the answer goes on.
    pub fn step(&mut self, logits: &[f32], stop: &[u32], tokenizer: &Tokenizer) -> Option<u32> {
        if self.finish.is_some() {
            return None;
        }
        let text = |ids: &[u32]| tokenizer.decode(ids);
        let next = self.generation.step(logits, stop, &text);
        let (Some(&id), Some(&logprob)) =
            (self.generation.ids.last(), self.generation.logprobs.last())
        else {
            return None;
        };
        let token = Token {
            id,
            logprob,
            top: top_of(logits, self.top),
        };
        self.held.push((self.bytes, token));
        if next.is_none() && self.generation.end == Some(End::Stop) {
            // The stop token's own text is no part of the answer.
            self.said += &self.text.finish();
            self.finish = Some(Finish::Stop);
            return None;
        }
        let mut bytes = tokenizer.decode_bytes(&[id]);
        if self.fresh_text && self.bytes == 0 && tokenizer.decode(&[id]).len() < bytes.len() {
            bytes.remove(0);
        }
        self.bytes += bytes.len();
        let (text, stopped) = self.text.push(&bytes);
        self.said += &text;
        if stopped {
            self.held.retain(|(at, _)| *at < self.text.settled());
            self.finish = Some(Finish::Stop);
            return None;
        }
        if next.is_none() || self.generation.ids.len() >= self.max_tokens {
            self.said += &self.text.finish();
            self.finish = Some(Finish::Length);
            return None;
        }
        Some(id)
    }

    /// Tells what is new; the last call after the end tells the end.
    pub fn tell(&mut self, tell: &mut dyn FnMut(Event)) {
        let settled = self.text.settled();
        let ended = self.finish.is_some();
        let ready = self
            .held
            .iter()
            .take_while(|(at, _)| ended || *at < settled);
        let n = ready.count();
        let tokens: Vec<Token> = self.held.drain(..n).map(|(_, token)| token).collect();
        if !self.said.is_empty() || !tokens.is_empty() {
            tell(Event::Piece {
                answer: self.number,
                text: std::mem::take(&mut self.said),
                tokens,
            });
        }
        if let Some(finish) = self.finish {
            tell(Event::End {
                answer: self.number,
                finish,
                generated: self.generation.ids.len(),
            });
        }
    }
}

/// The `k` most probable tokens, as they are told.
pub fn top_of(logits: &[f32], k: usize) -> Vec<(u32, f32)> {
    let best = top(logits, k).into_iter();
    best.map(|(id, logprob)| (id, logprob as f32)).collect()
}
