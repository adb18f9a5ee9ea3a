//! What stands between the pieces of a document: sentence after sentence, without end.

use std::path::Path;

use crate::item::Filler;
use crate::prose::Prose;
use crate::rng::Rng;
use crate::tasks::magic::{Keys, Maker};
use crate::{Error, Result};

/// RULER's noise, sentence by sentence (`niah.py`).
pub const NOISE: [&str; 5] = [
    "The grass is green.",
    "The sky is blue.",
    "The sun is yellow.",
    "Here we go.",
    "There and back again.",
];

/// A sentence of the filler, the least that is placed between two pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The sentence.
    pub text: String,
    /// What stands between it and the text before it.
    pub before: &'static str,
    /// The text was read to its end before: this sentence stands in the stream for the second time.
    pub again: bool,
}

/// The sentences of a filler; deterministic, and endless but for [`Filler::None`].
pub type Units = Box<dyn Iterator<Item = Unit> + Send>;

/// The stream of a filler.
///
/// # Errors
/// When a text file cannot be read or holds no sentence.
///
/// ```
/// # fn main() -> fathom_harness::Result<()> {
/// use fathom_harness::{filler, item::Filler};
/// let noise: Vec<String> = filler::units(&Filler::Noise)?.take(6).map(|u| u.text).collect();
/// assert_eq!(noise[5], noise[0]);
/// # Ok(())
/// # }
/// ```
pub fn units(filler: &Filler) -> Result<Units> {
    Ok(match filler {
        Filler::None => Box::new(std::iter::empty()),
        // Its own text is placed by the layout, which knows the length.
        Filler::Document { then, .. } => units(then)?,
        Filler::Noise => Box::new((0..).map(|i: usize| Unit {
            text: NOISE[i % NOISE.len()].to_owned(),
            before: if i.is_multiple_of(NOISE.len()) {
                "\n"
            } else {
                " "
            },
            again: false,
        })),
        Filler::Prose { seed } => {
            let mut prose = Prose::new(*seed);
            Box::new(std::iter::repeat_with(move || paragraph(prose.next_paragraph())).flatten())
        }
        Filler::Needles {
            seed,
            template,
            key,
            value,
        } => {
            let mut maker = Maker::new(Rng::of(*seed, "filler", 0, "needles"), Keys::All, false);
            let (template, key, value) = (template.clone(), *key, *value);
            Box::new(std::iter::repeat_with(move || Unit {
                text: template
                    .replace("{key}", &maker.key(key))
                    .replace("{value}", &maker.value(value)),
                before: "\n",
                again: false,
            }))
        }
        Filler::Text { path, seed } => {
            let file = Path::new(path);
            let bytes = std::fs::read(file).map_err(|e| Error::read(file, e))?;
            let text = String::from_utf8(bytes)
                .map_err(|_| Error::input(path, "text", "other bytes", "UTF-8"))?;
            let sentences = sentences(&text);
            if sentences.is_empty() {
                return Err(Error::input(
                    path,
                    "text",
                    "no sentence",
                    "text to fill documents with",
                ));
            }
            let start = Rng::of(*seed, "filler", 0, "start").below(sentences.len());
            Box::new((0..).map(move |i: usize| Unit {
                again: i >= sentences.len(),
                ..sentences[(start + i) % sentences.len()].clone()
            }))
        }
    })
}

/// Whether sentences may be told in another order: not those of somebody's text.
pub fn in_any_order(filler: &Filler) -> bool {
    !matches!(filler, Filler::Text { .. } | Filler::Document { .. })
}

/// What stands between a sentence and a piece, where neither brings a space.
pub fn joint(filler: &Filler) -> &'static str {
    match filler {
        Filler::Noise | Filler::Needles { .. } => "\n",
        _ => " ",
    }
}

fn paragraph(sentences: Vec<String>) -> impl Iterator<Item = Unit> {
    sentences.into_iter().enumerate().map(|(i, text)| Unit {
        text,
        before: if i == 0 { "\n\n" } else { " " },
        again: false,
    })
}

/// A unit is cut at a space after this many bytes, so that text without full stops is filler as well.
const LONGEST: usize = 400;

/// The sentences of a text. White space within a paragraph becomes one space; an empty line begins a paragraph.
///
/// A sentence ends at `.`, `!`, `?` or `…` (and what closes quotation marks and brackets) before a space and something
/// other than a small letter, unless the word before the stop is a title or an initial; at `。`, `！`, `？` always.
pub fn sentences(text: &str) -> Vec<Unit> {
    let mut out = Vec::new();
    let mut lines = text.lines().map(str::trim).peekable();
    while lines.peek().is_some() {
        let paragraph: Vec<&str> = lines.by_ref().take_while(|l| !l.is_empty()).collect();
        let words: Vec<&str> = paragraph
            .iter()
            .flat_map(|l| l.split_whitespace())
            .collect();
        split_paragraph(&words.join(" "), &mut out);
    }
    out
}

