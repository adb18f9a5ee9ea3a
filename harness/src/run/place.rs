//! Which folder a run writes: a new one, an unfinished one of the same identity, or none because it is finished.

use std::path::{Path, PathBuf};

use crate::record::{ItemRecord, Manifest};
use crate::run::folder::{ITEMS, LOCK, MANIFEST, RunFolder};
use crate::run::identity::differences;
use crate::run::journal::{Lock, replace_file};
use crate::{Error, Result};

/// Where a run wants to be.
#[derive(Clone, Debug)]
pub enum Place {
    /// In this folder and no other.
    Exactly(PathBuf),
    /// Below a folder of runs, under a name with today's date.
    Below {
        /// `reports`.
        reports: PathBuf,
        /// `2026-11-24-builtin`.
        name: String,
    },
}

/// What was found there.
#[derive(Debug)]
pub enum Found {
    /// A folder to work in, new or unfinished, locked.
    Work(WorkFolder),
    /// The same run, finished; nobody touches it.
    Finished(RunFolder),
}

/// A folder that this process may write.
#[derive(Debug)]
pub struct WorkFolder {
    dir: PathBuf,
    /// What was run, to be completed.
    pub manifest: Manifest,
    /// The folder was there before.
    pub continued: bool,
    _lock: Lock,
}

impl Place {
    /// Finds or makes the folder of the run that `manifest` describes. `items` is asked for the items of a new run only.
    ///
    /// # Errors
    /// When the folder holds another run (the difference is named) or something else, when another process writes
    /// it, or when it cannot be written.
    pub fn open(
        &self,
        manifest: Manifest,
        items: impl FnOnce(&mut dyn FnMut(&ItemRecord) -> Result<()>) -> Result<()>,
    ) -> Result<Found> {
        match self {
            Self::Exactly(dir) => match look(dir)? {
                Look::Run(folder) => adopt(folder, manifest),
                Look::Free => create(dir, Lock::take(dir)?, manifest, items).map(Found::Work),
                Look::Other(why) => Err(Error::Usage(format!(
                    "{}: {why}; choose an empty or a new folder",
                    dir.display()
                ))),
            },
            Self::Below { reports, name } => {
                for dir in run_folders(reports) {
                    if let Ok(Look::Run(folder)) = look(&dir)
                        && !folder.finished()
                        && differences(&folder.manifest().identity, &manifest.identity).is_empty()
                        && folder.manifest().logits_fingerprint == manifest.logits_fingerprint
                    {
                        return adopt(folder, manifest);
                    }
                }
                let (dir, lock) = free_name(reports, name)?;
                create(&dir, lock, manifest, items).map(Found::Work)
            }
        }
    }
}

enum Look {
    Run(RunFolder),
    /// Missing, empty, or what a kill left of a folder before its manifest.
    Free,
    /// Something that is not ours, in words.
    Other(String),
}

fn look(dir: &Path) -> Result<Look> {
    if dir.join(MANIFEST).exists() {
        return Ok(Look::Run(RunFolder::open(dir)?));
    }
    if dir.is_file() {
        return Ok(Look::Other("is a file".to_owned()));
    }
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Look::Free),
        Err(e) => return Err(Error::write(dir, e)),
    };
    for entry in entries {
        let name = entry.map_err(|e| Error::read(dir, e))?.file_name();
        let name = name.to_string_lossy();
        if name != LOCK && name != ITEMS && !name.ends_with(".part") {
            return Ok(Look::Other(format!("holds {name} and no run")));
        }
    }
    Ok(Look::Free)
}

fn adopt(folder: RunFolder, ours: Manifest) -> Result<Found> {
    let mut why = differences(&folder.manifest().identity, &ours.identity);
    let there = &folder.manifest().logits_fingerprint;
    if why.is_empty() && *there != ours.logits_fingerprint {
        why.push(format!(
            "logits: {there} there, {} here",
            ours.logits_fingerprint
        ));
    }
    if !why.is_empty() {
        return Err(Error::Usage(format!(
            "{}: holds another run: {}",
            folder.dir().display(),
            why.join("; ")
        )));
    }
    if folder.finished() {
        return Ok(Found::Finished(folder));
    }
    let lock = Lock::take(folder.dir())?;
    // Whoever held the lock until now may have finished.
    let folder = RunFolder::open(folder.dir())?;
    if folder.finished() {
        return Ok(Found::Finished(folder));
    }
    Ok(Found::Work(WorkFolder {
        dir: folder.dir().to_path_buf(),
        manifest: folder.manifest().clone(),
        continued: true,
        _lock: lock,
    }))
}

fn create(
    dir: &Path,
    lock: Lock,
    manifest: Manifest,
    items: impl FnOnce(&mut dyn FnMut(&ItemRecord) -> Result<()>) -> Result<()>,
) -> Result<WorkFolder> {
    if dir.join(MANIFEST).exists() {
        return Err(Error::Unfinished(format!(
            "{}: another process began a run",
            dir.display()
        )));
    }
    let mut wrong = None;
    replace_file(&dir.join(ITEMS), |out| {
        let written = items(&mut |record| {
            serde_json::to_writer(&mut *out, record)
                .map_err(std::io::Error::from)
                .and_then(|()| out.write_all(b"\n"))
                .map_err(|e| Error::write(&dir.join(ITEMS), e))
        });
        written.map_err(|e| {
            wrong = Some(e);
            std::io::Error::other("items")
        })
    })
    .map_err(|e| {
        // Leave nothing behind where there was nothing before.
        let _ = std::fs::remove_file(dir.join(LOCK));
        let _ = std::fs::remove_dir(dir);
        wrong.take().unwrap_or(e)
    })?;
    let folder = WorkFolder {
        dir: dir.to_path_buf(),
        manifest,
        continued: false,
        _lock: lock,
    };
    folder.write_manifest()?;
    Ok(folder)
}

impl WorkFolder {
    /// The folder's path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes the manifest as it is now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_manifest(&self) -> Result<()> {
        replace_file(&self.dir.join(MANIFEST), |out| {
            serde_json::to_writer_pretty(&mut *out, &self.manifest)?;
            out.write_all(b"\n")
        })
    }

    /// The folder for reading.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn reading(&self) -> Result<RunFolder> {
        RunFolder::open(&self.dir)
    }
}

/// Folders below `reports`, in the order of their names; none when it cannot be read.
fn run_folders(reports: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(reports) else {
        return Vec::new();
    };
    let mut dirs: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    dirs.retain(|d| d.join(MANIFEST).is_file());
    dirs.sort();
    dirs
}

/// `name`, `name-2`, ...: the first that holds nothing, locked.
fn free_name(reports: &Path, name: &str) -> Result<(PathBuf, Lock)> {
    for n in 1..10_000 {
        let dir = reports.join(if n == 1 {
            name.to_owned()
        } else {
            format!("{name}-{n}")
        });
        if !matches!(look(&dir)?, Look::Free) {
            continue;
        }
        match Lock::take(&dir) {
            // Another process may have begun a run between the look and the lock.
            Ok(lock) if !dir.join(MANIFEST).exists() => return Ok((dir, lock)),
            Ok(_) | Err(Error::Unfinished(_)) => {}
            Err(e) => return Err(e),
        }
    }
    Err(Error::Usage(format!(
        "{}: every name up to {name}-9999 is taken",
        reports.display()
    )))
}
