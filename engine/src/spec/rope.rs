//! Inverse frequencies of the rotary embedding, in f32 as transformers computes them (modeling_rope_utils.py).

use serde_json::{Map, Value};

use super::check::MAX_HEAD_DIM;
use super::keys::Keys;
use super::{Pairing, Rope, longrope};
use crate::Result;

/// `1 / theta^(2i / rotary_dim)`, [rotary_dim / 2], each step rounded to f32.
pub fn default_inv_freq(theta: f64, rotary_dim: usize) -> Vec<f32> {
    (0..rotary_dim / 2)
        .map(|i| {
            let exponent = (2 * i) as f32 / rotary_dim as f32;
            1.0 / (libm::pow(theta, f64::from(exponent)) as f32)
        })
        .collect()
}

/// Llama 3's scaling: long wavelengths divided by `factor`, short ones kept, a ramp between
/// (`_compute_llama3_parameters`).
pub fn llama3(inv_freq: &mut [f32], factor: f64, low: f64, high: f64, original: f64) {
    let low_wavelen = (original / low) as f32;
    let high_wavelen = (original / high) as f32;
    let (factor, low, high, original) = (factor as f32, low as f32, high as f32, original as f32);
    for f in inv_freq {
        let wavelen = (2.0 * std::f64::consts::PI) as f32 / *f;
        if wavelen > low_wavelen {
            *f /= factor;
        } else if wavelen >= high_wavelen {
            let smooth = (original / wavelen - low) / (high - low);
            *f = (1.0 - smooth) * *f / factor + smooth * *f;
        }
    }
}

/// YaRN: frequencies that turn fewer than `beta_slow` times within the original context are divided by `factor`,
/// those that turn more than `beta_fast` times are kept, a ramp over the pairs between (`_compute_yarn_parameters`;
/// arXiv 2309.00071).
#[derive(Clone, Copy, Debug)]
pub struct Yarn {
    /// Base of the frequencies.
    pub theta: f64,
    /// How many times longer the context becomes.
    pub factor: f64,
    /// Tokens of the context before.
    pub original: f64,
    /// Turns from which on a frequency is kept.
    pub beta_fast: f64,
    /// Turns up to which it is divided.
    pub beta_slow: f64,
    /// The ramp starts and ends at whole pairs.
    pub truncate: bool,
}

impl Yarn {
    /// Factor on cos and sin, and so its square on the scores, where the model names no other: `0.1 m ln(factor) + 1`.
    pub fn attention_factor(self, m: f64) -> f64 {
        if self.factor <= 1.0 {
            1.0
        } else {
            0.1 * m * self.factor.ln() + 1.0
        }
    }

