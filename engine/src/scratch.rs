//! Room on the disk for what does not fit in memory: hidden states and the keys and values of layers that are not
//! being worked on.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Error, Result};

/// A file without a name, gone with the process. Cloning copies a pointer.
#[derive(Clone, Debug)]
pub struct Scratch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: File,
    dir: PathBuf,
    room: Mutex<Room>,
}

#[derive(Debug, Default)]
struct Room {
    /// Bytes of the file.
    end: u64,
    /// Places that are free again, by their size in numbers.
    free: HashMap<usize, Vec<u64>>,
    /// Bytes written and read so far.
    moved: u64,
}

/// A place in the file that holds so many numbers; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Extent {
    scratch: Scratch,
    at: u64,
    len: usize,
}

impl Scratch {
    /// A scratch file in `dir`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn new(dir: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(dir).map_err(|e| Error::io(dir, e))?;
        Ok(Self(Arc::new(Inner {
            file,
            dir: dir.to_owned(),
            room: Mutex::default(),
        })))
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.room().end
    }

    /// Bytes written to and read from the file so far.
    pub fn moved(&self) -> u64 {
        self.room().moved
    }

    /// Writes numbers to a place of their own.
    pub(crate) fn put(&self, x: &[f32]) -> Result<Extent> {
        let at = {
            let mut room = self.room();
            let free = room.free.get_mut(&x.len()).and_then(Vec::pop);
            free.unwrap_or_else(|| {
                let at = room.end;
                room.end += size_of_val(x) as u64;
                at
            })
        };
        let extent = Extent {
            scratch: self.clone(),
            at,
            len: x.len(),
        };
        extent.put(x)?;
        Ok(extent)
    }

    fn room(&self) -> std::sync::MutexGuard<'_, Room> {
        self.0.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, e: std::io::Error) -> Error {
        Error::io(&self.0.dir.join("(scratch file)"), e)
    }
}

impl Extent {
    /// Writes other numbers, as many, to the same place.
    pub(crate) fn put(&self, x: &[f32]) -> Result<()> {
        assert_eq!(x.len(), self.len, "an extent keeps its size");
        let scratch = &self.scratch;
        let written = scratch
            .0
            .file
            .write_all_at(bytemuck::cast_slice(x), self.at);
        scratch.room().moved += size_of_val(x) as u64;
        written.map_err(|e| scratch.error(e))
    }

    /// Reads the numbers.
    pub(crate) fn get(&self) -> Result<Vec<f32>> {
        let mut x = vec![0.0; self.len];
        let scratch = &self.scratch;
        let bytes = bytemuck::cast_slice_mut(&mut x);
        let read = scratch.0.file.read_exact_at(bytes, self.at);
        scratch.room().moved += bytes.len() as u64;
        read.map_err(|e| scratch.error(e))?;
        Ok(x)
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        let mut room = self.scratch.room();
        room.free.entry(self.len).or_default().push(self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_got_and_places_are_used_again() -> Result<()> {
        let dir = std::env::temp_dir();
        let scratch = Scratch::new(&dir)?;
        let first = scratch.put(&[1.0, 2.0])?;
        let second = scratch.put(&[3.0, 4.0])?;
        assert_eq!(first.get()?, [1.0, 2.0]);
        drop(first);
        let third = scratch.put(&[5.0, 6.0])?;
        assert_eq!(scratch.size(), 16);
        assert_eq!(
            (second.get()?, third.get()?),
            (vec![3.0, 4.0], vec![5.0, 6.0])
        );
        third.put(&[7.0, 8.0])?;
        assert_eq!(third.get()?, [7.0, 8.0]);
        Ok(())
    }
}
