//! What is on the disk, checked again: sizes and hashes of every file.

use std::fs::File;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::fetch::choice::Patterns;
use crate::fetch::digest::Digest;
use crate::fetch::listing::{Entry, Listing, check_path, is_commit};
use crate::fetch::settings::Settings;
use crate::fetch::snapshot::{self, of_folder};
use crate::fetch::source::Source;
use crate::stop::Stop;
use crate::{Error, Result};

/// One file of a folder, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The file.
    pub path: PathBuf,
    /// Its length as it should be, bytes.
    pub size: u64,
    /// What is wrong with it, in words; `None` when nothing is.
    pub wrong: Option<String>,
}

/// Checks a folder: a snapshot of the cache, a model's folder in the cache (every snapshot), or what `huggingface_hub`
/// downloaded with `local_dir`.
///
/// # Errors
/// When there is nothing that says what the folder should hold, or somebody asked to stop.
pub fn folder(folder: &Path, patterns: &Patterns, stop: &Stop) -> Result<Vec<Checked>> {
    let folder = std::path::absolute(folder).map_err(|e| Error::read(folder, e))?;
    if let Some((repo, commit)) = of_folder(&folder) {
        let listing = match repo.listing(&commit) {
            Some(listing) => listing,
            None => by_links(&folder, &commit)?,
        };
        return files(&folder, &patterns.wanted(&folder, &listing)?, stop);
    }
    let snapshots = folder.join("snapshots");
    if snapshots.is_dir() {
        let mut all = Vec::new();
        for commit in names(&snapshots)?
            .into_iter()
            .filter(|name| is_commit(name))
        {
            all.extend(self::folder(&snapshots.join(commit), patterns, stop)?);
        }
        return Ok(all);
    }
    let notes = folder.join(".cache/huggingface/download");
    if notes.is_dir() {
        return files(
            &folder,
            &patterns.wanted(&folder, &by_notes(&notes)?)?,
            stop,
        );
    }
    std::fs::metadata(&folder).map_err(|e| Error::read(&folder, e))?;
    Err(Error::Usage(format!(
        "{}: nothing says what it should hold: expected a snapshot or a model's folder of a Hugging Face cache",
        folder.display()
    )))
}

/// Checks what the cache has of a hub's model, against the hub's listing (offline, against the one in the cache).
///
/// # Errors
/// When neither is known, no file is wanted, or somebody asked to stop.
pub fn source(
    source: &Source,
    patterns: &Patterns,
    settings: &Settings,
    stop: &Stop,
) -> Result<Vec<Checked>> {
    let (folder, listing) = snapshot::known(source, settings, stop)?;
    let wanted = patterns.choose(source, &listing)?;
    files(&folder, &wanted, stop)
}

/// Checks files of a commit in a snapshot's folder.
///
/// # Errors
/// When somebody asked to stop.
fn files(folder: &Path, wanted: &[&Entry], stop: &Stop) -> Result<Vec<Checked>> {
    wanted
        .par_iter()
        .map(|entry| {
            let path = folder.join(&entry.path);
            Ok(Checked {
                wrong: wrong(&path, entry, stop)?,
                size: entry.size,
                path,
            })
        })
        .collect()
}

fn wrong(path: &Path, entry: &Entry, stop: &Stop) -> Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Some("is missing".to_owned()));
        }
        Err(e) => return Ok(Some(format!("does not open: {e}"))),
    };
    let size = file.metadata().map_err(|e| Error::read(path, e))?.len();
    if size != entry.size {
        let expected = entry.size;
        return Ok(Some(format!("is {size} bytes, expected {expected}")));
    }
    let mut hasher = entry.digest.hasher(size);
    match hasher.update_from(path, &mut file, stop) {
        Err(Error::Read { source, .. }) => return Ok(Some(format!("does not read: {source}"))),
        other => other?,
    };
    let (found, expected) = (hasher.finish(), entry.digest.hex());
    let kind = entry.digest.kind();
    Ok((found != expected).then(|| format!("has the {kind} {found}, expected {expected}")))
}

/// What a snapshot's links say, where no listing is kept: a blob's name is its hash. Its size is what it has.
fn by_links(folder: &Path, commit: &str) -> Result<Listing> {
    let mut files = Vec::new();
    let mut open = vec![String::new()];
    while let Some(below) = open.pop() {
        for name in names(&folder.join(&below))? {
            let path = if below.is_empty() {
                name
            } else {
                format!("{below}/{name}")
            };
            let full = folder.join(&path);
            if std::fs::symlink_metadata(&full).is_ok_and(|m| m.is_dir()) {
                open.push(path);
                continue;
            }
            let target = std::fs::read_link(&full).unwrap_or_default();
            let digest = target.file_name().and_then(|n| Digest::parse(n.to_str()?));
            let digest = digest.ok_or_else(|| {
                Error::input(
                    full.display(),
                    "hash",
                    "no listing and no link to a blob",
                    "a file of the cache",
                )
            })?;
            files.push(Entry {
                size: std::fs::metadata(&full).map_or(0, |m| m.len()),
                git: digest.hex().to_owned(),
                digest,
                path,
            });
        }
    }
    listing(folder, commit, files)
}

/// What `huggingface_hub` notes beside a `local_dir` download: a file `PATH.metadata` of commit, hash and time.
fn by_notes(notes: &Path) -> Result<Listing> {
    let mut files = Vec::new();
    let mut open = vec![String::new()];
    let folder = notes.ancestors().nth(3).unwrap_or(notes);
    while let Some(below) = open.pop() {
        for name in names(&notes.join(&below))? {
            let path = if below.is_empty() {
                name
            } else {
                format!("{below}/{name}")
            };
            let full = notes.join(&path);
            if full.is_dir() {
                open.push(path);
                continue;
            }
            let Some(path) = path.strip_suffix(".metadata") else {
                continue;
            };
            let text = std::fs::read_to_string(&full).map_err(|e| Error::read(&full, e))?;
            let hash = text.lines().nth(1).unwrap_or_default().trim();
            let digest = Digest::parse(hash).filter(|_| check_path(path).is_ok());
            let digest = digest
                .ok_or_else(|| Error::input(full.display(), "line 2", hash, "a file's hash"))?;
            files.push(Entry {
                size: std::fs::metadata(folder.join(path)).map_or(0, |m| m.len()),
                git: digest.hex().to_owned(),
                digest,
                path: path.to_owned(),
            });
        }
    }
    listing(notes, "", files)
}

fn listing(folder: &Path, commit: &str, files: Vec<Entry>) -> Result<Listing> {
    Listing::new(commit.to_owned(), files)
        .map_err(|why| Error::Usage(format!("{}: {why}", folder.display())))
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let read = || -> std::io::Result<Vec<String>> {
        let mut names: Vec<String> = std::fs::read_dir(dir)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<std::io::Result<_>>()?;
        names.sort();
        Ok(names)
    };
    read().map_err(|e| Error::read(dir, e))
}
