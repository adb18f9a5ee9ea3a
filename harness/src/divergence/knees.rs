//! Positions from which on the divergence is another: change points, with their confidence.
//!
//! The series is the mean over sequences of log10(KL), no lower than log10 of what rounding leaves. *Whether* it changes
//! is asked by ranks: the largest deviation of their cumulated sum from a straight line (Pettitt 1979), against the same of
//! series whose blocks of √n positions are shuffled, so that neighbours that are alike are not taken for a change.
//! *Where* it changes is the split of least squares. Both halves are asked again (binary segmentation, Vostrikova 1981),
//! and every place once more between its neighbours.

use serde::Serialize;

use crate::rng::Rng;

/// Divergence that rounding leaves, nats: below it, two positions are alike.
pub const FLOOR: f64 = 1e-9;
/// A change is told when chance alone makes one as large in fewer than this share of shuffled series.
pub const ALPHA: f64 = 0.01;
/// Factor between the typical divergences before and after below which a change is too small to be a knee.
pub const FACTOR: f64 = 3.0;
/// Positions on either side of a knee, at least.
const SIDE: usize = 16;
/// Shuffled series; as many resamples make an interval.
const SHUFFLES: usize = 499;

/// A change of the divergence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Knee {
    /// From this position on.
    pub position: usize,
    /// Its 95 % interval, by a bootstrap of blocks on either side.
    pub low: usize,
    /// Its other end.
    pub high: usize,
    /// Share of shuffled series that deviate as much.
    pub p: f64,
    /// Geometric mean of the divergence before, nats; [`FLOOR`] and less count as that.
    pub before: f64,
    /// And after, up to the next knee.
    pub after: f64,
}

/// The knees of divergences by position, the mean of their logarithms over sequences: see [`level`].
pub fn knees(series: &[f64]) -> Vec<Knee> {
    let mut rng = Rng::of(0, "divergence", series.len() as u64, "knees");
    let mut edges = vec![0, series.len()];
    let mut open = vec![(0, series.len())];
    while let Some((from, to)) = open.pop() {
        let part = &series[from..to];
        if part.len() < 2 * SIDE || significance(part, &mut rng) > ALPHA {
            continue;
        }
        let at = from + place(part);
        edges.push(at);
        open.extend([(from, at), (at, to)]);
    }
    edges.sort_unstable();
    loop {
        for i in 1..edges.len().saturating_sub(1) {
            edges[i] = edges[i - 1] + place(&series[edges[i - 1]..edges[i + 1]]);
        }
        let step = |w: &[usize]| (mean(&series[w[1]..w[2]]) - mean(&series[w[0]..w[1]])).abs();
        let steps = edges.windows(3).map(step).enumerate();
        match steps.min_by(|a, b| a.1.total_cmp(&b.1)) {
            Some((i, smallest)) if smallest < FACTOR.log10() => drop(edges.remove(i + 1)),
            _ => break,
        }
    }
    edges
        .windows(3)
        .map(|w| knee(series, w[0], w[1], w[2], &mut rng))
        .collect()
}

/// What a divergence counts as in a series.
pub fn level(kl: f64) -> f64 {
    kl.max(FLOOR).log10()
}

fn knee(series: &[f64], from: usize, at: usize, to: usize, rng: &mut Rng) -> Knee {
    let (before, after) = (&series[from..at], &series[at..to]);
    let mut places: Vec<usize> = (0..SHUFFLES)
        .map(|_| {
            let mut again = resampled(before, rng);
            again.extend(resampled(after, rng));
            from + place(&again)
        })
        .collect();
    places.sort_unstable();
    Knee {
        position: at,
        low: places[SHUFFLES * 25 / 1000].min(at),
        high: places[SHUFFLES * 975 / 1000].max(at),
        p: significance(&series[from..to], rng),
        before: 10f64.powf(mean(before)),
        after: 10f64.powf(mean(after)),
    }
}

fn mean(part: &[f64]) -> f64 {
    part.iter().sum::<f64>() / part.len().max(1) as f64
}

/// The split of least squares, so many positions from the start.
fn place(part: &[f64]) -> usize {
    let (n, total) = (part.len() as f64, part.iter().sum::<f64>());
    let (mut sum, mut best) = (0.0, (part.len() / 2, f64::NEG_INFINITY));
    for (i, x) in part.iter().enumerate() {
        let k = i as f64;
        if i >= SIDE && i + SIDE <= part.len() {
            let gap = sum / k - (total - sum) / (n - k);
            let between = gap * gap * k * (n - k);
            if between > best.1 {
                best = (i, between);
            }
        }
        sum += x;
    }
    best.0
}

