//! Text to token ids and back, from `tokenizer.json` or from GGUF metadata.
//!
//! | file | holds |
//! |---|---|
//! | `hf.rs` | `tokenizer.json`: ids as Hugging Face's `tokenizers` gives them |
//! | `patterns.rs` | its regular expressions, checked |
//! | `gguf.rs` | GGUF metadata: ids as llama.cpp gives them |
//! | `to_gguf.rs` | the keys of a GGUF file from a `tokenizer.json` |
//! | `pre.rs` | the table of pre-tokenizers that GGUF files name |
//! | `bpe.rs`, `spm.rs` | merging by rank, merging by score |
//! | `partition.rs` | tokens matched in text before merging |
//! | `vocab.rs`, `bytelevel.rs` | tokens and the bytes they stand for |

mod bpe;
mod bytelevel;
mod gguf;
mod hf;
mod partition;
mod patterns;
mod pre;
mod spm;
mod to_gguf;
mod vocab;

use crate::Result;
use crate::format::gguf::Metadata;
pub(crate) use gguf::TURN_ENDS;
use vocab::{Kind, Vocab};

/// A tokenizer, from a `tokenizer.json` or a GGUF file. Cheap to share between threads.
///
/// ```
/// # fn main() -> fathom_engine::Result<()> {
/// let json = r#"{"added_tokens": [{"id": 3, "content": "<|end|>", "special": true}],
///     "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
///     "decoder": {"type": "ByteLevel"},
///     "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}"#;
/// let tokenizer = fathom_engine::tokenizer::Tokenizer::from_hf("tokenizer.json", json.as_bytes(), None)?;
/// assert_eq!(tokenizer.encode("aba")?, [2, 0]);
/// assert_eq!(tokenizer.encode_special("ab<|end|>")?, [2, 3]);
/// assert_eq!(tokenizer.decode(&[2, 0, 3]), "aba<|end|>");
/// # Ok(())
/// # }
/// ```
pub struct Tokenizer {
    vocab: Vocab,
    pipeline: Pipeline,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
    /// Encoding puts a space before the text, which decoding takes away.
    space_prefix: bool,
    hash: String,
}

enum Pipeline {
    Hf(Box<hf::Pipeline>),
    Gguf(Box<gguf::Pipeline>),
}

impl Tokenizer {
    /// Reads a `tokenizer.json`, and the `tokenizer_config.json` beside it for its BOS. `file` names the first in messages.
    ///
    /// Added tokens that look like structure (`<|..|>`) are special even where the file forgets to say so, as in DeepSeek's.
    ///
    /// # Errors
    /// When a file is not valid, or its model is not BPE.
    pub fn from_hf(
        file: &str,
        tokenizer_json: &[u8],
        tokenizer_config: Option<&[u8]>,
    ) -> Result<Self> {
        hf::load(file, tokenizer_json, tokenizer_config)
    }

    /// Reads the `tokenizer.ggml.*` keys of a GGUF file. `file` names it in messages.
    ///
    /// # Errors
    /// When a key is missing or of another type, counts disagree, ids are out of range, merges name unknown tokens, or the pre-tokenizer's
    /// name is not in the table.
    pub fn from_gguf(file: &str, meta: &Metadata) -> Result<Self> {
        gguf::load(file, meta)
    }

    /// The ids of a text. No BOS is added, and what looks like a special token is text.
    ///
    /// User-defined tokens that are no structure (Gemma's runs of line breaks) are tokens of the text.
    ///
    /// # Errors
    /// When a component of the file's own tokenizer fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.run(text, false)
    }

    /// The ids of a rendered chat template: special tokens are recognised. No BOS is added but what the text has.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_special(&self, text: &str) -> Result<Vec<u32>> {
        self.run(text, true)
    }

    fn run(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        match &self.pipeline {
            Pipeline::Hf(pipeline) => pipeline.encode(text, special),
            Pipeline::Gguf(pipeline) => pipeline.encode(&self.vocab, text, special),
        }
    }

    /// The text of ids; bytes that are not UTF-8 become U+FFFD, special tokens are kept as their text.
    ///
    /// Where encoding puts a space before the text, one leading space is taken away.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes = self.decode_bytes(ids);
        let bytes = match bytes.strip_prefix(b" ") {
            Some(rest) if self.space_prefix => rest,
            _ => &bytes,
        };
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// The bytes that ids stand for, joined; an id without a token stands for none.
    pub fn decode_bytes(&self, ids: &[u32]) -> Vec<u8> {
        let mut out = Vec::with_capacity(ids.len() * 4);
        for &id in ids {
            self.vocab.push_bytes(id, &mut out);
        }
        out
    }

    /// One more than the largest id.
    pub fn n_vocab(&self) -> usize {
        self.vocab.len()
    }

    /// The text of a token as its file spells it (`Ġthe`, `▁the`).
    pub fn token(&self, id: u32) -> Option<&str> {
        self.vocab.text(id)
    }

    /// The id of a token as its file spells it.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.vocab.id(token)
    }

    /// The token that begins a sequence, where the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a sequence, where the file names one. [`crate::chat::stop_tokens`] collects all that end an answer.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether the model was trained to see BOS first. A template that writes it says so itself.
    pub fn add_bos(&self) -> bool {
        self.add_bos && self.bos.is_some()
    }

    /// Whether a token is structure: [`Tokenizer::encode`] never matches it in text.
    pub fn is_special(&self, id: u32) -> bool {
        self.vocab.kind(id) == Some(Kind::Control)
    }

    /// BLAKE3 of what defines the tokenizer, in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let source = match self.pipeline {
            Pipeline::Hf(_) => "tokenizer.json",
            Pipeline::Gguf(_) => "GGUF",
        };
        write!(
            f,
            "Tokenizer({} ids from {source}, {})",
            self.n_vocab(),
            self.hash
        )
    }
}

#[cfg(test)]
mod tests;
