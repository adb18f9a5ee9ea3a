//! Cosines and sines of the rotary embedding, right at any position.

use crate::forward::Row;
use crate::kernels::team;
use crate::spec::{Pairing, Rope, RopePrecision};

/// The tables of a tile, made once for each kind of rotary embedding in the model.
pub(crate) struct Angles {
    precision: RopePrecision,
    tables: Vec<(Rope, std::sync::Arc<Table>)>,
}

/// (cos, sin) of every row and pair, [n, rotary_dim / 2].
pub(crate) struct Table(Vec<(f32, f32)>);

impl Angles {
    pub fn new(precision: RopePrecision) -> Self {
        Self {
            precision,
            tables: Vec::new(),
        }
    }

    /// The table of `rope` for the positions of `rows`.
    pub fn table(&mut self, rope: &Rope, rows: &[Row]) -> std::sync::Arc<Table> {
        if let Some((_, table)) = self.tables.iter().find(|(r, _)| r == rope) {
            return table.clone();
        }
        let mut table = Vec::with_capacity(rows.len() * rope.inv_freq.len());
        for row in rows {
            table.extend(rope.frequencies(row.len).iter().map(|&f| {
                let angle = match self.precision {
                    RopePrecision::F64 => row.pos as f64 * f64::from(f),
                    RopePrecision::F32 => f64::from(row.pos as f32 * f),
                };
                let (sin, cos) = libm::sincos(angle);
                (
                    cos as f32 * rope.attention_factor,
                    sin as f32 * rope.attention_factor,
                )
            }));
        }
        let table = std::sync::Arc::new(Table(table));
        self.tables.push((rope.clone(), table.clone()));
        table
    }
}

impl Table {
    /// Rotates every head of every row: x is [n, heads * head_dim].
    pub fn rotate(&self, x: &mut [f32], rope: &Rope, head_dim: usize) {
        let pairs = rope.inv_freq.len();
        let width = x.len() / (self.0.len() / pairs);
        team::for_rows(x, width, |first, x| {
            let angles = self.0[first * pairs..].chunks_exact(pairs);
            for (x, angles) in x.chunks_exact_mut(width).zip(angles) {
                x.chunks_exact_mut(head_dim)
                    .for_each(|head| rotate(head, rope.pairing, angles));
            }
        });
    }
}

fn rotate(head: &mut [f32], pairing: Pairing, angles: &[(f32, f32)]) {
    let pair = |a: &mut f32, b: &mut f32, (cos, sin): (f32, f32)| {
        (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
    };
    match pairing {
        Pairing::Interleaved => {
            for ([a, b], &angle) in head.as_chunks_mut().0.iter_mut().zip(angles) {
                pair(a, b, angle);
            }
        }
        Pairing::Half => {
            let (low, high) = head.split_at_mut(angles.len());
            for ((a, b), &angle) in low.iter_mut().zip(high).zip(angles) {
                pair(a, b, angle);
            }
        }
    }
}
