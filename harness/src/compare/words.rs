//! A comparison as a table, as Markdown and in sentences.

use std::fmt::Write;

use super::{Comparison, Row, Verdict};
use crate::report::data::length_label;
use crate::report::escaped;

/// Columns of the table.
const HEADER: [&str; 10] = [
    "task",
    "context",
    "pairs",
    "base",
    "candidate",
    "change",
    "gained",
    "lost",
    "p",
    "",
];

/// The table as a terminal shows it.
pub fn table(comparison: &Comparison) -> String {
    crate::cli::table(&HEADER, comparison.rows.iter().map(cells))
}

/// GitHub-flavoured Markdown, fit for a pull request.
pub fn markdown(comparison: &Comparison) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_markdown(&mut out, comparison);
    out
}

fn write_markdown(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    let Comparison {
        base, candidate, ..
    } = comparison;
    writeln!(
        out,
        "# fathom: {} against {}\n",
        escaped(candidate),
        escaped(base)
    )?;
    writeln!(out, "**{}**\n", escaped(&gate_line(comparison)))?;
    writeln!(
        out,
        "| {} |\n|{}",
        HEADER.join(" | "),
        "---|".repeat(HEADER.len())
    )?;
    for row in &comparison.rows {
        let cells: Vec<String> = cells(row).iter().map(|cell| escaped(cell)).collect();
        writeln!(out, "| {} |", cells.join(" | "))?;
    }
    writeln!(out)?;
    for note in notes(comparison) {
        writeln!(out, "- {}", escaped(&note))?;
    }
    Ok(())
}

fn cells(row: &Row) -> Vec<String> {
    let percent =
        |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{:.1}", 100.0 * v));
    let change = row.change.map_or_else(
        || "-".to_owned(),
        |c| {
            let [mean, low, high] = [c.mean, c.low, c.high].map(|v| 100.0 * v);
            format!("{mean:+.1} [{low:+.1}, {high:+.1}]")
        },
    );
    let said = match row.verdict {
        Verdict::Worse => "WORSE".to_owned(),
        Verdict::Better => "better".to_owned(),
        Verdict::Undecided if row.lacks() => format!("{} without an answer", row.missing),
        Verdict::Undecided => "undecided".to_owned(),
        Verdict::NoChange => String::new(),
    };
    vec![
        format!("{}/{}", row.suite, row.task),
        row.context
            .parse()
            .map_or_else(|_| row.context.clone(), length_label),
        row.n.to_string(),
        percent(row.base),
        percent(row.candidate),
        change,
        row.gained.to_string(),
        row.lost.to_string(),
        format!("{:.2}", row.p_all).replace("0.00", "<0.01"),
        said,
    ]
}

/// What the gate says, in a line.
pub fn gate_line(comparison: &Comparison) -> String {
    let worse: Vec<String> = comparison
        .rows
        .iter()
        .filter(|row| row.gated() && row.verdict == Verdict::Worse)
        .map(dropped)
        .collect();
    let against = format!("{} against {}", comparison.candidate, comparison.base);
    match comparison.verdict {
        Verdict::Worse => format!("{against}: worse: {}", first_of(&worse)),
        Verdict::Better => format!("{against}: better, and nowhere found worse"),
        Verdict::NoChange => format!("{against}: no change found; {}", excluded(comparison)),
        Verdict::Undecided => format!("{against}: not enough evidence: {}", lacking(comparison)),
    }
}

fn dropped(row: &Row) -> String {
    format!(
        "{}/{} at {}: {}",
        row.suite,
        row.task,
        row.context,
        figures(row)
    )
}

/// A row's scores, what was lost of them, and how likely that is by chance.
pub(super) fn figures(row: &Row) -> String {
    let percent = |v: Option<f64>| 100.0 * v.unwrap_or_default();
    format!(
        "{:.1} % to {:.1} %, {} of {} pairs lost, p = {:.1e} for all rows together",
        percent(row.base),
        percent(row.candidate),
        row.lost,
        row.n,
        row.p_all,
    )
}

/// The largest drop that stays possible.
fn excluded(comparison: &Comparison) -> String {
    let lows = comparison
        .rows
        .iter()
        .filter(|row| row.gated())
        .filter_map(|row| Some((row.change?.low, row)));
    match lows.min_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((low, row)) => format!(
            "the largest drop inside of the 95 % intervals is {:.1} points, in {}/{} at {}",
            -100.0 * low.min(0.0),
            row.suite,
            row.task,
            row.context
        ),
        None => "nothing to compare".to_owned(),
    }
}

fn lacking(comparison: &Comparison) -> String {
    let rows: Vec<String> = comparison
        .rows
        .iter()
        .filter(|row| row.gated() && row.verdict == Verdict::Undecided)
        .map(|row| {
            let name = format!("{}/{} at {}", row.suite, row.task, row.context);
            match row.lacks() {
                true => format!(
                    "{name}: {} of {} have no answer",
                    row.missing,
                    row.n + row.missing
                ),
                false => format!(
                    "{name}: a drop of {:.1} points is not excluded",
                    -100.0 * row.change.map_or(0.0, |c| c.low)
                ),
            }
        })
        .collect();
    match rows.is_empty() {
        true => "no question was answered in both runs".to_owned(),
        false => first_of(&rows),
    }
}

/// A few, and how many more.
fn first_of(all: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = all[..all.len().min(SHOWN)].join("; ");
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and in {more} more rows"),
    }
}

/// What else a reader should know.
pub fn notes(comparison: &Comparison) -> Vec<String> {
    let mut notes = vec![format!(
        "Scores in %. A pair is a question that both runs answered; the interval is of 95 %, for each row alone; p is for all \
         rows together (sign flips by cluster, Holm), worse or better below {}.",
        comparison.alpha
    )];
    for (n, what) in [
        (comparison.only_in_base, "items stand in the base alone"),
        (
            comparison.only_in_candidate,
            "items stand in the candidate alone",
        ),
        (
            comparison.other_questions,
            "items of one name are other questions",
        ),
    ] {
        if n > 0 {
            notes.push(format!("{n} {what}, and are left out."));
        }
    }
    for speed in &comparison.speed {
        notes.push(format!(
            "At {} tokens prompts pass {:.2} x as fast as in the base, answers {:.2} x.",
            length_label(speed.context),
            speed.prefill,
            speed.decode
        ));
    }
    notes.extend(comparison.differences.iter().cloned());
    notes
}
