//! The table of families, and the way from a checkpoint to a spec.
//!
//! To add a family: a file beside this one with a function for each spelling, and a line in [`FAMILIES`].

use serde_json::{Map, Value};

use super::keys::{IRRELEVANT_HF, Keys};
use super::{
    ModelSpec, cohere2, deepseek_v2, deepseek_v3, gemma2, gemma3, gpt_oss, llama, llama4,
    ministral3, mistral, mixtral, phi3, quantization, qwen2, qwen3, qwen3_moe,
};
use crate::format::gguf::{Array, Metadata};
use crate::{Error, Result};

/// A family: the names files give it, and the functions that read its configuration.
pub struct Family {
    /// `model_type` in `config.json`.
    pub hf: &'static str,
    /// `general.architecture` in GGUF.
    pub gguf: &'static str,
    /// Models that people know.
    pub examples: &'static str,
    from_hf: fn(&HfSource<'_>) -> Result<ModelSpec>,
    from_gguf: fn(&GgufSource<'_>) -> Result<ModelSpec>,
}

/// Every family there is.
pub const FAMILIES: &[Family] = &[
    Family {
        hf: "llama4_text",
        gguf: "llama4",
        examples: "Llama 4 Scout, Maverick",
        from_hf: llama4::from_hf,
        from_gguf: llama4::from_gguf,
    },
    Family {
        hf: "llama",
        gguf: "llama",
        examples: "Llama 2, 3, 3.1, 3.3, SmolLM2, R1-Distill-Llama",
        from_hf: llama::from_hf,
        from_gguf: llama::from_gguf,
    },
    Family {
        hf: "cohere2",
        gguf: "cohere2",
        examples: "Command A, Command R7B, Tiny Aya",
        from_hf: cohere2::from_hf,
        from_gguf: cohere2::from_gguf,
    },
    Family {
        hf: "gemma2",
        gguf: "gemma2",
        examples: "Gemma 2",
        from_hf: gemma2::from_hf,
        from_gguf: gemma2::from_gguf,
    },
    Family {
        hf: "gemma3_text",
        gguf: "gemma3",
        examples: "Gemma 3",
        from_hf: gemma3::from_hf,
        from_gguf: gemma3::from_gguf,
    },
    Family {
        hf: "mistral",
        gguf: "mistral3",
        examples: "Mistral 7B, Nemo, Small; Mistral Small 3.1 and later",
        from_hf: mistral::from_hf,
        from_gguf: mistral::from_gguf,
    },
    Family {
        hf: "ministral3",
        gguf: "mistral3",
        examples: "Ministral 3, Devstral 2",
        from_hf: ministral3::from_hf,
        from_gguf: ministral3::from_gguf,
    },
    Family {
        hf: "qwen2",
        gguf: "qwen2",
        examples: "Qwen 2, Qwen 2.5, QwQ, R1-Distill-Qwen",
        from_hf: qwen2::from_hf,
        from_gguf: qwen2::from_gguf,
    },
    Family {
        hf: "qwen3",
        gguf: "qwen3",
        examples: "Qwen 3 dense",
        from_hf: qwen3::from_hf,
        from_gguf: qwen3::from_gguf,
    },
    Family {
        hf: "deepseek_v2",
        gguf: "deepseek2",
        examples: "DeepSeek V2, V2 Lite, V2.5",
        from_hf: deepseek_v2::from_hf,
        from_gguf: deepseek_v2::from_gguf,
    },
    Family {
        hf: "deepseek_v3",
        gguf: "deepseek2",
        examples: "DeepSeek V3, V3.1, R1",
        from_hf: deepseek_v3::from_hf,
        from_gguf: deepseek_v3::from_gguf,
    },
    Family {
        hf: "gpt_oss",
        gguf: "gpt-oss",
        examples: "gpt-oss 20b, 120b",
        from_hf: gpt_oss::from_hf,
        from_gguf: gpt_oss::from_gguf,
    },
    Family {
        hf: "mixtral",
        gguf: "llama",
        examples: "Mixtral 8x7B, 8x22B",
        from_hf: mixtral::from_hf,
        from_gguf: mixtral::from_gguf,
    },
    Family {
        hf: "phi3",
        gguf: "phi3",
        examples: "Phi-3, Phi-3.5 mini, Phi-4, Phi-4 mini",
        from_hf: phi3::from_hf,
        from_gguf: phi3::from_gguf,
    },
    Family {
        hf: "qwen3_moe",
        gguf: "qwen3moe",
        examples: "Qwen3 30B-A3B, 235B-A22B",
        from_hf: qwen3_moe::from_hf,
        from_gguf: qwen3_moe::from_gguf,
    },
];

/// What GGUF files of a family cannot carry, and what is taken in its place.
const IMPLIED_BY_GGUF: &[(&str, &str)] = &[
    (
        "llama4",
        "chunks of 8192, every fourth layer without positions, temperature 0.1 every 8192, no qk norm with 128 experts",
    ),
    ("cohere2", "every fourth layer is full, no biases"),
    (
        "gemma2",
        "odd layers are full; scores divided by the root of the head's width, with 46 layers of width / heads",
    ),
    (
        "gemma3",
        "every sixth layer is full; rotary base 10000 of the others in older files; scores divided by the root of the \
         head's width, with 62 layers of width / heads",
    ),
    ("llama", "no window (Mistral 7B), no biases"),
    ("mistral", "no window"),
    ("ministral3", "no window, mscale is 1"),
    ("qwen2", "no windows on later layers"),
    ("qwen3", "no windows on later layers, no biases"),
    ("mixtral", "no window"),
    (
        "qwen3_moe",
        "experts in every layer, weights of the chosen ones divided by their sum",
    ),
    (
        "deepseek_v2",
        "groups are chosen first where there is more than one, by their best expert; mscale is mscale_all_dim",
    ),
    ("deepseek_v3", "mscale is mscale_all_dim"),
    (
        "gpt_oss",
        "even layers are windowed; ramp of YaRN not rounded to whole pairs; gates and ups clamped at 7, gain 1.702",
    ),
];

/// The text model of a model with a vision tower, by the latter's `model_type`, where `text_config` does not say: the default
/// of transformers' classes.
const TEXT_MODELS: &[(&str, &str)] = &[
    ("llama4", "llama4_text"),
    ("gemma3", "gemma3_text"),
    ("mistral3", "mistral"),
];

/// What was taken for granted of a GGUF file's model, by [`ModelSpec::family`]: for people.
pub fn implied_by_gguf(family: &str) -> Option<&'static str> {
    let row = IMPLIED_BY_GGUF.iter().find(|(name, _)| *name == family)?;
    Some(row.1)
}

/// What a family reads from `config.json`.
pub struct HfSource<'a> {
    /// For messages.
    pub file: &'a str,
    /// The text model's keys.
    pub keys: Keys<'a>,
    /// `tie_word_embeddings`, wherever it stood.
    pub tied: Option<bool>,
}

