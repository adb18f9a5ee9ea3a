//! The schedule for models larger than memory: all rows pass a layer before any passes the next.
//!
//! ```text
//! for each layer
//!   the reader begins with the next layer's matrices
//!   for each tile: x = layer(x)           hidden states and keys come from the scratch file where they must
//!   the layer's memory is given back
//! ```
//!
//! A pass so reads each weight once, however many rows there are, and no expert that no row chose. The arithmetic is the
//! same rows through the same functions as tile by tile, so the bits are the same.

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};

use crate::Result;
use crate::angles::Angles;
use crate::cache::{Loaded, Stored};
use crate::format::Bytes;
use crate::forward::{self, Row};
use crate::kernels::KV_BLOCK;
use crate::model::Model;
use crate::scratch::{Extent, Scratch};
use crate::span::Span;
use crate::tree::{LogitsRow, SpanId};
use crate::weights::Weight;

/// The schedule, and what it may hold in memory.
pub struct LayerMajor {
    scratch: Scratch,
    hidden: u64,
    keys: u64,
    reader: Reader,
}

/// Reads ahead in a thread of its own.
pub(crate) struct Reader(Sender<Bytes>);

/// Hidden states of one tile, [n, dim].
enum Hidden {
    Held(Vec<f32>),
    Away(Extent),
}

impl Reader {
    fn start() -> Self {
        let (sender, receiver) = channel::<Bytes>();
        // Ends when the sender is dropped.
        std::thread::spawn(move || receiver.iter().for_each(|bytes| bytes.read_ahead()));
        Self(sender)
    }

    /// Begins to read matrices that will be used soon.
    pub(crate) fn read<'a>(&self, matrices: impl IntoIterator<Item = &'a Weight>) {
        for bytes in matrices.into_iter().flat_map(Weight::bytes) {
            // Without a reader the matrix is read when it is used.
            let _ = self.0.send(bytes.clone());
        }
    }
}

impl LayerMajor {
    /// At most `hidden` bytes of hidden states and `keys` bytes of keys and values of layers that are not being worked on
    /// stay in memory; beyond that they go to `scratch`.
    pub fn new(scratch: Scratch, hidden: u64, keys: u64) -> Self {
        Self {
            scratch,
            hidden,
            keys,
            reader: Reader::start(),
        }
    }

    /// As [`forward::forward`], over any number of rows; `tile` rows are worked on together.
    pub(crate) fn forward(
        &self,
        model: &Model,
        spans: &mut BTreeMap<SpanId, Span>,
        rows: &[Row],
        tile: usize,
        report: &mut (dyn FnMut(LogitsRow<'_>) + Send),
    ) -> Result<()> {
        let spec = &model.spec;
        let spill = rows.len() * spec.dim * size_of::<f32>() > self.hidden as usize;
        let put = |x: Vec<f32>| -> Result<Hidden> {
            Ok(match spill {
                true => Hidden::Away(self.scratch.put(&x)?),
                false => Hidden::Held(x),
            })
        };
        let tiles: Vec<&[Row]> = rows.chunks(tile).collect();
        let mut hidden = tiles
            .iter()
            .map(|rows| put(forward::embed(model, rows)))
            .collect::<Result<Vec<_>>>()?;
        model.weights.embedding.bytes().for_each(Bytes::release);

        let mut ids: Vec<SpanId> = rows.iter().map(|r| r.span).collect();
        ids.dedup();
        let store = self.key_bytes(model, spans, rows) > self.keys;
        for (index, weights) in model.weights.layers.iter().enumerate() {
            match model.weights.layers.get(index + 1) {
                Some(next) => self.reader.read(next.matrices().0),
                None => self.reader.read([&model.weights.head]),
            }
            let mut loaded = Loaded::default();
            for id in &ids {
                if let Some(span) = spans.get_mut(id) {
                    span.layers[index].load(&mut loaded)?;
                }
            }
            drop(loaded);
            for (rows, hidden) in tiles.iter().zip(&mut hidden) {
                let reader = Some(&self.reader);
                let mut angles = Angles::new(spec.rope_precision); // holds those of one tile
                match hidden {
                    Hidden::Held(x) => {
                        forward::layer(model, index, x, spans, rows, &mut angles, reader)?;
                    }
                    Hidden::Away(extent) => {
                        let (mut x, n) = (extent.get()?, rows.len() * spec.dim);
                        forward::layer(model, index, &mut x, spans, rows, &mut angles, reader)?;
                        match x.len() == n {
                            true => extent.put(&x)?,
                            // What is left behind the last layer.
                            false => *hidden = put(x)?,
                        }
                    }
                }
            }
            if store {
                let mut stored = Stored::default();
                for span in spans.values_mut() {
                    span.layers[index].store(&self.scratch, &mut stored)?;
                }
            }
            let (dense, routed) = weights.matrices();
            dense
                .iter()
                .chain(&routed)
                .flat_map(|w| w.bytes())
                .for_each(Bytes::release);
        }
        for (rows, hidden) in tiles.iter().zip(hidden) {
            match hidden {
                Hidden::Held(x) => forward::head(model, &x, rows, report),
                Hidden::Away(extent) => forward::head(model, &extent.get()?, rows, report),
            }
        }
        model.weights.head.bytes().for_each(Bytes::release);
        Ok(())
    }

    /// Bytes of keys and values that all spans will have when `rows` have been added.
    fn key_bytes(&self, model: &Model, spans: &BTreeMap<SpanId, Span>, rows: &[Row]) -> u64 {
        let ends = rows
            .chunk_by(|a, b| a.span == b.span)
            .map(|run| (run[0].span, run[run.len() - 1].pos + 1))
            .collect::<BTreeMap<_, _>>();
        spans
            .iter()
            .map(|(id, span)| {
                let tokens = ends.get(id).copied().unwrap_or(span.end) - span.start;
                model.cache_bytes(tokens + KV_BLOCK)
            })
            .sum()
    }
}
