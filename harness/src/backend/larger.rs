//! A model larger than memory: what has to be in memory at once, and how the rest is divided.

use std::path::{Path, PathBuf};

use fathom_engine::spec::Ffn;
use fathom_engine::{LayerMajor, Model, PromptTree, Scratch, TreeOptions};

use crate::memory::show_bytes;
use crate::{Error, Result};

/// Bytes of the program, its tables and its buffers beside what is counted here; measured, and rounded up.
const PROGRAM: u64 = 160 << 20;

/// How a model is evaluated under a limit that its weights exceed.
#[derive(Clone, Debug)]
pub struct Larger {
    /// The promise: resident memory, the touched part of maps included.
    memory: u64,
    /// Where hidden states and keys go that are not being worked on.
    pub scratch: PathBuf,
}

/// What has to be in memory at once, bytes.
#[derive(Clone, Debug)]
pub struct Needs {
    /// What, and how much; apart from the prompts.
    pub parts: Vec<(String, u64)>,
}

impl Needs {
    /// Of a model whose tokens pass a layer `tile` at a time.
    pub fn of(model: &Model, tile: usize) -> Self {
        let spec = &model.spec;
        let layers = model.weights.layers.iter().map(|l| l.stored_bytes());
        let (index, largest) = layers
            .enumerate()
            .max_by_key(|(_, bytes)| *bytes)
            .unwrap_or_default();
        let head = model.weights.head.stored_bytes();
        let (what, weights) = if largest > head {
            (format!("weights of layer {index}, the largest"), largest)
        } else {
            ("the head's matrix".to_owned(), head)
        };
        let parts = vec![
            ("the program".to_owned(), PROGRAM),
            (what, weights),
            (
                format!("activations of {tile} tokens"),
                activation_bytes(model, tile),
            ),
            (
                "small tensors".to_owned(),
                small_bytes(spec.layers.len(), spec.dim),
            ),
        ];
        Self { parts }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }

    /// `weights of layer 3, the largest: 1.2 GB; ..`.
    pub fn in_words(&self) -> String {
        let parts: Vec<String> = self
            .parts
            .iter()
            .map(|(what, bytes)| format!("{what}: {}", show_bytes(*bytes)))
            .collect();
        parts.join("; ")
    }
}

/// What has to be in memory where all of a model is, apart from the prompts; `tile` tokens pass a layer together.
pub fn whole_bytes(model: &Model, tile: usize) -> u64 {
    model.weight_bytes() + activation_bytes(model, tile) + PROGRAM
}

/// Activations of a tile: a dozen vectors of the stream's width, three of the widest layer, a few rows of logits.
pub fn activation_bytes(model: &Model, tile: usize) -> u64 {
    let spec = &model.spec;
    let hidden = spec.layers.iter().map(|l| width(&l.ffn)).max().unwrap_or(0);
    4 * (tile * (12 * spec.dim + 3 * hidden) + 40 * spec.n_vocab) as u64
}

/// Norms and biases, which are unpacked when the model is opened.
fn small_bytes(layers: usize, dim: usize) -> u64 {
    16 * (layers * dim * size_of::<f32>()) as u64
}

/// Width of a feed-forward part between its matrices.
fn width(ffn: &Ffn) -> usize {
    match ffn {
        Ffn::Dense { hidden_dim, .. } => *hidden_dim,
        Ffn::Moe(m) => m.n_used * m.hidden_dim + m.shared_hidden_dim.unwrap_or(0),
    }
}

impl Larger {
    /// `None` where the model and a short prompt fit.
    ///
    /// # Errors
    /// Where not even one layer at a time does, with what needs how much.
    pub fn than(memory: u64, model: &Model, scratch: &Path, tile: usize) -> Result<Option<Self>> {
        if whole_bytes(model, tile) <= memory {
            return Ok(None);
        }
        let needs = Needs::of(model, tile);
        let least = needs.total() + Self::per_sequence(model, 1);
        if least > memory {
            return Err(Error::Unfinished(format!(
                "{}: needs {} of memory even layer by layer, {} may be used ({}; keys of a prompt: {} and more)",
                model.name,
                show_bytes(least),
                show_bytes(memory),
                needs.in_words(),
                show_bytes(Self::per_sequence(model, 1)),
            )));
        }
        Ok(Some(Self {
            memory,
            scratch: scratch.to_owned(),
        }))
    }

    /// Bytes that a sequence of so many tokens needs in memory: keys and values of one layer, twice while they are written
    /// to the scratch file.
    pub fn per_sequence(model: &Model, tokens: usize) -> u64 {
        let layers = 0..model.spec.layers.len();
        2 * layers
            .map(|i| model.layer_cache_bytes(i, tokens))
            .max()
            .unwrap_or(0)
    }

    /// A tree that keeps the promise for sequences of these lengths.
    ///
    /// # Errors
    /// The scratch folder cannot be written, or threads cannot be started.
    pub fn tree<'m>(
        &self,
        model: &'m Model,
        options: TreeOptions,
        lengths: impl Iterator<Item = usize>,
    ) -> Result<PromptTree<'m>> {
        let working: u64 = lengths.map(|n| Self::per_sequence(model, n)).sum();
        let spare = self
            .memory
            .saturating_sub(Needs::of(model, options.tile).total())
            .saturating_sub(working);
        let scratch = Scratch::new(&self.scratch)?;
        let schedule = LayerMajor::new(scratch, spare / 2, spare / 2);
        Ok(PromptTree::layer_major(model, options, schedule)?)
    }
}
