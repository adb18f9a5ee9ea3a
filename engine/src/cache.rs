//! Keys and values of one sequence, in blocks that sequences share.
//!
//! Block b holds positions 64 b .. 64 b + 63, wherever a span begins or ends, so that attention adds up in the
//! same order for a flat sequence and for a fork. A fork copies pointers; the first write to a shared block
//! copies that block. Blocks of a layer that is not being worked on may lie in a scratch file.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::Result;
use crate::kernels::KV_BLOCK;
use crate::scratch::{Extent, Scratch};

/// Keys and values of 64 positions in one layer.
#[derive(Clone)]
pub struct Block {
    /// [n_kv_heads, 64, key width].
    pub k: Vec<f32>,
    /// [n_kv_heads, 64, value width]; empty where a key holds its value (latent attention).
    pub v: Vec<f32>,
    /// Its place in the scratch file, and whether that holds these numbers.
    home: Option<(Arc<Home>, bool)>,
}

/// A block's place in the scratch file.
pub struct Home {
    k: Extent,
    v: Extent,
}

/// Where a layer has one of its blocks.
#[derive(Clone, Default)]
pub enum Slot {
    /// Never written, or dropped.
    #[default]
    Empty,
    Held(Arc<Block>),
    Away(Arc<Home>),
}

/// One layer's blocks, from the block of the sequence's first position on.
#[derive(Clone, Default)]
pub struct LayerCache {
    first: usize,
    blocks: Vec<Slot>,
}

/// Blocks that were stored, so that those which sequences share are stored once. Holds them: an address stays theirs.
#[derive(Default)]
pub struct Stored(HashMap<*const Block, (Arc<Block>, Arc<Home>)>);

/// Blocks that were loaded, so that shared ones are loaded once and stay shared.
#[derive(Default)]
pub struct Loaded(HashMap<*const Home, Arc<Block>>);

impl Slot {
    /// The block, made if there is none and copied if it is shared; widths are of all key-value heads.
    pub fn block_mut(&mut self, k_width: usize, v_width: usize) -> &mut Block {
        if matches!(self, Self::Empty) {
            *self = Self::Held(Arc::new(Block {
                k: vec![0.0; KV_BLOCK * k_width],
                v: vec![0.0; KV_BLOCK * v_width],
                home: None,
            }));
        }
        let Self::Held(block) = self else {
            unreachable!("a layer is loaded before it is worked on");
        };
        let block = Arc::make_mut(block);
        if let Some((_, same)) = &mut block.home {
            *same = false;
        }
        block
    }
}

impl LayerCache {
    /// An empty cache of a sequence that starts at `pos`.
    pub fn new(pos: usize) -> Self {
        Self {
            first: pos / KV_BLOCK,
            blocks: Vec::new(),
        }
    }

    /// The places of the blocks of `positions`, and the absolute index of the first.
    pub fn slots_mut(&mut self, positions: &Range<usize>) -> (usize, &mut [Slot]) {
        let indices = Self::indices(positions);
        let (from, to) = (indices.start - self.first, indices.end - self.first);
        if self.blocks.len() < to {
            self.blocks.resize(to, Slot::Empty);
        }
        (indices.start, &mut self.blocks[from..to])
    }

    /// The blocks of `positions`, in order, and the absolute index of the first.
    ///
    /// # Errors
    /// The first position whose block is not there.
    pub fn blocks(&self, positions: &Range<usize>) -> Result<(usize, Vec<&Block>), usize> {
        let indices = Self::indices(positions);
        let from = indices.start;
        let blocks = indices
            .map(|b| match self.slot(b) {
                Some(Slot::Held(block)) => Ok(&**block),
                _ => Err(b * KV_BLOCK),
            })
            .collect::<Result<Vec<_>, usize>>()?;
        Ok((from, blocks))
    }

    /// Whether every block of `positions` is there, in memory or in the scratch file.
    pub fn has(&self, positions: &Range<usize>) -> bool {
        Self::indices(positions).all(|b| !matches!(self.slot(b), None | Some(Slot::Empty)))
    }

    fn indices(positions: &Range<usize>) -> Range<usize> {
        positions.start / KV_BLOCK..positions.end.div_ceil(KV_BLOCK)
    }

    fn slot(&self, block: usize) -> Option<&Slot> {
        self.blocks.get(block.checked_sub(self.first)?)
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
                self.blocks[i] = Slot::Empty;
            }
        }
    }

    /// Brings every block into memory.
    ///
    /// # Errors
    /// The scratch file cannot be read.
    pub fn load(&mut self, loaded: &mut Loaded) -> Result<()> {
        for slot in &mut self.blocks {
            let Slot::Away(home) = slot else { continue };
            let block = match loaded.0.get(&Arc::as_ptr(home)) {
                Some(block) => block.clone(),
                None => {
                    let (k, v) = (home.k.get()?, home.v.get()?);
                    let home = Some((home.clone(), true));
                    Arc::new(Block { k, v, home })
                }
            };
            loaded.0.insert(Arc::as_ptr(home), block.clone());
            *slot = Slot::Held(block);
        }
        Ok(())
    }

    /// Moves every block to the scratch file; what lies there unchanged is not written again.
    ///
    /// # Errors
    /// The scratch file cannot be written.
    pub fn store(&mut self, scratch: &Scratch, stored: &mut Stored) -> Result<()> {
        for slot in &mut self.blocks {
            let Slot::Held(block) = slot else { continue };
            let home = match (stored.0.get(&Arc::as_ptr(block)), &block.home) {
                (Some((_, home)), _) => home.clone(),
                (None, Some((home, true))) => home.clone(),
                // Nobody else's numbers lie there.
                (None, Some((home, false))) if Arc::strong_count(home) == 1 => {
                    home.k.put(&block.k)?;
                    home.v.put(&block.v)?;
                    home.clone()
                }
                _ => Arc::new(Home {
                    k: scratch.put(&block.k)?,
                    v: scratch.put(&block.v)?,
                }),
            };
            let held = (block.clone(), home.clone());
            stored.0.insert(Arc::as_ptr(block), held);
            *slot = Slot::Away(home);
        }
        Ok(())
    }

    /// The addresses and sizes in bytes of the blocks in memory (shared ones have the same address).
    pub fn held(&self) -> impl Iterator<Item = (*const Block, usize)> {
        self.blocks.iter().filter_map(|slot| match slot {
            Slot::Held(b) => Some((Arc::as_ptr(b), 4 * (b.k.len() + b.v.len()))),
            _ => None,
        })
    }
}
