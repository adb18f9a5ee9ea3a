//! One file: its bytes arrive in `HASH.incomplete`, in order; when all are there and right, it gets its name.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::fetch::bars::FileBar;
use crate::fetch::cache::{Repo, make_dir};
use crate::fetch::digest::{BUFFER, Hasher};
use crate::fetch::listing::Entry;
use crate::fetch::patience::{GivenUp, Limits, Patience};
use crate::http::{Client, Failure, Kind, Origin, Reply};
use crate::memory::show_bytes;
use crate::stop::Stop;
use crate::{Error, Result};

/// A file that arrives whole and wrong so often stays wrong.
const SPOILT: u32 = 3;

/// What is needed to download one file.
#[derive(Clone, Copy, Debug)]
pub struct Download<'a> {
    /// Asks.
    pub client: &'a Client,
    /// The file's address.
    pub address: &'a str,
    /// What it must be.
    pub entry: &'a Entry,
    /// Where it goes.
    pub repo: &'a Repo,
    /// How long failures are put up with.
    pub limits: Limits,
    /// Blobs that are there are hashed again, and fetched again where they are wrong.
    pub recheck: bool,
    /// A request to stop.
    pub stop: &'a Stop,
}

/// Why one file is not there.
#[derive(Debug)]
pub enum Broken {
    /// The network or the server: other files may still come.
    Failed(Failure),
    /// This machine, or a stop: nothing goes on.
    Here(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Here(error)
    }
}

impl From<GivenUp> for Broken {
    fn from(given_up: GivenUp) -> Self {
        match given_up {
            GivenUp::Failed(failure) => Self::Failed(failure),
            GivenUp::Stopped(error) => Self::Here(error),
        }
    }
}

/// Why an attempt ended before the file did.
enum Cut {
    Failed(Failure),
    Here(Error),
}

impl From<Failure> for Cut {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Error> for Cut {
    fn from(error: Error) -> Self {
        Self::Here(error)
    }
}

impl Download<'_> {
    /// Brings the blob to its final name, verified; returns the bytes that came over the network.
    ///
    /// # Errors
    /// When it cannot be had; what has come stays for the next time.
    pub fn run(&self, bar: &FileBar) -> Result<u64, Broken> {
        let blob = self.repo.blob(&self.entry.digest);
        make_dir(blob.parent().unwrap_or(self.repo.dir()))?;
        let _held = self.repo.lock(&self.entry.digest, self.stop, &mut || {
            bar.note("another process fetches it; waiting");
        })?;
        if self.is_there(&blob, bar)? {
            return Ok(0);
        }
        let mut part = Part::open(self, bar)?;
        let mut patience = Patience::new(self.limits);
        let (mut spoilt, mut came) = (0, 0);
        // The validator of the host that began to send, for `If-Range`.
        let mut validator = None;
        loop {
            if part.have == self.entry.size {
                let found = part.hasher.clone().finish();
                if found == self.entry.digest.hex() {
                    part.name(&blob)?;
                    return Ok(came);
                }
                spoilt += 1;
                part.clear(self)?;
                bar.set(0);
                validator = None;
                let why = format!(
                    "its {} is {found}, expected {}",
                    self.entry.digest.kind(),
                    self.entry.digest.hex()
                );
                if spoilt == SPOILT {
                    let why = format!("{why} ({spoilt} times)");
                    return Err(Broken::Failed(Failure::of(Kind::Lasting, why)));
                }
                bar.note(&format!("{why}; again from the start"));
                patience.wait(&Failure::passing(why), self.stop)?;
            }
            patience.hold(self.client, self.stop)?;
            let before = part.have;
            let cut = self.receive(&mut part, &mut validator, bar);
            came += part.have - before;
            if part.have > before {
                patience.progress();
            }
            match cut {
                Ok(()) => {}
                Err(Cut::Here(error)) => return Err(error.into()),
                Err(Cut::Failed(failure)) => {
                    bar.note(&failure.why);
                    patience.wait(&failure, self.stop)?;
                }
            }
        }
    }

    /// Whether the blob is there and right; removes it when it is wrong.
    fn is_there(&self, blob: &Path, bar: &FileBar) -> Result<bool> {
        let Ok(metadata) = std::fs::metadata(blob) else {
            return Ok(false);
        };
        let mut good = metadata.len() == self.entry.size;
        if good && self.recheck {
            let mut file = File::open(blob).map_err(|e| Error::read(blob, e))?;
            let mut hasher = self.entry.digest.hasher(self.entry.size);
            hasher.update_from(blob, &mut file, self.stop)?;
            good = hasher.finish() == self.entry.digest.hex();
        }
        if good {
            bar.had(self.entry.size);
        } else {
            bar.note("what is there is not what it should be; fetched again");
            std::fs::remove_file(blob).map_err(|e| Error::write(blob, e))?;
        }
        Ok(good)
    }

