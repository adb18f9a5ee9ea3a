//! An audit as a person reads it: the verdict, what it rests on, and a paragraph for the provider.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::audit::choosing::Chosen;
use crate::audit::context::Rung;
use crate::audit::counts::Counted;
use crate::audit::observe::Told;
use crate::audit::session::{Budget, Session};
use crate::audit::verdict::{Kind, OTHER, Terms, Verdict};
use crate::audit::warm::{needed, unseen};
use crate::endpoint::Billed;
use crate::report::plot;
use crate::{Error, Result};

/// A finished audit.
#[derive(Debug)]
pub struct Audit<'a> {
    /// Who was asked.
    pub host: String,
    /// What the reference is.
    pub model: &'a BTreeMap<String, Value>,
    /// What was weighed.
    pub told: Told,
    /// What was fixed beforehand.
    pub terms: Terms,
    /// What could be spent.
    pub budget: Budget,
    /// The verdict.
    pub verdict: &'a Verdict,
    /// The evidence.
    pub session: &'a Session<'a>,
    /// Tokens as the service counts them.
    pub counted: &'a [Counted],
    /// Tokens of context that it advertises.
    pub advertised: Option<u64>,
    /// What it accepts, bills and reads.
    pub rungs: &'a [Rung],
    /// How far a long probe's log probabilities were from the same when it was put again, nats; where it was.
    pub repeated: Option<f64>,
    /// How the service chooses tokens.
    pub chosen: &'a Chosen,
    /// What all of it was billed: to see what the service can do, for counts and lengths of context, the probes, how tokens
    /// are chosen, a prompt put again.
    pub billed: Billed,
    /// How the same is asked again.
    pub again: String,
    /// Requests that brought nothing, and why.
    pub failures: &'a [String],
    /// Seconds of all of it.
    pub seconds: f64,
}

