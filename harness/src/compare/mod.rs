//! Two runs, item by item: did the change break it?
//!
//! | file | holds |
//! |---|---|
//! | `pairs.rs` | which units of two runs stand against each other |
//! | `paired.rs` | interval and test of paired differences, many of them |
//! | `words.rs` | the comparison as a table, as Markdown and in sentences |
//! | `junit.rs` | the same for a CI server |
//!
//! A pair is one question that both runs answered, at the same length and depth; what has no answer in one of them says
//! nothing and is counted apart. Rows are tasks by context, and each task over all its lengths. METHODOLOGY.md has the
//! formulas.

mod junit;
mod paired;
mod pairs;
mod words;

use std::collections::HashSet;
use std::path::Path;

use serde::Serialize;

use crate::record::ScoreRow;
use crate::run::{RunFolder, identity};
use crate::stats::MARK_ABOVE;
use crate::{Error, Result};

pub use junit::junit;
pub use paired::{holm, interval, sign_flips};
pub use words::{gate_line, markdown, notes, table};

/// What counts as found, and as excluded.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Bound on the chance that any row of two equal models is called worse or better (Holm).
    pub alpha: f64,
    /// A drop that must be excluded for every task over all its lengths, where one is asked for.
    pub margin: Option<f64>,
}

/// Two runs compared.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// `worse` where any row is, else `undecided` where the gate would not pass, else `better` or `no-change`.
    pub verdict: Verdict,
    /// Label of the first run.
    pub base: String,
    /// Label of the second.
    pub candidate: String,
    /// What differs between them, in words.
    pub differences: Vec<String>,
    /// As [`Rule::alpha`].
    pub alpha: f64,
    /// As [`Rule::margin`].
    pub margin: Option<f64>,
    /// Items that only the first run has.
    pub only_in_base: usize,
    /// Items that only the second has.
    pub only_in_candidate: usize,
    /// Items of one name that are other questions in the second run.
    pub other_questions: usize,
    /// A task at one context each, then each task over its lengths.
    pub rows: Vec<Row>,
    /// Prompt and decoding speed, second run by first; of one machine only.
    pub speed: Vec<Speed>,
}

/// A task at one context, or over all its lengths.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Suite.
    pub suite: String,
    /// Task.
    pub task: String,
    /// `none`, `short`, a length in tokens, or `all lengths`.
    pub context: String,
    /// Pairs.
    pub n: usize,
    /// Clusters of them that are not independent.
    pub clusters: usize,
    /// Units that the first run answered and the second did not.
    pub missing: usize,
    /// Units that the second run answered and the first did not.
    pub missing_in_base: usize,
    /// Mean score of the pairs in the first run; `null` without pairs.
    pub base: Option<f64>,
    /// .. in the second.
    pub candidate: Option<f64>,
    /// The second less the first, and its 95 % interval.
    pub change: Option<Change>,
    /// Pairs whose score rose.
    pub gained: usize,
    /// Pairs whose score fell.
    pub lost: usize,
    /// Two-sided p of the change under exchangeable signs.
    pub p: f64,
    /// The same for all rows together (Holm).
    pub p_all: f64,
    /// What was found.
    pub verdict: Verdict,
}

/// A mean change and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Mean.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The second run is worse, at alpha over all rows.
    Worse,
    /// It is better.
    Better,
    /// Neither was found.
    NoChange,
    /// Too much is missing, or a drop beyond the margin is not excluded.
    Undecided,
}

/// Speeds at one length.
#[derive(Debug, Serialize)]
pub struct Speed {
    /// Tokens of the prompt.
    pub context: usize,
    /// Prompt tokens a second, second run by first.
    pub prefill: f64,
    /// Generated tokens a second, likewise.
    pub decode: f64,
}

/// The context of a row over all lengths.
pub const ALL_LENGTHS: &str = "all lengths";

impl Row {
    /// More than 5 % of what the first run answered has no answer in the second, or nothing is left to compare.
    pub fn lacks(&self) -> bool {
        let answered = self.n + self.missing;
        answered > 0 && (self.n == 0 || self.missing as f64 > MARK_ABOVE * answered as f64)
    }

    /// Whether the row can fail a gate: the question without its document is a control.
    pub fn gated(&self) -> bool {
        self.context != "none"
    }
}

