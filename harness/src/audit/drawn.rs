//! How a service chooses tokens: whether the temperature and the share (top-p) that are asked for are those that it uses.
//!
//! Log probabilities tell nothing of it, so answers are asked for: the same one twice without sampling, then two that are drawn at
//! temperature 1. Every token that comes is held against what was probable there, by the reference after the same text, or by what the
//! service tells of that place. A rule of choosing is the ratio of likelihoods to the rule that was asked for: an e-value, as the
//! rules were fixed beforehand.

use std::collections::BTreeMap;

use crate::audit::choices::GREEDY;
use crate::audit::refine::Refined;
use crate::backend::sample::log_sum_exp;

/// Probability that a token comes for no reason that is known.
const ASTRAY: f64 = 0.01;

/// A rule that somebody may choose tokens by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Drawn at this temperature; 0: the most probable token.
    Temperature(f64),
    /// Drawn from the fewest tokens that have this share.
    TopP(f64),
    /// Drawn from so many of the most probable.
    TopK(usize),
    /// Drawn from those that have at least this share of the most probable one's probability.
    MinP(f64),
}

/// A place of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// Log probabilities of the most probable tokens, nats, best first; the rest has what they leave.
    pub top: Vec<f64>,
    /// Which of them came; none: another one.
    pub came: Option<usize>,
}

/// Rules that are held against temperature 0.
const NOT_GREEDY: [Rule; 3] = [
    Rule::Temperature(0.5),
    Rule::Temperature(0.7),
    Rule::Temperature(1.0),
];
/// Rules that are held against temperature 1.
pub const NOT_DRAWN: [Rule; 14] = [
    Rule::Temperature(0.0),
    Rule::Temperature(0.3),
    Rule::Temperature(0.5),
    Rule::Temperature(0.7),
    Rule::Temperature(0.85),
    Rule::Temperature(1.3),
    Rule::TopP(0.5),
    Rule::TopP(0.8),
    Rule::TopP(0.9),
    Rule::TopP(0.95),
    Rule::TopK(20),
    Rule::TopK(40),
    Rule::MinP(0.05),
    Rule::MinP(0.1),
];

impl Rule {
    /// The fault that it is where another one was asked for.
    pub fn name(self) -> String {
        match self {
            Self::Temperature(t) => format!("forced-temperature={}", short(t)),
            Self::TopP(p) => format!("forced-top-p={}", short(p)),
            Self::TopK(k) => format!("forced-top-k={k}"),
            Self::MinP(p) => format!("forced-min-p={}", short(p)),
        }
    }

    /// Its number.
    pub fn value(self) -> f64 {
        match self {
            Self::Temperature(x) | Self::TopP(x) | Self::MinP(x) => x,
            Self::TopK(k) => k as f64,
        }
    }

