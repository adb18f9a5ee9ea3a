//! How often an audit is right: endpoints made of recorded answers, sound and faulty, thousands of them in seconds.
//!
//! `certify PACK RECORDINGS OUT [ENDPOINTS] [PROBES] [REQUESTS] [SEED]`
//!
//! An endpoint is a recording (one engine, one truth) and a draw of PROBES of the pack's probes; its audit may put REQUESTS of
//! them. OUT gets `endpoints.csv`, a line an endpoint; `rates.csv`, bounds of 95 % (Clopper and Pearson) by truth;
//! `confusion.csv` and `confusion.png`. Endpoints of one recording are drawn from the same answers: bounds are of these answers, not of all
//! engines. How recordings are made: `tests/audit/speak.py`, `fathom audit --record`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fathom_harness::audit::pack::Pack;
use fathom_harness::audit::plan::Plan;
use fathom_harness::audit::process::Evidence;
use fathom_harness::audit::recording::Recording;
use fathom_harness::audit::session::{Budget, Session, Step, weigh};
use fathom_harness::audit::verdict::{Kind, Terms, Verdict};
use fathom_harness::rng::Rng;
use rayon::prelude::*;

/// A recording with the evidence of each probe, weighed once.
struct Speaker {
    recording: Recording,
    evidence: Vec<Option<Evidence>>,
}

/// How an audit of an endpoint ended.
#[derive(Clone)]
struct Ended {
    engine: String,
    truth: String,
    said: String,
    right: bool,
    found: bool,
    requests: usize,
    tokens: usize,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [pack, recordings, out, rest @ ..] = &args[..] else {
        bail!("certify PACK RECORDINGS OUT [ENDPOINTS] [PROBES] [REQUESTS] [SEED]");
    };
    let number = |i: usize, usual: usize| rest.get(i).map_or(Ok(usual), |n| n.parse());
    let (endpoints, probes) = (number(0, 1000)?, number(1, 10)?);
    let (requests, seed) = (number(2, 8)?, number(3, 1)?);
    let pack = Pack::read(Path::new(pack))?;
    let table = &pack.table;
    if probes > table.probes.len() {
        bail!("{probes} probes: the pack has {}", table.probes.len());
    }
    let budget = Budget {
        requests,
        tokens: usize::MAX,
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(recordings)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|f| f.extension().is_some_and(|e| e == "jsonl"));
    files.sort();
    let mut speakers = Vec::new();
    for file in &files {
        let recording = Recording::read(file, table)?;
        let mut evidence = vec![None; table.probes.len()];
        for (probe, observation) in &recording.observations {
            evidence[*probe] = weigh(table, *probe, observation);
        }
        // Distances in distances that are honest: from sound, and from what the truth is, where that is predicted.
        let far = |h: usize| {
            let all: Vec<f64> = evidence
                .iter()
                .flatten()
                .filter_map(|e: &Evidence| Some(e.far.as_ref()?[h].exp()))
                .collect();
            let most = all.iter().copied().fold(0.0, f64::max);
            format!(
                "{:.2} (at most {most:.2})",
                all.iter().sum::<f64>() / all.len().max(1) as f64
            )
        };
        let truth = recording.speaker.truth.clone().unwrap_or_default();
        let own = table.hypotheses.iter().position(|h| h.name == truth);
        eprintln!(
            "{}: {truth}; from sound {}, from the truth {}",
            recording.speaker.engine,
            far(0),
            own.map_or("not predicted".to_owned(), far)
        );
        speakers.push(Speaker {
            recording,
            evidence,
        });
    }
    // Places that any of them told.
    let told = |p: usize| {
        let all = speakers.iter().flat_map(|s| &s.recording.observations);
        let longest = all
            .filter(|(probe, _)| *probe == p)
            .max_by_key(|(_, o)| o.values.len());
        longest.map_or(Vec::new(), |(_, o)| o.values.iter().map(|v| v.0).collect())
    };
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
        .flat_map(|(truth, of)| (0..endpoints).map(move |i| (truth, of[i % of.len()], i)))
        .collect();
    let ended: Vec<Ended> = jobs
        .par_iter()
        .map(|(truth, speaker, i)| {
            let mut rng = Rng::of(seed as u64, truth, *i as u64, "probes");
            let drawn = rng.sample(table.probes.len(), probes);
            audit(&plan, budget, speaker, truth, drawn)
        })
        .collect();
    std::fs::create_dir_all(out)?;
    draw(&Path::new(out).join("confusion.png"), &ended)?;
    write(Path::new(out), &ended)
}

