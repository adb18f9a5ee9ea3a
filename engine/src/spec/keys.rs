//! A configuration read so that no key is dropped silently: each is consumed, listed as irrelevant, or an error.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::{Error, Result};

/// Largest value accepted for any size in a configuration: far above every model, far below an overflow.
const MAX_SIZE: u64 = 1 << 32;
/// A spec holds an entry a layer, so their number is bounded before any is made.
const MAX_LAYERS: usize = 4096;

/// The keys of one configuration object.
pub struct Keys<'a> {
    file: String,
    prefix: String,
    map: &'a Map<String, Value>,
    seen: RefCell<BTreeSet<String>>,
}

impl<'a> Keys<'a> {
    /// Reads `map`; `prefix` stands before the key in messages (`text_config.`).
    pub fn new(file: &str, prefix: &str, map: &'a Map<String, Value>) -> Self {
        Self {
            file: file.into(),
            prefix: prefix.into(),
            map,
            seen: RefCell::default(),
        }
    }

    /// The error that names this file, `key`, what stands there, and `expected`.
    pub fn error(&self, key: &str, expected: &str) -> Error {
        let found = self.map.get(key).map_or("nothing".into(), short);
        Error::input(&self.file, format!("{}{key}", self.prefix), found, expected)
    }

    /// The value of `key`, consumed; `None` when absent or null.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.seen.borrow_mut().insert(key.into());
        self.map.get(key).filter(|v| !v.is_null())
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        self.get(key)
            .map(|v| read(v).ok_or_else(|| self.error(key, expected)))
            .transpose()
    }

    fn required<T>(&self, key: &str, expected: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.error(key, expected))
    }

    /// A count or size, 1 to 2^32.
    pub fn size(&self, key: &str) -> Result<usize> {
        let v = self.opt_size(key)?;
        self.required(key, "a whole number", v)
    }

    /// A count or size, if present.
    pub fn opt_size(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a whole number from 1 to 2^32", |v| {
            let n = v
                .as_u64()
                .or_else(|| v.as_f64().filter(|f| f.fract() == 0.0).map(|f| f as u64))?;
            (1..=MAX_SIZE).contains(&n).then_some(n as usize)
        })
    }

    /// A number of layers, at most 4096.
    pub fn layers(&self, key: &str) -> Result<usize> {
        let n = self.size(key)?;
        if n <= MAX_LAYERS {
            Ok(n)
        } else {
            Err(self.error(key, "at most 4096 layers"))
        }
    }

    /// The key is present and null.
    pub fn is_null(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(Value::is_null)
    }

    /// A number, finite.
    pub fn number(&self, key: &str) -> Result<f64> {
        let v = self.opt_number(key)?;
        self.required(key, "a number", v)
    }

    /// A number, if present.
    pub fn opt_number(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a finite number", |v| {
            v.as_f64().filter(|f| f.is_finite())
        })
    }

    /// A number above zero, or the default.
    pub fn positive_or(&self, key: &str, default: f64) -> Result<f64> {
        let v = self.opt_number(key)?.unwrap_or(default);
        if v > 0.0 {
            Ok(v)
        } else {
            Err(self.error(key, "a number above 0"))
        }
    }

    /// A truth value, or the default; a number counts as true unless it is 0 (early Llama 4 files).
    pub fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        let v = self.typed(key, "true or false", |v| {
            v.as_bool().or_else(|| v.as_f64().map(|f| f != 0.0))
        })?;
        Ok(v.unwrap_or(default))
    }

    /// A string, if present.
    pub fn opt_str(&self, key: &str) -> Result<Option<&'a str>> {
        self.typed(key, "a string", Value::as_str)
    }

    /// A list, if present and not empty (real files write `[]` for "as by default").
    pub fn opt_list<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        let list = self.typed(key, expected, |v| {
            v.as_array()?.iter().map(&read).collect::<Option<Vec<T>>>()
        })?;
        Ok(list.filter(|l| !l.is_empty()))
    }

    /// An object, if present.
    pub fn opt_object(&self, key: &str) -> Result<Option<&'a Map<String, Value>>> {
        self.typed(key, "an object", Value::as_object)
    }

    /// Checks that `key`, if present, holds `value`: nothing else is computed here.
    pub fn must_be(&self, key: &str, value: &Value) -> Result<()> {
        match self.get(key) {
            Some(v) if v != value => Err(self.error(key, &value.to_string())),
            _ => Ok(()),
        }
    }

    /// Lists keys that do not change what the text model computes.
    pub fn irrelevant(&self, keys: &[&str]) {
        self.seen
            .borrow_mut()
            .extend(keys.iter().map(|k| k.to_string()));
    }

    /// The keys that nobody asked for.
    ///
    /// # Errors
    /// One unknown key, named, unless `allow`.
    pub fn finish(&self, allow: bool) -> Result<Vec<String>> {
        let seen = self.seen.borrow();
        let unknown: Vec<String> = self
            .map
            .keys()
            .filter(|k| !seen.contains(*k))
            .map(|k| format!("{}{k}", self.prefix))
            .collect();
        match unknown.first() {
            Some(key) if !allow => {
                let value = short(&self.map[&key[self.prefix.len()..]]);
                let expected =
                    "only keys that this family knows (--allow-unknown-keys goes on without it)";
                Err(Error::input(
                    &self.file,
                    key,
                    format!("an unknown key with value {value}"),
                    expected,
                ))
            }
            _ => Ok(unknown),
        }
    }
}

/// A value in at most 60 characters.
fn short(v: &Value) -> String {
    let text = v.to_string();
    if text.chars().count() <= 60 {
        return text;
    }
    let start: String = text.chars().take(57).collect();
    format!("{start}...")
}

/// Keys of `config.json` that never change what a text model computes.
pub const IRRELEVANT_HF: &[&str] = &[
    "_attn_implementation_autoset",
    "_name_or_path",
    "add_cross_attention",
    "architectures",
    "attention_dropout",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "for_llm_compression",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "id2label",
    "initializer_range",
    "is_decoder",
    "is_encoder_decoder",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "model_type",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_pdrop",
    "embd_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "typical_p",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
];
