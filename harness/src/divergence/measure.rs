//! One position: how far a candidate's distribution is from the reference's.

use crate::backend::sample::{argmax, log_sum_exp};

/// Largest divergence that is told, nats: where the candidate excludes what the reference allows, there is no limit.
pub const MOST: f64 = 1e30;

/// A distribution over the next token.
#[derive(Clone, Copy, Debug)]
pub enum Row<'a> {
    /// All of it.
    Full {
        /// [n_vocab].
        logits: &'a [f32],
        /// log Σ exp of them.
        log_sum_exp: f64,
    },
    /// The largest logits.
    Top {
        /// Their ids, the most probable first.
        ids: &'a [u32],
        /// Their logits.
        logits: &'a [f32],
        /// log Σ exp of all logits.
        log_sum_exp: f64,
        /// Logit of the token that follows in the text; NaN behind the last.
        next: f32,
    },
}

impl<'a> Row<'a> {
    /// A row of all logits.
    pub fn full(logits: &'a [f32]) -> Self {
        let log_sum_exp = log_sum_exp(logits);
        Self::Full {
            logits,
            log_sum_exp,
        }
    }
}

/// What is known of a candidate at a position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// Kullback-Leibler divergence D(reference || candidate), nats; a lower bound where only a part is known.
    pub kl: f64,
    /// Upper bound of it; equal to `kl` where everything is known, [`MOST`] where there is none.
    pub kl_at_most: f64,
    /// The most probable tokens are the same.
    pub agree: bool,
    /// Log probability of the token that follows, candidate's minus reference's; `None` where it is not known.
    pub delta: Option<f64>,
}

/// Compares two rows; `next` is the token that follows in the text.
///
/// Of a reference that knows k tokens, the others have the mass r = 1 - Σ p. By the log sum inequality they add at least
/// r ln(r / s), where s is the candidate's mass there; and as none of them has more than p_k, at most what results when the
/// tokens that are least probable for the candidate have p_k each (a convex function has its maximum at a corner).
pub fn measure(reference: Row<'_>, candidate: Row<'_>, next: Option<u32>) -> Measure {
    let (kl, kl_at_most) = match (reference, candidate) {
        (
            Row::Full {
                logits: p,
                log_sum_exp: p_sum,
            },
            Row::Full {
                logits: q,
                log_sum_exp: q_sum,
            },
        ) => {
            let kl = full((p, p_sum), (q, q_sum));
            (kl, kl)
        }
        (
            Row::Top { ids, .. },
            Row::Full {
                logits,
                log_sum_exp,
            },
        ) => {
            let known: Vec<_> = ids
                .iter()
                .map(|id| (*id, logprob(candidate, *id)))
                .collect();
            let (low, rest, least) = partly(reference, &known);
            (
                low,
                low + at_most(rest, least, &known, (logits, log_sum_exp)),
            )
        }
        (_, Row::Top { ids, .. }) => {
            let shared = ids.iter().filter(|id| logprob(reference, **id).is_some());
            let known: Vec<_> = shared.map(|id| (*id, logprob(candidate, *id))).collect();
            (partly(reference, &known).0, MOST)
        }
    };
    // Of a token that the reference excludes, no change can be told.
    let known = next.and_then(|id| Some((of_next(reference, id)?, of_next(candidate, id)?)));
    let delta = known.filter(|(p, _)| p.is_finite()).map(|(p, q)| q - p);
    Measure {
        kl: bounded(kl),
        kl_at_most: bounded(kl_at_most),
        agree: first(reference) == first(candidate),
        delta: delta.map(|d| if d.is_finite() { d } else { -MOST }),
    }
}

fn bounded(kl: f64) -> f64 {
    if kl.is_nan() {
        MOST
    } else {
        kl.clamp(0.0, MOST)
    }
}

fn full((p, p_sum): (&[f32], f64), (q, q_sum): (&[f32], f64)) -> f64 {
    let terms = p.iter().zip(q).map(|(p, q)| {
        let log_p = f64::from(*p) - p_sum;
        let weight = log_p.exp();
        if weight == 0.0 {
            0.0
        } else {
            weight * (log_p - (f64::from(*q) - q_sum))
        }
    });
    terms.sum()
}

/// The divergence of the partition into the `known` tokens and all others, the others' mass in the reference, and the
/// reference's least known probability.
fn partly(reference: Row<'_>, known: &[(u32, Option<f64>)]) -> (f64, f64, f64) {
    let (mut sum, mut p_rest, mut q_rest, mut least) = (0.0, 1.0, 1.0, 1.0f64);
    for (id, log_q) in known {
        let (Some(log_p), Some(log_q)) = (logprob(reference, *id), log_q) else {
            continue;
        };
        let p = log_p.exp();
        if p > 0.0 {
            sum += p * (log_p - log_q);
        }
        p_rest -= p;
        q_rest -= log_q.exp();
        least = least.min(p);
    }
    // What rounding leaves of nothing is nothing.
    let p_rest: f64 = if p_rest < 1e-12 { 0.0 } else { p_rest };
    if p_rest > 0.0 {
        sum += p_rest * (p_rest / f64::max(q_rest, 1e-12)).ln();
    }
    (sum, p_rest, least)
}

