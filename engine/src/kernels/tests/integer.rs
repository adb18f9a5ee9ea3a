//! Products in integers of 16 and of eight bits.

use proptest::prelude::*;

use super::{Noise, bits, check_everywhere, isas, product, row_major};
use crate::format::StoredType;
use crate::kernels::matmul::matmuls_on;
use crate::kernels::{Isa, Layout, Matrix, Precision, Product, unpack_row};

const TYPES: [StoredType; 8] = [
    StoredType::Q4_0,
    StoredType::Q4_1,
    StoredType::Q5_0,
    StoredType::Q5_1,
    StoredType::Q8_0,
    StoredType::Q4_K,
    StoredType::Q5_K,
    StoredType::Q6_K,
];

const WIDTHS: [Precision; 2] = [Precision::Int16, Precision::Int8];

/// The greatest magnitude of an activation's integer where `ty` is multiplied in `precision`.
fn greatest(precision: Precision, ty: StoredType) -> f32 {
    match (precision, ty) {
        (Precision::Int16, _) | (_, StoredType::Q8_0) => 32767.0,
        _ => 127.0,
    }
}

/// x as integers of its strips, of at most `greatest`, and the strips' units.
fn rounded(x: &[f32], greatest: f32) -> (Vec<i32>, Vec<f32>) {
    let (mut codes, mut units) = (Vec::new(), Vec::new());
    for strip in x.chunks(32) {
        let most = strip.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let per_unit = greatest / most;
        codes.extend(
            strip
                .iter()
                .map(|v| (v * per_unit).round_ties_even() as i32),
        );
        units.push(most / greatest);
    }
    (codes, units)
}

/// Values of x that tell strips apart: magnitudes of many orders.
fn activations(noise: &mut Noise, n: usize) -> Vec<f32> {
    let mut x = noise.floats(n);
    for strip in x.chunks_mut(32) {
        let factor = (noise.float() * 12.0).exp2();
        strip.iter_mut().for_each(|v| *v *= factor);
    }
    x
}

/// Against f64 with the rounded activations; then every instruction set, 1 and 2 threads, and token by token, bit for bit.
fn check(w: Matrix<'_>, n: usize, precision: Precision, noise: &mut Noise) {
    let x = activations(noise, n * w.cols);
    let portable = product(Isa::Portable, &x, w, precision);
    let mut row = vec![0.0; w.cols];
    let (codes, units) = rounded(&x, greatest(precision, w.ty));
    for r in 0..w.rows {
        unpack_row(&w, r, &mut row);
        for t in 0..n {
            let (mut sum, mut size) = (0.0, 0.0);
            for (c, value) in row.iter().enumerate() {
                let i = t * w.cols + c;
                let product = f64::from(*value) * f64::from(units[i / 32]) * f64::from(codes[i]);
                sum += product;
                // A code and its offset may be far greater than the value that they make.
                size += product
                    .abs()
                    .max(f64::from(units[i / 32]) * f64::from(codes[i].abs()));
            }
            let error = (f64::from(portable[t * w.rows + r]) - sum).abs();
            assert!(error <= 2e-5 * size, "{}: off by {error} of {size}", w.ty);
        }
    }
    check_everywhere(&x, w, precision, &portable);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn integers_give_the_same_bits_everywhere_and_the_products_of_rounded_activations(
        ty in prop::sample::select(&TYPES[..]), precision in prop::sample::select(&WIDTHS[..]),
        rows in 1usize..90, blocks in 1usize..5, n in 1usize..20, step in 1usize..3, seed: u64,
    ) {
        let noise = &mut Noise(seed);
        let cols = blocks * ty.info().block;
        let data = noise.stored(ty, rows * step, cols);
        let layout = if step == 1 { Layout::RowMajor } else { Layout::Rows { step, first: step - 1 } };
        check(Matrix { ty, rows, cols, layout, data: &data, scales: None }, n, precision, noise);
    }
}

#[test]
fn long_rows_and_many_tokens_give_the_same_bits() {
    let noise = &mut Noise(5);
    for (ty, rows, cols, n) in [
        (StoredType::Q4_1, 70, 2336, 37),
        (StoredType::Q4_K, 48, 4096, 9),
        (StoredType::Q6_K, 17, 1280, 11),
        (StoredType::Q8_0, 130, 576, 600),
        (StoredType::Q5_0, 33, 672, 13),
    ] {
        let data = noise.stored(ty, rows, cols);
        let w = row_major(ty, rows, cols, &data);
        for precision in WIDTHS {
            check(w, n, precision, noise);
        }
    }
}

