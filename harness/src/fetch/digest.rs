//! The hashes that a hub knows a file by: git's of small files, SHA-256 of large ones (LFS).

use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use crate::stop::Stop;
use crate::{Error, Result};

/// Bytes that are read at a time.
pub const BUFFER: usize = 1 << 18;

/// What a file's bytes must hash to, in lower-case hexadecimal. Its name in the cache too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Digest {
    /// SHA-1 of `blob SIZE\0` and the bytes, as git has it.
    GitBlob(String),
    /// SHA-256 of the bytes.
    Sha256(String),
}

impl Digest {
    /// By its length: 40 digits are git's, 64 are SHA-256.
    pub fn parse(hex: &str) -> Option<Self> {
        let digits = hex
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match hex.len() {
            40 if digits => Some(Self::GitBlob(hex.to_owned())),
            64 if digits => Some(Self::Sha256(hex.to_owned())),
            _ => None,
        }
    }

    /// The digits.
    pub fn hex(&self) -> &str {
        match self {
            Self::GitBlob(hex) | Self::Sha256(hex) => hex,
        }
    }

    /// What it is called.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::GitBlob(_) => "git hash",
            Self::Sha256(_) => "SHA-256",
        }
    }

    /// Begins to hash a file of `size` bytes.
    pub fn hasher(&self, size: u64) -> Hasher {
        match self {
            Self::GitBlob(_) => Hasher::GitBlob(Sha1::new_with_prefix(format!("blob {size}\0"))),
            Self::Sha256(_) => Hasher::Sha256(Sha256::new()),
        }
    }
}

/// A hash under way.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// See [`Digest::GitBlob`].
    GitBlob(Sha1),
    /// See [`Digest::Sha256`].
    Sha256(Sha256),
}

impl Hasher {
    /// Takes bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::GitBlob(sha) => sha.update(bytes),
            Self::Sha256(sha) => sha.update(bytes),
        }
    }

    /// Takes in what a reader has; returns its length in bytes.
    ///
    /// # Errors
    /// When `path`, which is read, does not read, or somebody asked to stop.
    pub fn update_from(&mut self, path: &Path, reader: &mut dyn Read, stop: &Stop) -> Result<u64> {
        let mut buffer = vec![0; BUFFER];
        let mut length = 0;
        loop {
            stop.check()?;
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(length),
                Ok(n) => {
                    self.update(&buffer[..n]);
                    length += n as u64;
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::read(path, e)),
            }
        }
    }

    /// The digits.
    pub fn finish(self) -> String {
        let hex = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |mut out, b| {
                let _ = write!(out, "{b:02x}");
                out
            })
        };
        match self {
            Self::GitBlob(sha) => hex(&sha.finalize()),
            Self::Sha256(sha) => hex(&sha.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_git_and_sha256sum() -> Result<(), Box<dyn std::error::Error>> {
        // `printf 'hello\n' | git hash-object --stdin`, `printf 'hello\n' | sha256sum`.
        for hex in [
            "ce013625030ba8dba906f756967f9e9ca394464a",
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        ] {
            let digest = Digest::parse(hex).ok_or("none")?;
            let mut hasher = digest.hasher(6);
            hasher.update(b"hel");
            hasher.update_from("".as_ref(), &mut &b"lo\n"[..], &Stop::default())?;
            assert_eq!(hasher.finish(), digest.hex());
        }
        for bad in [
            "",
            "ce01",
            &"g".repeat(40),
            &"A".repeat(64),
            "../../etc/passwd",
        ] {
            assert!(Digest::parse(bad).is_none(), "{bad}");
        }
        Ok(())
    }
}
