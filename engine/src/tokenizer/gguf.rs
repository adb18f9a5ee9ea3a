//! GGUF metadata: the `tokenizer.ggml.*` keys, read as llama.cpp reads them, and checked.

use std::collections::BTreeSet;

use super::Tokenizer;
use super::bpe::{self, Bpe};
use super::partition::{Part, Partition};
use super::pre::{self, PreTokenizer};
use super::spm::Spm;
use super::vocab::{Kind, Spelling, Vocab, byte_token};
use crate::format::gguf::{Array, Metadata, Value};
use crate::{Error, Result};

pub(super) const MODEL: &str = "tokenizer.ggml.model";
pub(super) const PRE: &str = "tokenizer.ggml.pre";
pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
pub(super) const TYPES: &str = "tokenizer.ggml.token_type";
pub(super) const SCORES: &str = "tokenizer.ggml.scores";
pub(super) const MERGES: &str = "tokenizer.ggml.merges";
pub(super) const EOS: &str = "tokenizer.ggml.eos_token_id";
pub(super) const BOS: &str = "tokenizer.ggml.bos_token_id";
pub(super) const PADDING: &str = "tokenizer.ggml.padding_token_id";
pub(super) const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
pub(super) const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
pub(super) const ADD_SPACE: &str = "tokenizer.ggml.add_space_prefix";

/// Tokens that llama.cpp takes for the end of a turn by their text, and so for structure, whatever their type.
pub(crate) const TURN_ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// Cuts at user-defined tokens, then merges.
pub(super) struct Pipeline {
    partition: Partition,
    merging: Merging,
}

enum Merging {
    Rank(Box<Bpe>),
    Score(Spm),
}

impl Pipeline {
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, special: bool) -> Result<Vec<u32>> {
        let mut out = Vec::with_capacity(text.len() / 3);
        let mut first = true;
        for part in self.partition.cut(text, special) {
            first = match part {
                Part::Token(id) => {
                    out.push(id);
                    true
                }
                Part::Text(text) => {
                    match &self.merging {
                        Merging::Rank(bpe) => bpe.encode(vocab, text, &mut out)?,
                        Merging::Score(spm) => spm.encode(vocab, text, first, &mut out),
                    }
                    false
                }
            };
        }
        Ok(out)
    }
}

pub(super) fn load(file: &str, meta: &Metadata) -> Result<Tokenizer> {
    let keys = Keys { file, meta };
    let model = keys
        .string(MODEL)?
        .ok_or_else(|| keys.missing(MODEL, "gpt2 or llama"))?;
    let spelling = match model {
        "gpt2" => Spelling::ByteLevel,
        "llama" => Spelling::Underscore,
        other => {
            return Err(Error::input(
                file,
                MODEL,
                format_args!("{other:?}"),
                "gpt2 or llama",
            ));
        }
    };
    let vocab = vocabulary(&keys, spelling)?;
    let (merging, default_add_bos) = match spelling {
        Spelling::ByteLevel => by_rank(&keys, &vocab)?,
        Spelling::Underscore => (by_score(&keys, &vocab)?, true),
    };
    let space_prefix = matches!(&merging, Merging::Score(spm) if spm.space_prefix());
    let phi3 = keys.string("general.name")?.is_some_and(|name| {
        let name = name.to_ascii_lowercase();
        name.contains("phi-3") || name.contains("phi3")
    });
    // llama.cpp gives Phi-3's tokens the attribute that its GGUF files cannot carry.
    let partition = Partition::new(&vocab, |text| {
        phi3 && !matches!(text, "<unk>" | "<s>" | "<|endoftext|>")
    })?;
    // SentencePiece's own ids, where the file does not say.
    let default =
        |id: u32| (spelling == Spelling::Underscore && vocab.text(id).is_some()).then_some(id);
    let bos = keys.id(BOS, &vocab)?.or(default(1));
    let eos = keys.id(EOS, &vocab)?.or(default(2));
    let add_bos = keys.bool(ADD_BOS)?.unwrap_or(default_add_bos);
    let pipeline = Pipeline { partition, merging };
    Ok(Tokenizer {
        vocab,
        pipeline: super::Pipeline::Gguf(Box::new(pipeline)),
        bos,
        eos,
        add_bos,
        space_prefix,
        hash: hash(meta, phi3),
    })
}

