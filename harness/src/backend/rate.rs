//! How long the engine will take: multiply-adds from the spec, their rate from a short probe.

use fathom_engine::spec::{Ffn, Mask, ModelSpec};

/// Rates of this model on this machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Multiply-adds a second while reading a prompt.
    pub prefill: f64,
    /// Seconds of a generated token, without attention over its context.
    pub decode_token_s: f64,
}

/// Seconds of `prompt` tokens behind `context` others, and of `generated` ones behind these.
pub fn seconds(
    spec: &ModelSpec,
    rates: &Rates,
    context: usize,
    prompt: usize,
    generated: usize,
) -> f64 {
    let read = work(spec, context, prompt) / rates.prefill;
    let look_back = generated as f64 * attention(spec, context + prompt) / rates.prefill;
    read + look_back + generated as f64 * rates.decode_token_s
}

/// Multiply-adds of `tokens` tokens behind `context` others, the head left out.
pub fn work(spec: &ModelSpec, context: usize, tokens: usize) -> f64 {
    // Attention grows nearly linearly between the ends; chunks make teeth, whose mean is what counts.
    const POINTS: usize = 64;
    let mean = (0..POINTS)
        .map(|i| attention(spec, context + (2 * i + 1) * tokens / (2 * POINTS)))
        .sum::<f64>()
        / POINTS as f64;
    tokens as f64 * (matrices(spec) + mean)
}

/// Multiply-adds of one token in the matrices of all layers.
fn matrices(spec: &ModelSpec) -> f64 {
    let layers = spec.layers.iter().map(|layer| {
        let a = &layer.attention;
        let attention = spec.dim * a.head_dim * 2 * (a.n_heads + a.n_kv_heads);
        let ffn = match &layer.ffn {
            Ffn::Dense { hidden_dim, .. } => 3 * spec.dim * hidden_dim,
            Ffn::Moe(m) => {
                let hidden = m.n_used * m.hidden_dim + m.shared_hidden_dim.unwrap_or(0);
                spec.dim * (m.n_experts + 3 * hidden)
            }
        };
        (attention + ffn) as f64
    });
    layers.sum()
}

/// Multiply-adds of one token at `pos` in the attention of all layers.
fn attention(spec: &ModelSpec, pos: usize) -> f64 {
    let layers = spec.layers.iter().map(|layer| {
        let seen = match layer.mask {
            Mask::Chunk(n) => (pos + 1).min(n / 2),
            mask => pos + 1 - mask.first_visible(pos),
        };
        (2 * layer.attention.n_heads * layer.attention.head_dim) as f64 * seen as f64
    });
    layers.sum()
}
