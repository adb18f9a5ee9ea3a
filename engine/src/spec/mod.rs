//! What a model computes, as data: a product of small choices for every layer.
//!
//! A family (`llama.rs`, `llama4.rs`) turns a configuration into a [`ModelSpec`]; nothing below this folder
//! names a family. Periodicity ("every 4th layer") becomes the vector of layers. A fault is an edit of these
//! values (`fault.rs`).
//!
//! | file | holds |
//! |---|---|
//! | `keys.rs` | a configuration read so that no key is dropped silently |
//! | `families.rs` | the table of families; from a checkpoint to a spec |
//! | `llama.rs`, `llama4.rs` .. | the families, each from `config.json` and from GGUF metadata |
//! | `ffn.rs` | the feed-forward part of a layer: dense, or a mixture of experts |
//! | `sizes.rs` | what nearly all families have in common |
//! | `latent.rs`, `longrope.rs` | latent attention and LongRoPE, read under both spellings |
//! | `quantization.rs` | how weights are stored, and what a deployment rounds besides |
//! | `rope.rs` | inverse frequencies of every kind of scaling |

mod check;
mod cohere2;
mod deepseek;
mod deepseek_v2;
mod deepseek_v3;
pub mod families;
mod ffn;
mod gemma2;
mod gemma3;
mod gpt_oss;
pub mod keys;
mod latent;
mod llama;
mod llama4;
mod llama4_layers;
mod longrope;
mod ministral3;
mod mistral;
mod mixtral;
mod phi3;
mod quantization;
mod qwen2;
mod qwen3;
mod qwen3_moe;
pub mod rope;
mod sizes;

pub use families::{FAMILIES, Family, SpecSource, from_checkpoint, implied_by_gguf};
pub use ffn::{Activation, ChoiceBias, Ffn, GroupScore, Groups, Moe, ScoreOn, Scoring};
pub(crate) use quantization::block_size;
pub use quantization::not_rounded;

use crate::rounding::Rounding;

/// Everything the forward pass needs to know about a model, besides the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Family as the file names it (`llama4_text`, `llama`): for people, never for decisions.
    pub family: String,
    /// Width of the residual stream.
    pub dim: usize,
    /// Entries of the vocabulary.
    pub n_vocab: usize,
    /// Longest context that the model declares, in tokens; 0 when it declares none.
    pub context_length: usize,
    /// What happens to an embedding before the first layer.
    pub embedding_scale: f32,
    /// One entry a layer.
    pub layers: Vec<LayerSpec>,
    /// Norm before the head.
    pub final_norm: Norm,
    /// Factor on the logits (Cohere's `logit_scale`); 1 when there is none.
    pub logit_scale: f32,
    /// Soft cap on the logits, `c * tanh(x / c)` (Gemma 2).
    pub logit_softcap: Option<f32>,
    /// The head is the embedding matrix.
    pub tied_head: bool,
    /// How angles of the rotary embedding are computed.
    pub rope_precision: RopePrecision,
}

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSpec {
    /// Attention: shapes and the steps on queries and keys.
    pub attention: Attention,
    /// Which earlier positions a token sees.
    pub mask: Mask,
    /// Feed-forward part.
    pub ffn: Ffn,
    /// How attention and feed-forward join the stream.
    pub residual: Residual,
    /// Norm before attention (`None`: the sublayer reads the stream itself).
    pub attn_norm: Option<Norm>,
    /// Norm after attention, before its result joins the stream (Gemma).
    pub attn_post_norm: Option<Norm>,
    /// Norm before the feed-forward part; absent for a parallel residual that shares `attn_norm`.
    pub ffn_norm: Option<Norm>,
    /// Norm after the feed-forward part (Gemma).
    pub ffn_post_norm: Option<Norm>,
}

