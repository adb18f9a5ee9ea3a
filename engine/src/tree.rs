//! Sequences that share their beginnings: prefill, continuation, forks and batched decoding are all
//! [`PromptTree::extend`].

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::cache::LayerCache;
use crate::forward::{self, Row};
use crate::kernels::team::Team;
use crate::layer_major::LayerMajor;
use crate::model::Model;
use crate::span::Span;
use crate::spec::{Ffn, Mask};
use crate::{Error, Result};

/// Names a span of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(usize);

/// Which rows' logits an extension reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logits {
    /// None.
    None,
    /// Those after the last token.
    Last,
    /// Those after every token.
    All,
    /// Those after the tokens from this index of the extension on.
    From(usize),
}

/// Tokens to append to a span.
#[derive(Clone, Copy, Debug)]
pub struct Extend<'a> {
    /// The span.
    pub span: SpanId,
    /// The tokens.
    pub tokens: &'a [u32],
    /// Which logits to report.
    pub logits: Logits,
}

/// Logits after one token.
#[derive(Clone, Copy, Debug)]
pub struct LogitsRow<'a> {
    /// The span.
    pub span: SpanId,
    /// The token's position.
    pub pos: usize,
    /// [n_vocab].
    pub logits: &'a [f32],
}

/// How a tree works; none of it changes a bit of the logits.
#[derive(Clone, Copy, Debug)]
pub struct TreeOptions {
    /// Threads; 0: one a core.
    pub threads: usize,
    /// Tokens that pass a layer together.
    pub tile: usize,
}

impl TreeOptions {
    /// What is fastest for a model: where tokens part among experts, more of them pass together, so that each expert's
    /// weights are unpacked for as many as a dense layer's.
    pub fn of(model: &Model, threads: usize) -> Self {
        let mut layers = model.spec.layers.iter();
        let parts = layers.any(|layer| matches!(layer.ffn, Ffn::Moe(_)));
        let tile = if parts { 2048 } else { 512 };
        Self { threads, tile }
    }
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self {
            threads: 0,
            tile: 512,
        }
    }
}

/// Spans of tokens over one model.
pub struct PromptTree<'m> {
    model: &'m Model,
    spans: BTreeMap<SpanId, Span>,
    next: usize,
    tile: usize,
    team: Team,
    worked: u64,
    passes: u64,
    layer_major: Option<LayerMajor>,
}

impl<'m> PromptTree<'m> {
    /// A tree without spans.
    ///
    /// # Errors
    /// The system refuses to start threads.
    pub fn new(model: &'m Model, options: TreeOptions) -> Result<Self> {
        let team = Team::new(options.threads).map_err(|e| {
            Error::Unsupported(format!("cannot start {} threads: {e}", options.threads))
        })?;
        Ok(Self {
            model,
            spans: BTreeMap::new(),
            next: 0,
            tile: options.tile.max(1),
            team,
            worked: 0,
            passes: 0,
            layer_major: None,
        })
    }

    /// A tree without spans whose extensions pass a layer whole before the next: for models larger than memory.
    ///
    /// # Errors
    /// As [`PromptTree::new`].
    pub fn layer_major(
        model: &'m Model,
        options: TreeOptions,
        schedule: LayerMajor,
    ) -> Result<Self> {
        Ok(Self {
            layer_major: Some(schedule),
            ..Self::new(model, options)?
        })
    }

    /// An empty span whose first token will have position `pos`.
    pub fn root(&mut self, pos: usize) -> SpanId {
        self.insert(Span::empty(pos, self.model.spec.layers.len()))
    }

    fn insert(&mut self, span: Span) -> SpanId {
        let id = SpanId(self.next);
        self.next += 1;
        self.spans.insert(id, span);
        id
    }

    /// Plans a fork of `span` at `pos`: what it will see is kept. Call it before the span grows past `pos`.
    pub fn pin(&mut self, span: SpanId, pos: usize) -> Result<()> {
        self.span_mut(span)?.pins.insert(pos);
        Ok(())
    }

