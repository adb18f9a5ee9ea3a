//! Ministral 3 and Devstral 2: Mistral's shape, YaRN, and queries that grow with the position in every layer.
//!
//! Sources: `Ministral3ForCausalLM` in transformers; `mistral3` in llama.cpp, whose files carry the temperature's scale and
//! `mscale_all_dim` (as `yarn_log_multiplier`), take `mscale` as 1 and the steps as long as YaRN's original context, and
//! leave a window out. Pairs are interleaved there.

use serde_json::{Map, Value, json};

use super::families::{GgufSource, HfSource};
use super::keys::Keys;
use super::sizes::Sizes;
use super::{
    Activation, Attention, LayerSpec, Mask, ModelSpec, Norm, NormKind, Pairing, Rope, Temperature,
    rope,
};
use crate::Result;

const CLASS: Sizes = Sizes {
    n_layers: 34,
    dim: 4096,
    n_heads: 32,
    n_kv_heads: 8,
    head_dim: 128,
    hidden_dim: 14336,
    n_vocab: 131_072,
    context_length: 262_144,
    norm: Norm::rms(1e-5),
    tied: false,
};

/// From `config.json` (of a text model, or the `text_config` of one with a vision tower).
pub fn from_hf(source: &HfSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    keys.must_be("hidden_act", &json!("silu"))?;
    let sizes = Sizes::from_hf(source, &CLASS)?;
    let mask = keys
        .opt_size("sliding_window")?
        .map_or(Mask::Full, Mask::Window);
    let class = class_rope();
    let older = keys.opt_object("rope_scaling")?;
    let listed = older.or(keys.opt_object("rope_parameters")?);
    let scaling = Keys::new(source.file, "rope_parameters.", listed.unwrap_or(&class));
    let temperature = Temperature {
        offset: 0,
        floor: scaling.positive_or("original_max_position_embeddings", 0.0)?,
        scale: scaling.number("llama_4_scaling_beta")?,
    };
    scaling.irrelevant(&["max_position_embeddings"]);
    let theta = keys.positive_or("rope_theta", 10_000.0)?;
    let rope = rope::scaled(
        &scaling,
        sizes.head_dim,
        theta,
        temperature.floor,
        Pairing::Half,
    )?;
    Ok(model(&sizes, mask, rope, temperature))
}

/// What the class has for `rope_parameters`.
fn class_rope() -> Map<String, Value> {
    let entries = [
        ("rope_type", json!("yarn")),
        ("rope_theta", json!(1e6)),
        ("factor", json!(16.0)),
        ("original_max_position_embeddings", json!(16384)),
        ("mscale", json!(1.0)),
        ("mscale_all_dim", json!(1.0)),
        ("llama_4_scaling_beta", json!(0.1)),
    ];
    entries
        .map(|(k, v)| (k.to_owned(), v))
        .into_iter()
        .collect()
}

/// From GGUF metadata (`mistral3` with a temperature).
pub fn from_gguf(source: &GgufSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    let sizes = Sizes::from_gguf(source, NormKind::Rms)?;
    let factors = source.rope_factors.as_deref();
    let mut rope = rope::from_gguf(keys, sizes.head_dim, factors, Pairing::Interleaved)?;
    let yarn = rope::yarn_from_gguf(keys)?;
    if let Some(all) = keys.opt_number("rope.scaling.yarn_log_multiplier")? {
        let factor = yarn.attention_factor(1.0) / yarn.attention_factor(all);
        rope.attention_factor = factor as f32;
        rope.origin = format!("theta {}{}", yarn.theta, yarn.origin(rope.attention_factor));
    }
    let temperature = Temperature {
        offset: 0,
        floor: yarn.original,
        scale: keys.number("attention.temperature_scale")?,
    };
    Ok(model(&sizes, Mask::Full, rope, temperature))
}

fn model(sizes: &Sizes, mask: Mask, rope: Rope, temperature: Temperature) -> ModelSpec {
    let layer = LayerSpec {
        mask,
        attention: Attention {
            rope: Some(rope),
            temperature: (temperature.scale != 0.0).then_some(temperature),
            ..sizes.attention()
        },
        ..sizes.layer(Activation::Silu)
    };
    sizes.model("ministral3", vec![layer; sizes.n_layers])
}
