//! Which units of two runs stand against each other: the same question at the same length and depth, answered in both.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{ALL_LENGTHS, Row, Verdict, interval, sign_flips};
use crate::record::ScoreRow;
use crate::run::RunFolder;
use crate::stats::{detail, score_of};
use crate::{Error, Result};

/// Items of two runs, matched by name.
pub(super) struct Matched {
    /// Those that ask the same.
    pub(super) same: HashSet<String>,
    pub(super) only_in_base: usize,
    pub(super) only_in_candidate: usize,
    pub(super) other_questions: usize,
}

/// Matches the items of two folders. Prompts may differ, as another tokenizer cuts filler elsewhere; questions may not.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn matched(base: &RunFolder, candidate: &RunFolder) -> Result<Matched> {
    let (there, mut here) = (questions(base)?, questions(candidate)?);
    let mut matched = Matched {
        same: HashSet::new(),
        only_in_base: 0,
        only_in_candidate: 0,
        other_questions: 0,
    };
    for (item, question) in there {
        match here.remove(&item) {
            None => matched.only_in_base += 1,
            Some(other) if other == question => {
                matched.same.insert(item);
            }
            Some(_) => matched.other_questions += 1,
        }
    }
    matched.only_in_candidate = here.len();
    Ok(matched)
}

/// Every item's question, hashed.
fn questions(run: &RunFolder) -> Result<HashMap<String, blake3::Hash>> {
    let mut all = HashMap::new();
    for record in run.items()? {
        let record = record?;
        let question = serde_json::to_vec(&record.question)
            .map_err(|e| Error::Unfinished(format!("{}: {e}", record.item.id)))?;
        all.insert(record.item.id, blake3::hash(&question));
    }
    Ok(all)
}

/// A question, or a pair of claims that are right together, in both runs.
#[derive(Default)]
struct Unit {
    there: Side,
    here: Side,
}

/// A unit in one run: `None` once an item of it has no answer.
#[derive(Default)]
struct Side {
    score: Option<f64>,
    items: usize,
}

impl Side {
    fn add(&mut self, row: &ScoreRow) {
        let score = score_of(row);
        self.score = match self.items {
            0 => score,
            _ => self.score.zip(score).map(|(a, b)| a.min(b)),
        };
        self.items += 1;
    }
}

/// Suite, task, context; then cluster, and item or pair.
type Cell<'a> = (&'a str, &'a str, &'a str);
type Units<'a> = BTreeMap<(&'a str, &'a str), Unit>;

/// Every task at every context, lengths in ascending order, and every task that has several lengths over all of them.
pub(super) fn rows(there: &[ScoreRow], here: &[ScoreRow], same: &HashSet<String>) -> Vec<Row> {
    let mut cells: BTreeMap<Cell<'_>, Units<'_>> = BTreeMap::new();
    for (rows, first) in [(there, true), (here, false)] {
        for row in rows.iter().filter(|row| same.contains(&row.item)) {
            let unit = detail(&row.detail, "pair").unwrap_or(&row.item);
            let unit = cells
                .entry((&row.suite, &row.task, &row.context))
                .or_default()
                .entry((&row.cluster, unit))
                .or_default();
            if first {
                &mut unit.there
            } else {
                &mut unit.here
            }
            .add(row);
        }
    }
    let mut tasks: BTreeMap<(&str, &str), Vec<(&str, &Units<'_>)>> = BTreeMap::new();
    for ((suite, task, context), units) in &cells {
        let task = tasks.entry((suite, task)).or_default();
        task.push((context, units));
    }
    let mut all = Vec::new();
    for ((suite, task), mut contexts) in tasks {
        // Controls first.
        contexts.sort_by_key(|(context, _)| (context.parse().unwrap_or(0usize), *context));
        for (context, units) in &contexts {
            all.push(row(suite, task, context, &[units]));
        }
        let lengths: Vec<&Units<'_>> = contexts
            .iter()
            .filter(|(context, _)| context.parse::<usize>().is_ok())
            .map(|(_, units)| *units)
            .collect();
        if lengths.len() > 1 {
            all.push(row(suite, task, ALL_LENGTHS, &lengths));
        }
    }
    all
}

fn row(suite: &str, task: &str, context: &str, units: &[&Units<'_>]) -> Row {
    let mut clusters: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let (mut n, mut missing, mut missing_in_base) = (0, 0, 0);
    let (mut base, mut candidate) = (0.0, 0.0);
    let (mut gained, mut lost) = (0, 0);
    for ((cluster, _), unit) in units.iter().flat_map(|units| units.iter()) {
        match (unit.there.score, unit.here.score) {
            (Some(a), Some(b)) => {
                n += 1;
                base += a;
                candidate += b;
                gained += usize::from(b > a);
                lost += usize::from(b < a);
                clusters.entry(cluster).or_default().push(b - a);
            }
            (Some(_), None) => missing += 1,
            (None, Some(_)) => missing_in_base += 1,
            (None, None) => {}
        }
    }
    let clusters: Vec<Vec<f64>> = clusters.into_values().collect();
    let mean = |sum: f64| (n > 0).then(|| sum / n as f64);
    let p = sign_flips(&clusters);
    Row {
        suite: suite.to_owned(),
        task: task.to_owned(),
        context: context.to_owned(),
        n,
        clusters: clusters.len(),
        missing,
        missing_in_base,
        base: mean(base),
        candidate: mean(candidate),
        change: (n > 0).then(|| interval(&clusters)),
        gained,
        lost,
        p,
        p_all: p,
        verdict: Verdict::NoChange,
    }
}