/// Compares two folders of runs.
///
/// # Errors
/// A folder that is no run or cannot be read; runs without scores, or with no item in common.
pub fn compare(base: &Path, candidate: &Path, rule: Rule) -> Result<Comparison> {
    let runs = (RunFolder::open(base)?, RunFolder::open(candidate)?);
    let scores = (scores(&runs.0)?, scores(&runs.1)?);
    let matched = pairs::matched(&runs.0, &runs.1)?;
    if matched.same.is_empty() {
        return Err(Error::input(
            candidate.display(),
            "items.jsonl",
            format!(
                "no question of {} ({} other questions under the same names)",
                base.display(),
                matched.other_questions
            ),
            "runs of the same suites with the same seed",
        ));
    }
    let mut rows = pairs::rows(&scores.0, &scores.1, &matched.same);
    let tests: Vec<f64> = rows.iter().map(|row| row.p).collect();
    let several: HashSet<(String, String)> = rows
        .iter()
        .filter(|row| row.context == ALL_LENGTHS)
        .map(|row| (row.suite.clone(), row.task.clone()))
        .collect();
    for (row, p) in rows.iter_mut().zip(holm(&tests)) {
        // All lengths of the task, or its only one.
        let whole = match row.context.parse::<usize>() {
            Ok(_) => !several.contains(&(row.suite.clone(), row.task.clone())),
            Err(_) => row.context == ALL_LENGTHS,
        };
        row.p_all = p;
        row.verdict = match row.change {
            Some(change) if p < rule.alpha && change.mean < 0.0 => Verdict::Worse,
            Some(change) if p < rule.alpha && change.mean > 0.0 => Verdict::Better,
            _ if row.lacks() => Verdict::Undecided,
            Some(change) if whole && rule.margin.is_some_and(|m| change.low < -m) => {
                Verdict::Undecided
            }
            _ => Verdict::NoChange,
        };
    }
    let gated = || rows.iter().filter(|row| row.gated());
    let verdict = [Verdict::Worse, Verdict::Undecided, Verdict::Better]
        .into_iter()
        .find(|v| gated().any(|row| row.verdict == *v))
        .unwrap_or(match gated().any(|row| row.n > 0) {
            true => Verdict::NoChange,
            false => Verdict::Undecided,
        });
    Ok(Comparison {
        verdict,
        differences: differences(&runs.0, &runs.1),
        speed: speed(&runs.0, &runs.1)?,
        base: runs.0.name(),
        candidate: runs.1.name(),
        alpha: rule.alpha,
        margin: rule.margin,
        only_in_base: matched.only_in_base,
        only_in_candidate: matched.only_in_candidate,
        other_questions: matched.other_questions,
        rows,
    })
}

/// A run's scores, some.
fn scores(run: &RunFolder) -> Result<Vec<ScoreRow>> {
    let scores = run.scores()?;
    if scores.is_empty() {
        return Err(Error::input(
            run.dir().join("scores.csv").display(),
            "rows",
            "none",
            "scores of a run: finish it, or judge its answers with `fathom score`",
        ));
    }
    Ok(scores)
}

fn differences(base: &RunFolder, candidate: &RunFolder) -> Vec<String> {
    let (a, b) = (base.manifest(), candidate.manifest());
    let mut all = identity::differences(&a.identity, &b.identity);
    let mut note = |name: &str, a: &str, b: &str| {
        if a != b {
            all.push(format!("{name}: {a} there, {b} here"));
        }
    };
    note("fathom", &a.fathom, &b.fathom);
    note(
        "numeric version",
        &a.numeric_version.to_string(),
        &b.numeric_version.to_string(),
    );
    note("logits", &a.logits_fingerprint, &b.logits_fingerprint);
    for (name, run) in [("there", base), ("here", candidate)] {
        if !run.finished() {
            all.push(format!("the run {name} is unfinished"));
        }
    }
    all
}

/// Ratios at the lengths that both measured, where both ran on the same processor.
fn speed(base: &RunFolder, candidate: &RunFolder) -> Result<Vec<Speed>> {
    let cpu = |run: &RunFolder| run.manifest().environment.get("cpu").cloned();
    if cpu(base).is_none() || cpu(base) != cpu(candidate) {
        return Ok(Vec::new());
    }
    let there = base.speed()?;
    let at = |n: usize| there.iter().find(|row| row.context == n);
    let ratio = |a: f64, b: f64| (a > 0.0).then(|| b / a);
    let here = candidate.speed()?;
    let both = here.iter().filter_map(|row| {
        let there = at(row.context)?;
        Some(Speed {
            context: row.context,
            prefill: ratio(there.prefill_tokens_per_s, row.prefill_tokens_per_s)?,
            decode: ratio(there.decode_tokens_per_s, row.decode_tokens_per_s)?,
        })
    });
    Ok(both.collect())
}
