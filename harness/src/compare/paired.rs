//! Interval and test of paired differences, whose units may come in clusters, and many tests at once.

use super::Change;
use crate::rng::Rng;
use crate::stats::{Z95, mcnemar};

/// Clusters up to which all signs are tried.
const ALL_SIGNS: usize = 16;
/// Signs that are drawn where there are more.
const DRAWS: u64 = 99_999;

/// Mean difference and 95 % interval of `clusters` of differences in -1..=1: the adjusted Wald interval of Bonett and
/// Price (2012), which adds a pair of each direction, with a cluster-robust variance. Without it, differences that are
/// all zero would have no width.
///
/// ```
/// use fathom_harness::compare::interval;
/// // 40 pairs, one gained, three lost: Bonett and Price's formula gives -0.161 to 0.066, the robust variance is 42/41 of theirs.
/// let clusters: Vec<Vec<f64>> = (0..40).map(|i| vec![match i { 0 => 1.0, 1..4 => -1.0, _ => 0.0 }]).collect();
/// let i = interval(&clusters);
/// assert!((i.mean + 0.05).abs() < 1e-12 && (i.low + 0.1624).abs() < 1e-4 && (i.high - 0.0672).abs() < 1e-4);
/// ```
pub fn interval(clusters: &[Vec<f64>]) -> Change {
    let n: usize = clusters.iter().map(Vec::len).sum();
    let sum: f64 = clusters.iter().flatten().sum();
    let (g, all) = ((clusters.len() + 2) as f64, (n + 2) as f64);
    let centre = sum / all;
    let spread = |sum: f64, n: f64| (sum - n * centre).powi(2);
    let between: f64 = clusters
        .iter()
        .map(|c| spread(c.iter().sum(), c.len() as f64))
        .sum();
    let between = between + spread(1.0, 1.0) + spread(-1.0, 1.0);
    let half = Z95 * (between * g / (g - 1.0)).sqrt() / all;
    Change {
        mean: sum / n.max(1) as f64,
        low: (centre - half).max(-1.0),
        high: (centre + half).min(1.0),
    }
}

/// Two-sided p of no change: the share of signs, one for each cluster, under which the sum of all differences is at least
/// as far from zero. Exact for up to 16 clusters that changed, and for any number that changed alike (McNemar's test);
/// else of 99 999 signs, drawn the same way each time, and never too small.
///
/// ```
/// use fathom_harness::compare::sign_flips;
/// assert_eq!(sign_flips(&[vec![0.0], vec![0.0, 0.0]]), 1.0);
/// // Nine of ten lost: McNemar's exact p.
/// let one = |d: f64| vec![d];
/// let lost: Vec<_> = (0..10).map(|i| one(if i == 0 { 1.0 } else { -1.0 })).collect();
/// assert!((sign_flips(&lost) - 0.021484375).abs() < 1e-12);
/// // The same differences in two documents are two observations.
/// assert_eq!(sign_flips(&[vec![-1.0; 5], vec![-1.0; 4]]), 0.5);
/// ```
pub fn sign_flips(clusters: &[Vec<f64>]) -> f64 {
    let sums: Vec<f64> = clusters
        .iter()
        .map(|c| c.iter().sum::<f64>())
        .filter(|s| s.abs() > 1e-9)
        .collect();
    let observed = sums.iter().sum::<f64>().abs() - 1e-9;
    let Some(first) = sums.first() else {
        return 1.0;
    };
    if sums.iter().all(|s| (s.abs() - first.abs()).abs() < 1e-9) {
        let gained = sums.iter().filter(|s| **s > 0.0).count();
        return mcnemar(gained, sums.len() - gained);
    }
    let sum_of = |signs: &mut dyn FnMut(usize) -> bool| -> f64 {
        let signed = sums.iter().enumerate();
        signed.map(|(i, s)| if signs(i) { -s } else { *s }).sum()
    };
    if sums.len() <= ALL_SIGNS {
        let all = 1u32 << sums.len();
        let far = (0..all).filter(|bits| sum_of(&mut |i| bits >> i & 1 == 1).abs() >= observed);
        return far.count() as f64 / f64::from(all);
    }
    let mut rng = Rng::of(0, "compare", sums.len() as u64, "signs");
    let mut far = 1;
    for _ in 0..DRAWS {
        let (mut bits, mut left) = (0, 0);
        let sum = sum_of(&mut |_| {
            if left == 0 {
                (bits, left) = (rng.bits(), 64);
            }
            (bits, left) = (bits >> 1, left - 1);
            bits & 1 == 1
        });
        far += u64::from(sum.abs() >= observed);
    }
    far as f64 / (DRAWS + 1) as f64
}

/// Holm's adjusted p of each test (Holm 1979): below alpha with probability alpha at most for any of the true ones, however
/// they depend on each other.
///
/// ```
/// use fathom_harness::compare::holm;
/// assert_eq!(holm(&[0.5, 0.25, 0.125]), [0.5, 0.5, 0.375]);
/// ```
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let (mut adjusted, mut least) = (vec![1.0; p.len()], 0.0f64);
    for (rank, i) in order.into_iter().enumerate() {
        least = least.max((p[i] * (p.len() - rank) as f64).min(1.0));
        adjusted[i] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two runs of one model: pairs in clusters that change together, each way as often.
    fn no_change(rng: &mut Rng) -> Vec<Vec<f64>> {
        (0..20)
            .map(|_| {
                let sign = if rng.bits() & 1 == 0 { 1.0 } else { -1.0 };
                let scale = [0.0, 0.5, 1.0, 1.0][(rng.bits() & 3) as usize];
                vec![sign * scale; 1 + (rng.bits() % 3) as usize]
            })
            .collect()
    }

    #[test]
    fn equal_models_are_told_apart_as_often_as_said() {
        const RUNS: usize = 400;
        let mut rng = Rng::new(7);
        let (mut found, mut covered) = (0, 0);
        for _ in 0..RUNS {
            let mut clusters = no_change(&mut rng);
            let change = interval(&clusters);
            covered += usize::from(change.low <= 0.0 && 0.0 <= change.high);
            // Few enough that all signs are tried.
            clusters.truncate(14);
            found += usize::from(sign_flips(&clusters) <= 0.05);
        }
        // Five standard deviations of a share of 5 %.
        assert!(found <= RUNS / 20 + 22, "{found} of {RUNS}");
        assert!(covered >= RUNS * 19 / 20 - 22, "{covered} of {RUNS}");
    }

    #[test]
    fn drawn_signs_agree_with_all_of_them() {
        let few: Vec<Vec<f64>> = (0..16)
            .map(|i| vec![if i < 4 { 1.0 } else { -1.0 } * (1.0 + f64::from(i % 3))])
            .collect();
        let exact = sign_flips(&few);
        // A seventeenth that hardly counts.
        let more = [few, vec![vec![1e-6]]].concat();
        assert!((sign_flips(&more) - exact).abs() < 0.005, "{exact}");
    }
}
