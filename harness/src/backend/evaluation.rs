//! A group of requests on one tree: prompts read, options scored, answers generated together.

use std::collections::HashMap;
use std::time::Instant;

use fathom_engine::{Extend, Logits, PromptTree, SpanId};

use crate::Result;
use crate::backend::generation::Generation;
use crate::backend::local::Local;
use crate::backend::sample::logprob;
use crate::backend::sharing::trunks;
use crate::backend::{Event, Listener, Outcome, Reply, Request};
use crate::record::OptionScore;

/// A group under evaluation.
pub struct Evaluation<'a> {
    local: &'a Local,
    group: &'a [Request],
    tree: PromptTree<'a>,
    open: Vec<Open>,
    piece: usize,
}

/// A request whose prompt has been read.
struct Open {
    request: usize,
    span: SpanId,
    reply: Reply,
    generation: Option<Generation>,
    /// Token that was chosen and not yet evaluated.
    next: Option<u32>,
}

impl<'a> Evaluation<'a> {
    /// Before anything has been read; `piece` tokens are evaluated before anybody is asked whether to go on.
    pub fn new(local: &'a Local, group: &'a [Request], tree: PromptTree<'a>, piece: usize) -> Self {
        Self {
            local,
            group,
            tree,
            open: Vec::new(),
            piece,
        }
    }

    /// Answers every request; returns the passes over the weights.
    pub fn run(mut self, listener: &mut Listener<'_>) -> Result<u64> {
        if self.piece == usize::MAX {
            self.read_prompts_together(listener)?;
        } else {
            self.read_prompts(listener)?;
        }
        let forks = self.fork_options()?;
        self.generate(forks, listener)?;
        Ok(self.tree.passes())
    }

    /// Evaluates every prompt in two passes: all that share nothing or are shared, then what leaves them.
    fn read_prompts_together(&mut self, listener: &mut Listener<'_>) -> Result<()> {
        let prompts: Vec<&[u32]> = self.group.iter().map(|r| &r.ids[..]).collect();
        let trunks = trunks(&prompts);
        let mut whole = Vec::new();
        for trunk in &trunks {
            let span = self.tree.root(0);
            for (_, at) in &trunk.branches {
                self.tree.pin(span, *at)?;
            }
            self.begin(trunk.prompt, span);
            whole.push((span, prompts[trunk.prompt]));
        }
        self.feed_prompts(&whole, listener)?;
        let mut branches = Vec::new();
        for (trunk, (span, _)) in trunks.iter().zip(&whole) {
            for (i, at) in &trunk.branches {
                let branch = self.tree.fork(*span, *at)?;
                self.begin(*i, branch);
                branches.push((branch, &prompts[*i][*at..]));
            }
        }
        self.feed_prompts(&branches, listener)
    }

    /// Evaluates every prompt; from its last logits come the first token and the first token of every option.
    fn read_prompts(&mut self, listener: &mut Listener<'_>) -> Result<()> {
        let prompts: Vec<&[u32]> = self.group.iter().map(|r| &r.ids[..]).collect();
        let mut short: Vec<(SpanId, &[u32])> = Vec::new();
        for trunk in trunks(&prompts) {
            let prompt = prompts[trunk.prompt];
            let span = self.tree.root(0);
            for (_, at) in &trunk.branches {
                self.tree.pin(span, *at)?;
            }
            self.begin(trunk.prompt, span);
            if trunk.branches.is_empty() && prompt.len() < self.piece {
                short.push((span, prompt));
                continue;
            }
            let started = Instant::now();
            self.feed_prompts(&[(span, prompt)], listener)?;
            if let Some(open) = self.open.last_mut() {
                open.reply.prefill_s = Some(started.elapsed().as_secs_f64());
            }
            let mut branches = Vec::new();
            for (i, at) in &trunk.branches {
                let branch = self.tree.fork(span, *at)?;
                self.begin(*i, branch);
                branches.push((branch, &prompts[*i][*at..]));
            }
            self.feed_prompts(&branches, listener)?;
        }
        self.feed_prompts(&short, listener)
    }

    fn begin(&mut self, request: usize, span: SpanId) {
        let generation = self.group[request].generate.as_ref().map(Generation::new);
        let reply = Reply::default();
        self.open.push(Open {
            request,
            span,
            reply,
            generation,
            next: None,
        });
    }

    fn feed_prompts(
        &mut self,
        prompts: &[(SpanId, &[u32])],
        listener: &mut Listener<'_>,
    ) -> Result<()> {
        let Self {
            local,
            group,
            tree,
            open,
            piece,
        } = self;
        feed(
            tree,
            prompts,
            false,
            *piece,
            listener,
            &mut |span, _, logits| {
                let Some(open) = open.iter_mut().find(|o| o.span == span) else {
                    return;
                };
                let mut hasher = blake3::Hasher::new();
                hash_row(&mut hasher, logits);
                open.reply.logits_hash = short_hash(&hasher);
                open.reply.options = group[open.request]
                    .options
                    .iter()
                    .map(|option| OptionScore {
                        text: option.text.clone(),
                        logprob: option.ids.first().map_or(0.0, |id| logprob(logits, *id)),
                        tokens: option.ids.len(),
                    })
                    .collect();
                open.step(local, logits);
            },
        )
    }

