//! Every instruction set that this machine has against plain loops, bit for bit, and those against f64.

use std::ops::Range;

use proptest::prelude::*;

use super::attention::{Attend, attend_on};
use super::elementwise::{LogSumExp, Norm, Softmax, gate_on, norm_on};
use super::matmul::matmul_on;
use super::*;

/// The instruction sets that this machine has; what it lacks is named on stderr.
fn isas() -> Vec<Isa> {
    static ONCE: std::sync::Once = std::sync::Once::new();
    let (here, lacking): (Vec<_>, Vec<_>) =
        Isa::ALL.into_iter().partition(|isa| isa.is_available());
    ONCE.call_once(|| {
        lacking
            .iter()
            .for_each(|isa| eprintln!("{isa}: not run, this machine lacks it"))
    });
    here
}

/// Reproducible noise: splitmix64.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In -1 .. 1.
    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }

    /// `n` stored values: any bits where any bits are sound, halves of moderate size for the scales.
    fn stored(&mut self, ty: StoredType, n: usize) -> Vec<u8> {
        let info = ty.info();
        let mut bytes: Vec<u8> = (0..n / info.block * info.bytes)
            .map(|_| self.next() as u8)
            .collect();
        for block in bytes.chunks_exact_mut(info.bytes) {
            let halves: &[usize] = match ty {
                StoredType::F32 => {
                    block.copy_from_slice(&self.float().to_le_bytes());
                    &[]
                }
                StoredType::BF16 => {
                    block.copy_from_slice(&half::bf16::from_f32(self.float()).to_le_bytes());
                    &[]
                }
                StoredType::F16 | StoredType::Q8_0 | StoredType::Q4_0 | StoredType::Q5_0 => &[0],
                StoredType::Q4_1 | StoredType::Q5_1 | StoredType::Q4_K | StoredType::Q5_K => {
                    &[0, 2]
                }
                StoredType::Q6_K => &[208],
            };
            for &at in halves {
                let scale = half::f16::from_f32(self.float() * 0.1);
                block[at..at + 2].copy_from_slice(&scale.to_le_bytes());
            }
        }
        bytes
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

/// The order of every product, in a plain loop.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut l = [0.0f32; 8];
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        l[i % 8] = a.mul_add(*b, l[i % 8]);
    }
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
}