/// Tokens with their types; the two lists are of one length.
fn vocabulary(keys: &Keys, spelling: Spelling) -> Result<Vocab> {
    let tokens = keys
        .strings(TOKENS)?
        .ok_or_else(|| keys.missing(TOKENS, "a list of strings"))?;
    if tokens.is_empty() || u32::try_from(tokens.len()).is_err() {
        return Err(keys.wrong(
            TOKENS,
            format_args!("{} tokens", tokens.len()),
            "1 to 4294967295",
        ));
    }
    let types = keys.integers(TYPES)?;
    if let Some(types) = types.as_ref().filter(|types| types.len() != tokens.len()) {
        let expected = format!("{}, one a token", tokens.len());
        return Err(keys.wrong(TYPES, format_args!("{} types", types.len()), expected));
    }
    let mut vocab = Vocab::new(spelling);
    for (id, text) in (0u32..).zip(tokens) {
        let kind = match types.as_ref().map_or(1, |types| types[id as usize]) {
            2 | 3 => Kind::Control,
            4 => Kind::UserDefined,
            6 => Kind::Byte(byte_token(text).ok_or_else(|| {
                keys.wrong(
                    format_args!("{TOKENS}[{id}]"),
                    format_args!("{text:?}"),
                    "a byte as <0x0A>",
                )
            })?),
            // Normal, unused, undefined.
            _ if TURN_ENDS.contains(&&**text) => Kind::Control,
            _ => Kind::Normal,
        };
        let kind = if TURN_ENDS.contains(&&**text) {
            Kind::Control
        } else {
            kind
        };
        let empty = format!("[EMPTY_{id}]");
        let text = if text.is_empty() { &empty } else { text };
        vocab
            .insert(id, text, kind)
            .map_err(|found| keys.wrong(TOKENS, found, "each token once"))?;
    }
    Ok(vocab)
}

/// BPE, and whether the pre-tokenizer's name says to add BOS.
fn by_rank(keys: &Keys, vocab: &Vocab) -> Result<(Merging, bool)> {
    let name = keys.string(PRE)?.unwrap_or_else(|| {
        tracing::warn!(
            "{}: {PRE} is missing: cutting words by the default pattern",
            keys.file
        );
        "default"
    });
    let row = pre::row_of(name).ok_or_else(|| {
        keys.wrong(
            PRE,
            format_args!("{name:?}"),
            "the name of a known pre-tokenizer",
        )
    })?;
    let merges = keys
        .strings(MERGES)?
        .ok_or_else(|| keys.missing(MERGES, "a list of strings"))?;
    let merges = merges
        .iter()
        .enumerate()
        .map(|(i, merge)| {
            // The first char may be a space itself.
            let at = merge
                .char_indices()
                .skip(1)
                .find(|&(_, c)| c == ' ')
                .map(|(at, _)| at);
            let at = at.ok_or_else(|| {
                let field = format!("{MERGES}[{i}]");
                keys.wrong(
                    field,
                    format_args!("{merge:?}"),
                    "two tokens with a space between",
                )
            })?;
            Ok((merge[..at].to_owned(), merge[at + 1..].to_owned()))
        })
        .collect::<Result<Vec<_>>>()?;
    let ids = vocab
        .iter()
        .map(|(id, text, _)| (text.to_owned(), id))
        .collect();
    let model = bpe::model(keys.file, MERGES, ids, merges, |builder| builder)?;
    let bpe = Bpe::new(PreTokenizer::new(row)?, model, row.ignore_merges, vocab);
    Ok((Merging::Rank(Box::new(bpe)), row.add_bos))
}

fn by_score(keys: &Keys, vocab: &Vocab) -> Result<Merging> {
    let scores = keys
        .floats(SCORES)?
        .ok_or_else(|| keys.missing(SCORES, "a list of numbers"))?;
    if scores.len() != vocab.len() {
        let expected = format!("{}, one a token", vocab.len());
        return Err(keys.wrong(SCORES, format_args!("{} scores", scores.len()), expected));
    }
    if let Some(i) = scores.iter().position(|score| !score.is_finite()) {
        let field = format!("{SCORES}[{i}]");
        return Err(keys.wrong(field, scores[i], "a finite number"));
    }
    let space_prefix = keys.bool(ADD_SPACE)?.unwrap_or(true);
    let unknown = keys.id(UNKNOWN, vocab)?;
    Ok(Merging::Score(Spm::new(
        vocab,
        scores,
        unknown,
        space_prefix,
    )))
}