    /// Scales unscaled frequencies.
    pub fn apply(self, inv_freq: &mut [f32]) {
        let pairs = inv_freq.len() as f64;
        let pair = |turns: f64| {
            let wavelengths = self.original / (turns * 2.0 * std::f64::consts::PI);
            pairs * libm::log(wavelengths) / libm::log(self.theta)
        };
        let (mut low, mut high) = (pair(self.beta_fast), pair(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(2.0 * pairs - 1.0));
        if low == high {
            high += 0.001;
        }
        for (i, f) in inv_freq.iter_mut().enumerate() {
            let ramp = ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
            let keep = 1.0 - ramp;
            let power = 1.0 / *f;
            let divided = 1.0 / (self.factor as f32 * power);
            *f = divided * (1.0 - keep) + *f * keep;
        }
    }

    /// In words.
    pub fn origin(self, attention_factor: f32) -> String {
        let Self {
            factor,
            original,
            beta_fast,
            beta_slow,
            ..
        } = self;
        format!(
            ", YaRN x {factor} beyond {original} (turns {beta_slow} to {beta_fast}), cos and sin x {attention_factor:.4}"
        )
    }
}

/// A rotary embedding without scaling.
pub fn plain(theta: f64, rotary_dim: usize, pairing: Pairing) -> Rope {
    let inv_freq = default_inv_freq(theta, rotary_dim);
    Rope {
        unscaled: inv_freq.clone(),
        inv_freq,
        pairing,
        attention_factor: 1.0,
        long: None,
        origin: format!("theta {theta}"),
    }
}

/// The rotary embedding that `config.json` describes, today's spelling (`rope_parameters`) or the older one
/// (`rope_theta` beside `rope_scaling`, whose kind is under `rope_type` or `type`).
///
/// # Errors
/// An unknown kind, key or a value out of range, named.
pub fn from_hf(
    keys: &Keys<'_>,
    file: &str,
    rotary_dim: usize,
    default_theta: f64,
    pairing: Pairing,
) -> Result<Rope> {
    let theta = keys.positive_or("rope_theta", default_theta)?;
    let empty = Map::<String, Value>::new();
    let (object, prefix) = match keys.opt_object("rope_parameters")? {
        Some(o) => {
            keys.irrelevant(&["rope_scaling"]);
            (o, "rope_parameters.")
        }
        None => (
            keys.opt_object("rope_scaling")?.unwrap_or(&empty),
            "rope_scaling.",
        ),
    };
    let scaling = Keys::new(file, prefix, object);
    let context = keys.opt_number("max_position_embeddings")?.unwrap_or(0.0);
    let original = keys.opt_number("original_max_position_embeddings")?;
    let original = original.unwrap_or(context);
    let part = keys.positive_or("partial_rotary_factor", 1.0)?;
    let part = scaling.positive_or("partial_rotary_factor", part)?;
    let rotary_dim = (rotary_dim as f64 * part) as usize;
    let kind = scaling.opt_str("rope_type")?.or(scaling.opt_str("type")?);
    // Phi's first files say `su`.
    if let Some("longrope" | "su") = kind {
        let contexts = [original, context];
        return longrope::from_hf(&scaling, rotary_dim, theta, contexts, pairing);
    }
    scaled(&scaling, rotary_dim, theta, original, pairing)
}

/// YaRN's factor on the scores of latent attention, the square of `0.1 mscale_all_dim ln(factor) + 1`
/// (`yarn_apply_mscale`); 1 where `config.json` has none.
///
/// # Errors
/// A value that is no number, named.
pub fn score_factor_from_hf(keys: &Keys<'_>, file: &str) -> Result<f64> {
    let new = keys.opt_object("rope_parameters")?;
    let Some(object) = new.or(keys.opt_object("rope_scaling")?) else {
        return Ok(1.0);
    };
    let scaling = Keys::new(file, "rope_parameters.", object);
    let m = scaling.opt_number("mscale_all_dim")?.unwrap_or(0.0);
    Ok(score_factor(m, scaling.positive_or("factor", 1.0)?))
}

/// The square of `0.1 m ln(factor) + 1`.
pub fn score_factor(m: f64, factor: f64) -> f64 {
    (0.1 * m * factor.max(1.0).ln() + 1.0).powi(2)
}

/// The rotary embeddings of full and of windowed layers: two entries of `rope_parameters`, or the older spelling
/// ([`from_hf`]) for the full ones and a base alone for the others. `bases` stand in where the file has none.
///
/// # Errors
/// An unknown kind, key or a value out of range, named.
pub fn by_kind(
    keys: &Keys<'_>,
    file: &str,
    rotary_dim: usize,
    [full, local]: [f64; 2],
    pairing: Pairing,
) -> Result<[Rope; 2]> {
    let kinds = ["full_attention", "sliding_attention"];
    let new = keys.opt_object("rope_parameters")?;
    let Some(object) = new.filter(|o| kinds.iter().any(|k| o.contains_key(*k))) else {
        let full = from_hf(keys, file, rotary_dim, full, pairing)?;
        return Ok([full, plain(local, rotary_dim, pairing)]);
    };
    keys.irrelevant(&["rope_scaling"]);
    let full = keys.positive_or("rope_theta", full)?;
    let context = keys.opt_number("max_position_embeddings")?.unwrap_or(0.0);
    let both = Keys::new(file, "rope_parameters.", object);
    let empty = Map::new();
    let rope = |kind: &str, theta: f64| {
        let object = both.opt_object(kind)?.unwrap_or(&empty);
        let keys = Keys::new(file, &format!("rope_parameters.{kind}."), object);
        scaled(&keys, rotary_dim, theta, context, pairing)
    };
    let ropes = [rope(kinds[0], full)?, rope(kinds[1], local)?];
    both.finish(false)?;
    Ok(ropes)
}

/// The rotary embedding of one object of scaling parameters; `theta` and `original` stand in where it has none.
///
/// # Errors
/// An unknown kind, key or a value out of range, named.
pub fn scaled(
    scaling: &Keys<'_>,
    rotary_dim: usize,
    theta: f64,
    original: f64,
    pairing: Pairing,
) -> Result<Rope> {
    if rotary_dim > MAX_HEAD_DIM {
        return Err(scaling.error("head_dim", "at most 65536"));
    }
    let theta = scaling.positive_or("rope_theta", theta)?;
    let old_kind = scaling.opt_str("type")?;
    let new_kind = scaling.opt_str("rope_type")?;
    let original = |s: &Keys<'_>| s.positive_or("original_max_position_embeddings", original);
    let mut rope = plain(theta, rotary_dim, pairing);
    match new_kind.or(old_kind).unwrap_or("default") {
        "default" => {}
        "linear" => {
            let factor = scaling.positive_or("factor", 0.0)?;
            rope.inv_freq.iter_mut().for_each(|f| *f /= factor as f32);
            rope.origin += &format!(", linear / {factor}");
        }
        "llama3" => {
            let factor = scaling.positive_or("factor", 0.0)?;
            let low = scaling.positive_or("low_freq_factor", 0.0)?;
            let high = scaling.positive_or("high_freq_factor", 0.0)?;
            let original = original(scaling)?;
            llama3(&mut rope.inv_freq, factor, low, high, original);
            rope.origin +=
                &format!(", llama3 / {factor} (low {low}, high {high}, original {original})");
        }
        "yarn" => {
            let yarn = Yarn {
                theta,
                factor: scaling.positive_or("factor", 0.0)?,
                original: original(scaling)?,
                beta_fast: scaling.positive_or("beta_fast", 32.0)?,
                beta_slow: scaling.positive_or("beta_slow", 1.0)?,
                truncate: scaling.flag_or("truncate", true)?,
            };
            let [m, all] = ["mscale", "mscale_all_dim"].map(|k| scaling.opt_number(k));
            let implied = match (m?.unwrap_or(0.0), all?.unwrap_or(0.0)) {
                (m, all) if m != 0.0 && all != 0.0 => {
                    yarn.attention_factor(m) / yarn.attention_factor(all)
                }
                _ => yarn.attention_factor(1.0),
            };
            let factor = scaling.positive_or("attention_factor", implied)? as f32;
            yarn.apply(&mut rope.inv_freq);
            rope.attention_factor = factor;
            rope.origin += &yarn.origin(factor);
        }
        _ => {
            let key = if new_kind.is_some() {
                "rope_type"
            } else {
                "type"
            };
            return Err(scaling.error(key, "default, linear, llama3, yarn or longrope"));
        }
    }
    scaling.finish(false)?;
    Ok(rope)
}

/// The rotary embedding of a GGUF file: `{arch}.rope.*` and, where there is one, the tensor `rope_freqs.weight`
/// that divides the frequencies.
///
/// YaRN's factor on cos and sin is `0.1 ln(factor) + 1` in llama.cpp whatever the file says; a file that names
/// another (`yarn_attn_factor`, from the original's `attention_factor`) is believed here.
///
/// # Errors
/// An unknown kind of scaling or a value out of range, named.
pub fn from_gguf(
    keys: &Keys<'_>,
    rotary_dim: usize,
    factors: Option<&[f32]>,
    pairing: Pairing,
) -> Result<Rope> {
    if rotary_dim > MAX_HEAD_DIM {
        return Err(keys.error("rope.dimension_count", "at most 65536"));
    }
    let theta = keys.positive_or("rope.freq_base", 10_000.0)?;
    let mut rope = plain(theta, rotary_dim, pairing);
    let old_linear = keys.positive_or("rope.scale_linear", 1.0)?;
    let factor = keys.positive_or("rope.scaling.factor", old_linear)?;
    keys.irrelevant(&[
        "rope.scaling.original_context_length",
        "rope.scaling.finetuned",
    ]);
    match keys
        .opt_str("rope.scaling.type")?
        .unwrap_or(if factor == 1.0 { "none" } else { "linear" })
    {
        "none" => {}
        "linear" => {
            rope.inv_freq.iter_mut().for_each(|f| *f /= factor as f32);
            rope.origin += &format!(", linear / {factor}");
        }
        "yarn" => {
            let yarn = yarn_from_gguf(keys)?;
            let implied = yarn.attention_factor(1.0);
            let factor = keys.positive_or("rope.scaling.yarn_attn_factor", implied)?;
            let factor = (factor * keys.positive_or("rope.scaling.attn_factor", 1.0)?) as f32;
            yarn.apply(&mut rope.inv_freq);
            rope.attention_factor = factor;
            rope.origin += &yarn.origin(factor);
        }
        _ => return Err(keys.error("rope.scaling.type", "none, linear or yarn")),
    }
    if let Some(factors) = factors {
        if factors.len() != rope.inv_freq.len() {
            let expected = format!(
                "rope_freqs.weight of {} values, one a pair",
                rope.inv_freq.len()
            );
            return Err(keys.error("rope.dimension_count", &expected));
        }
        rope.inv_freq
            .iter_mut()
            .zip(factors)
            .for_each(|(f, d)| *f /= d);
        rope.origin += ", divided by rope_freqs.weight";
    }
    Ok(rope)
}

/// YaRN's parameters in a GGUF file, where the ramp is taken to start and end at whole pairs.
///
/// # Errors
/// A value out of range, named.
pub fn yarn_from_gguf(keys: &Keys<'_>) -> Result<Yarn> {
    let context = keys.opt_number("context_length")?.unwrap_or(0.0);
    Ok(Yarn {
        theta: keys.positive_or("rope.freq_base", 10_000.0)?,
        factor: keys.positive_or("rope.scaling.factor", 1.0)?,
        original: keys.positive_or("rope.scaling.original_context_length", context)?,
        beta_fast: keys.positive_or("rope.scaling.yarn_beta_fast", 32.0)?,
        beta_slow: keys.positive_or("rope.scaling.yarn_beta_slow", 1.0)?,
        truncate: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yarn_keeps_the_fast_and_divides_the_slow() {
        let yarn = Yarn {
            theta: 1e6,
            factor: 4.0,
            original: 32768.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: true,
        };
        let plain = default_inv_freq(yarn.theta, 128);
        let mut scaled = plain.clone();
        yarn.apply(&mut scaled);
        // QwQ: pair(32) = 23.6 and pair(1) = 39.7, rounded outwards.
        let ratio: Vec<f32> = plain.iter().zip(&scaled).map(|(p, s)| p / s).collect();
        let near = |a: f32, b: f32| (a - b).abs() < 1e-5;
        assert!(ratio[..=23].iter().all(|r| near(*r, 1.0)) && ratio[24] > 1.001);
        assert!(ratio[40..].iter().all(|r| near(*r, 4.0)) && ratio[39] < 3.99);
        assert!((yarn.attention_factor(1.0) - 1.138_629).abs() < 1e-6);
    }

    #[test]
    fn llama3_ramp_is_between() {
        let plain = default_inv_freq(500_000.0, 128);
        let mut scaled = plain.clone();
        llama3(&mut scaled, 8.0, 1.0, 4.0, 8192.0);
        assert_eq!(plain[0], scaled[0]);
        assert_eq!(plain[63] / 8.0, scaled[63]);
        let ramp = plain
            .iter()
            .zip(&scaled)
            .filter(|(p, s)| **s < **p && **s > **p / 8.0)
            .count();
        assert!(ramp > 3, "{ramp} frequencies on the ramp");
    }
}
