//! `tokenizer.json`: checked here, run by the `tokenizers` crate.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{AddedToken, NormalizerWrapper, PreTokenizerWrapper};

use super::vocab::{Kind, Spelling, Vocab, byte_token, looks_special};
use super::{Tokenizer, bpe, patterns};
use crate::{Error, Result};

/// The parts of the file. What is null or absent is not there.
#[derive(Deserialize)]
pub(super) struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    pub(super) normalizer: Value,
    #[serde(default)]
    pub(super) pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    pub(super) model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
pub(super) struct Model {
    r#type: Option<String>,
    pub(super) unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    pub(super) ignore_merges: bool,
    #[serde(default)]
    vocab: Ids,
    #[serde(default)]
    pub(super) merges: Vec<Merge>,
}

/// `vocab` of a BPE model; of another model it has another shape, and the error is about the model's type.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    Map(HashMap<String, u32>),
    Other(serde::de::IgnoredAny),
}

impl Default for Ids {
    fn default() -> Self {
        Self::Other(serde::de::IgnoredAny)
    }
}

/// `"a b"` in older files, `["a", "b"]` in newer ones.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Merge {
    Pair(String, String),
    Line(String),
}

/// What `tokenizer_config.json` says about BOS.
#[derive(Deserialize, Default)]
struct Config {
    bos_token: Option<Named>,
    eos_token: Option<Named>,
    add_bos_token: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Text(String),
    Token { content: String },
    Other(serde::de::IgnoredAny),
}

/// The crate's tokenizer, twice: special tokens are text, and special tokens are recognised.
pub(super) struct Pipeline {
    plain: tokenizers::Tokenizer,
    special: OnceLock<tokenizers::Tokenizer>,
}

impl Pipeline {
    pub(super) fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        let tokenizer = if special {
            self.special.get_or_init(|| {
                let mut tokenizer = self.plain.clone();
                tokenizer.set_encode_special_tokens(false);
                tokenizer
            })
        } else {
            &self.plain
        };
        let encoding = tokenizer
            .encode_fast(text, false)
            .map_err(|e| Error::Unsupported(format!("tokenizer: {e}")))?;
        Ok(encoding.get_ids().to_vec())
    }
}

pub(super) fn load(file: &str, json: &[u8], config: Option<&[u8]>) -> Result<Tokenizer> {
    let parts: File = serde_json::from_slice(json)
        .map_err(|e| Error::input(file, "content", e, "a tokenizer.json"))?;
    let config: Config = match config {
        Some(json) => serde_json::from_slice(json).map_err(|e| {
            Error::input(
                "tokenizer_config.json",
                "content",
                e,
                "a tokenizer_config.json",
            )
        })?,
        None => Config::default(),
    };
    let spelling = spelling(file, &parts)?;
    let vocab = vocabulary(file, &parts, spelling)?;
    let space_prefix = strips_a_space(&parts.decoder);
    let template_bos = first_special(&parts.post_processor).and_then(|text| vocab.id(text));
    let named = |token: Option<Named>| match token {
        Some(Named::Text(content) | Named::Token { content }) => vocab.id(&content),
        Some(Named::Other(_)) | None => None,
    };
    let bos = named(config.bos_token).or(template_bos);
    let eos = named(config.eos_token);
    let add_bos = config.add_bos_token.unwrap_or(template_bos.is_some());
    let hash = hash(json, bos, add_bos);
    let plain = assemble(file, parts, &vocab)?;
    let pipeline = Pipeline {
        plain,
        special: OnceLock::new(),
    };
    Ok(Tokenizer {
        vocab,
        pipeline: super::Pipeline::Hf(Box::new(pipeline)),
        bos,
        eos,
        add_bos,
        space_prefix,
        hash,
    })
}

