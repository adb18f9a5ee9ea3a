//! Runs as the report needs them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use crate::Result;
use crate::layout::APPROXIMATE;
use crate::record::{Answer, Manifest, ScoreRow, SpeedRow, Status};
use crate::run::RunFolder;
use crate::stats::{Cell, Effective, effective_length};

/// Failures that a report shows.
const FAILURES: usize = 12;
/// Characters of a prompt's end, and of an answer, that it shows.
const TAIL: usize = 420;

/// A run read from its folder.
pub struct Run {
    /// Name in legends: the folder's, or the model's where that is told apart.
    pub label: String,
    /// What was run.
    pub manifest: Manifest,
    /// Judged items.
    pub scores: Vec<ScoreRow>,
    /// Speed by length.
    pub speed: Vec<SpeedRow>,
    /// Some items that went wrong.
    pub failures: Vec<Failure>,
    /// Items that stand in the folder, answered or not.
    pub n_items: usize,
    /// Marks of items (`beyond-declared-context`), with their number.
    pub marks: BTreeMap<String, usize>,
}

/// An item that went wrong, to look at.
pub struct Failure {
    /// The item's id.
    pub item: String,
    /// Status and reason, or the score.
    pub what: String,
    /// The prompt's end.
    pub prompt: String,
    /// What came back.
    pub answer: String,
    /// What would have been right.
    pub expected: String,
}

/// Quality of a task by context.
pub struct TaskCells {
    /// `suite/task`.
    pub name: String,
    /// The question without a document.
    pub none: Option<Cell>,
    /// The evidence alone.
    pub short: Option<Cell>,
    /// By length, ascending.
    pub lengths: Vec<(usize, Cell)>,
    /// How far it is read.
    pub effective: Effective,
    /// By (length, depth in percent), where the task has depths.
    pub by_depth: BTreeMap<(usize, u32), Cell>,
}

impl Run {
    /// Reads a folder.
    ///
    /// # Errors
    /// When it is no run or a file in it cannot be read.
    pub fn load(dir: &Path) -> Result<Self> {
        let folder = RunFolder::open(dir)?;
        let scores = folder.scores()?;
        let mut run = Self {
            label: folder.name(),
            manifest: folder.manifest().clone(),
            scores,
            speed: folder.speed()?,
            failures: Vec::new(),
            n_items: 0,
            marks: BTreeMap::new(),
        };
        let wrong = pick_wrong(&run.scores);
        let answers: HashMap<String, Answer> = folder
            .answers()?
            .into_iter()
            .filter(|a| wrong.contains(a.item.as_str()))
            .map(|a| (a.item.clone(), a))
            .collect();
        let mut failures = Vec::new();
        for record in folder.items()? {
            let record = record?;
            run.n_items += 1;
            for mark in record.marks {
                *run.marks.entry(mark).or_default() += 1;
            }
            let Some(answer) = answers.get(&record.item.id) else {
                continue;
            };
            let what = match answer.status {
                Status::Scored => "wrong".to_owned(),
                status => format!("{}: {}", status_word(status), answer.reason),
            };
            failures.push(Failure {
                item: record.item.id,
                what,
                prompt: tail(&record.prompt.text, TAIL),
                answer: answer_text(answer),
                expected: expected(&record.question.scorer),
            });
        }
        run.failures = failures;
        Ok(run)
    }

    /// Every task's cells, in the order of their names.
    pub fn tasks(&self) -> Vec<TaskCells> {
        let mut tasks: BTreeMap<String, Vec<&ScoreRow>> = BTreeMap::new();
        for row in &self.scores {
            tasks
                .entry(format!("{}/{}", row.suite, row.task))
                .or_default()
                .push(row);
        }
        tasks
            .into_iter()
            .map(|(name, rows)| task_cells(name, &rows))
            .collect()
    }

    /// Whether lengths are approximate: nobody knew the tokenizer.
    pub fn approximate(&self) -> bool {
        self.marks.contains_key(APPROXIMATE)
    }

    /// A length as people write it, `~4k` where it is approximate.
    pub fn length_label(&self, n: usize) -> String {
        let about = if self.approximate() { "~" } else { "" };
        format!("{about}{}", length_label(n))
    }

    /// Length that the model was trained for, where the model says so, else what it declares.
    pub fn trained_length(&self) -> Option<usize> {
        let get = |key: &str| self.manifest.model.get(key)?.as_u64().map(|n| n as usize);
        get("trained_length")
            .or_else(|| get("context_length"))
            .filter(|n| *n > 0)
    }
}

