//! The metadata of a folder's model in a GGUF file, and whether they say the same model.
//!
//! Sizes come from the spec, the parameters of the rotary embedding from `config.json`. Each architecture gets the keys that
//! llama.cpp's converter writes. What is written is read back as any GGUF file is, and the two specs are compared: what the
//! format has no place for, and what its readers imply otherwise, is an error and not a file that computes something else.

use serde_json::{Map, Value as Json};

use super::tensors::{Named, Style, vector};
use crate::format::gguf::{Array, Metadata, Value};
use crate::spec::rope::default_inv_freq;
use crate::spec::{
    Attention, FAMILIES, Ffn, LayerSpec, Mask, ModelSpec, Moe, NormKind, Pairing, Rope, Scoring,
    SpecSource, from_checkpoint,
};
use crate::{Error, Result};

/// Metadata, the tensors of the rotary embedding, and how the others are written.
pub(super) struct Described {
    /// In the order of the file.
    pub(super) keys: Vec<(String, Value)>,
    /// Factors on the inverse frequencies.
    pub(super) ropes: Vec<Named<'static>>,
    pub(super) style: Style,
}

/// The period of windowed layers that is implied, by architecture: every so many layers one is full.
const PERIODS: [(&str, usize); 4] = [("cohere2", 4), ("gemma2", 2), ("gemma3", 6), ("gpt-oss", 2)];
/// Bases of families whose files may be silent about it.
const BASES: [f64; 4] = [10_000.0, 1_000_000.0, 500_000.0, 150_000.0];

/// Describes `spec`, which comes from `config`; `file` is for messages.
///
/// # Errors
/// A family or a rotary embedding that GGUF has no name for, and a model that is another when it is read back.
pub(super) fn describe(
    file: &str,
    spec: &ModelSpec,
    config: &Map<String, Json>,
) -> Result<Described> {
    let nested = config.get("text_config").and_then(Json::as_object);
    let text = nested.unwrap_or(config);
    let arch = architecture(&spec.family, nested.is_some())
        .ok_or_else(|| Error::input(file, "model_type", &spec.family, "a family that GGUF has"))?;
    // Where kinds of layers differ, the keys are about the full ones.
    let roped = |l: &&LayerSpec| l.attention.rope.is_some();
    let full = |l: &&LayerSpec| roped(l) && l.mask == Mask::Full;
    let layer = spec.layers.iter().find(full);
    let layer = layer.or(spec.layers.iter().find(roped));
    let rope = layer.and_then(|l| l.attention.rope.as_ref());
    let paired = matches!(arch, "llama" | "mistral3");
    let style = Style {
        paired: paired && rope.is_some_and(|r| r.pairing == Pairing::Half),
        fused: arch == "phi3",
        norm_after_attention: arch == "gpt-oss",
    };
    let mut keys = Keys::new(arch);
    keys.sizes(spec, text);
    let mut ropes = Vec::new();
    if let Some(rope) = rope {
        ropes = keys.rope(file, spec, rope, text)?;
    }
    keys.experts(spec);
    keys.family(spec);
    let described = Described {
        keys: keys.list,
        ropes,
        style,
    };
    same_model(file, spec, &described)?;
    Ok(described)
}

/// The architecture that llama.cpp's converter gives a family.
fn architecture(family: &str, nested: bool) -> Option<&'static str> {
    if family == "mistral" && !nested {
        return Some("llama");
    }
    let known = |hf: &str| hf.strip_suffix("_text").unwrap_or(hf) == family;
    Some(FAMILIES.iter().find(|f| known(f.hf))?.gguf)
}

struct Keys {
    arch: &'static str,
    list: Vec<(String, Value)>,
}

impl Keys {
    fn new(arch: &'static str) -> Self {
        let general = [("architecture", arch), ("type", "model")];
        let list = general.map(|(key, value)| (format!("general.{key}"), Value::Str(value.into())));
        let list = list.into();
        Self { arch, list }
    }

    fn put(&mut self, key: &str, value: Value) {
        self.list.push((format!("{}.{key}", self.arch), value));
    }

    fn size(&mut self, key: &str, n: usize) {
        self.put(key, Value::Unsigned(n as u64));
    }

    fn number(&mut self, key: &str, x: f64) {
        self.put(key, Value::Float(f64::from(x as f32)));
    }

