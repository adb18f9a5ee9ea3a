//! `fathom logits record`: reference logits of token sequences.

use std::path::PathBuf;

use fathom_engine::{Extend, Logits, Model, PromptTree, TreeOptions};

use crate::cli::logits::tokens::Sequences;
use crate::cli::model::{EngineArgs, FaultArgs, ModelArgs};
use crate::cli::out;
use crate::divergence::base::BaseWriter;
use crate::logits_file::{LogitsWriter, TopWriter};
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
    /// A JSON array of token ids, or of such arrays; positions start at 0 in each
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
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
    let mut sequences = Sequences::read(&args.tokens, n_vocab)?;
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
