//! Prints questions as JSON lines of `text` and `answer`, to train a model on.
//!
//! ```text
//! cargo run --release -p fathom-harness --example export_training -- \
//!     --task last-state --n 1000 --split train --tokens 400 [--size small] [--seed 1]
//! ```
//!
//! Tasks: last-state, arc-order, knowledge, claims. A token counts as four bytes; a document whose passages are
//! longer than `--tokens` is not cut.

use std::io::Write as _;

use clap::Parser;
use fathom_harness::tasks::{export::export, novel};

#[derive(Parser)]
struct Args {
    #[arg(long)]
    task: String,
    #[arg(long, default_value_t = 1000)]
    n: usize,
    #[arg(long, default_value = "train")]
    split: String,
    #[arg(long, default_value = "small")]
    size: String,
    #[arg(long, default_value_t = 400)]
    tokens: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let named = |name: &str| serde_json::Value::String(name.to_string());
    let params = novel::Params {
        task: serde_json::from_value(named(&args.task))?,
        size: serde_json::from_value(named(&args.size))?,
        split: serde_json::from_value(named(&args.split))?,
    };
    let mut out = std::io::stdout().lock();
    for index in 0..args.n {
        for question in novel::question(params, args.seed, index) {
            if let Some(line) = export(&question, args.tokens)? {
                writeln!(out, "{}", line.json())?;
            }
        }
    }
    Ok(())
}