    fn sizes(&mut self, spec: &ModelSpec, text: &Map<String, Json>) {
        let Some(first) = spec.layers.first() else {
            return;
        };
        let a = &first.attention;
        self.size("block_count", spec.layers.len());
        self.size("context_length", spec.context_length);
        self.size("embedding_length", spec.dim);
        let dense = spec.layers.iter().find_map(|l| match &l.ffn {
            Ffn::Dense { hidden_dim, .. } => Some(*hidden_dim),
            Ffn::Moe(_) => None,
        });
        // Of no use where every layer has experts, but in the first of these.
        let mut named = ["intermediate_size_mlp", "intermediate_size"].into_iter();
        let named = named.find_map(|key| Some(text.get(key)?.as_u64()? as usize));
        let hidden = mixture(spec).map(|m| m.hidden_dim);
        let length = dense.or(named).or(hidden).unwrap_or_default();
        self.size("feed_forward_length", length);
        self.size("attention.head_count", a.n_heads);
        self.size("attention.head_count_kv", a.n_kv_heads);
        let eps = match spec.final_norm.kind {
            NormKind::Rms => "attention.layer_norm_rms_epsilon",
            NormKind::Layer => "attention.layer_norm_epsilon",
        };
        self.number(eps, spec.final_norm.eps.into());
        self.size("attention.key_length", a.key_width());
        self.size("attention.value_length", a.value_width());
        if let Some(latent) = a.latent {
            if let Some(rank) = latent.q_rank {
                self.size("attention.q_lora_rank", rank);
            }
            self.size("attention.kv_lora_rank", latent.kv_rank);
            self.size("attention.key_length_mla", a.head_dim);
            self.size("attention.value_length_mla", latent.v_dim);
        }
        self.size("vocab_size", spec.n_vocab);
    }

