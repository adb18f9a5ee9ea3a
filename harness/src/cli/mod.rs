//! The command line: one file a verb. Only `run`, `logits`, `bench`, `serve` and `generate` execute a model.
//!
//! Exit codes: 0 done; 1 a gate or check says no; 2 bad usage or bad input; 3 the run could not finish.
//! Errors are one line on stderr.

pub mod args;
mod audit;
mod bench;
mod compare;
mod endpoint;
mod fetch;
mod generate;
mod list;
mod logits;
mod model;
mod out;
mod quantize;
mod report;
mod run;
mod score;
mod serve;
mod show;
mod show_run;
mod summary;
mod tokenize;

pub use out::table;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::{Error, Result};

/// Measures how deep a language model really reads.
#[derive(Parser)]
#[command(
    name = "fathom",
    version,
    about = "Measures how deep a language model really reads.",
    after_help = "Examples:
  fathom run                                         the built-in model, the default suite, a report in minutes
  fathom run --model model.gguf --lengths 1k,4k,16k  your model at growing lengths
  fathom run --fault no-temperature                  the same model with a fault that others shipped
  fathom report reports/A reports/B --out both       two runs drawn together
  fathom compare reports/A reports/B --gate          whether the second is worse, question by question"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Run(run::Args),
    Report(report::Args),
    Score(score::Args),
    Compare(compare::Args),
    Logits(logits::Args),
    Audit(audit::Args),
    Bench(bench::Args),
    Serve(serve::Args),
    Tokenize(tokenize::Args),
    Quantize(quantize::Args),
    Generate(generate::Args),
    Fetch(fetch::Args),
    Show(show::Args),
    List(list::Args),
}

/// Makes a panic, which is a defect of fathom itself, one line on stderr and exit code 3. For the program's start.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info
            .location()
            .map(|l| format!(" at {}:{}", l.file(), l.line()));
        let what = info
            .payload_as_str()
            .unwrap_or("something")
            .lines()
            .next()
            .unwrap_or_default();
        eprintln!(
            "fathom: internal error{}: {what}",
            place.unwrap_or_default()
        );
        std::process::exit(3);
    }));
}

/// Runs the command line and says how it ended.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match parse(args).and_then(execute) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, Error::OutputClosed) {
                eprintln!("fathom: {}", one_line(&error.to_string()));
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli> {
    Cli::try_parse_from(args).map_err(|e| match e.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let code = if e.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                2
            } else {
                0
            };
            let _ = e.print();
            std::process::exit(code)
        }
        _ => {
            let text = e.render().to_string();
            let first = text.split("\n\n").next().unwrap_or(&text).trim();
            Error::Usage(format!(
                "{} (see --help)",
                first.trim_start_matches("error: ")
            ))
        }
    })
}

impl Verb {
    /// Threads that were asked for; 0: one a core.
    fn threads(&self) -> usize {
        match self {
            Self::Run(args) => args.engine.threads,
            Self::Logits(args) => args.threads(),
            Self::Audit(args) => args.model.threads(),
            Self::Bench(args) => args.engine.threads,
            Self::Serve(args) => args.engine.threads,
            Self::Generate(args) => args.engine.threads,
            _ => 0,
        }
    }
}

fn execute(cli: Cli) -> Result<()> {
    // What is shared out beside the engine, weights that are rounded and evidence, keeps to the same number. The process has one
    // pool, however often its library is entered: a second one is refused.
    let threads = cli.verb.threads();
    if threads > 0 {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global().ok();
    }
    match cli.verb {
        Verb::Run(args) => run::run(&args),
        Verb::Score(args) => score::run(&args),
        Verb::Report(args) => report::run(&args),
        Verb::Compare(args) => compare::run(&args),
        Verb::Logits(args) => logits::run(&args),
        Verb::Audit(args) => audit::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Serve(args) => serve::run(&args),
        Verb::Tokenize(args) => tokenize::run(&args),
        Verb::Quantize(args) => quantize::run(&args),
        Verb::Generate(args) => generate::run(&args),
        Verb::Fetch(args) => fetch::run(&args),
        Verb::Show(args) => show::run(&args),
        Verb::List(args) => list::run(&args),
    }
}

/// A message without line ends or control characters: what a stranger's file says must not move the cursor.
fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn usage_errors_are_one_line_and_exit_2() {
        for args in [
            &["fathom", "run", "--lengths", "1x"][..],
            &["fathom", "frob"],
            &["fathom", "logits", "record"],
            &["fathom", "run", "--seed", "-1"],
        ] {
            let error = parse(args.iter().map(OsString::from))
                .err()
                .map(|e| (e.exit_code(), e.to_string()));
            let (code, text) = error.unwrap_or_default();
            assert_eq!(code, 2, "{args:?}: {text}");
            assert!(one_line(&text).ends_with("(see --help)"), "{text}");
        }
    }

    #[test]
    fn messages_cannot_move_the_cursor() {
        assert_eq!(one_line("a\n b\u{1b}[2J\rc"), "a b\u{fffd}[2J c");
    }
}
