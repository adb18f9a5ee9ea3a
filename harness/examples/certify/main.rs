//! How often an audit is right: endpoints made of recorded answers, sound and faulty, thousands of them in seconds.
//!
//! An endpoint is a recording (one engine, one truth) and a draw of the pack's probes; its audit may put some of them. The terms are
//! written first (`--terms`), from the pack alone. The folder gets `endpoints.csv`, a line an endpoint; `rates.csv`, bounds of 95 % (Clopper and Pearson) by truth;
//! `confusion.csv` and `confusion.png`. Endpoints of one recording are drawn from the same answers: bounds are of these answers, not of all
//! engines. How recordings are made: `tests/audit/speak.py`, `fathom audit --record`. Sampled answers (`--tell sampled`) are weighed with the
//! built-in model, and the file of probes is written from a seed.

mod picture;
mod sampled;
mod terms;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;
use fathom_harness::audit::observe::Told;
use fathom_harness::audit::pack::Pack;
use fathom_harness::audit::plan::Plan;
use fathom_harness::audit::recording::Recording;
use fathom_harness::audit::request::Evidence;
use fathom_harness::audit::session::{Budget, Session, Step, weigh};
use fathom_harness::audit::table::Table;
use fathom_harness::audit::verdict::{Kind, Terms, Verdict};
use fathom_harness::rng::Rng;
use rayon::prelude::*;

/// A recording with the evidence of each probe, weighed once.
struct Speaker {
    recording: Recording,
    /// By probe; several where answers to one were sampled.
    evidence: Vec<Vec<Option<Evidence>>>,
    /// What each probe took to answer.
    seconds: Vec<f64>,
}

/// How an audit of an endpoint ended.
#[derive(Clone)]
struct Ended {
    engine: String,
    truth: String,
    said: String,
    /// The fault is named, or in the class.
    right: bool,
    /// .. with its value.
    exact: bool,
    found: bool,
    requests: usize,
    tokens: usize,
    seconds: f64,
}

/// What is simulated.
#[derive(Parser)]
struct Args {
    /// What `fathom logits pack` has written; of sampled answers, the probes as JSON lines, written where they are not there
    pack: PathBuf,
    /// Seed of probes whose answers are sampled
    #[arg(long, default_value_t = 1)]
    texts: u64,
    /// Another checkpoint that may be in the model's place, where answers are sampled
    #[arg(long)]
    suspect: Option<PathBuf>,
    /// Folder of recordings; without one, only the terms are written
    recordings: Option<PathBuf>,
    /// Folder of the results
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// Where to write what can be told of each fault at the budget, from the pack alone
    #[arg(long)]
    terms: Option<PathBuf>,
    /// Endpoints of each truth
    #[arg(long, default_value_t = 1000)]
    endpoints: usize,
    /// Probes that each endpoint is drawn with
    #[arg(long, default_value_t = 10)]
    probes: usize,
    /// Requests that an audit may make; of several budgets the later ones have folders of their own
    #[arg(long, value_delimiter = ',', default_value = "8")]
    requests: Vec<usize>,
    /// Tokens that it may spend
    #[arg(long, default_value_t = 1 << 20)]
    tokens: usize,
    /// Minutes that its requests may take
    #[arg(long)]
    minutes: Option<u32>,
    /// What the endpoints tell
    #[arg(long, value_enum, default_value = "prompt")]
    tell: Tell,
    /// Most probable tokens that they tell, of answers
    #[arg(long, default_value_t = 20)]
    top: usize,
    /// Seed of the draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What endpoints tell, of all that was recorded.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Tell {
    /// Log probabilities of prompts
    Prompt,
    /// Those of the most probable tokens of an answer
    Top,
    /// The text of an answer
    Text,
    /// The text of an answer that is sampled
    Sampled,
}

