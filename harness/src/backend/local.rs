//! The engine in this process: shared beginnings are evaluated once, answers are decoded together.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use fathom_engine::tokenizer::Tokenizer;
use fathom_engine::{Extend, Logits, Model, PromptTree, TreeOptions};

use crate::backend::evaluation::{Evaluation, feed, hash_row, short_hash};
use crate::backend::larger::{Larger, Needs, activation_bytes, whole_bytes};
use crate::backend::rate::{self, Rates};
use crate::backend::sample::argmax;
use crate::backend::{Backend, Event, Listener, ModelCard, Request, SpeedSample};
use crate::memory::{disk_bytes_read, show_bytes};
use crate::{Error, Result};

/// Tokens of the prompt whose logits are the fingerprint.
const FINGERPRINT_TOKENS: usize = 256;

/// A model in this process.
#[derive(Debug)]
pub struct Local {
    model: Model,
    tokenizer: Arc<Tokenizer>,
    stop: Vec<u32>,
    card: ModelCard,
    options: TreeOptions,
    rates: Rates,
    larger: Option<Larger>,
    read: Read,
}

/// What a model larger than memory has been read for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Read {
    /// Passes over the weights.
    pub passes: u64,
    /// Bytes that this process read from disks meanwhile; 0 where the system does not say.
    pub bytes: u64,
    /// Seconds.
    pub seconds: f64,
}

/// Most tokens that pass a layer together where memory is short: more keep prompts out.
const TILE: usize = 1024;

impl Local {
    /// A backend of a model; `stop` are the tokens that end an answer. How fast it is, is assumed.
    pub fn new(
        model: Model,
        tokenizer: Arc<Tokenizer>,
        stop: Vec<u32>,
        card: ModelCard,
        threads: usize,
    ) -> Self {
        let options = TreeOptions::of(&model, threads);
        let rates = Rates {
            prefill: 1e9,
            decode_token_s: 0.1,
        };
        Self {
            model,
            tokenizer,
            stop,
            card,
            options,
            rates,
            larger: None,
            read: Read::default(),
        }
    }

    /// Keeps a promise about memory: where the model does not fit, it is evaluated layer by layer, and what is not being
    /// worked on lies in a scratch file in `scratch`.
    ///
    /// # Errors
    /// Not even one layer at a time fits.
    pub fn within(mut self, memory: u64, scratch: &Path) -> Result<Self> {
        let tile = self.options.tile;
        if whole_bytes(&self.model, tile) > memory {
            self.options.tile = tile.min(TILE);
        }
        self.larger = Larger::than(memory, &self.model, scratch, self.options.tile)?;
        Ok(self)
    }

    /// Puts the scratch file into another folder.
    pub fn scratch_in(&mut self, dir: &Path) {
        if let Some(larger) = &mut self.larger {
            larger.scratch = dir.to_owned();
        }
    }

    /// What a model larger than memory has been read for; `None` for one that fits.
    pub fn read(&self) -> Option<Read> {
        self.larger.as_ref().map(|_| self.read)
    }

    /// Takes a short time to measure how fast it is, for estimates; of a model larger than memory nothing is measured.
    ///
    /// # Errors
    /// When the model cannot be evaluated.
    pub fn measured(mut self) -> Result<Self> {
        if self.larger.is_none() {
            self.rates = self.probe()?;
        }
        Ok(self)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Tokens that end an answer.
    pub fn stop(&self) -> &[u32] {
        &self.stop
    }

    /// Checks that a prompt can be evaluated at all.
    ///
    /// # Errors
    /// When it is empty or has an id outside the vocabulary.
    pub fn check_ids(&self, file: &str, ids: &[u32]) -> Result<()> {
        let n_vocab = self.model.spec.n_vocab;
        if ids.is_empty() {
            return Err(Error::input(file, "tokens", "none", "at least one"));
        }
        match ids.iter().position(|id| *id as usize >= n_vocab) {
            None => Ok(()),
            Some(i) => Err(Error::input(
                file,
                format!("[{i}]"),
                ids[i],
                format!("an id in 0..{n_vocab}"),
            )),
        }
    }

    fn probe(&mut self) -> Result<Rates> {
        // A model of many GB is read from the disk by its first tokens: fewer of them then.
        let tokens = if self.model.weight_bytes() > 4 << 30 {
            32
        } else {
            192
        };
        let mut sample = self.measure(tokens, 4, &mut |_| Ok(()))?;
        for _ in 0..2 {
            if sample.prefill_s < 0.2 {
                let again = self.measure(tokens, 4, &mut |_| Ok(()))?;
                sample.prefill_s = sample.prefill_s.min(again.prefill_s);
                sample.decode_s = sample.decode_s.min(again.decode_s);
            }
        }
        Ok(Rates {
            prefill: rate::work(&self.model.spec, 0, tokens) / sample.prefill_s.max(1e-9),
            decode_token_s: sample.decode_s / sample.decoded.max(1) as f64,
        })
    }

    /// Token ids that mean nothing and are the same everywhere.
    fn fixed_tokens(&self, n: usize) -> Vec<u32> {
        let n_vocab = self.model.spec.n_vocab as u64;
        (1..=n as u64)
            .map(|i| (i * 2_654_435_761 % n_vocab) as u32)
            .collect()
    }
}

impl Backend for Local {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn fingerprint(&mut self) -> Result<String> {
        if self.larger.is_some() {
            return Ok(String::new()); // It would cost a pass over the weights.
        }
        let tokens = self.fixed_tokens(FINGERPRINT_TOKENS);
        let mut tree = PromptTree::new(&self.model, self.options)?;
        let span = tree.root(0);
        let mut hasher = blake3::Hasher::new();
        tree.extend(
            &[Extend {
                span,
                tokens: &tokens,
                logits: Logits::All,
            }],
            &mut |row| {
                hash_row(&mut hasher, row.logits);
            },
        )?;
        Ok(short_hash(&hasher))
    }

