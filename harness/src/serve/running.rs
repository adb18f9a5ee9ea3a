//! A job under way: a prompt being read, then its answers.

use fathom_engine::tokenizer::Tokenizer;
use fathom_engine::{PromptTree, Result, SpanId};

use crate::backend::sample::logprob;
use crate::serve::answer::{Answer, top_of};
use crate::serve::job::{Event, Job, Token};
use crate::serve::kept::{Kept, Scores};

/// A job whose prompt is being read, or answered.
#[derive(Debug)]
pub struct Running {
    /// What is asked.
    pub job: Job,
    /// Where the prompt stands.
    pub span: SpanId,
    /// Tokens of the prompt that have been evaluated.
    pub at: usize,
    /// Of those, tokens that were there before.
    pub cached: usize,
    /// Log probabilities of the prompt's tokens from the second on, where they are wanted.
    pub scores: Vec<Token>,
    /// Answers under way; before the prompt has been read there is none.
    pub voices: Vec<Voice>,
    /// Bytes that it may come to hold.
    pub bytes: u64,
    /// Whoever asked knows that the prompt has been read.
    pub told: bool,
}

/// An answer under way.
#[derive(Debug)]
pub struct Voice {
    /// Where it stands; `None` between its first token and its fork off the prompt.
    pub span: Option<SpanId>,
    /// Continues on the prompt's own span.
    pub first: bool,
    /// Token that was chosen and not yet evaluated.
    pub next: Option<u32>,
    /// Tokens of the answer that have been evaluated.
    pub said: Vec<u32>,
    answer: Answer,
}

impl Voice {
    /// Takes the logits after the token that was chosen last.
    pub fn step(&mut self, logits: &[f32], language: Language<'_>) {
        self.said.extend(self.next);
        self.next = self.answer.step(logits, language.stop, language.tokenizer);
    }
}

/// What turns logits into tokens and tokens into text.
#[derive(Clone, Copy, Debug)]
pub struct Language<'a> {
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Tokens that end an answer.
    pub stop: &'a [u32],
}

impl Running {
    /// Whether the prompt is still being read.
    pub fn reading(&self) -> bool {
        self.at < self.job.ids.len()
    }

    /// Takes the logits after the prompt's token `pos`.
    pub fn read(&mut self, pos: usize, logits: &[f32], language: Language<'_>) {
        let job = &self.job;
        if let Some(&id) = job.ids.get(pos + 1) {
            self.scores.push(Token {
                id,
                logprob: logprob(logits, id) as f32,
                top: top_of(logits, job.top),
            });
            return;
        }
        for (i, generate) in job.answers.iter().enumerate() {
            let mut answer =
                Answer::new(job.first + i, generate, &job.stops, job.top, job.fresh_text);
            let next = answer.step(logits, language.stop, language.tokenizer);
            self.voices.push(Voice {
                span: (i == 0).then_some(self.span),
                first: i == 0,
                next,
                said: Vec::new(),
                answer,
            });
        }
    }

    /// After a step: the answers leave the prompt, what is new is told, and what has ended is kept or dropped.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn settle(&mut self, tree: &mut PromptTree<'_>, kept: &mut Kept) -> Result<()> {
        let events = &self.job.events;
        // Whoever asked may have gone; the next look finds out.
        let mut tell = |event| drop(events.send(event));
        if !self.reading() && !self.told {
            self.told = true;
            tell(Event::Prompt {
                first: self.job.first,
                cached: self.cached,
                scores: self.scores.clone(),
            });
        }
        for voice in self.voices.iter_mut().filter(|v| v.span.is_none()) {
            voice.span = Some(tree.fork(self.span, self.job.ids.len())?);
        }
        for voice in &mut self.voices {
            voice.answer.tell(&mut tell);
        }
        let (ended, going) = std::mem::take(&mut self.voices)
            .into_iter()
            .partition(|v: &Voice| v.next.is_none());
        self.voices = going;
        for voice in ended {
            self.retire(voice, tree, kept);
        }
        Ok(())
    }

    fn retire(&self, voice: Voice, tree: &mut PromptTree<'_>, kept: &mut Kept) {
        match voice.span {
            Some(span) if voice.first => {
                let ids = [&self.job.ids[..], &voice.said].concat();
                kept.keep(tree, span, ids, self.known());
            }
            Some(span) => tree.drop_span(span),
            None => {}
        }
    }

    /// Ends the job before its time; what has been evaluated is kept.
    pub fn abandon(mut self, tree: &mut PromptTree<'_>, kept: &mut Kept) {
        if self.reading() {
            let ids = self.job.ids[..self.at].to_vec();
            kept.keep(tree, self.span, ids, self.known());
        }
        for voice in std::mem::take(&mut self.voices) {
            self.retire(voice, tree, kept);
        }
    }

    /// Log probabilities that a later prompt may use.
    pub fn known(&self) -> Option<Scores> {
        self.job.score_prompt.then(|| Scores {
            top: self.job.top,
            tokens: self.scores.clone(),
        })
    }
}
