//! Every instruction set that this machine has against plain loops, bit for bit, and those against f64.

mod attention;
mod elementwise;
mod integer;
mod matmul;

use super::matmul::matmuls_on;
use super::team::Team;
use super::{Isa, Layout, Matrix, Precision, Product, log_sum_exp, silu_mul, softmax};
use crate::format::StoredType;

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

/// w x for each row of x, [n, w.cols].
fn product(isa: Isa, x: &[f32], w: Matrix<'_>, precision: Precision) -> Vec<f32> {
    let n = x.len() / w.cols;
    let mut y = vec![f32::NAN; n * w.rows];
    let product = Product {
        w,
        precision,
        y: &mut y,
    };
    matmuls_on(isa, x, n, &mut [product]);
    y
}

/// Every instruction set, with 1 and 2 threads and token by token, gives `expected`, [n, w.rows].
fn check_everywhere(x: &[f32], w: Matrix<'_>, precision: Precision, expected: &[f32]) {
    for isa in isas() {
        for threads in [1, 2] {
            let mut team = Team::new(threads).unwrap();
            let y = team.install(|| product(isa, x, w, precision));
            assert_eq!(bits(&y), bits(expected), "{isa}, {threads} threads, {w:?}");
        }
        for (x, y) in x.chunks_exact(w.cols).zip(expected.chunks_exact(w.rows)) {
            let alone = product(isa, x, w, precision);
            assert_eq!(bits(&alone), bits(y), "{isa}, one token, {w:?}");
        }
    }
}

/// A matrix stored row by row, without factors.
fn row_major(ty: StoredType, rows: usize, cols: usize, data: &[u8]) -> Matrix<'_> {
    Matrix {
        ty,
        rows,
        cols,
        layout: Layout::RowMajor,
        data,
        scales: None,
    }
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

    /// A stored matrix: any bits where any bits are sound, halves of moderate size for the scales.
    fn stored(&mut self, ty: StoredType, rows: usize, cols: usize) -> Vec<u8> {
        let info = ty.info();
        let n_bytes = rows * ty.bytes_for(cols).unwrap();
        let mut bytes: Vec<u8> = (0..n_bytes).map(|_| self.next() as u8).collect();
        for block in bytes.chunks_mut(info.bytes) {
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
                // Wherever their scales stand, none is large, infinite or not a number.
                _ => {
                    block.iter_mut().for_each(|b| *b &= 0x3f);
                    &[]
                }
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
        scales: None,
    };
    let mut y = [1.0; 2];
    super::matmul(&[], 1, &w, &mut y);
    assert_eq!(y, [0.0; 2]);
}
