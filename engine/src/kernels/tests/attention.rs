//! Attention.

use std::ops::Range;

use proptest::prelude::*;

use super::{Noise, bits, isas};
use crate::kernels::attention::{Attend, attend_on};
use crate::kernels::{Isa, KV_BLOCK, KvBlock, KvBlocks, Scores, Scratch};

/// A tile of queries with its cache.
struct Case {
    head_dim: usize,
    v_dim: usize,
    v_stride: usize,
    first_block: usize,
    q: Vec<f32>,
    k: Vec<Vec<f32>>,
    v: Vec<Vec<f32>>,
    visible: Vec<Range<usize>>,
    scores: Scores,
    sinks: Vec<f32>,
}

impl Case {
    fn run(&self, isa: Isa, rows: Range<usize>) -> Vec<f32> {
        self.run_apart(isa, rows, usize::MAX)
    }

    /// As if the rows were two sequences, from row `second` of them on the other, that share all blocks but the last.
    fn run_apart(&self, isa: Isa, rows: Range<usize>, second: usize) -> Vec<f32> {
        let copies = [(); 2].map(|()| (self.k.clone(), self.v.clone()));
        let mut blocks = Vec::new();
        for i in 0..self.k.len() {
            let block = |copy: usize, rows| KvBlock {
                index: self.first_block + i,
                k: &copies[copy].0[i],
                v: &copies[copy].1[i],
                rows,
            };
            if i + 1 < self.k.len() || second >= rows.len() {
                blocks.push(block(0, 0..rows.len()));
            } else {
                blocks.push(block(0, 0..second));
                blocks.push(block(1, second..rows.len()));
            }
        }
        let mut out = vec![f32::NAN; rows.len() * self.v_dim];
        attend_on(
            isa,
            Attend {
                q: &self.q[rows.start * self.head_dim..rows.end * self.head_dim],
                visible: &self.visible[rows.clone()],
                kv: &KvBlocks {
                    blocks: &blocks,
                    v_stride: self.v_stride,
                },
                scores: &self.scores,
                sinks: if self.sinks.is_empty() {
                    &[]
                } else {
                    &self.sinks[rows]
                },
                out: &mut out,
                scratch: &mut Scratch::default(),
            },
        );
        out
    }

    /// In f64, by the definition.
    fn truth(&self, i: usize) -> Vec<f64> {
        let q = &self.q[i * self.head_dim..][..self.head_dim];
        let at = |p: usize| (p / KV_BLOCK - self.first_block, p % KV_BLOCK);
        let score = |p: usize| {
            let (b, p) = at(p);
            let k = &self.k[b][p * self.head_dim..][..self.head_dim];
            let dot: f64 = q
                .iter()
                .zip(k)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum();
            let s = dot * f64::from(self.scores.scale);
            self.scores
                .softcap
                .map_or(s, |c| f64::from(c) * (s / f64::from(c)).tanh())
        };
        let scores: Vec<f64> = self.visible[i].clone().map(score).collect();
        let sink = self.sinks.get(i).map(|&s| f64::from(s));
        let max = scores
            .iter()
            .copied()
            .chain(sink)
            .fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores
            .iter()
            .copied()
            .chain(sink)
            .map(|s| (s - max).exp())
            .sum();
        let mut out = vec![0.0; self.v_dim];
        for (p, s) in self.visible[i].clone().zip(scores) {
            let (b, p) = at(p);
            for (o, v) in out.iter_mut().zip(&self.v[b][p * self.v_stride..]) {
                *o += (s - max).exp() / sum * f64::from(*v);
            }
        }
        out
    }
}

/// Rows that see full, windowed and no ranges; slots that no row sees hold NaN.
fn case(
    noise: &mut Noise,
    n: usize,
    blocks: usize,
    head_dim: usize,
    v_dim: usize,
    v_stride: usize,
    kind: u64,
) -> Case {
    let first_block = (noise.next() % 5) as usize;
    let (start, len) = (first_block * KV_BLOCK, blocks * KV_BLOCK);
    let near = start + (noise.next() as usize % len);
    let visible: Vec<_> = (0..n)
        .map(|i| match kind % 3 {
            // Consecutive positions, three heads each.
            0 => start..(near + i / 3 + 1).min(start + len),
            // A window.
            1 => near.saturating_sub(70).max(start) + i / 3..(near + i / 3 + 1).min(start + len),
            // Anything.
            _ => {
                let (a, b) = (
                    noise.next() as usize % (len + 1),
                    noise.next() as usize % (len + 1),
                );
                if noise.next().is_multiple_of(8) {
                    0..0
                } else {
                    start + a.min(b)..start + a.max(b)
                }
            }
        })
        .map(|r| if r.is_empty() { 0..0 } else { r })
        .collect();
    let mut fill = |dim: usize| -> Vec<Vec<f32>> {
        (0..blocks)
            .map(|b| {
                let mut block = noise.floats(KV_BLOCK * dim);
                for p in 0..KV_BLOCK {
                    if !visible
                        .iter()
                        .any(|r| r.contains(&(start + b * KV_BLOCK + p)))
                    {
                        block[p * dim..][..dim].fill(f32::NAN);
                    }
                }
                block
            })
            .collect()
    };
    let (k, v) = (fill(head_dim), fill(v_stride));
    let softcap = (kind / 3 % 2 == 1).then_some(5.0);
    let sinks = if kind / 6 % 2 == 1 {
        noise.floats(n)
    } else {
        Vec::new()
    };
    let scores = Scores {
        scale: 3.0 / (head_dim as f32).sqrt(),
        softcap,
    };
    Case {
        head_dim,
        v_dim,
        v_stride,
        first_block,
        q: noise.floats(n * head_dim),
        k,
        v,
        visible,
        scores,
        sinks,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn attention_is_the_same_everywhere_and_right(
        n in 1usize..40, blocks in 1usize..5,
        head_dim in prop::sample::select(&[1usize, 7, 16, 24, 64, 80, 129][..]),
        v_dim in prop::sample::select(&[1usize, 5, 16, 40, 64, 96, 131][..]),
        kind in 0u64..12, beside in 0usize..20, seed: u64,
    ) {
        let noise = &mut Noise(seed);
        let v_stride = v_dim + beside.saturating_sub(8);
        let mut case = case(noise, n, blocks, head_dim, v_dim, v_stride, kind);
        let expected = case.run(Isa::Portable, 0..n);
        for isa in isas() {
            prop_assert_eq!(bits(&case.run(isa, 0..n)), bits(&expected), "{}", isa);
            let apart = case.run_apart(isa, 0..n, n / 3);
            prop_assert_eq!(bits(&apart), bits(&expected), "{}, two sequences", isa);
            // Row by row, whatever else is in the tile.
            for i in 0..n {
                let row = case.run(isa, i..i + 1);
                prop_assert_eq!(bits(&row), bits(&expected[i * v_dim..][..v_dim]), "{}, row {} alone", isa, i);
            }
        }
        for i in 0..n {
            for (got, truth) in expected[i * v_dim..].iter().zip(case.truth(i)) {
                prop_assert!((f64::from(*got) - truth).abs() < 3e-6, "row {i}: {got} for {truth}");
            }
        }
        // What masked slots hold does not matter.
        for block in case.k.iter_mut().chain(&mut case.v) {
            block.iter_mut().filter(|v| v.is_nan()).for_each(|v| *v = -3.0e38);
        }
        for isa in isas() {
            prop_assert_eq!(bits(&case.run(isa, 0..n)), bits(&expected), "{}, other garbage", isa);
        }
    }
}
