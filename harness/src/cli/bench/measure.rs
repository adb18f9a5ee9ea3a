//! One measurement of each kind: a prompt and an answer behind it, several answers, a sweep of questions.

use std::time::Instant;

use fathom_engine::kernels::{Work, work};
use fathom_engine::{Extend, Logits, Model, PromptTree, SpanId, TreeOptions};

use crate::Result;
use crate::backend::sample::argmax;
use crate::stop::Stop;

/// Answers that are decoded together.
const ANSWERS: usize = 16;
/// The sweep: questions at each depth of each length, in tokens of a question.
const LENGTHS: usize = 8;
const DEPTHS: usize = 11;
const QUESTION: usize = 24;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A prompt.
    Prefill,
    /// One answer behind it.
    Decode,
    /// Several answers forked off it, decoded together.
    Answers,
    /// A document once, and questions forked off it at several lengths.
    Sweep,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub kind: Kind,
    /// Tokens of the prompt.
    pub context: usize,
    /// Tokens that the figures are about.
    pub tokens: usize,
    pub seconds: f64,
    /// What the kernels did.
    pub work: Work,
    /// Tokens that went through the model, those evaluated again included.
    pub worked: u64,
    /// Keys and values held at the end, bytes.
    pub cache_bytes: u64,
}

impl Sample {
    pub fn tokens_per_s(&self) -> f64 {
        self.tokens as f64 / self.seconds
    }
}

pub struct Bench<'a> {
    pub model: &'a Model,
    pub threads: usize,
    /// Tokens of an answer.
    pub decode: usize,
    pub stop: &'a Stop,
}