    fn bytes_needed(&self, tokens: usize) -> u64 {
        let model = &self.model;
        let fixed = match &self.larger {
            Some(_) => Needs::of(model, self.options.tile).total(),
            None => model.weight_bytes() + activation_bytes(model, self.options.tile),
        };
        fixed + self.bytes_per_sequence(tokens)
    }

    fn bytes_per_sequence(&self, tokens: usize) -> u64 {
        match &self.larger {
            Some(_) => Larger::per_sequence(&self.model, tokens),
            None => self.model.cache_bytes(tokens),
        }
    }

    fn takes_all(&self) -> bool {
        self.larger.is_some()
    }

    fn seconds(&self, context: usize, prompt: usize, generated: usize) -> f64 {
        rate::seconds(&self.model.spec, &self.rates, context, prompt, generated)
    }

    fn rate_basis(&self) -> String {
        if self.larger.is_some() {
            return format!(
                "no probe: larger than memory, {} are read for the prompts and again for every token of the longest answer",
                show_bytes(self.model.weight_bytes())
            );
        }
        let short = rate::seconds(&self.model.spec, &self.rates, 0, 512, 0);
        format!(
            "a probe on this machine: {:.0} prompt tokens/s at 512, {:.0} generated tokens/s",
            512.0 / short,
            1.0 / self.rates.decode_token_s
        )
    }

    fn evaluate(&mut self, group: &[Request], listener: &mut Listener<'_>) -> Result<()> {
        let Some(larger) = &self.larger else {
            let tree = PromptTree::new(&self.model, self.options)?;
            return Evaluation::new(self, group, tree, self.options.tile)
                .run(listener)
                .map(drop);
        };
        let lengths = group.iter().map(Request::tokens);
        let tree = larger.tree(&self.model, self.options, lengths)?;
        let (started, before) = (Instant::now(), disk_bytes_read());
        let passes = Evaluation::new(self, group, tree, usize::MAX).run(listener)?;
        self.read.passes += passes;
        self.read.bytes += disk_bytes_read().saturating_sub(before);
        self.read.seconds += started.elapsed().as_secs_f64();
        Ok(())
    }

    fn measure(
        &mut self,
        context: usize,
        decode: usize,
        listener: &mut Listener<'_>,
    ) -> Result<SpeedSample> {
        let tokens = self.fixed_tokens(context.max(1));
        let mut tree = PromptTree::new(&self.model, self.options)?;
        let span = tree.root(0);
        let mut next = 0;
        let started = Instant::now();
        feed(
            &mut tree,
            &[(span, &tokens[..])],
            false,
            self.options.tile,
            listener,
            &mut |_, _, logits| {
                next = argmax(logits);
            },
        )?;
        let first_token_s = started.elapsed().as_secs_f64();
        let decoding = Instant::now();
        for _ in 0..decode {
            let token = [next];
            tree.extend(
                &[Extend {
                    span,
                    tokens: &token,
                    logits: Logits::Last,
                }],
                &mut |row| {
                    next = argmax(row.logits);
                },
            )?;
        }
        let decode_s = decoding.elapsed().as_secs_f64();
        listener(Event::Decoded(decode))?;
        Ok(SpeedSample {
            prefill_s: first_token_s,
            first_token_s,
            decode_s,
            decoded: decode,
            cache_bytes: tree.bytes(),
            prompt_tokens: context,
            again: None,
        })
    }
}