/// Every instruction set, with 1 and 2 threads and token by token, gives what the plain loop gives.
fn check_matmul(w: &Matrix<'_>, n: usize, noise: &mut Noise) {
    let x = noise.floats(n * w.cols);
    let mut rows = vec![0.0; w.rows * w.cols];
    for (r, row) in rows.chunks_exact_mut(w.cols).enumerate() {
        unpack_row(w, r, row);
    }
    let mut expected = vec![0.0; n * w.rows];
    for (y, x) in expected
        .chunks_exact_mut(w.rows)
        .zip(x.chunks_exact(w.cols))
    {
        for (y, row) in y.iter_mut().zip(rows.chunks_exact(w.cols)) {
            *y = dot(row, x);
        }
    }
    for isa in isas() {
        for threads in [1, 2] {
            let mut y = vec![f32::NAN; n * w.rows];
            pool(threads).install(|| matmul_on(isa, &x, n, w, &mut y));
            assert_eq!(bits(&y), bits(&expected), "{isa}, {threads} threads, {w:?}");
        }
        let mut y = vec![f32::NAN; w.rows];
        matmul_on(isa, &x[..w.cols], 1, w, &mut y);
        assert_eq!(bits(&y), bits(&expected[..w.rows]), "{isa}, one token");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn products_of_every_type_match_the_plain_loop(
        ty in prop::sample::select(StoredType::ALL),
        rows in 1usize..70, blocks in 1usize..9, n in 1usize..30, seed: u64,
    ) {
        let noise = &mut Noise(seed);
        let cols = if ty.info().block == 1 { blocks * 13 } else { blocks * ty.info().block };
        let data = noise.stored(ty, rows * cols);
        check_matmul(&Matrix { ty, rows, cols, layout: Layout::RowMajor, data: &data }, n, noise);
    }

    #[test]
    fn products_of_columns_match_the_plain_loop(
        ty in prop::sample::select(&[StoredType::F32, StoredType::F16, StoredType::BF16][..]),
        rows in 1usize..50, cols in 1usize..300, n in 1usize..20, before in 0usize..9, after in 0usize..9, seed: u64,
    ) {
        let noise = &mut Noise(seed);
        let stride = before + rows + after;
        let data = noise.stored(ty, stride * cols);
        let layout = Layout::ColMajor { stride, offset: before };
        check_matmul(&Matrix { ty, rows, cols, layout, data: &data }, n, noise);
    }
}

#[test]
fn long_rows_and_many_tasks_match_the_plain_loop() {
    let noise = &mut Noise(1);
    for (ty, rows, cols, n) in [
        (StoredType::Q4_1, 200, 2336, 37),
        (StoredType::BF16, 130, 5003, 13),
        (StoredType::Q4_K, 48, 16384, 9),
        (StoredType::Q8_0, 600, 576, 65),
        (StoredType::F32, 33, 1031, 200),
    ] {
        let data = noise.stored(ty, rows * cols);
        check_matmul(
            &Matrix {
                ty,
                rows,
                cols,
                layout: Layout::RowMajor,
                data: &data,
            },
            n,
            noise,
        );
    }
}

#[test]
fn products_are_those_of_f64_to_rounding() {
    let noise = &mut Noise(2);
    for &ty in StoredType::ALL {
        let (rows, cols, n) = (20, 2048, 3);
        let data = noise.stored(ty, rows * cols);
        let w = Matrix {
            ty,
            rows,
            cols,
            layout: Layout::RowMajor,
            data: &data,
        };
        let x = noise.floats(n * cols);
        let mut y = vec![0.0; n * rows];
        matmul(&x, n, &w, &mut y);
        let mut row = vec![0.0; cols];
        for r in 0..rows {
            unpack_row(&w, r, &mut row);
            for t in 0..n {
                let products = row
                    .iter()
                    .zip(&x[t * cols..])
                    .map(|(a, b)| f64::from(*a) * f64::from(*b));
                let (sum, size) = products.fold((0.0, 0.0), |(s, a), p| (s + p, a + p.abs()));
                let error = (f64::from(y[t * rows + r]) - sum).abs();
                assert!(error <= 2e-6 * size, "{ty}: off by {error} of {size}");
            }
        }
    }
}

/// A tile of queries with its cache.
struct Case {
    head_dim: usize,
    v_dim: usize,
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
        let k: Vec<_> = self.k.iter().map(Vec::as_slice).collect();
        let v: Vec<_> = self.v.iter().map(Vec::as_slice).collect();
        let mut out = vec![f32::NAN; rows.len() * self.v_dim];
        attend_on(
            isa,
            Attend {
                q: &self.q[rows.start * self.head_dim..rows.end * self.head_dim],
                visible: &self.visible[rows.clone()],
                kv: &KvBlocks {
                    first_block: self.first_block,
                    k: &k,
                    v: &v,
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
            for (o, v) in out.iter_mut().zip(&self.v[b][p * self.v_dim..]) {
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
    let (k, v) = (fill(head_dim), fill(v_dim));
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
        kind in 0u64..12, seed: u64,
    ) {
        let noise = &mut Noise(seed);
        let mut case = case(noise, n, blocks, head_dim, v_dim, kind);
        let expected = case.run(Isa::Portable, 0..n);
        for isa in isas() {
            prop_assert_eq!(bits(&case.run(isa, 0..n)), bits(&expected), "{}", isa);
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

    #[test]
    fn rows_are_the_same_everywhere_and_right(dim in 1usize..300, n in 1usize..4, seed: u64) {
        let noise = &mut Noise(seed);
        let x: Vec<f32> = noise.floats(n * dim).iter().map(|v| v * 8.0).collect();
        let weight = noise.floats(dim);
        for centre in [false, true] {
            let norm = |isa: Isa| {
                let mut out = vec![f32::NAN; n * dim];
                let (x, weight) = (&x[..], Some(&weight[..]));
                norm_on(isa, Norm { x, dim, weight, plus_one: true, eps: 1e-5, centre, out: &mut out });
                out
            };
            let expected = norm(Isa::Portable);
            for isa in isas() {
                prop_assert_eq!(bits(&norm(isa)), bits(&expected), "{}", isa);
            }
            for (x, got) in x.chunks_exact(dim).zip(expected.chunks_exact(dim)) {
                let x: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
                let mean = if centre { x.iter().sum::<f64>() / dim as f64 } else { 0.0 };
                let square = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / dim as f64;
                for ((x, w), got) in x.iter().zip(&weight).zip(got) {
                    let truth = (x - mean) / (square + 1e-5).sqrt() * (1.0 + f64::from(*w));
                    prop_assert!((f64::from(*got) - truth).abs() < 2e-5, "{got} for {truth}");
                }
            }
        }
        let up = noise.floats(n * dim);
        let gate = |isa: Isa, gelu: bool| {
            let mut gate = x.clone();
            if gelu { gate_on::<true>(isa, &mut gate, &up) } else { gate_on::<false>(isa, &mut gate, &up) }
            gate
        };
        let row = |isa: Isa| {
            let mut row = x.clone();
            isa.run(Softmax { x: &mut row });
            (bits(&row), isa.run(LogSumExp { x: &x }).to_bits())
        };
        for isa in isas() {
            prop_assert_eq!(bits(&gate(isa, false)), bits(&gate(Isa::Portable, false)), "{}", isa);
            prop_assert_eq!(bits(&gate(isa, true)), bits(&gate(Isa::Portable, true)), "{}", isa);
            prop_assert_eq!(row(isa), row(Isa::Portable), "{}", isa);
        }
        for (i, (g, u)) in x.iter().zip(&up).enumerate() {
            let (g, u) = (f64::from(*g), f64::from(*u));
            let silu = g / (1.0 + (-g).exp()) * u;
            let gelu = g / 2.0 * (1.0 + (0.797_884_560_802_865_4 * (g + 0.044_715 * g * g * g)).tanh()) * u;
            prop_assert!((f64::from(gate(Isa::Portable, false)[i]) - silu).abs() < 2e-6);
            prop_assert!((f64::from(gate(Isa::Portable, true)[i]) - gelu).abs() < 2e-6);
        }
        let sum: f64 = x.iter().map(|&v| f64::from(v).exp()).sum();
        prop_assert!((log_sum_exp(&x) - sum.ln()).abs() < 1e-6);
        let mut probabilities = x.clone();
        softmax(&mut probabilities);
        for (p, x) in probabilities.iter().zip(&x) {
            prop_assert!((f64::from(*p) - f64::from(*x).exp() / sum).abs() < 1e-6);
        }
    }
}

#[test]
fn nothing_gives_nothing() {
    softmax(&mut []);
    assert_eq!(log_sum_exp(&[]), f64::NEG_INFINITY);
    silu_mul(&mut [], &[]);
    let w = Matrix {
        ty: StoredType::F32,
        rows: 2,
        cols: 0,
        layout: Layout::RowMajor,
        data: &[],
    };
    let mut y = [1.0; 2];
    matmul(&[], 1, &w, &mut y);
    assert_eq!(y, [0.0; 2]);
}
