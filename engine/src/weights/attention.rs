//! Weights of attention: heads of keys and values, or a latent.

use super::Weight;
use super::finder::{Finder, Name};
use crate::Result;
use crate::kernels::Layout;
use crate::spec::{Attention, Latent};

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

impl Finder<'_> {
    /// Queries, keys and values, apart or one above the other in one tensor.
    pub(super) fn queries_keys_values(
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
        if self.has_matrix(&fused) {
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
}
