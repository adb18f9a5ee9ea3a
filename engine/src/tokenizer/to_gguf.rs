//! A `tokenizer.json` as the keys of a GGUF file.
//!
//! GGUF has no patterns but names of them: that of a `tokenizer.json` is recognised by its text, and what was written is
//! held against the original over a text of many kinds. What has no name, or gives other ids, is an error.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use super::hf::{self, File};
use super::vocab::{Kind, Spelling};
use super::{Tokenizer, gguf};
use crate::format::gguf::{Array, Metadata, Value};
use crate::{Error, Result};

/// Names by the patterns that they stand for, as `tokenizer.json` files have them (llama.cpp recognises a file by the hash of
/// the ids of a text). The first part of DeepSeek's says enough.
#[rustfmt::skip]
const NAMES: &[(&str, &[&str])] = &[
    ("gpt-2", &["words"]),
    ("smollm", &["digits", "words"]),
    ("llama-bpe", &[r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]),
    ("qwen2", &[r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]),
    ("gpt-4o", &[r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"]),
    ("tekken", &[r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"]),
    ("deepseek-v3", &[r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##]),
];

/// Words, numbers, marks, scripts and white space; without what llama.cpp is known to read otherwise: capitals inside words that are
/// not ASCII, which its `gpt-4o` and `tekken` do not part, and decomposed accents, which it does not compose.
const TEXT: &str = "I'LL pay 1234567 crowns, it's 3.14!\r\n\r\n   \tdef f(x):\n    return x  # naïve\n漢字、かな　и это — так  \n\
    <b>a_b</b> 'tis \"x\"… 100% été 🦀🦀 \u{a0}end  ";

impl Tokenizer {
    /// The `tokenizer.ggml.*` keys of a `tokenizer.json`, of `n_vocab` tokens; `beside` is the `tokenizer_config.json`, `config`
    /// the `config.json`.
    ///
    /// # Errors
    /// A file that is not valid, a pre-tokenizer that GGUF has no name for, and one whose ids would be others.
    pub fn to_gguf(
        file: &str,
        json: &[u8],
        beside: Option<&[u8]>,
        config: &Map<String, Json>,
        n_vocab: usize,
    ) -> Result<Vec<(String, Value)>> {
        let tokenizer = Self::from_hf(file, json, beside)?;
        let parts: File = serde_json::from_slice(json)
            .map_err(|e| Error::input(file, "content", e, "a tokenizer.json"))?;
        if tokenizer.n_vocab() > n_vocab {
            let found = format!("{} tokens", tokenizer.n_vocab());
            let expected = format!("at most {n_vocab}, the rows of the embedding");
            return Err(Error::input(file, "model.vocab", found, expected));
        }
        let mut keys = tokens(&tokenizer, &parts, n_vocab);
        let merges = hf::pairs(file, &parts.model.merges)?;
        match tokenizer.vocab.spelling {
            Spelling::ByteLevel => {
                let lines = merges.iter().map(|(a, b)| format!("{a} {b}"));
                keys.push(text(gguf::MODEL, "gpt2"));
                keys.push(text(gguf::PRE, name(file, &parts)?));
                let lines = Value::Array(Array::Str(lines.collect()));
                keys.push((gguf::MERGES.into(), lines));
            }
            Spelling::Underscore => {
                keys.push(text(gguf::MODEL, "llama"));
                keys.push(text(gguf::PRE, "default"));
                keys.push((gguf::SCORES.into(), scores(&tokenizer, &merges, n_vocab)));
                let space = Value::Bool(prepends(&parts.normalizer, &parts.pre_tokenizer));
                keys.push((gguf::ADD_SPACE.into(), space));
            }
        }
        let nested = config.get("text_config").and_then(Json::as_object);
        let listed = |key: &str| {
            let value = config.get(key).or_else(|| nested?.get(key))?;
            let id = value.as_u64().or_else(|| value.get(0)?.as_u64())?;
            u32::try_from(id).ok().filter(|id| (*id as usize) < n_vocab)
        };
        let unknown = parts.model.unk_token.as_deref();
        let ids = [
            (gguf::BOS, tokenizer.bos.or(listed("bos_token_id"))),
            (gguf::EOS, tokenizer.eos.or(listed("eos_token_id"))),
            (gguf::PADDING, listed("pad_token_id")),
            (gguf::UNKNOWN, unknown.and_then(|text| tokenizer.id(text))),
        ];
        for (key, id) in ids {
            keys.extend(id.map(|id| (key.to_owned(), Value::Unsigned(id.into()))));
        }
        let add_bos = Value::Bool(tokenizer.add_bos());
        keys.push((gguf::ADD_BOS.into(), add_bos));
        same_ids(file, &tokenizer, &keys)?;
        Ok(keys)
    }
}

fn text(key: &str, value: &str) -> (String, Value) {
    (key.to_owned(), Value::Str(value.to_owned()))
}

/// Texts and types; ids without a token are padding.
fn tokens(tokenizer: &Tokenizer, parts: &File, n_vocab: usize) -> Vec<(String, Value)> {
    let unknown = parts.model.unk_token.as_deref();
    let mut texts: Vec<String> = (0..n_vocab).map(|i| format!("[PAD{i}]")).collect();
    let mut types = vec![5; n_vocab];
    for (id, text, kind) in tokenizer.vocab.iter() {
        texts[id as usize] = text.to_owned();
        types[id as usize] = match kind {
            _ if Some(text) == unknown => 2,
            Kind::Normal => 1,
            Kind::Control => 3,
            Kind::UserDefined => 4,
            Kind::Byte(_) => 6,
        };
    }
    vec![
        (gguf::TOKENS.into(), Value::Array(Array::Str(texts))),
        (gguf::TYPES.into(), Value::Array(Array::Signed(types))),
    ]
}

/// Scores that make the merges by score those by rank: the earlier a token is merged, the higher.
fn scores(tokenizer: &Tokenizer, merges: &[(String, String)], n_vocab: usize) -> Value {
    let mut ranks = HashMap::new();
    for (rank, (a, b)) in merges.iter().enumerate() {
        ranks.entry(format!("{a}{b}")).or_insert(rank);
    }
    let mut scores = vec![-1e6; n_vocab];
    for (id, text, kind) in tokenizer.vocab.iter() {
        scores[id as usize] = match (kind, ranks.get(text)) {
            (Kind::Normal | Kind::UserDefined, Some(rank)) => -(*rank as f64),
            (Kind::Normal | Kind::UserDefined, None) => -((merges.len() + id as usize) as f64),
            (Kind::Control | Kind::Byte(_), _) => 0.0,
        };
    }
    Value::Array(Array::Float(scores))
}

/// Whether a space is put before the text.
fn prepends(normalizer: &Json, pre_tokenizer: &Json) -> bool {
    let prepended = hf::types(normalizer).contains(&"Prepend");
    let scheme = pre_tokenizer["type"] == "Metaspace" && pre_tokenizer["prepend_scheme"] != "never";
    prepended || scheme && pre_tokenizer["add_prefix_space"] != false
}

/// The name that GGUF has for a pre-tokenizer.
fn name(file: &str, parts: &File) -> Result<&'static str> {
    let mut found = Vec::new();
    collect(&parts.pre_tokenizer, &mut found);
    let known = NAMES.iter().find(|(_, patterns)| *patterns == found);
    match known {
        Some(("llama-bpe", _)) if !parts.model.ignore_merges => Ok("dbrx"),
        Some((name, _)) => Ok(name),
        // DeepSeek V2's goes on with every letter of the alphabets that it knows.
        None if found.first() == Some(&r"[\r\n]") && found.len() > 3 => Ok("deepseek-llm"),
        None => {
            let found = crate::format::printable(&found.join("  "));
            let expected = "a pattern that GGUF files have a name for";
            Err(Error::input(file, "pre_tokenizer", found, expected))
        }
    }
}

/// The patterns of a pre-tokenizer, in order; `words` are GPT-2's.
fn collect<'p>(pre: &'p Json, out: &mut Vec<&'p str>) {
    match pre["type"].as_str() {
        Some("Sequence") => {
            let all = pre["pretokenizers"].as_array().into_iter().flatten();
            all.for_each(|one| collect(one, out));
        }
        Some("Split") => out.extend(pre["pattern"]["Regex"].as_str()),
        Some("Digits") => out.push("digits"),
        Some("ByteLevel") if pre["use_regex"] != false => out.push("words"),
        _ => {}
    }
}

/// Holds the keys against the tokenizer that they were made of.
fn same_ids(file: &str, tokenizer: &Tokenizer, keys: &[(String, Value)]) -> Result<()> {
    let metadata: Metadata = keys.iter().cloned().collect();
    let back = Tokenizer::from_gguf(&format!("{file} as GGUF"), &metadata)?;
    for line in TEXT.split_inclusive('\n').chain([TEXT]) {
        let (here, there) = (tokenizer.encode(line)?, back.encode(line)?);
        if here != there {
            let found = format!("{line:?} as {here:?}");
            let expected = format!("{there:?}, as a GGUF file has it");
            return Err(Error::input(file, "tokens", found, expected));
        }
    }
    Ok(())
}
