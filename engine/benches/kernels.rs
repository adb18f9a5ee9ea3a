//! The kernels on one thread, each beside its bound: FLOP at the multiply-add peak, or bytes at the rate of reading
//! memory.
//!
//! `cargo bench -p fathom-engine --bench kernels [-- FILTER]`; `FATHOM_ISA` chooses the instruction set. FLOP (two a
//! multiply-add) are criterion's elements.

use std::hint::black_box;
use std::ops::Range;
use std::sync::OnceLock;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fathom_engine::format::StoredType;
use fathom_engine::kernels::{
    self, KV_BLOCK, KvBlock, KvBlocks, Layout, Matrix, Precision, Product, Scores, Scratch,
};

/// FLOP/s and bytes/s of this machine, measured once.
fn limits() -> (f64, f64) {
    static LIMITS: OnceLock<(f64, f64)> = OnceLock::new();
    *LIMITS.get_or_init(|| {
        let (flop, bytes) = (kernels::limits::fma_peak(), kernels::limits::read_rate());
        match kernels::isa() {
            Ok(isa) => eprintln!(
                "{isa}: {:.1} GFLOP/s, {:.1} GB/s read",
                flop / 1e9,
                bytes / 1e9
            ),
            Err(error) => eprintln!("{error}"),
        }
        (flop, bytes)
    })
}

/// Says what a bench cannot beat.
fn bound(name: &str, flop: usize, bytes: usize) {
    let (peak, rate) = limits();
    let (work, memory) = (flop as f64 / peak * 1e6, bytes as f64 / rate * 1e6);
    eprintln!(
        "{name}: bound {:.1} us ({work:.1} by FLOP, {memory:.1} by bytes)",
        work.max(memory)
    );
}

/// Numbers in -0.5 .. 0.5, the same in every run.
fn numbers(n: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..n).map(|_| next()).collect()
}

/// Stored values whose scales are small numbers.
fn stored(ty: StoredType, rows: usize, cols: usize) -> Vec<u8> {
    let info = ty.info();
    let n_bytes = ty.bytes_for(cols).map_or(0, |bytes| rows * bytes);
    let mut data: Vec<u8> = (0..n_bytes).map(|i| (i % 61) as u8).collect();
    // The upper byte of every half that is a scale; for types without blocks, of the value.
    let scales: &[usize] = match ty {
        StoredType::F32 => &[3],
        StoredType::Q6_K => &[209],
        StoredType::F16
        | StoredType::BF16
        | StoredType::Q8_0
        | StoredType::Q4_0
        | StoredType::Q5_0 => &[1],
        StoredType::Q4_1 | StoredType::Q5_1 | StoredType::Q4_K | StoredType::Q5_K => &[1, 3],
        _ => &[],
    };
    for block in data.chunks_exact_mut(info.bytes) {
        scales.iter().for_each(|&at| block[at] = 0x2c);
    }
    data
}

/// Matrices that one token passes: decoding.
const DECODED: [(StoredType, usize, usize, usize); 8] = [
    (StoredType::Q4_1, 1536, 576, 1),
    (StoredType::Q4_0, 1536, 576, 1),
    (StoredType::Q5_0, 2048, 640, 1),
    (StoredType::Q8_0, 8192, 576, 1),
    (StoredType::Q4_K, 8192, 2048, 1),
    (StoredType::Q5_K, 2048, 2048, 1),
    (StoredType::Q6_K, 8192, 2048, 1),
    (StoredType::BF16, 8192, 2048, 1),
];

fn matmul(c: &mut Criterion) {
    let shapes = [
        (StoredType::F32, 576, 576, 512),
        (StoredType::BF16, 576, 576, 512),
        (StoredType::Q8_0, 576, 576, 512),
        (StoredType::Q4_1, 192, 576, 512),
        (StoredType::Q4_1, 576, 576, 512),
        (StoredType::Q4_1, 1536, 576, 512),
        (StoredType::Q4_1, 576, 1536, 512),
        (StoredType::Q4_K, 2048, 2048, 512),
        (StoredType::Q6_K, 2048, 2048, 512),
        (StoredType::Q4_1, 1536, 576, 16),
    ];
    products(c, "matmul", Precision::F32, &shapes);
    products(c, "decoding", Precision::F32, &DECODED);
}

/// The products of [`matmul`] in integers of 16 bits: the bound is still that of f32.
fn integers(c: &mut Criterion) {
    let shapes = [
        (StoredType::Q4_1, 192, 576, 512),
        (StoredType::Q4_1, 1536, 576, 512),
        (StoredType::Q4_1, 576, 1536, 512),
        (StoredType::Q5_0, 2048, 640, 512),
        (StoredType::Q4_K, 2048, 2048, 512),
        (StoredType::Q6_K, 2048, 2048, 512),
        (StoredType::Q8_0, 2048, 2048, 512),
        (StoredType::Q4_1, 1536, 576, 16),
    ];
    for precision in [Precision::Int16, Precision::Int8] {
        products(c, precision.name(), precision, &shapes);
        // Seven: BF16 is no integer.
        let name = format!("decoding, {}", precision.name());
        products(c, &name, precision, &DECODED[..7]);
    }
}

