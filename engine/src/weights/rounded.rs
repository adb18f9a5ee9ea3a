//! Weights rounded to fewer bits in memory, what a quantised deployment computes with; and what is multiplied with them
//! in fewer bits.

use rayon::prelude::*;

use super::{FfnWeights, Gated, KeysValues, LayerWeights, Weight, Weights};
use crate::format::{Bytes, StoredType};
use crate::kernels::{self, Layout, Precision};
use crate::quantize;

impl Weights {
    /// Whether [`Weights::rounded`] would change a matrix of a layer.
    pub fn can_be_rounded(&self, ty: StoredType) -> bool {
        self.layers.iter().any(|layer| {
            let (dense, routed) = layer.matrices();
            let router = match &layer.ffn {
                FfnWeights::Moe(experts) => Some(&experts.router),
                FfnWeights::Dense(_) => None,
            };
            let mut all = dense.into_iter().chain(routed);
            all.any(|w| w.rounded_type(ty).is_some() && !router.is_some_and(|r| std::ptr::eq(r, w)))
        })
    }

    /// The same weights with every matrix of the layers, and the head where it is not the embedding, rounded to `ty`.
    /// Routers and norms stay, as every program that quantises leaves them. A matrix whose rows are no whole number of
    /// blocks is rounded to Q8_0, or stays where that does not fit either. Runs on the current rayon pool.
    ///
    /// `None` when nothing would change: no type that weights can be rounded to, or all are of fewer bits already.
    pub fn rounded(&self, ty: StoredType) -> Option<Self> {
        let mut changed = false;
        let mut round = |w: &mut Weight| {
            if let Some(rounded) = w.rounded(ty) {
                *w = rounded;
                changed = true;
            }
        };
        let mut weights = self.clone();
        let apart = weights.head.data.as_ptr() != weights.embedding.data.as_ptr();
        if apart {
            round(&mut weights.head);
        }
        weights.layers.iter_mut().for_each(|l| l.each(&mut round));
        changed.then_some(weights)
    }

    /// The same weights, activations multiplied with them in `precision`: matrices of the layers that are no routers,
    /// and the head.
    ///
    /// `None` when nothing would change: no such matrix is stored as integers.
    pub fn in_precision(&self, precision: Precision) -> Option<Self> {
        let mut changed = false;
        let mut set = |w: &mut Weight| {
            changed |= w.precision != precision && kernels::has_integers(&w.view());
            w.precision = precision;
        };
        let mut weights = self.clone();
        set(&mut weights.head);
        weights.layers.iter_mut().for_each(|l| l.each(&mut set));
        changed.then_some(weights)
    }
}

impl LayerWeights {
    /// Passes every matrix but routers.
    fn each(&mut self, f: &mut impl FnMut(&mut Weight)) {
        f(&mut self.q);
        f(&mut self.o);
        match &mut self.kv {
            KeysValues::Grouped { k, v } => [k, v].into_iter().for_each(&mut *f),
            KeysValues::Latent(latent) => {
                f(&mut latent.kv_down);
                let down = latent.q_down.iter_mut().map(|(down, _)| down);
                down.for_each(&mut *f);
                let heads = latent.absorb_q.iter_mut().chain(&mut latent.v_up);
                heads.for_each(&mut *f);
            }
        }
        let mut gated = |g: &mut Gated| {
            f(&mut g.gate);
            g.up.iter_mut().for_each(&mut *f);
            f(&mut g.down);
        };
        match &mut self.ffn {
            FfnWeights::Dense(network) => gated(network),
            FfnWeights::Moe(experts) => {
                experts.routed.iter_mut().for_each(&mut gated);
                experts.shared.iter_mut().for_each(&mut gated);
            }
        }
    }
}

impl Weight {
    /// The type that `ty` comes to for this matrix; `None` where it has no more bits than that already.
    fn rounded_type(&self, ty: StoredType) -> Option<StoredType> {
        let fits = |ty: &StoredType| self.cols.is_multiple_of(ty.info().block);
        let ty = [ty, StoredType::Q8_0].into_iter().find(fits)?;
        let bits = |ty: StoredType| ty.info().bytes as f64 / ty.info().block as f64;
        let fewer = bits(self.ty) > bits(ty) && quantize::types().any(|t| t == ty);
        fewer.then_some(ty)
    }

    /// The matrix in type `ty`, by rows; `None` where nothing would change.
    fn rounded(&self, ty: StoredType) -> Option<Self> {
        let ty = self.rounded_type(ty)?;
        let view = self.view();
        let rows: Vec<Vec<u8>> = (0..self.rows)
            .into_par_iter()
            .map(|r| {
                let mut row = vec![0.0; self.cols];
                kernels::unpack_row(&view, r, &mut row);
                let mut bytes = Vec::new();
                quantize::row(&row, ty, &mut bytes);
                bytes
            })
            .collect();
        Some(Self {
            ty,
            rows: self.rows,
            cols: self.cols,
            layout: Layout::RowMajor,
            data: Bytes::from_vec(rows.concat()),
            scales: None,
            precision: self.precision,
        })
    }
}
