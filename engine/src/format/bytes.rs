//! A range of bytes that lives in a memory map or in the program itself.

use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::Mmap;

/// Shared, immutable bytes. Cloning copies a pointer.
#[derive(Clone)]
pub struct Bytes {
    owner: Owner,
    range: Range<usize>,
}

#[derive(Clone)]
enum Owner {
    Map(Arc<Mmap>),
    Static(&'static [u8]),
    Heap(Arc<Vec<u8>>),
}

impl Bytes {
    /// All of a mapped file.
    pub fn from_map(map: Arc<Mmap>) -> Self {
        let range = 0..map.len();
        Self {
            owner: Owner::Map(map),
            range,
        }
    }

    /// Bytes that are part of the program.
    pub fn from_static(bytes: &'static [u8]) -> Self {
        Self {
            owner: Owner::Static(bytes),
            range: 0..bytes.len(),
        }
    }

    /// Bytes on the heap (tests, small files).
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self {
            owner: Owner::Heap(Arc::new(bytes)),
            range,
        }
    }

    /// A part of these bytes; `None` when it does not lie inside.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        let start = self.range.start.checked_add(range.start)?;
        let end = self.range.start.checked_add(range.end)?;
        (start <= end && end <= self.range.end).then(|| Self {
            owner: self.owner.clone(),
            range: start..end,
        })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all: &[u8] = match &self.owner {
            Owner::Map(map) => map,
            Owner::Static(bytes) => bytes,
            Owner::Heap(bytes) => bytes,
        };
        &all[self.range.clone()]
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}