/// How much more than the lower bound the tokens beside the known ones can add.
fn at_most(rest: f64, least: f64, known: &[(u32, Option<f64>)], (q, q_sum): (&[f32], f64)) -> f64 {
    if rest <= 0.0 {
        return 0.0;
    }
    let mut others: Vec<f64> = (0u32..)
        .zip(q)
        .filter(|(id, _)| !known.iter().any(|(k, _)| k == id))
        .map(|(_, x)| f64::from(*x) - q_sum)
        .collect();
    let mass: f64 = others.iter().map(|x| x.exp()).sum();
    others.sort_by(f64::total_cmp);
    let (mut left, mut sum) = (rest, 0.0);
    for log_q in others {
        let p = left.min(least);
        if p <= 0.0 {
            break;
        }
        sum += p * (p.ln() - log_q);
        left -= p;
    }
    sum - rest * (rest / mass.max(1e-300)).ln()
}

/// Log probability of a token, where it is known.
fn logprob(row: Row<'_>, id: u32) -> Option<f64> {
    match row {
        Row::Full {
            logits,
            log_sum_exp,
        } => Some(f64::from(*logits.get(id as usize)?) - log_sum_exp),
        Row::Top {
            ids,
            logits,
            log_sum_exp,
            ..
        } => {
            let place = ids.iter().position(|known| *known == id)?;
            Some(f64::from(*logits.get(place)?) - log_sum_exp)
        }
    }
}

fn of_next(row: Row<'_>, id: u32) -> Option<f64> {
    match row {
        Row::Top {
            next, log_sum_exp, ..
        } if next.is_finite() => Some(f64::from(next) - log_sum_exp),
        _ => logprob(row, id),
    }
}

fn first(row: Row<'_>) -> Option<u32> {
    match row {
        Row::Full { logits, .. } => Some(argmax(logits)),
        Row::Top { ids, .. } => ids.first().copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: [f32; 5] = [2.0, 1.0, 0.0, -1.0, -3.0];
    const Q: [f32; 5] = [1.5, 1.2, 0.3, -2.0, -1.0];

    fn top(logits: &[f32], k: usize, next: f32) -> (Vec<u32>, Vec<f32>, f64, f32) {
        // The test's logits of the reference are in order.
        (
            (0..k as u32).collect(),
            logits[..k].to_vec(),
            log_sum_exp(logits),
            next,
        )
    }

    #[test]
    fn the_divergence_is_the_formula_and_nothing_of_the_same() {
        let soft = |x: &[f32]| {
            let z: f64 = x.iter().map(|x| f64::from(*x).exp()).sum();
            x.iter()
                .map(|x| f64::from(*x).exp() / z)
                .collect::<Vec<_>>()
        };
        let expected: f64 = soft(&P)
            .iter()
            .zip(soft(&Q))
            .map(|(p, q)| p * (p / q).ln())
            .sum();
        let found = measure(Row::full(&P), Row::full(&Q), Some(3));
        assert!((found.kl - expected).abs() < 1e-12 && found.agree);
        assert!((found.delta.unwrap_or(0.0) - (soft(&Q)[3] / soft(&P)[3]).ln()).abs() < 1e-12);
        let same = measure(Row::full(&P), Row::full(&P), None);
        assert_eq!((same.kl, same.agree, same.delta), (0.0, true, None));
    }

    #[test]
    fn a_known_part_bounds_the_divergence() {
        let exact = measure(Row::full(&P), Row::full(&Q), Some(4));
        let mut before = 0.0;
        for k in 1..=5 {
            let (ids, logits, log_sum_exp, next) = top(&P, k, P[4]);
            let reference = Row::Top {
                ids: &ids,
                logits: &logits,
                log_sum_exp,
                next,
            };
            let found = measure(reference, Row::full(&Q), Some(4));
            assert!(
                found.kl <= exact.kl + 1e-12 && found.kl_at_most >= exact.kl - 1e-12,
                "{k}: {found:?}"
            );
            assert!(found.kl >= before - 1e-12, "{k}");
            assert!((found.delta.unwrap_or(0.0) - exact.delta.unwrap_or(1.0)).abs() < 1e-6);
            before = found.kl;
        }
        assert!((before - exact.kl).abs() < 1e-6);
    }

    #[test]
    fn what_is_no_number_has_no_limit() {
        let broken = [f32::NAN, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(measure(Row::full(&P), Row::full(&broken), Some(1)).kl, MOST);
        let excluded = [f32::NEG_INFINITY, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(measure(Row::full(&P), Row::full(&excluded), None).kl, MOST);
    }
}
