//! `fathom score`: a run judged again, without generating.

use std::path::PathBuf;

use crate::cli::{out, summary};
use crate::run::journal::Lock;
use crate::run::{RunFolder, scores};
use crate::{Result, report};

/// Score a run again from its answers, without generating
#[derive(clap::Args)]
#[command(after_help = "Example:
  fathom score reports/2026-11-24-builtin")]
pub struct Args {
    /// The folder of a run
    dir: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    let _lock = {
        RunFolder::open(&args.dir)?;
        Lock::take(&args.dir)?
    };
    let counted = scores::write(&args.dir)?;
    report::render(std::slice::from_ref(&args.dir), &args.dir)?;
    out::line(&format!(
        "{} of {} items scored\n",
        counted.answered, counted.items
    ))?;
    summary::print(&args.dir)
}