/// Checks ids and texts: unique, and ids in proportion to their number.
fn vocabulary(file: &str, parts: &File, spelling: Spelling) -> Result<Vocab> {
    let Ids::Map(ids) = &parts.model.vocab else {
        return Err(Error::input(
            file,
            "model.vocab",
            "no map of ids",
            "token texts with their ids",
        ));
    };
    // Models pad their vocabularies, so ids may have holes; but nothing is allocated that the file's size does not justify.
    let limit = 2 * (ids.len() + parts.added_tokens.len()) + 4096;
    let check = |field: &str, text: &str, id: u32| {
        if (id as usize) < limit {
            return Ok(());
        }
        let found = format!("id {id} for {text:?}");
        Err(Error::input(
            file,
            field,
            found,
            format_args!("an id below {limit}"),
        ))
    };
    let duplicate = |field: &str, found: String| {
        Error::input(file, field, found, "each token and each id once")
    };
    let mut sorted: Vec<(&str, u32)> = ids.iter().map(|(text, id)| (&**text, *id)).collect();
    sorted.sort_by_key(|&(text, id)| (id, text));
    let mut vocab = Vocab::new(spelling);
    for (text, id) in sorted {
        check("model.vocab", text, id)?;
        let kind = match byte_token(text) {
            Some(byte) if parts.model.byte_fallback => Kind::Byte(byte),
            _ => Kind::Normal,
        };
        vocab
            .insert(id, text, kind)
            .map_err(|found| duplicate("model.vocab", found))?;
    }
    let n_model = vocab.len();
    for added in &parts.added_tokens {
        let text = &*added.content;
        check("added_tokens", text, added.id)?;
        match vocab.id(text) {
            Some(id) if id == added.id => {}
            Some(id) if (id as usize) < n_model => {
                let found = format!("{text:?} with id {}", added.id);
                let expected = format!("id {id} as in model.vocab");
                return Err(Error::input(file, "added_tokens", found, expected));
            }
            _ => vocab
                .insert(added.id, text, Kind::Normal)
                .map_err(|found| duplicate("added_tokens", found))?,
        }
        let special = added.special || looks_special(text);
        vocab.set_kind(
            added.id,
            if special {
                Kind::Control
            } else {
                Kind::UserDefined
            },
        );
    }
    Ok(vocab)
}

/// Merges in either spelling.
pub(super) fn pairs(file: &str, merges: &[Merge]) -> Result<Vec<(String, String)>> {
    let pair = |(i, merge): (usize, &Merge)| match merge {
        Merge::Pair(a, b) => Ok((a.clone(), b.clone())),
        Merge::Line(line) => match line.split_once(' ') {
            Some((a, b)) => Ok((a.to_owned(), b.to_owned())),
            None => Err(Error::input(
                file,
                format_args!("model.merges[{i}]"),
                format_args!("{line:?}"),
                "two tokens with a space between",
            )),
        },
    };
    merges.iter().enumerate().map(pair).collect()
}

/// Puts the crate's tokenizer together, special tokens being text.
fn assemble(file: &str, parts: File, vocab: &Vocab) -> Result<tokenizers::Tokenizer> {
    let Model {
        unk_token,
        continuing_subword_prefix,
        end_of_word_suffix,
        merges,
        ..
    } = parts.model;
    for (field, affix) in [
        (
            "model.continuing_subword_prefix",
            &continuing_subword_prefix,
        ),
        ("model.end_of_word_suffix", &end_of_word_suffix),
    ] {
        if let Some(text) = affix.as_deref().filter(|text| !text.is_empty()) {
            return Err(Error::input(file, field, format_args!("{text:?}"), "none"));
        }
    }
    if let Some(unk) = unk_token.as_deref().filter(|unk| vocab.id(unk).is_none()) {
        return Err(Error::input(
            file,
            "model.unk_token",
            format_args!("{unk:?}"),
            "a token",
        ));
    }
    let merges = pairs(file, &merges)?;
    let (fuse_unk, byte_fallback, ignore_merges) = (
        parts.model.fuse_unk,
        parts.model.byte_fallback,
        parts.model.ignore_merges,
    );
    let Ids::Map(ids) = parts.model.vocab else {
        return Err(Error::input(
            file,
            "model.vocab",
            "no map of ids",
            "token texts with their ids",
        ));
    };
    let ids = ids.into_iter().collect();
    let model = bpe::model(file, "model.merges", ids, merges, |builder| {
        let builder = match unk_token {
            Some(unk) => builder.unk_token(unk),
            None => builder,
        };
        builder
            .fuse_unk(fuse_unk)
            .byte_fallback(byte_fallback)
            .ignore_merges(ignore_merges)
    })?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    let normalizer: Option<NormalizerWrapper> = component(file, "normalizer", parts.normalizer)?;
    tokenizer
        .with_normalizer(normalizer)
        .map_err(|e| Error::input(file, "normalizer", e, "a normalizer"))?;
    let pre: Option<PreTokenizerWrapper> = component(file, "pre_tokenizer", parts.pre_tokenizer)?;
    tokenizer.with_pre_tokenizer(pre);
    let mut added = parts.added_tokens;
    added.sort_by_key(|token| token.id);
    let added = added.into_iter().map(|token| {
        let special = vocab.kind(token.id) == Some(Kind::Control);
        AddedToken {
            normalized: token.normalized.unwrap_or(!token.special),
            content: token.content,
            single_word: token.single_word,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            special,
        }
    });
    tokenizer
        .add_tokens(added)
        .map_err(|e| Error::input(file, "added_tokens", e, "tokens that can be searched for"))?;
    // The crate numbers the tokens that the model does not have one after the other.
    for (id, text, _) in vocab.iter() {
        if let Some(other) = tokenizer.token_to_id(text).filter(|other| *other != id) {
            let found = format!("{text:?} with id {id}");
            return Err(Error::input(
                file,
                "added_tokens",
                found,
                format_args!("id {other}"),
            ));
        }
    }
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
}

