//! Sequences that are kept when their request has ended, so that a later prompt with the same beginning goes on there.

use fathom_engine::{PromptTree, SpanId};

use crate::backend::sharing::{WORTH, common};
use crate::serve::job::Token;

/// Log probabilities of a sequence's tokens from the second on.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    /// Alternatives told with each.
    pub top: usize,
    /// Of the tokens 1, 2, ..
    pub tokens: Vec<Token>,
}

/// A beginning of a prompt that has been evaluated.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// Where.
    pub span: SpanId,
    /// Tokens of the prompt that are there.
    pub at: usize,
    /// Of those, tokens that need not be evaluated again.
    pub saved: usize,
    /// Log probabilities of the tokens 1 to `at`, where they are wanted.
    pub scores: Vec<Token>,
}

/// A sequence that stands in the tree.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Where.
    pub span: SpanId,
    /// Its tokens, or the first of them.
    pub ids: &'a [u32],
    /// Alternatives told with each of its scores, and the scores of the tokens 1, 2, ..
    pub scores: Option<(usize, &'a [Token])>,
}

/// How much of `ids` a sequence has in common that is of use: the last token is evaluated in any case, for its
/// logits; where scores are wanted, they must be there, that of the first token behind the beginning too.
pub fn beginning(
    tree: &PromptTree<'_>,
    there: Standing<'_>,
    ids: &[u32],
    wanted: Option<usize>,
) -> Option<Beginning> {
    let shared = common(there.ids, ids);
    let mut at = shared.min(ids.len() - 1);
    let mut copied = Vec::new();
    if let Some(top) = wanted {
        let (_, scores) = there.scores.filter(|(known, _)| *known >= top)?;
        at = at.min(shared.saturating_sub(1)).min(scores.len());
        copied = scores[..at].to_vec();
        copied.iter_mut().for_each(|token| token.top.truncate(top));
    }
    let again = tree.fork_work(there.span, at).ok()?;
    let saved = at - again;
    (saved >= WORTH).then_some(Beginning {
        span: there.span,
        at,
        saved,
        scores: copied,
    })
}

/// A kept sequence.
#[derive(Debug)]
struct Sequence {
    span: SpanId,
    ids: Vec<u32>,
    scores: Option<Scores>,
}

/// The kept sequences, the least recently used first.
#[derive(Debug)]
pub struct Kept {
    limit: usize,
    sequences: Vec<Sequence>,
}

impl Kept {
    /// Keeps at most so many.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            sequences: Vec::new(),
        }
    }

    /// Keeps a sequence, in place of one with the same tokens, or of the least recently used one.
    pub fn keep(
        &mut self,
        tree: &mut PromptTree<'_>,
        span: SpanId,
        ids: Vec<u32>,
        scores: Option<Scores>,
    ) {
        if ids.len() < WORTH || self.limit == 0 {
            return tree.drop_span(span);
        }
        let same = self.sequences.iter().position(|s| s.ids == ids);
        let mut scores = scores;
        if let Some(old) = same.map(|i| self.sequences.remove(i)) {
            tree.drop_span(old.span);
            let better = |old: &Scores| scores.as_ref().is_none_or(|new| new.top < old.top);
            scores = old.scores.filter(better).or(scores);
        }
        let sequence = Sequence { span, ids, scores };
        self.sequences.push(sequence);
        if self.sequences.len() > self.limit {
            self.drop_oldest(tree);
        }
    }

    /// Forgets the least recently used sequence; false when there is none.
    pub fn drop_oldest(&mut self, tree: &mut PromptTree<'_>) -> bool {
        if self.sequences.is_empty() {
            return false;
        }
        tree.drop_span(self.sequences.remove(0).span);
        true
    }

    /// The most useful beginning of a prompt, which counts as used now.
    pub fn best(
        &mut self,
        tree: &PromptTree<'_>,
        ids: &[u32],
        wanted: Option<usize>,
    ) -> Option<Beginning> {
        let found = self.sequences.iter().filter_map(|s| {
            let scores = s.scores.as_ref().map(|s| (s.top, &s.tokens[..]));
            let there = Standing {
                span: s.span,
                ids: &s.ids,
                scores,
            };
            beginning(tree, there, ids, wanted)
        });
        let best = found.max_by_key(|b| b.saved)?;
        let used = self.sequences.iter().position(|s| s.span == best.span)?;
        let sequence = self.sequences.remove(used);
        self.sequences.push(sequence);
        Some(best)
    }

    /// How many are kept.
    pub fn count(&self) -> usize {
        self.sequences.len()
    }
}
