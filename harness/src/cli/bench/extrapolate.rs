//! What lengths that nobody waits for would cost: the model's own arithmetic at the rates that were measured.
//!
//! A prompt takes so many seconds a token (matrices, experts, norms) and so many an operation of attention; the masks say
//! how many of those there are. Both rates are fitted to the measured prompts but the longest, and held against that
//! one. A token of an answer is fitted the same way, to the answers behind those prompts.

use fathom_engine::Model;
use serde_json::{Value, json};

use super::measure::{Kind, Sample};
use crate::cli::out;
use crate::memory::{available_bytes, show_bytes};
use crate::{Error, Result};

/// Lengths that are shown, up to the one asked for.
const SHOWN: [usize; 3] = [128 << 10, 1 << 20, 10 << 20];

/// The cost of a length.
struct Cost {
    length: usize,
    prompt_s: f64,
    /// Share of the prompt's operations that is attention.
    attention: f64,
    token_s: f64,
    bytes: u64,
}

/// A fit, its check and what follows from it.
pub struct Extrapolation {
    prompt: Rates,
    token: Rates,
    /// Measured lengths that were fitted.
    fitted: Vec<usize>,
    /// The length that was not.
    checked: usize,
    /// Fitted over measured there: a prompt's seconds, a token's seconds, the bytes of keys and values.
    ratios: [f64; 3],
    costs: Vec<Cost>,
}

/// Seconds a unit and seconds an operation of attention.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rates {
    unit: f64,
    attention: f64,
}

impl Rates {
    /// Fits `seconds = unit * units + attention * flop` to (units, flop, seconds): least squares of the relative errors, no
    /// rate below 0.
    fn fit(points: &[(f64, f64, f64)]) -> Self {
        let sum =
            |f: fn(f64, f64) -> f64| points.iter().map(|&(u, a, s)| f(u / s, a / s)).sum::<f64>();
        let (uu, ua, aa) = (sum(|u, _| u * u), sum(|u, a| u * a), sum(|_, a| a * a));
        let (su, sa) = (sum(|u, _| u), sum(|_, a| a));
        let determinant = uu * aa - ua * ua;
        let unit = (su * aa - sa * ua) / determinant;
        let attention = (sa * uu - su * ua) / determinant;
        // Windows only: nothing tells the two apart.
        let apart = determinant > 1e-9 * uu * aa;
        if apart && attention >= 0.0 && unit >= 0.0 {
            return Self { unit, attention };
        }
        // One of the two explains all.
        let only = |s: f64, x: f64| if x > 0.0 { s / x } else { 0.0 };
        if !apart || attention < 0.0 {
            Self {
                unit: only(su, uu),
                attention: 0.0,
            }
        } else {
            Self {
                unit: 0.0,
                attention: only(sa, aa),
            }
        }
    }

    fn seconds(&self, units: f64, flop: f64) -> f64 {
        self.unit * units + self.attention * flop
    }
}

/// Whether there are enough lengths.
pub fn check(prompts: &[usize], decode: usize) -> Result<()> {
    let mut lengths = prompts.to_vec();
    lengths.sort_unstable();
    lengths.dedup();
    if lengths.len() < 3 {
        let found = format!("{} lengths", lengths.len());
        let expected = "three or more for --extrapolate: two to fit, one to check";
        return Err(Error::input("--prompt", "lengths", found, expected));
    }
    if decode == 0 {
        let expected = "one or more for --extrapolate";
        return Err(Error::input("--decode", "tokens", decode, expected));
    }
    Ok(())
}

impl Extrapolation {
    /// Fits the samples and follows the fit up to `length` tokens; `decode` tokens were generated behind each prompt.
    pub fn new(model: &Model, samples: &[Sample], decode: usize, length: usize) -> Self {
        let of = |kind: Kind| {
            let mut of: Vec<_> = samples.iter().filter(|s| s.kind == kind).collect();
            of.sort_by_key(|s| s.context);
            of
        };
        let (prompts, answers) = (of(Kind::Prefill), of(Kind::Decode));
        // A token of an answer counts in its middle.
        let token_flop = |context: usize| model.token_attention_flop(context + decode / 2);
        let prompt = |s: &Sample| {
            let flop = model.prompt_flop(s.context).attention;
            (s.context as f64, flop, s.seconds)
        };
        let token = |s: &Sample| (1.0, token_flop(s.context), s.seconds / s.tokens as f64);
        let split = |of: &[&Sample], point: &dyn Fn(&Sample) -> (f64, f64, f64)| {
            let points: Vec<_> = of.iter().map(|s| point(s)).collect();
            let (rates, last) = (
                Rates::fit(&points[..points.len() - 1]),
                points[points.len() - 1],
            );
            (rates, rates.seconds(last.0, last.1) / last.2)
        };
        let (prompt, prompt_ratio) = split(&prompts, &prompt);
        let (token, token_ratio) = split(&answers, &token);
        let last = prompts[prompts.len() - 1];
        let mut lengths: Vec<usize> = SHOWN.into_iter().filter(|&n| n < length).collect();
        lengths.push(length);
        let costs = lengths.into_iter().map(|length| {
            let flop = model.prompt_flop(length);
            Cost {
                length,
                prompt_s: prompt.seconds(length as f64, flop.attention),
                attention: flop.attention / flop.total(),
                token_s: token.seconds(1.0, model.token_attention_flop(length)),
                bytes: model.weight_bytes() + model.cache_bytes(length),
            }
        });
        Self {
            prompt,
            token,
            fitted: prompts[..prompts.len() - 1]
                .iter()
                .map(|s| s.context)
                .collect(),
            checked: last.context,
            ratios: [
                prompt_ratio,
                token_ratio,
                model.cache_bytes(last.context) as f64 / last.cache_bytes as f64,
            ],
            costs: costs.collect(),
        }
    }

