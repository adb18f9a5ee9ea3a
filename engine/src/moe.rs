//! Gated networks and mixtures of them: tokens are grouped by expert, each token's experts added in one order.

use crate::forward::matmul;
use crate::kernels;
use crate::spec::{Activation, Moe, ScoreOn, Scoring};
use crate::weights::{Gated, Weight};

/// down(act(gate x) * up x): [n, dim] to [n, dim].
pub(crate) fn gated(x: &[f32], w: &Gated, activation: Activation) -> Vec<f32> {
    let (mut gate, up) = (matmul(x, &w.gate), matmul(x, &w.up));
    match activation {
        Activation::Silu => kernels::silu_mul(&mut gate, &up),
        Activation::GeluTanh => kernels::gelu_tanh_mul(&mut gate, &up),
        Activation::ClampedSwiglu { .. } => unreachable!("refused by ModelSpec::check"),
    }
    matmul(&gate, &w.down)
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
    router: &Weight,
    experts: &[Gated],
    shared: Option<&Gated>,
) -> Vec<f32> {
    let mut work: Vec<Vec<Routed>> = experts.iter().map(|_| Vec::new()).collect();
    for (token, logits) in matmul(x, router).chunks_exact(spec.n_experts).enumerate() {
        for (expert, score) in route(logits, spec) {
            work[expert].push(Routed { token, score });
        }
    }
    let mut out = match shared {
        Some(w) => gated(x, w, spec.activation),
        None => vec![0.0; x.len()],
    };
    let on_input = matches!(spec.score_on, ScoreOn::Input | ScoreOn::InputAndOutput);
    let on_output = matches!(spec.score_on, ScoreOn::Output | ScoreOn::InputAndOutput);
    for (w, routed) in experts.iter().zip(&work) {
        if routed.is_empty() {
            continue;
        }
        let mut input = Vec::with_capacity(routed.len() * dim);
        for r in routed {
            let factor = if on_input { r.score } else { 1.0 };
            input.extend(x[r.token * dim..][..dim].iter().map(|v| v * factor));
        }
        let y = gated(&input, w, spec.activation);
        for (r, y) in routed.iter().zip(y.chunks_exact(dim)) {
            let factor = if on_output { r.score } else { 1.0 };
            out[r.token * dim..][..dim]
                .iter_mut()
                .zip(y)
                .for_each(|(o, y)| *o += y * factor);
        }
    }
    out
}

/// The experts of one token and their scores; among equal logits the first expert wins.
fn route(logits: &[f32], spec: &Moe) -> Vec<(usize, f32)> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    let mut chosen = order[..spec.n_used].to_vec();
    chosen.sort_unstable();
    let mut scores: Vec<f32> = match spec.scoring {
        Scoring::Sigmoid => chosen
            .iter()
            .map(|&e| kernels::sigmoid(logits[e]))
            .collect(),
        Scoring::SoftmaxAll => {
            let mut all = logits.to_vec();
            kernels::softmax(&mut all);
            chosen.iter().map(|&e| all[e]).collect()
        }
        Scoring::SoftmaxChosen => {
            let mut some: Vec<f32> = chosen.iter().map(|&e| logits[e]).collect();
            kernels::softmax(&mut some);
            some
        }
    };
    if spec.normalise {
        let sum: f32 = scores.iter().sum();
        scores.iter_mut().for_each(|s| *s /= sum);
    }
    chosen
        .into_iter()
        .zip(scores.into_iter().map(|s| s * spec.score_scale))
        .collect()
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
        let chosen: Vec<usize> = route(&[1.0, 2.0, 2.0, 2.0], &spec)
            .iter()
            .map(|c| c.0)
            .collect();
        assert_eq!(chosen, [1, 2]);
    }
}
