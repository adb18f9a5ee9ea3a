//! `fathom show`: a checkpoint's spec, a run, one item as sent and as answered.

use std::path::Path;

use fathom_engine::Model;
use fathom_engine::format::checkpoint::Config;
use fathom_engine::spec::{implied_by_gguf, not_rounded};

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
    /// A GGUF file, a Hugging Face folder, `builtin`, hf:OWNER/NAME, or the folder of a run
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
        n => format!("{n} tokens"),
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
        vec!["cache".to_owned(), cache(model)],
    ];
    let stored = model.weights.stored_as().into_iter();
    let stored: Vec<_> = stored.map(|(kind, n)| format!("{kind}: {n}")).collect();
    facts.push(vec!["matrices".to_owned(), stored.join("; ")]);
    let outside = describe::outside(spec).into_iter();
    facts.extend(outside.map(|(name, words)| vec![name.to_owned(), words]));
    let unused = unused(&model.weights.unused);
    if !unused.is_empty() {
        facts.push(vec!["not used".to_owned(), unused]);
    }
    if let Config::Hf(config) = &model.checkpoint.config
        && let Some(note) = not_rounded(config)
    {
        facts.push(vec!["deployed".to_owned(), note]);
    }
    if let Config::Gguf(_) = model.checkpoint.config
        && let Some(implied) = implied_by_gguf(&spec.family)
    {
        facts.push(vec!["implied by GGUF".to_owned(), implied.to_owned()]);
    }
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

/// Keys and values, by token and at lengths from 1k to 10M.
fn cache(model: &Model) -> String {
    // All layers hold the first tokens; of later ones those without a window or chunk.
    let block = 64;
    let early = model.cache_bytes(block) / block as u64;
    let (near, far) = (model.cache_bytes(20_000_000), model.cache_bytes(10_000_000));
    let late = (near - far) / 10_000_000;
    let mut text = format!("float32, {early} bytes a token");
    if late != early {
        text += &format!(", {late} beyond windows and chunks");
    }
    for (name, n) in [
        ("1k", 1_000),
        ("10k", 10_000),
        ("100k", 100_000),
        ("1M", 1_000_000),
        ("10M", 10_000_000),
    ] {
        text += &format!("; {name}: {}", show_bytes(model.cache_bytes(n)));
    }
    text
}

/// Tensors beside the text model, by the first part of their names; empty when there are none.
fn unused(names: &[String]) -> String {
    let mut groups: Vec<(&str, usize)> = Vec::new();
    // The frequencies of a GGUF file are tensors, and part of the spec already.
    for name in names.iter().filter(|n| !n.starts_with("rope_")) {
        let first = name.strip_prefix("model.").unwrap_or(name);
        let first = first.split('.').next().unwrap_or(first);
        match groups.iter_mut().find(|(group, _)| *group == first) {
            Some((_, n)) => *n += 1,
            None => groups.push((first, 1)),
        }
    }
    let groups: Vec<_> = groups
        .iter()
        .map(|(group, n)| format!("{group} ({n})"))
        .collect();
    if groups.is_empty() {
        String::new()
    } else {
        format!("tensors of {}", groups.join(", "))
    }
}
