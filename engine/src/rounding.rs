//! Numbers with fewer bits, as other engines hold them: in the cache of keys and values, and between a layer's steps.
//!
//! The reference computes in f32. What a deployment does to the same numbers is an edit of the spec, so that its effect on
//! the logits can be measured: of some it is nothing that anybody should worry about (bf16), of others it is a fault.

use std::fmt;
use std::sync::OnceLock;

use crate::format::StoredType;
use crate::quantize;

/// How a number is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// As computed, in f32.
    #[default]
    Exact,
    /// IEEE 754 half.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// FP8 with four bits of exponent and three of mantissa, scale 1, saturating (vLLM's `fp8_e4m3` without a
    /// calibration file).
    Fp8,
    /// Blocks of 32 with one scale and codes of 8 bits.
    Q8_0,
    /// Blocks of 32 with a scale, a minimum and codes of 5 bits.
    Q5_1,
    /// Blocks of 32 with one scale and codes of 4 bits.
    Q4_0,
}

/// Every rounding that has a name.
pub const ROUNDINGS: [(&str, Rounding); 6] = [
    ("f16", Rounding::F16),
    ("bf16", Rounding::Bf16),
    ("fp8", Rounding::Fp8),
    ("q8_0", Rounding::Q8_0),
    ("q5_1", Rounding::Q5_1),
    ("q4_0", Rounding::Q4_0),
];

impl Rounding {
    /// The rounding of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        let found = ROUNDINGS.iter().find(|(n, _)| *n == name);
        found.map(|(_, rounding)| *rounding)
    }

    /// Rounds rows of `width` numbers, each by itself.
    pub(crate) fn round_rows(self, x: &mut [f32], width: usize) {
        if self != Self::Exact && width > 0 {
            x.chunks_mut(width).for_each(|row| self.round(row));
        }
    }

    /// Rounds the numbers in place. Blocks begin at the first; a last one that is not full is rounded as if zeros followed.
    ///
    /// ```
    /// use fathom_engine::rounding::Rounding;
    /// let mut x = [1.0, 0.3, -448.5, 1e9];
    /// Rounding::Fp8.round(&mut x);
    /// assert_eq!(x, [1.0, 0.3125, -448.0, 448.0]);
    /// ```
    pub fn round(self, x: &mut [f32]) {
        let blocks = match self {
            Self::Exact => return,
            Self::F16 => return each(x, |v| half::f16::from_f32(v).to_f32()),
            Self::Bf16 => return each(x, |v| half::bf16::from_f32(v).to_f32()),
            Self::Fp8 => return each(x, to_e4m3),
            Self::Q8_0 => StoredType::Q8_0,
            Self::Q5_1 => StoredType::Q5_1,
            Self::Q4_0 => StoredType::Q4_0,
        };
        let mut bytes = Vec::new();
        for part in x.chunks_mut(blocks.info().block) {
            let mut block = vec![0.0; blocks.info().block];
            block[..part.len()].copy_from_slice(part);
            bytes.clear();
            quantize::row(&block, blocks, &mut bytes);
            blocks.unpack(&bytes, &mut block);
            part.copy_from_slice(&block[..part.len()]);
        }
    }
}

impl fmt::Display for Rounding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ROUNDINGS.iter().find(|(_, r)| r == self);
        f.write_str(name.map_or("f32", |(name, _)| name))
    }
}

fn each(x: &mut [f32], round: impl Fn(f32) -> f32) {
    x.iter_mut().for_each(|v| *v = round(*v));
}

/// The nearest value of E4M3, ties to the even code; beyond the largest, the largest. NaN stays.
fn to_e4m3(v: f32) -> f32 {
    static VALUES: OnceLock<Vec<f32>> = OnceLock::new();
    let values = VALUES.get_or_init(|| {
        let codes: Vec<u8> = (0..127).collect(); // 127 is NaN
        let mut values = vec![0.0; codes.len()];
        StoredType::F8_E4M3.unpack(&codes, &mut values);
        values
    });
    let size = v.abs();
    let above = values.partition_point(|x| *x < size);
    let nearest = match (above.checked_sub(1), values.get(above)) {
        _ if v.is_nan() => v,
        (None, _) => 0.0,
        (Some(last), None) => values[last],
        (Some(below), Some(&high)) => {
            let low = values[below];
            match (size - low).total_cmp(&(high - size)) {
                std::cmp::Ordering::Less => low,
                std::cmp::Ordering::Greater => high,
                std::cmp::Ordering::Equal if below % 2 == 0 => low,
                std::cmp::Ordering::Equal => high,
            }
        }
    };
    nearest.copysign(v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_twice_is_rounding_once_and_small() {
        let x: Vec<f32> = (0..100)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) / 17.0)
            .collect();
        for (name, rounding) in ROUNDINGS {
            let mut once = x.clone();
            rounding.round(&mut once);
            assert_ne!(once, x, "{name}");
            let far = once.iter().zip(&x).map(|(a, b)| (a - b).abs());
            let far = far.fold(0.0, f32::max);
            let most = match rounding {
                Rounding::F16 => 2e-3,
                Rounding::Bf16 | Rounding::Q8_0 => 2e-2,
                Rounding::Fp8 | Rounding::Q5_1 => 0.13,
                _ => 0.4,
            };
            assert!(far <= most, "{name}: {far}");
            assert_eq!(Rounding::by_name(name), Some(rounding));
            assert_eq!(rounding.to_string(), name);
        }
        assert_eq!(Rounding::Exact.to_string(), "f32");
    }

    #[test]
    fn e4m3_is_to_nearest_even_and_saturates() {
        // 1.0625 lies midway between 1.0 (code 56, even) and 1.125; 1.1875 between 1.125 and 1.25 (code 58).
        for (v, rounded) in [
            (1.0625, 1.0),
            (1.1875, 1.25),
            (-1.2, -1.25),
            (1e9, 448.0),
            (0.0009, 0.0),
            (0.0011, 0.001_953_125),
        ] {
            assert_eq!(to_e4m3(v), rounded, "{v}");
        }
        assert!(to_e4m3(f32::NAN).is_nan());
    }
}
