//! How often an audit is right about the rule that tokens are chosen by: endpoints that continue stories by a rule of their own.
//!
//! An endpoint is a story, the built-in model in one of three precisions (f32, activations in bf16, in f16) and a rule. It gives what the
//! audit asks for: two answers without sampling, two that are drawn at temperature 1. They are judged beside the reference in f32, as
//! `fathom audit` does where a model is at hand. The rules draw from the whole distribution, by code of this file. `terms.csv` has, for each
//! rule, the evidence that two drawn answers to other stories are expected to bring.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use fathom_engine::variant::Variant;
use fathom_engine::{Extend, Logits, Model, PromptTree, TreeOptions};
use fathom_harness::audit::choosing::{beside, further, story};
use fathom_harness::audit::drawn::{NOT_DRAWN, Place, Rule, judge};
use fathom_harness::backend::sample::argmax;
use fathom_harness::builtin;
use fathom_harness::opened::{Opened, TemplateArgs};
use fathom_harness::rng::Rng;

/// Probability of a wrong word.
const ALPHA: f64 = 0.01;
/// Endpoints that answer together.
const TOGETHER: usize = 16;
/// Seeds of an endpoint's answers.
const DRAWN: u64 = 8;
/// Rules that endpoints may choose by; the first is what was asked for.
const RULES: [Rule; 12] = [
    Rule::Temperature(1.0),
    Rule::Temperature(0.0),
    Rule::Temperature(0.5),
    Rule::Temperature(0.7),
    Rule::Temperature(1.3),
    Rule::TopP(0.5),
    Rule::TopP(0.8),
    Rule::TopP(0.9),
    Rule::TopP(0.95),
    Rule::TopK(20),
    Rule::TopK(40),
    Rule::MinP(0.1),
];