    /// Tokens that [`PromptTree::fork`] evaluates again: none where everything that the fork sees is there.
    ///
    /// # Errors
    /// `pos` lies outside the span.
    pub fn fork_work(&self, span: SpanId, pos: usize) -> Result<usize> {
        let spec = &self.model.spec;
        let parent = self.span(span)?;
        if pos < parent.start || pos > parent.end {
            let expected = format!("{} to {}", parent.start, parent.end);
            return Err(Error::input("fork", "position", pos, expected));
        }
        let kept = spec
            .layers
            .iter()
            .zip(&parent.layers)
            .all(|(layer, cache)| {
                let seen = layer.mask.first_visible(pos).max(parent.start);
                let exact =
                    pos >= parent.exact_from && cache.has(&(seen.max(parent.local_from)..pos));
                layer.mask == Mask::Full || seen >= pos || exact
            });
        if kept {
            return Ok(0);
        }
        // Keys are right from `need` on in the layer at hand; its inputs must be, too.
        let mut need = pos;
        for layer in spec.layers.iter().rev().filter(|l| l.mask != Mask::Full) {
            need = need.min(layer.mask.first_visible(need)).max(parent.start);
        }
        Ok(pos - need)
    }

    /// A span that continues after the first tokens of `span`, up to position `pos` (not included).
    ///
    /// Where windowed or chunked layers have dropped keys that the fork sees, the tokens they came from are
    /// evaluated again, exactly: a window behind a window for every such layer, over the keys that full layers
    /// kept.
    ///
    /// # Errors
    /// `pos` lies outside the span.
    pub fn fork(&mut self, span: SpanId, pos: usize) -> Result<SpanId> {
        let spec = &self.model.spec;
        let need = pos - self.fork_work(span, pos)?;
        let parent = self.span(span)?;
        if need == pos {
            let mut child = self.cut(span, pos)?;
            // Blocks may be there in part: only what tokens from `pos` on see is known to be.
            let local = spec.layers.iter().filter(|l| l.mask != Mask::Full);
            child.local_from = local
                .map(|l| l.mask.first_visible(pos))
                .min()
                .unwrap_or(pos)
                .max(child.start);
            child.exact_from = pos;
            return Ok(self.insert(child));
        }
        let tokens: Vec<u32> = (need..pos).map(|p| parent.token(p)).collect();
        let mut ramp = self.cut(span, need)?;
        for (layer, (cache, kept)) in spec
            .layers
            .iter()
            .zip(ramp.layers.iter_mut().zip(&parent.layers))
        {
            if layer.mask == Mask::Full {
                *cache = kept.fork(pos);
            }
        }
        ramp.local_from = need;
        ramp.exact_from = pos;
        let ramp = self.insert(ramp);
        self.extend(
            &[Extend {
                span: ramp,
                tokens: &tokens,
                logits: Logits::None,
            }],
            &mut |_| {},
        )?;
        Ok(ramp)
    }

    /// The first part of a span, sharing everything.
    fn cut(&self, span: SpanId, pos: usize) -> Result<Span> {
        let parent = self.span(span)?;
        let mut left = pos - parent.start;
        let mut shared = Vec::new();
        for (tokens, n) in parent
            .shared
            .iter()
            .chain([&(parent.own.clone(), parent.own.len())])
        {
            let n = left.min(*n);
            left -= n;
            if n > 0 {
                shared.push((tokens.clone(), n));
            }
        }
        Ok(Span {
            start: parent.start,
            end: pos,
            shared,
            own: Arc::default(),
            layers: parent.layers.iter().map(|c| c.fork(pos)).collect(),
            pins: BTreeSet::new(),
            local_from: parent.local_from,
            exact_from: parent.exact_from,
            dropped: parent.start,
            made_for: parent.made_for,
        })
    }

