//! The cache on disk, laid out as `huggingface_hub` has it, so that either finds what the other fetched.
//!
//! ```text
//! HF_HUB_CACHE                        or HF_HOME/hub, or ~/.cache/huggingface/hub
//!   models--OWNER--NAME/
//!     blobs/HASH                      contents by their hash
//!     blobs/HASH.incomplete           what has come so far
//!     snapshots/COMMIT/PATH           -> ../../blobs/HASH
//!     refs/REVISION                   its commit
//!     trees/COMMIT.json               the commit's listing
//!   .locks/models--OWNER--NAME/HASH.lock
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fetch::digest::Digest;
use crate::fetch::listing::{Entry, Listing, is_commit};
use crate::fetch::patience::sleep;
use crate::fetch::source::Source;
use crate::run::journal::replace_file;
use crate::stop::Stop;
use crate::{Error, Result};

/// Held locks are looked at this often.
const LOCK_PAUSE: Duration = Duration::from_millis(200);
/// Lock of what is no blob: listings and refs.
const BOOKS: &str = "fathom";

/// One model's part of the cache.
#[derive(Clone, Debug)]
pub struct Repo {
    dir: PathBuf,
    locks: PathBuf,
}

/// A lock; the system frees it when the process ends, however it ends.
#[derive(Debug)]
pub struct Held(#[allow(dead_code)] File);

impl Repo {
    /// Of a model in a cache's folder.
    pub fn new(cache: &Path, source: &Source) -> Self {
        let name = format!("models--{}--{}", source.owner, source.name);
        Self {
            locks: cache.join(".locks").join(&name),
            dir: cache.join(name),
        }
    }

    /// The repo whose folder this is.
    pub fn at(dir: &Path) -> Self {
        let name = dir.file_name().unwrap_or_default();
        Self {
            locks: dir.with_file_name(".locks").join(name),
            dir: dir.to_path_buf(),
        }
    }

    /// The model's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where contents stand.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs").join(digest.hex())
    }

    /// Where contents stand while they come.
    pub fn part(&self, digest: &Digest) -> PathBuf {
        self.dir
            .join("blobs")
            .join(format!("{}.incomplete", digest.hex()))
    }

    /// A commit's files, under their names.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.dir.join("snapshots").join(commit)
    }

    /// Bytes of a blob that have come; `None` when it is complete, with its right size.
    pub fn missing(&self, entry: &Entry) -> Option<u64> {
        let size = |path: PathBuf| std::fs::metadata(path).ok().map(|m| m.len());
        if size(self.blob(&entry.digest)) == Some(entry.size) {
            return None;
        }
        Some(size(self.part(&entry.digest)).unwrap_or(0).min(entry.size))
    }

    /// Waits for the lock of a blob. `huggingface_hub` takes the same one. `waiting` is called once if it is held.
    ///
    /// # Errors
    /// When the lock's file cannot be made, or somebody asked to stop.
    pub fn lock(&self, digest: &Digest, stop: &Stop, waiting: &mut dyn FnMut()) -> Result<Held> {
        self.lock_named(digest.hex(), stop, waiting)
    }

    fn lock_named(&self, name: &str, stop: &Stop, waiting: &mut dyn FnMut()) -> Result<Held> {
        make_dir(&self.locks)?;
        let path = self.locks.join(format!("{name}.lock"));
        let mut waited = false;
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(|e| Error::write(&path, e))?;
            match file.try_lock() {
                // Others remove the file when they let go: a lock on a file without its name holds nobody off.
                Ok(()) if is_named(&file, &path) => return Ok(Held(file)),
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => return Err(Error::write(&path, e)),
            }
            if !std::mem::replace(&mut waited, true) {
                waiting();
            }
            sleep(LOCK_PAUSE, stop)?;
        }
    }

    /// Gives a verified blob its name in a commit's snapshot.
    ///
    /// # Errors
    /// When the snapshot cannot be written.
    pub fn link(&self, commit: &str, entry: &Entry, stop: &Stop) -> Result<()> {
        let path = self.snapshot(commit).join(&entry.path);
        let up = "../".repeat(entry.path.split('/').count() + 1);
        let target = PathBuf::from(format!("{up}blobs/{}", entry.digest.hex()));
        if std::fs::read_link(&path).is_ok_and(|to| to == target) {
            return Ok(());
        }
        make_dir(path.parent().unwrap_or(&self.dir))?;
        let _books = self.lock_named(BOOKS, stop, &mut || {})?;
        let part = self.dir.join("snapshots").join(format!(".{commit}.part"));
        let _ = std::fs::remove_file(&part);
        // A relative link is right once it stands at its final place.
        link(&target, &self.blob(&entry.digest), &part)
            .and_then(|()| std::fs::rename(&part, &path))
            .map_err(|e| Error::write(&path, e))
    }

    /// The commit that a revision was when it was last fetched.
    pub fn revision(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = std::fs::read_to_string(self.dir.join("refs").join(revision)).ok()?;
        Some(text.trim().to_owned()).filter(|c| is_commit(c))
    }

    /// Notes a revision's commit.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_revision(&self, revision: &str, commit: &str, stop: &Stop) -> Result<()> {
        if is_commit(revision) || self.revision(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let _books = self.lock_named(BOOKS, stop, &mut || {})?;
        let path = self.dir.join("refs").join(revision);
        make_dir(path.parent().unwrap_or(&self.dir))?;
        replace_file(&path, |out| out.write_all(commit.as_bytes()))
    }

    /// A commit's listing, where it is known; a commit never changes, so neither does its listing.
    pub fn listing(&self, commit: &str) -> Option<Listing> {
        let text = std::fs::read(self.listing_path(commit)).ok()?;
        Listing::from_json(commit, &text)
    }

    /// Notes a commit's listing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_listing(&self, listing: &Listing, stop: &Stop) -> Result<()> {
        if self.listing(&listing.commit).as_ref() == Some(listing) {
            return Ok(());
        }
        let _books = self.lock_named(BOOKS, stop, &mut || {})?;
        let path = self.listing_path(&listing.commit);
        make_dir(path.parent().unwrap_or(&self.dir))?;
        replace_file(&path, |out| out.write_all(listing.to_json().as_bytes()))
    }

    fn listing_path(&self, commit: &str) -> PathBuf {
        self.dir.join("trees").join(format!("{commit}.json"))
    }
}

/// Makes a folder and those above it.
pub fn make_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::write(dir, e))
}

#[cfg(unix)]
fn link(target: &Path, _blob: &Path, path: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

/// Without links that anybody may make, a second name of the same bytes.
#[cfg(not(unix))]
fn link(_target: &Path, blob: &Path, path: &Path) -> std::io::Result<()> {
    std::fs::hard_link(blob, path)
}

#[cfg(unix)]
fn is_named(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(named)) => (ours.dev(), ours.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_named(_file: &File, _path: &Path) -> bool {
    true
}
