//! Weights in their stored type, borrowed from the file, found by the names that each spelling uses.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::format::checkpoint::{Checkpoint, Config};
use crate::format::{Bytes, StoredType, Tensor};
use crate::kernels::{Layout, Matrix, Precision};
use crate::spec::{Attention, Ffn, Latent, LayerSpec, ModelSpec, Residual};
use crate::{Error, Result};

mod experts;
mod rounded;
pub mod scaled;

pub use experts::{Biases, Experts, Gated};
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

/// Weights of keys and values.
#[derive(Clone, Debug)]
pub enum KeysValues {
    /// Heads, each projected from the stream.
    Grouped {
        /// [n_kv_heads * head_dim, dim].
        k: Weight,
        /// [n_kv_heads * head_dim, dim].
        v: Weight,
    },
    /// A latent, and how it is met by queries and becomes values.
    Latent(LatentWeights),
}

/// Weights of latent attention.
#[derive(Clone, Debug)]
pub struct LatentWeights {
    /// Low-rank queries: [q_rank, dim] and the weights of their norm, [q_rank].
    pub q_down: Option<(Weight, Vec<f32>)>,
    /// The latent and the shared rotated key, [kv_rank + rope_dim, dim].
    pub kv_down: Weight,
    /// Norm of the latent, [kv_rank].
    pub kv_norm: Vec<f32>,
    /// From a query head's unrotated part to the space of the latent, [kv_rank, head_dim - rope_dim] a head.
    pub absorb_q: Vec<Weight>,
    /// From the latent to a value head, [v_dim, kv_rank] a head.
    pub v_up: Vec<Weight>,
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

/// Prefixes of the text model in files that have a vision tower, and of those that have none.
const PREFIXES: [&str; 4] = [
    "language_model.model.",
    "model.language_model.",
    "model.",
    "",
];

/// Tensors that are no part of the text model's arithmetic.
fn is_beside(name: &str) -> bool {
    let name = name.strip_prefix("model.").unwrap_or(name);
    name.starts_with("vision_")
        || name.starts_with("multi_modal_projector.")
        || name.ends_with("rotary_emb.inv_freq")
        || name.ends_with("lm_head.weight")
        || name.ends_with(".input_scale")
        || name.starts_with("rope_")
}

/// A layer's tensor by its Hugging Face and its GGUF name.
type Name<'n> = dyn Fn(&str, &str) -> String + 'n;

struct Finder<'a> {
    checkpoint: &'a Checkpoint,
    gguf: bool,
    prefix: &'static str,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Finder<'a> {
    fn new(checkpoint: &'a Checkpoint) -> Self {
        let has = |p: &&&str| {
            let name = format!("{p}embed_tokens.weight");
            checkpoint.tensors.contains_key(&name) || checkpoint.unreadable.contains_key(&name)
        };
        let prefix = PREFIXES.iter().find(has).copied().unwrap_or("model.");
        let gguf = matches!(checkpoint.config, Config::Gguf(_));
        Self {
            checkpoint,
            gguf,
            prefix,
            used: RefCell::default(),
        }
    }

    fn top(&self, hf: &str, gguf: &str) -> String {
        if self.gguf {
            format!("{gguf}.weight")
        } else {
            format!("{}{hf}.weight", self.prefix)
        }
    }

    fn head(&self) -> String {
        match self.prefix {
            _ if self.gguf => "output.weight".into(),
            "language_model.model." => "language_model.lm_head.weight".into(),
            _ => "lm_head.weight".into(),
        }
    }

    fn tensor(&self, name: &str) -> Result<&'a Tensor> {
        self.used.borrow_mut().insert(name.into());
        self.checkpoint.tensor(name)
    }

