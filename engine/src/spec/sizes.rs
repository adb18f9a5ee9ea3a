//! What nearly all families have in common, read under the names that both spellings share: sizes, norms, windows.

use serde_json::Value;

use super::families::{GgufSource, HfSource};
use super::keys::Keys;
use super::{
    Activation, Attention, Ffn, LayerSpec, Mask, ModelSpec, Norm, NormKind, Residual, RopePrecision,
};
use crate::Result;

/// The sizes of a model whose layers are alike in them.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Layers.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub dim: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width between, in the feed-forward part.
    pub hidden_dim: usize,
    /// Entries of the vocabulary.
    pub n_vocab: usize,
    /// Longest context declared, in tokens; 0: none.
    pub context_length: usize,
    /// Every norm over the stream.
    pub norm: Norm,
    /// The head is the embedding matrix.
    pub tied: bool,
}

impl Sizes {
    /// Nothing supplied: the file must say.
    pub const NONE: Self = Self {
        n_layers: 0,
        dim: 0,
        n_heads: 0,
        n_kv_heads: 0,
        head_dim: 0,
        hidden_dim: 0,
        n_vocab: 0,
        context_length: 0,
        norm: Norm::rms(1e-6),
        tied: false,
    };

    /// From `config.json`. `class` is what the family's class in transformers supplies where the file is silent, as
    /// nested text models are about all that equals it; 0 there: the file must say (`n_kv_heads`: as many as query
    /// heads; `head_dim`: `dim / n_heads`).
    ///
    /// # Errors
    /// A missing or ill-typed key, named.
    pub fn from_hf(source: &HfSource<'_>, class: &Self) -> Result<Self> {
        let keys = &source.keys;
        let size = |key: &str, default: usize| match default {
            0 => keys.size(key),
            n => Ok(keys.opt_size(key)?.unwrap_or(n)),
        };
        let or = |n: usize, other: usize| if n == 0 { other } else { n };
        let dim = size("hidden_size", class.dim)?;
        let n_heads = size("num_attention_heads", class.n_heads)?;
        let n_kv_heads = match keys.opt_size("num_key_value_heads")? {
            None if keys.is_null("num_key_value_heads") => n_heads,
            n => n.unwrap_or(or(class.n_kv_heads, n_heads)),
        };
        let head_dim = match keys.opt_size("head_dim")? {
            None if keys.is_null("head_dim") => dim / n_heads,
            n => n.unwrap_or(or(class.head_dim, dim / n_heads)),
        };
        let eps = match class.norm.kind {
            NormKind::Rms => "rms_norm_eps",
            NormKind::Layer => "layer_norm_eps",
        };
        let context_length = keys.opt_size("max_position_embeddings")?;
        Ok(Self {
            n_layers: match class.n_layers {
                0 => keys.layers("num_hidden_layers")?,
                n if keys.get("num_hidden_layers").is_none() => n,
                _ => keys.layers("num_hidden_layers")?,
            },
            dim,
            n_heads,
            n_kv_heads,
            head_dim,
            hidden_dim: size("intermediate_size", class.hidden_dim)?,
            n_vocab: size("vocab_size", class.n_vocab)?,
            context_length: context_length.unwrap_or(class.context_length),
            norm: Norm {
                eps: keys.positive_or(eps, f64::from(class.norm.eps))? as f32,
                ..class.norm
            },
            tied: source.tied.unwrap_or(class.tied),
        })
    }

    /// From GGUF metadata, where norms multiply by their weights as they are stored; for heads whose values are as wide
    /// as their keys, all of which is rotated.
    ///
    /// # Errors
    /// A missing or ill-typed key, named.
    pub fn from_gguf(source: &GgufSource<'_>, norm: NormKind) -> Result<Self> {
        let (keys, sizes) = (&source.keys, Self::of_any_heads(source, norm)?);
        keys.must_be("attention.value_length", &Value::from(sizes.head_dim))?;
        keys.must_be("rope.dimension_count", &Value::from(sizes.head_dim))?;
        Ok(sizes)
    }

