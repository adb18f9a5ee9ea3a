//! What a person reads at the end of a run, and before one.

use std::path::Path;

use crate::Result;
use crate::backend::Backend;
use crate::cli::out;
use crate::item::Context;
use crate::layout::Layout;
use crate::memory::show_bytes;
use crate::report::data::Run;
use crate::report::words;
use crate::run::estimate::{Cost, Estimate};
use crate::run::execute::Settings;
use crate::run::plan::Plan;
use crate::run::progress::show_seconds;
use crate::run::speed;

/// Prints a finished run: scores by length, speed by length, the fingerprint, the report's path.
pub fn print(dir: &Path) -> Result<()> {
    let run = Run::load(dir)?;
    let tasks = run.tasks();
    let mut lengths: Vec<usize> = tasks
        .iter()
        .flat_map(|t| t.lengths.iter().map(|(n, _)| *n))
        .collect();
    lengths.sort_unstable();
    lengths.dedup();
    let mut header = vec![
        "task".to_owned(),
        "no context".to_owned(),
        "short".to_owned(),
    ];
    header.extend(lengths.iter().map(|n| label(*n)));
    header.push("chance".to_owned());
    header.push(String::new());
    let rows = tasks.iter().map(|task| {
        let mut row = vec![
            task.name.clone(),
            words::percent(task.none.as_ref()),
            words::percent(task.short.as_ref()),
        ];
        let at = |n: &usize| {
            task.lengths
                .iter()
                .find(|(length, _)| length == n)
                .map(|(_, c)| c)
        };
        row.extend(lengths.iter().map(|n| words::percent(at(n))));
        let any = task
            .short
            .as_ref()
            .or_else(|| task.lengths.first().map(|(_, c)| c));
        row.push(any.map_or_else(String::new, |c| format!("{:.0} %", 100.0 * c.chance)));
        row.push(words::effective(&task.effective));
        row
    });
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut text = out::table(&header, rows);
    if !run.speed.is_empty() {
        let rows = run.speed.iter().map(|s| {
            vec![
                label(s.context),
                format!("{:.0}", s.prefill_tokens_per_s),
                format!("{:.0}", s.decode_tokens_per_s),
                format!("{:.2} s", s.first_token_s),
                show_bytes(s.cache_bytes),
            ]
        });
        let header = [
            "length",
            "prefill tok/s",
            "decode tok/s",
            "first token",
            "cache",
        ];
        text += &format!("\n{}", out::table(&header, rows));
    }
    text += &format!("\nlogits {}\n", run.manifest.logits_fingerprint);
    text += &format!("report {}\n", dir.join("report.html").display());
    out::print(&text)
}

/// Prints what a run will cost.
pub fn print_plan(
    plan: &Plan,
    layout: &mut Layout<'_>,
    backend: &dyn Backend,
    settings: &Settings,
) -> Result<()> {
    let mut estimate = Estimate::default();
    plan.outline(layout, &mut |record, n| {
        estimate.add(backend, settings, record, n)
    })?;
    for length in &settings.speed_at {
        if backend.bytes_needed(*length) <= settings.memory {
            estimate.add_speed(*length, speed::seconds(backend, *length));
        }
    }
    let mut rows: Vec<_> = estimate
        .costs
        .iter()
        .map(|(c, cost)| row(context(*c), cost))
        .collect();
    rows.push(row("together".to_owned(), &estimate.total()));
    let header = [
        "length",
        "items",
        "prompt tokens",
        "answer tokens",
        "time",
        "memory",
        "money",
        "",
    ];
    let mut text = out::table(&header, rows);
    text += &format!(
        "\ntime from {}; memory available: {}\n",
        backend.rate_basis(),
        show_bytes(settings.memory)
    );
    text += "nothing has been run\n";
    out::print(&text)
}

fn row(name: String, cost: &Cost) -> Vec<String> {
    let mut notes = Vec::new();
    if cost.beyond {
        notes.push("beyond the declared context".to_owned());
    }
    if cost.skipped > 0 {
        notes.push(format!("{} do not fit in memory", cost.skipped));
    }
    vec![
        name,
        cost.items.to_string(),
        cost.prompt_tokens.to_string(),
        format!("at most {}", cost.answer_tokens),
        minutes(cost.seconds),
        show_bytes(cost.bytes),
        "0".to_owned(),
        notes.join("; "),
    ]
}

/// `0.4 min`, `2 h 5 min`.
fn minutes(seconds: f64) -> String {
    if seconds < 3600.0 {
        format!("{:.1} min", seconds / 60.0)
    } else {
        show_seconds(seconds)
    }
}

fn context(context: Context) -> String {
    match context {
        Context::None => "no context".to_owned(),
        Context::Short => "short control".to_owned(),
        Context::Length(n) => label(n),
    }
}

/// `4k`, `1000`.
fn label(n: usize) -> String {
    if n >= 1 << 20 && n.is_multiple_of(1 << 20) {
        format!("{}m", n >> 20)
    } else if n >= 1024 && n.is_multiple_of(1024) {
        format!("{}k", n / 1024)
    } else {
        n.to_string()
    }
}
