//! Prints questions as JSON lines of `text` and `answer`, to train a model on.
//!
//! ```text
//! cargo run --release -p fathom-harness --example export_training -- \
//!     --task last-state --n 1000 --split train --tokens 400 [--size small] [--seed 1]
//! ```
//!
//! Tasks: last-state, arc-order, knowledge, claims (two lines each); rank, contradict, replicate. A token counts as four
//! bytes; a document whose passages are longer than `--tokens` is not cut.

use std::io::Write as _;

use clap::Parser;
use fathom_harness::tasks::{export::export, novel, papers};
use serde::de::DeserializeOwned;

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
    let (size, split) = (named(&args.size)?, named(&args.split)?);
    let mut out = std::io::stdout().lock();
    for index in 0..args.n {
        let questions = match named(&args.task) {
            Ok(task) => novel::question(novel::Params { task, size, split }, args.seed, index),
            Err(_) => {
                let task = named(&args.task)?;
                vec![papers::question(
                    papers::Params { task, size, split },
                    args.seed,
                    index,
                )]
            }
        };
        for question in questions {
            if let Some(line) = export(&question, args.tokens)? {
                writeln!(out, "{}", line.json())?;
            }
        }
    }
    Ok(())
}

fn named<T: DeserializeOwned>(name: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(name.into())
}
