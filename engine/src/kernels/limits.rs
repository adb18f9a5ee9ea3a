//! What this machine can do at most, measured: the bounds that kernels are held against.

use std::time::{Duration, Instant};

use super::isa::Isa;
use super::simd::{Kernel, Simd};

/// f32 multiply-add peak of the calling thread with the instruction set in use, in FLOP/s (two a multiply-add): the best
/// of several short runs from registers.
pub fn fma_peak() -> f64 {
    (0..20)
        .map(|_| fma_rate(Duration::from_millis(2)))
        .fold(0.0, f64::max)
}

/// f32 multiply-add rate of the calling thread over about `time`, in FLOP/s.
pub fn fma_rate(time: Duration) -> f64 {
    let (start, mut flop) = (Instant::now(), 0);
    while start.elapsed() < time {
        flop += Isa::current().run(Fma { rounds: 10_000 });
    }
    flop as f64 / start.elapsed().as_secs_f64()
}

/// Rate at which the calling thread reads memory that no cache holds, in bytes/s: the best of three passes over
/// 256 MiB.
pub fn read_rate() -> f64 {
    let data = vec![1u64; 32 << 20];
    let pass = |_| {
        let start = Instant::now();
        let sum = data.iter().fold(0u64, |sum, v| sum.wrapping_add(*v));
        std::hint::black_box(sum);
        size_of_val(&data[..]) as f64 / start.elapsed().as_secs_f64()
    };
    (0..3).map(pass).fold(0.0, f64::max)
}

/// [`fma_peak`] and [`read_rate`] of `threads` threads together (0: one a core): FLOP/s and bytes/s.
pub fn machine(threads: usize) -> (f64, f64) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if threads == 0 { cores } else { threads };
    let together = |rate: fn() -> f64| {
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(rate)).collect();
            let rates = running.into_iter().map(|t| t.join().unwrap_or(0.0));
            rates.sum::<f64>()
        })
    };
    (together(fma_peak), together(read_rate))
}

/// Independent chains of multiply-adds, enough to hide their latency.
struct Fma {
    rounds: usize,
}

impl Kernel for Fma {
    /// FLOP done.
    type Output = usize;

    #[inline(always)]
    unsafe fn run<V: Simd>(self) -> usize {
        const CHAINS: usize = 12;
        // SAFETY: the caller has the instruction set; `lanes` holds the longest vector.
        unsafe {
            let factor = V::splat(std::hint::black_box(0.999));
            let mut acc = [V::splat(1.0); CHAINS];
            for _ in 0..self.rounds {
                for acc in &mut acc {
                    *acc = acc.fma(factor, factor);
                }
            }
            for acc in acc {
                let mut lanes = [0.0f32; 16];
                acc.store(lanes.as_mut_ptr());
                std::hint::black_box(lanes);
            }
        }
        self.rounds * CHAINS * V::LANES * 2
    }
}
