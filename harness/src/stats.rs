//! Intervals, cells and effective length. Formulas, sources and biases are in METHODOLOGY.md.

use std::collections::BTreeMap;

use crate::record::{ScoreRow, Status};

/// Quantile of the standard normal distribution for two-sided 95 %.
pub const Z95: f64 = 1.959_963_984_540_054;
/// Share of the short control's score that counts as still reading (NoLiMa).
pub const EFFECTIVE_SHARE: f64 = 0.85;
/// Share of items without an answer above which a cell is marked.
pub const MARK_ABOVE: f64 = 0.05;

/// A mean in 0..=1 with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Mean.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Wilson's score interval of `mean` over `n` observations (Wilson 1927). For scores between 0 and 1 it is
/// conservative: their variance is at most that of a proportion. `n` may be an effective number.
///
/// ```
/// use fathom_harness::stats::wilson;
/// let i = wilson(0.9, 10.0);
/// assert!((i.low - 0.5958).abs() < 1e-4 && (i.high - 0.9821).abs() < 1e-4);
/// assert_eq!((wilson(0.0, 20.0).low, wilson(1.0, 20.0).high), (0.0, 1.0));
/// ```
pub fn wilson(mean: f64, n: f64) -> Interval {
    if n <= 0.0 {
        return Interval {
            mean,
            low: 0.0,
            high: 1.0,
        };
    }
    let z2 = Z95 * Z95;
    let centre = (mean + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z95 / (1.0 + z2 / n) * (mean * (1.0 - mean) / n + z2 / (4.0 * n * n)).sqrt();
    // At the ends the formula is exact and only its rounding is not.
    let low = if mean <= 0.0 {
        0.0
    } else {
        (centre - half).max(0.0)
    };
    let high = if mean >= 1.0 {
        1.0
    } else {
        (centre + half).min(1.0)
    };
    Interval { mean, low, high }
}

/// Observations that `clusters` of scores are worth: n over the design effect, the ratio of the cluster-robust
/// variance of the mean (with the factor G / (G - 1)) to that of a proportion, at least 1 (Kish 1965; Korn and
/// Graubard 1998 for its use in Wilson's interval). Where every score is the same, the number of clusters.
pub fn effective_n(clusters: &[Vec<f64>]) -> f64 {
    let n: usize = clusters.iter().map(Vec::len).sum();
    let g = clusters.len();
    if g == n || n == 0 {
        return n as f64;
    }
    let mean = clusters.iter().flatten().sum::<f64>() / n as f64;
    let simple = mean * (1.0 - mean) / n as f64;
    if simple <= f64::EPSILON || g < 2 {
        return g as f64;
    }
    let between: f64 = clusters
        .iter()
        .map(|c| c.iter().map(|x| x - mean).sum::<f64>().powi(2))
        .sum();
    let robust = between / (n * n) as f64 * g as f64 / (g - 1) as f64;
    n as f64 / (robust / simple).max(1.0)
}

/// The items of one task at one length, of one run.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Score of the answered items; `None` where none was answered.
    pub score: Option<Interval>,
    /// From all of the unanswered wrong to all of them right.
    pub range: (f64, f64),
    /// Units counted: items, or pairs of claims.
    pub n: usize,
    /// Clusters.
    pub clusters: usize,
    /// Items by status.
    pub statuses: BTreeMap<Status, usize>,
    /// Answers that are empty, loop or are not text.
    pub defects: usize,
    /// What a guess would score.
    pub chance: f64,
}