fn split_paragraph(paragraph: &str, out: &mut Vec<Unit>) {
    let mut before = "\n\n";
    let mut start = 0;
    let mut push = |range: std::ops::Range<usize>, next: &'static str| {
        let text = paragraph[range].trim();
        if !text.is_empty() {
            out.push(Unit {
                text: text.to_owned(),
                before,
                again: false,
            });
            before = next;
        }
    };
    let mut at = 0;
    while let Some(c) = paragraph[at..].chars().next() {
        at += c.len_utf8();
        let rest = &paragraph[at..];
        if matches!(c, '。' | '！' | '？') {
            let close = closing(rest);
            push(
                start..at + close,
                if rest[close..].starts_with(' ') {
                    " "
                } else {
                    ""
                },
            );
            at += close;
            start = at;
        } else if matches!(c, '.' | '!' | '?' | '…') {
            let close = closing(rest);
            let after = &rest[close..];
            let ends = after.is_empty()
                || after.starts_with(' ') && !after[1..].starts_with(|n: char| n.is_lowercase());
            if ends && !(c == '.' && close == 0 && abbreviated(&paragraph[start..at])) {
                at += close;
                push(start..at, " ");
                start = at;
            }
        } else if at - start >= LONGEST && (c == ' ' || at - start >= 2 * LONGEST) {
            push(start..at, if c == ' ' { " " } else { "" });
            start = at;
        }
    }
    push(start..paragraph.len(), " ");
}

/// Bytes of the quotation marks and brackets that close behind a full stop.
fn closing(rest: &str) -> usize {
    rest.len()
        - rest
            .trim_start_matches(['"', '\'', '”', '’', ')', ']', '»', '」', '』'])
            .len()
}

/// Whether a sentence so far ends in a title or an initial.
fn abbreviated(sentence: &str) -> bool {
    let word = sentence
        .trim_end_matches('.')
        .rsplit([' ', '(', '"', '“'])
        .next()
        .unwrap_or("");
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase) && word != "I";
    initial
        || [
            "Mr", "Mrs", "Ms", "Dr", "St", "Prof", "Capt", "Gen", "Col", "Rev", "Hon", "No", "Vol",
            "vs", "cf", "etc",
        ]
        .contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        sentences(text).into_iter().map(|u| u.text).collect()
    }

    #[test]
    fn sentences_end_where_a_reader_ends_them() {
        assert_eq!(
            texts(
                "Mr. Starbuck said \"No.\" He left.\nThen J. B. came... and went! \"Why?\" she asked.\n\nNew day"
            ),
            [
                "Mr. Starbuck said \"No.\"",
                "He left.",
                "Then J. B. came... and went!",
                "\"Why?\" she asked.",
                "New day"
            ]
        );
        assert_eq!(
            texts("他走了。她也走了！好"),
            ["他走了。", "她也走了！", "好"]
        );
        assert_eq!(sentences("他走了。她也走了！")[1].before, "");
        assert!(texts(" \n\n \n").is_empty());
    }

    #[test]
    fn no_text_is_lost_and_no_unit_is_endless() {
        let long = "word ".repeat(1000) + &"字".repeat(2000);
        let units = sentences(&long);
        assert!(units.iter().all(|u| u.text.len() <= 2 * LONGEST + 4));
        let joined: String = units
            .iter()
            .map(|u| u.before.to_owned() + &u.text)
            .collect();
        assert_eq!(joined.trim(), long);
    }

    #[test]
    fn a_text_starts_by_seed_and_wraps_around() -> Result<()> {
        let file = tempfile::NamedTempFile::new().map_err(|e| Error::read(Path::new("temp"), e))?;
        std::fs::write(file.path(), "One. Two. Three. Four. Five.")
            .map_err(|e| Error::read(file.path(), e))?;
        let path = file.path().display().to_string();
        let mut starts = std::collections::HashSet::new();
        for seed in 0..40 {
            let units: Vec<Unit> = units(&Filler::Text {
                path: path.clone(),
                seed,
            })?
            .take(7)
            .collect();
            assert_eq!(units[0].text, units[5].text);
            assert_eq!(
                units.iter().map(|u| u.again).collect::<Vec<_>>()[3..],
                [false, false, true, true]
            );
            starts.insert(units[0].text.clone());
        }
        assert_eq!(starts.len(), 5);
        Ok(())
    }

    #[test]
    fn a_missing_or_empty_text_is_one_line() {
        let missing = units(&Filler::Text {
            path: "/no/such/file".into(),
            seed: 1,
        })
        .err()
        .map(|e| e.to_string());
        assert!(missing.is_some_and(|m| m.starts_with("/no/such/file: ")));
    }

    #[test]
    fn prose_and_needles_are_endless() -> Result<()> {
        let needles = Filler::Needles {
            seed: 1,
            template: "One of the special magic numbers for {key} is: {value}.".into(),
            key: crate::item::Magic::Word,
            value: crate::item::Magic::Number,
        };
        let text: Vec<Unit> = units(&needles)?.take(200).collect();
        assert!(text.iter().all(
            |u| u.text.starts_with("One of the special magic numbers for ")
                && !u.text.contains('{')
        ));
        let paragraphs = units(&Filler::Prose { seed: 3 })?
            .take(5000)
            .filter(|u| u.before == "\n\n");
        assert!(paragraphs.count() > 500);
        assert_eq!(units(&Filler::None)?.count(), 0);
        Ok(())
    }
}
