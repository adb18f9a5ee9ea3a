//! Matrix products of every stored type.

use proptest::prelude::*;

use super::{Noise, bits, check_everywhere, row_major};
use crate::format::StoredType;
use crate::kernels::matmul::matmuls_on;
use crate::kernels::team::Team;
use crate::kernels::{Isa, Layout, Matrix, Precision, Product, Scales, matmul, unpack_row};

/// The order of every product, in a plain loop.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut l = [0.0f32; 8];
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        l[i % 8] = a.mul_add(*b, l[i % 8]);
    }
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
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
    check_everywhere(&x, *w, Precision::F32, &expected);
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
        let rows = rows.next_multiple_of(ty.interleaved());
        let data = noise.stored(ty, rows, cols);
        check_matmul(&row_major(ty, rows, cols, &data), n, noise);
    }

    #[test]
    fn products_of_columns_match_the_plain_loop(
        ty in prop::sample::select(&[StoredType::F32, StoredType::F16, StoredType::BF16][..]),
        rows in 1usize..50, cols in 1usize..300, n in 1usize..20, before in 0usize..9, after in 0usize..9, seed: u64,
    ) {
        let noise = &mut Noise(seed);
        let stride = before + rows + after;
        let data = noise.stored(ty, stride, cols);
        let layout = Layout::ColMajor { stride, offset: before };
        check_matmul(&Matrix { ty, rows, cols, layout, data: &data, scales: None }, n, noise);
    }
}

#[test]
fn scales_multiply_their_blocks_and_rows_alternate() {
    let noise = &mut Noise(3);
    let (stored, cols) = (14, 96);
    for (ty, block) in [
        (StoredType::F8_E4M3, (3, 40)),
        (StoredType::F4_E2M1, (1, 32)),
    ] {
        let data = noise.stored(ty, stored, cols);
        let per_row = cols.div_ceil(block.1);
        let factors = noise.floats(stored.div_ceil(block.0) * per_row);
        let bytes: Vec<u8> = factors.iter().flat_map(|f| f.to_le_bytes()).collect();
        let scales = Scales {
            ty: StoredType::F32,
            block,
            first: (0, 0),
            across: per_row,
            data: &bytes,
        };
        for (layout, rows, row) in [
            (Layout::RowMajor, stored, (0, 1)),
            (Layout::Rows { step: 2, first: 1 }, stored / 2, (1, 2)),
        ] {
            let w = Matrix {
                ty,
                rows,
                cols,
                layout,
                data: &data,
                scales: Some(scales),
            };
            let (mut plain, mut scaled) = (vec![0.0; stored * cols], vec![0.0; cols]);
            ty.unpack(&data, &mut plain);
            for r in 0..rows {
                unpack_row(&w, r, &mut scaled);
                let at = row.0 + row.1 * r;
                for (c, v) in scaled.iter().enumerate() {
                    let factor = factors[at / block.0 * per_row + c / block.1];
                    assert_eq!(*v, plain[at * cols + c] * factor, "{ty}: {r}, {c}");
                }
            }
            check_matmul(&w, 5, noise);
        }
        // Input-major, and a part of the rows that the factors are of, beginning inside of a block.
        if ty.info().block == 1 {
            let (from, inputs, offset, rows) = (4, 9, 5, 70);
            let w = Matrix {
                ty,
                rows,
                cols: inputs,
                layout: Layout::ColMajor {
                    stride: cols,
                    offset,
                },
                data: &data[from * cols..],
                scales: Some(Scales {
                    first: (from, 0),
                    ..scales
                }),
            };
            let (mut plain, mut scaled) = (vec![0.0; stored * cols], vec![0.0; inputs]);
            ty.unpack(&data, &mut plain);
            for r in 0..rows {
                unpack_row(&w, r, &mut scaled);
                for (c, v) in scaled.iter().enumerate() {
                    let (at, col) = (from + c, offset + r);
                    let factor = factors[at / block.0 * per_row + col / block.1];
                    assert_eq!(*v, plain[at * cols + col] * factor, "{ty}: {r}, {c}");
                }
            }
            check_matmul(&w, 5, noise);
        }
        let w = Matrix {
            ty: StoredType::Q4_1,
            rows: 5,
            cols: 64,
            layout: Layout::Rows { step: 2, first: 0 },
            data: &noise.stored(StoredType::Q4_1, 9, 64),
            scales: None,
        };
        check_matmul(&w, 3, noise);
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
        let data = noise.stored(ty, rows, cols);
        check_matmul(&row_major(ty, rows, cols, &data), n, noise);
    }
}

#[test]
fn products_are_those_of_f64_to_rounding() {
    let noise = &mut Noise(2);
    for &ty in StoredType::ALL {
        let (rows, cols, n) = (32, 2048, 3);
        let data = noise.stored(ty, rows, cols);
        let w = row_major(ty, rows, cols, &data);
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

#[test]
fn several_products_at_once_are_those_alone() {
    let noise = &mut Noise(4);
    let cols = 512;
    let shapes = [
        (StoredType::Q4_1, 96),
        (StoredType::Q6_K, 40),
        (StoredType::F16, 33),
        (StoredType::Q4_1, 0),
    ];
    let data: Vec<_> = shapes
        .iter()
        .map(|&(ty, rows)| noise.stored(ty, rows, cols))
        .collect();
    let weights: Vec<_> = shapes
        .iter()
        .zip(&data)
        .map(|(&(ty, rows), data)| row_major(ty, rows, cols, data))
        .collect();
    for n in [1, 2, 9, 40] {
        let x = noise.floats(n * cols);
        let mut together: Vec<_> = shapes.iter().map(|s| vec![f32::NAN; n * s.1]).collect();
        let products = weights.iter().zip(&mut together);
        let precision = Precision::F32;
        let mut products: Vec<_> = products
            .map(|(&w, y)| Product { w, precision, y })
            .collect();
        Team::new(2)
            .unwrap()
            .install(|| matmuls_on(Isa::current(), &x, n, &mut products));
        for (w, together) in weights.iter().zip(&together) {
            let mut alone = vec![f32::NAN; n * w.rows];
            matmul(&x, n, w, &mut alone);
            assert_eq!(bits(together), bits(&alone), "{n} tokens, {w:?}");
        }
    }
}
