//! Weights in their stored type, borrowed from the file, found by the names that each spelling uses.

//!
//! | file | holds |
//! |---|---|
//! | `finder.rs` | tensors by name, checked |
//! | `attention.rs`, `experts.rs` | the parts of a layer |
//! | `scaled.rs` | factors that are tensors of their own |
//! | `rounded.rs` | weights with fewer bits in memory |

use std::collections::{BTreeMap, BTreeSet};

use crate::Result;
use crate::format::checkpoint::Checkpoint;
use crate::format::{Bytes, StoredType};
use crate::kernels::{Layout, Matrix, Precision};
use crate::spec::{Ffn, LayerSpec, ModelSpec, Residual};

mod attention;
mod experts;
mod finder;
mod rounded;
pub mod scaled;

pub use attention::{KeysValues, LatentWeights};
pub use experts::{Biases, Experts, Gated};
use finder::Finder;
use scaled::BlockScales;

/// A matrix as stored: y = W x.
#[derive(Clone, Debug)]
pub struct Weight {
    ty: StoredType,
    rows: usize,
    cols: usize,
    layout: Layout,
    data: Bytes,
    scales: Option<Box<BlockScales>>,
    precision: Precision,
}

impl Weight {
    /// The matrix for the kernels.
    pub fn view(&self) -> Matrix<'_> {
        Matrix {
            ty: self.ty,
            rows: self.rows,
            cols: self.cols,
            layout: self.layout,
            data: &self.data,
            scales: self.scales.as_deref().map(BlockScales::view),
        }
    }

    /// Every `step`th row from `first` on, of a matrix stored by rows.
    pub fn every(&self, step: usize, first: usize) -> Self {
        Self {
            rows: self.rows.saturating_sub(first).div_ceil(step),
            layout: Layout::Rows { step, first },
            ..self.clone()
        }
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes as stored, factors included.
    pub fn stored_bytes(&self) -> u64 {
        self.bytes().map(|b| b.len() as u64).sum()
    }

    /// The bytes as stored: values, and factors where they are apart.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = &Bytes> {
        let scales = self.scales.as_deref().map(BlockScales::bytes);
        [&self.data].into_iter().chain(scales)
    }

    /// Stored type.
    pub fn ty(&self) -> StoredType {
        self.ty
    }

    /// How it is stored, in words: `FP8 E4M3 in blocks of 128 x 128`, `int4 in groups of 32`, `BF16`.
    pub fn stored_as(&self) -> String {
        use StoredType::{F4_E2M1, F8_E4M3, F8_E5M2, I8, PACKED_I4, PACKED_I8};
        let name = match self.ty {
            F8_E4M3 => "FP8 E4M3",
            F8_E5M2 => "FP8 E5M2",
            F4_E2M1 => "MXFP4",
            PACKED_I4 => "int4",
            I8 | PACKED_I8 => "int8",
            ty => ty.name(),
        };
        let shared = self.scales.as_ref().map(|s| match s.block() {
            (rows, cols) if rows > 1 && cols > 1 && rows >= self.rows && cols >= self.cols => {
                ", one scale a matrix".to_owned()
            }
            (1, cols) if cols < self.cols || self.ty == F4_E2M1 => {
                format!(" in groups of {cols}")
            }
            (1, _) | (_, 1) => ", one scale an output".to_owned(),
            (rows, cols) => format!(" in blocks of {rows} x {cols}"),
        });
        format!("{name}{}", shared.unwrap_or_default())
    }

    /// What activations are multiplied as.
    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }
}

/// All weights of a model.
#[derive(Clone, Debug)]
pub struct Weights {
    /// [n_vocab, dim].
    pub embedding: Weight,
    /// One entry a layer.
    pub layers: Vec<LayerWeights>,
    /// [dim].
    pub final_norm: Vec<f32>,
    /// [n_vocab, dim]; the embedding where they are tied.
    pub head: Weight,
    /// Tensors of the file that the text model does not use (a vision tower, a draft head).
    pub unused: Vec<String>,
}

