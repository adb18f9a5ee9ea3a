//! When to try again, and when no more.

use std::time::{Duration, Instant};

use crate::http::{Client, Failure, Kind};
use crate::stop::Stop;
use crate::{Error, Result};

/// Pause before the second try; it doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause of our own choice.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A stop is noticed this soon.
const SLICE: Duration = Duration::from_millis(50);

/// How long failures are put up with.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Failures in a row, without a byte of progress between them.
    pub tries: u32,
    /// Time without progress.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tries: 10,
            deadline: Duration::from_secs(300),
        }
    }
}

/// The patience with one file or one question; progress restores it.
#[derive(Debug)]
pub struct Patience {
    limits: Limits,
    failures: u32,
    since: Instant,
}

impl Patience {
    /// All of it.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            failures: 0,
            since: Instant::now(),
        }
    }

    /// Something came.
    pub fn progress(&mut self) {
        *self = Self::new(self.limits);
    }

    /// Waits until it is time for another try: for as long as the server asked, or by exponential back-off.
    ///
    /// # Errors
    /// The failure, when another try is of no use or would be too late; [`Error::Interrupted`] on a stop.
    pub fn wait(&mut self, failure: &Failure, stop: &Stop) -> Result<(), GivenUp> {
        self.failures += 1;
        let given_up = |why: String| {
            Err(GivenUp::Failed(Failure {
                why,
                ..failure.clone()
            }))
        };
        if matches!(failure.kind, Kind::Forbidden | Kind::Lasting) {
            return given_up(failure.why.clone());
        }
        if self.failures >= self.limits.tries {
            return given_up(format!("{} ({} tries)", failure.why, self.failures));
        }
        let pause = failure
            .retry_after
            .unwrap_or_else(|| back_off(self.failures));
        let left = self.limits.deadline.saturating_sub(self.since.elapsed());
        if pause > left {
            return given_up(match failure.retry_after {
                Some(pause) => format!(
                    "{}, which asks to be left alone for {} s, longer than the {} s that are left",
                    failure.why,
                    pause.as_secs(),
                    left.as_secs()
                ),
                None => format!(
                    "{} (nothing came for {} s)",
                    failure.why,
                    self.since.elapsed().as_secs()
                ),
            });
        }
        sleep(pause, stop).map_err(GivenUp::Stopped)
    }

    /// Waits while the service wants nobody to ask.
    ///
    /// # Errors
    /// When that is longer than the patience lasts; [`Error::Interrupted`] on a stop.
    pub fn hold(&self, client: &Client, stop: &Stop) -> Result<(), GivenUp> {
        loop {
            let hold = client.hold();
            if hold.is_zero() {
                return Ok(());
            }
            if hold > self.limits.deadline.saturating_sub(self.since.elapsed()) {
                let why = format!(
                    "{}: asks to be left alone for {} s",
                    client.home(),
                    hold.as_secs()
                );
                return Err(GivenUp::Failed(Failure::passing(why)));
            }
            sleep(hold, stop).map_err(GivenUp::Stopped)?;
        }
    }
}

/// Why there is no other try.
#[derive(Debug)]
pub enum GivenUp {
    /// The last failure.
    Failed(Failure),
    /// Somebody asked to stop.
    Stopped(Error),
}

/// Doubles from [`FIRST_PAUSE`] to [`LONGEST_PAUSE`]; up to a quarter less, so that many do not come back at once.
fn back_off(failures: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let spread = now.map_or(0, |d| d.subsec_micros() % 256);
    let pause = doubled.min(LONGEST_PAUSE);
    pause - pause * spread / 1024
}

/// Sleeps, and wakes for a stop.
pub fn sleep(time: Duration, stop: &Stop) -> Result<()> {
    let begun = Instant::now();
    while let Some(left) = time.checked_sub(begun.elapsed()).filter(|t| !t.is_zero()) {
        stop.check()?;
        std::thread::sleep(left.min(SLICE));
    }
    stop.check()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(tries: u32, seconds: u64) -> Limits {
        Limits {
            tries,
            deadline: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        for failures in 1..40 {
            let full = (0.5 * 2f64.powi(failures as i32 - 1)).min(30.0);
            let pause = back_off(failures).as_secs_f64();
            assert!(
                pause <= full && pause >= full * 0.75 - 1e-6,
                "{failures}: {pause}"
            );
        }
    }

    #[test]
    fn patience_ends_by_tries_deadline_kind_and_stop() {
        let stop = Stop::default();
        let failed = |result| matches!(result, Err(GivenUp::Failed(_)));
        let passing = Failure::passing("x");
        assert!(failed(Patience::new(limits(1, 60)).wait(&passing, &stop)));
        assert!(failed(Patience::new(limits(9, 0)).wait(&passing, &stop)));
        let long = Failure {
            retry_after: Some(Duration::from_secs(3600)),
            ..passing.clone()
        };
        assert!(failed(Patience::new(limits(9, 60)).wait(&long, &stop)));
        let lasting = Failure::of(Kind::Lasting, "x");
        assert!(failed(Patience::new(limits(9, 60)).wait(&lasting, &stop)));
        let now = Failure {
            retry_after: Some(Duration::ZERO),
            ..passing
        };
        let mut patience = Patience::new(limits(2, 60));
        for _ in 0..5 {
            assert!(patience.wait(&now, &stop).is_ok());
            patience.progress();
        }
        stop.raise();
        assert!(matches!(
            patience.wait(&now, &stop),
            Err(GivenUp::Stopped(_))
        ));
    }
}
