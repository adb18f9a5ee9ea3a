//! `fathom audit`: is what is served the model; if not, what was done to it.

mod asking;
mod reference;

use std::path::PathBuf;
use std::time::Instant;

pub use reference::{PackArgs, pack};

use crate::audit::choosing::{Choosing, Chosen, NO_ROOM, TOKENS};
use crate::audit::context::ladder;
use crate::audit::counts::count;
use crate::audit::observe::{Told, Weighed};
use crate::audit::pack::Pack;
use crate::audit::plan::Plan;
use crate::audit::refine::Search;
use crate::audit::sampled::Sampled;
use crate::audit::session::{Budget, Session, Step};
use crate::audit::shown;
use crate::audit::table::{Making, Shape};
use crate::audit::verdict::{Kind, Terms, Verdict};
use crate::audit::warm;
use crate::audit::words::{Audit, in_words};
use crate::cli::args;
use crate::cli::endpoint::EndpointArgs;
use crate::cli::out;
use crate::endpoint::Endpoint;
use crate::stop::Stop;
use crate::{Error, Result};
use asking::Asking;
use reference::ReferenceArgs;

/// Find out whether an API serves the model, and if not, what was done to it
#[derive(clap::Args)]
#[command(
    after_help = "Exit code 0: the same; 1: not the same; 4: not enough evidence within the budget.
The test, its guarantee and where it breaks: METHODOLOGY.md.

Examples:
  fathom audit --model model.gguf --endpoint http://localhost:8000/v1
  fathom audit --model model.gguf --endpoint https://api.example/v1 --declared kv=q8_0,weights=q4_k_m
  fathom audit --reference scout.pack --endpoint https://api.example/v1 --out reports/scout
  fathom serve --fault no-chunk & fathom audit --endpoint http://127.0.0.1:8080/v1"
)]
pub struct Args {
    #[command(flatten)]
    pub(super) model: ReferenceArgs,
    /// What `fathom logits pack` has written, in place of a model
    #[arg(long, value_name = "PACK", conflicts_with_all = ["model", "declared", "suspect", "length", "seed"])]
    reference: Option<PathBuf>,
    /// The API, /v1 included
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// Requests with probes, at most: 8, or 16 where answers are sampled, as each says less
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    budget_requests: Option<u16>,
    /// Tokens of prompts and answers, at most
    #[arg(long, value_name = "TOKENS", default_value = "1M", value_parser = args::tokens)]
    budget_tokens: usize,
    /// Minutes after which no more is asked
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    budget_minutes: Option<u32>,
    /// Audit what answers to chat, though prompts are continued too; a pack says itself what it is for
    #[arg(long, conflicts_with = "reference")]
    chat: bool,
    /// Probability of rejecting the truth
    #[arg(long, value_name = "SHARE", default_value_t = Terms::default().alpha)]
    alpha: f64,
    /// Nats a token that what is called the same may differ by
    #[arg(long, value_name = "NATS", default_value_t = Terms::default().margin)]
    margin: f64,
    /// Look at no more than this, though the API tells more
    #[arg(long, value_name = "WHAT", default_value = "prompt")]
    at_most: AtMost,
    /// Folder for the report: words, plots, and the verdict as JSON
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Lengths at which it is asked what it really reads, and what it accepts and bills: 4k,16k,64k; not of the budget
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = args::tokens, conflicts_with = "reference")]
    context: Vec<usize>,
    /// Put every probe and keep what is told, in place of a verdict: to be weighed again, or for a simulation
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    record: Option<PathBuf>,
    /// One JSON object instead of words
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: EndpointArgs,
}

/// Requests on which a value that was looked for has to hold, and the one that it is fitted to.
const HELD: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum AtMost {
    /// Log probabilities of the prompt's tokens
    Prompt,
    /// Log probabilities of the most probable tokens of an answer
    Top,
    /// The text of an answer
    Text,
}

impl Args {
    /// The command that repeats it.
    fn again(&self) -> String {
        let reference = match &self.reference {
            Some(path) => format!("--reference {}", path.display()),
            None => self.model.again(),
        };
        format!(
            "fathom audit {reference} --endpoint URL{}{}{} --budget-tokens {} --alpha {} --margin {}",
            if self.chat { " --chat" } else { "" },
            match self.at_most {
                AtMost::Prompt => "",
                AtMost::Top => " --at-most top",
                AtMost::Text => " --at-most text",
            },
            self.budget_requests
                .map_or(String::new(), |n| format!(" --budget-requests {n}")),
            self.budget_tokens,
            self.alpha,
            self.margin
        )
    }
}