impl Speaker {
    /// Says how far it is from sound, and from what the truth is, where that is predicted: in distances that are honest.
    fn new(table: &Table, recording: Recording, evidence: Vec<Vec<Option<Evidence>>>) -> Self {
        let mut seconds = vec![0.0; table.probes.len()];
        for (probe, observation) in &recording.observations {
            seconds[*probe] = observation.seconds;
        }
        let far = |h: usize| {
            let all = evidence.iter().flatten().flatten();
            let all = all.filter_map(|e| Some(e.far.as_ref()?[h].exp()));
            let all: Vec<f64> = all.collect();
            let most = all.iter().copied().fold(0.0, f64::max);
            let mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
            format!("{mean:.2} (at most {most:.2})")
        };
        let truth = recording.speaker.truth.clone().unwrap_or_default();
        let own = table.hypotheses.iter().position(|h| h.name == truth);
        eprintln!(
            "{}: {truth}; from sound {}, from the truth {}",
            recording.speaker.engine,
            far(0),
            own.map_or("not predicted".to_owned(), far)
        );
        Self {
            recording,
            evidence,
            seconds,
        }
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let told = match args.tell {
        Tell::Prompt => Told::Prompt,
        Tell::Top => Told::Top(args.top),
        Tell::Text => Told::Text,
        Tell::Sampled => Told::Sampled,
    };
    let (pack, texts) = match told {
        Told::Sampled => {
            let suspect = args.suspect.as_ref();
            let texts = sampled::Texts::new(args.texts, suspect, &args.pack)?;
            (None, Some(texts))
        }
        _ => (Some(Pack::read(&args.pack)?), None),
    };
    let of_texts = texts.as_ref().map(|texts| &texts.prepared.table);
    let of_pack = pack.as_ref().map(|pack| &pack.table);
    let table = of_texts.or(of_pack).context("no probes")?;
    if args.probes > table.probes.len() {
        bail!(
            "{} probes: the pack has {}",
            args.probes,
            table.probes.len()
        );
    }
    let of = |requests| Budget {
        requests,
        tokens: args.tokens,
        minutes: args.minutes,
    };
    if let Some(path) = &args.terms {
        let budget = of(args.requests[0]);
        terms::write(table, told, budget, args.probes, args.seed, path)?;
    }
    let Some(recordings) = &args.recordings else {
        return Ok(());
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(recordings)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|f| f.extension().is_some_and(|e| e == "jsonl"));
    files.sort();
    let places: Vec<Vec<usize>> = table.probes.iter().map(|p| told.places(p)).collect();
    let mut speakers = Vec::new();
    for file in &files {
        if let Some(texts) = &texts {
            let (recording, evidence) = texts.weigh(file)?;
            speakers.push(Speaker::new(table, recording, evidence));
            continue;
        }
        let mut recording = Recording::read(file, table)?;
        for (probe, observation) in &mut recording.observations {
            let there = &places[*probe];
            observation
                .values
                .retain(|v| there.binary_search(&v.0).is_ok());
        }
        let mut evidence = vec![Vec::new(); table.probes.len()];
        for (probe, observation) in &recording.observations {
            evidence[*probe].push(weigh(table, *probe, observation));
        }
        speakers.push(Speaker::new(table, recording, evidence));
    }
    let plan = Plan::new(table, told);
    let mut by_truth: BTreeMap<String, Vec<&Speaker>> = BTreeMap::new();
    for speaker in &speakers {
        let truth = speaker.recording.speaker.truth.clone();
        by_truth
            .entry(truth.context("a recording without its truth")?)
            .or_default()
            .push(speaker);
    }
    let jobs: Vec<(&String, &Speaker, usize)> = by_truth
        .iter()
        .flat_map(|(truth, of)| (0..args.endpoints).map(move |i| (truth, of[i % of.len()], i)))
        .collect();
    for (i, requests) in args.requests.iter().enumerate() {
        let ended: Vec<Ended> = jobs
            .par_iter()
            .map(|(truth, speaker, i)| {
                let mut rng = Rng::of(args.seed, truth, *i as u64, "probes");
                let drawn = rng.sample(table.probes.len(), args.probes);
                audit(&plan, of(*requests), speaker, truth, drawn, &mut rng)
            })
            .collect();
        let out = match i {
            0 => args.out.clone(),
            _ => args.out.join(requests.to_string()),
        };
        std::fs::create_dir_all(&out)?;
        picture::draw(&out.join("confusion.png"), &ended)?;
        write(&out, &ended)?;
    }
    Ok(())
}

fn audit(
    plan: &Plan<'_>,
    budget: Budget,
    speaker: &Speaker,
    truth: &str,
    probes: Vec<usize>,
    rng: &mut Rng,
) -> Ended {
    let mut session = Session::new(plan, Terms::default(), budget, probes);
    let most = budget
        .minutes
        .map_or(f64::INFINITY, |m| 60.0 * f64::from(m));
    let mut seconds = 0.0;
    let verdict = loop {
        match session.step() {
            Step::Done(verdict) => break *verdict,
            Step::Put(_) if seconds >= most => break session.ended(),
            Step::Put(probe) => {
                seconds += speaker.seconds[probe];
                let all = &speaker.evidence[probe];
                let one = (!all.is_empty()).then(|| all[rng.below(all.len())].clone());
                session.spend(probe, 0, one.flatten());
            }
        }
    };
    let (said, right, found) = judged(&verdict, truth);
    let value = verdict.parameters.get("value").and_then(|v| v.as_str());
    let whole = value.map_or(said.clone(), |value| format!("{said}={value}"));
    let exact = whole == truth || verdict.members.iter().any(|m| m == truth);
    Ended {
        engine: speaker.recording.speaker.engine.clone(),
        truth: truth.to_owned(),
        said,
        right,
        exact: right && (exact || ["same", "other"].contains(&&*whole)),
        found,
        requests: session.put.len(),
        tokens: session.tokens,
        seconds,
    }
}

/// What was said in a word, whether that is right, and whether a fault was found.
fn judged(verdict: &Verdict, truth: &str) -> (String, bool, bool) {
    let name = |full: &str| full.split('=').next().unwrap_or(full).to_owned();
    let truth = name(truth);
    match verdict.verdict {
        Kind::Same => ("same".to_owned(), truth == "sound", false),
        Kind::Undecided => ("undecided".to_owned(), false, false),
        Kind::Other => ("other".to_owned(), truth == "other", true),
        Kind::Fault => {
            let said = verdict.fault.clone().unwrap_or_default();
            (said.clone(), said == truth, true)
        }
        Kind::Class => {
            let members: Vec<String> = verdict.members.iter().map(|m| name(m)).collect();
            ("class".to_owned(), members.contains(&truth), true)
        }
    }
}

fn write(out: &Path, ended: &[Ended]) -> Result<()> {
    let mut lines = csv::Writer::from_path(out.join("endpoints.csv"))?;
    lines.write_record([
        "engine", "truth", "said", "right", "exact", "found", "requests", "tokens", "seconds",
    ])?;
    for e in ended {
        lines.write_record([
            &e.engine,
            &e.truth,
            &e.said,
            &e.right.to_string(),
            &e.exact.to_string(),
            &e.found.to_string(),
            &e.requests.to_string(),
            &e.tokens.to_string(),
            &format!("{:.1}", e.seconds),
        ])?;
    }
    lines.flush()?;
    let mut truths: BTreeMap<&str, Vec<&Ended>> = BTreeMap::new();
    for e in ended {
        truths.entry(&e.truth).or_default().push(e);
    }
    let mut rates = csv::Writer::from_path(out.join("rates.csv"))?;
    rates.write_record([
        "truth",
        "endpoints",
        "found",
        "found_low",
        "found_high",
        "right",
        "right_low",
        "right_high",
        "exact",
        "requests",
        "tokens",
        "seconds",
        "most_seconds",
    ])?;
    let mut confusion = csv::Writer::from_path(out.join("confusion.csv"))?;
    confusion.write_record(["truth", "said", "endpoints"])?;
    for (truth, of) in &truths {
        let n = of.len();
        let count = |such: &dyn Fn(&Ended) -> bool| of.iter().filter(|e| such(e)).count();
        let (found, right) = (count(&|e| e.found), count(&|e| e.right));
        let mean =
            |of_one: &dyn Fn(&Ended) -> f64| of.iter().map(|e| of_one(e)).sum::<f64>() / n as f64;
        let [[fl, fh], [rl, rh]] = [exact(found, n), exact(right, n)];
        rates.write_record([
            (*truth).to_owned(),
            n.to_string(),
            found.to_string(),
            format!("{fl:.4}"),
            format!("{fh:.4}"),
            right.to_string(),
            format!("{rl:.4}"),
            format!("{rh:.4}"),
            count(&|e| e.exact).to_string(),
            format!("{:.2}", mean(&|e| e.requests as f64)),
            format!("{:.0}", mean(&|e| e.tokens as f64)),
            format!("{:.1}", mean(&|e| e.seconds)),
            format!("{:.1}", of.iter().map(|e| e.seconds).fold(0.0, f64::max)),
        ])?;
        let mut said: BTreeMap<&str, usize> = BTreeMap::new();
        for e in of {
            *said.entry(&e.said).or_default() += 1;
        }
        for (said, times) in &said {
            confusion.write_record([*truth, said, &times.to_string()])?;
        }
        println!(
            "{truth}: {n} endpoints, found {found}, right {right}, {:.1} requests: {said:?}",
            mean(&|e| e.requests as f64)
        );
    }
    rates.flush()?;
    confusion.flush()?;
    Ok(())
}

/// The interval of 95 % of Clopper and Pearson for `k` of `n`.
fn exact(k: usize, n: usize) -> [f64; 2] {
    // Bisection on the binomial's tails, in logs.
    let tail = |p: f64, from: usize, to: usize| -> f64 {
        let mut log = 0.0;
        let mut sum = 0.0;
        for i in 0..=n {
            if i > 0 {
                log += ((n - i + 1) as f64 / i as f64).ln();
            }
            if (from..=to).contains(&i) {
                sum += (log + i as f64 * p.ln() + (n - i) as f64 * (-p).ln_1p()).exp();
            }
        }
        sum
    };
    let bisect = |above: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (1e-12, 1.0 - 1e-12);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if above(middle) {
                high = middle
            } else {
                low = middle
            }
        }
        0.5 * (low + high)
    };
    let low = if k == 0 {
        0.0
    } else {
        bisect(&|p| tail(p, k, n) > 0.025)
    };
    let high = if k == n {
        1.0
    } else {
        bisect(&|p| tail(p, 0, k) < 0.025)
    };
    [low, high]
}
