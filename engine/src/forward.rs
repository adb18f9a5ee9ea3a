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
//! A row's result depends on its own sequence only: not on the tile, the other rows or the number of threads. So the last
//! layer's queries, and all behind them, are those of the wanted rows; the others end with their keys and values.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::angles::{Angles, Rotation};
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

/// The rows of a tile that a layer gives results for: all, or in the last layer those whose logits are wanted.
struct Going<'a> {
    rows: Cow<'a, [Row]>,
    /// Their places in the tile, where they are not all of it.
    places: Option<Vec<usize>>,
}

impl<'a> Going<'a> {
    fn of(rows: &'a [Row], last: bool) -> Self {
        if !last || rows.iter().all(|row| row.wanted) {
            let (rows, places) = (Cow::Borrowed(rows), None);
            return Self { rows, places };
        }
        let places: Vec<_> = (0..rows.len()).filter(|&i| rows[i].wanted).collect();
        Self {
            rows: places.iter().map(|&i| rows[i]).collect(),
            places: Some(places),
        }
    }

    /// The rotation of their positions, from that of the tile's.
    fn rotation<'r>(&self, all: &Rotation<'r>) -> Rotation<'r> {
        match &self.places {
            None => all.clone(),
            Some(places) => all.of(places),
        }
    }

    /// Their rows of x, [n, width].
    fn pick<'x>(&self, x: &'x [f32], width: usize) -> Cow<'x, [f32]> {
        match &self.places {
            None => Cow::Borrowed(x),
            Some(places) => {
                let rows = places.iter().map(|&i| &x[i * width..][..width]);
                Cow::Owned(rows.flatten().copied().collect())
            }
        }
    }

    /// Leaves their rows of x, [n, width].
    fn keep(&self, x: &mut Vec<f32>, width: usize) {
        if let Cow::Owned(kept) = self.pick(x, width) {
            spare::give([std::mem::replace(x, kept)]);
        }
    }
}

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

/// One layer over a tile, x [n, dim]; of the last one x has the wanted rows alone. `reader` is told which experts will be used.
pub(crate) fn layer(
    model: &Model,
    index: usize,
    x: &mut Vec<f32>,
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
    let going = Going::of(rows, index + 1 == model.spec.layers.len());
    let mut h = held(norm(x, layer.attn_norm, &w.attn_norm, dim));
    let a = attention(index, layer, w, &h, spans, rows, &going, angles)?;
    going.keep(x, dim);
    if !x.is_empty() {
        add_normed(x, a, layer.attn_post_norm, &w.attn_post_norm, dim);
        match layer.residual {
            Residual::Sequential => {
                let next = held(norm(x, layer.ffn_norm, &w.ffn_norm, dim));
                spare::give([std::mem::replace(&mut h, next)]);
            }
            Residual::Parallel => going.keep(&mut h, dim),
        }
        let f = ffn(layer, w, &h, dim, reader);
        add_normed(x, f, layer.ffn_post_norm, &w.ffn_post_norm, dim);
    }
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

/// Attention of one layer over the tile: [n, dim] to [rows going on, dim].
#[allow(clippy::too_many_arguments, reason = "what a layer is made of")]
fn attention(
    index: usize,
    layer: &LayerSpec,
    w: &LayerWeights,
    h: &[f32],
    spans: &mut BTreeMap<SpanId, Span>,
    rows: &[Row],
    going: &Going<'_>,
    angles: &mut Angles,
) -> Result<Vec<f32>> {
    let a = &layer.attention;
    let on_keys = angles.rotation(a.rope.as_ref(), rows);
    let on_queries = going.rotation(&on_keys);
    let (mut q, mut k, mut v) = match &w.kv {
        KeysValues::Grouped { k, v } => {
            let [mut q, mut k, mut v] = match going.pick(h, h.len() / rows.len()) {
                Cow::Borrowed(h) => matmuls(h, [&w.q, k, v]),
                Cow::Owned(going) => {
                    let [k, v] = matmuls(h, [k, v]);
                    [matmul(&going, &w.q), k, v]
                }
            };
            for (x, bias) in [&mut q, &mut k, &mut v].into_iter().zip(&w.qkv_bias) {
                // A fault may leave the biases out.
                add_bias(x, if a.qkv_bias { bias } else { &[] });
            }
            let turned = [(&mut q, &on_queries), (&mut k, &on_keys)];
            for ((x, rotation), norm_weights) in turned.into_iter().zip(&w.qk_norm) {
                qk_norm(x, a, norm_weights, QkNormOrder::BeforeRope);
                rotation.rotate(x, a.head_dim);
                qk_norm(x, a, norm_weights, QkNormOrder::AfterRope);
            }
            (q, k, v)
        }
        KeysValues::Latent(latent) => {
            let on_going = going.pick(h, h.len() / rows.len());
            let q = latent::queries(&on_going, a, &w.q, latent, &on_queries);
            (q, latent::keys(h, a, latent, &on_keys), Vec::new())
        }
    };
    if let Some(temperature) = a.temperature {
        for (q, row) in q
            .chunks_exact_mut(a.n_heads * a.key_width())
            .zip(&*going.rows)
        {
            let factor = temperature.factor(row.pos);
            q.iter_mut().for_each(|v| *v *= factor);
        }
    }
    for x in [&mut k, &mut v] {
        let width = x.len() / rows.len();
        a.cached_as.round_rows(x, width);
    }
    attend::append(index, layer, &k, &v, spans, rows);
    if going.rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut attended = attend::attend(index, layer, w, &q, spans, &going.rows)?;
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

/// Final norm, head, factor and cap of the wanted rows, x [wanted, dim].
pub(crate) fn head(
    model: &Model,
    x: &[f32],
    rows: &[Row],
    report: &mut (dyn FnMut(LogitsRow<'_>) + Send),
) {
    let (spec, weights) = (&model.spec, &model.weights);
    let wanted: Vec<&Row> = rows.iter().filter(|row| row.wanted).collect();
    let parts = x.chunks(HEAD_ROWS * spec.dim);
    for (rows, x) in wanted.chunks(HEAD_ROWS).zip(parts) {
        let h = norm(x, Some(spec.final_norm), &weights.final_norm, spec.dim);
        let mut logits = matmul(&h, &weights.head);
        if spec.logit_scale != 1.0 {
            logits.iter_mut().for_each(|l| *l *= spec.logit_scale);
        }
        if let Some(cap) = spec.logit_softcap {
            logits
                .iter_mut()
                .for_each(|l| *l = cap * kernels::tanh(*l / cap));
        }
        for (row, logits) in rows.iter().zip(logits.chunks_exact(spec.n_vocab)) {
            report(LogitsRow {
                span: row.span,
                pos: row.pos,
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
