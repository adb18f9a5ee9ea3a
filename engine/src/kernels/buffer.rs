//! Scratch memory on cache lines, kept by each thread between calls.

use std::cell::Cell;

/// A cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "read through the buffer's slice")] [f32; 16]);

/// Floats that start on a cache line and hold anything.
#[derive(Default)]
pub(super) struct Buffer(Vec<Line>);

impl Buffer {
    /// `n` floats of unspecified value.
    pub(super) fn room(&mut self, n: usize) -> &mut [f32] {
        let lines = n.div_ceil(16);
        if self.0.len() < lines {
            self.0.resize(lines, Line([0.0; 16]));
        }
        // SAFETY: a line is sixteen floats without padding, and there are enough lines.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), n) }
    }
}

/// Buffers of a thread. They are taken and given back, so that a call which starts inside another (a thread that
/// waits may run other work) finds its own.
pub(super) struct Pool(Cell<Vec<Buffer>>);

impl Pool {
    pub(super) const fn new() -> Self {
        Self(Cell::new(Vec::new()))
    }

    /// Runs `f` with a buffer.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut Buffer) -> R) -> R {
        let mut free = self.0.take();
        let mut buffer = free.pop().unwrap_or_default();
        self.0.set(free);
        let result = f(&mut buffer);
        let mut free = self.0.take();
        free.push(buffer);
        self.0.set(free);
        result
    }
}
