//! Answers that are no answers.

use std::collections::HashMap;

/// Words of a phrase whose repetition is a loop.
const PHRASE: usize = 4;

/// What is wrong with an answer as text, if anything: `empty`, `not-text`, `loop`. The score is not touched by it.
///
/// - `empty`: white space only.
/// - `not-text`: more than 5 % of the characters are U+FFFD or control characters (but line ends and tabs), or there are
///   at least 12 characters and no letter or digit among them.
/// - `loop`: of at least 24 words, more than half of the four-word phrases occurred before in the answer; or one
///   character makes up more than 80 % of at least 40.
///
/// ```
/// use fathom_harness::score::defect;
/// assert_eq!(defect(" \n"), Some("empty"));
/// assert_eq!(defect(&"the same again and ".repeat(20)), Some("loop"));
/// assert_eq!(defect("7 of them."), None);
/// ```
pub fn defect(answer: &str) -> Option<&'static str> {
    let text = answer.trim();
    if text.is_empty() {
        return Some("empty");
    }
    let n = text.chars().count();
    let bad = text
        .chars()
        .filter(|&c| c == '\u{fffd}' || c.is_control() && !"\n\r\t".contains(c))
        .count();
    if bad * 20 > n || n >= 12 && !text.chars().any(char::is_alphanumeric) {
        return Some("not-text");
    }
    let mut letters: HashMap<char, usize> = HashMap::new();
    for c in text.chars() {
        *letters.entry(c).or_default() += 1;
    }
    if n >= 40 && letters.values().any(|&k| k * 5 > n * 4) {
        return Some("loop");
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.len() >= 24 {
        let mut seen = std::collections::HashSet::new();
        let again = words
            .windows(PHRASE)
            .filter(|phrase| !seen.insert(*phrase))
            .count();
        if again * 2 > words.len() - PHRASE + 1 {
            return Some("loop");
        }
    }
    None
}
