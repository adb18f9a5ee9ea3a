//! Tokens that are matched in text before anything else: longest first, over the whole text, as llama.cpp does.

use aho_corasick::AhoCorasick;

use super::vocab::{Kind, Vocab};
use crate::{Error, Result};

/// A part of a text.
#[derive(Debug, PartialEq)]
pub(super) enum Part<'t> {
    Text(&'t str),
    Token(u32),
}

/// Special and user-defined tokens, longest first.
pub(super) struct Partition {
    tokens: Vec<Matched>,
    search: AhoCorasick,
}

struct Matched {
    id: u32,
    text: String,
    special: bool,
    /// White space behind the token is dropped.
    rstrip: bool,
}

impl Partition {
    /// `rstrip` says which of the tokens drop the white space behind them.
    pub(super) fn new(vocab: &Vocab, rstrip: impl Fn(&str) -> bool) -> Result<Self> {
        let mut tokens: Vec<Matched> = vocab
            .iter()
            .filter(|(_, text, _)| !text.is_empty())
            .filter_map(|(id, text, kind)| {
                let special = match kind {
                    Kind::Control => true,
                    Kind::UserDefined => false,
                    Kind::Normal | Kind::Byte(_) => return None,
                };
                Some(Matched {
                    id,
                    text: text.to_owned(),
                    special,
                    rstrip: rstrip(text),
                })
            })
            .collect();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.text.len()));
        let search = AhoCorasick::new(tokens.iter().map(|token| &token.text))
            .map_err(|e| Error::Unsupported(format!("special tokens: {e}")))?;
        Ok(Self { tokens, search })
    }

    /// Cuts a text at user-defined tokens, and at special ones when `special`.
    pub(super) fn cut<'t>(&self, text: &'t str, special: bool) -> Vec<Part<'t>> {
        let mut present = vec![false; self.tokens.len()];
        for found in self.search.find_overlapping_iter(text) {
            present[found.pattern().as_usize()] = true;
        }
        let mut parts = vec![Part::Text(text)];
        for (token, _) in self
            .tokens
            .iter()
            .zip(present)
            .filter(|(_, present)| *present)
        {
            if token.special && !special {
                continue;
            }
            let mut next = Vec::with_capacity(parts.len());
            for part in parts {
                match part {
                    Part::Text(text) => cut_at(text, token, &mut next),
                    token => next.push(token),
                }
            }
            parts = next;
        }
        parts.retain(|part| *part != Part::Text(""));
        parts
    }
}

fn cut_at<'t>(text: &'t str, token: &Matched, out: &mut Vec<Part<'t>>) {
    let mut rest = text;
    while let Some(at) = rest.find(&token.text) {
        out.push(Part::Text(&rest[..at]));
        out.push(Part::Token(token.id));
        rest = &rest[at + token.text.len()..];
        if token.rstrip {
            rest = rest.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
        }
    }
    out.push(Part::Text(rest));
}
