//! What an audit compares with: a model, or a pack made of one.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use crate::audit::hypothesis;
use crate::audit::observe::Told;
use crate::audit::pack::Pack;
use crate::audit::prepare::{self, Prepared, Wanted};
use crate::audit::table::{Making, Shape, Table};
use crate::cli::args;
use crate::cli::model::{EngineArgs, ModelArgs};
use crate::opened::{Opened, TemplateArgs};
use crate::stop::Stop;
use crate::{Error, Result};

/// The reference and the probes.
#[derive(clap::Args)]
pub struct ReferenceArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    template: TemplateArgs,
    /// What the provider says openly was done, which is no fault then: kv=q8_0,weights=q4_k_m
    #[arg(long, value_name = "LIST", default_value = "")]
    declared: String,
    /// Another checkpoint that may be served in the model's place; may be given more than once
    #[arg(long, value_name = "PATH")]
    suspect: Vec<String>,
    /// Tokens of a long probe; without it, what the model's faults need
    #[arg(long, value_name = "TOKENS", value_parser = args::tokens)]
    length: Option<usize>,
    /// Seed of the probes
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
}

impl ReferenceArgs {
    /// The reference, with what is declared.
    ///
    /// # Errors
    /// When the model does not open, or what is declared is no fault of it.
    pub fn open(&self) -> Result<Opened> {
        let model = hypothesis::declared(self.model.open()?, &self.declared)?;
        Opened::new(model, &self.template)
    }

    /// The options that repeat it.
    pub fn again(&self) -> String {
        let mut text = format!("--model {} --seed {}", self.model.name(), self.seed);
        if !self.declared.is_empty() {
            text += &format!(" --declared {}", self.declared);
        }
        for suspect in &self.suspect {
            text += &format!(" --suspect {suspect}");
        }
        if let Some(length) = self.length {
            text += &format!(" --length {length}");
        }
        text
    }

    /// Threads of the engine.
    pub fn threads(&self) -> usize {
        self.engine.threads
    }

    /// Seed of the probes.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Evaluates the reference and all of its faults on `probes` long probes and a few short ones, for a service that tells so much.
    ///
    /// # Errors
    /// When a suspect does not open, or the model has no template for what is to be audited.
    pub fn prepare(
        &self,
        opened: &Opened,
        shape: Shape,
        told: Told,
        probes: usize,
        stop: &Stop,
    ) -> Result<Prepared> {
        if shape == Shape::Chat && opened.raw_prompts() {
            return Err(Error::Usage(format!(
                "audit: {} has no chat template, and nothing but chat is to be audited; name one with --chat-template",
                opened.model.name
            )));
        }
        let suspects = self.suspect.iter().map(|path| {
            let other = ModelArgs {
                model: path.clone(),
                ..self.model.clone()
            };
            Ok((other.name(), other.open()?))
        });
        let wanted = Wanted {
            shape,
            scored: told == Told::Prompt,
            sampled: told == Told::Sampled,
            probes,
            length: self.length,
            most: opened.model.spec.context_length,
            seed: self.seed,
        };
        let style = "{bar:30} {pos}/{len} evaluations of the reference and of its faults, {eta}";
        let style = ProgressStyle::with_template(style);
        let bar = ProgressBar::new(0);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let progress = |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        };
        let making = Making {
            progress: &progress,
            ..Making::new(&opened.model, self.engine.threads, stop)
        };
        let prepared = prepare::table(opened, suspects.collect::<Result<_>>()?, wanted, &making);
        bar.finish_and_clear();
        prepared
    }

    /// A table with what it is of.
    pub fn pack(&self, opened: &Opened, table: Table) -> Pack {
        let mut model = opened.identity();
        model.insert("name".to_owned(), self.model.name().into());
        if !self.declared.is_empty() {
            model.insert("declared".to_owned(), self.declared.clone().into());
        }
        Pack {
            bytes: prepare::bytes(opened, &table),
            table,
            model,
        }
    }
}

/// Record an audit's prompts with what the reference and each of its faults say of them: `fathom audit --reference` needs no model
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fathom logits pack --model scout.gguf --out scout.pack
  fathom audit --reference scout.pack --endpoint https://api.example/v1")]
pub struct PackArgs {
    #[command(flatten)]
    reference: ReferenceArgs,
    /// The file
    #[arg(long, value_name = "PACK")]
    out: PathBuf,
    /// Long probes in it: an audit may put as many requests, and a few short ones
    #[arg(long, value_name = "N", default_value = "12", value_parser = clap::value_parser!(u16).range(1..=1000))]
    probes: u16,
    /// For services that offer nothing but chat
    #[arg(long)]
    chat: bool,
    /// For services that tell log probabilities of answers and none of prompts: quicker where the vocabulary is large
    #[arg(long)]
    answers: bool,
}

impl PackArgs {
    /// Threads of the engine.
    pub fn threads(&self) -> usize {
        self.reference.threads()
    }
}

/// Runs `fathom logits pack`.
pub fn pack(args: &PackArgs) -> Result<()> {
    let stop = Stop::on_signals()?;
    let shape = if args.chat { Shape::Chat } else { Shape::Raw };
    let opened = args.reference.open()?;
    let probes = args.probes.into();
    let told = match args.chat || args.answers {
        true => Told::Text,
        false => Told::Prompt,
    };
    let prepared = args
        .reference
        .prepare(&opened, shape, told, probes, &stop)?;
    let pack = args.reference.pack(&opened, prepared.table);
    pack.write(&args.out)?;
    let table = &pack.table;
    let tokens: usize = table.probes.iter().map(|p| p.ids.len()).sum();
    crate::cli::out::line(&format!(
        "{}: {} probes of {tokens} tokens, {} hypotheses, {} honest engines",
        args.out.display(),
        table.probes.len(),
        table.hypotheses.len(),
        table.honest.len()
    ))
}