/// Weights of one layer.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// [dim].
    pub attn_norm: Vec<f32>,
    /// Queries, [n_heads * head_dim, dim], or [.., q_rank] where they are of low rank.
    pub q: Weight,
    /// Keys and values.
    pub kv: KeysValues,
    /// [dim, n_heads * width of a value head].
    pub o: Weight,
    /// Biases of q, k, v; empty where there are none.
    pub qkv_bias: [Vec<f32>; 3],
    /// Bias of o, [dim], or empty.
    pub out_bias: Vec<f32>,
    /// Weights of the norm on query and key heads, [head_dim] each, or empty.
    pub qk_norm: [Vec<f32>; 2],
    /// One logit a head, or empty.
    pub sinks: Vec<f32>,
    /// [dim], or empty.
    pub attn_post_norm: Vec<f32>,
    /// [dim]; that of attention where both sublayers share it.
    pub ffn_norm: Vec<f32>,
    /// [dim], or empty.
    pub ffn_post_norm: Vec<f32>,
    /// Feed-forward part.
    pub ffn: FfnWeights,
}

/// Weights of a feed-forward part.
#[derive(Clone, Debug)]
pub enum FfnWeights {
    /// One gated network.
    Dense(Gated),
    /// Routed experts and a shared one.
    Moe(Experts),
}

impl LayerWeights {
    /// Matrices that every token passes, and those of the routed experts.
    pub(crate) fn matrices(&self) -> (Vec<&Weight>, Vec<&Weight>) {
        let mut dense = vec![&self.q, &self.o];
        match &self.kv {
            KeysValues::Grouped { k, v } => dense.extend([k, v]),
            KeysValues::Latent(latent) => {
                dense.push(&latent.kv_down);
                dense.extend(latent.q_down.iter().map(|(down, _)| down));
                dense.extend(latent.absorb_q.iter().chain(&latent.v_up));
            }
        }
        let mut routed = Vec::new();
        match &self.ffn {
            FfnWeights::Dense(gated) => dense.extend(gated.matrices()),
            FfnWeights::Moe(experts) => {
                dense.push(&experts.router);
                dense.extend(experts.shared.iter().flat_map(Gated::matrices));
                routed.extend(experts.routed.iter().flat_map(Gated::matrices));
            }
        }
        (dense, routed)
    }

    /// The dense matrices that make what is cached.
    pub(crate) fn cached_matrices(&self) -> Vec<&Weight> {
        match &self.kv {
            KeysValues::Grouped { k, v } => vec![k, v],
            KeysValues::Latent(latent) => vec![&latent.kv_down],
        }
    }

    /// Bytes of its matrices as stored; those that lie in one another (gate and up, the heads of a latent) once.
    pub fn stored_bytes(&self) -> u64 {
        let (dense, routed) = self.matrices();
        let all = dense.into_iter().chain(routed);
        let bytes = all.flat_map(Weight::bytes);
        let places: BTreeSet<_> = bytes.map(|b| (b.as_ptr(), b.len())).collect();
        places.into_iter().map(|(_, len)| len as u64).sum()
    }
}

impl Weights {
    /// How matrices are stored ([`Weight::stored_as`]), and how many so, most bytes first.
    pub fn stored_as(&self) -> Vec<(String, usize)> {
        let mut kinds = BTreeMap::<String, (u64, usize)>::new();
        let layers = self.layers.iter().flat_map(|l| {
            let (dense, routed) = l.matrices();
            dense.into_iter().chain(routed)
        });
        for w in layers.chain([&self.embedding, &self.head]) {
            let kind = kinds.entry(w.stored_as()).or_default();
            kind.0 += w.stored_bytes();
            kind.1 += 1;
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by_key(|(_, (bytes, _))| std::cmp::Reverse(*bytes));
        kinds.into_iter().map(|(name, (_, n))| (name, n)).collect()
    }

    /// Finds every weight that `spec` needs and checks its shape.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape, and one that the text model should have used and did not
    /// (unless `allow_unknown`), named.
    pub fn load(checkpoint: &Checkpoint, spec: &ModelSpec, allow_unknown: bool) -> Result<Self> {
        let find = Finder::new(checkpoint);
        let embedding = find.matrix(
            &find.top("embed_tokens", "token_embd"),
            spec.n_vocab,
            spec.dim,
        )?;
        let head = if spec.tied_head {
            embedding.clone()
        } else {
            find.matrix(&find.head(), spec.n_vocab, spec.dim)?
        };
        let layers = spec
            .layers
            .iter()
            .enumerate()
            .map(|(i, layer)| find.layer(i, spec.dim, layer));
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            final_norm: find.vector(&find.top("norm", "output_norm"), spec.dim)?,
            embedding,
            head,
            unused: find.unused(spec.layers.len(), allow_unknown)?,
        })
    }
}

