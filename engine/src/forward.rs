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
use std::ops::Range;

use crate::angles::Angles;
use crate::cache::Block;
use crate::kernels::{self, KvBlock, KvBlocks, Product, Scores, Scratch, team};
use crate::layer_major::Reader;
use crate::model::Model;
use crate::spec::{Attention, Ffn, LayerSpec, Norm, NormKind, QkNormOrder, Residual};
use crate::tree::{LogitsRow, Span, SpanId};
use crate::weights::{FfnWeights, KeysValues, LayerWeights, Weight};
use crate::{Error, Result};
use crate::{latent, moe, spare};

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

/// Query rows that pass the attention kernel together: enough that transposing the keys for them is little.
const ATTEND_ROWS: usize = 192;
/// Most query heads of one key-value head that do.
const ATTEND_HEADS: usize = 16;
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
    append(index, layer, &k, &v, spans, rows);
    let mut attended = attend(index, layer, w, &q, spans, rows)?;
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

/// Writes the tile's keys and values, [n, n_kv_heads * width] each, into the caches; v may be empty.
fn append(
    index: usize,
    layer: &LayerSpec,
    k: &[f32],
    v: &[f32],
    spans: &mut BTreeMap<SpanId, Span>,
    rows: &[Row],
) {
    let n_heads = layer.attention.n_kv_heads;
    let [k_width, v_width] = [k, v].map(|x| x.len() / rows.len());
    for (i, row) in rows.iter().enumerate() {
        let Some(span) = spans
            .get_mut(&row.span)
            .filter(|s| s.writes(layer.mask, row.pos))
        else {
            continue;
        };
        let block = span.layers[index].block_mut(row.pos, k_width, v_width);
        let slot = row.pos % kernels::KV_BLOCK;
        for (x, width, to) in [(k, k_width, &mut block.k), (v, v_width, &mut block.v)] {
            let hd = width / n_heads;
            for head in 0..n_heads {
                let at = (head * kernels::KV_BLOCK + slot) * hd;
                to[at..at + hd].copy_from_slice(&x[i * width + head * hd..][..hd]);
            }
        }
    }
}

/// A part of the attention's work: some rows, and query heads of one key-value head.
struct Task {
    rows: Range<usize>,
    kv_head: usize,
    heads: Range<usize>,
}

