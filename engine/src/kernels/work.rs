//! What the kernels of this process have done, counted as they do it: the numerator of every share of a limit.

use std::sync::atomic::{AtomicU64, Ordering};

/// Work so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Two a multiply-add of matrix products and of attention over what is visible; nothing else is counted.
    pub flop: u64,
    /// Stored weights and cached keys and values read, each once a call.
    pub bytes: u64,
}

static FLOP: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// The work of all threads so far.
pub fn work() -> Work {
    Work {
        flop: FLOP.load(Ordering::Relaxed),
        bytes: BYTES.load(Ordering::Relaxed),
    }
}

pub(super) fn add(flop: usize, bytes: usize) {
    FLOP.fetch_add(flop as u64, Ordering::Relaxed);
    BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
}

impl std::ops::Sub for Work {
    type Output = Self;

    /// The work done since.
    fn sub(self, earlier: Self) -> Self {
        Self {
            flop: self.flop - earlier.flop,
            bytes: self.bytes - earlier.bytes,
        }
    }
}
