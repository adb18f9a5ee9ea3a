//! `fathom serve`: the engine behind an OpenAI-compatible endpoint.

use std::net::TcpListener;
use std::time::Duration;

use crate::cli::args;
use crate::cli::model::{EngineArgs, FaultArgs, ModelArgs};
use crate::cli::out;
use crate::memory::{available_bytes, show_bytes};
use crate::opened::{Opened, TemplateArgs};
use crate::serve::{Limits, bind, serve};
use crate::stop::Stop;
use crate::{Error, Result};

/// Context of a model that declares none, in tokens.
const UNDECLARED_CONTEXT: usize = 32 << 10;

/// Serve a model behind an OpenAI-compatible endpoint
#[derive(clap::Args)]
#[command(after_help = "Endpoints:
  /v1/models  /v1/completions  /v1/chat/completions  /tokenize  /detokenize  /health

Examples:
  fathom serve --model model.gguf
  fathom serve --fault no-chunk --name builtin --port 9000   a fault that nobody is told of
  curl http://127.0.0.1:8080/v1/completions -d '{\"prompt\": \"Call me\", \"logprobs\": 3, \"echo\": true}'")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    fault: FaultArgs,
    #[command(flatten)]
    pub(super) engine: EngineArgs,
    #[command(flatten)]
    template: TemplateArgs,
    /// Address to listen on; without this, only programs on this machine reach it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,
    /// Port; 0 is one that is free
    #[arg(long, value_name = "N", default_value = "8080")]
    port: u16,
    /// Name of the model in the API
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Tokens of a prompt and its answer; without this, what the model declares
    #[arg(long, value_name = "TOKENS", value_parser = args::tokens)]
    context: Option<usize>,
    /// Answers that are decoded together
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,
    /// Prompts that wait; further ones are told to try again later
    #[arg(long, value_name = "N", default_value = "256", value_parser = clap::value_parser!(u16).range(1..))]
    queue: u16,
    /// Sequences kept for prompts that begin with them
    #[arg(long, value_name = "N", default_value = "16")]
    keep: u16,
    /// Memory for keys and values, those of kept sequences included; without this, half of what is available
    #[arg(long, value_name = "BYTES", value_parser = args::bytes)]
    memory: Option<u64>,
    /// Longest body of a request
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = args::bytes)]
    max_request: u64,
    /// Seconds from a request to the end of its answer
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = clap::value_parser!(u32).range(1..))]
    timeout: u32,
}

pub fn run(args: &Args) -> Result<()> {
    let stop = Stop::on_signals()?;
    let opened = Opened::new(args.model.open_with(&args.fault)?, &args.template)?;
    let declared = match opened.model.spec.context_length {
        0 => UNDECLARED_CONTEXT,
        n => n,
    };
    let memory = args.memory.or_else(|| Some(available_bytes()? / 2));
    let limits = Limits {
        batch: args.batch.into(),
        queue: args.queue.into(),
        kept: args.keep.into(),
        body: usize::try_from(args.max_request).unwrap_or(usize::MAX),
        time: Duration::from_secs(args.timeout.into()),
        ..Limits::new(args.context.unwrap_or(declared), memory.unwrap_or(4 << 30))
    };
    let own_name = opened
        .card(args.model.name(), args.fault.fault.as_deref())
        .name;
    let name = args.name.as_ref().unwrap_or(&own_name);
    let listener = bind(&args.host, args.port)?;
    announce(&listener, name, &opened, &limits)?;
    serve(listener, opened, name, args.engine.threads, &limits, &stop)
}

fn announce(listener: &TcpListener, name: &str, opened: &Opened, limits: &Limits) -> Result<()> {
    let address = listener
        .local_addr()
        .map_err(|e| Error::Unfinished(format!("the port has no address: {e}")))?;
    let reach = if address.ip().is_loopback() {
        "this machine only"
    } else {
        "anyone who reaches this address"
    };
    let chat = if opened.raw_prompts() {
        "; no chat template"
    } else {
        ""
    };
    out::line(&format!(
        "{name} on http://{address}/v1, for {reach}; products in {}, context {} tokens, {} of keys and values{chat}",
        opened.model.precision.name(),
        limits.context,
        show_bytes(limits.memory),
    ))
}
