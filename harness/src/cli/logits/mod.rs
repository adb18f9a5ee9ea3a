//! `fathom logits`: reference logits, recorded and compared.

mod check;
mod endpoint;
mod record;
mod tokens;

use crate::Result;
use crate::cli::audit::{PackArgs, pack};

/// Record reference logits, and check a model against them
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fathom logits record --model llama4/ --tokens tokens.json --out logits.safetensors
  fathom logits record --tokens tokens.json --out small.safetensors --top-k 64
  fathom logits record --suite needle --lengths 1k,4k --out suite.safetensors --top-k 64
  fathom logits record --tokens tokens.json --out faulty.safetensors --fault no-chunk
  fathom logits check --model model-q4.gguf --reference logits.safetensors --plot curve.svg
  fathom logits check --candidate other.safetensors --reference logits.safetensors --json")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Record(record::Args),
    Check(check::Args),
    Pack(PackArgs),
}

impl Args {
    /// Threads of the engine.
    pub fn threads(&self) -> usize {
        match &self.verb {
            Verb::Record(args) => args.engine.threads,
            Verb::Check(args) => args.engine.threads,
            Verb::Pack(args) => args.threads(),
        }
    }
}

pub fn run(args: &Args) -> Result<()> {
    match &args.verb {
        Verb::Record(args) => record::run(args),
        Verb::Check(args) => check::run(args),
        Verb::Pack(args) => pack(args),
    }
}