/// BLAKE3 of the keys that decide ids and texts.
fn hash(meta: &Metadata, phi3: bool) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("fathom tokenizer gguf 1");
    let mut text = |s: &str| {
        hasher.update(&(s.len() as u64).to_le_bytes());
        hasher.update(s.as_bytes());
    };
    let keys = [
        MODEL, PRE, TOKENS, TYPES, SCORES, MERGES, BOS, UNKNOWN, ADD_BOS, ADD_SPACE,
    ];
    for key in keys.into_iter().collect::<BTreeSet<_>>() {
        let Some(value) = meta.get(key) else { continue };
        text(key);
        match value {
            Value::Array(Array::Str(list)) => list.iter().for_each(|s| text(s)),
            Value::Str(s) => text(s),
            other => text(&format!("{other:?}")),
        }
    }
    text(if phi3 { "phi3" } else { "" });
    hasher.finalize().to_hex().to_string()
}

/// Typed access to metadata, with errors that name the key.
struct Keys<'m> {
    file: &'m str,
    meta: &'m Metadata,
}

impl<'m> Keys<'m> {
    fn wrong(
        &self,
        field: impl std::fmt::Display,
        found: impl std::fmt::Display,
        expected: impl std::fmt::Display,
    ) -> Error {
        Error::input(self.file, field, found, expected)
    }

    fn missing(&self, key: &str, expected: &str) -> Error {
        self.wrong(key, "nothing", expected)
    }

    fn string(&self, key: &str) -> Result<Option<&'m str>> {
        match self.meta.get(key) {
            None => Ok(None),
            Some(Value::Str(s)) => Ok(Some(s)),
            Some(other) => Err(self.wrong(key, kind_of(other), "a string")),
        }
    }

    fn bool(&self, key: &str) -> Result<Option<bool>> {
        match self.meta.get(key) {
            None => Ok(None),
            Some(Value::Bool(b)) => Ok(Some(*b)),
            Some(other) => Err(self.wrong(key, kind_of(other), "true or false")),
        }
    }

    fn id(&self, key: &str, vocab: &Vocab) -> Result<Option<u32>> {
        let id = match self.meta.get(key) {
            None => return Ok(None),
            Some(Value::Unsigned(id)) => i128::from(*id),
            Some(Value::Signed(id)) => i128::from(*id),
            Some(other) => return Err(self.wrong(key, kind_of(other), "a token id")),
        };
        u32::try_from(id)
            .ok()
            .filter(|&id| (id as usize) < vocab.len())
            .map(Some)
            .ok_or_else(|| self.wrong(key, id, format_args!("a token id below {}", vocab.len())))
    }

    fn strings(&self, key: &str) -> Result<Option<&'m [String]>> {
        match self.meta.get(key) {
            None => Ok(None),
            Some(Value::Array(Array::Str(list))) => Ok(Some(list)),
            Some(other) => Err(self.wrong(key, kind_of(other), "a list of strings")),
        }
    }

    fn integers(&self, key: &str) -> Result<Option<Vec<i64>>> {
        match self.meta.get(key) {
            None => Ok(None),
            Some(Value::Array(Array::Signed(list))) => Ok(Some(list.clone())),
            Some(Value::Array(Array::Unsigned(list))) => Ok(Some(
                list.iter()
                    .map(|&n| i64::try_from(n).unwrap_or(i64::MAX))
                    .collect(),
            )),
            Some(other) => Err(self.wrong(key, kind_of(other), "a list of integers")),
        }
    }

    fn floats(&self, key: &str) -> Result<Option<Vec<f32>>> {
        match self.meta.get(key) {
            None => Ok(None),
            Some(Value::Array(Array::Float(list))) => {
                Ok(Some(list.iter().map(|&x| x as f32).collect()))
            }
            Some(Value::Array(Array::Signed(list))) => {
                Ok(Some(list.iter().map(|&x| x as f32).collect()))
            }
            Some(other) => Err(self.wrong(key, kind_of(other), "a list of numbers")),
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Unsigned(_) | Value::Signed(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Bool(_) => "a bool",
        Value::Str(_) => "a string",
        Value::Array(Array::Str(_)) => "a list of strings",
        Value::Array(Array::Bool(_)) => "a list of bools",
        Value::Array(Array::Float(_)) => "a list of floats",
        Value::Array(Array::Unsigned(_) | Array::Signed(_)) => "a list of integers",
    }
}
