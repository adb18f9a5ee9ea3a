//! A prompt put again: a cache of prefixes that returns another state is warm the second time.

use crate::audit::observe::Observation;
use crate::audit::refine::Refined;
use crate::audit::session::weigh;
use crate::audit::table::Table;
use crate::audit::verdict::{Kind, Verdict};
use crate::stats::wilson;

/// Most times that a probe is put again.
const REPEATS: usize = 6;

/// What a probe that was put again tells.
#[derive(Clone, Debug, Default)]
pub struct Warm {
    /// Nats between the same numbers, on average.
    pub apart: Option<f64>,
    /// What was near cold, and is far warm.
    pub found: Option<Found>,
}

/// What was near the reference, and is further from it than an honest engine may be when it is put again.
#[derive(Clone, Debug)]
pub enum Found {
    /// Each time: a cache of prefixes that returns another state.
    Cache(Refined),
    /// Now and then: some requests are answered by another backend, of so many.
    Mixed {
        /// Answers that were far.
        far: usize,
        /// All of them, the first ones included.
        all: usize,
        /// In words.
        evidence: String,
    },
}

/// Puts a probe again whose first answer was near the reference, as those of all `near` requests were. Once may be chance:
/// what is far is put again until it is near, which a cache would not be, or until no share of bad backends has all first
/// answers near and all repeats far with a probability above `alpha`.
///
/// # Errors
/// When it is not answered.
pub fn look(
    table: &Table,
    (probe, cold): (usize, &Observation),
    (near, alpha): (usize, f64),
    ask: impl Fn(usize) -> Result<Observation, String>,
) -> Result<Warm, String> {
    let again = ask(probe)?;
    let apart = apart(&cold.values, &again.values);
    let name = &table.probes[probe].name;
    let (mut far, mut least) = (0, f64::INFINITY);
    let mut told = again;
    let found = loop {
        match too_far(table, probe, &told) {
            Some(size) => (far, least) = (far + 1, least.min(size)),
            None if far == 0 => break None,
            None => {
                break Some(Found::Mixed {
                    far,
                    all: near + far + 1,
                    evidence: format!(
                        "{name}, put again {} times, was {least:.1} times as far from the reference as an honest engine may be \
                         in {far}, and near it else",
                        far + 1
                    ),
                });
            }
        }
        if chance(near, far) <= alpha || far == REPEATS {
            break Some(Found::Cache(Refined {
                name: "prefix-cache".to_owned(),
                summary:
                    "a prompt that was seen before meets another state: warm differs from cold"
                        .to_owned(),
                evidence: format!(
                    "{name}, put again {far} times, was {least:.1} times as far from the reference as an honest engine may be, \
                     and near it the first time, as {near} requests were"
                ),
                interval: None,
            }));
        }
        told = ask(probe)?;
    };
    Ok(Warm { apart, found })
}

/// The greatest probability, over all shares s of bad backends, of `near` answers that are not theirs and then `far` that
/// are: (1 - s)^near s^far.
fn chance(near: usize, far: usize) -> f64 {
    let (n, m) = (near as f64, far as f64);
    let s = m / (n + m);
    (1.0 - s).powf(n) * s.powf(m)
}

/// The greatest share of bad backends that `near` good answers leave possible: seen with a probability of less than 1 - `alpha`.
pub fn unseen(near: usize, alpha: f64) -> f64 {
    1.0 - alpha.powf(1.0 / near.max(1) as f64)
}

/// Good answers after which no share above this is possible.
pub fn needed(share: f64, alpha: f64) -> usize {
    (alpha.ln() / (1.0 - share).ln()).ceil() as usize
}

impl Found {
    /// The verdict with what was found in place of *same*.
    pub fn told(self, verdict: Verdict) -> Verdict {
        match self {
            Self::Cache(cache) => verdict.with(vec![cache]),
            Self::Mixed { far, all, evidence } => {
                let share = wilson(far as f64 / all as f64, all as f64);
                let mixed = Refined {
                    name: "mixture".to_owned(),
                    summary: "some requests are answered by another backend".to_owned(),
                    evidence,
                    interval: None,
                };
                Verdict {
                    verdict: Kind::Other,
                    share: Some(share.mean),
                    share_interval: Some([share.low, share.high]),
                    refined: vec![mixed],
                    ..verdict
                }
            }
        }
    }
}

/// How much further from the reference than an honest engine may be, where it is.
fn too_far(table: &Table, probe: usize, told: &Observation) -> Option<f64> {
    let far = weigh(table, probe, told)?.far?[0].exp();
    (far > 1.0).then_some(far)
}

/// How far two answers to one probe are apart, nats on average.
fn apart(first: &[(usize, f64)], again: &[(usize, f64)]) -> Option<f64> {
    let pairs = first.iter().filter_map(|(place, x)| {
        let same = again.iter().find(|(other, _)| other == place)?;
        Some((x - same.1).abs())
    });
    let sizes: Vec<f64> = pairs.collect();
    (!sizes.is_empty()).then(|| sizes.iter().sum::<f64>() / sizes.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_told_from_a_mixture_when_chance_would_hardly_do_it() {
        // Four near, then four far: a half, 1 in 256.
        assert_eq!(chance(4, 4), 1.0 / 256.0);
        assert!((unseen(4, 0.01) - 0.684).abs() < 1e-3);
        assert_eq!(needed(0.1, 0.01), 44);
        assert!(unseen(44, 0.01) <= 0.1 && unseen(43, 0.01) > 0.1);
        assert!(chance(4, 2) > 0.02 && chance(4, 3) > 0.008 && chance(3, 4) < 0.01);
    }
}
