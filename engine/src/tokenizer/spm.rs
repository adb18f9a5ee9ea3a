//! SentencePiece style merging: of all neighbours that make a token together, the best-scored pair first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::vocab::{Kind, Vocab};

/// Scores of tokens and the ids of bytes.
pub(super) struct Spm {
    /// `[n_vocab]`, finite.
    scores: Vec<f32>,
    /// The token for each byte, where there is one.
    bytes: Box<[Option<u32>; 256]>,
    unknown: Option<u32>,
    /// Whether text at the start and after a special token begins with a space.
    space_prefix: bool,
}

/// Marks the end of the chain of symbols.
const NONE: usize = usize::MAX;

/// A stretch of the text that is a token or a single char.
struct Symbol {
    start: usize,
    /// In bytes; 0 when merged into the symbol before it.
    len: usize,
    prev: usize,
    next: usize,
}

/// Two neighbours that make a token, when they were seen.
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    len: usize,
}

impl Ord for Pair {
    /// The best score first, then the leftmost.
    fn cmp(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pair {}

impl Spm {
    /// `scores` has one entry a token.
    pub(super) fn new(
        vocab: &Vocab,
        mut scores: Vec<f32>,
        unknown: Option<u32>,
        space_prefix: bool,
    ) -> Self {
        // Adding zero makes -0 equal 0 in the total order.
        scores.iter_mut().for_each(|score| *score += 0.0);
        let mut bytes = Box::new([None; 256]);
        for (id, _, kind) in vocab.iter() {
            if let Kind::Byte(byte) = kind {
                bytes[usize::from(byte)] = Some(id);
            }
        }
        Self {
            scores,
            bytes,
            unknown,
            space_prefix,
        }
    }

    pub(super) fn space_prefix(&self) -> bool {
        self.space_prefix
    }

    /// Appends the ids of a text without user-defined tokens; `first` when it is the start or follows a special token.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, first: bool, out: &mut Vec<u32>) {
        let mut escaped = String::with_capacity(text.len() + text.len() / 2);
        if self.space_prefix && first {
            escaped.push('▁');
        }
        escaped.extend(text.chars().map(|c| if c == ' ' { '▁' } else { c }));
        for symbol in self.merge(vocab, &escaped) {
            match vocab.id(symbol) {
                Some(id) => out.push(id),
                None => out.extend(
                    symbol
                        .bytes()
                        .filter_map(|b| self.bytes[usize::from(b)].or(self.unknown)),
                ),
            }
        }
    }

    /// Cuts a text into tokens and single chars.
    fn merge<'t>(&self, vocab: &Vocab, text: &'t str) -> Vec<&'t str> {
        let mut symbols: Vec<Symbol> = text
            .char_indices()
            .enumerate()
            .map(|(i, (start, c))| Symbol {
                start,
                len: c.len_utf8(),
                prev: i.wrapping_sub(1),
                next: i + 1,
            })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        let pair = |symbols: &[Symbol], left: usize, right: usize| {
            let (left_symbol, right_symbol) = (symbols.get(left)?, symbols.get(right)?);
            let len = left_symbol.len + right_symbol.len;
            let id = vocab.id(&text[left_symbol.start..left_symbol.start + len])?;
            let score = *self.scores.get(id as usize)?;
            Some(Pair {
                score,
                left,
                right,
                len,
            })
        };
        let mut queue: BinaryHeap<Pair> = (1..symbols.len())
            .filter_map(|right| pair(&symbols, right - 1, right))
            .collect();
        while let Some(Pair {
            left, right, len, ..
        }) = queue.pop()
        {
            let stale = symbols[left].len == 0
                || symbols[right].len == 0
                || symbols[left].len + symbols[right].len != len;
            if stale {
                continue;
            }
            let next = symbols[right].next;
            symbols[left].len = len;
            symbols[left].next = next;
            symbols[right].len = 0;
            if let Some(next) = symbols.get_mut(next) {
                next.prev = left;
            }
            queue.extend(pair(&symbols, symbols[left].prev, left));
            queue.extend(pair(&symbols, left, next));
        }
        symbols
            .iter()
            .filter(|symbol| symbol.len > 0)
            .map(|symbol| &text[symbol.start..symbol.start + symbol.len])
            .collect()
    }
}