    /// As [`Self::from_gguf`], for any heads; `head_dim` is that of a cached key.
    ///
    /// # Errors
    /// A missing or ill-typed key, named.
    pub fn of_any_heads(source: &GgufSource<'_>, norm: NormKind) -> Result<Self> {
        let keys = &source.keys;
        let dim = keys.size("embedding_length")?;
        let n_heads = keys.size("attention.head_count")?;
        let n_kv_heads = keys.opt_size("attention.head_count_kv")?;
        let head_dim = keys.opt_size("attention.key_length")?;
        let eps = match norm {
            NormKind::Rms => "attention.layer_norm_rms_epsilon",
            NormKind::Layer => "attention.layer_norm_epsilon",
        };
        Ok(Self {
            n_layers: keys.layers("block_count")?,
            dim,
            n_heads,
            n_kv_heads: n_kv_heads.unwrap_or(n_heads),
            head_dim: head_dim.unwrap_or(dim / n_heads),
            hidden_dim: keys.size("feed_forward_length")?,
            n_vocab: source.n_vocab,
            context_length: keys.opt_size("context_length")?.unwrap_or(0),
            norm: Norm {
                kind: norm,
                eps: keys.positive_or(eps, 0.0)? as f32,
                plus_one: false,
            },
            tied: source.tied,
        })
    }

    /// Attention without any of the further steps.
    pub fn attention(&self) -> Attention {
        Attention::grouped(self.n_heads, self.n_kv_heads, self.head_dim)
    }

    /// A layer with a norm before each sublayer, full attention without positions, and a gated feed-forward part.
    pub fn layer(&self, activation: Activation) -> LayerSpec {
        LayerSpec {
            attention: self.attention(),
            mask: Mask::Full,
            ffn: Ffn::Dense {
                hidden_dim: self.hidden_dim,
                activation,
            },
            residual: Residual::Sequential,
            attn_norm: Some(self.norm),
            attn_post_norm: None,
            ffn_norm: Some(self.norm),
            ffn_post_norm: None,
        }
    }

    /// A model of these layers.
    pub fn model(&self, family: &str, layers: Vec<LayerSpec>) -> ModelSpec {
        ModelSpec {
            family: family.into(),
            dim: self.dim,
            n_vocab: self.n_vocab,
            context_length: self.context_length,
            embedding_scale: 1.0,
            layers,
            final_norm: self.norm,
            logit_scale: 1.0,
            logit_softcap: None,
            tied_head: self.tied,
            rope_precision: RopePrecision::F64,
        }
    }
}

/// The masks of `config.json`: `layer_types` decides, or where it is absent, `windowed` of the layer's index.
///
/// # Errors
/// A list that is too short or names another kind of attention, and windowed layers where there is no window.
pub fn masks_from_hf(
    keys: &Keys<'_>,
    n_layers: usize,
    window: Option<usize>,
    windowed: impl Fn(usize) -> bool,
) -> Result<Vec<Mask>> {
    let expected = format!("sliding_attention or full_attention, {n_layers} times");
    let kind = |v: &Value| match v.as_str()? {
        "sliding_attention" => Some(true),
        "full_attention" => Some(false),
        _ => None,
    };
    let listed = keys.opt_list("layer_types", &expected, kind)?;
    let is_listed = listed.is_some();
    let kinds = listed.unwrap_or_else(|| (0..n_layers).map(windowed).collect());
    if kinds.len() < n_layers {
        return Err(keys.error("layer_types", &expected));
    }
    let mask = |windowed: &bool| match (windowed, window) {
        (false, _) => Ok(Mask::Full),
        (true, Some(n)) => Ok(Mask::Window(n)),
        // transformers takes no window as full attention, whatever the layers are called.
        (true, None) if !is_listed => Ok(Mask::Full),
        (true, None) => Err(keys.error("sliding_window", "tokens, as layer_types has windows")),
    };
    kinds.iter().take(n_layers).map(mask).collect()
}

/// The masks of GGUF metadata: `attention.sliding_window` on every layer but each `every`-th, unless
/// `attention.sliding_window_pattern` says otherwise (another period, or a flag a layer), as llama.cpp reads them.
///
/// # Errors
/// An ill-typed key or a list that is too short, named.
pub fn masks_from_gguf(
    keys: &Keys<'_>,
    n_layers: usize,
    window: Option<usize>,
    every: usize,
) -> Result<Vec<Mask>> {
    let key = "attention.sliding_window_pattern";
    let window = keys.opt_size("attention.sliding_window")?.or(window);
    let flags = match keys.get(key) {
        Some(Value::Array(_)) => {
            let expected = format!("a flag a layer, {n_layers}");
            let flag = |v: &Value| v.as_bool().or_else(|| v.as_u64().map(|n| n != 0));
            let flags = keys.opt_list(key, &expected, flag)?.unwrap_or_default();
            if flags.len() < n_layers {
                return Err(keys.error(key, &expected));
            }
            flags
        }
        _ => {
            let every = keys.opt_size(key)?.unwrap_or(every);
            (0..n_layers).map(|i| (i + 1) % every != 0).collect()
        }
    };
    let mask = |windowed: bool| match window {
        Some(n) if windowed => Mask::Window(n),
        _ => Mask::Full,
    };
    Ok(flags.into_iter().take(n_layers).map(mask).collect())
}
