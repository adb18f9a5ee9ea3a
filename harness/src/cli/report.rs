//! `fathom report`: runs rendered again from their files.

use std::path::PathBuf;

use crate::cli::out;
use crate::{Error, Result, report};

/// Render a run again, or several together, from their files alone
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fathom report reports/2026-11-24-builtin
  fathom report reports/sound reports/faulty --out reports/both")]
pub struct Args {
    /// Folders of runs
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Where to write; without it, into the folder of the one run
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<()> {
    let out_dir = match (&args.out, &args.dirs[..]) {
        (Some(out), _) => out.clone(),
        (None, [one]) => one.clone(),
        (None, _) => {
            return Err(Error::Usage(
                "several runs: say where to write, --out DIR".to_owned(),
            ));
        }
    };
    let page = report::render(&args.dirs, &out_dir)?;
    out::line(&page.display().to_string())
}
