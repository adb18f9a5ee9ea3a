//! The engine's thread: one step extends all answers and a part of the prompts together.
//!
//! A prompt goes on where a sequence with the same beginning stands: kept from a request that has ended, or being read
//! right now. What is reused has the bits that it would have by itself, so nobody's answer depends on it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use fathom_engine::{Extend, Logits, PromptTree, Result, SpanId, TreeOptions};

use crate::backend::sharing::{WORTH, common};
use crate::opened::Opened;
use crate::serve::Limits;
use crate::serve::desk::Load;
use crate::serve::job::{Event, Failure, Job};
use crate::serve::kept::{Beginning, Kept, Standing, beginning};
use crate::serve::running::{Language, Running};

/// Tokens of prompts that are read in one step with answers under way, so that these need not wait long.
const PIECE_BESIDE: usize = 128;

/// Does the jobs until nobody can hand in any more.
///
/// # Errors
/// The system refuses to start threads.
pub fn work(
    opened: &Opened,
    threads: usize,
    limits: &Limits,
    load: &Arc<Load>,
    jobs: &Receiver<Job>,
) -> Result<()> {
    let options = TreeOptions::of(&opened.model, threads);
    let mut worker = Worker {
        opened,
        limits,
        tree: PromptTree::new(&opened.model, options)?,
        piece: options.tile,
        waiting: VecDeque::new(),
        running: Vec::new(),
        kept: Kept::new(limits.kept),
        load: load.clone(),
    };
    loop {
        if worker.waiting.is_empty() && worker.running.is_empty() {
            match jobs.recv() {
                Ok(job) => worker.waiting.push_back(job),
                Err(_) => return Ok(()),
            }
        }
        worker.waiting.extend(jobs.try_iter());
        worker.give_up();
        if let Err(error) = worker.admit().and_then(|()| worker.step()) {
            worker.fail(&error.to_string());
        }
        worker.report();
    }
}

struct Worker<'m> {
    opened: &'m Opened,
    limits: &'m Limits,
    tree: PromptTree<'m>,
    /// Most tokens of prompts that are read before answers go on.
    piece: usize,
    waiting: VecDeque<Job>,
    running: Vec<Running>,
    kept: Kept,
    load: Arc<Load>,
}