impl Audit<'_> {
    fn model_name(&self) -> &str {
        self.model
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or("the model")
    }

    /// The verdict in a sentence.
    pub fn sentence(&self) -> String {
        let v = self.verdict;
        let name = self.model_name();
        let summary = |name: &str| {
            let all = self.session.table.hypotheses.iter();
            let known = all.clone().find(|h| h.name == name).map(|h| &h.summary);
            let refined = v.refined.iter().find(|r| r.name == name);
            known
                .or(refined.map(|r| &r.summary))
                .map_or(String::new(), |summary| format!(" ({summary})"))
        };
        match v.verdict {
            Kind::Same => {
                let left = match v.not_excluded.is_empty() {
                    true => ", and no fault of the catalogue".to_owned(),
                    false => format!(
                        "; {} cannot be told from it at this budget",
                        v.not_excluded.join(", ")
                    ),
                };
                match v.divergence {
                    Some(_) => format!("the same: what is served is {name}{left}"),
                    None => format!(
                        "the same as far as texts tell: what is served is {name}{left}. No divergence is measured; what is left is less than {} nats a \
                         token from the model, or a rounding",
                        self.terms.margin
                    ),
                }
            }
            Kind::Fault => {
                let fault = v.fault.clone().unwrap_or_default();
                let value = v.parameters.get("value").and_then(Value::as_str);
                let whole = value.map_or(fault.clone(), |value| format!("{fault}={value}"));
                let share = v.share.map_or(String::new(), |share| {
                    let [low, high] = v.share_interval.unwrap_or([0.0, 1.0]);
                    format!(
                        " in about {:.0} % of requests ({:.0} to {:.0} %)",
                        100.0 * share,
                        100.0 * low,
                        100.0 * high
                    )
                });
                format!("not the same: {whole}{}{share}", summary(&whole))
            }
            Kind::Class => {
                let known: Vec<&str> = v.members.iter().map(String::as_str).collect();
                let known = known.strip_suffix(&[OTHER]);
                match known {
                    Some(known) => format!(
                        "not the same: as far from the model as {} may be in another program's layout, and nothing else speaks for these: it \
                         may be something outside of the catalogue",
                        known.join(", ")
                    ),
                    None => format!(
                        "not the same: one of {}, which this budget cannot tell apart",
                        v.members.join(", ")
                    ),
                }
            }
            Kind::Other if v.share.is_some() => {
                let [low, high] = v.share_interval.unwrap_or([0.0, 1.0]).map(|s| 100.0 * s);
                format!(
                    "not the same: {low:.0} to {high:.0} % of requests are answered by something else, the same prompt among them"
                )
            }
            Kind::Other => {
                let process = &self.session.process;
                match process.jumps() {
                    // Near but for these.
                    jumps if jumps > 0 && process.fits(0) => format!(
                        "not the same: in {jumps} of {} requests single numbers are far off and the rest is as it should be, as where \
                         what was read is dropped within an answer",
                        process.requests()
                    ),
                    _ => {
                        "not the same: something outside of the catalogue, another model among them"
                            .to_owned()
                    }
                }
            }
            Kind::Undecided => "not enough evidence within the budget".to_owned(),
        }
    }

    /// All of it for a program: the fields of the command line's contract, and more.
    pub fn as_json(&self) -> Value {
        let mut object = json!(self.verdict);
        object["requests"] = self.session.put.len().into();
        object["tokens"] = self.session.tokens.into();
        object["billed"] = json!(self.billed);
        object["seconds"] = self.seconds.into();
        object["weighed"] = self.told.in_words().into();
        object["terms"] = json!(self.terms);
        object["budget"] = json!(self.budget);
        let hypotheses = self.session.table.hypotheses.iter();
        // Null: no number of these probes is expected to, or this budget was.
        let needed = hypotheses
            .zip(&self.session.needed)
            .filter_map(|(h, needed)| {
                let left = self.verdict.not_excluded.contains(&h.name);
                let budget = |(requests, tokens)| json!({"requests": requests, "tokens": tokens});
                left.then(|| (h.name.clone(), needed.map_or(Value::Null, budget)))
            });
        if self.verdict.verdict == Kind::Same {
            let n = self.session.process.requests();
            object["share_not_excluded"] = unseen(n, self.terms.alpha).into();
        }
        object["would_decide"] = Value::Object(needed.collect());
        object["model"] = json!(self.model);
        let findings: Vec<String> = self.counted.iter().filter_map(Counted::finding).collect();
        object["counts"] = json!(self.counted);
        object["choice"] = json!(self.chosen);
        object["repeated"] = json!(self.repeated);
        object["context"] = json!({"advertised": self.advertised, "lengths": self.rungs});
        object["findings"] = findings.into();
        object["failures"] = self.failures.into();
        object
    }

    /// A paragraph for the provider.
    pub fn paragraph(&self) -> String {
        let v = self.verdict;
        let divergence = v.divergence.map_or(String::new(), |d| {
            format!(" Log probabilities differ from the reference by {} nats a token on average (as half their mean square).", short(d))
        });
        format!(
            "We asked {} for {} ({}) with {} requests of {} tokens in all and compared with fathom's reference of the model. \
             Result: {}.{divergence} The probability that the truth was rejected by chance is at most {}. Repeat it with: {}",
            self.host,
            self.model_name(),
            self.told.in_words(),
            self.session.put.len(),
            self.session.tokens,
            self.sentence(),
            self.terms.alpha,
            self.again,
        )
    }

    /// Writes `report.md`, `audit.json` and the plots to a folder.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, dir: &Path, object: &Value) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|e| Error::write(dir, e))?;
        let put = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).map_err(|e| Error::write(&path, e))
        };
        let mut images = String::new();
        for plot in plot::audit(self) {
            put(&format!("{}.svg", plot.name), &plot.svg(&plot::LIGHT)?)?;
            plot.write_png(&dir.join(format!("{}.png", plot.name)))?;
            let _ = write!(images, "![{}]({}.svg)\n\n", plot.alt, plot.name);
        }
        let pretty = serde_json::to_string_pretty(object).unwrap_or_default();
        put("audit.json", &format!("{pretty}\n"))?;
        let words = in_words(self);
        let report = format!(
            "# Audit of {}\n\n{}\n\n{images}```\n{words}```\n",
            self.host,
            self.paragraph()
        );
        put("report.md", &report)
    }
}

