//! A model opened: spec, weights, and what stands beside them in the checkpoint.

use std::path::Path;

use crate::format::checkpoint::{Checkpoint, Config};
use crate::kernels::Precision;
use crate::spec::{self, Mask, ModelSpec, SpecSource};
use crate::tokenizer::Tokenizer;
use crate::weights::Weights;
use crate::{Error, Result};

/// Version of the arithmetic: logits of one version are comparable bit for bit.
pub const NUMERIC_VERSION: u32 = 1;

/// A model that can be evaluated. Cloning copies pointers to the weights.
#[derive(Clone, Debug)]
pub struct Model {
    /// The path as given, or `builtin`.
    pub name: String,
    /// What it computes.
    pub spec: ModelSpec,
    /// With what.
    pub weights: Weights,
    /// What activations are multiplied as where weights are stored as integers.
    pub precision: Precision,
    /// The files it came from.
    pub checkpoint: Checkpoint,
    /// Configuration keys that were passed over because the caller allowed it.
    pub unknown_keys: Vec<String>,
}

impl Model {
    /// Opens a GGUF file or a Hugging Face folder; weights are mapped, not copied.
    ///
    /// # Errors
    /// Anything in the files that is not as expected, named.
    ///
    /// ```no_run
    /// # fn main() -> fathom_engine::Result<()> {
    /// use fathom_engine::{Extend, Logits, Model, PromptTree, TreeOptions};
    /// let model = Model::open("SmolLM2-135M-Instruct.Q4_1.gguf".as_ref(), false)?;
    /// let mut tree = PromptTree::new(&model, TreeOptions::default())?;
    /// let span = tree.root(0);
    /// let tokens = model.tokenizer()?.encode("Once upon a time")?;
    /// let batch = [Extend { span, tokens: &tokens, logits: Logits::Last }];
    /// tree.extend(&batch, &mut |row| println!("{} logits", row.logits.len()))?;
    /// # Ok(()) }
    /// ```
    pub fn open(path: &Path, allow_unknown: bool) -> Result<Self> {
        Self::from_checkpoint(Checkpoint::open(path)?, allow_unknown)
    }

    /// A model of an opened checkpoint. With `allow_unknown`, keys and tensors that nobody knows are passed over
    /// and listed instead of being an error.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_checkpoint(checkpoint: Checkpoint, allow_unknown: bool) -> Result<Self> {
        crate::kernels::isa()?;
        let (file, source) = match &checkpoint.config {
            Config::Hf(config) => (
                format!("{}/config.json", checkpoint.name),
                SpecSource::Hf(config),
            ),
            Config::Gguf(metadata) => {
                let embedding = checkpoint.tensor("token_embd.weight")?;
                let factors = |name: &str| {
                    let t = checkpoint.tensors.get(name)?;
                    let mut factors = vec![0.0; t.shape.iter().product()];
                    t.ty.unpack(&t.data, &mut factors);
                    Some(factors)
                };
                let short = factors("rope_factors_short.weight");
                let long = factors("rope_factors_long.weight");
                let source = SpecSource::Gguf {
                    metadata,
                    n_vocab: embedding.shape[0],
                    rope_factors: factors("rope_freqs.weight"),
                    long_factors: short.zip(long).map(|(short, long)| [short, long]),
                    tied: !checkpoint.tensors.contains_key("output.weight"),
                };
                (checkpoint.name.clone(), source)
            }
        };
        let (spec, unknown_keys) = spec::from_checkpoint(&file, source, allow_unknown)?;
        let weights = Weights::load(&checkpoint, &spec, allow_unknown)?;
        Ok(Self {
            name: checkpoint.name.clone(),
            spec,
            weights,
            precision: Precision::F32,
            checkpoint,
            unknown_keys,
        })
    }

    /// The checkpoint's tokenizer.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let name = &self.checkpoint.name;
        let files = &self.checkpoint.files;
        match &self.checkpoint.config {
            Config::Gguf(metadata) => Tokenizer::from_gguf(name, metadata),
            Config::Hf(_) => {
                let file = files.get("tokenizer.json").ok_or_else(|| {
                    let expected = "tokenizer.json beside config.json";
                    Error::input(name, "tokenizer", "no tokenizer.json", expected)
                })?;
                let config = files.get("tokenizer_config.json").map(|b| &**b);
                Tokenizer::from_hf(&format!("{name}/tokenizer.json"), file, config)
            }
        }
    }

    /// Bytes of the weights as stored.
    pub fn weight_bytes(&self) -> u64 {
        self.checkpoint.total_bytes
    }

    /// Bytes of keys and values that a sequence of `n` tokens holds at its end: windowed and chunked layers hold
    /// at most their window or chunk.
    pub fn cache_bytes(&self, n: usize) -> u64 {
        let layers = 0..self.spec.layers.len();
        layers.map(|i| self.layer_cache_bytes(i, n)).sum()
    }

    /// The part of [`Model::cache_bytes`] that is one layer's.
    pub fn layer_cache_bytes(&self, layer: usize, n: usize) -> u64 {
        let layer = &self.spec.layers[layer];
        let held = match layer.mask {
            Mask::Full => n,
            Mask::Window(w) | Mask::Chunk(w) => n.min(w),
        };
        let blocks = held.div_ceil(crate::kernels::KV_BLOCK) * crate::kernels::KV_BLOCK;
        (blocks as u64) * (layer.attention.cached() * size_of::<f32>()) as u64
    }

    /// The same model with products in `precision`; `None` when nothing would change, as no matrix is stored as integers.
    pub fn in_precision(&self, precision: Precision) -> Option<Self> {
        let weights = self.weights.in_precision(precision)?;
        Some(Self {
            weights,
            precision,
            ..self.clone()
        })
    }

    /// The same model with an edited spec, checked against the weights' shapes: how a fault is evaluated.
    ///
    /// # Errors
    /// The edit contradicts itself or the weights.
    pub fn with_spec(self, spec: ModelSpec) -> Result<Self> {
        spec.check(&self.name)?;
        let same = |a: &ModelSpec, b: &ModelSpec| {
            a.dim == b.dim && a.n_vocab == b.n_vocab && a.layers.len() == b.layers.len()
        };
        if !same(&spec, &self.spec) {
            return Err(Error::input(
                &self.name,
                "spec",
                "other sizes",
                "those of the weights",
            ));
        }
        Ok(Self { spec, ..self })
    }
}
