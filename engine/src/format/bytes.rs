//! A range of bytes that lives in a memory map or in the program itself.

use std::fs::File;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use memmap2::{Advice, Mmap, UncheckedAdvice};

use crate::{Error, Result};

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
    /// All of a file, mapped.
    ///
    /// # Errors
    /// The file cannot be opened, or is no regular file.
    pub fn map(path: &Path) -> Result<Self> {
        // Asked of the path first: opening a pipe would wait for its other end.
        let metadata = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
        if !metadata.is_file() {
            let found = if metadata.is_dir() {
                "a folder"
            } else {
                "a device or pipe"
            };
            return Err(Error::input(path.display(), "path", found, "a file"));
        }
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        if metadata.len() == 0 {
            return Ok(Self::from_static(&[]));
        }
        // SAFETY: the map is read only and private. Rust cannot rule out that another program shortens or
        // rewrites the file meanwhile: as with every reader of mapped weights, a shortened file ends this
        // process with a bus error, and changed bytes are changed weights. Nothing read from the map is
        // trusted twice: counts and offsets are copied out of it and checked once, at opening.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(path, e))?;
        Ok(Self::from_map(Arc::new(map)))
    }

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

    /// Asks the system to begin reading these bytes from the disk. Of no effect where they are no map.
    pub fn read_ahead(&self) {
        if let Owner::Map(map) = &self.owner {
            // A hint: a system that has no such advice reads when the bytes are used.
            let _ = map.advise_range(Advice::WillNeed, self.range.start, self.range.len());
        }
    }

    /// Gives the memory of these bytes back; the next use reads the file again. Of no effect where they are no map.
    pub fn release(&self) {
        if let Owner::Map(map) = &self.owner {
            // SAFETY: the map is read only and private, so that its pages hold nothing but the file's bytes, and a page
            // that is gone is read from the file again.
            let _ = unsafe {
                map.unchecked_advise_range(
                    UncheckedAdvice::DontNeed,
                    self.range.start,
                    self.range.len(),
                )
            };
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