/// Softmax attention over the caches: queries [n, n_heads * key width] to [n, n_heads * value width].
fn attend(
    index: usize,
    layer: &LayerSpec,
    w: &LayerWeights,
    q: &[f32],
    spans: &BTreeMap<SpanId, Span>,
    rows: &[Row],
) -> Result<Vec<f32>> {
    let a = &layer.attention;
    let (kd, vd, group) = (a.key_width(), a.value_width(), a.n_heads / a.n_kv_heads);
    // One token has too few tasks for many threads: the heads that share a key are parted then.
    let most_heads = match team::threads() / a.n_kv_heads {
        parts if parts > 1 && rows.len() == 1 => group.div_ceil(parts).min(ATTEND_HEADS),
        _ => ATTEND_HEADS,
    };
    // Rows of several spans pass together: what they share is read once. Few tasks are parted until threads share them evenly.
    let mut parts = rows
        .len()
        .div_ceil(ATTEND_ROWS.div_ceil(group.min(ATTEND_HEADS)));
    let threads = team::threads();
    while parts < rows.len()
        && parts * a.n_kv_heads < 4 * threads
        && !(parts * a.n_kv_heads).is_multiple_of(threads)
    {
        parts += 1;
    }
    let mut tasks = Vec::new();
    for part in 0..parts {
        let rows = part * rows.len() / parts..(part + 1) * rows.len() / parts;
        for kv_head in 0..a.n_kv_heads {
            let heads = kv_head * group..(kv_head + 1) * group;
            tasks.extend(heads.clone().step_by(most_heads).map(|head| Task {
                rows: rows.clone(),
                kv_head,
                heads: head..heads.end.min(head + most_heads),
            }));
        }
    }
    let work = |scratch: &mut Scratch, task: &Task| -> Result<Vec<f32>> {
        let tile = &rows[task.rows.clone()];
        let visible: Vec<_> = tile
            .iter()
            .map(|row| spans[&row.span].visible(layer.mask, row.pos))
            .collect();
        let shared = shared_blocks(index, tile, &visible, spans)?;
        let of_head = |width: usize| {
            let size = kernels::KV_BLOCK * width;
            task.kv_head * size..(task.kv_head + 1) * size
        };
        let heads = &task.heads;
        let blocks = shared.iter().map(|(index, block, rows)| {
            let k = &block.k[of_head(kd)];
            KvBlock {
                index: *index,
                k,
                v: match w.kv {
                    KeysValues::Grouped { .. } => &block.v[of_head(vd)],
                    // A latent is the beginning of its key.
                    KeysValues::Latent(_) => k,
                },
                rows: rows.start * heads.len()..rows.end * heads.len(),
            }
        });
        let blocks: Vec<_> = blocks.collect();
        let mut tile_q = Vec::with_capacity(tile.len() * heads.len() * kd);
        for row in task.rows.clone() {
            let from = (row * a.n_heads + heads.start) * kd;
            tile_q.extend_from_slice(&q[from..][..heads.len() * kd]);
        }
        let visible: Vec<_> = visible
            .iter()
            .flat_map(|v| std::iter::repeat_n(v.clone(), heads.len()))
            .collect();
        let sinks: Vec<f32> = match w.sinks.get(heads.clone()).filter(|_| a.sinks) {
            Some(sinks) => tile.iter().flat_map(|_| sinks.iter().copied()).collect(),
            None => Vec::new(),
        };
        let mut out = vec![0.0; visible.len() * vd];
        let kv = KvBlocks {
            blocks: &blocks,
            v_stride: match w.kv {
                KeysValues::Grouped { .. } => vd,
                KeysValues::Latent(_) => kd,
            },
        };
        let scores = Scores {
            scale: a.scale,
            softcap: a.softcap,
        };
        kernels::attend(&tile_q, &visible, &kv, &scores, &sinks, &mut out, scratch);
        Ok(out)
    };
    let parts = team::map(tasks.len(), Scratch::default, |scratch, i| {
        work(scratch, &tasks[i])
    });
    let parts: Vec<Vec<f32>> = parts.into_iter().collect::<Result<_>>()?;
    let mut out = spare::take(rows.len() * a.n_heads * vd);
    for (task, part) in tasks.iter().zip(&parts) {
        let width = task.heads.len() * vd;
        for (row, part) in task.rows.clone().zip(part.chunks_exact(width)) {
            out[(row * a.n_heads + task.heads.start) * vd..][..width].copy_from_slice(part);
        }
    }
    Ok(out)
}

/// The cached blocks that the rows of a tile see in one layer, in ascending order for each row, with the rows that have
/// them: one that neighbouring rows share stands there once.
fn shared_blocks<'a>(
    index: usize,
    tile: &[Row],
    visible: &[Range<usize>],
    spans: &'a BTreeMap<SpanId, Span>,
) -> Result<Vec<(usize, &'a Block, Range<usize>)>> {
    let mut blocks: Vec<(usize, &Block, Range<usize>)> = Vec::new();
    let mut first = 0;
    for run in tile.chunk_by(|a, b| a.span == b.span) {
        let rows = first..first + run.len();
        let seen = visible[rows.start].start..visible[rows.end - 1].end;
        let cache = &spans[&run[0].span].layers[index];
        let (from, held) = cache.blocks(&seen).map_err(|pos| {
            Error::Unsupported(format!(
                "layer {index}: the keys of position {pos} are gone"
            ))
        })?;
        blocks.extend((from..).zip(held).map(|(i, b)| (i, b, rows.clone())));
        first = rows.end;
    }
    blocks.sort_by_key(|(i, ..)| *i);
    blocks.dedup_by(|next, kept| {
        let same = next.0 == kept.0 && std::ptr::eq(next.1, kept.1) && kept.2.end == next.2.start;
        if same {
            kept.2.end = next.2.end;
        }
        same
    });
    Ok(blocks)
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
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

pub(crate) fn add_bias(x: &mut [f32], bias: &[f32]) {
    if !bias.is_empty() {
        x.chunks_exact_mut(bias.len()).for_each(|x| add(x, bias));
    }
}
