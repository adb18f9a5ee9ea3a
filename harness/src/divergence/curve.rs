//! Means by position, with intervals that know that neighbouring tokens are alike.

use serde::Serialize;

use crate::divergence::measure::Measure;
use crate::rng::Rng;

/// Positions of a block that is resampled whole.
const BLOCK: usize = 32;
/// Resamples of an interval.
const RESAMPLES: usize = 1000;
/// From so many sequences on, sequences are resampled instead of blocks.
const SEQUENCES: usize = 8;
/// Bins of the curve, about.
const BINS: usize = 32;

/// A mean and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Some neighbouring positions.
#[derive(Clone, Debug, Serialize)]
pub struct Bin {
    /// First position.
    pub from: usize,
    /// Behind the last position.
    pub to: usize,
    /// Tokens, of all sequences.
    pub tokens: usize,
    /// KL, nats a token.
    pub kl: Estimate,
    /// Mean upper bound of the KL, where only a part of the reference is known.
    pub kl_at_most: f64,
    /// Share of tokens where the most probable token is the same.
    pub top1: Estimate,
    /// Log probability of the actual token, candidate's minus reference's.
    pub delta: Estimate,
}

/// A measured position of a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Number of the sequence.
    pub sequence: usize,
    /// Position in it.
    pub position: usize,
    /// What was measured.
    pub measure: Measure,
}

/// The curve over all positions: bins of equal width, a multiple of the block.
pub fn curve(places: &[Place]) -> Vec<Bin> {
    let end = places.iter().map(|p| p.position + 1).max().unwrap_or(0);
    let width = end.div_ceil(BINS).next_multiple_of(BLOCK).max(BLOCK);
    let mut bins: Vec<Vec<Place>> = vec![Vec::new(); end.div_ceil(width)];
    for place in places {
        bins[place.position / width].push(*place);
    }
    let whole = bins.into_iter().enumerate().filter(|(_, b)| !b.is_empty());
    whole
        .map(|(i, places)| bin(&places, i * width, ((i + 1) * width).min(end)))
        .collect()
}

/// Means over some positions.
pub fn bin(places: &[Place], from: usize, to: usize) -> Bin {
    let deltas: Vec<_> = places
        .iter()
        .filter(|p| p.measure.delta.is_some())
        .copied()
        .collect();
    let at_most: f64 = places.iter().map(|p| p.measure.kl_at_most).sum();
    Bin {
        from,
        to,
        tokens: places.len(),
        kl: estimate(places, |m| m.kl),
        kl_at_most: at_most / places.len().max(1) as f64,
        top1: estimate(places, |m| f64::from(u8::from(m.agree))),
        delta: estimate(&deltas, |m| m.delta.unwrap_or(0.0)),
    }
}

/// A mean, with the percentile interval of a bootstrap over sequences, or over blocks of positions where there are few
/// sequences.
fn estimate(places: &[Place], value: impl Fn(&Measure) -> f64) -> Estimate {
    let mut units: Vec<((usize, usize), f64, f64)> = Vec::new();
    let mut sequences: Vec<usize> = places.iter().map(|p| p.sequence).collect();
    sequences.dedup();
    let whole = sequences.len() >= SEQUENCES;
    for place in places {
        let block = if whole { 0 } else { place.position / BLOCK };
        let key = (place.sequence, block);
        match units.last_mut() {
            Some((last, sum, n)) if *last == key => {
                *sum += value(&place.measure);
                *n += 1.0;
            }
            _ => units.push((key, value(&place.measure), 1.0)),
        }
    }
    let mean_of = |pick: &mut dyn FnMut() -> usize| {
        let (mut sum, mut n) = (0.0, 0.0);
        for _ in 0..units.len() {
            let unit = &units[pick()];
            sum += unit.1;
            n += unit.2;
        }
        sum / f64::max(n, 1.0)
    };
    let mut next = 0;
    let mean = mean_of(&mut || {
        next += 1;
        next - 1
    });
    if units.len() < 2 {
        return Estimate {
            mean,
            low: mean,
            high: mean,
        };
    }
    let mut rng = Rng::of(0, "divergence", units.len() as u64, "bootstrap");
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| mean_of(&mut || rng.below(units.len())))
        .collect();
    means.sort_by(f64::total_cmp);
    Estimate {
        mean,
        low: means[RESAMPLES * 25 / 1000],
        high: means[RESAMPLES * 975 / 1000 - 1],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(sequence: usize, position: usize, kl: f64) -> Place {
        let measure = Measure {
            kl,
            kl_at_most: kl,
            agree: kl < 0.5,
            delta: Some(-kl),
        };
        Place {
            sequence,
            position,
            measure,
        }
    }

    #[test]
    fn intervals_hold_the_mean_about_as_often_as_they_say() {
        let mut rng = Rng::new(4);
        let mut held = 0;
        for _ in 0..200 {
            let level = |rng: &mut Rng| -(1.0 - rng.uniform()).ln();
            let mut places = Vec::new();
            for sequence in 0..2 {
                for block in 0..20 {
                    // Tokens of a block have their level in common: a token is not an independent observation.
                    let common = level(&mut rng);
                    places.extend((0..BLOCK).map(|i| place(sequence, block * BLOCK + i, common)));
                }
            }
            let found = estimate(&places, |m| m.kl);
            held += usize::from(found.low <= 1.0 && 1.0 <= found.high);
        }
        assert!((174..=198).contains(&held), "{held} of 200");
    }

    #[test]
    fn bins_cover_every_position_once() {
        let places: Vec<_> = (0..3000).map(|p| place(0, p, p as f64)).collect();
        let bins = curve(&places);
        assert_eq!(bins.iter().map(|b| b.tokens).sum::<usize>(), 3000);
        assert!(
            bins.windows(2)
                .all(|w| w[0].to == w[1].from && w[0].kl.high < w[1].kl.low)
        );
        assert_eq!(bins.last().map(|b| b.to), Some(3000));
    }
}
