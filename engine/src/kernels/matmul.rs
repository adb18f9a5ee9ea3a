//! y = W x for stored weights.

use rayon::prelude::*;

use super::{Layout, Matrix};
use crate::format::StoredType;

/// `y[t, r] = sum_c w[r, c] * x[t, c]`; x is [n, cols], y is [n, rows]. Runs on the current rayon pool.
///
/// Every output is the same reduction whatever `n`: eight lanes along c (lane j takes c = j mod 8, fused
/// multiply-add in ascending c), then `((l0+l4)+(l2+l6)) + ((l1+l5)+(l3+l7))`.
///
/// # Panics
/// When the lengths of `x`, `y` or `w.data` are not those of the shapes.
pub fn matmul(x: &[f32], n: usize, w: &Matrix<'_>, y: &mut [f32]) {
    assert_eq!(x.len(), n * w.cols, "x: [n, cols]");
    assert_eq!(y.len(), n * w.rows, "y: [n, rows]");
    if n == 0 || w.rows == 0 {
        return;
    }
    // By rows into [rows, n], then transposed.
    let mut by_row = vec![0.0; n * w.rows];
    by_row.par_chunks_mut(n).enumerate().for_each_init(
        || vec![0.0; w.cols],
        |row, (r, out)| {
            unpack_row(w, r, row);
            for (t, o) in out.iter_mut().enumerate() {
                *o = dot(row, &x[t * w.cols..][..w.cols]);
            }
        },
    );
    for t in 0..n {
        for r in 0..w.rows {
            y[t * w.rows + r] = by_row[r * n + t];
        }
    }
}

/// Row `r` of `w` as f32; `out` is [cols].
///
/// # Panics
/// When `r` is not a row, or `out` or `w.data` have another length than the shape says.
pub fn unpack_row(w: &Matrix<'_>, r: usize, out: &mut [f32]) {
    assert!(r < w.rows && out.len() == w.cols, "out: [cols]");
    let (block, bytes, unpack) = unpacking(w.ty);
    match w.layout {
        Layout::RowMajor => {
            let row = w.cols / block * bytes;
            unpack(&w.data[r * row..][..row], out);
        }
        Layout::ColMajor { stride, offset } => {
            for (c, o) in out.iter_mut().enumerate() {
                let at = (c * stride + offset + r) * bytes;
                unpack(&w.data[at..][..bytes], std::slice::from_mut(o));
            }
        }
    }
}

/// Values and bytes in a block, and its unpacking. Until the table of types has it: one value a block.
fn unpacking(ty: StoredType) -> (usize, usize, fn(&[u8], &mut [f32])) {
    match ty {
        StoredType::F32 => (1, 4, |s, d| {
            s.as_chunks()
                .0
                .iter()
                .zip(d)
                .for_each(|(s, d)| *d = f32::from_le_bytes(*s));
        }),
        StoredType::BF16 => (1, 2, |s, d| {
            let s = s.as_chunks().0.iter().zip(d);
            s.for_each(|(s, d)| *d = f32::from_bits(u32::from(u16::from_le_bytes(*s)) << 16));
        }),
        _ => unimplemented!("{ty:?}"),
    }
}

/// The order of every product.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut l = [0.0f32; 8];
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        l[i % 8] = a.mul_add(*b, l[i % 8]);
    }
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}
