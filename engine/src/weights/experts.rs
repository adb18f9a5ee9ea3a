//! Weights of gated networks and mixtures of them, by the names that the families' files use.

use super::finder::{Finder, Name};
use super::{Weight, scaled};
use crate::Error;
use crate::Result;
use crate::format::Tensor;
use crate::kernels::{Layout, Precision};
use crate::spec::{ChoiceBias, Moe};

/// down(act(gate x) * up x).
#[derive(Clone, Debug)]
pub struct Gated {
    /// [hidden_dim, dim]; where `up` is `None` both, [2 * hidden_dim, dim]: rows of gate and up in turn.
    pub gate: Weight,
    /// [hidden_dim, dim].
    pub up: Option<Weight>,
    /// [dim, hidden_dim].
    pub down: Weight,
    /// Biases.
    pub bias: Biases,
}

impl Gated {
    /// All of its matrices.
    pub(crate) fn matrices(&self) -> impl Iterator<Item = &Weight> {
        [&self.gate, &self.down].into_iter().chain(&self.up)
    }
}

/// Biases of a gated network, each empty where there is none.
#[derive(Clone, Debug, Default)]
pub struct Biases {
    /// [hidden_dim].
    pub gate: Vec<f32>,
    /// [hidden_dim].
    pub up: Vec<f32>,
    /// [dim].
    pub down: Vec<f32>,
}

/// Routed experts and a shared one.
#[derive(Clone, Debug)]
pub struct Experts {
    /// [n_experts, dim].
    pub router: Weight,
    /// On the router's logits, [n_experts], or empty.
    pub router_bias: Vec<f32>,
    /// On the experts' scores for the choice, [n_experts], or empty.
    pub choice_bias: Vec<f32>,
    /// One entry an expert.
    pub routed: Vec<Gated>,
    /// The expert that every token passes.
    pub shared: Option<Gated>,
}

/// Where Hugging Face files have a layer's feed-forward part: most families, Llama 4, Mixtral.
const PLACES: [&str; 3] = ["mlp", "feed_forward", "block_sparse_moe"];
/// Its router: gpt-oss and Llama 4, the others.
const ROUTERS: [&str; 2] = ["router", "gate"];
/// The shared expert: Llama 4, DeepSeek.
const SHARED: [&str; 2] = ["shared_expert", "shared_experts"];
/// Gate, up and down of an expert with tensors of its own: Mixtral, the others.
const PARTS: [[&str; 3]; 2] = [["w1", "w3", "w2"], ["gate_proj", "up_proj", "down_proj"]];

