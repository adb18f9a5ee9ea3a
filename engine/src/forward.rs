//! The forward pass, the only one: a tile of tokens, of one sequence or of many, through every layer.
//!
//! ```text
//! x = embedding                                          [n, dim]
//! for each layer
//!   h = attn_norm(x)
//!   a = o(attend(rope(q h), cache + rope(k h), v h))       temperature, norms on q and k: as the spec says
//!   sequential: x += a;  x += ffn(ffn_norm(x))
//!   parallel:   x += a + ffn(h)
//! logits = head(final_norm(x))                           [wanted rows, n_vocab]
//! ```
//!
//! A row's result depends on its own sequence only: not on the tile, the other rows or the number of threads.

use std::collections::BTreeMap;

use crate::angles::Angles;
use crate::kernels::{self, Product, team};
use crate::layer_major::Reader;
use crate::model::Model;
use crate::span::Span;
use crate::spec::{Attention, Ffn, LayerSpec, Norm, NormKind, QkNormOrder, Residual};
use crate::tree::{LogitsRow, SpanId};
use crate::weights::{FfnWeights, KeysValues, LayerWeights, Weight};
use crate::{Result, attend, latent, moe, spare};

/// One token of a tile. The rows of a span stand together, in the order of their positions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub span: SpanId,
    pub pos: usize,
    pub token: u32,
    pub wanted: bool,
    /// Tokens of its sequence, with those that are being appended.
    pub len: usize,
}

/// Rows whose logits are held at a time.
const HEAD_ROWS: usize = 32;

