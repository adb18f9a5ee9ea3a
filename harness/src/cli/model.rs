//! The options that choose a model, and the model they choose.

use std::path::PathBuf;

use fathom_engine::Model;
use fathom_engine::kernels::Precision;
use fathom_engine::variant::Variant;

use crate::fetch::source::Source;
use crate::fetch::{Settings, snapshot};
use crate::stop::Stop;
use crate::{Error, Result, builtin};

/// Which model.
#[derive(clap::Args, Clone, Debug)]
pub struct ModelArgs {
    /// A GGUF file (of a split set, the first), a Hugging Face folder, `builtin`, or a hub's model, fetched where it is
    /// not there: hf:OWNER/NAME[/FILE.gguf][@REV] (see `fathom fetch --help`)
    #[arg(long, value_name = "PATH", default_value = "builtin")]
    pub model: String,
    /// Go on where the configuration has keys that nobody knows, and record them
    #[arg(long)]
    pub allow_unknown_keys: bool,
}

/// How the engine works; none of it changes a bit of its results.
#[derive(clap::Args, Clone, Debug)]
pub struct EngineArgs {
    /// Threads; 0 is one a core
    #[arg(long, value_name = "N", default_value = "0", value_parser = crate::cli::args::threads)]
    pub threads: usize,
}

/// An edit of the model, and the arithmetic that it is evaluated in.
#[derive(clap::Args, Clone, Debug)]
pub struct FaultArgs {
    /// Evaluate the model with a fault that others shipped (see `fathom list faults`); some take a value (kv-cache=q4_0),
    /// all a range of layers (no-chunk@0-11)
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub fault: Option<String>,
    /// Products of activations and weights
    #[arg(long, value_enum, default_value_t = PrecisionArg::F32)]
    pub precision: PrecisionArg,
}

/// What activations are multiplied as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PrecisionArg {
    /// As they are: the reference
    F32,
    /// Rounded to 16 bits where weights are stored as integers (Q4_0 to Q8_0, Q4_K to Q6_K): faster
    Int16,
    /// Rounded to eight bits where weights are stored as integers of at most six, to 16 where of eight: as others do
    Int8,
}

impl PrecisionArg {
    /// The engine's.
    fn of_engine(self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::Int16 => Precision::Int16,
            Self::Int8 => Precision::Int8,
        }
    }

    /// Its name in what is written.
    pub fn name(self) -> &'static str {
        self.of_engine().name()
    }
}

impl ModelArgs {
    /// Opens the model.
    pub fn open(&self) -> Result<Model> {
        match self.path()? {
            Some(path) => Ok(Model::open(&path, self.allow_unknown_keys)?),
            None => builtin::open(),
        }
    }

    /// Where the model is, a hub's once it is fetched; `None` for the built-in one.
    pub fn path(&self) -> Result<Option<PathBuf>> {
        if self.model == "builtin" {
            return Ok(None);
        }
        if !Source::is_meant(&self.model) {
            return Ok(Some(self.model.clone().into()));
        }
        let (source, settings) = (Source::parse(&self.model)?, Settings::from_env()?);
        let path = snapshot::model(&source, &settings, &Stop::on_signals()?)?;
        Ok(Some(path))
    }

    /// Opens the model with a fault, in a precision.
    pub fn open_with(&self, fault: &FaultArgs) -> Result<Model> {
        let mut model = self.open()?;
        if let Some(name) = &fault.fault {
            let fault = Variant::parse(name)?;
            model = fault.model(&model)?.ok_or_else(|| {
                Error::Usage(format!("--fault {name}: changes nothing of {}", model.name))
            })?;
        }
        match fault.precision.of_engine() {
            Precision::F32 => Ok(model),
            rounder => model.in_precision(rounder).ok_or_else(|| {
                let (precision, name) = (rounder.name(), &model.name);
                let why = "none of its matrices is stored as integers";
                Error::Usage(format!("--precision {precision}: {name}: {why}"))
            }),
        }
    }

    /// Short name for people and for folders: `builtin`, `SmolLM2-135M-Instruct.Q4_1`; of a hub's model its own.
    #[allow(dead_code)]
    pub fn name(&self) -> String {
        let text = match Source::parse(&self.model) {
            Ok(Source {
                file: None, name, ..
            }) if Source::is_meant(&self.model) => name,
            _ => self.model.clone(),
        };
        let path = std::path::absolute(&text).unwrap_or_else(|_| text.into());
        let name = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy();
        let name = name.strip_suffix(".gguf").unwrap_or(&name);
        name.chars()
            .map(|c| {
                if c.is_alphanumeric() || "._-".contains(c) {
                    c
                } else {
                    '-'
                }
            })
            .collect()
    }
}
