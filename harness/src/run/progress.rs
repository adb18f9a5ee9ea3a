//! How far a run is: a bar with rate and time left on a terminal, plain lines in a log.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A line in a log at most this often.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Progress of a run, told on stderr.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    last: Instant,
    items: usize,
    items_done: usize,
    /// Estimated seconds of everything, and of what is done: only their ratio counts.
    work: f64,
    work_done: f64,
    tokens: usize,
    what: String,
}

impl Progress {
    /// For so many items, which are so much work (in estimated seconds).
    pub fn new(items: usize, work: f64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(1000);
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
                bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
            }
            bar
        });
        let now = Instant::now();
        let what = String::new();
        Self {
            bar,
            started: now,
            last: now,
            items,
            items_done: 0,
            work,
            work_done: 0.0,
            tokens: 0,
            what,
        }
    }

    /// Says nothing at all.
    pub fn silent() -> Self {
        let mut silent = Self::new(0, 0.0);
        silent.bar = Some(ProgressBar::hidden());
        silent
    }

    /// What is worked on: `4096 tokens`.
    pub fn on(&mut self, what: String) {
        self.what = what;
    }

    /// So many tokens and so much work have been done.
    pub fn worked(&mut self, tokens: usize, work: f64) {
        self.tokens += tokens;
        self.work_done += work;
        self.tell(false);
    }

    /// An item has ended.
    pub fn item(&mut self) {
        self.items_done += 1;
        self.tell(self.items_done == self.items);
    }

    /// A line that stays.
    pub fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) if !bar.is_hidden() => bar.println(format!("fathom: {line}")),
            Some(_) => {}
            None => eprintln!("fathom: {line}"),
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn tell(&mut self, now: bool) {
        let share = if self.work > 0.0 {
            (self.work_done / self.work).min(1.0)
        } else {
            1.0
        };
        match &self.bar {
            Some(bar) => {
                bar.set_position((share * 1000.0) as u64);
                bar.set_message(self.line(share));
            }
            None if now || self.last.elapsed() >= LOG_EVERY => {
                self.last = Instant::now();
                eprintln!("fathom: {}", self.line(share));
            }
            None => {}
        }
    }

    fn line(&self, share: f64) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        let left = if share > 0.0 {
            show_seconds(seconds / share * (1.0 - share))
        } else {
            "?".to_owned()
        };
        format!(
            "{}/{} items, {:.0} %, {:.0} tokens/s, {left} left{}{}",
            self.items_done,
            self.items,
            share * 100.0,
            self.tokens as f64 / seconds.max(1e-3),
            if self.what.is_empty() { "" } else { ", at " },
            self.what,
        )
    }
}

/// `45 s`, `3 min 20 s`, `2 h 5 min`.
pub fn show_seconds(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}
