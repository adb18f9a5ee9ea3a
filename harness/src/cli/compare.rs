//! `fathom compare`: two runs, item by item.

use std::path::PathBuf;

use crate::cli::out;
use crate::compare::{self, Comparison, Rule, Verdict};
use crate::{Error, Result, report};

/// Compare two runs of the same suites, question by question
#[derive(clap::Args)]
#[command(
    after_help = "Without --gate the exit code is 0 whatever is found. With it: 1 where the candidate is worse in any task at any
length, at alpha over all of them together; 4 where more than 5 % of what the base answered has no answer, or where
--margin is given and a drop beyond it is not excluded. How each is computed: METHODOLOGY.md.

Examples:
  fathom compare reports/sound reports/faulty
  fathom compare reports/last-week reports/last-night --gate --out reports/comparison
  fathom compare reports/f32 reports/int8 --gate --margin 0.05 --json"
)]
pub struct Args {
    /// The folder of the run that is right
    base: PathBuf,
    /// The folder of the run that may have changed
    candidate: PathBuf,
    /// Set the exit code
    #[arg(long)]
    gate: bool,
    /// Bound on the chance that equal models are told apart in any row
    #[arg(long, value_name = "P", default_value = "0.05", value_parser = share)]
    alpha: f64,
    /// A drop, as a share of 1, that each task over all its lengths must be shown not to have
    #[arg(long, value_name = "SHARE", value_parser = share)]
    margin: Option<f64>,
    /// Write comparison.md, comparison.json, junit.xml and both runs' report and plots to this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A share between 0 and 1, both excluded.
fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(v) if v > 0.0 && v < 1.0 => Ok(v),
        _ => Err("expected a number between 0 and 1".to_owned()),
    }
}

pub fn run(args: &Args) -> Result<()> {
    let rule = Rule {
        alpha: args.alpha,
        margin: args.margin,
    };
    let comparison = compare::compare(&args.base, &args.candidate, rule)?;
    let json = || {
        serde_json::to_string_pretty(&comparison)
            .map_err(|e| Error::Unfinished(format!("comparison.json: {e}")))
    };
    if let Some(dir) = &args.out {
        report::render(&[args.base.clone(), args.candidate.clone()], dir)?;
        let write = |name: &str, text: String| report::write(&dir.join(name), text.as_bytes());
        write("comparison.md", compare::markdown(&comparison))?;
        write("comparison.json", json()?)?;
        write("junit.xml", compare::junit(&comparison)?)?;
    }
    if args.json {
        out::line(&json()?)?;
    } else {
        out::print(&compare::table(&comparison))?;
        out::line("")?;
        for line in compare::notes(&comparison) {
            out::line(&line)?;
        }
        // A gate that says no says it on standard error.
        if !args.gate || passes(&comparison) {
            out::line(&compare::gate_line(&comparison))?;
        }
    }
    match comparison.verdict {
        Verdict::Worse if args.gate => Err(Error::Beyond(compare::gate_line(&comparison))),
        Verdict::Undecided if args.gate => Err(Error::Undecided(compare::gate_line(&comparison))),
        _ => Ok(()),
    }
}

fn passes(comparison: &Comparison) -> bool {
    matches!(comparison.verdict, Verdict::Better | Verdict::NoChange)
}
