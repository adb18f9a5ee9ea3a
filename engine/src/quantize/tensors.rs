//! A model's weights as the tensors of a GGUF file: the inverse of what `weights/` finds there.
//!
//! Rows come unpacked, whatever type and layout the folder stores them in: factors multiplied in, input-major matrices
//! turned, fused ones apart, experts one behind the other. What llama.cpp's converter does to values is done here too: rows
//! of Q and K reordered where the pairs of the rotary embedding are interleaved there, 1 added to norms that multiply by
//! 1 + w.

use crate::format::StoredType;
use crate::kernels;
use crate::spec::{Attention, LayerSpec, ModelSpec, Moe, Norm};
use crate::weights::{
    Experts, FfnWeights, Gated, KeysValues, LatentWeights, LayerWeights, Weight, Weights,
};

/// How an architecture of GGUF differs from the others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    /// Pairs of the rotary embedding are interleaved in the file and halves in the folder.
    pub(super) paired: bool,
    /// Q, K and V are one tensor, gate and up are one.
    pub(super) fused: bool,
    /// The norm before the feed-forward part is called after attention.
    pub(super) norm_after_attention: bool,
}

/// One tensor of the file.
pub(super) struct Named<'a> {
    /// Its name.
    pub(super) name: String,
    /// Row-major shape.
    pub(super) shape: Vec<usize>,
    /// The type it has in the folder; of vectors, F32.
    pub(super) from: StoredType,
    rows: Rows<'a>,
}

enum Rows<'a> {
    /// All values.
    Values(Vec<f32>),
    /// Matrices one below the other.
    Matrices(Vec<(&'a Weight, Order)>),
}

/// Which row of a matrix comes when.
#[derive(Clone, Copy)]
enum Order {
    AsStored,
    /// Of each head of so many rows, the first, the first of its second half, the second ..
    Paired(usize),
    /// Every second from this one on.
    Alternate(usize),
}

impl Named<'_> {
    /// Rows and columns, all dimensions but the last being rows.
    pub(super) fn size(&self) -> [usize; 2] {
        let cols = self.shape.last().copied().unwrap_or(1);
        [self.shape[..self.shape.len() - 1].iter().product(), cols]
    }

    /// Unpacks row `r`, [cols].
    pub(super) fn row(&self, r: usize, out: &mut [f32]) {
        match &self.rows {
            Rows::Values(values) => out.copy_from_slice(&values[r * out.len()..][..out.len()]),
            Rows::Matrices(parts) => {
                let mut r = r;
                for (w, order) in parts {
                    let rows = order.rows(w);
                    if r < rows {
                        return kernels::unpack_row(&w.view(), order.source(r), out);
                    }
                    r -= rows;
                }
            }
        }
    }
}

impl Order {
    fn rows(self, w: &Weight) -> usize {
        match self {
            Self::Alternate(_) => w.rows() / 2,
            _ => w.rows(),
        }
    }

    fn source(self, r: usize) -> usize {
        match self {
            Self::AsStored => r,
            Self::Paired(head) => r - r % head + r % 2 * (head / 2) + r % head / 2,
            Self::Alternate(first) => 2 * r + first,
        }
    }
}

/// All tensors but those of the rotary embedding.
pub(super) fn tensors<'a>(spec: &ModelSpec, w: &'a Weights, style: Style) -> Vec<Named<'a>> {
    let mut out = Tensors {
        at: String::new(),
        style,
        list: Vec::new(),
    };
    out.matrix("token_embd", &w.embedding);
    if !spec.tied_head {
        out.matrix("output", &w.head);
    }
    out.norm("output_norm", &w.final_norm, spec.final_norm.plus_one);
    for (i, (spec, w)) in spec.layers.iter().zip(&w.layers).enumerate() {
        out.at = format!("blk.{i}.");
        out.layer(spec, w);
    }
    out.list
}

