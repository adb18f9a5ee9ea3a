//! Cosines and sines of the rotary embedding, right at any position.

use std::sync::Arc;

use crate::forward::Row;
use crate::kernels::team;
use crate::spec::{Pairing, Rope, RopePrecision};

/// The tables of a tile, made once for each kind of rotary embedding in the model.
pub(crate) struct Angles {
    precision: RopePrecision,
    tables: Vec<(Rope, Arc<Table>)>,
}

/// (cos, sin) of every row and pair, [n, rotary_dim / 2].
type Table = Vec<(f32, f32)>;

/// What is done to the heads of some rows in one layer; nothing where it has no rotary embedding.
#[derive(Clone)]
pub(crate) struct Rotation<'r>(Option<(&'r Rope, Arc<Table>)>);

impl Angles {
    pub fn new(precision: RopePrecision) -> Self {
        Self {
            precision,
            tables: Vec::new(),
        }
    }

    /// The rotation by `rope` of `rows`, which are the same in every call.
    pub fn rotation<'r>(&mut self, rope: Option<&'r Rope>, rows: &[Row]) -> Rotation<'r> {
        Rotation(rope.map(|rope| (rope, self.table(rope, rows))))
    }

    fn table(&mut self, rope: &Rope, rows: &[Row]) -> Arc<Table> {
        if let Some((_, table)) = self.tables.iter().find(|(r, _)| r == rope) {
            return table.clone();
        }
        let mut table = Table::with_capacity(rows.len() * rope.inv_freq.len());
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
        let table = Arc::new(table);
        self.tables.push((rope.clone(), table.clone()));
        table
    }
}

impl Rotation<'_> {
    /// The rotation of some of the rows.
    pub fn of(&self, places: &[usize]) -> Self {
        Self(self.0.as_ref().map(|(rope, table)| {
            let pairs = rope.inv_freq.len();
            let rows = places.iter().map(|&i| &table[i * pairs..][..pairs]);
            (*rope, Arc::new(rows.flatten().copied().collect()))
        }))
    }

    /// Rotates every head of every row: x is [n, heads * head_dim].
    pub fn rotate(&self, x: &mut [f32], head_dim: usize) {
        let Some((rope, table)) = self.0.as_ref().filter(|_| !x.is_empty()) else {
            return;
        };
        let pairs = rope.inv_freq.len();
        let width = x.len() / (table.len() / pairs);
        team::for_rows(x, width, |first, x| {
            let angles = table[first * pairs..].chunks_exact(pairs);
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
