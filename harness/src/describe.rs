//! A model's spec in words: for `show`, the manifest and the report.

use fathom_engine::spec::{
    ChoiceBias, Ffn, GroupScore, LayerSpec, Mask, ModelSpec, Moe, NormKind, Pairing, QkNormOrder,
    Residual, ScoreOn, Scoring, Temperature,
};

/// Layers that are alike, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerLine {
    /// Which: `3`, `0-2, 4-6 .. 44-46 (36 layers)`.
    pub layers: String,
    /// What they attend to and how.
    pub attention: String,
    /// Positions: rotary embedding, temperature.
    pub position: String,
    /// Feed-forward part.
    pub ffn: String,
}

/// Layers in words, equal ones together, in the order of the first of each.
pub fn layers(spec: &ModelSpec) -> Vec<LayerLine> {
    let mut kinds: Vec<(&LayerSpec, Vec<usize>)> = Vec::new();
    for (i, layer) in spec.layers.iter().enumerate() {
        match kinds.iter_mut().find(|(kind, _)| *kind == layer) {
            Some((_, members)) => members.push(i),
            None => kinds.push((layer, vec![i])),
        }
    }
    let line = |(layer, members): &(&LayerSpec, Vec<usize>)| LayerLine {
        layers: ranges(members),
        attention: attention(layer),
        position: position(layer),
        ffn: ffn(layer),
    };
    kinds.iter().map(line).collect()
}

/// Ascending numbers as runs, those in the middle left out where there are many.
fn ranges(numbers: &[usize]) -> String {
    let runs: Vec<String> = numbers
        .chunk_by(|a, b| a + 1 == *b)
        .map(|run| match run {
            [one] => one.to_string(),
            run => format!("{}-{}", run[0], run[run.len() - 1]),
        })
        .collect();
    match runs.as_slice() {
        [first, second, _, .., last] => {
            format!("{first}, {second} .. {last} ({} layers)", numbers.len())
        }
        few => few.join(", "),
    }
}

/// What stands outside of the layers, and what holds for all of them: (name, in words).
pub fn outside(spec: &ModelSpec) -> Vec<(&'static str, String)> {
    let mut facts = vec![("norms", norms(spec))];
    if spec.embedding_scale != 1.0 {
        facts.push(("embeddings", format!("x {:.4}", spec.embedding_scale)));
    }
    let scale = (spec.logit_scale != 1.0).then(|| format!("x {}", spec.logit_scale));
    let cap = spec.logit_softcap.map(|c| format!("soft cap {c}"));
    let logits: Vec<_> = scale.into_iter().chain(cap).collect();
    if !logits.is_empty() {
        facts.push(("logits", logits.join(", ")));
    }
    if let Some(t) = spec.layers.iter().find_map(|l| l.attention.temperature) {
        facts.push(("temperature", steps(t)));
    }
    facts
}

fn norms(spec: &ModelSpec) -> String {
    let norm = spec.final_norm;
    let kind = match norm.kind {
        NormKind::Rms => "RMS",
        NormKind::Layer => "LayerNorm",
    };
    let mut text = format!("{kind}, eps {:e}", norm.eps);
    if norm.plus_one {
        text += ", times 1 + w";
    }
    let Some(layer) = spec.layers.first() else {
        return text;
    };
    text += match (layer.residual, layer.attn_post_norm.is_some()) {
        (Residual::Parallel, _) => ", one before both sublayers",
        (Residual::Sequential, true) => ", before and after each sublayer",
        (Residual::Sequential, false) => ", before each sublayer",
    };
    text
}

/// The first steps of an attention temperature.
fn steps(t: Temperature) -> String {
    let step = |n: usize| {
        let pos = t.start(n);
        format!("x {:.3} from position {pos}", t.factor(pos))
    };
    if t.floor < 1.0 {
        return format!("scale {} every {} tokens", t.scale, t.floor);
    }
    format!("queries {}, {}, {} ..", step(1), step(2), step(4))
}

/// One line for a whole model: `4 layers: 3 chunk(128), 1 full; 4 experts`.
pub fn summary(spec: &ModelSpec) -> String {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for layer in &spec.layers {
        let name = mask(layer.mask);
        match kinds.iter_mut().find(|(kind, _)| *kind == name) {
            Some((_, n)) => *n += 1,
            None => kinds.push((name, 1)),
        }
    }
    let kinds: Vec<_> = kinds
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    let experts = spec.layers.iter().filter_map(|l| match &l.ffn {
        Ffn::Moe(m) => Some(m.n_experts),
        Ffn::Dense { .. } => None,
    });
    let experts = experts
        .max()
        .map_or(String::new(), |n| format!("; {n} experts"));
    let repeats = period(&spec.layers).map_or(String::new(), |n| format!("; repeats every {n}"));
    format!(
        "{} layers: {}{experts}{repeats}",
        spec.layers.len(),
        kinds.join(", ")
    )
}