/// What a family reads from GGUF metadata, besides the tensors that say something of the shape.
pub struct GgufSource<'a> {
    /// The keys below the architecture's name, without it.
    pub keys: Keys<'a>,
    /// Rows of `token_embd.weight`.
    pub n_vocab: usize,
    /// `rope_freqs.weight`, where there is one.
    pub rope_factors: Option<Vec<f32>>,
    /// `rope_factors_short.weight` and `rope_factors_long.weight`, where there are any.
    pub long_factors: Option<[Vec<f32>; 2]>,
    /// There is no `output.weight`.
    pub tied: bool,
}

/// Where a configuration comes from.
pub enum SpecSource<'a> {
    /// `config.json`.
    Hf(&'a Map<String, Value>),
    /// GGUF metadata and the facts that only tensors carry.
    Gguf {
        /// All metadata.
        metadata: &'a Metadata,
        /// Rows of `token_embd.weight`.
        n_vocab: usize,
        /// `rope_freqs.weight`.
        rope_factors: Option<Vec<f32>>,
        /// `rope_factors_short.weight` and `rope_factors_long.weight`.
        long_factors: Option<[Vec<f32>; 2]>,
        /// There is no `output.weight`.
        tied: bool,
    },
}

/// The spec of a checkpoint and the configuration keys that were passed over.
///
/// # Errors
/// An unknown family, a missing, ill-typed or unknown key (unless `allow_unknown`), each named with `file`.
pub fn from_checkpoint(
    file: &str,
    source: SpecSource<'_>,
    allow_unknown: bool,
) -> Result<(ModelSpec, Vec<String>)> {
    let (spec, unknown) = match source {
        SpecSource::Hf(config) => from_hf(file, config, allow_unknown)?,
        SpecSource::Gguf {
            metadata,
            n_vocab,
            rope_factors,
            long_factors,
            tied,
        } => {
            let arch = match metadata.get("general.architecture") {
                Some(crate::format::gguf::Value::Str(s)) => s.as_str(),
                _ => "nothing",
            };
            let family = FAMILIES.iter().find(|f| f.gguf == arch).ok_or_else(|| {
                Error::input(file, "general.architecture", arch, known(|f| f.gguf))
            })?;
            let prefix = format!("{arch}.");
            let map = architecture_keys(metadata, &prefix);
            let keys = Keys::new(file, &prefix, &map);
            keys.irrelevant(&["context_length", "vocab_size", "tensor_data_layout"]);
            let source = GgufSource {
                keys,
                n_vocab,
                rope_factors,
                long_factors,
                tied,
            };
            let spec = (family.from_gguf)(&source)?;
            (spec, source.keys.finish(allow_unknown)?)
        }
    };
    spec.check(file)?;
    Ok((spec, unknown))
}