    /// A fork of its prompt for every option that has more than one token.
    fn fork_options(&mut self) -> Result<Vec<Fork<'a>>> {
        let mut forks = Vec::new();
        for (o, open) in self.open.iter().enumerate() {
            let request = &self.group[open.request];
            for (i, option) in request.options.iter().enumerate() {
                if option.ids.len() > 1 {
                    forks.push(Fork {
                        span: self.tree.fork(open.span, request.ids.len())?,
                        open: o,
                        option: i,
                        ids: &option.ids,
                    });
                }
            }
        }
        Ok(forks)
    }

    /// Generates every answer, one token of all of them at a time, and tells each as it ends. With the first go the
    /// further tokens of the options, whose log probabilities are added up.
    fn generate(&mut self, forks: Vec<Fork<'_>>, listener: &mut Listener<'_>) -> Result<()> {
        let started = Instant::now();
        let mut forks = Some(forks).filter(|f| !f.is_empty());
        loop {
            if forks.is_none() {
                self.tell_ended(started, listener)?;
            }
            if self.open.is_empty() {
                return Ok(());
            }
            let next: Vec<(SpanId, [u32; 1])> = self
                .open
                .iter()
                .filter_map(|o| Some((o.span, [o.next?])))
                .collect();
            let mut batch: Vec<(SpanId, &[u32])> = next.iter().map(|(s, t)| (*s, &t[..])).collect();
            let forks = forks.take().unwrap_or_default();
            batch.extend(forks.iter().map(|f| (f.span, &f.ids[..f.ids.len() - 1])));
            let of_span: HashMap<SpanId, &Fork<'_>> = forks.iter().map(|f| (f.span, f)).collect();
            let Self {
                local,
                tree,
                open,
                piece,
                ..
            } = self;
            feed(
                tree,
                &batch,
                true,
                *piece,
                listener,
                &mut |span, i, logits| {
                    if let Some(fork) = of_span.get(&span) {
                        let option = &mut open[fork.open].reply.options[fork.option];
                        option.logprob += logprob(logits, fork.ids[i + 1]);
                    } else if let Some(open) = open.iter_mut().find(|o| o.span == span) {
                        open.step(local, logits);
                    }
                },
            )?;
            forks.iter().for_each(|f| tree.drop_span(f.span));
        }
    }

    /// Tells the answers that have ended.
    fn tell_ended(&mut self, started: Instant, listener: &mut Listener<'_>) -> Result<()> {
        for i in (0..self.open.len()).rev() {
            if self.open[i].next.is_none() {
                let open = self.open.remove(i);
                self.tree.drop_span(open.span);
                let request = open.request;
                let reply = open.finish(self.local, started.elapsed().as_secs_f64());
                listener(Event::Done(request, Outcome::Reply(reply)))?;
            }
        }
        Ok(())
    }
}

/// An option under way.
struct Fork<'a> {
    span: SpanId,
    /// Index among the open requests, and of the option.
    open: usize,
    option: usize,
    /// The option's tokens; the first is scored by the prompt's logits.
    ids: &'a [u32],
}

impl Open {
    fn step(&mut self, local: &Local, logits: &[f32]) {
        let text = |ids: &[u32]| local.tokenizer().decode(ids);
        self.next = self
            .generation
            .as_mut()
            .and_then(|g| g.step(logits, local.stop(), &text));
    }

    fn finish(mut self, local: &Local, decode_s: f64) -> Reply {
        if let Some(g) = self.generation {
            self.reply.text = g.said(&|ids| local.tokenizer().decode(ids));
            self.reply.end = g.end;
            self.reply.decode_s = (!g.ids.is_empty()).then_some(decode_s);
            self.reply.ids = g.ids;
            self.reply.logprobs = g.logprobs;
        }
        self.reply
    }
}

/// Appends tokens to spans, `piece` tokens at a time, several short ones together. Reports the logits after each span's
/// last token, or after every token, with the token's index among the span's.
pub fn feed(
    tree: &mut PromptTree<'_>,
    spans: &[(SpanId, &[u32])],
    every_token: bool,
    piece: usize,
    listener: &mut Listener<'_>,
    report: &mut (dyn FnMut(SpanId, usize, &[f32]) + Send),
) -> Result<()> {
    // The span at hand, and how many of its tokens have been taken.
    let (mut next, mut at) = (0, 0);
    while next < spans.len() {
        let mut room = piece;
        let mut batch = Vec::new();
        let mut taken = Vec::new();
        while room > 0
            && let Some(&(span, all)) = spans.get(next)
        {
            let n = room.min(all.len() - at);
            let ends = at + n == all.len();
            let logits = match (every_token, ends) {
                (true, _) => Logits::All,
                (false, true) => Logits::Last,
                (false, false) => Logits::None,
            };
            if n > 0 {
                batch.push(Extend {
                    span,
                    tokens: &all[at..at + n],
                    logits,
                });
                taken.push((span, tree.end(span)?, at));
            }
            room -= n;
            (next, at) = if ends { (next + 1, 0) } else { (next, at + n) };
        }
        tree.extend(&batch, &mut |row| {
            if let Some((_, pos, index)) = taken.iter().find(|(span, ..)| *span == row.span) {
                report(row.span, index + (row.pos - pos), row.logits);
            }
        })?;
        listener(Event::Prefilled(piece - room))?;
    }
    Ok(())
}

pub fn hash_row(hasher: &mut blake3::Hasher, logits: &[f32]) {
    let bytes: Vec<u8> = logits.iter().flat_map(|x| x.to_le_bytes()).collect();
    hasher.update(&bytes);
}

/// 16 hexadecimal digits.
pub fn short_hash(hasher: &blake3::Hasher) -> String {
    hasher.finalize().to_hex()[..16].to_owned()
}
