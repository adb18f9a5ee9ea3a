//! Options compared by their log-likelihood.

use super::Judged;
use crate::item::Scorer;
use crate::record::OptionScore;
use crate::rng::derive;

/// The options of a question when they are scored by log-likelihood, and the index of the right one; `None` where a
/// scorer has none. The order depends on the question alone, and the right one stands anywhere in it.
pub fn options(scorer: &Scorer, question: &str) -> Option<(Vec<String>, usize)> {
    match scorer {
        Scorer::ContainsAll {
            references,
            distractors,
        } if references.len() == 1 && !distractors.is_empty() => {
            let mut options = distractors.clone();
            let correct = (derive(0, question, 0, "option") % (options.len() as u64 + 1)) as usize;
            options.insert(correct, references[0].clone());
            Some((options, correct))
        }
        Scorer::Choice { options, correct } => Some((options.clone(), *correct)),
        Scorer::Claim { truth, .. } => Some((
            vec!["true".to_owned(), "false".to_owned()],
            usize::from(!truth),
        )),
        _ => None,
    }
}

/// What a guess among `n` options scores.
pub fn chance_of_options(n: usize) -> f64 {
    1.0 / n.max(1) as f64
}

/// Judges options by the sum of their tokens' log probabilities: right when the right one has the largest. Options that
/// share the largest share the point. Options that are not numbers count as least likely.
///
/// Detail: `per_token`, the same by the mean per token (which does not favour short options); `margin`, the right
/// option's sum less the best wrong one's, in nats.
pub fn likeliest(scores: &[OptionScore], correct: usize) -> Judged {
    let sums: Vec<f64> = scores.iter().map(|s| number(s.logprob)).collect();
    let means: Vec<f64> = scores
        .iter()
        .map(|s| number(s.logprob) / s.tokens.max(1) as f64)
        .collect();
    let Some(&right) = sums.get(correct) else {
        return Judged::of(0.0);
    };
    let wrong = sums
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != correct)
        .map(|(_, s)| *s)
        .fold(f64::NEG_INFINITY, f64::max);
    let judged =
        Judged::of(share_of_best(&sums, correct)).with("per_token", share_of_best(&means, correct));
    let margin = right - wrong;
    if margin.is_finite() {
        judged.with("margin", margin)
    } else {
        judged
    }
}

fn number(logprob: f64) -> f64 {
    if logprob.is_nan() {
        f64::NEG_INFINITY
    } else {
        logprob
    }
}

fn share_of_best(scores: &[f64], correct: usize) -> f64 {
    let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let ties = scores.iter().filter(|&&s| s == best).count();
    if scores[correct] == best {
        1.0 / ties.max(1) as f64
    } else {
        0.0
    }
}
