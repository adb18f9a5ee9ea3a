//! Byte pair encoding with the vocabulary and merges of a file.

use tokenizers::Model;
pub(super) use tokenizers::models::bpe::Vocab as Ids;
use tokenizers::models::bpe::{BPE, BpeBuilder};

use super::bytelevel;
use super::pre::PreTokenizer;
use super::vocab::Vocab;
use crate::{Error, Result};

/// What is checked in common of merges from `tokenizer.json` and from GGUF.
///
/// `ids` are the tokens that merging may make. Merges that name others are errors; of a merge given twice the first counts.
pub(super) fn model(
    file: &str,
    field: &str,
    ids: Ids,
    merges: Vec<(String, String)>,
    options: impl FnOnce(BpeBuilder) -> BpeBuilder,
) -> Result<BPE> {
    let mut seen = std::collections::HashSet::with_capacity(merges.len());
    let mut kept = Vec::with_capacity(merges.len());
    for (i, (a, b)) in merges.into_iter().enumerate() {
        let unknown = |text: &str| {
            Error::input(
                file,
                format_args!("{field}[{i}]"),
                format_args!("{text:?}, which is no token"),
                "two tokens that make a third",
            )
        };
        let left = ids.get(&a).copied().ok_or_else(|| unknown(&a))?;
        let right = ids.get(&b).copied().ok_or_else(|| unknown(&b))?;
        let whole = format!("{a}{b}");
        if !ids.contains_key(&whole) {
            return Err(unknown(&whole));
        }
        if seen.insert((left, right)) {
            kept.push((a, b));
        }
    }
    options(BPE::builder().vocab_and_merges(ids, kept))
        .build()
        .map_err(|e| Error::input(file, field, e, "merges of known tokens"))
}

/// BPE as llama.cpp does it: cut into words, spell each word's bytes, merge.
pub(super) struct Bpe {
    pre: PreTokenizer,
    model: BPE,
    ignore_merges: bool,
    /// Whether the byte's char is a token. Bytes that are none end up nowhere.
    known: Box<[bool; 256]>,
}

impl Bpe {
    pub(super) fn new(pre: PreTokenizer, model: BPE, ignore_merges: bool, vocab: &Vocab) -> Self {
        let mut known = Box::new([false; 256]);
        for (byte, known) in (0..=255u8).zip(&mut *known) {
            *known = vocab
                .id(bytelevel::char_of(byte).encode_utf8(&mut [0; 4]))
                .is_some();
        }
        Self {
            pre,
            model,
            ignore_merges,
            known,
        }
    }

    /// Appends the ids of a text without user-defined tokens.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, out: &mut Vec<u32>) -> Result<()> {
        let mut word = String::new();
        for piece in self.pre.words(text) {
            word.clear();
            bytelevel::encode(piece.as_bytes(), &mut word);
            if self.ignore_merges
                && let Some(id) = vocab.id(&word)
            {
                out.push(id);
                continue;
            }
            // A byte without a token is lost, and nothing merges across it.
            for part in piece
                .as_bytes()
                .split(|&byte| !self.known[usize::from(byte)])
            {
                if part.len() != piece.len() {
                    word.clear();
                    bytelevel::encode(part, &mut word);
                }
                let tokens = self
                    .model
                    .tokenize(&word)
                    .map_err(|e| Error::Unsupported(format!("tokenizer: {e}")))?;
                out.extend(tokens.iter().map(|token| token.id));
            }
        }
        Ok(())
    }
}
