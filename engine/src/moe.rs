//! Gated networks and mixtures of them: tokens are grouped by expert, each token's experts added in one order.

use crate::forward::{add_bias, matmul, matmuls};
use crate::kernels;
use crate::layer_major::Reader;
use crate::spare;
use crate::spec::{Activation, ChoiceBias, GroupScore, Groups, Moe, ScoreOn, Scoring};
use crate::weights::{Experts, Gated};

/// down(act(gate x) * up x), with biases if `biased`: [n, dim] to [n, dim].
pub(crate) fn gated(x: &[f32], w: &Gated, activation: Activation, biased: bool) -> Vec<f32> {
    let (mut gate, mut up) = match &w.up {
        Some(up) => matmuls(x, [&w.gate, up]).into(),
        None => matmul(x, &w.gate)
            .as_chunks()
            .0
            .iter()
            .map(|&[gate, up]| (gate, up))
            .unzip(),
    };
    if biased {
        add_bias(&mut gate, &w.bias.gate);
        add_bias(&mut up, &w.bias.up);
    }
    match activation {
        Activation::Silu => kernels::silu_mul(&mut gate, &up),
        Activation::GeluTanh => kernels::gelu_tanh_mul(&mut gate, &up),
        Activation::ClampedSwiglu { limit, alpha } => {
            kernels::clamped_swiglu_mul(&mut gate, &up, limit, alpha);
        }
    }
    let mut out = matmul(&gate, &w.down);
    spare::give([gate, up]);
    if biased {
        add_bias(&mut out, &w.bias.down);
    }
    out
}

/// A token's place in an expert's work.
struct Routed {
    token: usize,
    score: f32,
}

/// Shared expert first, then each token's routed experts in ascending order: [n, dim] to [n, dim].
pub(crate) fn moe(
    x: &[f32],
    dim: usize,
    spec: &Moe,
    w: &Experts,
    reader: Option<&Reader>,
) -> Vec<f32> {
    let mut work: Vec<Vec<Routed>> = w.routed.iter().map(|_| Vec::new()).collect();
    let mut logits = matmul(x, &w.router);
    if spec.biases {
        add_bias(&mut logits, &w.router_bias);
    }
    for (token, logits) in logits.chunks_exact(spec.n_experts).enumerate() {
        for (expert, score) in route(logits, &w.choice_bias, spec) {
            work[expert].push(Routed { token, score });
        }
    }
    spare::give([logits]);
    if let Some(reader) = reader {
        let used = w.routed.iter().zip(&work).filter(|(_, w)| !w.is_empty());
        used.for_each(|(expert, _)| reader.read(expert.matrices()));
    }
    // A fault may leave the shared expert out.
    let shared = w
        .shared
        .as_ref()
        .filter(|_| spec.shared_hidden_dim.is_some());
    let mut out = match shared {
        Some(w) => gated(x, w, spec.activation, false),
        None => vec![0.0; x.len()],
    };
    let on_input = matches!(spec.score_on, ScoreOn::Input | ScoreOn::InputAndOutput);
    let on_output = matches!(spec.score_on, ScoreOn::Output | ScoreOn::InputAndOutput);
    for (w, routed) in w.routed.iter().zip(&work) {
        if routed.is_empty() {
            continue;
        }
        let mut input = Vec::with_capacity(routed.len() * dim);
        for r in routed {
            let factor = if on_input { r.score } else { 1.0 };
            input.extend(x[r.token * dim..][..dim].iter().map(|v| v * factor));
        }
        let y = gated(&input, w, spec.activation, spec.biases);
        for (r, y) in routed.iter().zip(y.chunks_exact(dim)) {
            let factor = if on_output { r.score } else { 1.0 };
            out[r.token * dim..][..dim]
                .iter_mut()
                .zip(y)
                .for_each(|(o, y)| *o += y * factor);
        }
        spare::give([y]);
    }
    out
}

/// The experts of one token and their scores; among equals the first expert wins.
fn route(logits: &[f32], choice_bias: &[f32], spec: &Moe) -> Vec<(usize, f32)> {
    let mut all: Vec<f32> = match spec.scoring {
        Scoring::Sigmoid => logits.iter().map(|&l| kernels::sigmoid(l)).collect(),
        Scoring::SoftmaxAll => {
            let mut all = logits.to_vec();
            kernels::softmax(&mut all);
            all
        }
        Scoring::SoftmaxChosen => logits.to_vec(),
    };
    // Scores grow with the logits, which are the finer measure where nothing is added to the scores.
    let mut rank = match spec.groups {
        None if spec.choice_bias == ChoiceBias::None => logits.to_vec(),
        _ => all.clone(),
    };
    if spec.choice_bias != ChoiceBias::None {
        rank.iter_mut().zip(choice_bias).for_each(|(r, b)| *r += b);
    }
    if spec.choice_bias == ChoiceBias::ChoiceAndScore {
        all.clone_from(&rank);
    }
    if let Some(groups) = spec.groups {
        leave_groups_out(&mut rank, groups);
    }
    let mut chosen = best(&rank, spec.n_used);
    chosen.sort_unstable();
    let mut scores: Vec<f32> = chosen.iter().map(|&e| all[e]).collect();
    if spec.scoring == Scoring::SoftmaxChosen {
        kernels::softmax(&mut scores);
    }
    if spec.normalise {
        let sum: f32 = scores.iter().sum();
        scores.iter_mut().for_each(|s| *s /= sum);
    }
    chosen
        .into_iter()
        .zip(scores.into_iter().map(|s| s * spec.score_scale))
        .collect()
}

/// The indices of the `n` largest values, the largest first.
fn best(values: &[f32], n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    order.truncate(n);
    order
}

/// Puts the experts of all groups but the best ones last.
fn leave_groups_out(rank: &mut [f32], groups: Groups) {
    let size = rank.len() / groups.n;
    let counted = match groups.by {
        GroupScore::Best => 1,
        GroupScore::TwoBest => 2,
    };
    let scores: Vec<f32> = rank
        .chunks_exact(size)
        .map(|group| best(group, counted).iter().map(|&e| group[e]).sum())
        .collect();
    let kept = best(&scores, groups.used);
    for (i, group) in rank.chunks_exact_mut(size).enumerate() {
        if !kept.contains(&i) {
            group.fill(f32::NEG_INFINITY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_first_expert() {
        let spec = Moe {
            scoring: Scoring::Sigmoid,
            ..Moe::plain(4, 2, 8, Activation::Silu)
        };
        let chosen: Vec<usize> = route(&[1.0, 2.0, 2.0, 2.0], &[], &spec)
            .iter()
            .map(|c| c.0)
            .collect();
        assert_eq!(chosen, [1, 2]);
    }

    /// Two groups of two: the sum of a group decides, then the biased score; the score itself is unbiased.
    #[test]
    fn groups_are_chosen_before_experts() {
        let mut spec = Moe {
            scoring: Scoring::Sigmoid,
            choice_bias: ChoiceBias::Choice,
            groups: Some(Groups {
                n: 2,
                used: 1,
                by: GroupScore::TwoBest,
            }),
            ..Moe::plain(4, 1, 8, Activation::Silu)
        };
        let (logits, bias) = ([3.0, -3.0, 1.0, 0.5], [0.0, 0.0, 0.0, 0.2]);
        assert_eq!(route(&logits, &bias, &spec), [(3, kernels::sigmoid(0.5))]);
        spec.groups = spec.groups.map(|g| Groups {
            by: GroupScore::Best,
            ..g
        });
        assert_eq!(route(&logits, &bias, &spec), [(0, kernels::sigmoid(3.0))]);
    }
}
