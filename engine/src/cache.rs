//! Keys and values of one sequence, in blocks that sequences share.
//!
//! Block b holds positions 64 b .. 64 b + 63, wherever a span begins or ends, so that attention adds up in the
//! same order for a flat sequence and for a fork. A fork copies pointers; the first write to a shared block
//! copies that block.

use std::ops::Range;
use std::sync::Arc;

use crate::kernels::KV_BLOCK;

/// Keys and values of 64 positions in one layer.
#[derive(Clone)]
pub struct Block {
    /// [n_kv_heads, 64, key width].
    pub k: Vec<f32>,
    /// [n_kv_heads, 64, value width]; empty where a key holds its value (latent attention).
    pub v: Vec<f32>,
}

/// One layer's blocks, from the block of the sequence's first position on; a dropped block is `None`.
#[derive(Clone, Default)]
pub struct LayerCache {
    first: usize,
    blocks: Vec<Option<Arc<Block>>>,
}

impl LayerCache {
    /// An empty cache of a sequence that starts at `pos`.
    pub fn new(pos: usize) -> Self {
        Self {
            first: pos / KV_BLOCK,
            blocks: Vec::new(),
        }
    }

    /// The block of `pos`, made if there is none and copied if it is shared; widths are of all key-value heads.
    pub fn block_mut(&mut self, pos: usize, k_width: usize, v_width: usize) -> &mut Block {
        let i = pos / KV_BLOCK - self.first;
        if self.blocks.len() <= i {
            self.blocks.resize(i + 1, None);
        }
        let new = || {
            Arc::new(Block {
                k: vec![0.0; KV_BLOCK * k_width],
                v: vec![0.0; KV_BLOCK * v_width],
            })
        };
        Arc::make_mut(self.blocks[i].get_or_insert_with(new))
    }

    /// The blocks of `positions`, in order, and the absolute index of the first.
    ///
    /// # Errors
    /// The first position whose block is not there.
    pub fn blocks(&self, positions: &Range<usize>) -> Result<(usize, Vec<&Block>), usize> {
        let (from, to) = (positions.start / KV_BLOCK, positions.end.div_ceil(KV_BLOCK));
        let get = |b: usize| -> Option<&Block> {
            self.blocks.get(b.checked_sub(self.first)?)?.as_deref()
        };
        let blocks = (from..to)
            .map(|b| get(b).ok_or(b * KV_BLOCK))
            .collect::<Result<Vec<_>, usize>>()?;
        Ok((from, blocks))
    }

    /// Whether every block of `positions` is there.
    pub fn has(&self, positions: &Range<usize>) -> bool {
        self.blocks(positions).is_ok()
    }

    /// A cache of the positions below `end`, its blocks shared with this one.
    pub fn fork(&self, end: usize) -> Self {
        let n = end
            .div_ceil(KV_BLOCK)
            .saturating_sub(self.first)
            .min(self.blocks.len());
        Self {
            first: self.first,
            blocks: self.blocks[..n].to_vec(),
        }
    }

    /// Drops the blocks below `end` that hold no position of `keep`.
    pub fn drop_below(&mut self, from: usize, end: usize, keep: &[Range<usize>]) {
        let from = (from / KV_BLOCK).saturating_sub(self.first);
        let to = (end / KV_BLOCK)
            .saturating_sub(self.first)
            .min(self.blocks.len());
        for i in from..to {
            let start = (self.first + i) * KV_BLOCK;
            if !keep
                .iter()
                .any(|r| r.start < start + KV_BLOCK && start < r.end)
            {
                self.blocks[i] = None;
            }
        }
    }

    /// The addresses and sizes in bytes of the blocks that are there (shared ones have the same address).
    pub fn held(&self) -> impl Iterator<Item = (*const Block, usize)> {
        self.blocks
            .iter()
            .flatten()
            .map(|b| (Arc::as_ptr(b), 4 * (b.k.len() + b.v.len())))
    }
}
