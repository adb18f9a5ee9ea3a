//! One sequence of a tree: its tokens, and what later tokens need of their keys and values.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::cache::LayerCache;
use crate::forward::Row;
use crate::spec::{Mask, ModelSpec};

/// One sequence: all its tokens from the root on, and what later tokens need of their keys and values.
pub(crate) struct Span {
    /// Position of the first token.
    pub(crate) start: usize,
    /// Position of the next token.
    pub(crate) end: usize,
    /// Pieces shared with the spans that this one was forked off, with how many of their tokens count.
    pub(crate) shared: Vec<(Arc<Vec<u32>>, usize)>,
    /// This span's own tokens.
    pub(crate) own: Arc<Vec<u32>>,
    /// One cache a layer.
    pub(crate) layers: Vec<LayerCache>,
    /// Planned fork points: the windows behind them are kept.
    pub(crate) pins: BTreeSet<usize>,
    /// Windowed and chunked layers hold nothing before this position; tokens from `exact_from` on do not miss it.
    pub(crate) local_from: usize,
    /// Forks before this position are evaluated again (see [`PromptTree::fork`]).
    pub(crate) exact_from: usize,
    /// Blocks of windowed and chunked layers are dropped below this position.
    pub(crate) dropped: usize,
    /// The length of the sequence for which the cached keys were made: rotary frequencies may depend on it.
    pub(crate) made_for: usize,
}

impl Span {
    pub(crate) fn empty(pos: usize, n_layers: usize) -> Self {
        Self {
            start: pos,
            end: pos,
            shared: Vec::new(),
            own: Arc::default(),
            layers: vec![LayerCache::new(pos); n_layers],
            pins: BTreeSet::new(),
            local_from: pos,
            exact_from: pos,
            dropped: pos,
            made_for: pos,
        }
    }

    /// Forgets all keys and all tokens, which it gives back: they are to be evaluated again.
    pub(crate) fn restart(&mut self) -> Vec<u32> {
        let tokens = (self.start..self.end).map(|pos| self.token(pos)).collect();
        let pins = std::mem::take(&mut self.pins);
        *self = Self::empty(self.start, self.layers.len());
        self.pins = pins;
        tokens
    }

    /// The positions that a token at `pos` attends to.
    pub(crate) fn visible(&self, mask: Mask, pos: usize) -> Range<usize> {
        let first = match mask {
            Mask::Full => self.start,
            Mask::Window(_) | Mask::Chunk(_) => mask.first_visible(pos).max(self.local_from),
        };
        first..pos + 1
    }

    /// Whether a layer's keys of `pos` are to be written: where tokens are evaluated again to fill the windows
    /// of a fork, full layers have the right ones already.
    pub(crate) fn writes(&self, mask: Mask, pos: usize) -> bool {
        mask != Mask::Full || pos >= self.exact_from
    }

    pub(crate) fn token(&self, pos: usize) -> u32 {
        let mut i = pos - self.start;
        for (tokens, n) in &self.shared {
            if i < *n {
                return tokens[i];
            }
            i -= n;
        }
        self.own[i]
    }

    /// Drops what no token from `end` on and no planned fork can see in one layer.
    pub(crate) fn trim(&mut self, index: usize, mask: Mask, end: usize) {
        if mask == Mask::Full {
            return;
        }
        let keep: Vec<_> = self
            .pins
            .iter()
            .map(|&pin| mask.first_visible(pin)..pin)
            .collect();
        self.layers[index].drop_below(self.dropped, mask.first_visible(end), &keep);
    }

    /// Takes note of tokens that passed every layer.
    pub(crate) fn append(&mut self, run: &[Row], spec: &ModelSpec) {
        self.end = run[run.len() - 1].pos + 1;
        Arc::make_mut(&mut self.own).extend(run.iter().map(|r| r.token));
        // A window is at most as long as the sequence: everything before the shortest mask's start is settled.
        let settled = spec.layers.iter().filter(|l| l.mask != Mask::Full);
        self.dropped = settled
            .map(|l| l.mask.first_visible(self.end))
            .min()
            .unwrap_or(self.end);
    }
}