impl Finder<'_> {
    /// The first of some names that the checkpoint has; the first of all when it has none, for the message.
    fn first_of(&self, names: impl IntoIterator<Item = String>) -> String {
        let names: Vec<String> = names.into_iter().collect();
        let found = names.iter().find(|n| self.has_matrix(n)).or(names.first());
        found.cloned().unwrap_or_default()
    }

    /// A dense feed-forward part, gate and up apart or one above the other in one tensor.
    pub(super) fn dense(&self, dim: usize, hidden: usize, name: &Name<'_>) -> Result<Gated> {
        let fused = name("mlp.gate_up_proj.weight", "ffn_up.weight");
        let packed = self.has(&format!("{fused}_packed"));
        if packed || self.shape_of(&fused) == Some(&[2 * hidden, dim]) {
            let both = self.matrix(&fused, 2 * hidden, dim)?;
            let down = name("mlp.down_proj.weight", "ffn_down.weight");
            return Ok(Gated {
                gate: self.rows(&both, &fused, 0, hidden)?,
                up: Some(self.rows(&both, &fused, hidden, hidden)?),
                down: self.matrix(&down, dim, hidden)?,
                bias: Biases::default(),
            });
        }
        let place = PLACES
            .into_iter()
            .find(|place| self.has_matrix(&name(&format!("{place}.gate_proj.weight"), "")))
            .unwrap_or(PLACES[0]);
        self.gated(dim, hidden, |part| {
            name(
                &format!("{place}.{part}_proj.weight"),
                &format!("ffn_{part}.weight"),
            )
        })
    }

    fn gated(&self, dim: usize, hidden: usize, name: impl Fn(&str) -> String) -> Result<Gated> {
        Ok(Gated {
            gate: self.matrix(&name("gate"), hidden, dim)?,
            up: Some(self.matrix(&name("up"), hidden, dim)?),
            down: self.matrix(&name("down"), dim, hidden)?,
            bias: Biases::default(),
        })
    }

    /// A mixture of experts.
    pub(super) fn experts(&self, dim: usize, moe: &Moe, name: &Name<'_>) -> Result<Experts> {
        let n = moe.n_experts;
        let routers = PLACES.iter().flat_map(|place| {
            let hf = ROUTERS.map(|router| format!("{place}.{router}"));
            hf.map(|hf| (*place, hf))
        });
        let (place, router) = routers
            .into_iter()
            .find(|(_, hf)| self.has_matrix(&name(&format!("{hf}.weight"), "ffn_gate_inp.weight")))
            .unwrap_or((PLACES[0], format!("{}.gate", PLACES[0])));
        let optional = |wanted: bool, name: String| {
            if wanted {
                self.vector(&name, n)
            } else {
                Ok(Vec::new())
            }
        };
        let shared = moe.shared_hidden_dim.map(|hidden| {
            self.gated(dim, hidden, |part| {
                let gguf = format!("ffn_{part}_shexp.weight");
                let hf = SHARED.map(|shared| format!("{place}.{shared}.{part}_proj.weight"));
                self.first_of(hf.map(|hf| name(&hf, &gguf)))
            })
        });
        Ok(Experts {
            router: self.matrix(
                &name(&format!("{router}.weight"), "ffn_gate_inp.weight"),
                n,
                dim,
            )?,
            router_bias: optional(
                moe.biases,
                name(&format!("{router}.bias"), "ffn_gate_inp.bias"),
            )?,
            choice_bias: optional(
                moe.choice_bias != ChoiceBias::None,
                name(
                    &format!("{router}.e_score_correction_bias"),
                    "exp_probs_b.bias",
                ),
            )?,
            routed: if self.gguf {
                self.stacked_gguf(dim, moe, name)?
            } else {
                let hf = |rest: &str| name(&format!("{place}.experts.{rest}"), "");
                match PARTS
                    .iter()
                    .find(|p| self.has_matrix(&hf(&format!("0.{}.weight", p[0]))))
                {
                    Some(parts) => self.apart(dim, moe, parts, hf)?,
                    None => self.stacked_hf(dim, moe, hf)?,
                }
            },
            shared: shared.transpose()?,
        })
    }

    /// Experts with tensors of their own.
    fn apart(
        &self,
        dim: usize,
        moe: &Moe,
        parts: &[&str; 3],
        hf: impl Fn(&str) -> String,
    ) -> Result<Vec<Gated>> {
        let expert = |e: usize| {
            let matrix = |part: usize, rows, cols| {
                self.matrix(&hf(&format!("{e}.{}.weight", parts[part])), rows, cols)
            };
            Ok(Gated {
                gate: matrix(0, moe.hidden_dim, dim)?,
                up: Some(matrix(1, moe.hidden_dim, dim)?),
                down: matrix(2, dim, moe.hidden_dim)?,
                bias: Biases::default(),
            })
        };
        (0..moe.n_experts).map(expert).collect()
    }

    /// All experts in one tensor a part, as GGUF has them.
    fn stacked_gguf(&self, dim: usize, moe: &Moe, name: &Name<'_>) -> Result<Vec<Gated>> {
        let (n, hidden) = (moe.n_experts, moe.hidden_dim);
        let part = |part: &str, rows: usize, cols: usize| {
            let full = |kind| name("", &format!("ffn_{part}_exps.{kind}"));
            let t = self.unscaled(&full("weight"), &[n, rows, cols])?;
            let weights = self.slices(t, n, rows, cols, Layout::RowMajor)?;
            Ok::<_, Error>((weights, self.biases(moe, &full("bias"), rows)?))
        };
        let (gate, up) = (part("gate", hidden, dim)?, part("up", hidden, dim)?);
        let down = part("down", dim, hidden)?;
        let parts = gate.0.into_iter().zip(up.0).zip(down.0);
        let biases = gate.1.into_iter().zip(up.1).zip(down.1);
        Ok(parts
            .zip(biases)
            .map(|(((gate, up), down), bias)| Gated {
                gate,
                up: Some(up),
                down,
                bias: Biases {
                    gate: bias.0.0,
                    up: bias.0.1,
                    down: bias.1,
                },
            })
            .collect())
    }

    /// All experts in one tensor, input-major, unlike nn.Linear: [n_experts, dim, 2 * hidden] and
    /// [n_experts, hidden, dim]. Gate and up are halves (Llama 4), or alternate where there are biases (gpt-oss, which
    /// ships them in MXFP4, row by row).
    fn stacked_hf(&self, dim: usize, moe: &Moe, hf: impl Fn(&str) -> String) -> Result<Vec<Gated>> {
        let (n, hidden) = (moe.n_experts, moe.hidden_dim);
        if moe.biases && self.has(&hf("gate_up_proj_blocks")) {
            let mxfp4 = |name: &str, rows, cols| {
                let tensor = |name: &str| self.tensor(name);
                scaled::mxfp4(&self.checkpoint.name, &hf(name), [n, rows, cols], tensor)
            };
            let both = mxfp4("gate_up_proj", 2 * hidden, dim)?;
            let down = mxfp4("down_proj", dim, hidden)?;
            return self.in_turn(dim, moe, hf, both, down);
        }
        let both = self.shaped(&hf("gate_up_proj"), &[n, dim, 2 * hidden])?;
        let down = self.shaped(&hf("down_proj"), &[n, hidden, dim])?;
        let turned = |t: &Tensor, rows, cols, stride, offset| {
            let file = &self.checkpoint.name;
            let scales = scaled::stacked_fp8(file, t, [n, stride], |name| self.tensor(name))?;
            let layout = Layout::ColMajor { stride, offset };
            let mut parts = self.slices(t, n, rows, cols, layout)?;
            for (part, scales) in parts.iter_mut().zip(scales) {
                part.scales = scales.map(Box::new);
            }
            Ok::<_, Error>(parts)
        };
        let down = turned(down, dim, hidden, dim, 0)?;
        if !moe.biases {
            let half = |offset| turned(both, hidden, dim, 2 * hidden, offset);
            let parts = half(0)?.into_iter().zip(half(hidden)?).zip(down);
            return Ok(parts
                .map(|((gate, up), down)| Gated {
                    gate,
                    up: Some(up),
                    down,
                    bias: Biases::default(),
                })
                .collect());
        }
        let both = turned(both, 2 * hidden, dim, 2 * hidden, 0)?;
        self.in_turn(dim, moe, hf, both, down)
    }

    /// Experts whose gate and up alternate row by row, with their biases.
    fn in_turn(
        &self,
        dim: usize,
        moe: &Moe,
        hf: impl Fn(&str) -> String,
        both: Vec<Weight>,
        down: Vec<Weight>,
    ) -> Result<Vec<Gated>> {
        let hidden = moe.hidden_dim;
        let both_bias = self.biases(moe, &hf("gate_up_proj_bias"), 2 * hidden)?;
        let down_bias = self.biases(moe, &hf("down_proj_bias"), dim)?;
        let parts = both.into_iter().zip(down).zip(both_bias).zip(down_bias);
        Ok(parts
            .map(|(((gate, down), both), down_bias)| {
                let (gate_bias, up_bias) = both.as_chunks().0.iter().map(|&[g, u]| (g, u)).unzip();
                Gated {
                    gate,
                    up: None,
                    down,
                    bias: Biases {
                        gate: gate_bias,
                        up: up_bias,
                        down: down_bias,
                    },
                }
            })
            .collect())
    }

    /// Biases of one part of all experts, [n_experts, rows], one entry an expert.
    fn biases(&self, moe: &Moe, name: &str, rows: usize) -> Result<Vec<Vec<f32>>> {
        if !moe.biases {
            return Ok(vec![Vec::new(); moe.n_experts]);
        }
        let t = self.shaped(name, &[moe.n_experts, rows])?;
        let mut all = vec![0.0; moe.n_experts * rows];
        t.ty.unpack(&t.data, &mut all);
        Ok(all.chunks_exact(rows.max(1)).map(<[f32]>::to_vec).collect())
    }

    /// A stacked tensor, one matrix a part: [n, rows, cols], or input-major as `layout` says.
    pub(super) fn slices(
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
                    scales: None,
                    precision: Precision::F32,
                })
                .collect()),
            None => fail(
                format!("{} bytes", t.data.len()),
                "a multiple of the number of experts",
            ),
        }
    }
}