fn audit(
    plan: &Plan<'_>,
    budget: Budget,
    speaker: &Speaker,
    truth: &str,
    probes: Vec<usize>,
) -> Ended {
    let mut session = Session::new(plan, Terms::default(), budget, probes);
    let verdict = loop {
        match session.step() {
            Step::Done(verdict) => break *verdict,
            Step::Put(probe) => session.spend(probe, 0, speaker.evidence[probe].clone()),
        }
    };
    let (said, right, found) = judged(&verdict, truth);
    Ended {
        engine: speaker.recording.speaker.engine.clone(),
        truth: truth.to_owned(),
        said,
        right,
        found,
        requests: session.put.len(),
        tokens: session.tokens,
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
        "engine", "truth", "said", "right", "found", "requests", "tokens",
    ])?;
    for e in ended {
        lines.write_record([
            &e.engine,
            &e.truth,
            &e.said,
            &e.right.to_string(),
            &e.found.to_string(),
            &e.requests.to_string(),
            &e.tokens.to_string(),
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
        "requests",
        "tokens",
    ])?;
    let mut confusion = csv::Writer::from_path(out.join("confusion.csv"))?;
    confusion.write_record(["truth", "said", "endpoints"])?;
    for (truth, of) in &truths {
        let n = of.len();
        let count = |such: &dyn Fn(&Ended) -> bool| of.iter().filter(|e| such(e)).count();
        let (found, right) = (count(&|e| e.found), count(&|e| e.right));
        let mean = |of_one: &dyn Fn(&Ended) -> usize| {
            of.iter().map(|e| of_one(e)).sum::<usize>() as f64 / n as f64
        };
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
            format!("{:.2}", mean(&|e| e.requests)),
            format!("{:.0}", mean(&|e| e.tokens)),
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
            mean(&|e| e.requests)
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

/// Truths down, what was said across; the share of a truth's endpoints as shade and number.
fn draw(path: &Path, ended: &[Ended]) -> Result<()> {
    use plotters::prelude::*;
    let names = |of: &dyn Fn(&Ended) -> &str| -> Vec<String> {
        let all: std::collections::BTreeSet<&str> = ended.iter().map(of).collect();
        all.into_iter().map(str::to_owned).collect()
    };
    let (truths, words) = (names(&|e| &e.truth), names(&|e| &e.said));
    let (left, top, cell, line) = (180, 150, 58, 26);
    let size = (
        left + cell * words.len() as i32 + 20,
        top + line * truths.len() as i32 + 20,
    );
    plotters::style::register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| anyhow::anyhow!("the font does not register"))?;
    let root = BitMapBackend::new(path, (size.0 as u32, size.1 as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let font = |size: i32| ("sans-serif", size).into_font().color(&BLACK);
    root.draw_text(
        "truth down, verdict across: % of endpoints",
        &font(15),
        (8, 8),
    )?;
    for (column, said) in words.iter().enumerate() {
        let upright = font(13).transform(FontTransform::Rotate270);
        root.draw_text(said, &upright, (left + cell * column as i32 + 20, top - 8))?;
    }
    for (row, truth) in truths.iter().enumerate() {
        let y = top + line * row as i32;
        root.draw_text(truth, &font(13), (8, y + 5))?;
        let of = || ended.iter().filter(|e| e.truth == *truth);
        for (column, said) in words.iter().enumerate() {
            let share = of().filter(|e| e.said == *said).count() as f64 / of().count() as f64;
            let x = left + cell * column as i32;
            let corners = [(x, y), (x + cell - 2, y + line - 2)];
            root.draw(&Rectangle::new(
                corners,
                RGBColor(0, 114, 178).mix(0.05 + 0.6 * share).filled(),
            ))?;
            if share > 0.0 {
                root.draw_text(&format!("{:.0}", 100.0 * share), &font(13), (x + 16, y + 5))?;
            }
        }
    }
    root.present()?;
    Ok(())
}
