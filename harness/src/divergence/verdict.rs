//! A candidate against a reference over a whole text, and whether it is within bounds.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Result;
use crate::divergence::curve::{Bin, Place, bin, curve};
use crate::divergence::knees::{Knee, knees, level};
use crate::divergence::measure::{Row, measure};
use crate::divergence::rows::Recorded;

/// Beyond these, the candidate is not the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bounds {
    /// KL, nats a token: exceeded when the lower end of the interval of any bin of positions is above it.
    pub max_kl: f64,
    /// Share of equal most probable tokens: exceeded when the upper end of its interval over all tokens is below it.
    pub min_top1: f64,
    /// No knee.
    pub no_knee: bool,
}

impl Default for Bounds {
    /// Between q8_0 (0.0014 nats on average) and q5_K_M (0.011) as weights; and nothing that begins somewhere.
    fn default() -> Self {
        Self {
            max_kl: 0.01,
            min_top1: 0.9,
            no_knee: true,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Within all bounds.
    pub within_bounds: bool,
    /// The bounds.
    pub bounds: Bounds,
    /// Each bound that is exceeded, in words.
    pub exceeded: Vec<String>,
    /// Sequences.
    pub sequences: usize,
    /// Over all positions.
    pub all: Bin,
    /// By position.
    pub curve: Vec<Bin>,
    /// Positions from which on the divergence is another.
    pub knees: Vec<Knee>,
}

/// Collects measures in the order of the reference's tokens.
#[derive(Debug)]
pub struct Comparison<'a> {
    reference: &'a mut Recorded,
    ranges: Vec<std::ops::Range<usize>>,
    places: Vec<Place>,
    buffer: Vec<f32>,
}

impl<'a> Comparison<'a> {
    /// Before the first row.
    pub fn new(reference: &'a mut Recorded) -> Self {
        reference.drop_clipped();
        Self {
            ranges: reference.sequences(),
            reference,
            places: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Takes the candidate's row after the token at `position` of a sequence; nothing happens where the reference has
    /// none.
    ///
    /// # Errors
    /// When the reference does not read.
    pub fn take(&mut self, sequence: usize, position: usize, candidate: Row<'_>) -> Result<()> {
        let Some(range) = self.ranges.get(sequence) else {
            return Ok(());
        };
        let i = range.start + position;
        let next = self
            .reference
            .tokens
            .get(i + 1)
            .filter(|_| i + 1 < range.end);
        let next = next.copied();
        if let Some(row) = self.reference.row(i, &mut self.buffer)? {
            self.places.push(Place {
                sequence,
                position,
                measure: measure(row, candidate, next),
            });
        }
        Ok(())
    }

    /// Sums up.
    pub fn verdict(&self, bounds: Bounds) -> Verdict {
        let places = &self.places;
        let first = places.iter().map(|p| p.position).min().unwrap_or(0);
        let end = places.iter().map(|p| p.position + 1).max().unwrap_or(0);
        let all = bin(places, first, end);
        let curve = curve(places);
        // Positions that were not compared are no part of the series.
        let mut levels: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
        for place in places {
            let (sum, n) = levels.entry(place.position).or_default();
            *sum += level(place.measure.kl);
            *n += 1.0;
        }
        let series: Vec<f64> = levels.values().map(|(sum, n)| sum / n).collect();
        let positions: Vec<usize> = levels.into_keys().collect();
        let mut knees = knees(&series);
        for knee in &mut knees {
            for at in [&mut knee.position, &mut knee.low, &mut knee.high] {
                *at = positions.get(*at).copied().unwrap_or(*at);
            }
        }
        let mut exceeded = Vec::new();
        let worst = curve.iter().max_by(|a, b| a.kl.low.total_cmp(&b.kl.low));
        if let Some(worst) = worst.filter(|b| b.kl.low > bounds.max_kl) {
            exceeded.push(format!(
                "KL of positions {} to {} is {:.2e} nats a token ({:.2e} to {:.2e}), more than {}",
                worst.from,
                worst.to - 1,
                worst.kl.mean,
                worst.kl.low,
                worst.kl.high,
                bounds.max_kl
            ));
        }
        if all.top1.high < bounds.min_top1 {
            exceeded.push(format!(
                "{:.1} % of the most probable tokens are the same ({:.1} to {:.1}), fewer than {:.1}",
                100.0 * all.top1.mean,
                100.0 * all.top1.low,
                100.0 * all.top1.high,
                100.0 * bounds.min_top1
            ));
        }
        if bounds.no_knee {
            exceeded.extend(knees.iter().map(Knee::in_words));
        }
        Verdict {
            within_bounds: exceeded.is_empty(),
            bounds,
            exceeded,
            sequences: self.ranges.len(),
            all,
            curve,
            knees,
        }
    }
}

impl Knee {
    /// `from position 8191 on (8191 to 8191): 1.0e-9 to 2.1e-3 nats, p 0.002`.
    pub fn in_words(&self) -> String {
        format!(
            "from position {} on ({} to {}) the typical KL goes from {:.1e} to {:.1e} nats, p = {:.3}",
            self.position, self.low, self.high, self.before, self.after, self.p
        )
    }
}
