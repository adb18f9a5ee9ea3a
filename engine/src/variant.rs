//! A model with something done to it: a fault of the catalogue by name, a fault with a value, either in some layers only.
//!
//! ```text
//! no-chunk             a fault as it is
//! kv-cache=q4_0        a fault with a value
//! no-temperature@0-11  in the layers 0 to 11 only
//! ```

use std::fmt;
use std::ops::RangeInclusive;

use crate::fault::{FAULTS, Fault};
use crate::format::StoredType;
use crate::quantize;
use crate::rounding::Rounding;
use crate::spec::{Mask, ModelSpec, Rope};
use crate::{Error, Model, Result};

/// A fault that needs a value to say what is done.
#[derive(Debug)]
pub struct Valued {
    /// Name on the command line.
    pub name: &'static str,
    /// What is wrong, in a line.
    pub summary: &'static str,
    /// Where it reached users.
    pub source: &'static str,
    /// What a value is.
    pub expected: &'static str,
    /// The values that deployments have, mildest first.
    pub values: &'static [&'static str],
    edit: Edit,
}

#[derive(Debug)]
enum Edit {
    /// `None` where the text is no value.
    Spec(fn(&str) -> Option<Number>, fn(&mut ModelSpec, Number)),
    Weights,
}

/// A value, read.
#[derive(Clone, Copy)]
enum Number {
    Factor(f32),
    Rounding(Rounding),
}

/// The faults with a value.
pub const VALUED: &[Valued] = &[
    Valued {
        name: "kv-cache",
        summary: "keys and values cached with fewer bits",
        source: "vLLM #23813 and --kv-cache-dtype, llama.cpp --cache-type-k and --cache-type-v",
        expected: "f16, bf16, fp8, q8_0, q5_1 or q4_0",
        values: &["q8_0", "fp8", "q5_1", "q4_0"],
        edit: Edit::Spec(rounding, |m, value| {
            if let Number::Rounding(rounding) = value {
                let attention = m.layers.iter_mut().map(|l| &mut l.attention);
                attention.for_each(|a| a.cached_as = rounding);
            }
        }),
    },
    Valued {
        name: "activations",
        summary: "what the matrices read rounded to fewer bits",
        source: "W8A8 and W4A8 deployments",
        expected: "f16, bf16, fp8, q8_0, q5_1 or q4_0",
        values: &["fp8", "q4_0"],
        edit: Edit::Spec(rounding, |m, value| {
            if let Number::Rounding(rounding) = value {
                let attention = m.layers.iter_mut().map(|l| &mut l.attention);
                attention.for_each(|a| a.inputs = rounding);
            }
        }),
    },
    Valued {
        name: "weights",
        summary: "weights with fewer bits than those of the reference",
        source: "providers: GGUF, int8 and int4 deployments under the model's plain name",
        expected: "q8_0, q6_k, q5_1, q5_0, q4_k, q4_1 or q4_0",
        values: &["q8_0", "q6_k", "q5_0", "q4_k", "q4_0"],
        edit: Edit::Weights,
    },
    Valued {
        name: "rope-base",
        summary: "base of the rotary embedding multiplied by a factor (full layers', where windowed ones have their own)",
        source: "llama.cpp --rope-freq-base, llama-models #241",
        expected: "a factor other than 1",
        values: &["2", "0.5", "5", "0.2", "50", "0.02"],
        edit: Edit::Spec(factor, |m, value| {
            if let Number::Factor(factor) = value {
                ropes(m, &|inv_freq| {
                    let n = inv_freq.len() as f64;
                    for (i, f) in inv_freq.iter_mut().enumerate() {
                        let by = f64::from(factor).powf(-(i as f64) / n);
                        *f = (f64::from(*f) * by) as f32;
                    }
                });
            }
        }),
    },
    Valued {
        name: "rope-scale",
        summary: "positions multiplied by a factor before the rotary embedding (full layers', where windowed ones have their own)",
        source: "llama.cpp --rope-scale and --rope-freq-scale, unsloth #6907",
        expected: "a factor other than 1",
        values: &["0.5", "2", "0.25", "0.125"],
        edit: Edit::Spec(factor, |m, value| {
            if let Number::Factor(factor) = value {
                ropes(m, &|inv_freq| {
                    inv_freq.iter_mut().for_each(|f| *f *= factor)
                });
            }
        }),
    },
    Valued {
        name: "chunk-size",
        summary: "chunks or windows of another size",
        source: "llama.cpp #14367 and ports that read the wrong key",
        expected: "a factor other than 1",
        values: &["0.5", "2"],
        edit: Edit::Spec(factor, |m, value| {
            if let Number::Factor(factor) = value {
                let scaled = |n: usize| ((n as f32 * factor) as usize).max(1);
                for layer in &mut m.layers {
                    layer.mask = match layer.mask {
                        Mask::Chunk(n) => Mask::Chunk(scaled(n)),
                        Mask::Window(n) => Mask::Window(scaled(n)),
                        Mask::Full => Mask::Full,
                    };
                }
            }
        }),
    },
];