impl Worker<'_> {
    /// Ends what nobody waits for, what is late, and everything when the server is being stopped.
    fn give_up(&mut self) {
        let now = Instant::now();
        let stopping = self.load.stopping.load(SeqCst);
        let goes_on = |job: &Job| {
            let failure = if stopping {
                Failure::Stopping
            } else if now > job.deadline {
                Failure::TooLate
            } else {
                return !job.events.is_closed();
            };
            drop(job.events.send(Event::Failed(failure)));
            false
        };
        let before = self.waiting.len();
        self.waiting.retain(goes_on);
        let gone = before - self.waiting.len();
        self.load.waiting.fetch_sub(gone, SeqCst);
        let running = std::mem::take(&mut self.running);
        let (going, gone): (Vec<_>, Vec<_>) = running.into_iter().partition(|r| goes_on(&r.job));
        self.running = going;
        for running in gone {
            running.abandon(&mut self.tree, &mut self.kept);
        }
    }

    /// Begins waiting jobs, in their order, as far as places and memory go. A prompt whose beginning is being read
    /// waits for that.
    fn admit(&mut self) -> Result<()> {
        let mut i = 0;
        while let Some(job) = self.waiting.get(i) {
            let voices: usize = self.running.iter().map(|r| r.job.answers.len()).sum();
            let reserved: u64 = self.running.iter().map(|r| r.bytes).sum();
            let bytes = bytes(self.opened, job);
            let full = voices + job.answers.len() > self.limits.batch
                || reserved.saturating_add(bytes) > self.limits.memory;
            if full && !self.running.is_empty() {
                break;
            }
            let wanted = job.score_prompt.then_some(job.top);
            let mut best = self.kept.best(&self.tree, &job.ids, wanted);
            for running in &self.running {
                let found = begun(&self.tree, running, &job.ids, wanted);
                if found.as_ref().map(|b| b.saved) > best.as_ref().map(|b| b.saved) {
                    best = found;
                }
            }
            let have = best.as_ref().map_or(0, |b| b.saved);
            if let Some((span, at)) = self.ahead(job, wanted, have) {
                self.tree.pin(span, at)?;
                i += 1;
                continue;
            }
            let Some(job) = self.waiting.remove(i) else {
                break;
            };
            self.load.waiting.fetch_sub(1, SeqCst);
            self.begin(job, best, bytes)?;
        }
        Ok(())
    }

    /// A prompt under way that will soon have more of this one's beginning than there is now, and how much.
    fn ahead(&self, job: &Job, wanted: Option<usize>, have: usize) -> Option<(SpanId, usize)> {
        let readers = self.running.iter().filter(|r| r.reading());
        let soon = readers.filter_map(|r| {
            let shared = common(&r.job.ids, &job.ids);
            let at = match wanted {
                None => shared.min(job.ids.len() - 1),
                Some(top) if r.job.score_prompt && r.job.top >= top => shared.saturating_sub(1),
                Some(_) => return None,
            };
            (at > r.at && at >= have + WORTH).then_some((r.span, at))
        });
        soon.max_by_key(|(_, at)| *at)
    }

    fn begin(&mut self, job: Job, best: Option<Beginning>, bytes: u64) -> Result<()> {
        let (span, at, cached, scores) = match best {
            Some(b) => (self.tree.fork(b.span, b.at)?, b.at, b.saved, b.scores),
            None => (self.tree.root(0), 0, 0, Vec::new()),
        };
        // The same prompt may be asked again: all but its last token can be there then.
        self.tree.pin(span, job.ids.len() - 1)?;
        self.running.push(Running {
            job,
            span,
            at,
            cached,
            scores,
            voices: Vec::new(),
            bytes,
            told: false,
        });
        let reserved: u64 = self.running.iter().map(|r| r.bytes).sum();
        let held_at_most = self.limits.memory.saturating_sub(reserved);
        while self.kept_bytes() > held_at_most && self.kept.drop_oldest(&mut self.tree) {}
        Ok(())
    }

    /// Bytes beside those that the jobs under way hold; these count as little as they can.
    fn kept_bytes(&self) -> u64 {
        let of = |r: &Running| self.opened.model.cache_bytes(r.at);
        let running: u64 = self.running.iter().map(of).sum();
        self.tree.bytes().saturating_sub(running)
    }

    /// Evaluates the next token of every answer, and a part of the prompts, in equal shares.
    fn step(&mut self) -> Result<()> {
        let mut parts: Vec<(SpanId, Vec<u32>, Logits)> = Vec::new();
        let mut owners: HashMap<SpanId, (usize, usize)> = HashMap::new();
        for (r, running) in self.running.iter().enumerate() {
            for (v, voice) in running.voices.iter().enumerate() {
                if let (Some(span), Some(id)) = (voice.span, voice.next) {
                    owners.insert(span, (r, v));
                    parts.push((span, vec![id], Logits::Last));
                }
            }
        }
        let mut room = if parts.is_empty() {
            self.piece
        } else {
            PIECE_BESIDE
        };
        let mut readers = self.running.iter().filter(|r| r.reading()).count();
        for (r, running) in self.running.iter().enumerate() {
            if !running.reading() || room == 0 {
                continue;
            }
            let left = &running.job.ids[running.at..];
            let n = room.div_ceil(readers).min(left.len());
            let logits = match (running.job.score_prompt, n == left.len()) {
                (true, _) => Logits::All,
                (false, true) => Logits::Last,
                (false, false) => Logits::None,
            };
            owners.insert(running.span, (r, 0));
            parts.push((running.span, left[..n].to_vec(), logits));
            readers -= 1;
            room -= n;
        }
        let batch: Vec<_> = parts
            .iter()
            .map(|(span, tokens, logits)| Extend {
                span: *span,
                tokens,
                logits: *logits,
            })
            .collect();
        let Self {
            opened,
            tree,
            running,
            kept,
            ..
        } = self;
        let language = Language {
            tokenizer: &opened.tokenizer,
            stop: &opened.stop,
        };
        tree.extend(&batch, &mut |row| {
            let Some(&(r, v)) = owners.get(&row.span) else {
                return;
            };
            let running = &mut running[r];
            if running.reading() {
                running.read(row.pos, row.logits, language);
            } else {
                running.voices[v].step(row.logits, language);
            }
        })?;
        for (span, tokens, _) in &parts {
            let Some(&(r, _)) = owners.get(span) else {
                continue;
            };
            if running[r].reading() {
                running[r].at += tokens.len();
            }
        }
        for running in running.iter_mut() {
            running.settle(tree, kept)?;
        }
        running.retain(|r| r.reading() || !r.voices.is_empty());
        Ok(())
    }

    /// The engine has failed: what is under way cannot be told from what is broken.
    fn fail(&mut self, why: &str) {
        for running in std::mem::take(&mut self.running) {
            let failure = Failure::Engine(why.to_owned());
            drop(running.job.events.send(Event::Failed(failure)));
            self.tree.drop_span(running.span);
            for span in running.voices.iter().filter_map(|v| v.span) {
                self.tree.drop_span(span);
            }
        }
    }

    fn report(&self) {
        let load = &self.load;
        load.running.store(self.running.len(), SeqCst);
        load.kept.store(self.kept.count(), SeqCst);
        load.tokens.store(self.tree.tokens_worked(), SeqCst);
    }
}

/// What a job under way has of a prompt.
fn begun(
    tree: &PromptTree<'_>,
    running: &Running,
    ids: &[u32],
    wanted: Option<usize>,
) -> Option<Beginning> {
    let there = running.reading() || running.voices.iter().any(|v| v.first);
    if !there {
        return None;
    }
    let job = &running.job;
    let scores = job.score_prompt.then_some((job.top, &running.scores[..]));
    let there = Standing {
        span: running.span,
        ids: &job.ids[..running.at],
        scores,
    };
    beginning(tree, there, ids, wanted)
}

/// Bytes of keys and values that a job may come to hold.
pub fn bytes(opened: &Opened, job: &Job) -> u64 {
    let answers = job.answers.iter().enumerate();
    let of = |(i, answer): (usize, &crate::backend::Generate)| {
        let prompt = if i == 0 { job.ids.len() } else { 0 };
        opened
            .model
            .cache_bytes(prompt.saturating_add(answer.max_tokens))
    };
    answers.map(of).fold(0, u64::saturating_add)
}
