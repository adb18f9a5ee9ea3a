//! What may have been done to a model that is served: the catalogue's faults, edits of the prompt, another model.

use fathom_engine::Model;
use fathom_engine::reach::first_difference;
use fathom_engine::variant::Variant;
use half::bf16;
use serde::{Deserialize, Serialize};

use crate::audit::prompt::PromptEdit;
use crate::{Error, Result};

/// The name of the hypothesis that nothing was done.
pub const SOUND: &str = "sound";

/// A hypothesis, as it is told and stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hypothesis {
    /// `sound`, or as on the command line: `no-chunk`, `kv-cache=q4_0`, `cut-middle=0.5`.
    pub name: String,
    /// What is wrong, in a line.
    pub summary: String,
    /// The first position whose logits can differ.
    pub first: usize,
}

/// What is done, for the engine.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Nothing.
    None,
    /// The model is another.
    Variant(Variant),
    /// The prompt is another.
    Prompt(PromptEdit),
    /// Another checkpoint.
    Checkpoint(Box<Model>),
}

/// What a service may do to a prompt or to an answer: name and values, what is wrong, who does it. `fathom serve` has no option for them,
/// as the model is what it should be; `fathom audit` looks for all.
pub const BY_SERVICES: [[&str; 3]; 12] = [
    [
        "cut-start=SHARE",
        "the beginning of the prompt left out",
        "services with a smaller context than they say",
    ],
    [
        "cut-middle=SHARE",
        "the middle of the prompt left out",
        "routers: middle-out",
    ],
    [
        "cut-end=SHARE",
        "the end of the prompt left out",
        "services that limit what they tokenize",
    ],
    [
        "cut-*=beyond-N",
        "the same of a prompt longer than N tokens",
        "as above",
    ],
    [
        "double-bos",
        "two BOS tokens before the prompt",
        "templates with BOS behind tokenizers that add it",
    ],
    [
        "no-bos",
        "the prompt without its BOS token",
        "tokenizers that do not add it",
    ],
    [
        "template=NAME",
        "another chat template than the model's",
        "chatml, llama2, llama3 as defaults; none at all",
    ],
    [
        "no-assistant-turn",
        "the prompt without the beginning of the assistant's turn",
        "templates without add_generation_prompt",
    ],
    [
        "hidden-system",
        "a system message that nobody sent",
        "templates with a default of their own",
    ],
    [
        "model=PATH",
        "another model in this one's place",
        "looked for where --suspect names it",
    ],
    [
        "forced-temperature=T, -top-p=P, -top-k=K, -min-p=P",
        "tokens chosen by another rule than asked for",
        "defaults of servers, fields that are ignored",
    ],
    [
        "prefix-cache",
        "a prompt that was seen before meets another state",
        "vLLM #19697",
    ],
];

/// Of these, other programs' versions differ from ours: roundings have many spellings.
const ROUNDINGS: [&str; 3] = ["kv-cache", "activations", "weights"];
const ROUNDING_TOLERANCE: f64 = 0.3;
const TOLERANCE: f64 = 0.02;

/// Honest numerics: other precisions and orders of the same computation. The largest are those of a model that is bf16
/// throughout, logits included, and of llama.cpp, which rounds activations to blocks of 8 bits.
pub const HONEST: [Honest; 5] = [
    Honest::new("activations=bf16", true),
    Honest::new("activations=f16", false),
    Honest::new("activations=q8_0", false),
    Honest::new("kv-cache=f16", false),
    Honest::new("kv-cache=bf16", false),
];

/// A sound engine in other numerics than the reference.
#[derive(Clone, Copy, Debug)]
pub struct Honest {
    /// What is rounded, as a variant.
    pub variant: &'static str,
    /// Whether logits are rounded to bf16 before they become probabilities.
    pub bf16_logits: bool,
}

impl Honest {
    const fn new(variant: &'static str, bf16_logits: bool) -> Self {
        Self {
            variant,
            bf16_logits,
        }
    }
}

impl Honest {
    /// The one that is furthest from the reference: bf16 throughout.
    pub fn noisiest() -> Self {
        HONEST[0]
    }

    /// What becomes of a logit before it is told.
    pub fn told(self) -> fn(f32) -> f32 {
        match self.bf16_logits {
            true => |logit| bf16::from_f32(logit).to_f32(),
            false => |logit| logit,
        }
    }
}

impl Hypothesis {
    /// Nothing was done.
    pub fn sound() -> Self {
        Self {
            name: SOUND.to_owned(),
            summary: "the model as the reference has it".to_owned(),
            first: usize::MAX,
        }
    }

    /// How much another program's version of the same may differ from ours, as a share of its effect: what rounds numbers
    /// does so in many ways, what leaves a step out in one.
    pub fn tolerance(&self) -> f64 {
        match self.rounds() {
            true => ROUNDING_TOLERANCE,
            false => TOLERANCE,
        }
    }

    /// The fault's name without its value.
    pub fn fault(&self) -> &str {
        split(&self.name).0
    }

    /// Whether it rounds numbers, which other programs do to other ones.
    pub fn rounds(&self) -> bool {
        ROUNDINGS.contains(&self.fault())
    }