pub fn run(args: &Args) -> Result<()> {
    let begun = Instant::now();
    let terms = Terms::new(args.alpha, args.margin)?;
    let stop = Stop::on_signals()?;
    let kept = args.reference.as_deref().map(Pack::read).transpose()?;
    let settings = args.api.settings(&args.endpoint);
    let endpoint = Endpoint::open(&settings, &stop)?;
    let can = endpoint.probe()?;
    let shape = match &kept {
        Some(pack) => pack.table.shape,
        None if can.completions && !args.chat => Shape::Raw,
        None => Shape::Chat,
    };
    let offered = match shape {
        Shape::Raw => can.completions,
        Shape::Chat => can.chat,
    };
    if !offered {
        let found = can.in_words().trim_end().replace('\n', "; ");
        let expected = format!("{shape:?}, for which the pack was made").to_lowercase();
        return Err(Error::input("--endpoint", endpoint.host(), found, expected));
    }
    let most = match args.at_most {
        AtMost::Prompt => Told::most(&can, shape),
        AtMost::Top => Told::top(&can, shape),
        AtMost::Text => Told::Text,
    };
    // What is sampled can be weighed only where there is a model, now.
    let most = match (most, &kept, &args.record) {
        (Told::Text, None, None) => Told::Sampled,
        _ => most,
    };
    let usual = if most == Told::Sampled { 16 } else { 8 };
    let requests = usize::from(args.budget_requests.unwrap_or(usual));
    if !args.json {
        let (host, can, most) = (endpoint.host(), can.in_words(), most.in_words());
        out::print(&format!("{host}\n{can}weighed: {most}\n\n"))?;
    }
    let mut rungs = Vec::new();
    let mut opened = None;
    let (mut edits, mut rare) = (Vec::new(), 0.0);
    let pack = match kept {
        Some(pack) => pack,
        None => {
            let opened = opened.insert(args.model.open()?);
            let (seed, tokenizer) = (args.model.seed(), &opened.tokenizer);
            rungs = ladder(&endpoint, shape, tokenizer, &args.context, seed, &stop)?;
            let probes = requests + 2;
            let prepared = args.model.prepare(opened, shape, most, probes, &stop)?;
            (edits, rare) = (prepared.edits, prepared.rare);
            args.model.pack(opened, prepared.table)
        }
    };
    let table = &pack.table;
    let told = if table.scored {
        most
    } else {
        most.of_answers(&can, shape)
    };
    if let Some(path) = &args.record {
        return asking::record(&endpoint, &can, told, &pack, path, &stop);
    }
    let counted = count(&endpoint, &can, &table.counts)?;
    let budget = Budget {
        requests,
        tokens: args.budget_tokens,
        minutes: args.budget_minutes,
    };
    // What the reference needed to be evaluated is our time and not the service's.
    let asked_from = Instant::now();
    let in_time = || {
        let minutes = budget.minutes.map(|n| u64::from(n) * 60);
        minutes.is_none_or(|most| asked_from.elapsed().as_secs() < most)
    };
    let plan = Plan::new(table, told);
    let probes = (0..table.probes.len()).collect();
    let mut session = Session::new(&plan, terms, budget, probes);
    let mut unasked = Vec::new();
    let making = opened
        .as_ref()
        .map(|opened| Making::new(&opened.model, args.model.threads(), &stop));
    let sampled = opened.as_ref().zip(making.as_ref());
    let sampled = sampled.filter(|_| told == Told::Sampled);
    let sampled = sampled.map(|(opened, making)| Sampled {
        making,
        tokenizer: &opened.tokenizer,
        edits: &edits,
        rare,
    });
    let mut asking = Asking {
        endpoint: &endpoint,
        can: &can,
        told,
        pack: &pack,
        sampled: sampled.as_ref(),
        seed: args.model.seed(),
        answers: Vec::new(),
        failures: Vec::new(),
    };
    let choosing = Choosing {
        endpoint: &endpoint,
        can: &can,
        shape,
        opened: opened.as_ref(),
        threads: args.model.threads(),
        alpha: terms.alpha,
        seed: args.model.seed(),
    };
    let mut chosen = Chosen::default();
    let mut choose = |at: &[f64], spent: usize, chosen: &mut Chosen| {
        if spent + TOKENS > budget.tokens {
            chosen.unknown = Some(NO_ROOM.to_owned());
            return Ok(());
        }
        match choosing.look(at, chosen) {
            Err(Error::Interrupted) => Err(Error::Interrupted),
            Err(e) => {
                unasked.push(format!("how tokens are chosen: {e}"));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    };
    // Where the text alone is weighed, answers that are drawn would be taken for another model's.
    if told.weighed() != Weighed::Numbers {
        choose(&[0.0], session.tokens, &mut chosen)?;
    }
    let mut verdict = loop {
        stop.check()?;
        if !chosen.forced.is_empty() {
            break session.undecided();
        }
        match session.step() {
            Step::Done(verdict) => break *verdict,
            Step::Put(probe) if in_time() => asking.put(&mut session, probe)?,
            Step::Put(_) => break session.ended(),
        }
    };
    // A value that the catalogue does not have is looked for where there is a model to look with; a number may be near one of the
    // catalogue's and not it.
    let value = verdict.parameters.get("value").and_then(|v| v.as_str());
    let number = value.is_some_and(|v| v.parse::<f64>().is_ok() || v.starts_with("beyond-"));
    let unnamed = verdict.verdict == Kind::Other || (number && verdict.share.is_none());
    let numbers = told.weighed() == Weighed::Numbers;
    if let (Some(making), true) = (&making, unnamed && numbers) {
        while session.observed.len() < HELD {
            stop.check()?;
            let Some(probe) = session.next().filter(|_| in_time()) else {
                break;
            };
            asking.put(&mut session, probe)?;
        }
        let search = Search {
            making,
            table,
            observed: &session.observed,
        };
        verdict = verdict.with(search.find()?);
    }
    if let (None, Kind::Other) = (&opened, verdict.verdict) {
        verdict = verdict.with(shown::cut(table, &session.observed).into_iter().collect());
    }
    if matches!(verdict.verdict, Kind::Same | Kind::Undecided)
        && chosen.forced.is_empty()
        && in_time()
    {
        let at: &[f64] = if numbers { &[0.0, 1.0] } else { &[1.0] };
        choose(at, session.tokens + chosen.billed, &mut chosen)?;
    }
    let decided = !matches!(verdict.verdict, Kind::Same | Kind::Undecided);
    if let (Some(sampled), true) = (&sampled, decided) {
        chosen.forced = sampled.rules(&asking.answers, &session.process, terms.alpha);
    }
    if !chosen.forced.is_empty() {
        verdict = verdict.with(chosen.forced.clone());
    }
    let mut failures = std::mem::take(&mut asking.failures);
    failures.extend(unasked);
    if let (0, Some(why)) = (session.process.requests(), failures.last()) {
        return Err(Error::Unfinished(format!("audit: {why}")));
    }
    let mut repeated = None;
    let again = session.longest().filter(|_| told != Told::Sampled);
    if let (Kind::Same, true, Some(cold)) = (verdict.verdict, in_time(), again) {
        let near = (session.process.requests(), terms.alpha);
        match warm::look(table, cold, near, |probe| asking.ask(probe)) {
            Ok(warm) => {
                repeated = warm.apart;
                if let Some(found) = warm.found {
                    verdict = found.told(verdict);
                }
            }
            Err(failure) => failures.push(format!("again: {failure}")),
        }
    }
    let audit = Audit {
        // What was found out is not lost where this is not told.
        advertised: endpoint.context().ok().flatten(),
        rungs: &rungs,
        repeated,
        chosen: &chosen,
        host: endpoint.host(),
        model: &pack.model,
        told,
        terms,
        budget,
        verdict: &verdict,
        session: &session,
        counted: &counted,
        billed: endpoint.billed(),
        again: args.again(),
        failures: &failures,
        seconds: begun.elapsed().as_secs_f64(),
    };
    let object = audit.as_json();
    if let Some(dir) = &args.out {
        audit.write(dir, &object)?;
    }
    if args.json {
        out::line(&object.to_string())?;
    } else {
        out::print(&in_words(&audit))?;
    }
    ended(&verdict)
}

fn ended(verdict: &Verdict) -> Result<()> {
    match verdict.verdict {
        Kind::Same => Ok(()),
        Kind::Undecided => Err(Error::Undecided(
            "audit: not enough evidence within the budget".to_owned(),
        )),
        _ => Err(Error::Check(
            "audit: what is served is not the model".to_owned(),
        )),
    }
}
