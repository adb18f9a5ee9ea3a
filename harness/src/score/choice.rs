//! An answer that chooses: a letter, or true and false.

/// The option that an answer chooses, 0-based.
///
/// First LongBench v2's rule, after removal of `*`: `The correct answer is (X)`, then the same without brackets. Then
/// what other models write, in this order: the whole answer is a letter (`B`, `(b).`, `B) because ..`); `answer is X`,
/// `answer: X`, `option X`, the last one of them; a lone `(X)`, the last one; the text of exactly one option and of
/// no other. A letter counts only as a word of its own: "After all" is not A, nor is the article in "a ship".
/// Nothing found is a wrong answer, never a drawn one.
///
/// ```
/// use fathom_harness::score::letter;
/// let options: Vec<String> = ["ash", "oak", "elm"].map(String::from).to_vec();
/// assert_eq!(letter("**The correct answer is (B)**", &options), Some(1));
/// assert_eq!(letter("After a while", &options), None);
/// ```
pub fn letter(answer: &str, options: &[String]) -> Option<usize> {
    let text = answer.replace('*', "");
    let text = text.trim();
    for phrase in ["The correct answer is (", "The correct answer is "] {
        if let Some(at) = text.find(phrase) {
            let rest = &text[at + phrase.len()..];
            if let Some(index) = leading_letter(rest, options.len(), true) {
                return Some(index);
            }
        }
    }
    let start = text.trim_start_matches(['(', '[', '"', '\'']);
    if let Some(index) = leading_letter(start, options.len(), false) {
        let after = start[1..].trim_start_matches([')', ']', '"', '\'']);
        let marked = start[1..].starts_with([')', ']', '.', ':', ',']) || start.len() != text.len();
        if after.trim().is_empty() || marked {
            return Some(index);
        }
    }
    let lower = text.to_lowercase();
    let mut last = None;
    for phrase in ["answer is", "answer:", "option"] {
        for (at, found) in lower.match_indices(phrase) {
            // Lower case may have other lengths in bytes; then only the phrase's own place counts.
            let Some(rest) = text.get(at + found.len()..) else {
                continue;
            };
            let rest = rest.trim_start_matches([':', ' ', '(', '[', '"', '\n']);
            if let Some(index) = leading_letter(rest, options.len(), true)
                && last.is_none_or(|(before, _)| at > before)
            {
                last = Some((at, index));
            }
        }
    }
    if let Some((_, index)) = last {
        return Some(index);
    }
    let mut bracketed = text.match_indices('(').filter_map(|(at, _)| {
        let rest = &text[at + 1..];
        rest.get(1..2)
            .filter(|c| *c == ")")
            .and_then(|_| leading_letter(rest, options.len(), true))
    });
    if let Some(index) = bracketed.next_back() {
        return Some(index);
    }
    only_option(&lower, options)
}

/// A letter of an option at the start, as a word of its own; a small one only where it cannot be the article.
fn leading_letter(text: &str, n: usize, strict: bool) -> Option<usize> {
    let mut chars = text.chars();
    let letter = chars.next()?;
    if chars
        .next()
        .is_some_and(|next| next.is_alphanumeric() || next == '\'' || next == '’' || next == '-')
    {
        return None;
    }
    if letter.is_ascii_lowercase() && strict {
        let ends =
            text[1..].trim_start().is_empty() || text[1..].starts_with([')', ']', '.', '"', '\n']);
        if !ends {
            return None;
        }
    }
    let index = (letter.to_ascii_uppercase() as usize).checked_sub('A' as usize)?;
    (letter.is_ascii_alphabetic() && index < n.min(26)).then_some(index)
}

/// The only option whose text occurs, as whole words; of options that contain one another, the longest counts.
fn only_option(lower: &str, options: &[String]) -> Option<usize> {
    let options: Vec<String> = options.iter().map(|o| o.to_lowercase()).collect();
    let mut rest = lower.to_owned();
    let mut by_length: Vec<usize> = (0..options.len()).collect();
    by_length.sort_by_key(|&i| std::cmp::Reverse(options[i].len()));
    let mut found = None;
    for i in by_length {
        let option = options[i].trim();
        if !option.is_empty() && has_words(&rest, option) {
            if found.is_some() {
                return None;
            }
            found = Some(i);
            rest = rest.replace(option, " \u{1} ");
        }
    }
    found
}

/// Whether a phrase occurs as whole words.
pub(super) fn has_words(text: &str, phrase: &str) -> bool {
    first_words(text, phrase).is_some()
}

/// Where a phrase first occurs as whole words.
pub(super) fn first_words(text: &str, phrase: &str) -> Option<usize> {
    text.match_indices(phrase).map(|(at, _)| at).find(|&at| {
        let before = text[..at].chars().next_back();
        let after = text[at + phrase.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

/// Whether an answer calls a claim true: the first of the words true, false, yes, no. `TRUE or FALSE` repeated as one
/// phrase does not count. "not true" is false.
pub fn claim(answer: &str) -> Option<bool> {
    let lower = answer
        .to_lowercase()
        .replace("true or false", " ")
        .replace("true/false", " ");
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .collect();
    words.iter().enumerate().find_map(|(i, word)| {
        let negated = i > 0 && words[i - 1] == "not";
        match *word {
            "true" | "yes" => Some(!negated),
            "false" | "no" => Some(negated),
            _ => None,
        }
    })
}