    /// A table and how far to trust it.
    pub fn print(&self) -> Result<()> {
        let memory = available_bytes();
        let rows = self.costs.iter().map(|c| {
            vec![
                c.length.to_string(),
                show_seconds(c.prompt_s),
                format!("{:.1}", c.length as f64 / c.prompt_s),
                format!("{:.0} %", 100.0 * c.attention),
                format!("{:.2}", 1.0 / c.token_s),
                show_bytes(c.bytes),
                match memory {
                    Some(memory) if c.bytes > memory => "no".into(),
                    Some(_) => "yes".into(),
                    None => String::new(),
                },
            ]
        });
        let header = [
            "extrapolated to",
            "prompt",
            "tokens/s",
            "attention",
            "decode tokens/s",
            "weights, keys, values",
            "fits here",
        ];
        let fitted: Vec<String> = self.fitted.iter().map(usize::to_string).collect();
        let percent = self.ratios.map(|r| format!("{:+.1} %", 100.0 * (r - 1.0)));
        out::line(&format!(
            "\n{}\nfitted to prompts of {} tokens: {:.3} ms a token, {:.3} ms a GFLOP of attention; of an answer: {:.3} ms a token, {:.3} ms a GFLOP\n\
             held against {} tokens, which were not fitted: prompt {}, decode {}, keys and values {}",
            out::table(&header, rows),
            fitted.join(", "),
            1e3 * self.prompt.unit,
            1e12 * self.prompt.attention,
            1e3 * self.token.unit,
            1e12 * self.token.attention,
            self.checked,
            percent[0],
            percent[1],
            percent[2],
        ))
    }

    pub fn object(&self) -> Value {
        let costs = self.costs.iter().map(|c| {
            json!({
                "tokens": c.length,
                "prompt_seconds": c.prompt_s,
                "attention_share": c.attention,
                "token_seconds": c.token_s,
                "bytes": c.bytes,
            })
        });
        json!({
            "fitted": self.fitted,
            "checked": self.checked,
            "fitted_over_measured": {"prompt": self.ratios[0], "decode": self.ratios[1], "cache_bytes": self.ratios[2]},
            "costs": costs.collect::<Vec<_>>(),
        })
    }
}

fn show_seconds(s: f64) -> String {
    match s {
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_found_again_and_never_negative() {
        let true_rates = Rates {
            unit: 1e-3,
            attention: 2e-12,
        };
        let points: Vec<_> = [(512.0, 1e9), (2048.0, 2e10), (8192.0, 3e11)]
            .map(|(n, flop)| (n, flop, true_rates.seconds(n, flop)))
            .to_vec();
        let fit = Rates::fit(&points);
        assert!((fit.unit / 1e-3 - 1.0).abs() < 1e-9 && (fit.attention / 2e-12 - 1.0).abs() < 1e-9);
        // Faster with more attention: noise, not a negative rate.
        let fit = Rates::fit(&[(1.0, 1.0, 2.0), (1.0, 2.0, 1.9)]);
        assert!(fit.attention == 0.0 && fit.unit > 1.8);
        // Windows: as much attention in each, nothing to tell the two apart by.
        let fit = Rates::fit(&[(1.0, 5.0, 2.0), (1.0, 5.0, 2.0)]);
        assert!((fit.seconds(1.0, 5.0) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn three_lengths_are_needed() {
        assert!(check(&[1, 2, 2], 8).is_err());
        assert!(check(&[1, 2, 3], 0).is_err());
        assert!(check(&[1, 2, 3], 8).is_ok());
    }
}
