//! Progress of a fetch: a bar a file on a terminal, plain lines in a log.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::memory::show_bytes;
use crate::run::progress::show_seconds;

/// A line in a log at most this often.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Progress of all files, told on stderr.
#[derive(Debug)]
pub struct Bars {
    terminal: Option<(MultiProgress, ProgressBar)>,
    total: u64,
    begun: Instant,
    /// Bytes that were there before.
    had: AtomicU64,
    have: AtomicU64,
    last: Mutex<Instant>,
}

/// Progress of one file.
#[derive(Debug)]
pub struct FileBar<'a> {
    all: &'a Bars,
    name: String,
    size: u64,
    have: AtomicU64,
    bar: Option<ProgressBar>,
}

impl Bars {
    /// For so many bytes.
    pub fn new(total: u64) -> Self {
        let terminal = std::io::stderr().is_terminal().then(|| {
            let multi = MultiProgress::new();
            let bar = multi.add(ProgressBar::new(total));
            bar.set_style(style(
                "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
            ));
            (multi, bar)
        });
        Self {
            terminal,
            total,
            begun: Instant::now(),
            had: AtomicU64::new(0),
            have: AtomicU64::new(0),
            last: Mutex::new(Instant::now()),
        }
    }

    /// A file begins.
    pub fn file(&self, name: &str, size: u64) -> FileBar<'_> {
        let bar = self.terminal.as_ref().map(|(multi, all)| {
            let bar = multi.insert_before(all, ProgressBar::new(size));
            bar.set_style(style("{bar:30} {bytes} of {total_bytes}  {msg}"));
            bar.set_message(name.to_owned());
            bar
        });
        FileBar {
            all: self,
            name: name.to_owned(),
            size,
            have: AtomicU64::new(0),
            bar,
        }
    }

    /// A line that stays.
    pub fn note(&self, line: &str) {
        match &self.terminal {
            Some((multi, _)) => {
                // Where the terminal has gone nobody reads it.
                let _ = multi.println(format!("fathom: {line}"));
            }
            None => eprintln!("fathom: {line}"),
        }
    }

    /// Takes the bars away.
    pub fn end(&self) {
        if let Some((multi, all)) = &self.terminal {
            all.finish_and_clear();
            let _ = multi.clear();
        }
    }

    fn moved(&self, from: u64, to: u64) {
        // A file that begins again gives back what it had.
        let have = if to >= from {
            self.have.fetch_add(to - from, Ordering::Relaxed) + (to - from)
        } else {
            self.have.fetch_sub(from - to, Ordering::Relaxed) - (from - to)
        };
        if let Some((_, bar)) = &self.terminal {
            bar.set_position(have);
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < LOG_EVERY {
            return;
        }
        *last = Instant::now();
        let new = have.saturating_sub(self.had.load(Ordering::Relaxed)) as f64;
        let rate = new / self.begun.elapsed().as_secs_f64().max(1e-3);
        let left = self.total.saturating_sub(have) as f64;
        eprintln!(
            "fathom: {} of {}, {}/s, {} left",
            show_bytes(have),
            show_bytes(self.total),
            show_bytes(rate as u64),
            if rate > 0.0 {
                show_seconds(left / rate)
            } else {
                "?".to_owned()
            }
        );
    }
}

impl FileBar<'_> {
    /// So many bytes are there.
    pub fn set(&self, have: u64) {
        let before = self.have.swap(have, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_position(have);
        }
        self.all.moved(before, have);
    }

    /// So many bytes were there before anything came.
    pub fn had(&self, have: u64) {
        self.all.had.fetch_add(have, Ordering::Relaxed);
        self.set(have);
    }

    /// A line about this file that stays.
    pub fn note(&self, line: &str) {
        self.all.note(&format!("{}: {line}", self.name));
    }

    /// The file is there.
    pub fn done(&self, came: bool) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if came {
            self.note(&format!("{}, verified", show_bytes(self.size)));
        }
    }
}

impl Drop for FileBar<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("█▉▊▋▌▍▎▏ ")
}