/// After how many layers all is the same again, where there is more than one kind.
fn period(layers: &[LayerSpec]) -> Option<usize> {
    (1..=layers.len() / 2)
        .find(|n| layers.iter().zip(&layers[*n..]).all(|(a, b)| a == b))
        .filter(|n| *n > 1)
}

fn mask(mask: Mask) -> String {
    match mask {
        Mask::Full => "full".to_owned(),
        Mask::Window(n) => format!("window({n})"),
        Mask::Chunk(n) => format!("chunk({n})"),
    }
}

fn attention(layer: &LayerSpec) -> String {
    let a = &layer.attention;
    let heads = format!("{}, {} heads x {}", mask(layer.mask), a.n_heads, a.head_dim);
    let mut text = match a.latent {
        None => format!("{heads}, {} kv", a.n_kv_heads),
        Some(l) => {
            let q = l
                .q_rank
                .map_or(String::new(), |rank| format!(", q rank {rank}"));
            format!(
                "{heads}, latent {} + {} rotated, values {}{q}",
                l.kv_rank, l.rope_dim, l.v_dim
            )
        }
    };
    if let Some(norm) = &a.qk_norm {
        text += match norm.order {
            QkNormOrder::BeforeRope => ", qk norm before rope",
            QkNormOrder::AfterRope => ", qk norm after rope",
        };
    }
    if (f64::from(a.scale) * (a.head_dim as f64).sqrt() - 1.0).abs() > 1e-5 {
        text += &format!(", scores x {:.4}", a.scale);
    }
    if let Some(cap) = a.softcap {
        text += &format!(", softcap {cap}");
    }
    if a.sinks {
        text += ", sinks";
    }
    text += match (a.qkv_bias, a.out_bias) {
        (true, true) => ", biases",
        (true, false) => ", biases on q, k, v",
        (false, true) => ", bias on o",
        (false, false) => "",
    };
    if layer.residual == Residual::Parallel {
        text += ", parallel";
    }
    text
}

fn position(layer: &LayerSpec) -> String {
    let mut text = match &layer.attention.rope {
        None => "no positions".to_owned(),
        Some(rope) => {
            let pairing = match rope.pairing {
                Pairing::Interleaved => "interleaved",
                Pairing::Half => "halves",
            };
            let long = rope.long.as_ref().map_or(String::new(), |(limit, _)| {
                format!(", its long list beyond {limit} tokens")
            });
            let origin = &rope.origin;
            format!("rope {} {pairing}, {origin}{long}", rope.rotary_dim())
        }
    };
    if let Some(t) = &layer.attention.temperature {
        text += &format!(", temperature {} every {}", t.scale, t.floor);
    }
    text
}

fn ffn(layer: &LayerSpec) -> String {
    match &layer.ffn {
        Ffn::Dense { hidden_dim, .. } => format!("dense {hidden_dim}"),
        Ffn::Moe(m) => experts(m),
    }
}

fn experts(m: &Moe) -> String {
    let mut text = format!("{} of {} experts x {}", m.n_used, m.n_experts, m.hidden_dim);
    if let Some(n) = m.shared_hidden_dim {
        text += &format!(" + shared {n}");
    }
    if let Some(g) = m.groups {
        let by = match g.by {
            GroupScore::Best => "best expert",
            GroupScore::TwoBest => "two best experts",
        };
        text += &format!(" from {} of {} groups by their {by}", g.used, g.n);
    }
    text += match m.choice_bias {
        ChoiceBias::None => "",
        ChoiceBias::Choice => ", choice biased",
        ChoiceBias::ChoiceAndScore => ", choice and score biased",
    };
    text += match m.scoring {
        Scoring::Sigmoid => ", sigmoid",
        Scoring::SoftmaxAll => ", softmax over all",
        Scoring::SoftmaxChosen => ", softmax over the chosen",
    };
    if m.normalise {
        text += ", sum 1";
    }
    if m.score_scale != 1.0 {
        text += &format!(", x {}", m.score_scale);
    }
    if m.biases {
        text += ", biases";
    }
    text += match m.score_on {
        ScoreOn::Input => ", score on input",
        ScoreOn::Output => ", score on output",
        ScoreOn::InputAndOutput => ", score on input and output",
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_runs_are_left_out() {
        assert_eq!(ranges(&[3]), "3");
        assert_eq!(ranges(&[0, 1, 2, 4, 6, 7]), "0-2, 4, 6-7");
        let windowed: Vec<usize> = (0..62).filter(|i| (i + 1) % 6 != 0).collect();
        assert_eq!(ranges(&windowed), "0-4, 6-10 .. 60-61 (52 layers)");
    }
}