impl Finder<'_> {
    /// All weights of layer `i`.
    fn layer(&self, i: usize, dim: usize, spec: &LayerSpec) -> Result<LayerWeights> {
        let name = |hf: &str, gguf: &str| {
            if self.gguf {
                format!("blk.{i}.{gguf}")
            } else {
                format!("{}layers.{i}.{hf}", self.prefix)
            }
        };
        let vector = |wanted: bool, hf: &str, gguf: &str, len: usize| {
            if wanted {
                self.vector(&name(hf, gguf), len)
            } else {
                Ok(Vec::new())
            }
        };
        let a = &spec.attention;
        let (q_dim, kv_dim) = (a.n_heads * a.head_dim, a.n_kv_heads * a.head_dim);
        let (q, kv) = self.queries_keys_values(dim, a, &name)?;
        let weighted = a.qk_norm.is_some_and(|n| n.weighted);
        let matrix = |hf: &str, gguf: &str, rows, cols| self.matrix(&name(hf, gguf), rows, cols);
        // Hugging Face's "post_attention_layernorm" stands before the feed-forward part, unless both sublayers
        // have a norm behind them.
        let ffn_norm = match spec.attn_post_norm {
            Some(_) => "pre_feedforward_layernorm.weight",
            None => "post_attention_layernorm.weight",
        };
        // gpt-oss's GGUF files call it after attention, as Hugging Face does.
        let post = spec.attn_post_norm.is_some();
        let gguf_ffn_norm = if !post && self.has(&name("", "post_attention_norm.weight")) {
            "post_attention_norm.weight"
        } else {
            "ffn_norm.weight"
        };
        let (attn, ffn) = (spec.attn_norm.is_some(), spec.ffn_norm.is_some());
        let shared = spec.residual == Residual::Parallel && !ffn;
        Ok(LayerWeights {
            attn_norm: vector(attn, "input_layernorm.weight", "attn_norm.weight", dim)?,
            q,
            kv,
            o: matrix(
                "self_attn.o_proj.weight",
                "attn_output.weight",
                dim,
                a.out_width(),
            )?,
            qkv_bias: [
                vector(a.qkv_bias, "self_attn.q_proj.bias", "attn_q.bias", q_dim)?,
                vector(a.qkv_bias, "self_attn.k_proj.bias", "attn_k.bias", kv_dim)?,
                vector(a.qkv_bias, "self_attn.v_proj.bias", "attn_v.bias", kv_dim)?,
            ],
            out_bias: vector(a.out_bias, "self_attn.o_proj.bias", "attn_output.bias", dim)?,
            qk_norm: [
                vector(
                    weighted,
                    "self_attn.q_norm.weight",
                    "attn_q_norm.weight",
                    a.head_dim,
                )?,
                vector(
                    weighted,
                    "self_attn.k_norm.weight",
                    "attn_k_norm.weight",
                    a.head_dim,
                )?,
            ],
            sinks: vector(a.sinks, "self_attn.sinks", "attn_sinks.weight", a.n_heads)?,
            attn_post_norm: vector(
                post,
                "post_attention_layernorm.weight",
                "post_attention_norm.weight",
                dim,
            )?,
            ffn_norm: if shared {
                vector(attn, "input_layernorm.weight", "attn_norm.weight", dim)?
            } else {
                vector(ffn, ffn_norm, gguf_ffn_norm, dim)?
            },
            ffn_post_norm: vector(
                spec.ffn_post_norm.is_some(),
                "post_feedforward_layernorm.weight",
                "post_ffw_norm.weight",
                dim,
            )?,
            ffn: match &spec.ffn {
                Ffn::Dense { hidden_dim, .. } => {
                    FfnWeights::Dense(self.dense(dim, *hidden_dim, &name)?)
                }
                Ffn::Moe(moe) => FfnWeights::Moe(self.experts(dim, moe, &name)?),
            },
        })
    }
}