    /// The value, where it has one.
    pub fn value(&self) -> Option<&str> {
        split(&self.name).1
    }

    /// Of a fault of the catalogue, where it changes something of the model.
    pub fn of_variant(variant: &Variant, model: &Model) -> Option<Self> {
        let first = match variant.spec(&model.spec) {
            Some(faulty) => first_difference(&model.spec, &faulty)?,
            None if variant.rounds_weights(model) => 0,
            None => return None,
        };
        Some(Self {
            name: variant.to_string(),
            summary: variant.summary().to_owned(),
            first,
        })
    }

    /// Of an edit of the prompt.
    pub fn of_prompt(edit: &PromptEdit) -> Self {
        Self {
            name: edit.to_string(),
            summary: edit.summary().to_owned(),
            first: 0,
        }
    }
}

/// A hypothesis' name as the fault and its value, where it has one.
pub fn split(name: &str) -> (&str, Option<&str>) {
    match name.split_once('=') {
        Some((fault, value)) => (fault, Some(value)),
        None => (name.split('@').next().unwrap_or(name), None),
    }
}

/// Sound, and the catalogue's faults that change something of a model.
pub fn faults(model: &Model) -> Vec<(Hypothesis, Edit)> {
    let faults = Variant::all().into_iter().filter_map(|variant| {
        let hypothesis = Hypothesis::of_variant(&variant, model)?;
        Some((hypothesis, Edit::Variant(variant)))
    });
    std::iter::once((Hypothesis::sound(), Edit::None))
        .chain(faults)
        .collect()
}

/// Other checkpoints that may be in a model's place, with their names.
///
/// # Errors
/// A suspect with another vocabulary.
pub fn suspects(model: &Model, others: Vec<(String, Model)>) -> Result<Vec<(Hypothesis, Edit)>> {
    let hypotheses = others.into_iter().map(|(name, suspect)| {
        let (found, expected) = (suspect.spec.n_vocab, model.spec.n_vocab);
        if found != expected {
            let expected = format!("{expected}, as the reference has");
            return Err(Error::input("--suspect", "vocabulary", found, expected));
        }
        let hypothesis = Hypothesis {
            name: format!("model={name}"),
            summary: "another model".to_owned(),
            first: 0,
        };
        Ok((hypothesis, Edit::Checkpoint(Box::new(suspect))))
    });
    hypotheses.collect()
}

/// The reference with what a provider says openly: `kv=q8_0,weights=q4_k_m`.
///
/// # Errors
/// What is no fault of the catalogue, or changes nothing of the model.
pub fn declared(model: Model, text: &str) -> Result<Model> {
    let mut model = model;
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let spelled = match part.split_once('=') {
            Some(("kv", value)) => format!("kv-cache={value}"),
            _ => part.to_owned(),
        };
        // A file's mix of types goes by the name of most of them.
        let plain = ["_k_m", "_k_s", "_k_l"];
        let mixed = plain.iter().find_map(|mix| {
            let stem = spelled.strip_suffix(mix)?;
            Some(format!("{stem}_k"))
        });
        let spelled = mixed.unwrap_or(spelled);
        let variant = Variant::parse(&spelled)?;
        if HONEST.iter().any(|h| h.variant == spelled) {
            continue;
        }
        model = variant.model(&model)?.ok_or_else(|| {
            Error::Usage(format!(
                "--declared {part}: changes nothing of {}",
                model.name
            ))
        })?;
    }
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::drawn::Rule;
    use crate::builtin;

    #[test]
    fn the_catalogue_of_the_built_in_model_has_its_faults_once_and_no_other_familys() -> Result<()>
    {
        let model = builtin::open()?;
        let all = faults(&model);
        let names: Vec<&str> = all.iter().map(|(h, _)| &*h.name).collect();
        assert_eq!(names[0], SOUND);
        for there in [
            "no-chunk",
            "no-temperature",
            "kv-cache=q4_0",
            "weights=q4_0",
            "rope-base=2",
        ] {
            assert_eq!(names.iter().filter(|n| **n == there).count(), 1, "{there}");
        }
        for absent in ["no-sinks", "no-softcap", "no-window", "rope-short-list"] {
            assert!(!names.contains(&absent), "{absent}");
        }
        Ok(())
    }

    #[test]
    fn what_services_do_is_listed_under_the_names_that_are_told() {
        let listed = |name: &str| BY_SERVICES.iter().any(|row| row[0].starts_with(name));
        let edits = PromptEdit::all(Some(1), Some((1, vec![2])), &[384]);
        for edit in edits.iter().map(ToString::to_string) {
            assert!(listed(split(&edit).0), "{edit}");
        }
        assert!(listed(split(&Rule::Temperature(0.5).name()).0));
    }

    #[test]
    fn what_is_declared_becomes_the_reference() -> Result<()> {
        let plain = builtin::open()?;
        let model = declared(plain.clone(), "kv=q8_0, weights=q4_k_m")?;
        assert_ne!(model.spec, plain.spec);
        assert_eq!(declared(plain.clone(), "")?.spec, plain.spec);
        for wrong in ["kv=q3", "speed=fast", "no-sinks"] {
            assert!(declared(plain.clone(), wrong).is_err(), "{wrong}");
        }
        Ok(())
    }
}
