//! Files that survive a kill at any moment: a lock, lines that are appended whole, files that are replaced whole.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::run::folder::LOCK;
use crate::{Error, Result};

/// Held while a process writes a folder; the system frees it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    /// Closing the file is not enough: a process that is being started shares it until it has become another program.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl Lock {
    /// Takes the folder's lock, creating the folder where there is none.
    ///
    /// # Errors
    /// When another process holds it, or the folder cannot be written.
    pub fn take(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|e| Error::write(dir, e))?;
        let path = dir.join(LOCK);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| Error::write(&path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(Error::Unfinished(format!(
                "{}: another process is writing this run",
                dir.display()
            ))),
            Err(TryLockError::Error(e)) => Err(Error::write(&path, e)),
        }
    }
}

/// A file of JSON lines that is only ever appended to.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens for appending and cuts a last line that a kill has torn.
    ///
    /// # Errors
    /// When the file cannot be opened, read or written.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(|e| Error::write(path, e))?;
        let whole = whole_lines(&mut file).map_err(|e| Error::read(path, e))?;
        file.set_len(whole)
            .and_then(|()| file.seek(SeekFrom::Start(whole)))
            .map_err(|e| Error::write(path, e))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
        })
    }

    /// Appends one line. When this returns, the line is on the disk.
    ///
    /// # Errors
    /// When the disk is full or gone; a part of a line is then cut by the next [`Journal::open`].
    pub fn append<T: Serialize>(&mut self, record: &T) -> Result<()> {
        let mut line = serde_json::to_vec(record)
            .map_err(|e| Error::Unfinished(format!("{}: {e}", self.path.display())))?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
            .map_err(|e| Error::write(&self.path, e))
    }
}

/// Bytes up to and with the last line end.
fn whole_lines(file: &mut File) -> std::io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut block = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(i) = part.iter().rposition(|b| *b == b'\n') {
            return Ok(start + i as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Writes a file so that a reader sees the old one or the new one, never a part of it.
///
/// # Errors
/// When the disk is full or the folder cannot be written.
pub fn replace_file(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let write = || {
        let mut out = std::io::BufWriter::new(File::create(&part)?);
        fill(&mut out)?;
        out.flush()?;
        out.get_ref().sync_data()?;
        std::fs::rename(&part, path)
    };
    write().map_err(|e| {
        let _ = std::fs::remove_file(&part);
        Error::write(path, e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_cut_and_the_whole_ones_stay() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("a.jsonl");
        for (before, kept) in [
            ("", ""),
            ("{\"a\":1", ""),
            ("{\"a\":1}\n", "{\"a\":1}\n"),
            ("{\"a\":1}\n{\"b\"", "{\"a\":1}\n"),
        ] {
            std::fs::write(&path, before)?;
            Journal::open(&path)?.append(&7)?;
            assert_eq!(std::fs::read_to_string(&path)?, format!("{kept}7\n"));
        }
        let long = format!("1\n{}", "x".repeat(10_000));
        std::fs::write(&path, long)?;
        Journal::open(&path)?;
        assert_eq!(std::fs::read_to_string(&path)?, "1\n");
        Ok(())
    }

    #[test]
    fn the_lock_is_exclusive_until_dropped() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let held = Lock::take(dir.path())?;
        let second = Lock::take(dir.path())
            .map(|_| ())
            .map_err(|e| e.to_string());
        assert!(second.is_err_and(|e| e.contains("another process")));
        drop(held);
        Lock::take(dir.path())?;
        Ok(())
    }
}