/// Attention: how queries, keys and values are made, and what happens to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Low-rank keys and values (DeepSeek's MLA) in place of grouped heads.
    pub latent: Option<Latent>,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`. One for latent attention: all heads share what is cached.
    pub n_kv_heads: usize,
    /// Width of a query or key head.
    pub head_dim: usize,
    /// Factor on the scores, usually `head_dim^-0.5`.
    pub scale: f32,
    /// Rotary embedding; `None` is NoPE.
    pub rope: Option<Rope>,
    /// Norm on each query and key head.
    pub qk_norm: Option<QkNorm>,
    /// Length-dependent factor on the queries.
    pub temperature: Option<Temperature>,
    /// Soft cap on the scores, `c * tanh(s / c)`, before the mask (Gemma 2).
    pub softcap: Option<f32>,
    /// A learned extra logit a head in the softmax's denominator (gpt-oss).
    pub sinks: bool,
    /// Biases on q, k and v.
    pub qkv_bias: bool,
    /// Bias on the output projection.
    pub out_bias: bool,
    /// How keys and values are cached; exact but for edits.
    pub cached_as: Rounding,
    /// How the numbers that its matrices read are held; exact but for edits.
    pub inputs: Rounding,
}

/// Multi-head latent attention (DeepSeek V2 and V3): the shapes that grouped-query attention has not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latent {
    /// Rank of the queries; `None`: one full projection.
    pub q_rank: Option<usize>,
    /// Rank of the shared latent of keys and values.
    pub kv_rank: usize,
    /// Rotated elements of a head, the last ones, whose key all heads share.
    pub rope_dim: usize,
    /// Width of a value head.
    pub v_dim: usize,
    /// eps of the RMS norms on the low-rank queries and on the latent.
    pub norm_eps: f32,
}

/// Which positions `s <= p` a token at position `p` attends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// All of them.
    Full,
    /// The last `n`, itself included: `s > p - n`.
    Window(usize),
    /// Those of its own chunk: `s / n == p / n` (Llama 4).
    Chunk(usize),
}

impl Attention {
    /// Heads of one width, and none of the further steps.
    pub fn grouped(n_heads: usize, n_kv_heads: usize, head_dim: usize) -> Self {
        Self {
            latent: None,
            n_heads,
            n_kv_heads,
            head_dim,
            scale: (head_dim as f64).sqrt().recip() as f32,
            rope: None,
            qk_norm: None,
            temperature: None,
            softcap: None,
            sinks: false,
            qkv_bias: false,
            out_bias: false,
            cached_as: Rounding::Exact,
            inputs: Rounding::Exact,
        }
    }

    /// Width of a cached key, and of the query that meets it: a head, or the latent and the shared rotated key.
    pub fn key_width(&self) -> usize {
        self.latent
            .map_or(self.head_dim, |l| l.kv_rank + l.rope_dim)
    }

    /// Width of a value as attention adds it up: a head, or the latent.
    pub fn value_width(&self) -> usize {
        self.latent.map_or(self.head_dim, |l| l.kv_rank)
    }

    /// Numbers cached a token. A latent is key and value at once and is cached once.
    pub fn cached(&self) -> usize {
        let values = if self.latent.is_some() {
            0
        } else {
            self.value_width()
        };
        self.n_kv_heads * (self.key_width() + values)
    }

    /// Inputs of the output projection: a value of each head.
    pub fn out_width(&self) -> usize {
        self.n_heads * self.latent.map_or(self.head_dim, |l| l.v_dim)
    }
}

impl Mask {
    /// The first position that a token at `pos` sees.
    ///
    /// ```
    /// use fathom_engine::spec::Mask;
    /// assert_eq!(Mask::Full.first_visible(100), 0);
    /// assert_eq!(Mask::Window(16).first_visible(100), 85);
    /// assert_eq!(Mask::Chunk(16).first_visible(100), 96);
    /// ```
    pub fn first_visible(self, pos: usize) -> usize {
        match self {
            Self::Full => 0,
            Self::Window(n) => (pos + 1).saturating_sub(n),
            Self::Chunk(n) => pos - pos % n,
        }
    }
}

/// Rotary position embedding: pair `i` of a head is turned by `pos * inv_freq[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Inverse frequencies, [rotary_dim / 2], scaling applied, rounded to f32 as the reference has them.
    pub inv_freq: Vec<f32>,
    /// The same before any scaling of the context.
    pub unscaled: Vec<f32>,
    /// Which two elements of a head are a pair.
    pub pairing: Pairing,
    /// Factor on cos and sin (YaRN, LongRoPE); 1 when there is none.
    pub attention_factor: f32,
    /// Inverse frequencies of sequences longer than a limit, with that limit in tokens (LongRoPE).
    pub long: Option<(usize, Vec<f32>)>,
    /// How the frequencies came about: for people.
    pub origin: String,
}

