//! Weights in their stored type, borrowed from the file, found by the names that each spelling uses.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::format::checkpoint::{Checkpoint, Config};
use crate::format::{Bytes, StoredType, Tensor};
use crate::kernels::{Layout, Matrix};
use crate::spec::{Ffn, LayerSpec, ModelSpec, Moe, Residual};
use crate::{Error, Result};

/// A matrix as stored: y = W x.
#[derive(Clone, Debug)]
pub struct Weight {
    ty: StoredType,
    rows: usize,
    cols: usize,
    layout: Layout,
    data: Bytes,
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
        }
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Stored type.
    pub fn ty(&self) -> StoredType {
        self.ty
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
    /// [n_heads * head_dim, dim].
    pub q: Weight,
    /// [n_kv_heads * head_dim, dim].
    pub k: Weight,
    /// [n_kv_heads * head_dim, dim].
    pub v: Weight,
    /// [dim, n_heads * head_dim].
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
    Moe {
        /// [n_experts, dim].
        router: Weight,
        /// One entry an expert.
        experts: Vec<Gated>,
        /// The expert that every token passes.
        shared: Option<Gated>,
    },
}

/// down(act(gate x) * up x).
#[derive(Clone, Debug)]
pub struct Gated {
    /// [hidden_dim, dim].
    pub gate: Weight,
    /// [hidden_dim, dim].
    pub up: Weight,
    /// [dim, hidden_dim].
    pub down: Weight,
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
            unused: find.unused(allow_unknown)?,
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
        || name.starts_with("rope_")
}

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
        })
    }

    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        let t = self.shaped(name, &[len])?;
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
        let weighted = a.qk_norm.is_some_and(|n| n.weighted);
        let matrix = |hf: &str, gguf: &str, rows, cols| self.matrix(&name(hf, gguf), rows, cols);
        // Hugging Face's "post_attention_layernorm" stands before the feed-forward part, unless both sublayers
        // have a norm behind them.
        let ffn_norm = match spec.attn_post_norm {
            Some(_) => "pre_feedforward_layernorm.weight",
            None => "post_attention_layernorm.weight",
        };
        let post = spec.attn_post_norm.is_some();
        let (attn, ffn) = (spec.attn_norm.is_some(), spec.ffn_norm.is_some());
        let shared = spec.residual == Residual::Parallel && !ffn;
        Ok(LayerWeights {
            attn_norm: vector(attn, "input_layernorm.weight", "attn_norm.weight", dim)?,
            q: matrix("self_attn.q_proj.weight", "attn_q.weight", q_dim, dim)?,
            k: matrix("self_attn.k_proj.weight", "attn_k.weight", kv_dim, dim)?,
            v: matrix("self_attn.v_proj.weight", "attn_v.weight", kv_dim, dim)?,
            o: matrix("self_attn.o_proj.weight", "attn_output.weight", dim, q_dim)?,
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
                vector(ffn, ffn_norm, "ffn_norm.weight", dim)?
            },
            ffn_post_norm: vector(
                spec.ffn_post_norm.is_some(),
                "post_feedforward_layernorm.weight",
                "post_ffw_norm.weight",
                dim,
            )?,
            ffn: match &spec.ffn {
                Ffn::Dense { hidden_dim, .. } => {
                    let hf = if self.has(&name("mlp.gate_proj.weight", "")) {
                        "mlp"
                    } else {
                        "feed_forward"
                    };
                    FfnWeights::Dense(self.gated(dim, *hidden_dim, |part| {
                        name(
                            &format!("{hf}.{part}_proj.weight"),
                            &format!("ffn_{part}.weight"),
                        )
                    })?)
                }
                Ffn::Moe(moe) => self.moe(dim, moe, name)?,
            },
        })
    }

    fn has(&self, name: &str) -> bool {
        self.checkpoint.tensors.contains_key(name)
    }

    fn gated(&self, dim: usize, hidden: usize, name: impl Fn(&str) -> String) -> Result<Gated> {
        Ok(Gated {
            gate: self.matrix(&name("gate"), hidden, dim)?,
            up: self.matrix(&name("up"), hidden, dim)?,
            down: self.matrix(&name("down"), dim, hidden)?,
        })
    }

    fn moe(
        &self,
        dim: usize,
        moe: &Moe,
        name: impl Fn(&str, &str) -> String,
    ) -> Result<FfnWeights> {
        let (n, hidden) = (moe.n_experts, moe.hidden_dim);
        let router = self.matrix(
            &name("feed_forward.router.weight", "ffn_gate_inp.weight"),
            n,
            dim,
        )?;
        let shared = moe.shared_hidden_dim.map(|hidden| {
            self.gated(dim, hidden, |part| {
                name(
                    &format!("feed_forward.shared_expert.{part}_proj.weight"),
                    &format!("ffn_{part}_shexp.weight"),
                )
            })
        });
        let experts = if self.gguf {
            let stacked = |part: &str, rows: usize, cols: usize| {
                let t = self.shaped(
                    &name("", &format!("ffn_{part}_exps.weight")),
                    &[n, rows, cols],
                )?;
                self.slices(t, n, rows, cols, Layout::RowMajor)
            };
            let (gate, up) = (stacked("gate", hidden, dim)?, stacked("up", hidden, dim)?);
            let down = stacked("down", dim, hidden)?;
            gate.into_iter()
                .zip(up)
                .zip(down)
                .map(|((gate, up), down)| Gated { gate, up, down })
                .collect()
        } else {
            // Input-major, unlike nn.Linear: [n_experts, dim, 2 * hidden] and [n_experts, hidden, dim].
            let both = self.shaped(
                &name("feed_forward.experts.gate_up_proj", ""),
                &[n, dim, 2 * hidden],
            )?;
            let down = self.shaped(
                &name("feed_forward.experts.down_proj", ""),
                &[n, hidden, dim],
            )?;
            let half = |offset| {
                self.slices(
                    both,
                    n,
                    hidden,
                    dim,
                    Layout::ColMajor {
                        stride: 2 * hidden,
                        offset,
                    },
                )
            };
            let down = self.slices(
                down,
                n,
                dim,
                hidden,
                Layout::ColMajor {
                    stride: dim,
                    offset: 0,
                },
            )?;
            let pairs = half(0)?.into_iter().zip(half(hidden)?).zip(down);
            pairs
                .map(|((gate, up), down)| Gated { gate, up, down })
                .collect()
        };
        Ok(FfnWeights::Moe {
            router,
            experts,
            shared: shared.transpose()?,
        })
    }

    /// A stacked tensor, one matrix an expert.
    fn slices(
        &self,
        t: &Tensor,
        n: usize,
        rows: usize,
        cols: usize,
        layout: Layout,
    ) -> Result<Vec<Weight>> {
        let fail = |found: String, expected: &str| {
            Err(Error::input(
                &self.checkpoint.name,
                &t.name,
                found,
                expected,
            ))
        };
        if layout != Layout::RowMajor && t.ty.info().block != 1 {
            return fail(
                format!("type {}", t.ty.name()),
                "F32, F16 or BF16, as it is input-major",
            );
        }
        let each = t.data.len() / n;
        let slice = |e: usize| t.data.slice(e * each..(e + 1) * each);
        match (0..n).map(slice).collect::<Option<Vec<_>>>() {
            Some(parts) => Ok(parts
                .into_iter()
                .map(|data| Weight {
                    ty: t.ty,
                    rows,
                    cols,
                    layout,
                    data,
                })
                .collect()),
            None => fail(
                format!("{} bytes", t.data.len()),
                "a multiple of the number of experts",
            ),
        }
    }

    fn unused(&self, allow_unknown: bool) -> Result<Vec<String>> {
        let used = self.used.borrow();
        let names = self
            .checkpoint
            .tensors
            .keys()
            .chain(self.checkpoint.unreadable.keys());
        let unused: Vec<String> = names.filter(|n| !used.contains(*n)).cloned().collect();
        match unused.iter().find(|n| !is_beside(n)) {
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
