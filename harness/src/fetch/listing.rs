//! A commit's files with their sizes and hashes. What a hub says is input like any other: paths are checked before use.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::fetch::digest::Digest;

/// Version of the file that `huggingface_hub` keeps listings in (`_tree_cache.py`).
const FORMAT: u32 = 1;

/// One file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path in the model's folder: relative, with `/`, checked.
    pub path: String,
    /// Length, bytes.
    pub size: u64,
    /// What its bytes hash to.
    pub digest: Digest,
    /// Git's hash of what git stores: of the file, or of its LFS pointer.
    pub git: String,
}

/// All files of a commit, sorted by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The commit, 40 digits.
    pub commit: String,
    /// The files.
    pub files: Vec<Entry>,
}

impl Listing {
    /// Checks that no path stands twice or below a file.
    ///
    /// # Errors
    /// In words.
    pub fn new(commit: String, mut files: Vec<Entry>) -> Result<Self, String> {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut seen = HashSet::new();
        for file in &files {
            if !seen.insert(&*file.path) {
                return Err(format!("{:?} stands twice in the listing", file.path));
            }
        }
        for file in &files {
            let mut above = &*file.path;
            while let Some((folder, _)) = above.rsplit_once('/') {
                if seen.contains(folder) {
                    return Err(format!("{folder:?} is listed as a file and as a folder"));
                }
                above = folder;
            }
        }
        Ok(Self { commit, files })
    }

    /// As `huggingface_hub` stores it under `trees/COMMIT.json`.
    pub fn to_json(&self) -> String {
        let files = self.files.iter().map(|f| {
            let lfs = matches!(f.digest, Digest::Sha256(_));
            let stored = Stored {
                size: f.size,
                blob_id: f.git.clone(),
                lfs_sha256: lfs.then(|| f.digest.hex().to_owned()),
                lfs_size: lfs.then_some(f.size),
            };
            (f.path.clone(), stored)
        });
        let whole = StoredListing {
            format_version: FORMAT,
            files: files.collect(),
        };
        serde_json::to_string_pretty(&whole).unwrap_or_default()
    }

    /// Reads what [`Self::to_json`] or `huggingface_hub` wrote; `None` when it is something else.
    pub fn from_json(commit: &str, text: &[u8]) -> Option<Self> {
        let stored: StoredListing = serde_json::from_slice(text).ok()?;
        if stored.format_version != FORMAT {
            return None;
        }
        let files = stored.files.into_iter().map(|(path, stored)| {
            check_path(&path).ok()?;
            let lfs = stored.lfs_sha256.as_deref();
            Some(Entry {
                size: stored
                    .lfs_size
                    .filter(|_| lfs.is_some())
                    .unwrap_or(stored.size),
                digest: Digest::parse(lfs.unwrap_or(&stored.blob_id))?,
                path,
                git: stored.blob_id,
            })
        });
        Self::new(commit.to_owned(), files.collect::<Option<_>>()?).ok()
    }
}

#[derive(Serialize, Deserialize)]
struct StoredListing {
    format_version: u32,
    files: BTreeMap<String, Stored>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    size: u64,
    blob_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lfs_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lfs_size: Option<u64>,
}

/// Whether a path stays inside its folder on every system: relative, no `.` or `..`, no backslash, colon or control
/// character.
///
/// # Errors
/// What would have been right.
pub fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > 4096 {
        return Err("a relative path");
    }
    if path.contains(['\\', ':']) || path.chars().any(char::is_control) {
        return Err("a path without backslash, colon and control characters");
    }
    let inside = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255;
    if path.split('/').all(inside) {
        Ok(())
    } else {
        Err("a relative path without `.` and `..`")
    }
}

/// Whether a text is a commit: 40 hexadecimal digits in lower case.
pub fn is_commit(text: &str) -> bool {
    matches!(Digest::parse(text), Some(Digest::GitBlob(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, hex: &str) -> Option<Entry> {
        Some(Entry {
            path: path.to_owned(),
            size: 7,
            digest: Digest::parse(hex)?,
            git: "a".repeat(40),
        })
    }

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        for good in ["config.json", "a/b/c.bin", "..a/b..", "ü/模型.gguf"] {
            assert!(check_path(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a/..",
            ".",
            "a//b",
            "a/",
            "a\\..\\b",
            "C:x",
            "a\0b",
            "a\nb",
        ] {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_listing_survives_its_file_and_contradictions_do_not() -> Result<(), String> {
        let files = [entry("a", &"a".repeat(40)), entry("b/c", &"b".repeat(64))];
        let files: Vec<Entry> = files.into_iter().flatten().collect();
        let listing = Listing::new("c".repeat(40), files.clone())?;
        let again = Listing::from_json(&listing.commit, listing.to_json().as_bytes());
        assert_eq!(again.as_ref(), Some(&listing));
        for path in ["a", "a/x", "b"] {
            let more = entry(path, &"d".repeat(40)).into_iter();
            let all = files.iter().cloned().chain(more).collect();
            assert!(Listing::new(String::new(), all).is_err(), "{path}");
        }
        let evil = listing.to_json().replace("b/c", "../c");
        assert!(Listing::from_json("c", evil.as_bytes()).is_none());
        Ok(())
    }
}
