//! One answer under way: choice of the next token, stop tokens, limits, thought and answer.

use crate::backend::sample::{Sampler, logprob};
use crate::backend::{End, Generate};

/// Tokens that are looked at for a mark that opens or closes a thought.
const MARK_TOKENS: usize = 12;
const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// An answer under way.
#[derive(Clone, Debug)]
pub struct Generation {
    limits: Generate,
    sampler: Sampler,
    thought: Thought,
    /// Ids so far, the stop token included.
    pub ids: Vec<u32>,
    /// Log probability of each.
    pub logprobs: Vec<f32>,
    /// Why it has ended, when it has.
    pub end: Option<End>,
    /// The last id is a stop token.
    stopped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Thought {
    /// The text may still begin with one.
    Possible,
    /// The text is a part of the opening mark.
    Opening,
    Open,
    /// The answer begins behind so many ids.
    Closed(usize),
}

impl Generation {
    /// Before the first token.
    pub fn new(limits: &Generate) -> Self {
        let thought = if limits.thinking {
            Thought::Open
        } else {
            Thought::Possible
        };
        Self {
            sampler: Sampler::new(limits.temperature, limits.top_p, limits.seed),
            limits: limits.clone(),
            thought,
            ids: Vec::new(),
            logprobs: Vec::new(),
            end: (limits.max_tokens == 0).then_some(End::Limit),
            stopped: false,
        }
    }

    /// Chooses the next token from logits `[n_vocab]` and returns it when the answer goes on.
    ///
    /// `text` turns ids into text, special tokens included.
    pub fn step(
        &mut self,
        logits: &[f32],
        stop: &[u32],
        text: &dyn Fn(&[u32]) -> String,
    ) -> Option<u32> {
        if self.end.is_some() {
            return None;
        }
        let id = self.sampler.choose(logits);
        self.ids.push(id);
        self.logprobs.push(logprob(logits, id) as f32);
        if stop.contains(&id) {
            self.stopped = true;
            self.end = Some(End::Stop);
            return None;
        }
        self.follow_thought(text);
        if self.limits.one_line && text(&self.ids).trim_start().contains('\n') {
            self.end = Some(End::Stop);
            return None;
        }
        self.end = match self.thought {
            Thought::Open if self.ids.len() >= self.limits.thought_budget => {
                Some(End::ThoughtLimit)
            }
            Thought::Possible if self.ids.len() >= self.limits.max_tokens => Some(End::Limit),
            Thought::Closed(at) if self.ids.len() - at >= self.limits.max_tokens => {
                Some(End::Limit)
            }
            _ => None,
        };
        if self.end.is_some() { None } else { Some(id) }
    }

    /// What has been said, without the stop token, and without what follows the one line that was wanted.
    pub fn said(&self, text: &dyn Fn(&[u32]) -> String) -> String {
        let said = text(&self.ids[..self.ids.len() - usize::from(self.stopped)]);
        if !self.limits.one_line {
            return said;
        }
        said.trim_start()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    fn follow_thought(&mut self, text: &dyn Fn(&[u32]) -> String) {
        match self.thought {
            Thought::Possible | Thought::Opening if self.ids.len() <= MARK_TOKENS => {
                let text = text(&self.ids);
                let text = text.trim_start();
                self.thought = if text.starts_with(OPEN) {
                    Thought::Open
                } else if !text.is_empty() && OPEN.starts_with(text) {
                    Thought::Opening
                } else {
                    Thought::Possible
                };
            }
            Thought::Opening => self.thought = Thought::Possible,
            Thought::Open => {
                let tail = &self.ids[self.ids.len().saturating_sub(MARK_TOKENS)..];
                if text(tail).contains(CLOSE) {
                    self.thought = Thought::Closed(self.ids.len());
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(ids: &[u32]) -> String {
        ids.iter().map(|i| *i as u8 as char).collect()
    }

    /// Every id is one byte; the model says `script`.
    fn run(limits: Generate, script: &str) -> Generation {
        let mut g = Generation::new(&limits);
        for byte in script.bytes() {
            let mut logits = vec![0.0; 128];
            logits[byte as usize] = 9.0;
            if g.step(&logits, &[u32::from(b'.')], &bytes).is_none() {
                break;
            }
        }
        g
    }

    fn limits(max_tokens: usize, thought_budget: usize, thinking: bool) -> Generate {
        Generate {
            max_tokens,
            thought_budget,
            thinking,
            one_line: false,
            temperature: 0.0,
            top_p: 1.0,
            seed: 0,
        }
    }

    #[test]
    fn an_answer_ends_at_its_stop_token_or_its_limit() {
        let g = run(limits(9, 0, false), "abc.def");
        assert_eq!(
            (g.end, g.ids.len(), &g.said(&bytes)[..]),
            (Some(End::Stop), 4, "abc")
        );
        let g = run(limits(2, 0, false), "abc.def");
        assert_eq!((g.end, g.ids.len()), (Some(End::Limit), 2));
        assert_eq!(run(limits(0, 0, false), "abc").ids.len(), 0);
    }

    #[test]
    fn one_line_is_enough_where_a_model_has_no_turns() {
        let g = run(
            Generate {
                one_line: true,
                ..limits(20, 0, false)
            },
            "\n ab c\ndef.",
        );
        assert_eq!(
            (g.end, g.ids.len(), &g.said(&bytes)[..]),
            (Some(End::Stop), 7, "ab c")
        );
    }

    #[test]
    fn a_thought_has_its_own_budget() {
        let g = run(limits(3, 40, false), "<think>hm hm</think>abcdef");
        assert_eq!((g.end, g.ids.len()), (Some(End::Limit), 23));
        let g = run(limits(10, 12, false), "<think>hm hm hm hm</think>abcdef");
        assert_eq!((g.end, g.ids.len()), (Some(End::ThoughtLimit), 12));
        let g = run(limits(3, 40, true), "hm</think>abcdef");
        assert_eq!((g.end, g.ids.len()), (Some(End::Limit), 13));
    }
}