fn task_cells(name: String, rows: &[&ScoreRow]) -> TaskCells {
    let of = |context: &str| {
        let mut rows = rows
            .iter()
            .filter(|r| r.context == context)
            .copied()
            .peekable();
        rows.peek().is_some().then(|| Cell::of(rows))
    };
    let lengths: BTreeSet<usize> = rows.iter().filter_map(|r| r.context.parse().ok()).collect();
    let lengths: Vec<(usize, Cell)> = lengths
        .into_iter()
        .filter_map(|n| Some((n, of(&n.to_string())?)))
        .collect();
    let mut depths: BTreeMap<(usize, u32), Vec<&ScoreRow>> = BTreeMap::new();
    for row in rows {
        if let (Ok(length), Some(depth)) = (row.context.parse(), row.depth) {
            depths
                .entry((length, (depth * 100.0).round() as u32))
                .or_default()
                .push(row);
        }
    }
    let short = of("short");
    let refs: Vec<(usize, &Cell)> = lengths.iter().map(|(n, c)| (*n, c)).collect();
    TaskCells {
        effective: effective_length(short.as_ref(), &refs),
        name,
        none: of("none"),
        short,
        by_depth: depths
            .into_iter()
            .map(|(k, rows)| (k, Cell::of(rows)))
            .collect(),
        lengths,
    }
}

/// Ids of items to show: first the strange (no answer, no text), then the wrong, from many cells.
fn pick_wrong(scores: &[ScoreRow]) -> BTreeSet<&str> {
    let mut wrong: Vec<&ScoreRow> = scores
        .iter()
        .filter(|r| r.status != Status::Scored || r.score.is_some_and(|s| s < 0.5))
        .filter(|r| r.context != "none")
        .collect();
    let mut seen: HashMap<(&str, &str, bool), usize> = HashMap::new();
    let mut rank: HashMap<&str, usize> = HashMap::new();
    for row in &wrong {
        let n = seen
            .entry((&row.task, &row.context, row.status == Status::Scored))
            .or_default();
        rank.insert(&row.item, *n);
        *n += 1;
    }
    wrong.sort_by_key(|r| {
        (
            rank[r.item.as_str()],
            r.status == Status::Scored,
            r.defect.is_empty(),
            r.item.as_str(),
        )
    });
    wrong
        .iter()
        .take(FAILURES)
        .map(|r| r.item.as_str())
        .collect()
}

/// A status in a word.
pub fn status_word(status: Status) -> &'static str {
    match status {
        Status::Scored => "scored",
        Status::Truncated => "truncated",
        Status::Refused => "refused",
        Status::Failed => "failed",
        Status::Skipped => "skipped",
    }
}

fn answer_text(answer: &Answer) -> String {
    if answer.options.is_empty() {
        return tail(&answer.text, TAIL);
    }
    let best = answer
        .options
        .iter()
        .max_by(|a, b| a.logprob.total_cmp(&b.logprob));
    best.map_or_else(String::new, |o| {
        format!("most likely option: {}", o.text.trim())
    })
}

fn expected(scorer: &crate::item::Scorer) -> String {
    use crate::item::Scorer;
    let text = match scorer {
        Scorer::ContainsAll { references, .. } => references.join(", "),
        Scorer::ContainsAny { references } | Scorer::Exact { references } => {
            references.join(" or ")
        }
        Scorer::Choice { options, correct } => options.get(*correct).cloned().unwrap_or_default(),
        Scorer::Claim { truth, .. } => if *truth { "true" } else { "false" }.to_owned(),
        Scorer::Ranking { order } => order.join(" > "),
        Scorer::Arc { events, .. } => {
            let first = events.iter().filter_map(|e| e.first().cloned());
            first.collect::<Vec<_>>().join("; ")
        }
    };
    head(&text, TAIL)
}

fn tail(text: &str, n: usize) -> String {
    match text.char_indices().rev().nth(n) {
        Some((at, _)) => format!("... {}", &text[at..]),
        None => text.to_owned(),
    }
}

fn head(text: &str, n: usize) -> String {
    match text.char_indices().nth(n) {
        Some((at, _)) => format!("{} ...", &text[..at]),
        None => text.to_owned(),
    }
}

/// A length as people write it: `1k`, `1.5k`, `96`.
///
/// ```
/// use fathom_harness::report::data::length_label;
/// assert_eq!(length_label(32768), "32k");
/// assert_eq!(length_label(1536), "1.5k");
/// assert_eq!(length_label(1000), "1000");
/// ```
pub fn length_label(n: usize) -> String {
    match n {
        _ if n >= 1 << 20 && n.is_multiple_of(1 << 20) => format!("{}M", n >> 20),
        _ if n >= 1024 && n.is_multiple_of(1024) => format!("{}k", n >> 10),
        _ if n >= 1024 && n.is_multiple_of(512) => format!("{}.5k", n >> 10),
        _ => n.to_string(),
    }
}
