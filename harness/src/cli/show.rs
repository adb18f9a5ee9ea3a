//! `fathom show`: a checkpoint's spec, a run, one item as sent and as answered.

use std::path::Path;

use fathom_engine::Model;

use crate::cli::model::ModelArgs;
use crate::cli::{out, show_run};
use crate::memory::show_bytes;
use crate::run::folder::MANIFEST;
use crate::{Result, describe};

/// Show a model's spec, a run, or one item as it was sent and answered
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fathom show model.gguf                        the layers of a checkpoint, as a person would draw them
  fathom show reports/2026-11-24-builtin        a run: what it was, and its items
  fathom show reports/2026-11-24-builtin 'needle/single/0007@4096/d0.5'")]
pub struct Args {
    /// A GGUF file, a Hugging Face folder, `builtin`, or the folder of a run
    #[arg(value_name = "MODEL|RUN")]
    what: String,
    /// An item of the run, or the beginning of its id where only one begins so
    item: Option<String>,
}

pub fn run(args: &Args) -> Result<()> {
    let path = Path::new(&args.what);
    if args.item.is_some() || path.join(MANIFEST).exists() {
        return show_run::run(path, args.item.as_deref());
    }
    let model = ModelArgs {
        model: args.what.clone(),
        allow_unknown_keys: true,
    };
    show_model(&model.open()?)
}

fn show_model(model: &Model) -> Result<()> {
    let spec = &model.spec;
    let context = match spec.context_length {
        0 => "not declared".to_owned(),
        n => format!(
            "{n} tokens, {} of keys and values",
            show_bytes(model.cache_bytes(n))
        ),
    };
    let mut facts = vec![
        vec!["model".to_owned(), model.name.clone()],
        vec!["family".to_owned(), spec.family.clone()],
        vec!["layers".to_owned(), describe::summary(spec)],
        vec!["width".to_owned(), spec.dim.to_string()],
        vec![
            "vocabulary".to_owned(),
            format!(
                "{}{}",
                spec.n_vocab,
                if spec.tied_head { ", tied head" } else { "" }
            ),
        ],
        vec!["context".to_owned(), context],
        vec!["weights".to_owned(), show_bytes(model.weight_bytes())],
    ];
    if !model.unknown_keys.is_empty() {
        facts.push(vec![
            "unknown keys".to_owned(),
            model.unknown_keys.join(", "),
        ]);
    }
    let layers = describe::layers(spec)
        .into_iter()
        .map(|l| vec![l.layers, l.attention, l.position, l.ffn]);
    let layers = out::table(&["layer", "attention", "position", "feed-forward"], layers);
    out::print(&format!("{}\n{layers}", out::table(&[], facts)))
}