    fn same_kind(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    /// Rules of the same kind, finely.
    fn like(self) -> Vec<Self> {
        let share = |i: u32| f64::from(i) / 100.0;
        match self {
            Self::Temperature(_) => (0..=40)
                .map(|i| Self::Temperature(share(5 * i)))
                .filter(|t| *t != Self::Temperature(0.05) && *t != Self::Temperature(GREEDY))
                .collect(),
            Self::TopP(_) => (20..100).map(|i| Self::TopP(share(i))).collect(),
            // One is temperature 0.
            Self::TopK(_) => (2..=100).map(Self::TopK).collect(),
            Self::MinP(_) => (1..=50).map(|i| Self::MinP(share(i))).collect(),
        }
    }

    /// Log probability of what came.
    pub fn log(self, place: &Place) -> f64 {
        let top = &place.top;
        let known: f64 = top.iter().map(|l| l.exp()).sum();
        let rest = (1.0 - known).max(0.0);
        let share = match self {
            Self::Temperature(t) => {
                let t = t.max(GREEDY);
                let best = top.first().copied().unwrap_or(0.0);
                let mut logs: Vec<f64> = top.iter().map(|l| (l - best) / t).collect();
                // The rest as so many tokens as have no more each than the last that is known.
                let last = top.last().map_or(rest, |l| l.exp());
                let n = (rest / last.max(1e-12)).max(1.0);
                logs.push(n.ln() + ((rest / n).max(1e-30).ln() - best) / t);
                (logs[place.came.unwrap_or(top.len())] - log_sum_exp(&logs)).exp()
            }
            Self::TopP(p) => {
                let mut sum = 0.0;
                let mut last = 0;
                while last < top.len() && sum < p {
                    sum += top[last].exp();
                    last += 1;
                }
                match place.came {
                    Some(k) if k < last => top[k].exp() / sum.max(p),
                    Some(_) => 0.0,
                    None => (p - sum).max(0.0) / p,
                }
            }
            Self::TopK(k) if k <= top.len() => within(place, k),
            Self::TopK(_) => within(place, usize::MAX),
            Self::MinP(share) => {
                let least = top.first().copied().unwrap_or(0.0) + share.ln();
                let n = top.iter().take_while(|l| **l >= least).count();
                within(place, if n < top.len() { n } else { usize::MAX })
            }
        };
        let astray = ASTRAY / (top.len() + 1) as f64;
        ((1.0 - ASTRAY) * share + astray).ln()
    }

    /// Log probability of all that came.
    pub fn logs(self, places: &[Place]) -> f64 {
        places.iter().map(|place| self.log(place)).sum()
    }

    /// Probability of what came or anything that is no more probable.
    pub fn tail(self, place: &Place) -> f64 {
        let mut other = place.clone();
        let mut share = |k| {
            other.came = Some(k);
            self.log(&other).exp()
        };
        let more = 0..place.came.unwrap_or(place.top.len());
        1.0 - more.map(&mut share).sum::<f64>()
    }
}

/// Probability of what came when the `n` most probable tokens are drawn from; all, where that is more than are known.
fn within(place: &Place, n: usize) -> f64 {
    let all: f64 = place.top.iter().map(|l| l.exp()).sum();
    let mass = match n <= place.top.len() {
        true => place.top[..n].iter().map(|l| l.exp()).sum(),
        false => 1.0_f64.max(all),
    };
    match place.came {
        Some(k) if k < n => place.top[k].exp() / mass.max(1e-12),
        None if n > place.top.len() => (1.0 - all).max(0.0),
        _ => 0.0,
    }
}

/// A number with no more places than it needs.
fn short(x: f64) -> String {
    format!("{}", (x * 100.0).round() / 100.0)
}

/// What was found out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The rules that are used in place of the one that was asked for; more than one where they cannot be told apart.
    pub forced: Vec<Refined>,
    /// The likeliest of them.
    pub best: Option<Rule>,
    /// For every rule that was thought of, the log of the likelihood ratio of the one that was asked for to it.
    pub against: BTreeMap<String, f64>,
}

