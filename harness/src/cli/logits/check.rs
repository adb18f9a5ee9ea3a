//! `fathom logits check`: how far a model, or a file, is from recorded logits, and from which position on.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::args;
use crate::cli::endpoint::EndpointArgs;
use crate::cli::logits::endpoint;
use crate::cli::logits::record::evaluate;
use crate::cli::model::{EngineArgs, FaultArgs, ModelArgs};
use crate::cli::out;
use crate::divergence::measure::{MOST, Row};
use crate::divergence::rows::Recorded;
use crate::divergence::verdict::{Bounds, Comparison, Verdict};
use crate::report::plot;
use crate::stop::Stop;
use crate::{Error, Result};

/// Compare a model or a file with recorded logits, by position
#[derive(clap::Args)]
#[command(
    after_help = "Exit code 1 beyond a bound: the KL of some positions, the share of equal most probable tokens,
or a knee, a position from which on the divergence is another. How each is computed: METHODOLOGY.md.

Examples:
  fathom logits check --model model-q8.gguf --reference logits.safetensors
  fathom logits check --reference logits.safetensors --fault no-temperature --plot curve.png
  fathom logits check --endpoint http://localhost:8000/v1 --reference logits.safetensors
  fathom logits check --candidate there.safetensors --reference here.safetensors --json"
)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    fault: FaultArgs,
    #[command(flatten)]
    pub(super) engine: EngineArgs,
    /// Recorded logits of the same tokens in place of a model
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "fault", "precision"])]
    candidate: Option<PathBuf>,
    /// An OpenAI-compatible API in place of a model, /v1 included; it must take token ids and tell them with log
    /// probabilities, of prompts (echo or prompt_logprobs) or of an answer's first token
    #[arg(long, value_name = "URL", conflicts_with_all = ["model", "fault", "precision", "candidate"])]
    endpoint: Option<String>,
    /// Most probable tokens that the endpoint is asked for at each position
    #[arg(long, value_name = "K", requires = "endpoint", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=1000))]
    top: u16,
    /// Positions of each sequence that are asked for where the endpoint tells nothing of prompts: each is a request
    #[arg(long, value_name = "N", requires = "endpoint", default_value = "24", value_parser = clap::value_parser!(u16).range(2..))]
    positions: u16,
    /// What `fathom logits record` has written (all logits or top-k), or llama.cpp's base file of KL divergence
    #[arg(long, value_name = "FILE")]
    reference: PathBuf,
    /// Nats a token that any bin of positions may have, beyond doubt (95 %)
    #[arg(long, value_name = "NATS", default_value_t = Bounds::default().max_kl, value_parser = args::nats)]
    max_kl: f64,
    /// Share of most probable tokens that must be the same, beyond doubt (95 %)
    #[arg(long, value_name = "SHARE", default_value_t = Bounds::default().min_top1, value_parser = args::part)]
    min_top1: f64,
    /// A knee alone is no reason for exit code 1
    #[arg(long)]
    allow_knees: bool,
    /// Draw the curve (.svg or .png)
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: EndpointArgs,
}

pub fn run(args: &Args) -> Result<()> {
    if args.endpoint.is_none() {
        args.api.unused("--endpoint")?;
    }
    let bounds = Bounds {
        max_kl: args.max_kl,
        min_top1: args.min_top1,
        no_knee: !args.allow_knees,
    };
    let drawn = args.plot.as_deref().map(Drawn::of).transpose()?;
    let mut reference = Recorded::open(&args.reference)?;
    let mut kind = reference.kind();
    let mut asked = String::new();
    let verdict = match (&args.candidate, &args.endpoint) {
        (Some(path), _) => against_file(&mut reference, path, bounds),
        (_, Some(url)) => {
            let wishes = endpoint::Wishes {
                reference: &args.reference,
                settings: args.api.settings(url),
                top: args.top.into(),
                positions: args.positions.into(),
            };
            let (comparison, how) = endpoint::compare(&mut reference, &wishes)?;
            asked = how;
            Ok(comparison.verdict(bounds))
        }
        (None, None) => against_model(&mut reference, args, bounds),
    }?;
    if let Some(drawn) = drawn {
        drawn.write(&verdict)?;
    }
    if args.json {
        let mut object = json!(verdict);
        object["reference_rows"] = kind.into();
        if !asked.is_empty() {
            object["asked"] = asked.into();
        }
        if args.candidate.is_none() && args.endpoint.is_none() {
            object["precision"] = args.fault.precision.name().into();
        }
        out::line(&object.to_string())?;
    } else {
        if args.candidate.is_none() && args.endpoint.is_none() {
            kind += &format!("; the model's products in {}", args.fault.precision.name());
        }
        let asked = if asked.is_empty() {
            asked
        } else {
            asked + "\n"
        };
        out::print(&(in_words(&verdict, &kind) + &asked))?;
    }
    match verdict.exceeded.first() {
        None => Ok(()),
        Some(first) => Err(Error::Beyond(format!(
            "{}: {first}",
            args.reference.display()
        ))),
    }
}

