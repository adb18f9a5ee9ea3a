//! A model's spec in words: for `show`, the manifest and the report.

use fathom_engine::spec::{
    Ffn, LayerSpec, Mask, ModelSpec, Pairing, QkNormOrder, Residual, ScoreOn,
};

/// A run of layers that are alike, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerLine {
    /// `0-2`, `3`.
    pub layers: String,
    /// What they attend to and how.
    pub attention: String,
    /// Positions: rotary embedding, temperature.
    pub position: String,
    /// Feed-forward part.
    pub ffn: String,
}

/// Layers in words, runs of equal ones together.
pub fn layers(spec: &ModelSpec) -> Vec<LayerLine> {
    let mut lines: Vec<LayerLine> = Vec::new();
    let mut at = 0;
    for run in spec.layers.chunk_by(|a, b| a == b) {
        let layer = &run[0];
        let last = at + run.len() - 1;
        lines.push(LayerLine {
            layers: if run.len() == 1 {
                at.to_string()
            } else {
                format!("{at}-{last}")
            },
            attention: attention(layer),
            position: position(layer),
            ffn: ffn(layer),
        });
        at += run.len();
    }
    lines
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
    format!(
        "{} layers: {}{experts}",
        spec.layers.len(),
        kinds.join(", ")
    )
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
    let mut text = format!(
        "{}, {} heads x {}, {} kv",
        mask(layer.mask),
        a.n_heads,
        a.head_dim,
        a.n_kv_heads
    );
    if let Some(norm) = &a.qk_norm {
        text += match norm.order {
            QkNormOrder::BeforeRope => ", qk norm before rope",
            QkNormOrder::AfterRope => ", qk norm after rope",
        };
    }
    if let Some(cap) = a.softcap {
        text += &format!(", softcap {cap}");
    }
    if a.sinks {
        text += ", sinks";
    }
    if a.qkv_bias || a.out_bias {
        text += ", biases";
    }
    if layer.residual == Residual::Parallel {
        text += ", parallel";
    }
    text
}

fn position(layer: &LayerSpec) -> String {
    let mut text = match &layer.attention.rope {
        None => "none".to_owned(),
        Some(rope) => {
            let pairing = match rope.pairing {
                Pairing::Interleaved => "interleaved",
                Pairing::Half => "halves",
            };
            format!("rope {} {pairing}, {}", rope.rotary_dim(), rope.origin)
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
        Ffn::Moe(m) => {
            let shared = m
                .shared_hidden_dim
                .map_or(String::new(), |n| format!(" + shared {n}"));
            let on = match m.score_on {
                ScoreOn::Input => "input",
                ScoreOn::Output => "output",
                ScoreOn::InputAndOutput => "input and output",
            };
            format!(
                "{} of {} experts x {}{shared}, score on {on}",
                m.n_used, m.n_experts, m.hidden_dim
            )
        }
    }
}
