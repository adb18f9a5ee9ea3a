//! `cells.csv`: every cell of every run, one a row.

use super::data::Run;
use crate::record::Status;
use crate::stats::Cell;
use crate::{Error, Result};

/// The table as CSV.
pub(super) fn cells_csv(runs: &[Run]) -> Result<Vec<u8>> {
    let mut out = csv::Writer::from_writer(Vec::new());
    let fail = |e: &dyn std::fmt::Display| Error::Unfinished(format!("cells.csv: {e}"));
    let header = [
        "run",
        "task",
        "context",
        "depth",
        "score",
        "low",
        "high",
        "all_wrong",
        "all_right",
        "chance",
        "n",
        "clusters",
        "scored",
        "truncated",
        "refused",
        "failed",
        "skipped",
        "defects",
        "marked",
        "approximate",
    ];
    out.write_record(header).map_err(|e| fail(&e))?;
    for run in runs {
        for task in run.tasks() {
            let mut rows: Vec<(String, String, &Cell)> = Vec::new();
            rows.extend(task.none.iter().map(|c| ("none".into(), String::new(), c)));
            rows.extend(
                task.short
                    .iter()
                    .map(|c| ("short".into(), String::new(), c)),
            );
            rows.extend(
                task.lengths
                    .iter()
                    .map(|(n, c)| (n.to_string(), String::new(), c)),
            );
            let depth = |d: u32| format!("{}", f64::from(d) / 100.0);
            rows.extend(
                task.by_depth
                    .iter()
                    .map(|((n, d), c)| (n.to_string(), depth(*d), c)),
            );
            for (context, depth, cell) in rows {
                let figure = |f: Option<f64>| f.map_or_else(String::new, |f| format!("{f:.4}"));
                let status = |s: Status| cell.statuses.get(&s).copied().unwrap_or(0).to_string();
                let context_is_length = context.parse::<usize>().is_ok();
                let row = [
                    run.label.clone(),
                    task.name.clone(),
                    context,
                    depth,
                    figure(cell.score.map(|s| s.mean)),
                    figure(cell.score.map(|s| s.low)),
                    figure(cell.score.map(|s| s.high)),
                    figure(Some(cell.range.0)),
                    figure(Some(cell.range.1)),
                    figure(Some(cell.chance)),
                    cell.n.to_string(),
                    cell.clusters.to_string(),
                    status(Status::Scored),
                    status(Status::Truncated),
                    status(Status::Refused),
                    status(Status::Failed),
                    status(Status::Skipped),
                    cell.defects.to_string(),
                    cell.marked().to_string(),
                    (run.approximate() && context_is_length).to_string(),
                ];
                out.write_record(row).map_err(|e| fail(&e))?;
            }
        }
    }
    out.into_inner().map_err(|e| fail(&e))
}
