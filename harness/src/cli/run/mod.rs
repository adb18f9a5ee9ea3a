//! `fathom run`: a model on suites at growing lengths; `api.rs` is the same for one behind an API.

mod api;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fathom_engine::model::NUMERIC_VERSION;
use serde_json::Value;

use crate::backend::local::{Local, Read};
use crate::backend::{Backend, disk};
use crate::cli::endpoint::{EndpointArgs, is_address};
use crate::cli::model::{EngineArgs, FaultArgs, ModelArgs};
use crate::cli::{args, out, summary};
use crate::layout::Layout;
use crate::memory::{available_bytes, peak_rss_bytes, show_bytes};
use crate::opened::{Opened, TemplateArgs};
use crate::record::{FORMAT, ItemRecord, Manifest};
use crate::run::execute::{Settings, execute, lacks};
use crate::run::identity::Identity;
use crate::run::place::{Found, Place};
use crate::run::plan::Plan;
use crate::run::scores;
use crate::stop::Stop;
use crate::suite::{Length, Method, Suite};
use crate::{Error, Result, builtin, clock, report};

/// Answers that are decoded together at most.
const BATCH: usize = 16;

/// Evaluate a model on suites at growing lengths
///
/// Writes a folder with every prompt, answer, score and speed, and a report. Started again after an interruption of
/// any kind, the same command goes on where it stopped.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fathom run                                            the built-in model, the default suite
  fathom run --plan                                     what that would cost; runs nothing
  fathom run --model model.gguf --lengths 1k,4k,16k     your model
  fathom run --model model.gguf --suite my.toml --out reports/mine
  fathom run --fault no-temperature                     the model with a fault that others shipped
  fathom run --model http://localhost:8000/v1 --tokenizer hf:OWNER/NAME   what an API serves, at exact lengths
  fathom run --model https://host/v1 --api-model NAME --price-in 0.5 --price-out 2 --budget-money 3 --plan

An API is asked for completions where its tokenizer is given, else for chat in its own template; what it is able to do is
found out with some twenty small requests and stands in the manifest. Its key is read from OPENAI_API_KEY.")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    fault: FaultArgs,
    #[command(flatten)]
    pub(super) engine: EngineArgs,
    #[command(flatten)]
    template: TemplateArgs,
    /// Suites: names (see `fathom list suites`) or TOML files
    #[arg(long, value_name = "NAME|FILE", num_args = 1.., default_value = "default")]
    suite: Vec<String>,
    /// Lengths in the model's own tokens, in place of the suite's; 1k = 1024
    #[arg(long, value_name = "1k,2k,..", value_delimiter = ',', value_parser = args::tokens)]
    lengths: Vec<usize>,
    /// Where to write; without it, reports/<date>-<name>
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print items, tokens, minutes, memory and money, and run nothing
    #[arg(long)]
    plan: bool,
    /// How answers are got, in place of the suites' choice
    #[arg(long, value_enum)]
    method: Option<MethodArg>,
    /// Where answers are got by likelihood, do not generate text beside
    #[arg(long)]
    no_text: bool,
    /// Seed of questions, documents and sampling, in place of the suites'
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Sample at this temperature; 0 is greedy
    #[arg(long, value_name = "T", default_value = "0", value_parser = args::temperature)]
    temperature: f32,
    /// Sample from the likeliest tokens that hold this share of the probability
    #[arg(long, value_name = "P", default_value = "1", value_parser = args::share)]
    top_p: f32,
    /// Answers to each item, each with its own seed, in place of the suites' number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeats: Option<u16>,
    /// Tokens that a reasoning model may think before it answers, beside the answer's own
    #[arg(long, value_name = "TOKENS", default_value = "4k", value_parser = args::tokens)]
    thought_budget: usize,
    /// Memory that may be used, in place of what the system has available; a model larger than that is evaluated
    /// layer by layer
    #[arg(long, value_name = "8GB", value_parser = args::bytes)]
    memory: Option<u64>,
    /// Do not measure the speed at each length
    #[arg(long)]
    no_speed: bool,
    #[command(flatten)]
    remote: api::RemoteArgs,
    #[command(flatten)]
    api: EndpointArgs,
}

/// How answers are got.
#[derive(Clone, Copy, clap::ValueEnum)]
enum MethodArg {
    /// Text is generated and judged
    Generate,
    /// Options are compared by their log-likelihood, where a question has any
    Likelihood,
}

