//! The questions people ask of a long-context model, answered in plain words from the cells.

use super::data::{Run, TaskCells, length_label};
use crate::compare::sign_flips;
use crate::record::SpeedRow;
use crate::stats::{Cell, Effective, score_of};

/// A question and its answer.
pub struct Answered {
    /// As people ask it.
    pub question: &'static str,
    /// In a few words.
    pub verdict: String,
    /// The numbers behind it, a line each.
    pub lines: Vec<String>,
}

/// The three questions for one run.
pub fn answers(run: &Run, tasks: &[TaskCells]) -> Vec<Answered> {
    vec![short(tasks), long(tasks), speed(run)]
}

/// `97 % (92-99)`.
pub fn percent(cell: Option<&Cell>) -> String {
    let Some(cell) = cell else { return "-".into() };
    let mark = if cell.marked() { " *" } else { "" };
    match cell.score {
        Some(s) => format!(
            "{:.0} % ({:.0}–{:.0}){mark}",
            100.0 * s.mean,
            100.0 * s.low,
            100.0 * s.high
        ),
        None => "no answers *".into(),
    }
}

/// Is the short control better than a guess, and how good is it.
pub fn good_at_short(task: &TaskCells) -> &'static str {
    match task.short.as_ref().and_then(|c| Some((c, c.score?))) {
        None => "not asked",
        Some((c, s)) if s.low <= c.chance => "no: a guess does as well",
        Some((_, s)) if s.mean >= 0.8 => "yes",
        Some(_) => "partly",
    }
}

fn short(tasks: &[TaskCells]) -> Answered {
    let verdicts: Vec<&str> = tasks.iter().map(good_at_short).collect();
    let count = |word: &str| verdicts.iter().filter(|v| v.starts_with(word)).count();
    let (yes, partly, no) = (count("yes"), count("partly"), count("no:"));
    let verdict = match (yes, partly, no) {
        (0, 0, 0) => "Not asked: this run has no short controls.".to_owned(),
        (_, 0, 0) => "Yes, at everything asked.".to_owned(),
        (0, 0, _) => {
            "No, at nothing asked: length cannot be judged where the short form already fails."
                .to_owned()
        }
        _ => format!(
            "At {yes} of {} tasks; partly at {partly}; no better than a guess at {no}.",
            yes + partly + no
        ),
    };
    let lines = tasks.iter().filter(|t| t.short.is_some()).map(|t| {
        format!(
            "{}: {} with the evidence alone; a guess scores {:.0} %",
            t.name,
            percent(t.short.as_ref()),
            chance(t)
        )
    });
    Answered {
        question: "Is it good at short contexts?",
        verdict,
        lines: lines.collect(),
    }
}

fn chance(task: &TaskCells) -> f64 {
    100.0
        * task
            .short
            .as_ref()
            .or(task.lengths.first().map(|l| &l.1))
            .map_or(0.0, |c| c.chance)
}

fn long(tasks: &[TaskCells]) -> Answered {
    let judged: Vec<&TaskCells> = tasks
        .iter()
        .filter(|t| !matches!(t.effective, Effective::Unknown | Effective::NotGoodAtShort))
        .collect();
    let holds = judged
        .iter()
        .filter(|t| matches!(t.effective, Effective::AtLeast(_)))
        .count();
    let longest = judged
        .iter()
        .filter_map(|t| t.lengths.last())
        .map(|l| l.0)
        .max();
    let verdict = match longest {
        None => "Nothing to judge: no task has a short control above chance.".to_owned(),
        Some(n) if holds == judged.len() => {
            format!(
                "Yes, to the longest length tested, {} tokens.",
                length_label(n)
            )
        }
        Some(_) if holds == 0 => "No: every task loses on the way.".to_owned(),
        Some(_) => format!(
            "At {holds} of {} tasks; the others lose on the way.",
            judged.len()
        ),
    };
    let lines = tasks.iter().map(|t| {
        let cells = t
            .lengths
            .iter()
            .map(|(n, c)| format!("{} {}", length_label(*n), percent(Some(c))));
        format!(
            "{}: {}. {}",
            t.name,
            effective(&t.effective),
            cells.collect::<Vec<_>>().join(", ")
        )
    });
    Answered {
        question: "Bad as not producing good answers? Does it stay good at length?",
        verdict,
        lines: lines.collect(),
    }
}

