//! Attention over the caches of many sequences: a tile's keys and values go in, its queries read what they see.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::cache::Block;
use crate::forward::Row;
use crate::kernels::{self, KvBlock, KvBlocks, Scores, Scratch, team};
use crate::span::Span;
use crate::spec::{Attention, LayerSpec};
use crate::tree::SpanId;
use crate::weights::{KeysValues, LayerWeights};
use crate::{Error, Result, spare};

/// Query rows that pass the attention kernel together: as many as second-level caches hold with their scores and sums,
/// and at least so many that transposing the keys for them is little.
const ATTEND_FLOATS: usize = 96 << 10;
const ATTEND_ROWS: usize = 192;
/// Most query heads of one key-value head that do.
const ATTEND_HEADS: usize = 16;

/// Floats that one thread had better write than call the others.
const APPEND_ALONE: usize = 1 << 15;

/// Writes the tile's keys and values, [n, n_kv_heads * width] each, into the caches; v may be empty. Blocks are shared out:
/// the system clears the memory of new ones.
pub(crate) fn append(
    index: usize,
    layer: &LayerSpec,
    k: &[f32],
    v: &[f32],
    spans: &mut BTreeMap<SpanId, Span>,
    rows: &[Row],
) {
    let n_heads = layer.attention.n_kv_heads;
    let [k_width, v_width] = [k, v].map(|x| x.len() / rows.len());
    let mut first = 0;
    let runs = rows.chunk_by(|a, b| a.span == b.span).map(|run| {
        first += run.len();
        (run[0].span, first - run.len()..first)
    });
    let runs: BTreeMap<SpanId, Range<usize>> = runs.collect();
    // Where a block is, and the rows that it takes.
    let mut tasks = Vec::new();
    for (id, span) in spans.iter_mut() {
        let Some(run) = runs.get(id) else { continue };
        let written = run.clone().find(|&i| span.writes(layer.mask, rows[i].pos));
        let Some(run) = written.map(|first| first..run.end) else {
            continue;
        };
        let positions = rows[run.start].pos..rows[run.end - 1].pos + 1;
        let (from, slots) = span.layers[index].slots_mut(&positions);
        tasks.extend(slots.iter_mut().enumerate().map(|(i, slot)| {
            let of = (from + i) * kernels::KV_BLOCK;
            let of = of.max(positions.start)..(of + kernels::KV_BLOCK).min(positions.end);
            let at = run.start + of.start - positions.start;
            (Mutex::new(slot), at..at + of.len())
        }));
    }
    let write = |i: usize| {
        let (slot, of) = &tasks[i];
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let block = slot.block_mut(k_width, v_width);
        for (x, width, to) in [(k, k_width, &mut block.k), (v, v_width, &mut block.v)] {
            let hd = width / n_heads;
            for i in of.clone() {
                let slot = rows[i].pos % kernels::KV_BLOCK;
                for head in 0..n_heads {
                    let at = (head * kernels::KV_BLOCK + slot) * hd;
                    to[at..at + hd].copy_from_slice(&x[i * width + head * hd..][..hd]);
                }
            }
        }
    };
    match k.len() + v.len() < APPEND_ALONE {
        true => (0..tasks.len()).for_each(write),
        false => team::for_each(tasks.len(), write),
    }
}

/// What a thread keeps from task to task, so that the system need not clear it again.
#[derive(Default)]
struct Memory {
    /// [rows * heads, key width]
    q: Vec<f32>,
    /// [rows * heads, value width]
    out: Vec<f32>,
    scratch: Scratch,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// A task of the attention: a part of the rows, and query heads of one key-value head.
struct Task {
    part: usize,
    kv_head: usize,
    heads: Range<usize>,
}

/// Cuts the attention of `n` rows into parts of them, and those into tasks.
fn cut(a: &Attention, n: usize) -> (Vec<Range<usize>>, Vec<Task>) {
    let (threads, group) = (team::threads(), a.n_heads / a.n_kv_heads);
    // One token has too few tasks for many threads: the heads that share a key are parted then.
    let most_heads = match threads / a.n_kv_heads {
        parts if parts > 1 && n == 1 => group.div_ceil(parts).min(ATTEND_HEADS),
        _ => ATTEND_HEADS,
    };
    // Rows of several spans pass together: what they share is read once. Few tasks are parted until threads share them evenly.
    let floats = a.key_width() + a.value_width() + kernels::KV_BLOCK;
    let most_rows = (ATTEND_FLOATS / floats).max(ATTEND_ROWS);
    let mut parts = n.div_ceil(most_rows.div_ceil(group.min(ATTEND_HEADS)));
    while parts < n
        && parts * a.n_kv_heads < 16 * threads
        && !(parts * a.n_kv_heads).is_multiple_of(threads)
    {
        parts += 1;
    }
    let mut tasks = Vec::new();
    for part in 0..parts {
        for kv_head in 0..a.n_kv_heads {
            let heads = kv_head * group..(kv_head + 1) * group;
            tasks.extend(heads.clone().step_by(most_heads).map(|head| Task {
                part,
                kv_head,
                heads: head..heads.end.min(head + most_heads),
            }));
        }
    }
    let parts = (0..parts).map(|i| i * n / parts..(i + 1) * n / parts);
    (parts.collect(), tasks)
}

/// Softmax attention over the caches: queries [n, n_heads * key width] to [n, n_heads * value width].
pub(crate) fn attend(
    index: usize,
    layer: &LayerSpec,
    w: &LayerWeights,
    q: &[f32],
    spans: &BTreeMap<SpanId, Span>,
    rows: &[Row],
) -> Result<Vec<f32>> {
    let a = &layer.attention;
    let (kd, vd) = (a.key_width(), a.value_width());
    let (parts, tasks) = cut(a, rows.len());
    let width = a.n_heads * vd;
    let mut out = spare::take(rows.len() * width);
    // Tasks of the same rows write to the same part.
    let mut rest = &mut out[..];
    let outs = parts.iter().map(|rows| {
        let part = rest.split_off_mut(..rows.len() * width);
        Mutex::new(part.unwrap_or_default())
    });
    let outs: Vec<_> = outs.collect();
    let work = |memory: &mut Memory, task: &Task| -> Result<()> {
        let tile_rows = &parts[task.part];
        let tile = &rows[tile_rows.clone()];
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
        let Memory {
            q: tile_q,
            out: tile_out,
            scratch,
        } = memory;
        tile_q.clear();
        for row in tile_rows.clone() {
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
        tile_out.resize(visible.len() * vd, 0.0);
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
        kernels::attend(tile_q, &visible, &kv, &scores, &sinks, tile_out, scratch);
        let mut out = outs[task.part]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let tile_out = tile_out.chunks_exact(heads.len() * vd);
        for (out, from) in out.chunks_exact_mut(width).zip(tile_out) {
            out[heads.start * vd..heads.end * vd].copy_from_slice(from);
        }
        Ok(())
    };
    let done = team::map(tasks.len(), |i| {
        MEMORY.with_borrow_mut(|memory| work(memory, &tasks[i]))
    });
    done.into_iter().collect::<Result<()>>()?;
    drop(outs);
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