/// Holds answers against the rule that was asked for: temperature 0 (`asked` 0) or 1.
///
/// Of two answers without sampling whose texts do not `differ` nothing more is asked: whatever chose them, drew nothing.
pub fn judge(answers: &[Vec<Place>], asked: f64, differ: bool, alpha: f64) -> Found {
    let rules: &[Rule] = if asked == 0.0 {
        &NOT_GREEDY
    } else {
        &NOT_DRAWN
    };
    let places: Vec<Place> = answers.iter().flatten().cloned().collect();
    let own = Rule::Temperature(asked).logs(&places);
    let gain = |rule: Rule| rule.logs(&places) - own;
    let against = rules.iter().map(|rule| (rule.name(), -gain(*rule)));
    let against: BTreeMap<String, f64> = against.collect();
    let bound = -alpha.ln();
    let all: Vec<f64> = rules.iter().map(|rule| gain(*rule)).collect();
    // The bet on all of them alike.
    let worth = log_sum_exp(&all) - (all.len() as f64).ln();
    if places.is_empty() || worth < bound || (asked == 0.0 && !differ) {
        return Found {
            against,
            ..Found::default()
        };
    }
    // Where nothing but the most probable token came, rules that leave no other are one.
    let rules = match asked > 0.0 && places.iter().all(|p| p.came == Some(0)) {
        true => &rules[..1],
        false => rules,
    };
    // The most likely rule of each kind, and those kinds that are not much less likely than the best.
    let mut kinds: Vec<(Rule, f64)> = Vec::new();
    let interval = |best: Rule, gain_of: f64| {
        let near = best.like().into_iter();
        let near = near.filter(|rule| gain(*rule) > gain_of - bound);
        near.map(Rule::value)
            .fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], v| {
                [a.min(v), b.max(v)]
            })
    };
    for (i, rule) in rules.iter().enumerate() {
        if rules[..i].iter().any(|r| r.same_kind(*rule)) {
            continue;
        }
        let finer = rule.like().into_iter().map(|r| (r, gain(r)));
        kinds.extend(finer.max_by(|a, b| a.1.total_cmp(&b.1)));
    }
    let best = kinds.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    let most = best.map_or(0.0, |(_, gain)| gain);
    kinds.retain(|(_, gain)| *gain > most - bound && *gain > 0.0);
    let forced = kinds.iter().map(|(rule, gain)| Refined {
        name: rule.name(),
        summary: "tokens are chosen by another rule than the one that was asked for".to_owned(),
        evidence: format!(
            "{} tokens that were asked for at temperature {asked}: likelier by a factor of e^{gain:.1} by this rule",
            places.len()
        ),
        interval: Some(interval(*rule, *gain)),
    });
    Found {
        forced: forced.collect(),
        best: best.map(|(rule, _)| rule),
        against,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Places with a few likely tokens and many others, chosen by a rule.
    fn drawn(n: usize, seed: u64, rule: impl Fn(&[f64]) -> Vec<f64>) -> Vec<Place> {
        let mut rng = Rng::new(seed);
        let one = |_| {
            let mut logits: Vec<f64> = (0..80).map(|_| 2.0 * rng.normal()).collect();
            logits.sort_by(|a, b| b.total_cmp(a));
            let sum = log_sum_exp(&logits);
            let logs: Vec<f64> = logits.iter().map(|l| l - sum).collect();
            let weights = rule(&logs);
            let mut at = rng.uniform() * weights.iter().sum::<f64>();
            let came = weights.iter().position(|w| {
                at -= w;
                at < 0.0
            });
            let came = came.filter(|k| *k < 64);
            Place {
                top: logs[..64].to_vec(),
                came,
            }
        };
        (0..n).map(one).collect()
    }

    fn at(t: f64) -> impl Fn(&[f64]) -> Vec<f64> {
        move |logs| logs.iter().map(|l| (l / t).exp()).collect()
    }

    fn share(p: f64) -> impl Fn(&[f64]) -> Vec<f64> {
        move |logs| {
            let mut sum = 0.0;
            let mut keep = |l: &f64| {
                let inside = sum < p;
                sum += l.exp();
                if inside { l.exp() } else { 0.0 }
            };
            logs.iter().map(&mut keep).collect()
        }
    }

    fn names(found: &Found) -> Vec<&str> {
        found.forced.iter().map(|f| &*f.name).collect()
    }

    #[test]
    fn what_is_drawn_as_asked_is_seldom_called_forced() {
        let called = (0..400).filter(|seed| {
            let found = judge(&[drawn(128, *seed, at(1.0))], 1.0, true, 0.05);
            !found.forced.is_empty()
        });
        // By the guarantee at most 5 % of 400; by far fewer in truth, as bets are many.
        assert!(called.count() <= 12);
    }

    #[test]
    fn a_forced_rule_is_named_with_about_its_value() {
        for t in [0.2, 0.6, 1.4] {
            let found = judge(&[drawn(256, 3, at(t))], 1.0, true, 0.01);
            assert_eq!(found.forced.len(), 1, "{t}: {:?}", names(&found));
            let value = names(&found)[0].strip_prefix("forced-temperature=");
            let value: f64 = value.and_then(|v| v.parse().ok()).unwrap_or(0.0);
            assert!((value - t).abs() < 0.16, "{t}: {value}");
            let [low, high] = found.forced[0].interval.unwrap_or_default();
            assert!(low <= t && t <= high && high - low < 0.5, "{low} {high}");
            // What came is not improbable by it.
            let rule = found.best.unwrap_or(Rule::TopK(1));
            let far = drawn(256, 3, at(t));
            let far = far.iter().filter(|place| rule.tail(place) < 0.01).count();
            assert!(far < 10, "{t}: {far}");
        }
        let found = judge(&[drawn(256, 5, share(0.8))], 1.0, true, 0.01);
        let value = names(&found)[0].strip_prefix("forced-top-p=");
        let value: f64 = value.and_then(|v| v.parse().ok()).unwrap_or(0.0);
        assert!((0.75..0.86).contains(&value), "{:?}", names(&found));
        let top = |logs: &[f64]| -> Vec<f64> {
            let best = logs.iter().enumerate();
            best.map(|(i, l)| if i < 5 { l.exp() } else { 0.0 })
                .collect()
        };
        let found = judge(&[drawn(256, 7, top)], 1.0, true, 0.01);
        assert!(
            names(&found).contains(&"forced-top-k=5"),
            "{:?}",
            names(&found)
        );
    }

    #[test]
    fn answers_that_should_be_greedy_and_are_drawn_are_told() {
        let answers = [drawn(32, 1, at(1.0)), drawn(32, 2, at(1.0))];
        let found = judge(&answers, 0.0, true, 0.01);
        assert_eq!(found.forced.len(), 1);
        // Equal ones were not drawn, whatever they are.
        assert!(judge(&answers, 0.0, false, 0.01).forced.is_empty());
        let greedy = |_: &[f64]| std::iter::once(1.0).chain(vec![0.0; 79]).collect();
        let answers = [drawn(32, 1, greedy), drawn(32, 1, greedy)];
        let found = judge(&answers, 0.0, true, 0.01);
        assert!(found.forced.is_empty());
        assert!(found.against["forced-temperature=1"] > 5.0);
    }
}
