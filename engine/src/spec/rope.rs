//! Inverse frequencies of the rotary embedding, in f32 as transformers computes them (modeling_rope_utils.py).

use serde_json::{Map, Value};

use super::check::MAX_HEAD_DIM;
use super::keys::Keys;
use super::{Pairing, Rope};
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
    if rotary_dim > MAX_HEAD_DIM {
        return Err(keys.error("head_dim", "at most 65536"));
    }
    let old_theta = keys.opt_number("rope_theta")?;
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
    let theta = scaling.positive_or("rope_theta", old_theta.unwrap_or(default_theta))?;
    let old_kind = scaling.opt_str("type")?;
    let kind = scaling
        .opt_str("rope_type")?
        .or(old_kind)
        .unwrap_or("default");
    let unscaled = default_inv_freq(theta, rotary_dim);
    let mut inv_freq = unscaled.clone();
    let mut origin = format!("theta {theta}");
    match kind {
        "default" => {}
        "linear" => {
            let factor = scaling.positive_or("factor", 0.0)?;
            inv_freq.iter_mut().for_each(|f| *f /= factor as f32);
            origin += &format!(", linear / {factor}");
        }
        "llama3" => {
            let factor = scaling.positive_or("factor", 0.0)?;
            let low = scaling.positive_or("low_freq_factor", 0.0)?;
            let high = scaling.positive_or("high_freq_factor", 0.0)?;
            let original = scaling.positive_or("original_max_position_embeddings", 0.0)?;
            llama3(&mut inv_freq, factor, low, high, original);
            origin += &format!(", llama3 / {factor} (low {low}, high {high}, original {original})");
        }
        _ => {
            let key = if object.contains_key("rope_type") {
                "rope_type"
            } else {
                "type"
            };
            return Err(scaling.error(key, "default, linear or llama3"));
        }
    }
    scaling.finish(false)?;
    Ok(Rope {
        inv_freq,
        unscaled,
        pairing,
        attention_factor: 1.0,
        long: None,
        origin,
    })
}

/// The rotary embedding of a GGUF file: `{arch}.rope.*` and, where there is one, the tensor `rope_freqs.weight`
/// that divides the frequencies.
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
    let unscaled = default_inv_freq(theta, rotary_dim);
    let mut inv_freq = unscaled.clone();
    let mut origin = format!("theta {theta}");
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
            inv_freq.iter_mut().for_each(|f| *f /= factor as f32);
            origin += &format!(", linear / {factor}");
        }
        _ => return Err(keys.error("rope.scaling.type", "none or linear")),
    }
    if let Some(factors) = factors {
        if factors.len() != inv_freq.len() {
            let expected = format!("rope_freqs.weight of {} values, one a pair", inv_freq.len());
            return Err(keys.error("rope.dimension_count", &expected));
        }
        inv_freq.iter_mut().zip(factors).for_each(|(f, d)| *f /= d);
        origin += ", divided by rope_freqs.weight";
    }
    Ok(Rope {
        inv_freq,
        unscaled,
        pairing,
        attention_factor: 1.0,
        long: None,
        origin,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
