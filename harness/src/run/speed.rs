//! Speed by length: each length measured by itself, with nothing shared and nothing warm but the weights.

use std::path::{Path, PathBuf};

use crate::backend::{Backend, Event, SpeedSample};
use crate::memory::{peak_rss_bytes, show_bytes};
use crate::record::SpeedRow;
use crate::run::folder::{RunFolder, SPEED};
use crate::run::journal::replace_file;
use crate::run::progress::Progress;
use crate::stop::Stop;
use crate::{Error, Result};

/// Tokens generated to measure decoding.
pub const DECODE: usize = 16;
/// No further measurement of a length is begun after so many seconds, nor after as many as the backend wants.
const SECONDS: f64 = 1.5;

/// The rows of `speed.csv` so far, and what is still to be measured.
#[derive(Debug)]
pub struct SpeedLog {
    path: PathBuf,
    rows: Vec<SpeedRow>,
    open: Vec<usize>,
}

impl SpeedLog {
    /// Reads what a killed run has measured already.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(dir: &Path, lengths: &[usize]) -> Result<Self> {
        let rows = RunFolder::open(dir)?.speed()?;
        let mut open: Vec<usize> = lengths
            .iter()
            .copied()
            .filter(|n| rows.iter().all(|r| r.context != *n))
            .collect();
        open.sort_unstable();
        open.dedup();
        Ok(Self {
            path: dir.join(SPEED),
            rows,
            open,
        })
    }

    /// Estimated seconds of what is still to be measured.
    pub fn open_seconds(&self, backend: &dyn Backend) -> f64 {
        self.open.iter().map(|n| seconds(backend, *n)).sum()
    }

    /// Measures every open length up to this one, and writes each down.
    ///
    /// # Errors
    /// When the backend or the disk fails, or somebody asked to stop.
    pub fn measure_up_to(
        &mut self,
        length: usize,
        backend: &mut dyn Backend,
        memory: u64,
        progress: &mut Progress,
        stop: &Stop,
    ) -> Result<()> {
        while let Some(context) = self.open.first().copied().filter(|n| *n <= length) {
            self.open.remove(0);
            let needed = backend.bytes_needed(context + DECODE);
            let open_work = seconds(backend, context);
            if needed > memory {
                progress.note(&format!(
                    "{context} tokens: needs {}, {} available: skipped",
                    show_bytes(needed),
                    show_bytes(memory)
                ));
                progress.worked(0, open_work);
                continue;
            }
            progress.on(format!("the speed at {context} tokens"));
            let row = match measure(backend, context, progress, stop) {
                Err(e) if backend.terms().is_some() && !matches!(e, Error::Interrupted) => {
                    progress.note(&format!("the speed at {context} tokens: {e}"));
                    progress.worked(0, open_work);
                    continue;
                }
                measured => measured?,
            };
            progress.worked(0, open_work);
            self.rows.push(row);
            self.rows.sort_by_key(|r| r.context);
            self.write()?;
        }
        Ok(())
    }

    fn write(&self) -> Result<()> {
        replace_file(&self.path, |out| {
            let mut csv = csv::Writer::from_writer(out);
            for row in &self.rows {
                csv.serialize(row)?;
            }
            csv.flush()
        })
    }
}

/// Estimated seconds of measuring a length.
pub fn seconds(backend: &dyn Backend, context: usize) -> f64 {
    let once = backend.seconds(0, context, DECODE);
    let most = backend.speed_repeats() as f64;
    once * (SECONDS / once.max(1e-6)).ceil().clamp(1.0, most)
}

fn measure(
    backend: &mut dyn Backend,
    context: usize,
    progress: &mut Progress,
    stop: &Stop,
) -> Result<SpeedRow> {
    let started = std::time::Instant::now();
    let mut samples: Vec<SpeedSample> = Vec::new();
    while samples.is_empty()
        || samples.len() < backend.speed_repeats() && started.elapsed().as_secs_f64() < SECONDS
    {
        let sample = backend
            .measure(context, DECODE, &mut |event| {
                if let Event::Prefilled(n) | Event::Decoded(n) = event {
                    progress.worked(n, 0.0);
                }
                stop.check()
            })
            .map_err(Error::at_work)?;
        samples.push(sample);
    }
    let first = samples[0];
    let tokens = first.prompt_tokens;
    let of = |f: fn(&SpeedSample) -> f64| median(samples.iter().map(f).collect());
    let warm = samples.iter().filter_map(|s| Some(s.again?.first_token_s));
    let warm: Vec<f64> = warm.collect();
    Ok(SpeedRow {
        context,
        prefill_tokens_per_s: rate(tokens, of(|s| s.prefill_s))?,
        decode_tokens_per_s: rate(first.decoded, of(|s| s.decode_s))?,
        first_token_s: of(|s| s.first_token_s),
        peak_rss_bytes: match backend.terms() {
            None => peak_rss_bytes(),
            Some(_) => 0,
        },
        cache_bytes: first.cache_bytes,
        repeats: samples.len(),
        prompt_tokens: (tokens != context).then_some(tokens),
        warm_first_token_s: (!warm.is_empty()).then(|| median(warm)),
        cold_cached_tokens: first.again.and_then(|a| a.cold_cached),
        warm_cached_tokens: first.again.and_then(|a| a.warm_cached),
    })
}

fn rate(tokens: usize, seconds: f64) -> Result<f64> {
    if seconds > 0.0 {
        Ok(tokens as f64 / seconds)
    } else {
        Err(Error::Unfinished(format!(
            "{tokens} tokens took no time: the clock stands still"
        )))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    if n == 0 {
        return 0.0;
    }
    (values[(n - 1) / 2] + values[n / 2]) / 2.0
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_of_two_is_their_mean() {
        assert_eq!(median(vec![3.0, 1.0]), 2.0);
        assert_eq!(median(vec![3.0, 1.0, 9.0]), 3.0);
    }
}