    fn shaped(&self, name: &str, shape: &[usize]) -> Result<&'a Tensor> {
        let tensor = self.tensor(name)?;
        if tensor.shape != shape {
            let (found, expected) = (format!("shape {:?}", tensor.shape), format!("{shape:?}"));
            return Err(Error::input(&self.checkpoint.name, name, found, expected));
        }
        Ok(tensor)
    }

    fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Weight> {
        let t = self.shaped(name, &[rows, cols])?;
        Ok(Weight {
            ty: t.ty,
            rows,
            cols,
            layout: Layout::RowMajor,
            data: t.data.clone(),
            scales: scaled::fp8(self.checkpoint, t, |name| self.tensor(name))?.map(Box::new),
            precision: Precision::F32,
        })
    }

    /// Some of a matrix's rows, as a matrix of their own; `name` is for the message.
    fn rows(&self, whole: &Weight, name: &str, first: usize, rows: usize) -> Result<Weight> {
        let together = whole.ty.interleaved();
        if !first.is_multiple_of(together) || !rows.is_multiple_of(together) {
            let found = format!("a fused matrix of type {}", whole.ty);
            let expected = "one whose rows can be taken apart";
            return Err(Error::input(&self.checkpoint.name, name, found, expected));
        }
        let each = whole.data.len() / whole.rows.max(1);
        let data = whole.data.slice(first * each..(first + rows) * each);
        let data = data.ok_or_else(|| {
            let (found, expected) = (format!("{} rows", whole.rows), format!("{}", first + rows));
            Error::input(&self.checkpoint.name, name, found, expected)
        })?;
        Ok(Weight {
            rows,
            data,
            scales: whole.scales.as_ref().map(|s| Box::new(s.at_row(first))),
            ..whole.clone()
        })
    }

    /// A matrix stored by rows, its outputs as inputs; `name` is for the message.
    fn turned(&self, w: Weight, name: &str) -> Result<Weight> {
        if w.ty.info().block != 1 {
            let found = format!("type {}", w.ty);
            let expected = "a type without blocks, as it is input-major";
            return Err(Error::input(&self.checkpoint.name, name, found, expected));
        }
        let layout = Layout::ColMajor {
            stride: w.cols,
            offset: 0,
        };
        Ok(Weight {
            rows: w.cols,
            cols: w.rows,
            layout,
            ..w
        })
    }

    /// A tensor whose values need no factors.
    fn unscaled(&self, name: &str, shape: &[usize]) -> Result<&'a Tensor> {
        let t = self.shaped(name, shape)?;
        if scaled::needs_scales(t.ty) {
            let (found, expected) = (format!("type {}", t.ty), "a type without scales");
            return Err(Error::input(&self.checkpoint.name, name, found, expected));
        }
        Ok(t)
    }

    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        let t = self.unscaled(name, &[len])?;
        let mut out = vec![0.0; len];
        t.ty.unpack(&t.data, &mut out);
        Ok(out)
    }

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

    fn queries_keys_values(
        &self,
        dim: usize,
        a: &Attention,
        name: &Name<'_>,
    ) -> Result<(Weight, KeysValues)> {
        let (q_dim, kv_dim) = (a.n_heads * a.head_dim, a.n_kv_heads * a.head_dim);
        let matrix = |hf: &str, gguf: &str, rows, cols| {
            let hf = format!("self_attn.{hf}.weight");
            self.matrix(&name(&hf, &format!("attn_{gguf}.weight")), rows, cols)
        };
        if let Some(latent) = a.latent {
            let q = match latent.q_rank {
                Some(rank) => matrix("q_b_proj", "q_b", q_dim, rank)?,
                None => matrix("q_proj", "q", q_dim, dim)?,
            };
            let weights = self.latent(dim, a, latent, name)?;
            return Ok((q, KeysValues::Latent(weights)));
        }
        let fused = name("self_attn.qkv_proj.weight", "attn_qkv.weight");
        if self.has(&fused) {
            let whole = self.matrix(&fused, q_dim + 2 * kv_dim, dim)?;
            let kv = KeysValues::Grouped {
                k: self.rows(&whole, &fused, q_dim, kv_dim)?,
                v: self.rows(&whole, &fused, q_dim + kv_dim, kv_dim)?,
            };
            return Ok((self.rows(&whole, &fused, 0, q_dim)?, kv));
        }
        let kv = KeysValues::Grouped {
            k: matrix("k_proj", "k", kv_dim, dim)?,
            v: matrix("v_proj", "v", kv_dim, dim)?,
        };
        Ok((matrix("q_proj", "q", q_dim, dim)?, kv))
    }

    fn latent(
        &self,
        dim: usize,
        a: &Attention,
        latent: Latent,
        name: &Name<'_>,
    ) -> Result<LatentWeights> {
        let (n, rank, v_dim) = (a.n_heads, latent.kv_rank, latent.v_dim);
        let nope = a.head_dim - latent.rope_dim;
        let full = |hf: &str, gguf: &str| {
            name(
                &format!("self_attn.{hf}.weight"),
                &format!("attn_{gguf}.weight"),
            )
        };
        let q_down = |q_rank| {
            Ok((
                self.matrix(&full("q_a_proj", "q_a"), q_rank, dim)?,
                self.vector(&full("q_a_layernorm", "q_a_norm"), q_rank)?,
            ))
        };
        let (absorb_q, v_up) = if self.gguf {
            // The converter splits kv_b and turns its keys' part around.
            let stacked = |gguf: &str, rows, cols| {
                let t = self.shaped(&full("", gguf), &[n, rows, cols])?;
                self.slices(t, n, rows, cols, Layout::RowMajor)
            };
            (stacked("k_b", rank, nope)?, stacked("v_b", v_dim, rank)?)
        } else {
            // [n_heads, nope + v_dim, kv_rank]: what a query meets is its keys' part, input-major.
            let name = full("kv_b_proj", "");
            let whole = self.matrix(&name, n * (nope + v_dim), rank)?;
            let part = |first, rows| (0..n).map(move |h| (h * (nope + v_dim) + first, rows));
            let rows = |(first, rows)| self.rows(&whole, &name, first, rows);
            let keys = part(0, nope).map(|at| self.turned(rows(at)?, &name));
            let values = part(nope, v_dim).map(rows);
            (keys.collect::<Result<_>>()?, values.collect::<Result<_>>()?)
        };
        Ok(LatentWeights {
            q_down: latent.q_rank.map(q_down).transpose()?,
            kv_down: self.matrix(
                &full("kv_a_proj_with_mqa", "kv_a_mqa"),
                rank + latent.rope_dim,
                dim,
            )?,
            kv_norm: self.vector(&full("kv_a_layernorm", "kv_a_norm"), rank)?,
            absorb_q,
            v_up,
        })
    }

    fn has(&self, name: &str) -> bool {
        self.checkpoint.tensors.contains_key(name)
    }

    fn shape_of(&self, name: &str) -> Option<&[usize]> {
        Some(&self.checkpoint.tensors.get(name)?.shape)
    }

    /// The name of a tensor of layer `n_layers` or later, where a draft head stands behind the last layer.
    fn is_draft(&self, name: &str, n_layers: usize) -> bool {
        let (layers, mark) = if self.gguf {
            ("blk.".to_owned(), "nextn.eh_proj.weight")
        } else {
            (format!("{}layers.", self.prefix), "eh_proj.weight")
        };
        let layer = name
            .strip_prefix(&layers)
            .and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        layer.is_some_and(|i| i >= n_layers && self.has(&format!("{layers}{i}.{mark}")))
    }

    fn unused(&self, n_layers: usize, allow_unknown: bool) -> Result<Vec<String>> {
        let used = self.used.borrow();
        let names = self
            .checkpoint
            .tensors
            .keys()
            .chain(self.checkpoint.unreadable.keys());
        let unused: Vec<String> = names.filter(|n| !used.contains(*n)).cloned().collect();
        let beside = |n: &str| is_beside(n) || self.is_draft(n, n_layers);
        match unused.iter().find(|n| !beside(n)) {
            Some(name) if !allow_unknown => {
                let expected =
                    "only tensors that this family uses (--allow-unknown-keys goes on without it)";
                Err(Error::input(
                    &self.checkpoint.name,
                    name,
                    "an unknown tensor",
                    expected,
                ))
            }
            _ => Ok(unused),
        }
    }
}
