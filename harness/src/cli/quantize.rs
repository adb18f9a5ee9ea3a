//! `fathom quantize`: a GGUF file with its weights rounded to fewer bits, of a GGUF file or of a Hugging Face folder.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fathom_engine::format::StoredType;
use fathom_engine::quantize::{Done, quantize, written_types};

use crate::cli::out;
use crate::{Error, Result};

/// Round the weights of a model to fewer bits, in one GGUF file, so that "is it the quantisation?" can be asked of any model
#[derive(clap::Args)]
#[command(
    after_help = "Matrices get the type, embedding and head too. What is no matrix, norms and the router of a mixture of experts stay
as they are (of a folder: F32); metadata and tokenizer are copied. Where a row is no whole number of blocks, a tensor gets
what llama.cpp takes then: Q5_0 for Q4_K, Q8_0 for Q6_K, else F16.

A Hugging Face folder of any family (fathom list families) and of any stored type (FP8 with its scales, MXFP4, packed
integers: unpacked) becomes a file with the names, the metadata and the values that llama.cpp's converter writes. What GGUF
has no place for (Mistral's window, chunks that are not 8192 long, ..) is an error that names it, and not another model; so is
a pre-tokenizer without a name there.

Examples:
  fathom quantize --model model-bf16.gguf --type Q4_K --out model-q4_k.gguf
  fathom quantize --model FOLDER --type BF16 --out model-bf16.gguf
  fathom run --model model-q4_k.gguf --suite needle
  fathom run --model FOLDER --fault weights=q4_k     rounded in memory, no file"
)]
pub struct Args {
    /// A GGUF file of F32, F16 or BF16 (of a split set, the first), or a Hugging Face folder
    #[arg(long, value_name = "PATH")]
    model: PathBuf,
    /// F32, BF16, F16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K or Q6_K
    #[arg(long = "type", value_name = "TYPE")]
    ty: String,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let ty = written_types().find(|ty| ty.name().eq_ignore_ascii_case(&args.ty));
    let ty = ty.ok_or_else(|| {
        let names: Vec<_> = written_types().map(StoredType::name).collect();
        Error::input(
            "--type",
            "name",
            &args.ty,
            format!("one of {}", names.join(", ")),
        )
    })?;
    let written = quantize(&args.model, ty, &args.out)?;
    let error = relative_error(&written.tensors);
    if args.json {
        let tensors: serde_json::Map<_, _> = written
            .tensors
            .iter()
            .map(|t| (t.name.clone(), t.to.name().into()))
            .collect();
        let json = serde_json::json!({
            "file": args.out.display().to_string(), "bytes": written.bytes, "relative_error": error, "tensors": tensors,
        });
        return out::line(&json.to_string());
    }
    let mut kinds = BTreeMap::<_, usize>::new();
    for t in &written.tensors {
        *kinds
            .entry((t.from.name(), t.to.name(), t.fallback))
            .or_default() += 1;
    }
    let mut lines = format!("{}: {} bytes\n", args.out.display(), written.bytes);
    for ((from, to, fallback), n) in kinds {
        lines += &match (from == to, fallback) {
            (true, _) => format!("{n:>6} tensors stay {from}\n"),
            (false, false) => format!("{n:>6} tensors {from} to {to}\n"),
            (false, true) => {
                format!(
                    "{n:>6} tensors {from} to {to}: their rows are no whole number of {ty} blocks\n"
                )
            }
        };
    }
    lines += &format!("relative error of what was rounded (root mean square): {error:.5}\n");
    out::print(&lines)
}

/// Root of the squares of what rounding changed over those of the values, of all tensors that changed.
fn relative_error(tensors: &[Done]) -> f64 {
    let sum = |i: usize| tensors.iter().map(|t| t.squares[i]).sum::<f64>();
    if sum(0) == 0.0 {
        0.0
    } else {
        (sum(1) / sum(0)).sqrt()
    }
}