    /// One request: appends what comes, until the file is whole or the connection is not.
    fn receive(
        &self,
        part: &mut Part,
        validator: &mut Option<(Origin, String)>,
        bar: &FileBar,
    ) -> Result<(), Cut> {
        let have = part.have;
        let known = validator.clone();
        let headers = move |origin: &Origin| {
            let mut headers = Vec::new();
            if have > 0 {
                headers.push(("range", format!("bytes={have}-")));
                if let Some((_, etag)) = known.as_ref().filter(|(of, _)| of == origin) {
                    headers.push(("if-range", etag.clone()));
                }
            }
            headers
        };
        let mut reply = self.client.get(self.address, &headers)?;
        // A server that does not know ranges sends the beginning again: read past it, and keep what is on the disk.
        let mut skip = self.position(&reply, have)?;
        let etag = reply.header("etag").filter(|tag| tag.starts_with('"'));
        *validator = etag.map(|tag| (reply.origin.clone(), tag.to_owned()));
        let origin = reply.origin.clone();
        let mut body = reply.body.as_reader();
        let mut buffer = vec![0; BUFFER];
        while part.have < self.entry.size {
            self.stop.check()?;
            let left = (self.entry.size - part.have).saturating_add(skip);
            let room = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let n = match body.read(&mut buffer[..room]) {
                Ok(0) => {
                    let why = format!(
                        "{origin}: ended after {} of {} bytes",
                        part.have, self.entry.size
                    );
                    return Err(Failure::passing(why).into());
                }
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    let why = format!(
                        "{origin}: {e} after {} of {} bytes",
                        part.have, self.entry.size
                    );
                    return Err(Failure::passing(why).into());
                }
            };
            let skipped = usize::try_from(skip).unwrap_or(n).min(n);
            skip -= skipped as u64;
            part.append(&buffer[skipped..n])?;
            bar.set(part.have);
        }
        Ok(())
    }

    /// How many bytes the body begins before what we have; a body that cannot continue it is a failure.
    fn position(&self, reply: &Reply, have: u64) -> Result<u64, Failure> {
        let size = self.entry.size;
        let odd = |what: String| Failure::passing(format!("{}: {what}", reply.origin));
        let encoding = reply.header("content-encoding").unwrap_or("identity");
        if !encoding.eq_ignore_ascii_case("identity") {
            return Err(odd(format!("sent {encoding}, which was not asked for")));
        }
        match reply.status {
            206 => {
                let range = reply.header("content-range").unwrap_or("none");
                match content_range(range) {
                    Some((start, total)) if start == have && total.is_none_or(|t| t == size) => {
                        Ok(0)
                    }
                    _ => Err(odd(format!(
                        "sent the range {range:?}, expected one from {have} of {size}"
                    ))),
                }
            }
            416 => Err(odd(format!("has no bytes from {have}, expected {size}"))),
            _ => {
                let length: Option<u64> =
                    reply.header("content-length").and_then(|l| l.parse().ok());
                match length {
                    Some(length) if length > size => {
                        Err(odd(format!("is {length} bytes, expected {size}")))
                    }
                    _ => Ok(have),
                }
            }
        }
    }
}

/// Start and total of `bytes 5-9/10`; a total of `*` is none.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    let total = match total.trim() {
        "*" => None,
        n => Some(n.parse().ok()?),
    };
    Some((start.trim().parse().ok()?, total))
}

/// What has come of a file, with the hash of it.
struct Part {
    path: PathBuf,
    file: File,
    have: u64,
    hasher: Hasher,
}

impl Part {
    /// Opens what an interruption left, reads it through the hash, and goes on behind it.
    fn open(download: &Download, bar: &FileBar) -> Result<Self> {
        let entry = download.entry;
        let path = download.repo.part(&entry.digest);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| Error::write(&path, e))?;
        let length = file.metadata().map_err(|e| Error::read(&path, e))?.len();
        if length > entry.size {
            file.set_len(0).map_err(|e| Error::write(&path, e))?;
        }
        let mut hasher = entry.digest.hasher(entry.size);
        let have = hasher.update_from(&path, &mut file, download.stop)?;
        if have > 0 {
            bar.had(have);
            bar.note(&format!("goes on after {have} bytes"));
        }
        Ok(Self {
            path,
            file,
            have,
            hasher,
        })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let failed = |e| match Error::write(&self.path, e) {
            Error::Write { path, source } if source.kind() == std::io::ErrorKind::StorageFull => {
                Error::Unfinished(format!(
                    "{}: the disk is full after {}; what came is kept",
                    path.display(),
                    show_bytes(self.have)
                ))
            }
            other => other,
        };
        self.file.write_all(bytes).map_err(failed)?;
        self.hasher.update(bytes);
        self.have += bytes.len() as u64;
        Ok(())
    }

    /// Throws away what turned out to be wrong.
    fn clear(&mut self, download: &Download) -> Result<()> {
        use std::io::Seek;
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .map_err(|e| Error::write(&self.path, e))?;
        self.have = 0;
        self.hasher = download.entry.digest.hasher(download.entry.size);
        Ok(())
    }

    /// Gives it its final name, on the disk before anybody sees it.
    fn name(&self, blob: &Path) -> Result<()> {
        let folder = || match blob.parent() {
            // The name must survive a power cut too; only Unix lets a folder be synchronised.
            Some(dir) if cfg!(unix) => File::open(dir)?.sync_all(),
            _ => Ok(()),
        };
        self.file
            .sync_all()
            .and_then(|()| std::fs::rename(&self.path, blob))
            .and_then(|()| folder())
            .map_err(|e| Error::write(blob, e))
    }
}

#[cfg(test)]
mod tests {
    use super::content_range;

    #[test]
    fn ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 0-0/*"), Some((0, None)));
        for bad in [
            "none",
            "bytes */10",
            "bytes 5-9",
            "items 5-9/10",
            "bytes -1-9/x",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
