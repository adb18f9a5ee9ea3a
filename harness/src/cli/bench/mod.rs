//! `fathom bench`: prefill and decode speed by context length, alone and over a tree of forks.
//!
//! | file | holds |
//! |---|---|
//! | `measure.rs` | one measurement of each kind |
//! | `extrapolate.rs` | what longer prompts would cost |
//! | `show.rs` | the table, the JSON object and the plot |

mod extrapolate;
mod measure;
mod show;

use std::path::PathBuf;

use fathom_engine::kernels::limits;

use crate::cli::args;
use crate::cli::model::{EngineArgs, FaultArgs, ModelArgs};
use crate::memory::{available_bytes, show_bytes};
use crate::stop::Stop;
use crate::{Error, Result};
use extrapolate::Extrapolation;
use measure::{Bench, Kind, Sample};

/// Measure prefill and decode speed by context length
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fathom bench --model model.gguf --prompt 512,8k --decode 64 --threads 2
  fathom bench --model model.gguf --limits                shares of this machine's FMA peak and read bandwidth
  fathom bench --model model.gguf --prompt 8k --tree      16 answers off one document, and a sweep
  fathom bench --prompt 1k,4k,16k --plot speed.svg
  fathom bench --prompt 1k,2k,4k,8k --extrapolate 10M     what 128K, 1M and 10M tokens would cost here
  fathom bench --prompt 1k --json")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    fault: FaultArgs,
    #[command(flatten)]
    pub(super) engine: EngineArgs,
    /// Lengths of prompts, in tokens
    #[arg(long, value_name = "TOKENS,..", value_delimiter = ',', default_value = "512,2048",
          value_parser = args::tokens)]
    prompt: Vec<usize>,
    /// Tokens to generate: with an empty context, and behind each prompt
    #[arg(long, value_name = "TOKENS", default_value = "32")]
    decode: usize,
    /// Measurements of each; the figures are medians
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..))]
    repeats: u16,
    /// Measure this machine's multiply-add peak and read bandwidth, and print the shares of them
    #[arg(long)]
    limits: bool,
    /// Also behind the longest prompt: 16 answers decoded together, and a sweep of questions forked off it
    #[arg(long)]
    tree: bool,
    /// Fit time and memory to the prompts (three or more), and say what lengths up to this one would cost
    #[arg(long, value_name = "TOKENS", value_parser = args::tokens)]
    extrapolate: Option<usize>,
    /// Draw speed over length: a file ending in .svg or .png
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let stop = Stop::on_signals()?;
    if let Some(path) = &args.plot {
        show::check_plot(path)?;
    }
    if args.extrapolate.is_some() {
        extrapolate::check(&args.prompt, args.decode)?;
    }
    let model = args.model.open_with(&args.fault)?;
    let memory = available_bytes().unwrap_or(u64::MAX);
    for length in &args.prompt {
        let needed = model.weight_bytes() + model.cache_bytes(length.saturating_add(args.decode));
        if needed > memory {
            let expected = format!("at most {} available", show_bytes(memory));
            let found = format!("{length} tokens, needs {}", show_bytes(needed));
            return Err(Error::input("--prompt", "length", found, expected));
        }
    }
    let bench = Bench {
        model: &model,
        threads: args.engine.threads,
        decode: args.decode,
        stop: &stop,
    };
    let limits = args.limits.then(|| limits::machine(args.engine.threads));
    // The first pass pages the weights in, and finds memory for a tile's activations.
    let longest = args.prompt.iter().copied().max().unwrap_or(0);
    bench.once(longest.clamp(64, bench.options().tile))?;
    let mut samples = Vec::new();
    for context in std::iter::once(0).chain(args.prompt.iter().copied()) {
        samples.extend(repeated(args.repeats, || bench.once(context))?);
    }
    if args.tree {
        let document = args.prompt.iter().copied().max().unwrap_or(512);
        samples.extend(repeated(args.repeats, || bench.answers(document))?);
        samples.extend(repeated(args.repeats, || bench.sweep(document))?);
    }
    if let Some(path) = &args.plot {
        show::plot(path, &model.name, &samples, args.repeats.into())?;
    }
    let fit = args
        .extrapolate
        .map(|length| Extrapolation::new(&model, &samples, args.decode, length));
    let precision = model.precision.name();
    show::print(&samples, precision, limits, fit.as_ref(), args.json)
}

/// Measures several times; of each kind the sample of the median time.
fn repeated(n: u16, measure: impl Fn() -> Result<Vec<Sample>>) -> Result<Vec<Sample>> {
    let mut runs: Vec<Vec<Sample>> = (0..n).map(|_| measure()).collect::<Result<_>>()?;
    let kinds: Vec<Kind> = runs[0].iter().map(|s| s.kind).collect();
    let median = |kind: &Kind| {
        let of_kind = runs.iter_mut().filter_map(|run| {
            let at = run.iter().position(|s| s.kind == *kind)?;
            Some(run.swap_remove(at))
        });
        let mut of_kind: Vec<_> = of_kind.collect();
        of_kind.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        of_kind.swap_remove(of_kind.len() / 2)
    };
    Ok(kinds.iter().map(median).collect())
}