pub fn run(args: &Args) -> Result<()> {
    let stop = Stop::on_signals()?;
    if is_address(&args.model.model) {
        return api::run(args, &stop);
    }
    args.api.unused("--model URL")?;
    args.remote.unused("--model URL")?;
    let opened = Opened::new(args.model.open_with(&args.fault)?, &args.template)?;
    let (suites, plan) = args.plan(opened.model.spec.context_length)?;
    let identity = args.identity(opened.identity(), NUMERIC_VERSION, &suites, &plan)?;
    let tokenizer = opened.tokenizer.clone();
    let frame = opened.frame()?;
    let mut layout = Layout::new(&*tokenizer, frame);
    let mut settings = args.settings(&plan, opened.raw_prompts());
    let mut card = opened.card(args.model.name(), args.fault.fault.as_deref());
    if args.model.model == "builtin" {
        card.facts
            .insert("trained_length".to_owned(), builtin::TRAINED_LENGTH.into());
    }
    let backend = Local::new(
        opened.model,
        opened.tokenizer,
        opened.stop,
        card,
        args.engine.threads,
    )
    .within(settings.memory, Path::new("."))?
    .measured()?;
    if backend.takes_all() {
        settings.speed_at.clear(); // Each would cost many passes over the weights.
    }
    stop.check()?;
    if args.plan {
        return summary::print_plan(&plan, &mut layout, &backend, &settings);
    }
    let job = Job {
        plan: &plan,
        settings,
        identity,
        stop: &stop,
    };
    let prepare = |backend: &mut Local, dir: &Path| {
        backend.scratch_in(dir);
        Ok(())
    };
    args.perform(backend, &mut layout, job, &prepare, &|backend, _| {
        let read = backend.read();
        Ok(read.map_or_else(BTreeMap::new, |read| tell_read(&read, &args.model).into()))
    })
}

/// A run that is about to be.
struct Job<'a> {
    plan: &'a Plan,
    settings: Settings,
    identity: Identity,
    stop: &'a Stop,
}

/// Facts of a run, for its manifest.
type Facts = BTreeMap<String, Value>;

impl Args {
    /// Executes a run in its folder, scores it and draws its report. `prepare` is told the folder before the first item,
    /// `told` tells at the end what the manifest should know.
    fn perform<B: Backend>(
        &self,
        mut backend: B,
        layout: &mut Layout<'_>,
        job: Job<'_>,
        prepare: &dyn Fn(&mut B, &Path) -> Result<()>,
        told: &dyn Fn(&B, &Path) -> Result<Facts>,
    ) -> Result<()> {
        let Job {
            plan,
            settings,
            identity,
            stop,
        } = job;
        let fingerprint = backend.fingerprint()?;
        let place = self.place(backend.card().name.clone());
        let manifest = self.manifest(&backend, identity, &fingerprint);
        let lay_out = |write: &mut dyn FnMut(&ItemRecord) -> Result<()>| {
            eprintln!("fathom: laying out {} items", plan.len());
            plan.lay_out(
                layout,
                &|n| lacks(&backend, settings.memory, n),
                &mut |record| {
                    stop.check()?;
                    write(record)
                },
            )
        };
        let mut folder = match place.open(manifest, lay_out)? {
            Found::Work(folder) => folder,
            Found::Finished(folder) => {
                out::line(&format!(
                    "{}: this run is finished; nothing to do",
                    folder.dir().display()
                ))?;
                return summary::print(folder.dir());
            }
        };
        eprintln!(
            "fathom: {}{}",
            folder.dir().display(),
            if folder.continued { ": goes on" } else { "" }
        );
        prepare(&mut backend, folder.dir())?;
        let executed = execute(&folder, &mut backend, &settings, stop, true);
        if matches!(executed, Ok(()) | Err(Error::Interrupted)) {
            let counted = scores::write(folder.dir())?;
            let facts = told(&backend, folder.dir())?;
            folder.manifest.environment.extend(facts);
            if executed.is_ok() {
                folder.manifest.finished = clock::now();
            }
            // The report of what is there; a run is finished when its report stands.
            let page = report::render(&[folder.dir().to_path_buf()], folder.dir());
            if matches!(executed, Err(Error::Interrupted)) {
                return Err(Error::Unfinished(format!(
                    "{}: interrupted, {} of {} answers are on record; the same command goes on",
                    folder.dir().display(),
                    counted.answered,
                    counted.items
                )));
            }
            page?;
            folder.write_manifest()?;
            // Rendered again with the manifest as it is now.
            report::render(&[folder.dir().to_path_buf()], folder.dir())?;
            return summary::print(folder.dir());
        }
        executed
    }
}

/// Says what a model larger than memory was read for, and returns it for the manifest.
fn tell_read(read: &Read, model: &ModelArgs) -> [(String, Value); 4] {
    let peak = peak_rss_bytes();
    let disk = model.path().ok().flatten();
    let disk = disk.and_then(|path| disk::read_speed(&path));
    let by_itself = disk.map_or(String::new(), |speed| {
        format!(" (the disk by itself: {}/s)", show_bytes(speed as u64))
    });
    eprintln!(
        "fathom: layer by layer: {} passes over the weights, {} read from the disk in {:.0} s, {}/s{by_itself}; peak memory {}",
        read.passes,
        show_bytes(read.bytes),
        read.seconds,
        show_bytes((read.bytes as f64 / read.seconds.max(1e-9)) as u64),
        show_bytes(peak)
    );
    let facts: [(&str, Value); 4] = [
        ("passes_over_weights", read.passes.into()),
        ("disk_bytes_read", read.bytes.into()),
        ("disk_bytes_per_second", disk.map(f64::round).into()),
        ("peak_memory", peak.into()),
    ];
    facts.map(|(k, v)| (k.to_owned(), v))
}

