//! The vocabulary: text, kind and bytes of every token.

use std::collections::HashMap;
use std::sync::Arc;

use super::bytelevel;

/// What a token is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Made by merging pieces of text.
    Normal,
    /// Matched in text before anything else.
    UserDefined,
    /// Structure (`<|im_start|>`), or the unknown token: not matched in text.
    Control,
    /// Stands for one byte (`<0x0A>`).
    Byte(u8),
}

/// How the text of a normal token spells bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spelling {
    /// GPT-2's: each char is one byte.
    ByteLevel,
    /// SentencePiece's: `▁` is a space.
    Underscore,
}

/// Tokens by id and by text. Ids may have holes.
#[derive(Debug)]
pub(super) struct Vocab {
    tokens: Vec<Option<(Arc<str>, Kind)>>,
    ids: HashMap<Arc<str>, u32>,
    /// Bytes of the longest text.
    longest: usize,
    pub(super) spelling: Spelling,
}

impl Vocab {
    pub(super) fn new(spelling: Spelling) -> Self {
        Self {
            tokens: Vec::new(),
            ids: HashMap::new(),
            longest: 0,
            spelling,
        }
    }

    /// Adds a token; `Err` with the id or text that is taken already.
    ///
    /// The caller has checked that `id` is in proportion to the number of tokens.
    pub(super) fn insert(&mut self, id: u32, text: &str, kind: Kind) -> Result<(), String> {
        let index = id as usize;
        if self.tokens.len() <= index {
            self.tokens.resize(index + 1, None);
        }
        if let Some((other, _)) = &self.tokens[index] {
            return Err(format!("id {id} for {text:?} and for {other:?}"));
        }
        let text: Arc<str> = text.into();
        if let Some(other) = self.ids.insert(text.clone(), id) {
            return Err(format!("{text:?} at ids {other} and {id}"));
        }
        self.longest = self.longest.max(text.len());
        self.tokens[index] = Some((text, kind));
        Ok(())
    }

    /// Changes what a token is for.
    pub(super) fn set_kind(&mut self, id: u32, kind: Kind) {
        if let Some(Some((_, old))) = self.tokens.get_mut(id as usize) {
            *old = kind;
        }
    }

    /// One more than the largest id.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn id(&self, text: &str) -> Option<u32> {
        if text.len() > self.longest {
            return None;
        }
        self.ids.get(text).copied()
    }

    pub(super) fn text(&self, id: u32) -> Option<&str> {
        self.tokens
            .get(id as usize)?
            .as_ref()
            .map(|(text, _)| &**text)
    }

    pub(super) fn kind(&self, id: u32) -> Option<Kind> {
        self.tokens
            .get(id as usize)?
            .as_ref()
            .map(|(_, kind)| *kind)
    }

    /// All tokens: id, text, kind.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &str, Kind)> {
        (0u32..)
            .zip(&self.tokens)
            .filter_map(|(id, token)| token.as_ref().map(|(text, kind)| (id, &**text, *kind)))
    }

    /// Appends the bytes that a token stands for; nothing for an id without a token.
    pub(super) fn push_bytes(&self, id: u32, out: &mut Vec<u8>) {
        let Some(Some((text, kind))) = self.tokens.get(id as usize) else {
            return;
        };
        match (kind, self.spelling) {
            (Kind::Byte(byte), _) => out.push(*byte),
            (Kind::Normal, Spelling::ByteLevel) => bytelevel::decode(text, out),
            (Kind::Normal | Kind::UserDefined, Spelling::Underscore) => {
                out.extend_from_slice(text.replace('▁', " ").as_bytes());
            }
            (Kind::Control, _) | (Kind::UserDefined, Spelling::ByteLevel) => {
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

/// The byte of a token spelled `<0x0A>`.
pub(super) fn byte_token(text: &str) -> Option<u8> {
    let hex = text.strip_prefix("<0x")?.strip_suffix('>')?;
    (hex.len() == 2)
        .then(|| u8::from_str_radix(hex, 16).ok())
        .flatten()
}

/// Whether an added token looks like structure although its file does not mark it as special.
///
/// The rule is that of llama.cpp's converter (`does_token_look_special`), so that a model is read alike from
/// either format.
pub(super) fn looks_special(text: &str) -> bool {
    matches!(text, "<pad>" | "<mask>" | "<2mass>" | "[@BOS@]")
        || (text.starts_with("<|") && text.ends_with("|>"))
        || (text.starts_with("<｜") && text.ends_with("｜>"))
        || (text.starts_with("<unused") && text.ends_with('>'))
}