    /// The rotary embedding `rope`; tensors where factors are one a pair.
    fn rope(
        &mut self,
        file: &str,
        spec: &ModelSpec,
        rope: &Rope,
        text: &Map<String, Json>,
    ) -> Result<Vec<Named<'static>>> {
        let both = ["rope_parameters", "rope_scaling"];
        let mut scaling = both.iter().find_map(|key| text.get(*key)?.as_object());
        if let Some(full) = scaling.and_then(|s| s.get("full_attention")?.as_object()) {
            scaling = Some(full);
        }
        let number = |key: &str| scaling.and_then(|s| s.get(key)?.as_f64());
        let base = |rope: &Rope| {
            let named = number("rope_theta").or(text.get("rope_theta").and_then(Json::as_f64));
            let is = |base: &f64| default_inv_freq(*base, rope.rotary_dim()) == rope.unscaled;
            named.into_iter().chain(BASES).find(is)
        };
        let unnamed = || Error::input(file, "rope_theta", "nothing", "the base of the frequencies");
        self.number("rope.freq_base", base(rope).ok_or_else(unnamed)?);
        self.size("rope.dimension_count", rope.rotary_dim());
        let mut kinds = ["rope_type", "type"].into_iter();
        let kind = kinds.find_map(|key| scaling?.get(key)?.as_str());
        let kind = kind.unwrap_or("default");
        let original = number("original_max_position_embeddings");
        match kind {
            "default" => {}
            "llama3" => {
                let pairs = rope.unscaled.iter().zip(&rope.inv_freq);
                let factors = pairs
                    .map(|(plain, scaled)| divisor(*plain, *scaled))
                    .collect();
                return Ok(vec![vector("rope_freqs.weight", factors)]);
            }
            "longrope" | "su" => {
                let list = |key: &str| {
                    let list = scaling.and_then(|s| s.get(key)?.as_array());
                    let numbers = list.into_iter().flatten().filter_map(Json::as_f64);
                    numbers.map(|x| x as f32).collect::<Vec<f32>>()
                };
                let (limit, _) = rope.long.clone().unwrap_or_default();
                self.size("rope.scaling.original_context_length", limit);
                self.number("rope.scaling.attn_factor", rope.attention_factor.into());
                let lists = [("long", "long_factor"), ("short", "short_factor")];
                let named = |(name, key)| vector(&format!("rope_factors_{name}.weight"), list(key));
                return Ok(lists.map(named).into());
            }
            _ => {
                self.put("rope.scaling.type", Value::Str(kind.into()));
                self.number("rope.scaling.factor", number("factor").unwrap_or(1.0));
            }
        }
        if kind == "yarn" {
            let original = original.map_or(spec.context_length, |n| n as usize);
            self.size("rope.scaling.original_context_length", original);
            let all = number("mscale_all_dim");
            for (key, name) in [
                ("beta_fast", "yarn_beta_fast"),
                ("beta_slow", "yarn_beta_slow"),
                ("attention_factor", "yarn_attn_factor"),
            ] {
                if let Some(x) = number(key) {
                    self.number(&format!("rope.scaling.{name}"), x);
                }
            }
            // The converter of DeepSeek's models writes a tenth.
            let tenth = if self.arch == "deepseek2" { 0.1 } else { 1.0 };
            if let Some(all) = all.filter(|_| matches!(self.arch, "deepseek2" | "mistral3")) {
                self.number("rope.scaling.yarn_log_multiplier", tenth * all);
            }
        }
        if self.arch == "gemma3" {
            let windowed = spec.layers.iter().find(|l| l.mask != Mask::Full);
            if let Some(rope) = windowed.and_then(|l| l.attention.rope.as_ref()) {
                self.number("rope.freq_base_swa", base(rope).unwrap_or(10_000.0));
            }
        }
        Ok(Vec::new())
    }

    fn experts(&mut self, spec: &ModelSpec) {
        let Some(moe) = mixture(spec) else { return };
        self.size("expert_count", moe.n_experts);
        self.size("expert_used_count", moe.n_used);
        if self.arch != "llama" {
            self.size("expert_feed_forward_length", moe.hidden_dim);
        }
        let with_experts = |l: &LayerSpec| matches!(l.ffn, Ffn::Moe(_));
        let first = spec
            .layers
            .iter()
            .position(with_experts)
            .unwrap_or_default();
        match self.arch {
            "llama4" => self.size("interleave_moe_layer_step", first + 1),
            "deepseek2" => {
                self.size("leading_dense_block_count", first);
                let shared = moe.shared_hidden_dim.unwrap_or(0) / moe.hidden_dim.max(1);
                self.size("expert_shared_count", shared);
                let groups = moe.groups.map_or([1, 1], |g| [g.n, g.used]);
                self.size("expert_group_count", groups[0]);
                self.size("expert_group_used_count", groups[1]);
                let sigmoid = moe.scoring == Scoring::Sigmoid;
                self.size("expert_gating_func", 1 + usize::from(sigmoid));
                self.number("expert_weights_scale", moe.score_scale.into());
                if sigmoid {
                    self.put("expert_weights_norm", Value::Bool(moe.normalise));
                }
            }
            _ => {}
        }
    }

    /// Windows, caps, and what one family alone has.
    fn family(&mut self, spec: &ModelSpec) {
        let windows = |l: &LayerSpec| match l.mask {
            Mask::Window(n) => Some(n),
            Mask::Full | Mask::Chunk(_) => None,
        };
        let attention =
            |get: fn(&Attention) -> Option<f32>| spec.layers.iter().find_map(|l| get(&l.attention));
        let window = spec.layers.iter().find_map(windows);
        if let Some((_, period)) = PERIODS.iter().find(|(arch, _)| *arch == self.arch) {
            if let Some(window) = window {
                self.size("attention.sliding_window", window);
            }
            let flags = spec.layers.iter().map(|l| l.mask != Mask::Full);
            let flags: Vec<bool> = flags.collect();
            let implied = |(i, windowed): (usize, &bool)| *windowed == ((i + 1) % period != 0);
            if !flags.iter().enumerate().all(implied) {
                let list = Value::Array(Array::Bool(flags));
                self.put("attention.sliding_window_pattern", list);
            }
        }
        match self.arch {
            "phi3" => self.size("attention.sliding_window", window.unwrap_or(0)),
            "cohere2" => self.number("logit_scale", spec.logit_scale.into()),
            "gemma2" | "gemma3" => {
                if let Some(cap) = attention(|a| a.softcap) {
                    self.number("attn_logit_softcapping", cap.into());
                }
                if let Some(cap) = spec.logit_softcap {
                    self.number("final_logit_softcapping", cap.into());
                }
            }
            "mistral3" => {
                let scale = |a: &Attention| a.temperature.map(|t| t.scale as f32);
                if let Some(scale) = attention(scale) {
                    self.number("attention.temperature_scale", scale.into());
                }
            }
            _ => {}
        }
    }
}

fn mixture(spec: &ModelSpec) -> Option<&Moe> {
    spec.layers.iter().find_map(|l| match &l.ffn {
        Ffn::Moe(moe) => Some(moe),
        Ffn::Dense { .. } => None,
    })
}