fn rounding(text: &str) -> Option<Number> {
    Rounding::by_name(text).map(Number::Rounding)
}

fn factor(text: &str) -> Option<Number> {
    let factor: f32 = text.parse().ok()?;
    (factor.is_finite() && factor > 0.0 && factor != 1.0).then_some(Number::Factor(factor))
}

/// Edits lists of inverse frequencies: where windowed layers have a rotary embedding of their own (Gemma 3), those of the full
/// layers alone, as options of servers and keys of checkpoints do; else all.
fn ropes(model: &mut ModelSpec, edit: &dyn Fn(&mut [f32])) {
    let of = |full: bool| {
        let layers = model.layers.iter();
        let layers = layers.filter(move |l| (l.mask == Mask::Full) == full);
        layers.filter_map(|l| l.attention.rope.as_ref()).next()
    };
    let two = of(true).is_some() && of(false).is_some() && of(true) != of(false);
    let layers = model.layers.iter_mut();
    let layers = layers.filter(|l| !two || l.mask == Mask::Full);
    let ropes = layers.filter_map(|l| l.attention.rope.as_mut());
    ropes.for_each(|rope: &mut Rope| {
        edit(&mut rope.inv_freq);
        if let Some((_, long)) = &mut rope.long {
            edit(long);
        }
    });
}

/// What is done to a model.
#[derive(Clone, Debug)]
pub struct Variant {
    kind: Kind,
    layers: Option<RangeInclusive<usize>>,
}

