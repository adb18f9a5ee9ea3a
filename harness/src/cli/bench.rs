//! `fathom bench`: prefill and decode speed by context length.

use fathom_engine::{Extend, Logits, Model, PromptTree, TreeOptions};
use serde_json::json;
use std::time::Instant;

use crate::backend::sample::argmax;
use crate::cli::args;
use crate::cli::model::{EngineArgs, FaultArgs, ModelArgs};
use crate::cli::out;
use crate::memory::{available_bytes, show_bytes};
use crate::stop::Stop;
use crate::{Error, Result};

/// Measure prefill and decode speed by context length
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fathom bench --model model.gguf --prompt 512,8k --decode 64 --threads 2
  fathom bench --prompt 1k --json")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    fault: FaultArgs,
    #[command(flatten)]
    engine: EngineArgs,
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
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let stop = Stop::on_signals()?;
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
        stop: &stop,
    };
    // The first pass pages the weights in.
    bench.once(64, 2)?;
    let mut prefill = Vec::new();
    let mut decode = Vec::new();
    let contexts = std::iter::once(0).chain(args.prompt.iter().copied());
    for context in contexts {
        let mut samples = Vec::new();
        for _ in 0..args.repeats {
            samples.push(bench.once(context, args.decode)?);
        }
        if context > 0 {
            prefill.push((context, median(samples.iter().map(|s| s.0).collect())));
        }
        if args.decode > 0 {
            decode.push((context, median(samples.iter().map(|s| s.1).collect())));
        }
    }
    if args.json {
        let prefill: Vec<_> = prefill
            .iter()
            .map(|(n, t)| json!({"tokens": n, "tokens_per_s": t}))
            .collect();
        let decode: Vec<_> = decode
            .iter()
            .map(|(n, t)| json!({"context": n, "tokens": args.decode, "tokens_per_s": t}))
            .collect();
        return out::line(&json!({"prefill": prefill, "decode": decode}).to_string());
    }
    let rows = prefill
        .iter()
        .map(|(n, t)| vec![format!("prefill {n}"), format!("{t:.1}")])
        .chain(
            decode
                .iter()
                .map(|(n, t)| vec![format!("decode {} at {n}", args.decode), format!("{t:.1}")]),
        );
    out::print(&out::table(&["what", "tokens/s"], rows))
}

struct Bench<'a> {
    model: &'a Model,
    threads: usize,
    stop: &'a Stop,
}

impl Bench<'_> {
    /// Tokens a second of a prompt and of generation behind it.
    fn once(&self, context: usize, decode: usize) -> Result<(f64, f64)> {
        let n_vocab = self.model.spec.n_vocab;
        // Ids without a pattern, so that experts and caches see what a text would give them.
        let tokens: Vec<u32> = (1..=context.max(1) as u64)
            .map(|i| (i * 2_654_435_761 % n_vocab as u64) as u32)
            .collect();
        let options = TreeOptions {
            threads: self.threads,
            ..TreeOptions::default()
        };
        let mut tree = PromptTree::new(self.model, options)?;
        let span = tree.root(0);
        let mut next = tokens[0];
        let started = Instant::now();
        if context > 0 {
            for (i, piece) in tokens.chunks(options.tile).enumerate() {
                self.stop.check()?;
                let last = (i + 1) * options.tile >= tokens.len();
                let logits = if last { Logits::Last } else { Logits::None };
                tree.extend(
                    &[Extend {
                        span,
                        tokens: piece,
                        logits,
                    }],
                    &mut |row| {
                        next = argmax(row.logits);
                    },
                )?;
            }
        }
        let prefill = started.elapsed().as_secs_f64();
        let started = Instant::now();
        for _ in 0..decode {
            self.stop.check()?;
            let token = [next];
            tree.extend(
                &[Extend {
                    span,
                    tokens: &token,
                    logits: Logits::Last,
                }],
                &mut |row| {
                    next = argmax(row.logits);
                },
            )?;
        }
        let decoded = started.elapsed().as_secs_f64();
        if prefill < 0.0 || decoded < 0.0 {
            return Err(Error::Unfinished("the clock goes backwards".to_owned()));
        }
        Ok((
            context as f64 / prefill.max(1e-9),
            decode as f64 / decoded.max(1e-9),
        ))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    if n == 0 {
        0.0
    } else {
        (values[(n - 1) / 2] + values[n / 2]) / 2.0
    }
}
