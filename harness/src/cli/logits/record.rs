//! `fathom logits record`: reference logits of token sequences.

use std::path::PathBuf;

use fathom_engine::{Extend, Logits, Model, PromptTree, TreeOptions};

use crate::cli::args;
use crate::cli::logits::tokens::Sequences;
use crate::cli::model::{EngineArgs, FaultArgs, ModelArgs};
use crate::cli::out;
use crate::divergence::base::BaseWriter;
use crate::logits_file::{LogitsWriter, TopWriter};
use crate::opened::{Opened, TemplateArgs};
use crate::stop::Stop;
use crate::{Error, Result};

/// Evaluate sequences of token ids and write the logits after every token
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    fault: FaultArgs,
    #[command(flatten)]
    pub(super) engine: EngineArgs,
    #[command(flatten)]
    template: TemplateArgs,
    /// A JSON array of token ids, or of such arrays; positions start at 0 in each
    #[arg(long, value_name = "FILE", required_unless_present = "suite")]
    tokens: Option<PathBuf>,
    /// The prompts of a suite in place of a file: a name (see `fathom list suites`) or a file; may be given more than once
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "tokens")]
    suite: Vec<String>,
    /// Context lengths in place of the suite's own: 1k,4k,16k
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = args::tokens, requires = "suite")]
    lengths: Vec<usize>,
    /// Safetensors file: `tokens` i32 [n], `logits` f32 [n, n_vocab], and `offsets` i64 [arrays + 1] where there are
    /// arrays. A name that ends in `.kld`: llama.cpp's base file of KL divergence; arrays of one length
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Keep the K largest logits of each row and the logarithm of the sum of all, in place of all logits
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    top_k: Option<u32>,
}

/// Where rows go.
enum Writer {
    Full(LogitsWriter),
    Top(TopWriter),
    Base(BaseWriter),
}

pub fn run(args: &Args) -> Result<()> {
    let stop = Stop::on_signals()?;
    let model = args.model.open_with(&args.fault)?;
    let n_vocab = model.spec.n_vocab;
    if let Some(k) = args.top_k.filter(|k| *k as usize > n_vocab) {
        let expected = format!("at most {n_vocab}, all of the vocabulary");
        return Err(Error::input("--top-k", "logits", k, expected));
    }
    let (model, mut sequences) = match &args.tokens {
        Some(path) => (model, Sequences::read(path, n_vocab)?),
        None => {
            let opened = Opened::new(model, &args.template)?;
            let sequences = Sequences::of_suites(&opened, &args.suite, &args.lengths, &stop)?;
            (opened.model, sequences)
        }
    };
    let base = args.out.extension().is_some_and(|e| e == "kld");
    let mut writer = match args.top_k {
        Some(_) if base => {
            let why = "--top-k: llama.cpp's base files have all log probabilities";
            return Err(Error::Usage(why.to_owned()));
        }
        Some(k) => Writer::Top(TopWriter::new(
            &args.out,
            &sequences.ids,
            sequences.offsets.as_deref(),
            n_vocab,
            k as usize,
        )),
        None if base => {
            let ends = sequences.ranges().iter().map(|r| r.end).collect::<Vec<_>>();
            let offsets = [&[0], &ends[..]].concat();
            let writer = BaseWriter::create(&args.out, &sequences.ids, &offsets, n_vocab)?;
            begin_with_bos(&model, &mut sequences)?;
            Writer::Base(writer)
        }
        None => Writer::Full(LogitsWriter::create(
            &args.out,
            &sequences.ids,
            sequences.offsets.as_deref(),
            n_vocab,
        )?),
    };
    for range in sequences.ranges() {
        let ids = &sequences.ids[range];
        evaluate(
            &model,
            args.engine.threads,
            ids,
            &stop,
            &mut |_, logits| match &mut writer {
                Writer::Full(writer) => writer.row(logits),
                Writer::Top(writer) => {
                    writer.row(logits);
                    Ok(())
                }
                Writer::Base(writer) => writer.row(logits),
            },
        )?;
    }
    let what = match writer {
        Writer::Full(writer) => writer.finish().map(|()| format!("{n_vocab} logits each")),
        Writer::Top(writer) => {
            let k = args.top_k.unwrap_or_default();
            writer
                .finish()
                .map(|()| format!("the {k} largest logits of each"))
        }
        Writer::Base(writer) => writer
            .finish()
            .map(|()| "log probabilities of each second half, in 16 bits".to_owned()),
    }?;
    out::line(&format!(
        "{}: {} tokens, {what}, products in {}",
        args.out.display(),
        sequences.ids.len(),
        model.precision.name()
    ))
}

/// llama.cpp evaluates a base file's chunks with BOS in the place of their first token, where the model wants one.
fn begin_with_bos(model: &Model, sequences: &mut Sequences) -> Result<()> {
    let tokenizer = model.tokenizer()?;
    if let Some(bos) = tokenizer.bos().filter(|_| tokenizer.add_bos()) {
        for range in sequences.ranges() {
            sequences.ids[range.start] = bos;
        }
    }
    Ok(())
}

/// Tokens between two looks at whether to stop, and at what has been written.
const PIECE: usize = 256;

/// Evaluates a sequence and hands on every position and its logits. Where the rotary frequencies depend on the whole
/// sequence's length, it is evaluated in one piece.
pub fn evaluate(
    model: &Model,
    threads: usize,
    ids: &[u32],
    stop: &Stop,
    take: &mut (dyn FnMut(usize, &[f32]) -> Result<()> + Send),
) -> Result<()> {
    let options = TreeOptions::of(model, threads);
    let mut tree = PromptTree::new(model, options)?;
    let span = tree.root(0);
    let piece = match model.spec.same_frequencies(PIECE.min(ids.len()), ids.len()) {
        true => PIECE,
        false => ids.len(),
    };
    for tokens in ids.chunks(piece) {
        stop.check()?;
        let mut taken = Ok(());
        let batch = [Extend {
            span,
            tokens,
            logits: Logits::All,
        }];
        tree.extend(&batch, &mut |row| {
            if taken.is_ok() {
                taken = take(row.pos, row.logits);
            }
        })?;
        taken?;
    }
    Ok(())
}
