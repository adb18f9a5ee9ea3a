//! `fathom fetch`: a model from a hub, every file checked; or what is there, checked again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::out;
use crate::fetch::choice::Patterns;
use crate::fetch::patience::Limits;
use crate::fetch::source::Source;
use crate::fetch::verify::Checked;
use crate::fetch::{Settings, snapshot, verify};
use crate::memory::show_bytes;
use crate::stop::Stop;
use crate::{Error, Result};

/// Download a model from a hub: resumed, retried, every file checked by size and hash
///
/// Files go to the cache that huggingface_hub uses too (HF_HOME, HF_HUB_CACHE), and none has its name there before it is
/// verified. Started again after an interruption of any kind, the same command goes on where it stopped; files that are
/// there already are hashed again, and fetched again where they are wrong. The snapshot's folder is printed. A token is
/// read from HF_TOKEN or the file HF_HOME/token, and sent to the hub alone.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fathom fetch hf:HuggingFaceTB/SmolLM2-135M-Instruct
  fathom fetch hf:OWNER/NAME@v1.0 --include '*.json' --include '*.safetensors'
  fathom fetch hf:OWNER/NAME/model-Q4_K_M.gguf        one file; of a split set, all of it
  fathom fetch hf:OWNER/NAME --verify                 check what is there; fetch nothing
  fathom fetch --verify FOLDER                        the same, without asking a hub
  fathom run --model hf:OWNER/NAME                    fetched where it is not there")]
pub struct Args {
    /// hf:OWNER/NAME[/FILE][@REV], or with --verify a folder
    #[arg(value_name = "hf:OWNER/NAME|FOLDER")]
    what: String,
    /// Only files that match; `*` matches `/` too. May be repeated
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Not the files that match. May be repeated
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Another hub than HF_ENDPOINT or the public one
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Check what is there, and fetch nothing; exit code 1 when a file is wrong or missing
    #[arg(long)]
    verify: bool,
    /// Files at a time
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// Cut a connection that is silent for so many seconds, and go on with another
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u32).range(1..))]
    stall: u32,
    /// Give a file up when nothing came for so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "300")]
    deadline: u32,
}

pub fn run(args: &Args) -> Result<()> {
    let patterns = Patterns::new(&args.include, &args.exclude)?;
    let stop = Stop::on_signals()?;
    if !Source::is_meant(&args.what) {
        if !args.verify {
            return Err(Error::input("fetch", "model", &args.what, "hf:OWNER/NAME"));
        }
        let folder = Path::new(&args.what);
        return report(&args.what, &verify::folder(folder, &patterns, &stop)?);
    }
    let source = Source::parse(&args.what)?;
    let settings = Settings {
        jobs: usize::from(args.jobs),
        stall: Duration::from_secs(args.stall.into()),
        limits: Limits {
            deadline: Duration::from_secs(args.deadline.into()),
            ..Limits::default()
        },
        ..Settings::from_env()?.at(args.endpoint.as_deref())
    };
    if args.verify {
        return report(
            &args.what,
            &verify::source(&source, &patterns, &settings, &stop)?,
        );
    }
    let fetched = snapshot::fetch(&source, &patterns, &settings, &stop)?;
    eprintln!(
        "fathom: {source}: commit {}, {} files, {}, of which {} came now; every file verified",
        &fetched.commit[..fetched.commit.len().min(12)],
        fetched.files,
        show_bytes(fetched.bytes),
        show_bytes(fetched.came)
    );
    let shown: PathBuf = match source.file {
        Some(file) => fetched.folder.join(file),
        None => fetched.folder,
    };
    out::line(&shown.display().to_string())
}

fn report(what: &str, checked: &[Checked]) -> Result<()> {
    let wrong: Vec<&Checked> = checked.iter().filter(|c| c.wrong.is_some()).collect();
    for file in &wrong {
        let words = file.wrong.as_deref().unwrap_or_default();
        out::line(&format!("{}: {words}", file.path.display()))?;
    }
    if wrong.is_empty() {
        let bytes = checked
            .iter()
            .fold(0u64, |sum, c| sum.saturating_add(c.size));
        return out::line(&format!(
            "{} files, {}: every size and hash is right",
            checked.len(),
            show_bytes(bytes)
        ));
    }
    Err(Error::Check(format!(
        "{what}: {} of {} files are wrong or missing; fetching again brings them",
        wrong.len(),
        checked.len()
    )))
}