/// An effective length in words.
pub fn effective(effective: &Effective) -> String {
    match effective {
        Effective::Unknown => "no control to compare with".into(),
        Effective::NotGoodAtShort => "not good at short, so length is not judged".into(),
        Effective::Below(n) => format!("lost before {}", length_label(*n)),
        Effective::Between(a, b) => {
            format!("reads {}, lost at {}", length_label(*a), length_label(*b))
        }
        Effective::AtLeast(n) => format!("reads {}, the longest tested", length_label(*n)),
    }
}

fn speed(run: &Run) -> Answered {
    let question = "Bad as being slow?";
    let (Some(first), Some(last)) = (run.speed.first(), run.speed.last()) else {
        let verdict = "Speed was not measured in this run.".into();
        return Answered {
            question,
            verdict,
            lines: Vec::new(),
        };
    };
    let verdict = format!(
        "{:.0} prompt tokens a second at {}, {:.0} at {}; the first token comes after {} there.",
        first.prefill_tokens_per_s,
        length_label(first.context),
        last.prefill_tokens_per_s,
        length_label(last.context),
        seconds(last.first_token_s),
    );
    let lines = run.speed.iter().map(|r| {
        if let Some(warm) = r.warm_first_token_s {
            return speed_of_api(run, r, warm);
        }
        format!(
            "{}: prefill {:.0} tokens/s, decoding {:.0} tokens/s, first token after {}, keys and values {}, peak memory {} (median of {})",
            length_label(r.context),
            r.prefill_tokens_per_s,
            r.decode_tokens_per_s,
            seconds(r.first_token_s),
            bytes(r.cache_bytes),
            bytes(r.peak_rss_bytes),
            r.repeats
        )
    });
    Answered {
        question,
        verdict,
        lines: lines.collect(),
    }
}

/// What was measured of an API at a length.
fn speed_of_api(run: &Run, row: &SpeedRow, warm: f64) -> String {
    let cached =
        |n: Option<u64>| n.map_or_else(|| "nobody tells how many".to_owned(), |n| n.to_string());
    format!(
        "{} ({} prompt tokens): first token after {}, {} between tokens; the same prompt again: {}; cached tokens at first {}, then {} (median of {})",
        run.length_label(row.context),
        row.prompt_tokens.unwrap_or(row.context),
        seconds(row.first_token_s),
        seconds(row.decode_tokens_per_s.recip()),
        seconds(warm),
        cached(row.cold_cached_tokens),
        cached(row.warm_cached_tokens),
        row.repeats
    )
}

fn seconds(s: f64) -> String {
    if s < 1.0 {
        format!("{:.0} ms", 1000.0 * s)
    } else {
        format!("{s:.1} s")
    }
}

fn bytes(n: u64) -> String {
    match n {
        _ if n >= 1 << 30 => format!("{:.1} GiB", n as f64 / f64::from(1 << 30)),
        _ => format!("{:.1} MiB", n as f64 / f64::from(1 << 20)),
    }
}

/// Each further run against the first, item by item: the same question, length and depth.
pub fn compared(runs: &[Run]) -> Vec<String> {
    let Some((first, others)) = runs.split_first() else {
        return Vec::new();
    };
    let there: std::collections::HashMap<&str, f64> = first
        .scores
        .iter()
        .filter_map(|r| Some((r.item.as_str(), score_of(r)?)))
        .collect();
    let line = |run: &Run| {
        let mut clusters: std::collections::BTreeMap<&str, Vec<f64>> = Default::default();
        for row in &run.scores {
            if let (Some(a), Some(b)) = (there.get(row.item.as_str()), score_of(row)) {
                clusters.entry(&row.cluster).or_default().push(b - a);
            }
        }
        let clusters: Vec<Vec<f64>> = clusters.into_values().collect();
        let changed = |better: bool| {
            let changed = |d: &&f64| if better { **d > 0.0 } else { **d < 0.0 };
            clusters.iter().flatten().filter(changed).count()
        };
        format!(
            "{} against {}: {} items in common, {} better only here, {} better only there (sign flips by document, p = {:.2e})",
            run.label,
            first.label,
            clusters.iter().map(Vec::len).sum::<usize>(),
            changed(true),
            changed(false),
            sign_flips(&clusters),
        )
    };
    others.iter().map(line).collect()
}
