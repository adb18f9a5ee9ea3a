//! What a person reads at the end of a run, and before one.

use std::path::Path;

use crate::Result;
use crate::backend::Backend;
use crate::backend::endpoint::budget::{Terms, Tokens};
use crate::backend::endpoint::speed_tokens;
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
    let about = if run.approximate() { "~" } else { "" };
    header.extend(lengths.iter().map(|n| format!("{about}{}", label(*n))));
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
    if run.speed.iter().any(|s| s.warm_first_token_s.is_some()) {
        text += &format!("\n{}", speed_of_api(&run, about));
    } else if !run.speed.is_empty() {
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
    if run.approximate() {
        text += "\n~ lengths are approximate: the tokenizer is not known (--tokenizer)\n";
    }
    match &*run.manifest.logits_fingerprint {
        "" => text += "\n",
        hash => text += &format!("\nlogits {hash}\n"),
    }
    text += &format!("report {}\n", dir.join("report.html").display());
    out::print(&text)
}

/// Speed by length as an API has it: times, and what its cache is worth.
fn speed_of_api(run: &Run, about: &str) -> String {
    let count = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
    let rows = run.speed.iter().map(|s| {
        vec![
            format!("{about}{}", label(s.context)),
            s.prompt_tokens.unwrap_or(s.context).to_string(),
            format!("{:.0}", s.prefill_tokens_per_s),
            format!("{:.2} s", s.first_token_s),
            format!("{:.1} ms", 1000.0 / s.decode_tokens_per_s),
            s.warm_first_token_s
                .map_or_else(String::new, |t| format!("{t:.2} s")),
            format!(
                "{}, {}",
                count(s.cold_cached_tokens),
                count(s.warm_cached_tokens)
            ),
        ]
    });
    let header = [
        "length",
        "prompt tokens",
        "prefill tok/s",
        "first token",
        "between tokens",
        "sent again",
        "cached, then",
    ];
    out::table(&header, rows)
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
            let times = backend.terms().map_or(0, |_| backend.speed_repeats());
            let once = speed_tokens(*length);
            let billed = (0..times).fold(Tokens::default(), |sum, _| sum.and(once));
            estimate.add_speed(*length, speed::seconds(backend, *length), billed);
        }
    }
    let mut rows: Vec<_> = estimate
        .costs
        .iter()
        .map(|(c, cost)| row(context(*c), cost, backend.terms()))
        .collect();
    let total = estimate.total();
    rows.push(row("together".to_owned(), &total, backend.terms()));
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
    text += &format!("\ntime from {}", backend.rate_basis());
    text += &match backend.terms() {
        None => format!("; memory available: {}\n", show_bytes(settings.memory)),
        Some(terms) => budget(terms, total.billed()),
    };
    text += match backend.terms() {
        None => "nothing has been run\n",
        Some(_) => "nothing has been run but those small requests\n",
    };
    out::print(&text)
}

/// What a plan says of money, and whether it may be spent.
fn budget(terms: &Terms, billed: Tokens) -> String {
    let mut text = format!(
        "\nbilled, with the longest answers: {} tokens",
        billed.all()
    );
    text += &match terms.money(billed) {
        Some(money) => format!(", {money:.2} of money"),
        None => "; money: unknown without --price-in and --price-out".to_owned(),
    };
    text += ", the measurement of the speed included\n";
    if terms.limited() {
        let enough = match terms.allow(billed) {
            true => "enough for all items",
            false => "may not be enough: items beyond it end as `not run: budget`",
        };
        text += &format!("budget: {}, {enough}\n", terms.in_words());
    }
    text
}

fn row(name: String, cost: &Cost, terms: Option<&Terms>) -> Vec<String> {
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
        match terms.map(|terms| terms.money(cost.billed())) {
            None => "0".to_owned(),
            Some(None) => "?".to_owned(),
            Some(Some(money)) => format!("{money:.2}"),
        },
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
