//! All wanted files of a model, several at a time, each verified before it has its name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::fetch::bars::Bars;
use crate::fetch::cache::{Repo, make_dir};
use crate::fetch::choice::{self, Patterns};
use crate::fetch::download::{Broken, Download};
use crate::fetch::hub::{self, Hub};
use crate::fetch::listing::{Entry, Listing, is_commit};
use crate::fetch::patience::GivenUp;
use crate::fetch::settings::Settings;
use crate::fetch::source::Source;
use crate::http::{Client, Kind};
use crate::memory::show_bytes;
use crate::stop::Stop;
use crate::{Error, Result};

/// What was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The snapshot's folder.
    pub folder: PathBuf,
    /// Its commit.
    pub commit: String,
    /// Files that were wanted, all of them there.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that came over the network.
    pub came: u64,
}

/// Fetches files and checks every one, those that are there already too.
///
/// # Errors
/// When one cannot be had (the others are), or there is no room for them.
pub fn fetch(
    source: &Source,
    patterns: &Patterns,
    settings: &Settings,
    stop: &Stop,
) -> Result<Fetched> {
    let work = Work::new(source, settings, stop)?;
    let listing = work.listing(false)?;
    let files = patterns.choose(source, &listing)?;
    work.bring(&listing, &files, true)
}

/// The path of a model that `hf:..` means, fetched where it is not there. Without a hub, what was fetched is used.
///
/// # Errors
/// Those of [`fetch`]; when it is not clear which of a hub's files is the model.
pub fn model(source: &Source, settings: &Settings, stop: &Stop) -> Result<PathBuf> {
    let work = Work::new(source, settings, stop)?;
    let listing = work.listing(true)?;
    let (files, open) = choice::of_model(source, &listing)?;
    let fetched = work.bring(&listing, &files, false)?;
    Ok(if open.as_os_str().is_empty() {
        fetched.folder
    } else {
        fetched.folder.join(open)
    })
}

/// The folder of the files of a model that patterns mean, fetched where they are not there. Without a hub, what was
/// fetched is used.
///
/// # Errors
/// Those of [`fetch`].
pub fn part(
    source: &Source,
    patterns: &Patterns,
    settings: &Settings,
    stop: &Stop,
) -> Result<PathBuf> {
    let work = Work::new(source, settings, stop)?;
    let listing = work.listing(true)?;
    let files = patterns.choose(source, &listing)?;
    Ok(work.bring(&listing, &files, false)?.folder)
}

/// A revision's folder in the cache and its listing, from the hub, or without one from the cache.
///
/// # Errors
/// When neither knows it.
pub fn known(source: &Source, settings: &Settings, stop: &Stop) -> Result<(PathBuf, Listing)> {
    let work = Work::new(source, settings, stop)?;
    let listing = work.listing(true)?;
    Ok((work.repo.snapshot(&listing.commit), listing))
}

struct Work<'a> {
    source: &'a Source,
    settings: &'a Settings,
    stop: &'a Stop,
    client: Client,
    repo: Repo,
}

/// One blob and all the paths that have it.
struct Job<'a> {
    entry: &'a Entry,
    paths: Vec<&'a Entry>,
    /// Bytes to come; `None` when it is there.
    missing: Option<u64>,
}

impl<'a> Work<'a> {
    fn new(source: &'a Source, settings: &'a Settings, stop: &'a Stop) -> Result<Self> {
        let client = Client::new(&settings.endpoint, settings.token.clone(), settings.stall)
            .map_err(|why| Error::input("--endpoint", "address", &settings.endpoint, why))?;
        Ok(Self {
            source,
            settings,
            stop,
            client,
            repo: Repo::new(&settings.cache, source),
        })
    }

    /// The listing of the source's revision. With `or_cached`, an unreachable hub is no obstacle to what is known.
    fn listing(&self, or_cached: bool) -> Result<Listing> {
        let commit = self.repo.revision(&self.source.revision);
        let cached = commit.and_then(|commit| self.repo.listing(&commit));
        if self.settings.offline {
            return cached.ok_or_else(|| {
                Error::Usage(format!(
                    "{}: not in {}, and HF_HUB_OFFLINE forbids to ask",
                    self.source,
                    self.settings.cache.display()
                ))
            });
        }
        let mut limits = self.settings.limits;
        if or_cached && cached.is_some() {
            limits.tries = 1;
        }
        let hub = Hub {
            client: &self.client,
            endpoint: &self.settings.endpoint,
            source: self.source,
            limits,
            stop: self.stop,
        };
        let asked = hub
            .commit()
            .and_then(|commit| match self.repo.listing(&commit) {
                Some(listing) => Ok(listing),
                None => hub.listing(&commit),
            });
        match (asked, cached) {
            (Ok(listing), _) => {
                self.repo.set_listing(&listing, self.stop)?;
                Ok(listing)
            }
            (Err(GivenUp::Failed(failure)), Some(cached))
                if or_cached && matches!(failure.kind, Kind::Unreachable | Kind::Passing) =>
            {
                eprintln!(
                    "fathom: {}: {}; what is in the cache is used",
                    self.source, failure.why
                );
                Ok(cached)
            }
            (Err(given_up), _) => Err(self.refused(given_up)),
        }
    }