/// What is simulated.
#[derive(Parser)]
struct Args {
    /// Endpoints of each rule
    #[arg(long, default_value_t = 1000)]
    endpoints: usize,
    /// Folder of the results
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// Only these rules, as results have their names
    #[arg(long)]
    rule: Vec<String>,
    /// Write only what is expected of each rule, from so many stories of another seed
    #[arg(long, value_name = "STORIES")]
    terms: Option<usize>,
    /// Seed of the stories and the draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A story that goes on.
struct Answer {
    endpoint: usize,
    /// Tokens at most.
    most: usize,
    prompt: Vec<u32>,
    tokens: Vec<u32>,
    rng: Rng,
    ended: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let opened = Opened::new(builtin::open()?, &TemplateArgs::default())?;
    std::fs::create_dir_all(&args.out)?;
    match args.terms {
        Some(stories) => terms(&opened, stories, &args),
        None => simulate(&opened, &args),
    }
}

/// The name of the fault that a rule is where it was not asked for.
fn truth(rule: Rule) -> String {
    match rule == RULES[0] {
        true => "as asked".to_owned(),
        false => rule.name(),
    }
}

fn kind(name: &str) -> &str {
    name.split('=').next().unwrap_or(name)
}

/// Probabilities of all tokens under a rule, from logits.
fn shares(logits: &[f32], rule: Rule) -> Vec<f64> {
    let best = f64::from(logits[argmax(logits) as usize]);
    let temperature = match rule {
        Rule::Temperature(t) => t,
        _ => 1.0,
    };
    let weight = |l: &f32| ((f64::from(*l) - best) / temperature).exp();
    let mut shares: Vec<f64> = logits.iter().map(weight).collect();
    let sum: f64 = shares.iter().sum();
    shares.iter_mut().for_each(|p| *p /= sum);
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
    let kept = match rule {
        Rule::Temperature(_) => order.len(),
        Rule::TopK(k) => k,
        Rule::MinP(least) => order
            .iter()
            .take_while(|i| shares[**i] >= least * shares[order[0]])
            .count(),
        Rule::TopP(p) => {
            let mut sum = 0.0;
            let fewer = order.iter().take_while(|i| {
                let goes_on = sum < p;
                sum += shares[**i];
                goes_on
            });
            fewer.count()
        }
    };
    order[kept..].iter().for_each(|i| shares[*i] = 0.0);
    let sum: f64 = shares.iter().sum();
    shares.iter_mut().for_each(|p| *p /= sum);
    shares
}

fn choose(logits: &[f32], rule: Rule, rng: &mut Rng) -> u32 {
    if rule == Rule::Temperature(0.0) {
        return argmax(logits);
    }
    let shares = shares(logits, rule);
    let mut at = rng.uniform();
    let came = shares.iter().position(|p| {
        at -= p;
        at < 0.0
    });
    came.map_or_else(|| argmax(logits), |i| i as u32)
}

/// Lets stories go on by a rule, all of them together.
fn go_on(model: &Model, ends: &[u32], rule: Rule, answers: &mut [Answer]) -> Result<()> {
    let mut tree = PromptTree::new(model, TreeOptions::of(model, 0))?;
    let spans: Vec<_> = answers.iter().map(|_| tree.root(0)).collect();
    let mut next: Vec<Vec<u32>> = answers.iter().map(|a| a.prompt.clone()).collect();
    loop {
        let going: Vec<usize> = (0..answers.len()).filter(|i| !answers[*i].ended).collect();
        let extends: Vec<Extend<'_>> = going
            .iter()
            .map(|&i| Extend {
                span: spans[i],
                tokens: &next[i],
                logits: Logits::Last,
            })
            .collect();
        if extends.is_empty() {
            break;
        }
        let mut came = vec![None; answers.len()];
        tree.extend(&extends, &mut |row| {
            if let Some(i) = spans.iter().position(|s| *s == row.span) {
                came[i] = Some(choose(row.logits, rule, &mut answers[i].rng));
            }
        })?;
        for i in going {
            let token = came[i].context("no logits")?;
            answers[i].tokens.push(token);
            answers[i].ended = ends.contains(&token) || answers[i].tokens.len() == answers[i].most;
            next[i] = vec![token];
        }
    }
    Ok(())
}

fn simulate(opened: &Opened, args: &Args) -> Result<()> {
    let precisions = ["", "activations=bf16", "activations=f16"];
    let mut models = Vec::new();
    for precision in precisions {
        let model = match precision {
            "" => None,
            _ => Variant::parse(precision)?.model(&opened.model)?,
        };
        models.push(model.unwrap_or_else(|| opened.model.clone()));
    }
    let mut rates = csv::Writer::from_path(args.out.join("rates.csv"))?;
    rates.write_record(["rule", "endpoints", "found", "kind", "single", "tokens"])?;
    for rule in RULES {
        let name = truth(rule);
        if !args.rule.is_empty() && !args.rule.contains(&name) {
            continue;
        }
        let [mut found, mut right, mut single, mut tokens] = [0; 4];
        for first in (0..args.endpoints).step_by(TOGETHER) {
            let endpoints: Vec<usize> = (first..args.endpoints.min(first + TOGETHER)).collect();
            let model = &models[first / TOGETHER % models.len()];
            let mut told: Vec<Option<Vec<String>>> = vec![None; endpoints.len()];
            for asked in [0.0, 1.0] {
                // Without sampling every rule but another temperature takes the most probable token.
                let used = match (rule, asked == 0.0) {
                    (Rule::Temperature(_), true) if rule != RULES[0] => rule,
                    (_, true) => Rule::Temperature(0.0),
                    (_, false) => rule,
                };
                let mut places: Vec<Vec<Vec<Place>>> = vec![Vec::new(); endpoints.len()];
                let mut texts: Vec<Vec<Vec<u32>>> = vec![Vec::new(); endpoints.len()];
                loop {
                    let mut answers = Vec::new();
                    for (i, &endpoint) in endpoints.iter().enumerate() {
                        let found = told[i].as_ref().is_some_and(|t| !t.is_empty());
                        let Some(most) = further(asked, &places[i]).filter(|_| !found) else {
                            continue;
                        };
                        let of_all = DRAWN * endpoint as u64 + places[i].len() as u64;
                        answers.push(Answer {
                            endpoint: i,
                            most,
                            prompt: opened.raw(&story(args.seed + endpoint as u64))?,
                            tokens: Vec::new(),
                            rng: Rng::of(
                                args.seed,
                                &name,
                                of_all,
                                if asked == 0.0 { "greedy" } else { "drawn" },
                            ),
                            ended: false,
                        });
                    }
                    if answers.is_empty() {
                        break;
                    }
                    go_on(model, &opened.stop, used, &mut answers)?;
                    for a in answers {
                        let there = beside(&opened.model, 0, &a.prompt, &a.tokens)?;
                        tokens += there.len();
                        places[a.endpoint].push(there);
                        texts[a.endpoint].push(a.tokens);
                    }
                }
                for ((told, places), texts) in told.iter_mut().zip(&places).zip(&texts) {
                    if texts.is_empty() {
                        continue;
                    }
                    let forced = judge(places, asked, texts[0] != texts[1], ALPHA).forced;
                    *told = Some(forced.into_iter().map(|r| r.name).collect());
                }
            }
            for told in told.into_iter().flatten() {
                let of_kind = told.iter().any(|t| kind(t) == kind(&name));
                found += usize::from(!told.is_empty());
                right += usize::from(of_kind);
                single += usize::from(of_kind && told.len() == 1);
            }
        }
        let n = args.endpoints;
        println!("{name}: {n} endpoints, found {found}, of its kind {right}, alone {single}");
        let tokens = tokens / n.max(1);
        rates.write_record([
            name,
            n.to_string(),
            found.to_string(),
            right.to_string(),
            single.to_string(),
            tokens.to_string(),
        ])?;
        rates.flush()?;
    }
    Ok(())
}

/// Of each rule, nats that a token chosen by it is expected to bring against what was asked for, and whether two answers are expected to bring half as
/// much again as rejects.
fn terms(opened: &Opened, stories: usize, args: &Args) -> Result<()> {
    let mut lines = csv::Writer::from_path(args.out.join("terms.csv"))?;
    lines.write_record(["rule", "nats_a_token", "detectable"])?;
    for rule in &RULES[1..] {
        let mut nats = Vec::new();
        for i in 0..stories {
            let mut answers = [Answer {
                endpoint: 0,
                most: further(1.0, &[]).context("no answer is drawn")?,
                prompt: opened.raw(&story(args.seed + i as u64))?,
                tokens: Vec::new(),
                rng: Rng::of(args.seed, &rule.name(), i as u64, "terms"),
                ended: false,
            }];
            go_on(&opened.model, &opened.stop, *rule, &mut answers)?;
            let [answer] = &answers;
            let places = beside(&opened.model, 0, &answer.prompt, &answer.tokens)?;
            let own = Rule::Temperature(1.0);
            nats.extend(places.iter().map(|p| rule.log(p) - own.log(p)));
        }
        let mean = nats.iter().sum::<f64>() / nats.len().max(1) as f64;
        let tokens = 2.0 * nats.len() as f64 / stories.max(1) as f64;
        let needed = 1.5 * ((NOT_DRAWN.len() as f64 / ALPHA).ln());
        let detectable = mean * tokens >= needed;
        lines.write_record([rule.name(), format!("{mean:.4}"), detectable.to_string()])?;
        println!(
            "{}: {mean:.4} nats a token, {tokens:.0} tokens, {detectable}",
            rule.name()
        );
    }
    Ok(lines.flush()?)
}
