//! A checkpoint's tensors by the names that each spelling uses: found, their shapes checked, and counted as used.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::{Weight, scaled};
use crate::format::Tensor;
use crate::format::checkpoint::{Checkpoint, Config};
use crate::kernels::{Layout, Precision};
use crate::{Error, Result};

/// Prefixes of the text model in files that have a vision tower, and of those that have none.
const PREFIXES: [&str; 4] = [
    "language_model.model.",
    "model.language_model.",
    "model.",
    "",
];

/// How activations, keys and values are rounded where the model is deployed.
const ROUNDED_ELSEWHERE: [&str; 8] = [
    ".activation_scale",
    ".input_scale",
    ".input_scale_ub",
    ".input_zero_point",
    ".k_scale",
    ".output_scale",
    ".q_scale",
    ".v_scale",
];

/// Tensors that are no part of the text model's arithmetic.
fn is_beside(name: &str) -> bool {
    let name = name.strip_prefix("model.").unwrap_or(name);
    name.starts_with("vision_")
        || name.starts_with("multi_modal_projector.")
        || name.ends_with("rotary_emb.inv_freq")
        || name.ends_with("lm_head.weight")
        || ROUNDED_ELSEWHERE.iter().any(|end| name.ends_with(end))
        || name.starts_with("rope_")
}

/// A layer's tensor by its Hugging Face and its GGUF name.
pub(super) type Name<'n> = dyn Fn(&str, &str) -> String + 'n;

pub(super) struct Finder<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) gguf: bool,
    pub(super) prefix: &'static str,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(checkpoint: &'a Checkpoint) -> Self {
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

    pub(super) fn top(&self, hf: &str, gguf: &str) -> String {
        if self.gguf {
            format!("{gguf}.weight")
        } else {
            format!("{}{hf}.weight", self.prefix)
        }
    }

    pub(super) fn head(&self) -> String {
        match self.prefix {
            _ if self.gguf => "output.weight".into(),
            "language_model.model." => "language_model.lm_head.weight".into(),
            _ => "lm_head.weight".into(),
        }
    }

    pub(super) fn tensor(&self, name: &str) -> Result<&'a Tensor> {
        self.used.borrow_mut().insert(name.into());
        self.checkpoint.tensor(name)
    }

    pub(super) fn shaped(&self, name: &str, shape: &[usize]) -> Result<&'a Tensor> {
        let tensor = self.tensor(name)?;
        if tensor.shape != shape {
            let (found, expected) = (format!("shape {:?}", tensor.shape), format!("{shape:?}"));
            return Err(Error::input(&self.checkpoint.name, name, found, expected));
        }
        Ok(tensor)
    }

    pub(super) fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Weight> {
        if self.has(&format!("{name}_packed")) {
            // The shape is known; as a tensor of wide integers it says it again.
            self.used.borrow_mut().insert(format!("{name}_shape"));
            let tensor = |name: &str| self.tensor(name);
            return scaled::packed(self.checkpoint, name, [rows, cols], tensor);
        }
        let t = self.shaped(name, &[rows, cols])?;
        Ok(Weight {
            ty: t.ty,
            rows,
            cols,
            layout: Layout::RowMajor,
            data: t.data.clone(),
            scales: scaled::factors(self.checkpoint, t, |name| self.tensor(name))?.map(Box::new),
            precision: Precision::F32,
        })
    }

    /// Some of a matrix's rows, as a matrix of their own; `name` is for the message.
    pub(super) fn rows(
        &self,
        whole: &Weight,
        name: &str,
        first: usize,
        rows: usize,
    ) -> Result<Weight> {
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
    pub(super) fn turned(&self, w: Weight, name: &str) -> Result<Weight> {
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
    pub(super) fn unscaled(&self, name: &str, shape: &[usize]) -> Result<&'a Tensor> {
        let t = self.shaped(name, shape)?;
        if scaled::needs_scales(t.ty) {
            let (found, expected) = (format!("type {}", t.ty), "a type without scales");
            return Err(Error::input(&self.checkpoint.name, name, found, expected));
        }
        Ok(t)
    }

    pub(super) fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        let t = self.unscaled(name, &[len])?;
        let mut out = vec![0.0; len];
        t.ty.unpack(&t.data, &mut out);
        Ok(out)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.checkpoint.tensors.contains_key(name)
    }

    /// There is a matrix of this name, whole or packed.
    pub(super) fn has_matrix(&self, name: &str) -> bool {
        self.has(name) || self.has(&format!("{name}_packed"))
    }

    pub(super) fn shape_of(&self, name: &str) -> Option<&[usize]> {
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

    pub(super) fn unused(&self, n_layers: usize, allow_unknown: bool) -> Result<Vec<String>> {
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