impl Rope {
    /// Elements of a head that are rotated; the rest pass through.
    pub fn rotary_dim(&self) -> usize {
        2 * self.inv_freq.len()
    }

    /// The inverse frequencies of a sequence of `len` tokens.
    pub fn frequencies(&self, len: usize) -> &[f32] {
        match &self.long {
            Some((limit, long)) if len > *limit => long,
            _ => &self.inv_freq,
        }
    }
}

impl ModelSpec {
    /// Sequences of `a` and of `b` tokens have the same inverse frequencies in every layer (LongRoPE: not always).
    pub fn same_frequencies(&self, a: usize, b: usize) -> bool {
        let limits = self.layers.iter().filter_map(|l| {
            let (limit, _) = l.attention.rope.as_ref()?.long.as_ref()?;
            Some(*limit)
        });
        a == b || limits.into_iter().all(|limit| (a > limit) == (b > limit))
    }
}

/// Which elements of a head form a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// (2i, 2i + 1): Meta's layout, Llama 4, Cohere, GGUF's `norm`.
    Interleaved,
    /// (i, i + rotary_dim / 2): Hugging Face's Llama, GGUF's `neox`.
    Half,
}

/// Precision of the angles `pos * inv_freq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopePrecision {
    /// Product and range reduction in f64: right at any position.
    F64,
    /// Product in f32, as transformers computes it: off by whole radians at position 10 000 000.
    F32,
}

/// RMS norm on each query and key head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QkNorm {
    /// Before or after the rotary embedding.
    pub order: QkNormOrder,
    /// Has weights, [head_dim] each for q and k.
    pub weighted: bool,
    /// Weights are stored as w and multiply as 1 + w (Gemma).
    pub plus_one: bool,
    /// Added to the mean square.
    pub eps: f32,
}

/// Where the norm on queries and keys stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum QkNormOrder {
    BeforeRope,
    AfterRope,
}

/// `q *= 1 + scale * ln(1 + floor((pos + offset) / floor))` (Llama4TextAttention and Ministral3Attention in transformers).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperature {
    /// Added to the position: 1 in Llama 4, 0 in Ministral 3.
    pub offset: usize,
    /// Tokens a step.
    pub floor: f64,
    /// Height of the steps.
    pub scale: f64,
}

impl Temperature {
    /// The factor on the query at `pos` (0-based).
    ///
    /// ```
    /// let t = fathom_engine::spec::Temperature { offset: 1, floor: 8192.0, scale: 0.1 };
    /// assert_eq!(t.factor(8190), 1.0);
    /// assert!((t.factor(8191) - 1.0693).abs() < 1e-4);
    /// ```
    pub fn factor(&self, pos: usize) -> f32 {
        let step = ((pos + self.offset) as f64 / self.floor).floor();
        (1.0 + self.scale * (1.0 + step).ln()) as f32
    }

    /// The first position of the `n`th step.
    pub fn start(&self, n: usize) -> usize {
        ((n as f64 * self.floor).ceil() as usize).saturating_sub(self.offset)
    }
}

/// A norm over the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Mean-centred (LayerNorm) or not (RMS).
    pub kind: NormKind,
    /// Added to the variance or mean square.
    pub eps: f32,
    /// Weights are stored as w and multiply as 1 + w (Gemma).
    pub plus_one: bool,
}

impl Norm {
    /// An RMS norm that multiplies by its weights.
    pub const fn rms(eps: f32) -> Self {
        Self {
            kind: NormKind::Rms,
            eps,
            plus_one: false,
        }
    }
}

/// Kinds of norm; none has a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NormKind {
    Rms,
    Layer,
}

/// How the two sublayers join the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual {
    /// x += attn(norm(x)); x += ffn(norm(x)).
    Sequential,
    /// x += attn(n) + ffn(n) with one n = norm(x) (Cohere).
    Parallel,
}