/// The number by which `plain` becomes `scaled`; where there are several, the nearest to the quotient.
fn divisor(plain: f32, scaled: f32) -> f32 {
    let quotient = plain / scaled;
    let near = [quotient, quotient.next_up(), quotient.next_down()];
    near.into_iter()
        .find(|d| plain / d == scaled)
        .unwrap_or(quotient)
}

/// Reads the metadata back and compares.
fn same_model(file: &str, spec: &ModelSpec, described: &Described) -> Result<()> {
    let metadata: Metadata = described.keys.iter().cloned().collect();
    let factors = |name: &str| {
        let tensor = described.ropes.iter().find(|t| t.name == name)?;
        let mut values = vec![0.0; tensor.size()[1]];
        tensor.row(0, &mut values);
        Some(values)
    };
    let long = factors("rope_factors_short.weight").zip(factors("rope_factors_long.weight"));
    let source = SpecSource::Gguf {
        metadata: &metadata,
        n_vocab: spec.n_vocab,
        rope_factors: factors("rope_freqs.weight"),
        long_factors: long.map(|(short, long)| [short, long]),
        tied: spec.tied_head,
    };
    let (back, _) = from_checkpoint(&format!("{file} as GGUF"), source, false)?;
    let paired = described.style.paired;
    let differs = |what: String, here: String, there: String| {
        let expected = format!("{there}, which is all that a GGUF file can say");
        Err(Error::input(file, what, here, expected))
    };
    let model = |s: &ModelSpec| {
        let near = |x: f32| format!("{x:.6e}");
        let cap = s.logit_softcap.map(near);
        let scales = format!("{} {}", near(s.embedding_scale), near(s.logit_scale));
        format!("embedding and logits times {scales}, cap {cap:?}")
    };
    if model(spec) != model(&back) {
        return differs("model".into(), model(spec), model(&back));
    }
    for (i, (here, there)) in spec.layers.iter().zip(&back.layers).enumerate() {
        let (here, there) = (parts(here, paired), parts(there, false));
        for ((what, here), (_, there)) in here.into_iter().zip(there) {
            if here != there {
                return differs(format!("layer {i}: {what}"), here, there);
            }
        }
    }
    Ok(())
}

/// What a layer computes, in comparable words; with `paired`, as if its pairs were interleaved. Numbers have six digits, as
/// some become f32 on the way.
fn parts(layer: &LayerSpec, paired: bool) -> [(&'static str, String); 9] {
    let a = &layer.attention;
    let number = |x: f32| format!("{x:.5e}");
    let rope = a.rope.as_ref().map(|rope| {
        let pairing = if paired {
            Pairing::Interleaved
        } else {
            rope.pairing
        };
        let long = rope.long.as_ref();
        let long = long.map(|(n, f)| (n, f.iter().map(|x| number(*x)).collect::<Vec<_>>()));
        let frequencies: Vec<_> = rope.inv_freq.iter().map(|x| number(*x)).collect();
        let factor = number(rope.attention_factor);
        format!("{pairing:?}, times {factor}, {frequencies:?} {long:?}")
    });
    let qk = a.qk_norm.map(|n| (n.order, n.weighted, number(n.eps)));
    let norm = |n: Option<crate::spec::Norm>| n.map(|n| (n.kind, number(n.eps)));
    let norms = [
        layer.attn_norm,
        layer.attn_post_norm,
        layer.ffn_norm,
        layer.ffn_post_norm,
    ];
    let temperature = a.temperature.map(|t| {
        let scale = number(t.scale as f32);
        format!("{scale} every {} tokens from {}", t.floor, t.offset)
    });
    let sizes = (a.latent, a.n_heads, a.n_kv_heads, a.head_dim);
    let steps = (a.sinks, a.qkv_bias, a.out_bias, a.softcap.map(number));
    [
        ("mask", format!("{:?}", layer.mask)),
        ("heads", format!("{sizes:?}")),
        ("factor on the scores", number(a.scale)),
        ("rotary embedding", format!("{rope:?}")),
        ("norm on queries and keys", format!("{qk:?}")),
        ("temperature", format!("{temperature:?}")),
        ("sinks, biases, cap on the scores", format!("{steps:?}")),
        (
            "norms",
            format!("{:?} {:?}", norms.map(norm), layer.residual),
        ),
        ("feed-forward part", format!("{:?}", layer.ffn)),
    ]
}