/// Evaluates `rows`, appends their keys and values to the spans' caches, and reports the wanted logits.
pub(crate) fn forward(
    model: &Model,
    spans: &mut BTreeMap<SpanId, Span>,
    rows: &[Row],
    report: &mut (dyn FnMut(LogitsRow<'_>) + Send),
) -> Result<()> {
    let mut x = embed(model, rows);
    let mut angles = Angles::new(model.spec.rope_precision);
    for index in 0..model.spec.layers.len() {
        layer(model, index, &mut x, spans, rows, &mut angles, None)?;
    }
    head(model, &x, rows, report);
    Ok(())
}

/// One layer over a tile, x [n, dim]. `reader` is told which experts will be used.
pub(crate) fn layer(
    model: &Model,
    index: usize,
    x: &mut [f32],
    spans: &mut BTreeMap<SpanId, Span>,
    rows: &[Row],
    angles: &mut Angles,
    reader: Option<&Reader>,
) -> Result<()> {
    let dim = model.spec.dim;
    let (layer, w) = (&model.spec.layers[index], &model.weights.layers[index]);
    let held = |mut h: Vec<f32>| {
        layer.attention.inputs.round_rows(&mut h, dim);
        h
    };
    let mut h = held(norm(x, layer.attn_norm, &w.attn_norm, dim));
    let a = attention(index, layer, w, &h, spans, rows, angles)?;
    add_normed(x, a, layer.attn_post_norm, &w.attn_post_norm, dim);
    if layer.residual == Residual::Sequential {
        spare::give([h]);
        h = held(norm(x, layer.ffn_norm, &w.ffn_norm, dim));
    }
    let f = ffn(layer, w, &h, dim, reader);
    add_normed(x, f, layer.ffn_post_norm, &w.ffn_post_norm, dim);
    spare::give([h]);
    for run in rows.chunk_by(|a, b| a.span == b.span) {
        if let Some(span) = spans.get_mut(&run[0].span) {
            span.trim(index, layer.mask, run[run.len() - 1].pos + 1);
        }
    }
    Ok(())
}

/// [n, dim].
pub(crate) fn embed(model: &Model, rows: &[Row]) -> Vec<f32> {
    let (spec, embedding) = (&model.spec, &model.weights.embedding);
    let mut x = vec![0.0; rows.len() * spec.dim];
    for (x, row) in x.chunks_exact_mut(spec.dim).zip(rows) {
        kernels::unpack_row(&embedding.view(), row.token as usize, x);
        if spec.embedding_scale != 1.0 {
            x.iter_mut().for_each(|v| *v *= spec.embedding_scale);
        }
    }
    x
}

/// [n, rows of w].
pub(crate) fn matmul(x: &[f32], w: &Weight) -> Vec<f32> {
    let [y] = matmuls(x, [w]);
    y
}

/// The products of several matrices with the same x, [n, rows of each].
pub(crate) fn matmuls<const N: usize>(x: &[f32], weights: [&Weight; N]) -> [Vec<f32>; N] {
    let n = weights.first().map_or(0, |w| x.len() / w.cols());
    let mut out = weights.map(|w| spare::take(n * w.rows()));
    let products = weights.into_iter().zip(&mut out).map(|(w, y)| Product {
        w: w.view(),
        precision: w.precision(),
        y,
    });
    let mut products: Vec<_> = products.collect();
    kernels::matmuls(x, n, &mut products);
    out
}

/// Attention of one layer over the tile: [n, dim] to [n, dim].
fn attention(
    index: usize,
    layer: &LayerSpec,
    w: &LayerWeights,
    h: &[f32],
    spans: &mut BTreeMap<SpanId, Span>,
    rows: &[Row],
    angles: &mut Angles,
) -> Result<Vec<f32>> {
    let a = &layer.attention;
    let table = a.rope.as_ref().map(|rope| angles.table(rope, rows));
    let rotate = |x: &mut [f32], head_dim| {
        if let (Some(table), Some(rope)) = (&table, &a.rope) {
            table.rotate(x, rope, head_dim);
        }
    };
    let (mut q, mut k, mut v) = match &w.kv {
        KeysValues::Grouped { k, v } => {
            let [mut q, mut k, mut v] = matmuls(h, [&w.q, k, v]);
            for (x, bias) in [&mut q, &mut k, &mut v].into_iter().zip(&w.qkv_bias) {
                // A fault may leave the biases out.
                add_bias(x, if a.qkv_bias { bias } else { &[] });
            }
            for (x, norm_weights) in [&mut q, &mut k].into_iter().zip(&w.qk_norm) {
                qk_norm(x, a, norm_weights, QkNormOrder::BeforeRope);
                rotate(x, a.head_dim);
                qk_norm(x, a, norm_weights, QkNormOrder::AfterRope);
            }
            (q, k, v)
        }
        KeysValues::Latent(latent) => {
            let (q, k) = latent::project(h, a, &w.q, latent, rotate);
            (q, k, Vec::new())
        }
    };
    if let Some(temperature) = a.temperature {
        for (q, row) in q.chunks_exact_mut(a.n_heads * a.key_width()).zip(rows) {
            let factor = temperature.factor(row.pos);
            q.iter_mut().for_each(|v| *v *= factor);
        }
    }
    for x in [&mut k, &mut v] {
        let width = x.len() / rows.len();
        a.cached_as.round_rows(x, width);
    }
    attend::append(index, layer, &k, &v, spans, rows);
    let mut attended = attend::attend(index, layer, w, &q, spans, rows)?;
    spare::give([q, k, v]);
    if let KeysValues::Latent(latent) = &w.kv {
        attended = latent::values(&attended, latent);
    }
    a.inputs.round_rows(&mut attended, a.out_width());
    let mut out = matmul(&attended, &w.o);
    spare::give([attended]);
    add_bias(&mut out, &w.out_bias);
    Ok(out)
}

/// The norm on query or key heads, if the spec has it in this place.
fn qk_norm(x: &mut Vec<f32>, a: &Attention, weights: &[f32], order: QkNormOrder) {
    let Some(norm) = a.qk_norm.filter(|n| n.order == order) else {
        return;
    };
    let mut out = spare::take(x.len());
    let weights = norm.weighted.then_some(weights);
    kernels::rms_norm(x, a.head_dim, weights, norm.plus_one, norm.eps, &mut out);
    spare::give([std::mem::replace(x, out)]);
}

/// Feed-forward part: [n, dim] to [n, dim].
fn ffn(
    layer: &LayerSpec,
    w: &LayerWeights,
    h: &[f32],
    dim: usize,
    reader: Option<&Reader>,
) -> Vec<f32> {
    match (&layer.ffn, &w.ffn) {
        (Ffn::Dense { activation, .. }, FfnWeights::Dense(gated)) => {
            moe::gated(h, gated, *activation, false)
        }
        (Ffn::Moe(moe), FfnWeights::Moe(experts)) => moe::moe(h, dim, moe, experts, reader),
        // The weights were loaded by this spec, or by one that a fault made of it without touching the kind.
        _ => unreachable!("feed-forward weights of the spec's kind"),
    }
}

/// Final norm, head, factor and cap of the wanted rows.
pub(crate) fn head(
    model: &Model,
    x: &[f32],
    rows: &[Row],
    report: &mut (dyn FnMut(LogitsRow<'_>) + Send),
) {
    let (spec, weights) = (&model.spec, &model.weights);
    let wanted: Vec<usize> = (0..rows.len()).filter(|&i| rows[i].wanted).collect();
    for part in wanted.chunks(HEAD_ROWS) {
        let x: Vec<f32> = part
            .iter()
            .flat_map(|i| &x[i * spec.dim..][..spec.dim])
            .copied()
            .collect();
        let h = norm(&x, Some(spec.final_norm), &weights.final_norm, spec.dim);
        let mut logits = matmul(&h, &weights.head);
        if spec.logit_scale != 1.0 {
            logits.iter_mut().for_each(|l| *l *= spec.logit_scale);
        }
        if let Some(cap) = spec.logit_softcap {
            logits
                .iter_mut()
                .for_each(|l| *l = cap * kernels::tanh(*l / cap));
        }
        for (&i, logits) in part.iter().zip(logits.chunks_exact(spec.n_vocab)) {
            report(LogitsRow {
                span: rows[i].span,
                pos: rows[i].pos,
                logits,
            });
        }
        spare::give([h, logits]);
    }
}

/// A norm over the stream, or the stream itself where the spec has none.
fn norm(x: &[f32], norm: Option<Norm>, weights: &[f32], dim: usize) -> Vec<f32> {
    let Some(norm) = norm else { return x.to_vec() };
    let mut out = spare::take(x.len());
    let kernel = match norm.kind {
        NormKind::Rms => kernels::rms_norm,
        NormKind::Layer => kernels::layer_norm,
    };
    kernel(x, dim, Some(weights), norm.plus_one, norm.eps, &mut out);
    out
}

/// `x += norm(y)`; the memory of y is free then.
fn add_normed(x: &mut [f32], mut y: Vec<f32>, by: Option<Norm>, weights: &[f32], dim: usize) {
    if by.is_some() {
        let normed = norm(&y, by, weights, dim);
        spare::give([std::mem::replace(&mut y, normed)]);
    }
    add(x, &y);
    spare::give([y]);
}

fn add(x: &mut [f32], y: &[f32]) {
    team::for_rows(x, 1, |first, x| add_part(x, &y[first..]));
}

fn add_part(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

pub(crate) fn add_bias(x: &mut [f32], bias: &[f32]) {
    if !bias.is_empty() {
        team::for_rows(x, bias.len(), |_, x| {
            x.chunks_exact_mut(bias.len())
                .for_each(|x| add_part(x, bias));
        });
    }
}