/// One dimension of values, as the rotary embedding's factors have it.
pub(super) fn vector<'a>(name: &str, values: Vec<f32>) -> Named<'a> {
    Named {
        name: name.to_owned(),
        shape: vec![values.len()],
        from: StoredType::F32,
        rows: Rows::Values(values),
    }
}

struct Tensors<'a> {
    /// What stands before a name.
    at: String,
    style: Style,
    list: Vec<Named<'a>>,
}

impl<'a> Tensors<'a> {
    fn values(&mut self, name: &str, shape: &[usize], values: Vec<f32>) {
        if values.is_empty() {
            return;
        }
        self.list.push(Named {
            name: format!("{}{name}", self.at),
            shape: shape.to_vec(),
            from: StoredType::F32,
            rows: Rows::Values(values),
        });
    }

    fn vector(&mut self, name: &str, values: &[f32]) {
        self.values(name, &[values.len()], values.to_vec());
    }

    fn norm(&mut self, name: &str, values: &[f32], plus_one: bool) {
        let one = if plus_one { 1.0 } else { 0.0 };
        let values: Vec<f32> = values.iter().map(|v| v + one).collect();
        self.vector(&format!("{name}.weight"), &values);
    }

    fn stack(&mut self, name: &str, shape: Vec<usize>, parts: Vec<(&'a Weight, Order)>) {
        let Some((first, _)) = parts.first() else {
            return;
        };
        self.list.push(Named {
            name: format!("{}{name}.weight", self.at),
            shape,
            from: first.ty(),
            rows: Rows::Matrices(parts),
        });
    }

    /// Matrices one below the other in one.
    fn joined(&mut self, name: &str, parts: Vec<(&'a Weight, Order)>) {
        let rows = parts.iter().map(|(w, order)| order.rows(w)).sum();
        let cols = parts.first().map_or(0, |(w, _)| w.cols());
        self.stack(name, vec![rows, cols], parts);
    }

    fn matrix(&mut self, name: &str, w: &'a Weight) {
        self.joined(name, vec![(w, Order::AsStored)]);
    }

    fn layer(&mut self, spec: &LayerSpec, w: &'a LayerWeights) {
        let plus_one = |norm: Option<Norm>| norm.is_some_and(|n| n.plus_one);
        let a = &spec.attention;
        self.norm("attn_norm", &w.attn_norm, plus_one(spec.attn_norm));
        match &w.kv {
            KeysValues::Grouped { k, v } => self.heads(a, &w.q, k, v),
            KeysValues::Latent(latent) => self.latent(&w.q, latent),
        }
        self.matrix("attn_output", &w.o);
        for (name, bias) in ["attn_q", "attn_k", "attn_v"].iter().zip(&w.qkv_bias) {
            self.vector(&format!("{name}.bias"), bias);
        }
        self.vector("attn_output.bias", &w.out_bias);
        for (name, norm) in ["attn_q_norm", "attn_k_norm"].iter().zip(&w.qk_norm) {
            self.norm(name, norm, a.qk_norm.is_some_and(|n| n.plus_one));
        }
        self.vector("attn_sinks.weight", &w.sinks);
        let after = "post_attention_norm";
        self.norm(after, &w.attn_post_norm, plus_one(spec.attn_post_norm));
        if spec.ffn_norm.is_some() {
            let name = if self.style.norm_after_attention {
                after
            } else {
                "ffn_norm"
            };
            self.norm(name, &w.ffn_norm, plus_one(spec.ffn_norm));
        }
        let post = plus_one(spec.ffn_post_norm);
        self.norm("post_ffw_norm", &w.ffn_post_norm, post);
        match (&w.ffn, &spec.ffn) {
            (FfnWeights::Dense(gated), _) => self.dense(gated),
            (FfnWeights::Moe(experts), crate::spec::Ffn::Moe(moe)) => self.experts(moe, experts),
            (FfnWeights::Moe(_), crate::spec::Ffn::Dense { .. }) => {}
        }
    }

    fn heads(&mut self, a: &Attention, q: &'a Weight, k: &'a Weight, v: &'a Weight) {
        let order = match self.style.paired {
            true => Order::Paired(a.head_dim),
            false => Order::AsStored,
        };
        let parts = [(q, order), (k, order), (v, Order::AsStored)];
        if self.style.fused {
            return self.joined("attn_qkv", parts.to_vec());
        }
        for (name, part) in ["attn_q", "attn_k", "attn_v"].iter().zip(parts) {
            self.joined(name, vec![part]);
        }
    }

    fn latent(&mut self, q: &'a Weight, latent: &'a LatentWeights) {
        match &latent.q_down {
            Some((down, norm)) => {
                self.matrix("attn_q_a", down);
                self.norm("attn_q_a_norm", norm, false);
                self.matrix("attn_q_b", q);
            }
            None => self.matrix("attn_q", q),
        }
        self.matrix("attn_kv_a_mqa", &latent.kv_down);
        self.norm("attn_kv_a_norm", &latent.kv_norm, false);
        self.each("attn_k_b", latent.absorb_q.iter());
        self.each("attn_v_b", latent.v_up.iter());
    }

    /// Matrices of one shape, [n, rows, cols].
    fn each(&mut self, name: &str, parts: impl Iterator<Item = &'a Weight>) {
        self.ordered(name, parts.map(|w| (w, Order::AsStored)).collect());
    }

    fn ordered(&mut self, name: &str, parts: Vec<(&'a Weight, Order)>) {
        let shape = parts.first().map(|(w, order)| (order.rows(w), w.cols()));
        let (rows, cols) = shape.unwrap_or_default();
        self.stack(name, vec![parts.len(), rows, cols], parts);
    }

    fn dense(&mut self, gated: &'a Gated) {
        let (gate, up) = halves(gated);
        if self.style.fused {
            self.joined("ffn_up", vec![gate, up]);
        } else {
            self.joined("ffn_gate", vec![gate]);
            self.joined("ffn_up", vec![up]);
        }
        self.matrix("ffn_down", &gated.down);
    }

    fn experts(&mut self, moe: &Moe, w: &'a Experts) {
        self.matrix("ffn_gate_inp", &w.router);
        self.vector("ffn_gate_inp.bias", &w.router_bias);
        self.vector("exp_probs_b.bias", &w.choice_bias);
        let both: Vec<_> = w.routed.iter().map(halves).collect();
        self.ordered("ffn_gate_exps", both.iter().map(|b| b.0).collect());
        self.ordered("ffn_up_exps", both.iter().map(|b| b.1).collect());
        self.each("ffn_down_exps", w.routed.iter().map(|g| &g.down));
        let biases = [
            (
                "gate",
                w.routed.iter().map(|g| &g.bias.gate).collect::<Vec<_>>(),
            ),
            ("up", w.routed.iter().map(|g| &g.bias.up).collect()),
            ("down", w.routed.iter().map(|g| &g.bias.down).collect()),
        ];
        for (name, biases) in biases {
            let values: Vec<f32> = biases.into_iter().flatten().copied().collect();
            let shape = [moe.n_experts, values.len() / moe.n_experts.max(1)];
            self.values(&format!("ffn_{name}_exps.bias"), &shape, values);
        }
        if let Some(shared) = &w.shared {
            let (gate, up) = halves(shared);
            self.joined("ffn_gate_shexp", vec![gate]);
            self.joined("ffn_up_shexp", vec![up]);
            self.matrix("ffn_down_shexp", &shared.down);
        }
    }
}

/// Gate and up.
fn halves(gated: &Gated) -> ((&Weight, Order), (&Weight, Order)) {
    match &gated.up {
        Some(up) => ((&gated.gate, Order::AsStored), (up, Order::AsStored)),
        None => (
            (&gated.gate, Order::Alternate(0)),
            (&gated.gate, Order::Alternate(1)),
        ),
    }
}
