//! `fathom run --model URL`: a model behind an OpenAI-compatible API.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::backend::Backend;
use crate::backend::endpoint::asker::Route;
use crate::backend::endpoint::budget::{Price, Terms, Tokens};
use crate::backend::endpoint::{Remote, Templated, Wishes, speed_tokens};
use crate::cli::run::{Args, Facts, Job};
use crate::cli::{args, summary};
use crate::endpoint::Endpoint;
use crate::fetch::choice::Patterns;
use crate::fetch::source::Source;
use crate::fetch::{self, snapshot};
use crate::item::Context;
use crate::layout::Layout;
use crate::opened::Spoken;
use crate::run::RunFolder;
use crate::run::identity::Identity;
use crate::stop::Stop;
use crate::{Error, Result, builtin};

/// Files of a hub's model that tell its tokenizer and its template.
const SPOKEN: [&str; 4] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// What a run at an API may take.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Options of a run at an API")]
pub struct RemoteArgs {
    /// The model's tokenizer, for exact lengths: a GGUF file, a folder with tokenizer.json, `builtin`, or hf:OWNER/NAME;
    /// without it, lengths are approximate, calibrated on what the API bills, and marked so
    #[arg(long, value_name = "PATH|hf:..")]
    pub tokenizer: Option<String>,
    /// Where prompts go; without it, completions where the tokenizer is given or --raw, else chat, as far as offered
    #[arg(long, value_enum)]
    pub route: Option<RouteArg>,
    /// Items at a time
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// Tokens of prompts and answers that may be billed; what could exceed them is not sent
    #[arg(long, value_name = "TOKENS", value_parser = args::tokens)]
    pub budget_tokens: Option<usize>,
    /// Money that may be billed, in the currency of the prices
    #[arg(long, value_name = "MONEY", value_parser = args::money, requires_all = ["price_in", "price_out"])]
    pub budget_money: Option<f64>,
    /// Price of a million tokens of prompts
    #[arg(long, value_name = "MONEY", value_parser = args::money, requires = "price_out")]
    pub price_in: Option<f64>,
    /// Price of a million tokens of answers
    #[arg(long, value_name = "MONEY", value_parser = args::money, requires = "price_in")]
    pub price_out: Option<f64>,
}

/// Where prompts go.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum RouteArg {
    /// /completions: the prompt as it is rendered here
    Completions,
    /// /chat/completions: a user's message, in the API's own template
    Chat,
}

