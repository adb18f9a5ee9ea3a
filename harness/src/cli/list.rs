//! `fathom list`: what exists.

use fathom_engine::fault::FAULTS;
use fathom_engine::spec::FAMILIES;

use crate::Result;
use crate::cli::out;
use crate::suite::{self, KINDS};

/// List what exists: model families, suites, tasks, faults
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fathom list suites
  fathom list faults")]
pub struct Args {
    /// What to list
    #[arg(value_enum)]
    what: What,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    Families,
    Suites,
    Tasks,
    Faults,
}

pub fn run(args: &Args) -> Result<()> {
    let table = match args.what {
        What::Families => out::table(
            &["family", "in GGUF", "models"],
            FAMILIES
                .iter()
                .map(|f| vec![f.hf.into(), f.gguf.into(), f.examples.into()]),
        ),
        What::Suites => out::table(
            &["suite", "what it asks"],
            suite::list()
                .into_iter()
                .map(|(name, what)| vec![name, what]),
        ),
        What::Tasks => out::table(
            &["task", "what it asks", "parameters"],
            KINDS
                .iter()
                .map(|k| vec![k.name.into(), k.summary.into(), k.parameters.join(", ")]),
        ),
        What::Faults => out::table(
            &["fault", "what is wrong", "shipped by"],
            FAULTS
                .iter()
                .map(|f| vec![f.name.into(), f.summary.into(), f.source.into()]),
        ),
    };
    out::print(&table)
}
