//! An ending of a given number of tokens: whole sentences where possible, else one cut at a word.

use crate::Result;
use crate::filler::Unit;
use crate::layout::Encode;

/// Finds endings.
pub struct Fit<'a> {
    tokenizer: &'a dyn Encode,
    /// Sentences that may be used, in the order of the filler, and their tokens.
    spare: Vec<(&'a Unit, usize)>,
    any_order: bool,
}

/// How an ending is made; in order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Whole sentences.
    Whole,
    /// The last sentence is cut at a word: the next one of the filler, or one after it.
    Cut,
    /// Little words of one token each.
    Words,
}

/// Words that end a filler where nothing else has the right number of tokens.
const WORDS: [&str; 12] = [
    "and", "so", "then", "there", "here", "now", "the", "a", "of", "in", "it", "on",
];

impl<'a> Fit<'a> {
    /// From these sentences of a filler. `any_order`: sentences may be told in another order than theirs.
    pub fn new(
        tokenizer: &'a dyn Encode,
        units: &'a [(Unit, usize)],
        spare: &[usize],
        any_order: bool,
    ) -> Self {
        let spare = spare
            .iter()
            .filter_map(|&i| units.get(i))
            .map(|(unit, n)| (unit, *n))
            .collect();
        Self {
            tokenizer,
            spare,
            any_order,
        }
    }

    /// The `nth` ending of `want` tokens in this manner; `None` when there are no more.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn ending(&self, manner: Manner, want: usize, nth: usize) -> Result<Option<Vec<Unit>>> {
        let mut sums = vec![0];
        for (_, n) in &self.spare {
            sums.push(sums.last().copied().unwrap_or(0) + n);
        }
        // Sentences that come first, as they are: as many as have room, or a few less.
        let most = sums.partition_point(|&s| s <= want) - 1;
        let firsts = (0..=most).rev().map(|first| (first, want - sums[first]));
        let mut left = nth;
        match manner {
            Manner::Whole => {
                for (first, rest) in firsts.take(if self.any_order { 6 } else { 1 }) {
                    let ways = match rest {
                        0 => vec![Vec::new()],
                        _ if self.any_order => self.up_to_three(first, rest),
                        _ => Vec::new(),
                    };
                    match ways.get(left) {
                        Some(way) => {
                            let all = (0..first).chain(way.iter().copied());
                            return Ok(Some(all.map(|i| self.spare[i].0.clone()).collect()));
                        }
                        None => left -= ways.len(),
                    }
                }
            }
            Manner::Cut => {
                for (first, rest) in firsts.take(3) {
                    for cut in first..self.spare.len().min(first + 12) {
                        let unit = self.spare[cut].0;
                        let texts = self.cuts(unit, rest)?;
                        match texts.get(left) {
                            Some(text) => {
                                return Ok(Some(self.with_last(
                                    first,
                                    Unit {
                                        text: text.clone(),
                                        ..unit.clone()
                                    },
                                )));
                            }
                            None => left -= texts.len(),
                        }
                    }
                }
            }
            Manner::Words => {
                for (first, rest) in firsts.take(3).skip(nth) {
                    if let Some(text) = self.words(rest)? {
                        return Ok(Some(self.with_last(
                            first,
                            Unit {
                                text,
                                before: " ",
                                again: false,
                            },
                        )));
                    }
                }
            }
        }
        Ok(None)
    }

    fn with_last(&self, first: usize, last: Unit) -> Vec<Unit> {
        let mut ending: Vec<Unit> = self.spare[..first]
            .iter()
            .map(|(unit, _)| (*unit).clone())
            .collect();
        if !last.text.is_empty() {
            ending.push(last);
        }
        ending
    }

    /// One, two or three different sentences from `from` on with `want` tokens together, in the order of the filler.
    fn up_to_three(&self, from: usize, want: usize) -> Vec<Vec<usize>> {
        let spare = &self.spare;
        let n = spare.len();
        let mut ways = Vec::new();
        ways.extend(
            (from..n)
                .filter(|&i| spare[i].1 == want)
                .take(4)
                .map(|i| vec![i]),
        );
        for i in from..n {
            for j in i + 1..n {
                if ways.len() < 8 && spare[i].1 + spare[j].1 == want {
                    ways.push(vec![i, j]);
                }
            }
        }
        if ways.is_empty() {
            'search: for i in from..n {
                for j in i + 1..n {
                    for k in j + 1..n {
                        if spare[i].1 + spare[j].1 + spare[k].1 == want {
                            ways.push(vec![i, j, k]);
                            if ways.len() == 4 {
                                break 'search;
                            }
                        }
                    }
                }
            }
        }
        ways
    }

    /// The beginning of a sentence with `want` tokens, cut at a word (or, in text without spaces, at a letter).
    fn cuts(&self, unit: &Unit, want: usize) -> Result<Vec<String>> {
        if want == 0 {
            return Ok(Vec::new());
        }
        let anchor = self.tokenizer.encode(".")?.len();
        let mut ends: Vec<usize> = unit.text.match_indices(' ').map(|(at, _)| at).collect();
        if ends.len() < unit.text.len() / 20 {
            ends = unit.text.char_indices().skip(1).map(|(at, _)| at).collect();
        }
        // Tokens grow with the text, so the place can be found by halving.
        let count = |end: usize| -> Result<usize> {
            let text = format!(".{}{}", unit.before, &unit.text[..end]);
            Ok(self.tokenizer.encode(&text)?.len().saturating_sub(anchor))
        };
        let (mut low, mut high) = (0, ends.len());
        while low < high {
            let middle = (low + high) / 2;
            if count(ends[middle])? < want {
                low = middle + 1
            } else {
                high = middle
            }
        }
        let mut cuts = Vec::new();
        for &end in ends.iter().skip(low.saturating_sub(1)).take(4) {
            if count(end)? == want {
                cuts.push(
                    unit.text[..end]
                        .trim_end_matches([',', ';', ':'])
                        .to_owned(),
                );
            }
        }
        Ok(cuts)
    }

    fn words(&self, want: usize) -> Result<Option<String>> {
        let anchor = self.tokenizer.encode(".")?.len();
        let mut single = Vec::new();
        for word in WORDS {
            if self.tokenizer.encode(&format!(". {word}"))?.len() == anchor + 1 {
                single.push(word);
            }
        }
        Ok((!single.is_empty()).then(|| {
            let words: Vec<&str> = single.iter().copied().cycle().take(want).collect();
            words.join(" ")
        }))
    }
}