impl RemoteArgs {
    /// Refuses what has no use without an API; `option` would have named one.
    ///
    /// # Errors
    /// Which option has no use.
    pub fn unused(&self, option: &str) -> Result<()> {
        let given = [
            ("--tokenizer", self.tokenizer.is_some()),
            ("--route", self.route.is_some()),
            ("--budget-tokens", self.budget_tokens.is_some()),
            ("--budget-money", self.budget_money.is_some()),
            ("--price-in", self.price_in.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(Error::Usage(format!("{name}: needs {option}"))),
            None => Ok(()),
        }
    }

    fn terms(&self) -> Terms {
        let price = self.price_in.zip(self.price_out);
        Terms {
            price: price.map(|(input, output)| Price { input, output }),
            tokens: self.budget_tokens.map(|n| n as u64),
            money: self.budget_money,
        }
    }
}

pub fn run(args: &Args, stop: &Stop) -> Result<()> {
    let base = &args.model.model;
    if let Some(fault) = &args.fault.fault {
        let why = "a fault is an edit of a model, which an API does not let us make";
        return Err(Error::Usage(format!("--fault {fault}: {why}")));
    }
    if base.contains(['?', '#', '@']) {
        let expected = "one without a query or a user name: a key comes from the environment";
        let found = "an address with ?, # or @";
        return Err(Error::input("--model", "address", found, expected));
    }
    let spoken = args.spoken(stop)?;
    if spoken.is_none() && args.template.chat_template.is_some() {
        let why = "--chat-template: needs --tokenizer; without it the API's own template is used";
        return Err(Error::Usage(why.to_owned()));
    }
    let endpoint = Endpoint::open(&args.api.settings(base), stop)?;
    let known = match &spoken {
        None => None,
        Some(spoken) => {
            let templated = match spoken.raw_prompts() {
                true => Templated::No,
                false => Templated::Yes,
            };
            Some((spoken.tokenizer.clone(), spoken.frame()?, templated))
        }
    };
    let wishes = Wishes {
        route: args.remote.route.map(|route| match route {
            RouteArg::Completions => Route::Completions,
            RouteArg::Chat => Route::Chat,
        }),
        known,
        system: args.template.system.clone(),
        raw: args.template.raw,
        concurrency: args.remote.concurrency.into(),
        terms: args.remote.terms(),
    };
    let backend = Remote::open(endpoint, wishes)?;
    let asker = backend.asker();
    let templated = spoken.as_ref().is_some_and(|s| !s.raw_prompts());
    let raw = asker.route == Route::Completions && !templated;
    if raw && args.template.system.is_some() {
        let why = "--system: completions without a chat template have no system message";
        return Err(Error::Usage(why.to_owned()));
    }
    tell(&backend);
    let (suites, plan) = args.plan(0)?;
    let identity = args.identity(who(args, &backend, spoken.as_ref()), 0, &suites, &plan)?;
    let settings = args.settings(&plan, raw);
    let (counter, scale) = backend.counter();
    let mut layout = Layout::new(&*counter, asker.frame.clone());
    if let Some(scale) = scale {
        layout = layout.scaled(scale);
    }
    stop.check()?;
    if args.plan {
        return summary::print_plan(&plan, &mut layout, &backend, &settings);
    }
    let job = Job {
        plan: &plan,
        settings,
        identity,
        stop,
    };
    args.perform(backend, &mut layout, job, &spent_before, &billed)
}

/// What identifies who is asked, and in which words.
fn who(args: &Args, backend: &Remote, spoken: Option<&Spoken>) -> Identity {
    let asker = backend.asker();
    let mut identity: Identity = spoken.map(Spoken::identity).unwrap_or_default();
    let fields = Value::Object(args.api.api_fields.0.clone()).to_string();
    let facts: [(&str, Value); 5] = [
        (
            "endpoint",
            asker.endpoint.scrubbed(asker.endpoint.base()).into(),
        ),
        ("api_model", asker.endpoint.model().into()),
        ("api_fields", asker.endpoint.scrubbed(&fields).into()),
        ("route", asker.route.name().into()),
        ("system", args.template.system.clone().into()),
    ];
    identity.extend(facts.map(|(k, v)| (k.to_owned(), v)));
    if asker.route == Route::Chat {
        identity.insert("template".to_owned(), "the API's own".into());
    }
    let tokenizer = identity.entry("tokenizer".to_owned());
    tokenizer.or_insert_with(|| "approximate".into());
    identity
}

/// Says what was found out.
fn tell(backend: &Remote) {
    let asker = backend.asker();
    let (host, model) = (asker.endpoint.host(), asker.endpoint.model());
    eprintln!("fathom: {model} at {host}");
    for line in asker.can.in_words().lines() {
        eprintln!("fathom:   {line}");
    }
    let fact = |name: &str| backend.card().facts.get(name)?.as_str().map(str::to_owned);
    let lengths = fact("lengths").unwrap_or_default();
    eprintln!("fathom:   prompts go to: {}", asker.route.name());
    eprintln!("fathom:   lengths: {lengths}");
    if asker.thinks {
        eprintln!("fathom:   thinks before it answers");
    }
}

/// Takes into account what answers on record have been billed.
fn spent_before(backend: &mut Remote, dir: &Path) -> Result<()> {
    let folder = RunFolder::open(dir)?;
    for answer in folder.answers()? {
        if let Some(usage) = answer.usage {
            backend.purse().spend(usage.into());
        }
    }
    for row in folder.speed()? {
        let times = row.repeats as u64;
        let once = speed_tokens(row.prompt_tokens.unwrap_or(row.context));
        backend.purse().spend(Tokens {
            prompt: once.prompt * times,
            answer: once.answer * times,
        });
    }
    Ok(())
}

/// What was billed, and the lengths that the API told.
fn billed(backend: &Remote, dir: &Path) -> Result<Facts> {
    let purse = backend.purse();
    let spent = purse.spent();
    let money = purse.terms().money(spent);
    let words = money.map_or(String::new(), |m| format!(", {m:.4} of money"));
    eprintln!(
        "fathom: billed: {} prompt tokens and {} of answers, all requests of this run together{words}",
        spent.prompt, spent.answer
    );
    let mut told: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let folder = RunFolder::open(dir)?;
    let lengths: BTreeMap<String, usize> = folder
        .items()?
        .filter_map(|record| match record {
            Ok(r) if r.options.is_empty() => match r.item.context {
                Context::Length(n) => Some(Ok((r.item.id, n))),
                _ => None,
            },
            Ok(_) => None,
            Err(e) => Some(Err(e)),
        })
        .collect::<Result<_>>()?;
    for answer in folder.answers()? {
        if let (Some(length), Some(usage)) = (lengths.get(&answer.item), answer.usage) {
            let n = usage.prompt_tokens;
            let range = told.entry(length.to_string()).or_insert((n, n));
            *range = (range.0.min(n), range.1.max(n));
        }
    }
    let facts: [(&str, Value); 3] = [
        ("billed_prompt_tokens", spent.prompt.into()),
        ("billed_answer_tokens", spent.answer.into()),
        ("prompt_tokens_told", json!(told)),
    ];
    let mut facts: Facts = facts.map(|(k, v)| (k.to_owned(), v)).into();
    if let Some(money) = money {
        facts.insert("billed_money".to_owned(), money.into());
    }
    Ok(facts)
}

impl Args {
    /// The tokenizer that the command line names.
    fn spoken(&self, stop: &Stop) -> Result<Option<Spoken>> {
        let Some(name) = &self.remote.tokenizer else {
            return Ok(None);
        };
        if name == "builtin" {
            return Spoken::of_model(&builtin::open()?, &self.template).map(Some);
        }
        if !Source::is_meant(name) {
            return Spoken::open(Path::new(name), &self.template).map(Some);
        }
        let (source, settings) = (Source::parse(name)?, fetch::Settings::from_env()?);
        let path = if source.file.is_some() {
            snapshot::model(&source, &settings, stop)?
        } else {
            let patterns = Patterns::new(&SPOKEN.map(str::to_owned), &[])?;
            snapshot::part(&source, &patterns, &settings, stop)?
        };
        Spoken::open(&path, &self.template).map(Some)
    }
}
