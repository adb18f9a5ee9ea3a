//! `fathom list`: what exists.

use fathom_engine::reach::first_difference;
use fathom_engine::spec::FAMILIES;
use fathom_engine::variant::Variant;

use crate::audit::hypothesis::BY_SERVICES;
use crate::cli::model::ModelArgs;
use crate::cli::out;
use crate::suite::{self, KINDS};
use crate::{Error, Result};

/// List what exists: model families, suites, tasks, faults
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fathom list suites
  fathom list faults
  fathom list faults --model model.gguf    those that apply to it, and the shortest text in which each can show")]
pub struct Args {
    /// What to list
    #[arg(value_enum)]
    what: What,
    /// Faults that apply to this model: a GGUF file, a Hugging Face folder, or `builtin`
    #[arg(long, value_name = "PATH")]
    model: Option<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    Families,
    Suites,
    Tasks,
    Faults,
}

pub fn run(args: &Args) -> Result<()> {
    if let Some(model) = &args.model {
        return match args.what {
            What::Faults => out::print(&faults_of(model)?),
            _ => Err(Error::Usage("--model: only with `list faults`".to_owned())),
        };
    }
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
        What::Faults => {
            let of_models = out::table(
                &["fault", "what is wrong", "shipped by"],
                Variant::all()
                    .iter()
                    .map(|f| vec![f.to_string(), f.summary().into(), f.source().into()]),
            );
            format!("{of_models}\n{}", of_services())
        }
    };
    out::print(&table)
}

/// The faults that change something of a model, with what of it, and the shortest text in which each can show.
fn faults_of(model: &str) -> Result<String> {
    let args = ModelArgs {
        model: model.to_owned(),
        allow_unknown_keys: false,
    };
    let model = args.open()?;
    let mut rows = Vec::new();
    for fault in Variant::all() {
        let (changed, first) = match fault.spec(&model.spec) {
            Some(faulty) => {
                let Some(first) = first_difference(&model.spec, &faulty) else {
                    continue;
                };
                let pairs = model.spec.layers.iter().zip(&faulty.layers);
                let changed = match pairs.filter(|(a, b)| a != b).count() {
                    0 => "outside of the layers".to_owned(),
                    n => format!("{n} of {} layers", model.spec.layers.len()),
                };
                (changed, first)
            }
            None if fault.rounds_weights(&model) => ("the weights".to_owned(), 0),
            None => continue,
        };
        rows.push(vec![
            fault.to_string(),
            fault.summary().to_owned(),
            changed,
            format!("{} tokens", first + 1),
            fault.source().to_owned(),
        ]);
    }
    let header = [
        "fault",
        "what is wrong",
        "changes",
        "shows from",
        "shipped by",
    ];
    Ok(format!("{}\n{}", out::table(&header, rows), of_services()))
}

/// What is done to prompts and answers of any model.
fn of_services() -> String {
    let header = [
        "by services: audit looks for it",
        "what is wrong",
        "done by",
    ];
    let rows = BY_SERVICES.iter().map(|row| row.map(String::from).to_vec());
    out::table(&header, rows)
}