/// Products of matrices, [rows, cols], with n tokens.
fn products(
    c: &mut Criterion,
    name: &str,
    precision: Precision,
    shapes: &[(StoredType, usize, usize, usize)],
) {
    let mut group = c.benchmark_group(name);
    for &(ty, rows, cols, n) in shapes {
        let data = stored(ty, rows, cols);
        let w = Matrix {
            ty,
            rows,
            cols,
            layout: Layout::RowMajor,
            data: &data,
            scales: None,
        };
        let (x, mut y) = (numbers(n * cols), vec![0.0; n * rows]);
        let (shape, flop) = (format!("{ty}/{rows}x{cols}/{n}"), 2 * n * rows * cols);
        bound(&format!("{name}/{shape}"), flop, data.len());
        group.throughput(Throughput::Elements(flop as u64));
        group.bench_function(shape, |b| {
            b.iter(|| {
                let y = &mut y[..];
                kernels::matmuls(black_box(&x), n, &mut [Product { w, precision, y }]);
            });
        });
    }
    group.finish();
}

/// By head size, length and rows, which are three heads of consecutive tokens; the last sees all.
fn attention(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention");
    for (head_dim, length, rows) in [
        (64, 512, 96),
        (64, 4096, 96),
        (128, 4096, 96),
        (256, 4096, 96),
        (64, 16_384, 96),
        (64, 4096, 3),
    ] {
        let block = numbers(KV_BLOCK * head_dim);
        let blocks = (0..length / KV_BLOCK).map(|index| KvBlock {
            index,
            k: &block,
            v: &block,
            rows: 0..rows,
        });
        let blocks: Vec<_> = blocks.collect();
        let kv = KvBlocks {
            blocks: &blocks,
            v_stride: head_dim,
        };
        let visible: Vec<Range<usize>> =
            (0..rows).map(|i| 0..length - (rows - 1 - i) / 3).collect();
        let (q, mut out) = (numbers(rows * head_dim), vec![0.0; rows * head_dim]);
        let scores = Scores {
            scale: (head_dim as f32).powf(-0.5),
            softcap: None,
        };
        let flop: usize = visible.iter().map(|seen| 4 * seen.len() * head_dim).sum();
        let name = format!("{head_dim}/{length}/{rows}");
        bound(&format!("attention/{name}"), flop, length * head_dim * 8);
        group.throughput(Throughput::Elements(flop as u64));
        group.bench_function(name, |b| {
            let mut scratch = Scratch::default();
            b.iter(|| kernels::attend(&q, &visible, &kv, &scores, &[], &mut out, &mut scratch));
        });
    }
    group.finish();
}

fn rows(c: &mut Criterion) {
    let mut group = c.benchmark_group("rows");
    let (n, dim) = (64, 1536);
    let (x, weight) = (numbers(n * dim), numbers(dim));
    let mut out = x.clone();
    let bytes = size_of_val(&x[..]);
    // FLOP of an e^x: ten multiply-adds and four more.
    let exp = 24 * n * dim;
    group.throughput(Throughput::Bytes(bytes as u64));
    bound("rows/rms_norm", 5 * n * dim, bytes);
    group.bench_function("rms_norm", |b| {
        b.iter(|| kernels::rms_norm(black_box(&x), dim, Some(&weight), false, 1e-5, &mut out));
    });
    bound("rows/silu_mul", exp + 3 * n * dim, 2 * bytes);
    group.bench_function("silu_mul", |b| {
        b.iter(|| kernels::silu_mul(&mut out, black_box(&x)))
    });
    bound("rows/softmax", exp + 3 * n * dim, bytes);
    group.bench_function("softmax", |b| {
        b.iter(|| kernels::softmax(black_box(&mut out)))
    });
    bound("rows/log_sum_exp", exp + 2 * n * dim, bytes);
    group.bench_function("log_sum_exp", |b| {
        b.iter(|| kernels::log_sum_exp(black_box(&x)))
    });
    group.finish();
}

/// One token's product is unpacking and little else.
fn unpack(c: &mut Criterion) {
    let mut group = c.benchmark_group("unpack");
    for &ty in StoredType::ALL {
        let (rows, cols) = (256, 1024);
        let data = stored(ty, rows, cols);
        let w = Matrix {
            ty,
            rows,
            cols,
            layout: Layout::RowMajor,
            data: &data,
            scales: None,
        };
        let (x, mut y) = (numbers(cols), vec![0.0; rows]);
        bound(&format!("unpack/{ty}"), 2 * rows * cols, data.len());
        group.throughput(Throughput::Bytes(data.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(ty), |b| {
            b.iter(|| kernels::matmul(black_box(&x), 1, &w, &mut y));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = matmul, integers, attention, rows, unpack
}
criterion_main!(benches);