/// Share of shuffled series whose ranks deviate as much as these.
fn significance(part: &[f64], rng: &mut Rng) -> f64 {
    let ranks = ranks(part);
    let found = deviation(&ranks);
    if found <= 0.0 {
        return 1.0;
    }
    let block = (part.len() as f64).sqrt().ceil() as usize;
    let mut blocks: Vec<&[f64]> = Vec::new();
    let mut as_much = 0;
    let mut shuffled = Vec::with_capacity(ranks.len());
    for _ in 0..SHUFFLES {
        // Blocks begin elsewhere each time.
        let (head, tail) = ranks.split_at(rng.below(block).min(ranks.len()));
        blocks.clear();
        blocks.push(head);
        blocks.extend(tail.chunks(block));
        for i in (1..blocks.len()).rev() {
            blocks.swap(i, rng.below(i + 1));
        }
        shuffled.clear();
        blocks.iter().for_each(|b| shuffled.extend_from_slice(b));
        as_much += usize::from(deviation(&shuffled) >= found);
    }
    (1 + as_much) as f64 / (1 + SHUFFLES) as f64
}

/// Ranks less their mean; equals share theirs.
fn ranks(part: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..part.len()).collect();
    order.sort_by(|a, b| part[*a].total_cmp(&part[*b]));
    let middle = (part.len() as f64 - 1.0) / 2.0;
    let mut ranks = vec![0.0; part.len()];
    let mut first = 0;
    for equals in order.chunk_by(|a, b| part[*a] == part[*b]) {
        let rank = first as f64 + (equals.len() as f64 - 1.0) / 2.0 - middle;
        equals.iter().for_each(|i| ranks[*i] = rank);
        first += equals.len();
    }
    ranks
}

/// Largest deviation of the cumulated sum.
fn deviation(ranks: &[f64]) -> f64 {
    let mut sum = 0.0f64;
    ranks.iter().fold(0.0, |most: f64, rank| {
        sum += rank;
        most.max(sum.abs())
    })
}

/// A series of this length from blocks of this one.
fn resampled(part: &[f64], rng: &mut Rng) -> Vec<f64> {
    let block = ((part.len() as f64).sqrt().ceil() as usize).max(1);
    let mut again = Vec::with_capacity(part.len() + block);
    while again.len() < part.len() {
        let start = rng.below(part.len() - block.min(part.len()) + 1);
        again.extend_from_slice(&part[start..(start + block).min(part.len())]);
    }
    again.truncate(part.len());
    again
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise whose neighbours are alike.
    fn noise(n: usize, rng: &mut Rng) -> Vec<f64> {
        let mut x = 0.0;
        (0..n)
            .map(|_| {
                x = 0.6 * x + rng.uniform() - 0.5;
                x - 5.0
            })
            .collect()
    }

    #[test]
    fn an_onset_behind_nothing_is_found_exactly() {
        let mut rng = Rng::new(1);
        let mut series = noise(1000, &mut rng);
        series[..127].fill(level(0.0));
        let found = knees(&series);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].position, found[0].low, found[0].high),
            (127, 127, 127)
        );
        assert!(found[0].p < 0.005 && found[0].before == FLOOR);
    }

    #[test]
    fn steps_in_noise_are_found_nearby() {
        let mut rng = Rng::new(2);
        let mut series = noise(2000, &mut rng);
        series[700..1400].iter_mut().for_each(|x| *x += 1.2);
        let found = knees(&series);
        assert_eq!(found.len(), 2, "{found:?}");
        for (knee, at) in found.iter().zip([700usize, 1400]) {
            assert!(knee.position.abs_diff(at) < 12, "{knee:?}");
            assert!(knee.low <= at && at <= knee.high, "{knee:?}");
        }
        assert!(found[0].after > 5.0 * found[0].before);
    }

    #[test]
    fn noise_has_no_knee() {
        let mut rng = Rng::new(3);
        let found: usize = (0..60).map(|_| knees(&noise(600, &mut rng)).len()).sum();
        assert_eq!(found, 0);
        assert!(knees(&vec![level(0.0); 500]).is_empty());
        assert!(knees(&[]).is_empty());
    }
}
