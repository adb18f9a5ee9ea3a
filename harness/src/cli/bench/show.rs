//! Measurements as a table, as one JSON object and as a plot.

use std::path::Path;

use fathom_engine::kernels;
use serde_json::{Value, json};

use super::extrapolate::Extrapolation;
use super::measure::{Kind, Sample};
use crate::cli::out;
use crate::memory::{peak_rss_bytes, show_bytes};
use crate::record::SpeedRow;
use crate::report::plot::{LIGHT, speed_over_length};
use crate::{Error, Result};

/// The table, or the JSON object; `precision` is that of the products, `limits` are FLOP/s and bytes/s of the machine.
pub fn print(
    samples: &[Sample],
    precision: &str,
    limits: Option<(f64, f64)>,
    fit: Option<&Extrapolation>,
    json: bool,
) -> Result<()> {
    if json {
        let mut object = object(samples, precision, limits);
        if let Some(fit) = fit {
            object["extrapolation"] = fit.object();
        }
        return out::line(&object.to_string());
    }
    let mut header = vec!["what", "tokens/s", "GFLOP/s", "GB/s", "keys and values"];
    if limits.is_some() {
        header.extend(["of the peak", "of the bandwidth"]);
    }
    let rows = samples.iter().map(|s| {
        let mut row = vec![
            name(s),
            format!("{:.1}", s.tokens_per_s()),
            format!("{:.1}", rate(s.work.flop, s) / 1e9),
            format!("{:.1}", rate(s.work.bytes, s) / 1e9),
            show_bytes(s.cache_bytes),
        ];
        if let Some((flop, bytes)) = limits {
            row.push(format!("{:.0} %", 100.0 * rate(s.work.flop, s) / flop));
            row.push(format!("{:.0} %", 100.0 * rate(s.work.bytes, s) / bytes));
        }
        row
    });
    let mut text = out::table(&header, rows);
    let isa = kernels::isa()?;
    text += &format!(
        "\n{isa}, products in {precision}, peak memory {}",
        show_bytes(peak_rss_bytes())
    );
    if let Some((flop, bytes)) = limits {
        let (flop, bytes) = (flop / 1e9, bytes / 1e9);
        text += &format!("; this machine: {flop:.0} GFLOP/s, {bytes:.1} GB/s read");
    }
    out::line(&text)?;
    sweep_line(samples)?;
    fit.map_or(Ok(()), Extrapolation::print)
}

/// What a sweep cost beside what its tree implies and beside a prompt of the same length.
fn sweep_line(samples: &[Sample]) -> Result<()> {
    let Some(sweep) = samples.iter().find(|s| s.kind == Kind::Sweep) else {
        return Ok(());
    };
    let plain = samples
        .iter()
        .find(|s| s.kind == Kind::Prefill && s.context == sweep.context);
    let time = plain.map_or_else(String::new, |p| {
        let ratio = sweep.seconds / p.seconds;
        format!(", {ratio:.2} x the time of the prompt alone")
    });
    let ratio = sweep.worked as f64 / sweep.tokens as f64;
    out::line(&format!(
        "sweep: {} tokens worked, {ratio:.3} x the {} of the tree{time}",
        sweep.worked, sweep.tokens
    ))
}

fn name(s: &Sample) -> String {
    let (tokens, context) = (s.tokens, s.context);
    match s.kind {
        Kind::Prefill => format!("prefill {context}"),
        Kind::Decode => format!("decode {tokens} at {context}"),
        Kind::Answers => format!("decode {tokens} in 16 answers at {context}"),
        Kind::Sweep => format!("sweep of {context}"),
    }
}

fn rate(amount: u64, s: &Sample) -> f64 {
    amount as f64 / s.seconds
}

fn object(samples: &[Sample], precision: &str, limits: Option<(f64, f64)>) -> Value {
    let of = |kind: Kind| -> Vec<Value> {
        let samples = samples.iter().filter(|s| s.kind == kind);
        samples.map(|s| entry(s, limits)).collect()
    };
    let mut object = json!({
        "isa": kernels::isa().map_or("", kernels::Isa::name),
        "precision": precision,
        "prefill": of(Kind::Prefill),
        "decode": of(Kind::Decode),
        "peak_rss_bytes": peak_rss_bytes(),
    });
    for (key, kind) in [("answers", Kind::Answers), ("sweep", Kind::Sweep)] {
        if let Some(entry) = of(kind).pop() {
            object[key] = entry;
        }
    }
    if let Some((flop, bytes)) = limits {
        object["limits"] = json!({"flop_per_s": flop, "read_bytes_per_s": bytes});
    }
    object
}

fn entry(s: &Sample, limits: Option<(f64, f64)>) -> Value {
    let mut entry = json!({
        "tokens": s.tokens,
        "context": s.context,
        "tokens_per_s": s.tokens_per_s(),
        "seconds": s.seconds,
        "flop_per_s": rate(s.work.flop, s),
        "bytes_per_s": rate(s.work.bytes, s),
        "tokens_worked": s.worked,
        "cache_bytes": s.cache_bytes,
    });
    if let Some((flop, bytes)) = limits {
        entry["of_peak"] = json!(rate(s.work.flop, s) / flop);
        entry["of_bandwidth"] = json!(rate(s.work.bytes, s) / bytes);
    }
    entry
}

/// Whether a plot can be written by this name.
pub fn check_plot(path: &Path) -> Result<()> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("svg" | "png") => Ok(()),
        _ => Err(Error::input(
            "--plot",
            "file",
            path.display(),
            "a name that ends in .svg or .png",
        )),
    }
}

/// Draws speed over length.
pub fn plot(path: &Path, model: &str, samples: &[Sample], repeats: usize) -> Result<()> {
    let rows = samples.iter().filter(|s| s.kind == Kind::Prefill).map(|p| {
        let behind = samples
            .iter()
            .find(|s| s.kind == Kind::Decode && s.context == p.context);
        SpeedRow {
            context: p.context,
            prefill_tokens_per_s: p.tokens_per_s(),
            decode_tokens_per_s: behind.map_or(0.0, Sample::tokens_per_s),
            first_token_s: p.seconds,
            peak_rss_bytes: peak_rss_bytes(),
            cache_bytes: p.cache_bytes,
            repeats,
            ..SpeedRow::default()
        }
    });
    let Some(plot) = speed_over_length(vec![(model.to_owned(), rows.collect())]) else {
        return Ok(());
    };
    if path.extension().is_some_and(|e| e == "png") {
        return plot.write_png(path);
    }
    std::fs::write(path, plot.svg(&LIGHT)?).map_err(|e| Error::write(path, e))
}
