//! From logits to a token on one thread, each beside its bound: the time in which the logits are read from memory.
//!
//! `cargo bench -p fathom-harness --bench sampling [-- FILTER]`. Bytes of logits are criterion's throughput.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fathom_engine::kernels::limits;
use fathom_harness::backend::sample::{Sampler, argmax, logprob, top};

/// Logits with a few likely tokens, as models give them: the same in every run.
fn logits(n: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    // Of a uniform u, -3 ln u has an exponential tail.
    (0..n).map(|_| -3.0 * (next() + 1e-7).ln()).collect()
}

fn sampling(c: &mut Criterion) {
    let rate = limits::read_rate();
    // SmolLM2's vocabulary and Gemma 3's.
    for n in [49_152, 262_144] {
        let logits = logits(n);
        let bytes = size_of_val(&logits[..]);
        eprintln!(
            "sampling/{n}: bound {:.1} us ({bytes} bytes)",
            bytes as f64 / rate * 1e6
        );
        let mut group = c.benchmark_group(format!("sampling/{n}"));
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function("argmax", |b| b.iter(|| argmax(black_box(&logits))));
        group.bench_function("logprob", |b| b.iter(|| logprob(black_box(&logits), 7)));
        for k in [1, 20, 100] {
            group.bench_function(format!("top {k}"), |b| {
                b.iter(|| top(black_box(&logits), k))
            });
        }
        for top_p in [1.0, 0.95] {
            let mut sampler = Sampler::new(1.0, top_p, 1);
            group.bench_function(format!("temperature 1, top_p {top_p}"), |b| {
                b.iter(|| sampler.choose(black_box(&logits)));
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = sampling
}
criterion_main!(benches);