fn against_model(reference: &mut Recorded, args: &Args, bounds: Bounds) -> Result<Verdict> {
    let stop = Stop::on_signals()?;
    let model = args.model.open_with(&args.fault)?;
    same_vocabulary(
        &args.reference,
        reference.n_vocab,
        &model.name,
        model.spec.n_vocab,
    )?;
    let mut sequences: Vec<Vec<u32>> = reference
        .sequences()
        .into_iter()
        .map(|range| reference.tokens[range].to_vec())
        .collect();
    if reference.begins_with_bos() {
        let tokenizer = model.tokenizer()?;
        let bos = tokenizer.bos().filter(|_| tokenizer.add_bos());
        for first in sequences.iter_mut().filter_map(|s| s.first_mut()) {
            *first = bos.unwrap_or(*first);
        }
    }
    let mut comparison = Comparison::new(reference);
    for (i, ids) in sequences.iter().enumerate() {
        evaluate(
            &model,
            args.engine.threads,
            ids,
            &stop,
            &mut |pos, logits| comparison.take(i, pos, Row::full(logits)),
        )?;
    }
    Ok(comparison.verdict(bounds))
}

fn against_file(reference: &mut Recorded, path: &Path, bounds: Bounds) -> Result<Verdict> {
    let mut candidate = Recorded::open(path)?;
    let name = path.display().to_string();
    same_vocabulary(&name, reference.n_vocab, &name, candidate.n_vocab)?;
    if candidate.tokens != reference.tokens || candidate.offsets != reference.offsets {
        let expected = "those of the reference";
        return Err(Error::input(name, "tokens", "other sequences", expected));
    }
    let sequences = candidate.sequences();
    let mut comparison = Comparison::new(reference);
    let mut buffer = Vec::new();
    for (i, range) in sequences.into_iter().enumerate() {
        for pos in 0..range.len() {
            if let Some(row) = candidate.row(range.start + pos, &mut buffer)? {
                comparison.take(i, pos, row)?;
            }
        }
    }
    Ok(comparison.verdict(bounds))
}

fn same_vocabulary(
    file: impl AsRef<Path>,
    reference: usize,
    candidate: &str,
    n_vocab: usize,
) -> Result<()> {
    if reference == n_vocab {
        return Ok(());
    }
    let expected = format!("{n_vocab}, as {candidate} has");
    Err(Error::input(
        file.as_ref().display(),
        "vocabulary",
        reference,
        expected,
    ))
}

/// Where the curve is drawn.
enum Drawn<'a> {
    Svg(&'a Path),
    Png(&'a Path),
}

impl<'a> Drawn<'a> {
    fn of(path: &'a Path) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("svg") => Ok(Self::Svg(path)),
            Some("png") => Ok(Self::Png(path)),
            _ => Err(Error::input(
                "--plot",
                "file",
                path.display(),
                "a name that ends in .svg or .png",
            )),
        }
    }

    fn write(self, verdict: &Verdict) -> Result<()> {
        let plot = plot::divergence(&verdict.curve, &verdict.knees);
        match self {
            Self::Png(path) => plot.write_png(path),
            Self::Svg(path) => {
                std::fs::write(path, plot.svg(&plot::LIGHT)?).map_err(|e| Error::write(path, e))
            }
        }
    }
}

fn in_words(verdict: &Verdict, kind: &str) -> String {
    let all = &verdict.all;
    let partly = all.kl_at_most > all.kl.mean * (1.0 + 1e-6) + 1e-12;
    let rows = verdict.curve.iter().chain([all]).map(|b| {
        let mut row = vec![
            format!("{}-{}", b.from, b.to.saturating_sub(1)),
            b.tokens.to_string(),
            format!("{:.2e}", b.kl.mean),
            format!("{:.2e} {:.2e}", b.kl.low, b.kl.high),
            format!("{:.1}", 100.0 * b.top1.mean),
            format!("{:+.2e}", b.delta.mean),
            format!("{:+.2e} {:+.2e}", b.delta.low, b.delta.high),
        ];
        if partly {
            let at_most = match b.kl_at_most {
                most if most >= MOST / 1e9 => "no bound".to_owned(),
                most => format!("{most:.2e}"),
            };
            row.push(at_most);
        }
        row
    });
    let mut header = vec![
        "position",
        "tokens",
        "KL, nats",
        "95 %",
        "same top, %",
        "logprob change",
        "95 %",
    ];
    if partly {
        header.push("KL at most");
    }
    let mut text = out::table(&header, rows);
    let sequences = verdict.sequences;
    text += &format!("\nreference: {kind}; {sequences} sequences; the last row is all positions\n");
    match &verdict.knees[..] {
        [] => text += "no knee: the divergence is the same everywhere\n",
        knees => knees
            .iter()
            .for_each(|k| text += &format!("knee: {}\n", k.in_words())),
    }
    for line in &verdict.exceeded {
        text += &format!("beyond bounds: {line}\n");
    }
    if verdict.within_bounds {
        text += "within bounds\n";
    }
    text
}