fn from_hf(
    file: &str,
    config: &Map<String, Value>,
    allow_unknown: bool,
) -> Result<(ModelSpec, Vec<String>)> {
    let outer = Keys::new(file, "", config);
    let (inner, prefix) = match outer.opt_object("text_config")? {
        Some(inner) => (inner, "text_config."),
        None => (config, ""),
    };
    let keys = Keys::new(file, prefix, inner);
    keys.irrelevant(IRRELEVANT_HF);
    keys.irrelevant(&["text_config", "quantization_config"]);
    let whole = outer.opt_str("model_type")?;
    let implied = TEXT_MODELS.iter().find(|(outer, _)| Some(*outer) == whole);
    let implied = implied.filter(|_| !prefix.is_empty()).map(|row| row.1);
    let model_type = keys.opt_str("model_type")?.or(implied).unwrap_or("nothing");
    let family = FAMILIES
        .iter()
        .find(|f| f.hf == model_type)
        .ok_or_else(|| {
            Error::input(
                file,
                format!("{prefix}model_type"),
                model_type,
                known(|f| f.hf),
            )
        })?;
    let mut tied = None;
    for k in [&outer, &keys] {
        if k.get("tie_word_embeddings").is_some() {
            tied = Some(k.flag_or("tie_word_embeddings", false)?);
        }
    }
    let source = HfSource { file, keys, tied };
    let spec = (family.from_hf)(&source)?;
    let mut unknown = quantization::check(file, config, allow_unknown)?;
    unknown.extend(source.keys.finish(allow_unknown)?);
    if !prefix.is_empty() {
        // A model with a vision tower: what stands beside `text_config` describes the tower and its tokens.
        outer.irrelevant(IRRELEVANT_HF);
        outer.irrelevant(&[
            "quantization_config",
            "boi_token_index",
            "eoi_token_index",
            "image_token_id",
            "image_token_index",
            "mm_tokens_per_image",
            "multimodal_projector_bias",
            "projector_hidden_act",
            "spatial_merge_size",
            "vision_config",
            "vision_feature_layer",
        ]);
        unknown.extend(outer.finish(allow_unknown)?);
    }
    Ok((spec, unknown))
}

fn known(name: impl Fn(&Family) -> &'static str) -> String {
    let mut names: Vec<_> = FAMILIES.iter().map(name).collect();
    names.sort_unstable();
    names.dedup();
    format!("one of {}", names.join(", "))
}

/// The metadata below `prefix` as a JSON object, so that both spellings are read by the same code.
fn architecture_keys(metadata: &Metadata, prefix: &str) -> Map<String, Value> {
    use crate::format::gguf::Value as Gguf;
    let entries = metadata.iter().filter_map(|(key, value)| {
        let value = match value {
            Gguf::Unsigned(n) => (*n).into(),
            Gguf::Signed(n) => (*n).into(),
            Gguf::Float(x) => (*x).into(),
            Gguf::Bool(b) => (*b).into(),
            Gguf::Str(s) => s.as_str().into(),
            Gguf::Array(a) => match a {
                Array::Unsigned(v) => v.as_slice().into(),
                Array::Signed(v) => v.as_slice().into(),
                Array::Float(v) => v.as_slice().into(),
                Array::Bool(v) => v.as_slice().into(),
                Array::Str(v) => v.as_slice().into(),
            },
        };
        Some((key.strip_prefix(prefix)?.to_string(), value))
    });
    entries.collect()
}