impl Cell {
    /// Counts rows; claims of a pair are one unit, right when both are (NoCha).
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a ScoreRow>) -> Self {
        let mut units: BTreeMap<(&str, String), Unit> = BTreeMap::new();
        let mut cell = Self {
            score: None,
            range: (0.0, 1.0),
            n: 0,
            clusters: 0,
            statuses: BTreeMap::new(),
            defects: 0,
            chance: 0.0,
        };
        for row in rows {
            *cell.statuses.entry(row.status).or_default() += 1;
            cell.defects += usize::from(!row.defect.is_empty());
            let pair = detail(&row.detail, "pair");
            let key = pair.map_or_else(|| row.item.clone(), str::to_owned);
            units.entry((&row.cluster, key)).or_default().add(row);
        }
        let mut clusters: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let (mut sum, mut unanswered) = (0.0, 0);
        for ((cluster, _), unit) in &units {
            cell.n += 1;
            cell.chance += unit.chance;
            match unit.score {
                Some(score) => {
                    sum += score;
                    clusters.entry(cluster).or_default().push(score);
                }
                None => unanswered += 1,
            }
        }
        let n = cell.n.max(1) as f64;
        cell.chance /= n;
        cell.clusters = clusters.len();
        cell.range = (sum / n, (sum + unanswered as f64) / n);
        let answered = cell.n - unanswered;
        if answered > 0 {
            let clusters: Vec<Vec<f64>> = clusters.into_values().collect();
            cell.score = Some(wilson(sum / answered as f64, effective_n(&clusters)));
        }
        cell
    }

    /// Items without an answer, by no fault of the model.
    pub fn unanswered(&self) -> usize {
        [Status::Failed, Status::Skipped]
            .iter()
            .filter_map(|s| self.statuses.get(s))
            .sum()
    }

    /// More than 5 % of the items have no answer: the figure carries a mark.
    pub fn marked(&self) -> bool {
        let all: usize = self.statuses.values().sum();
        self.unanswered() as f64 > MARK_ABOVE * all as f64
    }
}

/// One item, or the two claims of a pair.
struct Unit {
    score: Option<f64>,
    chance: f64,
}

impl Default for Unit {
    fn default() -> Self {
        Self {
            score: Some(1.0),
            chance: 1.0,
        }
    }
}

impl Unit {
    /// All of a unit's items must be right, and all answered.
    fn add(&mut self, row: &ScoreRow) {
        self.score = self.score.zip(score_of(row)).map(|(a, b)| a.min(b));
        self.chance *= row.chance;
    }
}

/// A row's score: what was cut off or refused was given its chance and is wrong; `None` where nothing was asked
/// or nothing came.
pub fn score_of(row: &ScoreRow) -> Option<f64> {
    match row.status {
        Status::Truncated | Status::Refused => row.score.or(Some(0.0)),
        Status::Scored | Status::Failed | Status::Skipped => row.score,
    }
}

/// A figure of a row's detail, `name=value` separated by spaces.
pub fn detail<'a>(detail: &'a str, name: &str) -> Option<&'a str> {
    detail
        .split(' ')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// How far a task is read.
#[derive(Clone, Debug, PartialEq)]
pub enum Effective {
    /// No control to compare with.
    Unknown,
    /// The short control is no better than a guess: length has nothing to lose.
    NotGoodAtShort,
    /// Already the shortest length lies below the threshold.
    Below(usize),
    /// The longest tested length such that there and at every shorter one the score is at least 85 % of the
    /// short control's, and the next tested length, where it is not.
    Between(usize, usize),
    /// Every tested length holds; the longest.
    AtLeast(usize),
}

/// Effective length by NoLiMa's rule, relative to the model's own short control.
pub fn effective_length(short: Option<&Cell>, lengths: &[(usize, &Cell)]) -> Effective {
    let Some((short, control)) = short.and_then(|c| Some((c, c.score?))) else {
        return Effective::Unknown;
    };
    if control.low <= short.chance {
        return Effective::NotGoodAtShort;
    }
    let mut last = None;
    for (length, cell) in lengths {
        let Some(score) = cell.score else { continue };
        if score.mean < EFFECTIVE_SHARE * control.mean {
            return last.map_or(Effective::Below(*length), |last| {
                Effective::Between(last, *length)
            });
        }
        last = Some(*length);
    }
    last.map_or(Effective::Unknown, Effective::AtLeast)
}