    /// Appends tokens to spans and reports logits, in the order of `batch` and of the tokens.
    ///
    /// Logits are those of the whole sequence as it is after the call. Where its length decides on the rotary
    /// frequencies (LongRoPE) and the keys so far were made with others, all of it is evaluated again.
    ///
    /// # Errors
    /// A span that is not there or stands twice in the batch, or a token outside the vocabulary; nothing is
    /// changed then.
    pub fn extend(
        &mut self,
        batch: &[Extend<'_>],
        report: &mut (dyn FnMut(LogitsRow<'_>) + Send),
    ) -> Result<()> {
        let mut seen = HashSet::new();
        for e in batch {
            self.span(e.span)?;
            if !seen.insert(e.span) {
                return Err(Error::input(
                    "batch",
                    "span",
                    "the same span twice",
                    "each span once",
                ));
            }
            let n_vocab = self.model.spec.n_vocab;
            let outside = |t: &u32| *t as usize >= n_vocab;
            if let Some(i) = e.tokens.iter().position(outside) {
                let expected = format!("0 to {}", n_vocab - 1);
                let field = format!("token {i}");
                return Err(Error::input("tokens", field, e.tokens[i], expected));
            }
        }
        let mut rows = Vec::new();
        for e in batch.iter().filter(|e| !e.tokens.is_empty()) {
            let spec = &self.model.spec;
            let span = self.span_mut(e.span)?;
            let (n, len) = (e.tokens.len(), span.end + e.tokens.len());
            let again = if spec.same_frequencies(span.made_for, len) || span.end == span.start {
                Vec::new()
            } else {
                span.restart()
            };
            span.made_for = len;
            rows.extend(again.iter().enumerate().map(|(i, &token)| Row {
                span: e.span,
                pos: span.start + i,
                token,
                wanted: false,
                len,
            }));
            for (i, &token) in e.tokens.iter().enumerate() {
                let wanted = match e.logits {
                    Logits::None => false,
                    Logits::Last => i + 1 == n,
                    Logits::All => true,
                    Logits::From(first) => i >= first,
                };
                rows.push(Row {
                    span: e.span,
                    pos: len - n + i,
                    token,
                    wanted,
                    len,
                });
            }
        }
        let Self {
            model,
            spans,
            tile,
            team,
            worked,
            passes,
            layer_major,
            ..
        } = self;
        team.install(|| -> Result<()> {
            // Rows that pass all layers together; within them, tiles.
            let part = layer_major.as_ref().map_or(*tile, |_| rows.len().max(1));
            for rows in rows.chunks(part) {
                match layer_major {
                    Some(schedule) => schedule.forward(model, spans, rows, *tile, report)?,
                    None => forward::forward(model, spans, rows, report)?,
                }
                for run in rows.chunk_by(|a, b| a.span == b.span) {
                    if let Some(span) = spans.get_mut(&run[0].span) {
                        span.append(run, &model.spec);
                    }
                }
                *worked += rows.len() as u64;
                *passes += 1;
            }
            Ok(())
        })
    }

    /// Forgets a span; what other spans share with it stays.
    pub fn drop_span(&mut self, span: SpanId) {
        self.spans.remove(&span);
    }

    /// Position of the next token of a span.
    pub fn end(&self, span: SpanId) -> Result<usize> {
        Ok(self.span(span)?.end)
    }

    /// Bytes of keys and values that are held, shared ones once.
    pub fn bytes(&self) -> u64 {
        let caches = self.spans.values().flat_map(|s| s.layers.iter());
        let blocks: std::collections::HashMap<_, _> = caches.flat_map(LayerCache::held).collect();
        blocks.values().map(|b| *b as u64).sum()
    }

    /// Tokens evaluated so far, recomputed ones included.
    pub fn tokens_worked(&self) -> u64 {
        self.worked
    }

    /// Passes over the weights so far.
    pub fn passes(&self) -> u64 {
        self.passes
    }

    fn span(&self, id: SpanId) -> Result<&Span> {
        self.spans.get(&id).ok_or_else(|| no_span(id))
    }

    fn span_mut(&mut self, id: SpanId) -> Result<&mut Span> {
        self.spans.get_mut(&id).ok_or_else(|| no_span(id))
    }
}

fn no_span(id: SpanId) -> Error {
    Error::input("tree", "span", id.0, "a span that was made and not dropped")
}
