//! `fathom generate`: greedy continuation of a prompt.

use serde_json::json;

use crate::backend::local::Local;
use crate::backend::{Backend, Event, Generate, ModelCard, Outcome, Request};
use crate::cli::model::{EngineArgs, FaultArgs, ModelArgs};
use crate::cli::out;
use crate::opened::{Opened, TemplateArgs};
use crate::stop::Stop;
use crate::{Error, Result};

/// Continue a prompt, greedily
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fathom generate --model model.gguf --prompt 'Call me' --max-tokens 16
  fathom generate --model model.gguf --prompt 'Who are you?' --chat
  fathom generate --model model.gguf --prompt 'Who are you?' --chat --json")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    fault: FaultArgs,
    #[command(flatten)]
    pub(super) engine: EngineArgs,
    #[command(flatten)]
    template: TemplateArgs,
    /// The text to continue; BOS is added where the model wants it
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// Tokens at most
    #[arg(long, value_name = "N", default_value = "64")]
    max_tokens: usize,
    /// Take the prompt as a user's message in the model's chat template
    #[arg(long)]
    chat: bool,
    /// With ids and log probabilities
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let stop = Stop::on_signals()?;
    let mut template = args.template.clone();
    if !args.chat {
        if template.system.is_some() || template.chat_template.is_some() {
            let why = "a system message or a chat template: only with --chat";
            return Err(Error::Usage(why.to_owned()));
        }
        template.raw = true;
    }
    let opened = Opened::new(args.model.open_with(&args.fault)?, &template)?;
    let ids = if args.chat {
        opened.chat(&args.prompt)?
    } else {
        opened.raw(&args.prompt)?
    };
    let Opened {
        model,
        tokenizer,
        stop: ends,
        ..
    } = opened;
    let precision = model.precision.name();
    let mut backend = Local::new(
        model,
        tokenizer,
        ends,
        ModelCard::default(),
        args.engine.threads,
    );
    backend.check_ids("--prompt", &ids)?;
    let generate = Generate {
        max_tokens: args.max_tokens,
        thought_budget: args.max_tokens,
        thinking: false,
        one_line: false,
        temperature: 0.0,
        top_p: 1.0,
        seed: 0,
    };
    let request = Request {
        ids,
        generate: Some(generate),
        options: Vec::new(),
        ..Request::default()
    };
    let mut reply = None;
    backend.evaluate(std::slice::from_ref(&request), &mut |event| {
        if let Event::Done(_, outcome) = event {
            reply = Some(outcome);
        }
        stop.check()
    })?;
    let Some(Outcome::Reply(reply)) = reply else {
        return Err(Error::Unfinished("the engine gave no answer".to_owned()));
    };
    if !args.json {
        return out::line(&reply.text);
    }
    let object = json!({
        "prompt_ids": request.ids,
        "ids": reply.ids,
        "logprobs": reply.logprobs,
        "text": reply.text,
        "precision": precision,
    });
    out::line(&object.to_string())
}