/// Two-sided exact p of McNemar's test: `gained` and `lost` are the items that only one of two runs has right.
///
/// ```
/// assert!((fathom_harness::stats::mcnemar(1, 9) - 0.021484375).abs() < 1e-12);
/// assert_eq!(fathom_harness::stats::mcnemar(0, 0), 1.0);
/// ```
pub fn mcnemar(gained: usize, lost: usize) -> f64 {
    let n = gained + lost;
    let ln_choose =
        |k: usize| -> f64 { (1..=k).map(|i| ((n - k + i) as f64 / i as f64).ln()).sum() };
    let half = n as f64 * std::f64::consts::LN_2;
    let tail: f64 = (0..=gained.min(lost))
        .map(|k| (ln_choose(k) - half).exp())
        .sum();
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(
        item: &str,
        cluster: &str,
        status: Status,
        score: Option<f64>,
        detail: &str,
    ) -> ScoreRow {
        ScoreRow {
            item: item.into(),
            suite: "s".into(),
            task: "t".into(),
            context: "1024".into(),
            depth: None,
            cluster: cluster.into(),
            method: "generate".into(),
            status,
            score,
            chance: 0.5,
            defect: String::new(),
            detail: detail.into(),
        }
    }

    #[test]
    fn clusters_that_agree_count_once() {
        let same = vec![vec![1.0; 10], vec![0.0; 10], vec![1.0; 10], vec![0.0; 10]];
        assert!(effective_n(&same) <= 4.0, "{}", effective_n(&same));
        let mixed = vec![vec![1.0, 0.0]; 20];
        assert_eq!(effective_n(&mixed), 40.0);
        assert_eq!(effective_n(&[vec![1.0; 5], vec![1.0; 5]]), 2.0);
        assert_eq!(effective_n(&[vec![1.0], vec![0.0], vec![1.0]]), 3.0);
    }

    #[test]
    fn every_status_stays_in_the_count() {
        let rows = [
            row("a", "a", Status::Scored, Some(1.0), ""),
            row("b", "b", Status::Truncated, None, ""),
            row("c", "c", Status::Refused, Some(0.0), ""),
            row("d", "d", Status::Failed, None, ""),
        ];
        let cell = Cell::of(&rows);
        assert_eq!((cell.n, cell.unanswered(), cell.marked()), (4, 1, true));
        assert!((cell.score.unwrap().mean - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(cell.range, (0.25, 0.5));
    }

    #[test]
    fn claims_count_in_pairs() {
        let rows = [
            row("a1", "doc", Status::Scored, Some(1.0), "pair=a"),
            row("a2", "doc", Status::Scored, Some(0.0), "pair=a"),
            row("b1", "doc", Status::Scored, Some(1.0), "pair=b"),
            row("b2", "doc", Status::Scored, Some(1.0), "pair=b"),
        ];
        let cell = Cell::of(&rows);
        assert_eq!(
            (cell.n, cell.score.unwrap().mean, cell.chance),
            (2, 0.5, 0.25)
        );
    }

    #[test]
    fn effective_length_stops_at_the_first_loss() {
        let cell = |right: usize| {
            let rows: Vec<_> = (0..20)
                .map(|i| {
                    let name = i.to_string();
                    row(
                        &name,
                        &name,
                        Status::Scored,
                        Some(f64::from(u8::from(i < right))),
                        "",
                    )
                })
                .collect();
            Cell::of(&rows)
        };
        let (good, bad, guess) = (cell(20), cell(12), cell(10));
        let rule = |short, cells: &[(usize, &Cell)]| effective_length(Some(short), cells);
        assert_eq!(
            rule(&good, &[(1, &good), (2, &bad), (4, &good)]),
            Effective::Between(1, 2)
        );
        assert_eq!(
            rule(&good, &[(1, &good), (2, &good)]),
            Effective::AtLeast(2)
        );
        assert_eq!(rule(&good, &[(1, &bad)]), Effective::Below(1));
        assert_eq!(rule(&guess, &[(1, &good)]), Effective::NotGoodAtShort);
    }
}
