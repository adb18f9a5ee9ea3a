//! `report.html`: one file with everything in it, for a screen, a phone and paper; no scripts at all.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;

use super::data::{Run, status_word};
use super::plot::{DARK, LIGHT, Plot};
use super::words::{self, Answered, percent};
use crate::record::Status;
use crate::stats::Cell;
use crate::{Error, Result};

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    title: String,
    runs: Vec<RunView<'a>>,
    compared: Vec<String>,
    plots: Vec<PlotView<'a>>,
}

struct RunView<'a> {
    run: &'a Run,
    unfinished: bool,
    answers: Vec<Answered>,
    lengths: Vec<String>,
    tasks: Vec<TaskView>,
    statuses: String,
    notes: Vec<String>,
    facts: Vec<(String, String)>,
}

struct TaskView {
    name: String,
    good: &'static str,
    chance: String,
    cells: Vec<CellView>,
    effective: String,
}

struct CellView {
    text: String,
    title: String,
    shade: u32,
}

struct PlotView<'a> {
    plot: &'a Plot,
    light: String,
    dark: String,
}

/// The page.
pub(super) fn render(runs: &[Run], plots: &[Plot]) -> Result<String> {
    let plots = plots.iter().map(|plot| {
        let (light, dark) = (plot.svg(&LIGHT)?, plot.svg(&DARK)?);
        Ok(PlotView { plot, light, dark })
    });
    let labels: Vec<&str> = runs.iter().map(|r| r.label.as_str()).collect();
    let page = Page {
        title: labels.join(", "),
        runs: runs.iter().map(view).collect(),
        compared: words::compared(runs),
        plots: plots.collect::<Result<_>>()?,
    };
    page.render()
        .map_err(|e| Error::Unfinished(format!("report.html: {e}")))
}

fn view(run: &Run) -> RunView<'_> {
    let tasks = run.tasks();
    let lengths: BTreeSet<usize> = tasks
        .iter()
        .flat_map(|t| t.lengths.iter().map(|l| l.0))
        .collect();
    let task_view = |task: &super::data::TaskCells| {
        let mut cells = vec![
            cell_view(task.none.as_ref()),
            cell_view(task.short.as_ref()),
        ];
        cells.extend(
            lengths
                .iter()
                .map(|n| cell_view(task.lengths.iter().find(|l| l.0 == *n).map(|l| &l.1))),
        );
        let chance = task
            .short
            .as_ref()
            .or(task.lengths.first().map(|l| &l.1))
            .map(|c| c.chance);
        TaskView {
            name: task.name.clone(),
            good: words::good_at_short(task),
            chance: chance.map_or_else(String::new, |c| format!("{:.0} %", 100.0 * c)),
            cells,
            effective: words::effective(&task.effective),
        }
    };
    RunView {
        run,
        unfinished: run.manifest.finished.is_empty(),
        answers: words::answers(run, &tasks),
        lengths: lengths.iter().map(|n| run.length_label(*n)).collect(),
        tasks: tasks.iter().map(task_view).collect(),
        statuses: statuses(run),
        notes: notes(run),
        facts: facts(run),
    }
}

fn cell_view(cell: Option<&Cell>) -> CellView {
    let Some(c) = cell else {
        return CellView {
            text: "-".into(),
            title: String::new(),
            shade: 0,
        };
    };
    let mut title = format!("{} items in {} clusters", c.n, c.clusters);
    for (status, n) in &c.statuses {
        title += &format!(", {n} {}", status_word(*status));
    }
    if c.unanswered() > 0 {
        title += &format!(
            "; {:.0} to {:.0} % if all of them were wrong or right",
            100.0 * c.range.0,
            100.0 * c.range.1
        );
    }
    let shade = c.score.map_or(0, |s| (s.mean * 10.0).round() as u32);
    CellView {
        text: percent(Some(c)),
        title,
        shade,
    }
}

fn statuses(run: &Run) -> String {
    let mut counts: BTreeMap<Status, usize> = BTreeMap::new();
    for row in &run.scores {
        *counts.entry(row.status).or_default() += 1;
    }
    let words = counts
        .iter()
        .map(|(s, n)| format!("{n} {}", status_word(*s)));
    format!(
        "{} items: {}",
        run.n_items,
        words.collect::<Vec<_>>().join(", ")
    )
}

fn notes(run: &Run) -> Vec<String> {
    let mut notes: Vec<String> = run
        .marks
        .iter()
        .map(|(mark, n)| format!("{n} items: {mark}"))
        .collect();
    if run.approximate() {
        notes.extend(told_lengths(run));
    }
    let mut defects: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for row in run.scores.iter().filter(|r| !r.defect.is_empty()) {
        *defects.entry((&row.context, &row.defect)).or_default() += 1;
    }
    let of = |context: &str| run.scores.iter().filter(|r| r.context == context).count();
    notes.extend(defects.iter().map(|((context, defect), n)| {
        format!("at {context}: {n} of {} answers: {defect}", of(context))
    }));
    notes
}

/// How long prompts were by what an API billed.
fn told_lengths(run: &Run) -> Option<String> {
    let told = run.manifest.environment.get("prompt_tokens_told")?;
    let ranges = told.as_object()?.iter().filter_map(|(length, range)| {
        let length: usize = length.parse().ok()?;
        Some((length, range[0].as_u64()?, range[1].as_u64()?))
    });
    let ranges: BTreeSet<_> = ranges.collect();
    let words = ranges
        .into_iter()
        .map(|(length, low, high)| format!("{low} to {high} at {}", run.length_label(length)));
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| format!("prompt tokens by usage: {}", words.join(", ")))
}

/// The manifest, a line a fact.
fn facts(run: &Run) -> Vec<(String, String)> {
    let m = &run.manifest;
    let mut facts = vec![
        ("fathom".to_owned(), m.fathom.clone()),
        ("numeric version".to_owned(), m.numeric_version.to_string()),
        (
            "logits fingerprint".to_owned(),
            m.logits_fingerprint.clone(),
        ),
        ("started".to_owned(), m.started.clone()),
        ("finished".to_owned(), m.finished.clone()),
    ];
    for map in [&m.model, &m.identity, &m.environment] {
        facts.extend(map.iter().map(|(key, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (key.replace('_', " "), value)
        }));
    }
    facts
}