    fn refused(&self, given_up: GivenUp) -> Error {
        let failure = match given_up {
            GivenUp::Stopped(error) => return error,
            GivenUp::Failed(failure) => failure,
        };
        let (source, why) = (self.source, failure.why);
        match failure.kind {
            Kind::Missing => Error::Usage(format!(
                "{source}: {why}: no such model or revision, or a private one (HF_TOKEN)"
            )),
            Kind::Forbidden => Error::Usage(format!(
                "{source}: {why}: needs a token that may read it (HF_TOKEN), or its licence accepted"
            )),
            _ => Error::Unfinished(format!("{source}: {why}")),
        }
    }

    fn bring(&self, listing: &Listing, files: &[&Entry], recheck: bool) -> Result<Fetched> {
        let commit = &listing.commit;
        let jobs = self.jobs(files);
        if let Some(job) = jobs
            .iter()
            .find(|job| job.missing.is_some() && self.settings.offline)
        {
            return Err(Error::Usage(format!(
                "{}: {} is not in the cache, and HF_HUB_OFFLINE forbids to ask",
                self.source, job.entry.path
            )));
        }
        self.check_room(&jobs)?;
        let came = self.run(commit, &jobs, recheck && !self.settings.offline)?;
        self.repo
            .set_revision(&self.source.revision, commit, self.stop)?;
        Ok(Fetched {
            folder: self.repo.snapshot(commit),
            commit: commit.clone(),
            files: files.len(),
            bytes: files.iter().fold(0, |sum, f| f.size.saturating_add(sum)),
            came,
        })
    }

    /// The blobs of the files, the largest first, so that it does not come alone at the end.
    fn jobs<'b>(&self, files: &[&'b Entry]) -> Vec<Job<'b>> {
        let mut by_blob: BTreeMap<_, Vec<&Entry>> = BTreeMap::new();
        for file in files {
            by_blob.entry(&file.digest).or_default().push(file);
        }
        let mut jobs: Vec<Job> = by_blob
            .into_values()
            .map(|paths| Job {
                entry: paths[0],
                missing: self.repo.missing(paths[0]).map(|have| paths[0].size - have),
                paths,
            })
            .collect();
        jobs.sort_by_key(|job| std::cmp::Reverse(job.missing));
        jobs
    }

    fn check_room(&self, jobs: &[Job]) -> Result<()> {
        let missing = jobs.iter().filter_map(|job| job.missing);
        let needed = missing.fold(0u64, u64::saturating_add);
        if needed == 0 {
            return Ok(());
        }
        make_dir(self.repo.dir())?;
        let dir = self.repo.dir();
        let free = (self.settings.free_space)(dir).map_err(|e| Error::read(dir, e))?;
        if needed > free {
            return Err(Error::Unfinished(format!(
                "{}: {} are to come and {} are free in {}",
                self.source,
                show_bytes(needed),
                show_bytes(free),
                dir.display()
            )));
        }
        Ok(())
    }

    fn run(&self, commit: &str, jobs: &[Job], recheck: bool) -> Result<u64> {
        let bytes = jobs
            .iter()
            .fold(0u64, |sum, job| sum.saturating_add(job.entry.size));
        let bars = Bars::new(bytes);
        let next = AtomicUsize::new(0);
        let ended = Mutex::new(Ended::default());
        let lock = || ended.lock().unwrap_or_else(PoisonError::into_inner);
        std::thread::scope(|scope| {
            for _ in 0..self.settings.jobs.clamp(1, jobs.len().max(1)) {
                scope.spawn(|| {
                    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        // An error of this machine ends the whole: others would meet it too.
                        if lock().error.is_some() {
                            return;
                        }
                        match self.one(commit, job, &bars, recheck) {
                            Ok(came) => lock().came += came,
                            Err(Broken::Failed(failure)) => {
                                let line = format!("{}: {}", job.entry.path, failure.why);
                                lock().failed.push(line);
                            }
                            Err(Broken::Here(error)) => {
                                lock().error.get_or_insert(error);
                            }
                        }
                    }
                });
            }
        });
        bars.end();
        let ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (ended.error, ended.failed.len()) {
            (Some(error), _) => Err(error),
            (None, 0) => Ok(ended.came),
            (None, failed) => Err(Error::Unfinished(format!(
                "{}: {failed} of {} files could not be fetched: {}; the same command goes on",
                self.source,
                jobs.len(),
                ended.failed.join("; ")
            ))),
        }
    }

    fn one(&self, commit: &str, job: &Job, bars: &Bars, recheck: bool) -> Result<u64, Broken> {
        self.stop.check()?;
        let bar = bars.file(&job.entry.path, job.entry.size);
        let mut came = 0;
        if recheck || job.missing.is_some() {
            let path = hub::resolve(self.source, commit, &job.entry.path);
            let address = format!("{}/{path}", self.settings.endpoint);
            let download = Download {
                client: &self.client,
                address: &address,
                entry: job.entry,
                repo: &self.repo,
                limits: self.settings.limits,
                recheck,
                stop: self.stop,
            };
            came = download.run(&bar)?;
        } else {
            bar.had(job.entry.size);
        }
        for path in &job.paths {
            self.repo.link(commit, path, self.stop)?;
        }
        bar.done(job.missing.is_some());
        Ok(came)
    }
}

/// How the threads fared.
#[derive(Default)]
struct Ended {
    came: u64,
    failed: Vec<String>,
    error: Option<Error>,
}

/// The model's part of a cache whose snapshot this folder is.
pub fn of_folder(folder: &Path) -> Option<(Repo, String)> {
    let snapshots = folder.parent()?;
    let commit = folder.file_name()?.to_str()?;
    (snapshots.file_name()? == "snapshots" && is_commit(commit))
        .then(|| Some((Repo::at(snapshots.parent()?), commit.to_owned())))?
}