impl Bench<'_> {
    /// A prompt, if `context` is not 0, and an answer behind it.
    pub fn once(&self, context: usize) -> Result<Vec<Sample>> {
        let mut tree = self.tree()?;
        let span = tree.root(0);
        let mut samples = Vec::new();
        let mut next = [self.token(0)];
        if context > 0 {
            let run = |tree: &mut PromptTree<'_>| self.prefill(tree, span, context, &[]);
            let (sample, last) = timed(&mut tree, Kind::Prefill, context, context, run)?;
            samples.push(sample);
            next = [last];
        }
        if self.decode > 0 {
            let run = |tree: &mut PromptTree<'_>| self.generate(tree, &[span], &mut next);
            samples.push(timed(&mut tree, Kind::Decode, context, self.decode, run)?.0);
        }
        Ok(samples)
    }

    /// Answers forked off one document, decoded together: the decoding alone.
    pub fn answers(&self, document: usize) -> Result<Vec<Sample>> {
        let mut tree = self.tree()?;
        let root = tree.root(0);
        self.prefill(&mut tree, root, document, &[])?;
        let forks = (0..ANSWERS).map(|_| tree.fork(root, document));
        let spans: Vec<_> = forks.collect::<std::result::Result<_, _>>()?;
        // The answers begin apart, as sampled ones do.
        let mut next: Vec<u32> = (0..ANSWERS).map(|i| self.token(document + i)).collect();
        let n = ANSWERS * self.decode;
        let run = |tree: &mut PromptTree<'_>| self.generate(tree, &spans, &mut next);
        Ok(vec![timed(&mut tree, Kind::Answers, document, n, run)?.0])
    }

    /// A document, and at each of some lengths of it a question for each of some depths.
    pub fn sweep(&self, document: usize) -> Result<Vec<Sample>> {
        let mut tree = self.tree()?;
        let root = tree.root(0);
        let lengths: Vec<usize> = (1..=LENGTHS).map(|i| document * i / LENGTHS).collect();
        for &length in &lengths {
            tree.pin(root, length)?;
        }
        let n = document + LENGTHS * DEPTHS * QUESTION;
        let run = |tree: &mut PromptTree<'_>| self.prefill(tree, root, document, &lengths);
        Ok(vec![timed(&mut tree, Kind::Sweep, document, n, run)?.0])
    }

    pub fn options(&self) -> TreeOptions {
        TreeOptions::of(self.model, self.threads)
    }

    fn tree(&self) -> Result<PromptTree<'_>> {
        Ok(PromptTree::new(self.model, self.options())?)
    }

    /// Ids without a pattern, so that experts and caches see what a text would give them.
    fn token(&self, i: usize) -> u32 {
        ((i as u64 + 1) * 2_654_435_761 % self.model.spec.n_vocab as u64) as u32
    }

    /// Appends a prompt piece by piece, asks the questions of a sweep at each of `lengths`, and gives the greedy next
    /// token.
    fn prefill(
        &self,
        tree: &mut PromptTree<'_>,
        span: SpanId,
        n: usize,
        lengths: &[usize],
    ) -> Result<u32> {
        let tokens: Vec<u32> = (0..n).map(|i| self.token(i)).collect();
        let (mut next, mut at) = (0, 0);
        let tile = self.options().tile;
        while at < n {
            self.stop.check()?;
            let stop = lengths.iter().copied().filter(|&l| l > at).min();
            let end = (at + tile).min(stop.unwrap_or(n)).min(n);
            let logits = if end == n { Logits::Last } else { Logits::None };
            let piece = Extend {
                span,
                tokens: &tokens[at..end],
                logits,
            };
            tree.extend(&[piece], &mut |row| next = argmax(row.logits))?;
            at = end;
            if lengths.contains(&at) {
                self.ask(tree, span, at)?;
            }
        }
        Ok(next)
    }

    /// The sweep's questions at one length.
    fn ask(&self, tree: &mut PromptTree<'_>, span: SpanId, length: usize) -> Result<()> {
        let questions: Vec<Vec<u32>> = (0..DEPTHS)
            .map(|d| {
                (0..QUESTION)
                    .map(|i| self.token(length + 97 * d + i))
                    .collect()
            })
            .collect();
        let forks = (0..DEPTHS).map(|_| tree.fork(span, length));
        let forks: Vec<_> = forks.collect::<std::result::Result<_, _>>()?;
        let batch = forks.iter().zip(&questions).map(|(&span, tokens)| Extend {
            span,
            tokens,
            logits: Logits::Last,
        });
        tree.extend(&batch.collect::<Vec<_>>(), &mut |_| {})?;
        forks.into_iter().for_each(|f| tree.drop_span(f));
        Ok(())
    }

    /// Greedy answers of every span at once, each from its token of `next` on.
    fn generate(
        &self,
        tree: &mut PromptTree<'_>,
        spans: &[SpanId],
        next: &mut [u32],
    ) -> Result<()> {
        for _ in 0..self.decode {
            self.stop.check()?;
            let tokens = next.to_vec();
            let batch = spans.iter().zip(&tokens).map(|(&span, token)| Extend {
                span,
                tokens: std::slice::from_ref(token),
                logits: Logits::Last,
            });
            let mut i = 0;
            tree.extend(&batch.collect::<Vec<_>>(), &mut |row| {
                next[i] = argmax(row.logits);
                i += 1;
            })?;
        }
        Ok(())
    }
}

/// Runs a part of a measurement.
fn timed<T>(
    tree: &mut PromptTree<'_>,
    kind: Kind,
    context: usize,
    tokens: usize,
    run: impl FnOnce(&mut PromptTree<'_>) -> Result<T>,
) -> Result<(Sample, T)> {
    let (before, worked) = (work(), tree.tokens_worked());
    let started = Instant::now();
    let result = run(tree)?;
    let sample = Sample {
        kind,
        context,
        tokens,
        seconds: started.elapsed().as_secs_f64().max(1e-9),
        work: work() - before,
        worked: tree.tokens_worked() - worked,
        cache_bytes: tree.bytes(),
    };
    Ok((sample, result))
}