/// Everything, for a terminal.
pub fn in_words(audit: &Audit<'_>) -> String {
    let v = audit.verdict;
    let session = audit.session;
    let mut text = format!("{}\n\n", audit.sentence());
    let rows = session
        .table
        .hypotheses
        .iter()
        .enumerate()
        .map(|(h, hypothesis)| {
            let log = session.process.e_values()[h] / std::f64::consts::LN_10;
            let state = if session.process.rejected(h, audit.terms.alpha) {
                "rejected".to_owned()
            } else {
                match session.needed[h] {
                    Some((requests, tokens)) => {
                        format!("left; {requests} requests of {tokens} tokens would tell it")
                    }
                    None if session.decidable[h] => "left".to_owned(),
                    None => "left; no number of these probes is expected to tell it".to_owned(),
                }
            };
            vec![
                hypothesis.name.clone(),
                format!("{log:.1}"),
                state,
                hypothesis.summary.clone(),
            ]
        });
    let rows: Vec<Vec<String>> = rows.collect();
    text += &crate::cli::table(&["hypothesis", "log10 e", "", "what it is"], rows);
    let _ = write!(
        text,
        "\n{} requests of {}, {} tokens of {}, {:.0} s; weighed: {}\nrejected from log10 e = {:.1} on (alpha {})\n",
        session.put.len(),
        audit.budget.requests,
        session.tokens,
        audit.budget.tokens,
        audit.seconds,
        audit.told.in_words(),
        -audit.terms.alpha.log10(),
        audit.terms.alpha
    );
    let _ = writeln!(
        text,
        "all in all, with what is asked besides, {} requests were answered, {} tokens of prompts and {} of answers billed",
        audit.billed.requests, audit.billed.prompt_tokens, audit.billed.completion_tokens
    );
    if let (Some(mean), Some(most)) = (v.divergence, v.divergence_at_most) {
        let _ = writeln!(
            text,
            "divergence {} nats a token, at most {} (95 %); the margin is {}",
            short(mean),
            short(most),
            audit.terms.margin
        );
    }
    for r in &v.refined {
        let interval = r.interval.map_or(String::new(), |[low, high]| {
            format!("; values from {low} to {high} are less likely by less than 1/alpha")
        });
        let _ = writeln!(text, "{}: {}{interval}", r.name, r.evidence);
    }
    if v.verdict == Kind::Same {
        let alpha = audit.terms.alpha;
        let _ = writeln!(
            text,
            "had up to {:.0} % of requests gone elsewhere, {} could all have met the model (at alpha); {} would tell a share of 10 %",
            100.0 * unseen(session.process.requests(), alpha),
            session.process.requests(),
            needed(0.1, alpha)
        );
    }
    for (probe, o) in &session.observed {
        let probe = &session.table.probes[*probe];
        if let Some((first, n)) = o.missing {
            let _ = writeln!(
                text,
                "{}: of {} tokens {n} were not read, from token {first} on",
                probe.name,
                probe.ids.len()
            );
        }
    }
    let told = audit.counted.iter().filter(|c| c.told.is_some()).count();
    let findings: Vec<String> = audit.counted.iter().filter_map(Counted::finding).collect();
    match findings.is_empty() {
        true if told == 0 => text += "tokens of prompts are not told\n",
        true => {
            let _ = writeln!(
                text,
                "tokens of {told} prompts are counted as the tokenizer and the template have them"
            );
        }
        false => findings.iter().for_each(|line| {
            let _ = writeln!(text, "count: {line}");
        }),
    }
    if let Some(apart) = audit.repeated {
        let _ = writeln!(
            text,
            "put again, a long probe's log probabilities were {} nats from the same on average",
            short(apart)
        );
    }
    if audit.chosen.tokens != [0, 0] || audit.chosen.unknown.is_some() {
        let _ = writeln!(text, "choice of tokens: {}", audit.chosen.in_words());
    }
    if let Some(n) = audit.advertised {
        let _ = writeln!(text, "context advertised: {n} tokens");
    }
    if !audit.rungs.is_empty() {
        let header = ["tokens", "accepted", "billed", "read", ""];
        text += &crate::cli::table(&header, audit.rungs.iter().map(Rung::row));
    }
    for failure in audit.failures {
        let _ = writeln!(text, "failed: {failure}");
    }
    text
}

fn short(x: f64) -> String {
    format!("{x:.1e}")
}