/// A component of the crate; `None` for null.
fn component<T: serde::de::DeserializeOwned>(
    file: &str,
    field: &str,
    value: Value,
) -> Result<Option<T>> {
    if value.is_null() {
        return Ok(None);
    }
    patterns::check(file, field, &value)?;
    serde_json::from_value(value)
        .map(Some)
        .map_err(|e| Error::input(file, field, e, format_args!("a {field}")))
}

/// How the model's tokens spell bytes, from the decoder.
fn spelling(file: &str, parts: &File) -> Result<Spelling> {
    let model = parts.model.r#type.as_deref().unwrap_or("BPE");
    if model != "BPE" {
        return Err(Error::input(file, "model.type", model, "BPE"));
    }
    let names = types(&parts.decoder);
    if names.contains(&"ByteLevel") {
        return Ok(Spelling::ByteLevel);
    }
    if names.contains(&"Metaspace") || names.contains(&"Replace") || names.contains(&"ByteFallback")
    {
        return Ok(Spelling::Underscore);
    }
    let found = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    Err(Error::input(
        file,
        "decoder",
        found,
        "ByteLevel, Metaspace, or Replace and ByteFallback",
    ))
}

/// The `type`s of a component and of those in it.
pub(super) fn types(component: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = component["type"].as_str().into_iter().collect();
    for list in ["decoders", "normalizers", "pretokenizers", "processors"] {
        names.extend(
            component[list]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(types),
        );
    }
    names
}

/// Whether the decoder takes a leading space away (Llama 2's `Strip`, `Metaspace` with a prefix).
fn strips_a_space(decoder: &Value) -> bool {
    match decoder["type"].as_str() {
        Some("Strip") => decoder["content"] == " " && decoder["start"] != 0,
        Some("Metaspace") => {
            decoder["prepend_scheme"] != "never" && decoder["add_prefix_space"] != false
        }
        _ => decoder["decoders"]
            .as_array()
            .is_some_and(|list| list.iter().any(strips_a_space)),
    }
}

/// The special token that the post-processor puts first.
fn first_special(processor: &Value) -> Option<&str> {
    match processor["type"].as_str() {
        Some("TemplateProcessing") => processor["single"][0]["SpecialToken"]["id"].as_str(),
        _ => processor["processors"]
            .as_array()?
            .iter()
            .find_map(first_special),
    }
}

fn hash(json: &[u8], bos: Option<u32>, add_bos: bool) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("fathom tokenizer.json 1");
    hasher.update(json);
    hasher.update(&bos.unwrap_or(u32::MAX).to_le_bytes());
    hasher.update(&[u8::from(add_bos)]);
    hasher.finalize().to_hex().to_string()
}