/// Codes and activations that are as large as can be: no sum leaves its integers.
#[test]
fn the_greatest_products_fit() {
    for (ty, precision) in TYPES.iter().flat_map(|ty| WIDTHS.map(|p| (*ty, p))) {
        let (rows, cols) = (34, 2 * ty.info().block);
        // All bits of the codes set, factors of one.
        let one = half::f16::ONE.to_le_bytes();
        let block: Vec<u8> = (0..ty.info().bytes)
            .map(|i| match (ty, i) {
                (StoredType::Q6_K, 192..208) => 1,
                (StoredType::Q6_K, 208..) => one[i - 208],
                (StoredType::Q8_0, 2..) => 0x80,
                (
                    StoredType::Q4_1 | StoredType::Q5_1 | StoredType::Q4_K | StoredType::Q5_K,
                    0..4,
                )
                | (_, 0..2)
                    if ty != StoredType::Q6_K =>
                {
                    one[i % 2]
                }
                _ => 0xff,
            })
            .collect();
        let data = block.repeat(2 * rows);
        let w = row_major(ty.to_owned(), rows, cols, &data);
        for x in [1.0, -1.0] {
            let x = vec![x; 7 * cols];
            let y = product(Isa::Portable, &x, w, precision);
            let mut row = vec![0.0; cols];
            unpack_row(&w, 0, &mut row);
            let expected = f64::from(x[0]) * row.iter().map(|v| f64::from(*v)).sum::<f64>();
            let error = (f64::from(y[0]) - expected).abs();
            assert!(
                error <= 1e-4 * expected.abs(),
                "{ty} {precision:?}: {} for {expected}",
                y[0]
            );
            check_everywhere(&x, w, precision, &y);
        }
    }
}

/// The order of the sums, in a plain loop over Q4_1.
#[test]
fn strips_are_added_in_ascending_order() {
    let noise = &mut Noise(6);
    let (ty, cols) = (StoredType::Q4_1, 160);
    let data = noise.stored(ty, 1, cols);
    let x = activations(noise, cols);
    for precision in WIDTHS {
        let (codes, units) = rounded(&x, greatest(precision, ty));
        let mut y = 0.0f32;
        for (i, block) in data.chunks_exact(20).enumerate() {
            let half = |at: usize| half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
            let x = &codes[32 * i..][..32];
            let code = |c: usize| i32::from(block[4 + c % 16] >> (c / 16 * 4) & 15);
            let exact: i32 = (0..32).map(|c| code(c) * x[c]).sum();
            y = (exact as f32).mul_add(half(0) * units[i], y);
            y = half(2).mul_add(units[i] * x.iter().sum::<i32>() as f32, y);
        }
        let w = row_major(ty, 1, cols, &data);
        let found = product(Isa::Portable, &x, w, precision);
        assert_eq!(bits(&found), bits(&[y]));
    }
}

/// Types without codes are multiplied as ever, also beside one that has some.
#[test]
fn what_is_no_integer_stays_f32() {
    let noise = &mut Noise(7);
    let (cols, n) = (256, 5);
    let x = noise.floats(n * cols);
    let stored = [StoredType::BF16, StoredType::Q4_K, StoredType::F32];
    let data = stored.map(|ty| noise.stored(ty, 20, cols));
    let matrices = [0, 1, 2].map(|i| row_major(stored[i], 20, cols, &data[i]));
    let mut together = [(); 3].map(|()| vec![0.0; n * 20]);
    let precision = Precision::Int8;
    let products = matrices.into_iter().zip(&mut together);
    let mut products: Vec<_> = products.map(|(w, y)| Product { w, precision, y }).collect();
    matmuls_on(Isa::current(), &x, n, &mut products);
    for ((w, y), same) in matrices.into_iter().zip(&together).zip([true, false, true]) {
        let f32 = product(Isa::current(), &x, w, Precision::F32);
        assert_eq!(bits(y) == bits(&f32), same, "{}", w.ty);
        let alone = product(Isa::current(), &x, w, precision);
        assert_eq!(bits(y), bits(&alone));
    }
}

#[test]
fn what_is_no_number_reaches_the_product() {
    let noise = &mut Noise(8);
    let data = noise.stored(StoredType::Q5_0, 3, 64);
    let w = row_major(StoredType::Q5_0, 3, 64, &data);
    let mut x = noise.floats(2 * 64);
    x[70] = f32::NAN;
    for (isa, precision) in isas().into_iter().flat_map(|isa| WIDTHS.map(|p| (isa, p))) {
        let y = product(isa, &x, w, precision);
        assert!(y[..3].iter().all(|v| v.is_finite()) && y[3..].iter().all(|v| v.is_nan()));
    }
}