/// Version, and the commit where the build knows it.
fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    option_env!("FATHOM_COMMIT").map_or(version.to_owned(), |c| format!("{version} ({c})"))
}

impl Args {
    /// The suites and their items; `declared` is the longest context that the model declares.
    fn plan(&self, declared: usize) -> Result<(Vec<Suite>, Plan)> {
        let suites = self.suite.iter().map(|s| self.load(s));
        let suites = suites.collect::<Result<Vec<_>>>()?;
        let plan = Plan::new(&suites, declared)?;
        if plan.is_empty() {
            let names = self.suite.join(" ");
            return Err(Error::Usage(format!("--suite {names}: no items")));
        }
        Ok((suites, plan))
    }

    /// A suite, with what the command line says in place of its own.
    fn load(&self, name: &str) -> Result<Suite> {
        let mut suite = Suite::load(name)?;
        let file = &mut suite.file;
        if !self.lengths.is_empty() {
            let lengths: std::collections::BTreeSet<usize> = self.lengths.iter().copied().collect();
            file.lengths = lengths.into_iter().map(Length).collect();
        }
        if let Some(method) = self.method {
            file.method = match method {
                MethodArg::Generate => Method::Generate,
                MethodArg::Likelihood => Method::Likelihood,
            };
            file.task.iter_mut().for_each(|t| t.method = None);
        }
        file.seed = self.seed.unwrap_or(file.seed);
        file.repeats = self.repeats.map_or(file.repeats, usize::from);
        Ok(suite)
    }

    fn settings(&self, plan: &Plan, raw_prompts: bool) -> Settings {
        Settings {
            generate_beside_options: !self.no_text,
            temperature: self.temperature,
            top_p: self.top_p,
            seed: self.seed.unwrap_or_default(),
            thought_budget: self.thought_budget,
            one_line: raw_prompts,
            memory: self.memory.or_else(available_bytes).unwrap_or(u64::MAX),
            batch: BATCH,
            speed_at: if self.no_speed {
                Vec::new()
            } else {
                plan.lengths()
            },
        }
    }

    /// Everything that changes an answer or a score.
    fn identity(
        &self,
        mut identity: Identity,
        numeric_version: u32,
        suites: &[Suite],
        plan: &Plan,
    ) -> Result<Identity> {
        let all = |f: &dyn Fn(&Suite) -> Value| Value::Array(suites.iter().map(f).collect());
        let facts: [(&str, Value); 13] = [
            ("suites", all(&|s| s.name().into())),
            ("suite_hash", all(&|s| s.hash.clone().into())),
            ("questions", plan.hash()?.into()),
            ("lengths", plan.lengths().into()),
            ("items", plan.len().into()),
            ("seed", all(&|s| s.file.seed.into())),
            (
                "method",
                all(&|s| format!("{:?}", s.file.method).to_lowercase().into()),
            ),
            ("text_beside_options", (!self.no_text).into()),
            ("temperature", f64::from(self.temperature).into()),
            ("top_p", f64::from(self.top_p).into()),
            ("thought_budget", self.thought_budget.into()),
            ("fault", self.fault.fault.clone().into()),
            ("numeric_version", numeric_version.into()),
        ];
        identity.extend(facts.map(|(k, v)| (k.to_owned(), v)));
        Ok(identity)
    }

    fn place(&self, name: String) -> Place {
        match &self.out {
            Some(dir) => Place::Exactly(dir.clone()),
            None => Place::Below {
                reports: "reports".into(),
                name: format!("{}-{name}", clock::today()),
            },
        }
    }

    fn manifest(&self, backend: &dyn Backend, identity: Identity, fingerprint: &str) -> Manifest {
        let command: Vec<String> = std::env::args_os()
            .map(|a| self.api.scrubbed(&a.to_string_lossy()))
            .collect();
        let facts: [(&str, Value); 6] = [
            ("command", command.join(" ").into()),
            ("cpu", crate::cpu::name().into()),
            ("instructions", crate::cpu::instructions().into()),
            ("threads", crate::cpu::threads(self.engine.threads).into()),
            ("memory_available", available_bytes().unwrap_or(0).into()),
            ("model_path", self.api.scrubbed(&self.model.model).into()),
        ];
        Manifest {
            format: FORMAT,
            fathom: version(),
            numeric_version: backend.card().numeric_version,
            started: clock::now(),
            finished: String::new(),
            identity,
            environment: facts.map(|(k, v)| (k.to_owned(), v)).into(),
            model: backend.card().facts.clone(),
            logits_fingerprint: fingerprint.to_owned(),
        }
    }
}
