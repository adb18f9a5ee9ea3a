//! `fathom tokenize`: the ids of a text.

use std::path::PathBuf;

use crate::cli::model::ModelArgs;
use crate::cli::out;
use crate::{Error, Result};

/// Show the token ids of a text: no BOS is added, text that looks like a special token is text
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fathom tokenize --model model.gguf --file moby-dick.txt --json
  fathom tokenize --file poem.txt                    one token a line: id and text")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The text, in UTF-8
    #[arg(long, value_name = "TEXT")]
    file: PathBuf,
    /// A JSON array of ids
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let bytes = std::fs::read(&args.file).map_err(|e| Error::read(&args.file, e))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = format!("byte {}", e.utf8_error().valid_up_to());
        Error::input(
            args.file.display(),
            at,
            "bytes that are not UTF-8",
            "text in UTF-8",
        )
    })?;
    let model = args.model.open()?.tokenizer()?;
    let ids = model.encode(&text)?;
    if args.json {
        return out::line(&serde_json::Value::from(ids).to_string());
    }
    let lines: String = ids
        .iter()
        .map(|id| format!("{id:>8}  {:?}\n", model.decode(&[*id])))
        .collect();
    out::print(&lines)
}
