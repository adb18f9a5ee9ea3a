//! `report.md`: the answers, a table and the plots, fit for a pull request.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::data::Run;
use super::plot::Plot;
use super::words::{self, percent};

/// The report as GitHub-flavoured Markdown; plots are linked as files beside it.
pub(super) fn render(runs: &[Run], plots: &[Plot]) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_report(&mut out, runs, plots);
    out
}

fn write_report(out: &mut String, runs: &[Run], plots: &[Plot]) -> std::fmt::Result {
    let names: Vec<_> = runs.iter().map(|r| escaped(&r.label)).collect();
    writeln!(out, "# fathom: {}\n", names.join(", "))?;
    for run in runs {
        let tasks = run.tasks();
        if runs.len() > 1 {
            writeln!(out, "## {}\n", escaped(&run.label))?;
        }
        for a in words::answers(run, &tasks) {
            writeln!(out, "**{}** {}\n", a.question, a.verdict)?;
        }
        let lengths: BTreeSet<usize> = tasks
            .iter()
            .flat_map(|t| t.lengths.iter().map(|l| l.0))
            .collect();
        write!(
            out,
            "| task | good at short? | no context | evidence only |"
        )?;
        lengths
            .iter()
            .try_for_each(|n| write!(out, " {} |", run.length_label(*n)))?;
        writeln!(out, " effective length |")?;
        writeln!(out, "|---|---|---|---|{}---|", "---|".repeat(lengths.len()))?;
        for task in &tasks {
            let controls = (percent(task.none.as_ref()), percent(task.short.as_ref()));
            write!(
                out,
                "| {} | {} | {} | {} |",
                escaped(&task.name),
                words::good_at_short(task),
                controls.0,
                controls.1
            )?;
            for n in &lengths {
                let found = task.lengths.iter().find(|l| l.0 == *n).map(|l| &l.1);
                write!(out, " {} |", percent(found))?;
            }
            writeln!(out, " {} |", words::effective(&task.effective))?;
        }
        writeln!(out)?;
    }
    for line in words::compared(runs) {
        writeln!(out, "- {}", escaped(&line))?;
    }
    for plot in plots {
        writeln!(out, "\n![{}]({}.svg)", escaped(&plot.title), plot.name)?;
    }
    writeln!(
        out,
        "\nScores in % with 95 % intervals. \\* more than 5 % of the items have no answer. \
         Effective length: the longest length at and below which the score stays at 85 % of the short control's."
    )?;
    for run in runs {
        let m = &run.manifest;
        writeln!(
            out,
            "\n{}: fathom {}, numeric version {}, products in {}, logits {}",
            escaped(&run.label),
            escaped(&m.fathom),
            m.numeric_version,
            // Runs of before there was a choice name none.
            escaped(
                m.model
                    .get("precision")
                    .and_then(|p| p.as_str())
                    .unwrap_or("f32")
            ),
            escaped(&m.logits_fingerprint)
        )?;
    }
    Ok(())
}

/// Text that cannot break out of a table's cell or become markup.
pub fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '|' | '*' | '_' | '`' | '[' | ']' | '<' | '>' | '#' | '\\' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
