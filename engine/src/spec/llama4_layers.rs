//! The layers of a Llama 4, and which of them have positions, chunks and experts: by the lists of `config.json`, or by their
//! periods where it has none.

use serde_json::Value;

use super::keys::Keys;
use super::sizes::Sizes;
use super::{
    Activation, Attention, Ffn, LayerSpec, Mask, Moe, QkNorm, QkNormOrder, Rope, ScoreOn, Scoring,
    Temperature,
};
use crate::Result;

/// What the layers are made of.
pub struct Parts {
    /// `hidden_dim` is that of the dense layers.
    pub sizes: Sizes,
    /// Of the layers with positions.
    pub rope: Rope,
    /// Those have a norm on queries and keys.
    pub qk_norm: bool,
    /// Biases of attention.
    pub bias: bool,
    /// Of the layers without positions.
    pub temperature: Option<Temperature>,
    /// Of the layers with experts.
    pub moe: Ffn,
}

impl Parts {
    /// One layer.
    pub fn layer(&self, roped: bool, mask: Mask, mixed: bool) -> LayerSpec {
        let plain = self.sizes.layer(Activation::Silu);
        let qk_norm = QkNorm {
            order: QkNormOrder::AfterRope,
            weighted: false,
            plus_one: false,
            eps: self.sizes.norm.eps,
        };
        LayerSpec {
            attention: Attention {
                rope: roped.then(|| self.rope.clone()),
                qk_norm: (roped && self.qk_norm).then_some(qk_norm),
                temperature: self.temperature.filter(|_| !roped),
                qkv_bias: self.bias,
                out_bias: self.bias,
                ..self.sizes.attention()
            },
            mask,
            ffn: if mixed { self.moe.clone() } else { plain.ffn },
            ..plain
        }
    }
}

/// `used` of `n` experts, and the shared one.
pub fn moe([n, used]: [usize; 2], hidden_dim: usize, shared: usize) -> Ffn {
    Ffn::Moe(Moe {
        shared_hidden_dim: Some(shared),
        scoring: Scoring::Sigmoid,
        score_on: ScoreOn::Input,
        ..Moe::plain(n, used, hidden_dim, Activation::Silu)
    })
}

/// Layers with a rotary embedding, one entry each of `n`.
///
/// # Errors
/// An ill-typed key or a list that is too short, named.
pub fn roped(keys: &Keys<'_>, n: usize) -> Result<Vec<bool>> {
    let flag = |v: &Value| match v.as_u64() {
        Some(0) => Some(false),
        Some(1) => Some(true),
        _ => v.as_bool(),
    };
    let interval = keys.opt_size("no_rope_layer_interval")?.unwrap_or(4);
    let expected = format!("a list of 0 (no positions) and 1, {n} entries, one a layer");
    match keys.opt_list("no_rope_layers", &expected, flag)? {
        Some(flags) if flags.len() < n => Err(keys.error("no_rope_layers", &expected)),
        Some(flags) => Ok(flags.into_iter().take(n).collect()),
        None => Ok((0..n).map(|i| (i + 1) % interval != 0).collect()),
    }
}

/// Masks of the layers, of which `roped` have chunks where no list says otherwise.
///
/// # Errors
/// An ill-typed key, a list that is too short, and chunks without a size, named.
pub fn masks(keys: &Keys<'_>, roped: &[bool]) -> Result<Vec<Mask>> {
    let n = roped.len();
    // A chunk size of null switches chunks off (and is not the default, which an absent key means).
    let chunk = match keys.opt_size("attention_chunk_size")? {
        None if keys.is_null("attention_chunk_size") => None,
        size => Some(Mask::Chunk(size.unwrap_or(8192))),
    };
    let expected = format!("chunked_attention or full_attention, {n} entries, one a layer");
    let kind = |v: &Value| match v.as_str()? {
        "chunked_attention" => Some(true),
        "full_attention" => Some(false),
        _ => None,
    };
    let listed = keys.opt_list("layer_types", &expected, kind)?;
    if listed.as_ref().is_some_and(|l| l.len() < n) {
        return Err(keys.error("layer_types", &expected));
    }
    let kinds = listed.unwrap_or_else(|| roped.iter().map(|r| *r && chunk.is_some()).collect());
    let expected = "a number of tokens, as layer_types has chunks";
    let mask = |chunked: bool| match chunk {
        _ if !chunked => Ok(Mask::Full),
        Some(mask) => Ok(mask),
        None => Err(keys.error("attention_chunk_size", expected)),
    };
    kinds.into_iter().take(n).map(mask).collect()
}

/// Layers with experts, one entry each of `n`. A list of none, unlike an absent one, means none.
///
/// # Errors
/// An ill-typed key, named.
pub fn mixed(keys: &Keys<'_>, n: usize) -> Result<Vec<bool>> {
    let step = keys.opt_size("interleave_moe_layer_step")?.unwrap_or(1);
    let index = |v: &Value| v.as_u64().map(|n| n as usize);
    let listed = keys.opt_list("moe_layers", "a list of layer indices", index)?;
    Ok(match listed {
        Some(layers) => (0..n).map(|i| layers.contains(&i)).collect(),
        None if keys.get("moe_layers").is_some() => vec![false; n],
        None => (0..n).map(|i| (i + 1) % step == 0).collect(),
    })
}