#[derive(Clone, Debug)]
enum Kind {
    Plain(&'static Fault),
    Valued(&'static Valued, String),
}

impl Variant {
    /// The whole catalogue: every fault, those with a value once for each that deployments have.
    pub fn all() -> Vec<Self> {
        let plain = FAULTS.iter().map(Kind::Plain);
        let valued = VALUED.iter().flat_map(|fault| {
            let values = fault.values.iter();
            values.map(move |value| Kind::Valued(fault, (*value).to_owned()))
        });
        let kinds = plain.chain(valued);
        kinds.map(|kind| Self { kind, layers: None }).collect()
    }

    /// Reads `NAME`, `NAME=VALUE`, and either with `@FIRST-LAST`.
    ///
    /// # Errors
    /// A name, a value or a range that is none, with what was expected.
    ///
    /// ```
    /// use fathom_engine::variant::Variant;
    /// assert_eq!(Variant::parse("kv-cache=q4_0@0-3").unwrap().to_string(), "kv-cache=q4_0@0-3");
    /// assert!(Variant::parse("kv-cache=q3").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        let input = |field: &str, found: &str, expected: String| {
            Err(Error::input("fault", field, found, expected))
        };
        let (rest, layers) = match text.split_once('@') {
            None => (text, None),
            Some((rest, layers)) => {
                let range = layers
                    .split_once('-')
                    .and_then(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?))
                    .filter(|r: &RangeInclusive<usize>| !r.is_empty());
                match range {
                    Some(range) => (rest, Some(range)),
                    None => return input("layers", layers, "FIRST-LAST, as in 0-11".into()),
                }
            }
        };
        let (name, value) = match rest.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (rest, None),
        };
        let plain = Fault::by_name(name);
        let valued = VALUED.iter().find(|f| f.name == name);
        let kind = match (plain, valued, value) {
            (Some(fault), _, None) => Kind::Plain(fault),
            (Some(_), _, Some(value)) => return input("value", value, format!("none: {name}")),
            (_, Some(fault), Some(value)) if fault.reads(value) => {
                Kind::Valued(fault, value.to_owned())
            }
            (_, Some(fault), value) => {
                let expected = format!("{name}=VALUE, {}", fault.expected);
                return input("value", value.unwrap_or("none"), expected);
            }
            (None, None, _) => {
                let all = FAULTS.iter().map(|f| f.name);
                let all: Vec<_> = all.chain(VALUED.iter().map(|f| f.name)).collect();
                return input("name", name, format!("one of {}", all.join(", ")));
            }
        };
        Ok(Self { kind, layers })
    }

    /// Name of the fault, without its value.
    pub fn name(&self) -> &'static str {
        match &self.kind {
            Kind::Plain(fault) => fault.name,
            Kind::Valued(fault, _) => fault.name,
        }
    }

    /// Its value, where it has one.
    pub fn value(&self) -> Option<&str> {
        match &self.kind {
            Kind::Plain(_) => None,
            Kind::Valued(_, value) => Some(value),
        }
    }

    /// What is wrong, in a line.
    pub fn summary(&self) -> &'static str {
        match &self.kind {
            Kind::Plain(fault) => fault.summary,
            Kind::Valued(fault, _) => fault.summary,
        }
    }

    /// Where it reached users.
    pub fn source(&self) -> &'static str {
        match &self.kind {
            Kind::Plain(fault) => fault.source,
            Kind::Valued(fault, _) => fault.source,
        }
    }

    /// The spec with the fault; `None` when that changes nothing of it.
    pub fn spec(&self, spec: &ModelSpec) -> Option<ModelSpec> {
        let mut edited = match &self.kind {
            Kind::Plain(fault) => fault.apply(spec)?,
            Kind::Valued(fault, value) => {
                let Edit::Spec(read, edit) = fault.edit else {
                    return None;
                };
                let mut edited = spec.clone();
                edit(&mut edited, read(value)?);
                edited
            }
        };
        if let Some(range) = &self.layers {
            let layers = edited.layers.iter_mut().zip(&spec.layers).enumerate();
            let outside = layers.filter(|(i, _)| !range.contains(i));
            outside.for_each(|(_, (edited, sound))| edited.clone_from(sound));
        }
        (edited != *spec).then_some(edited)
    }

    /// Whether it rounds weights of this model; costs nothing.
    pub fn rounds_weights(&self, model: &Model) -> bool {
        let ty = self.weights_type();
        ty.is_some_and(|ty| model.weights.can_be_rounded(ty))
    }

    /// The type that weights are rounded to, where that is the fault.
    fn weights_type(&self) -> Option<StoredType> {
        match &self.kind {
            Kind::Valued(fault, value) if matches!(fault.edit, Edit::Weights) => stored_type(value),
            _ => None,
        }
    }

    /// The model with the fault; `None` when that changes nothing of it.
    ///
    /// # Errors
    /// The edit contradicts the weights.
    pub fn model(&self, model: &Model) -> Result<Option<Model>> {
        if let Some(spec) = self.spec(&model.spec) {
            return model.clone().with_spec(spec).map(Some);
        }
        let ty = self.weights_type();
        let weights = ty.and_then(|ty| model.weights.rounded(ty));
        let mut edited = weights.map(|weights| Model {
            weights,
            ..model.clone()
        });
        if let (Some(edited), Some(range)) = (&mut edited, &self.layers) {
            let layers = edited.weights.layers.iter_mut().zip(&model.weights.layers);
            let outside = layers.enumerate().filter(|(i, _)| !range.contains(i));
            outside.for_each(|(_, (edited, sound))| edited.clone_from(sound));
            edited.weights.head = model.weights.head.clone();
        }
        Ok(edited)
    }
}

impl Valued {
    fn reads(&self, value: &str) -> bool {
        match self.edit {
            Edit::Spec(read, _) => read(value).is_some(),
            Edit::Weights => stored_type(value).is_some(),
        }
    }
}

/// The type of this name, in small letters, that weights can be rounded to.
fn stored_type(name: &str) -> Option<StoredType> {
    quantize::types().find(|ty| ty.name().eq_ignore_ascii_case(name))
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if let Some(value) = self.value() {
            write!(f, "={value}")?;
        }
        match &self.layers {
            Some(range) => write!(f, "@{}-{}", range.start(), range.end()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_is_read_back() -> Result<()> {
        let names: Vec<String> = Variant::all().iter().map(Variant::to_string).collect();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        for name in names {
            assert_eq!(Variant::parse(&name)?.to_string(), name);
        }
        Ok(())
    }

    #[test]
    fn what_is_no_variant_is_told_what_is() {
        for (text, expected) in [
            ("no-chunks", "one of no-chunk"),
            ("no-chunk=3", "none: no-chunk"),
            ("kv-cache", "f16, bf16"),
            ("weights=q9", "q8_0, q6_k"),
            ("rope-base=1", "a factor other than 1"),
            ("rope-base=-2", "a factor other than 1"),
            ("no-chunk@3", "FIRST-LAST"),
            ("no-chunk@3-1", "FIRST-LAST"),
        ] {
            let error = Variant::parse(text).map_err(|e| e.to_string());
            let error = error.err().unwrap_or_default();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
