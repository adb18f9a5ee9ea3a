//! References found in a text.

/// Share of the references that occur in the answer, whatever their case: RULER's `string_match_all` of one sample
/// (`scripts/eval/synthetic/constants.py`). There is no penalty for what else the answer holds.
///
/// ```
/// use fathom_harness::score::contains_all;
/// assert_eq!(contains_all("Able Angle and 7.", &["able angle".into(), "8".into()]), 0.5);
/// ```
pub fn contains_all(answer: &str, references: &[String]) -> f64 {
    let answer = answer.to_lowercase();
    let found = references
        .iter()
        .filter(|r| answer.contains(&r.to_lowercase()))
        .count();
    found as f64 / references.len().max(1) as f64
}

/// Whether any reference occurs in the answer: RULER's `string_match_part`.
pub fn contains_any(answer: &str, references: &[String]) -> bool {
    contains_all(answer, references) > 0.0
}

/// Whether the answer equals a reference, after white space and punctuation at both ends and the case are taken away.
pub fn exact(answer: &str, references: &[String]) -> bool {
    let bare = |s: &str| {
        s.trim_matches(|c: char| {
            c.is_whitespace() || c.is_ascii_punctuation() || "“”‘’«»。".contains(c)
        })
        .to_lowercase()
    };
    let answer = bare(answer);
    references.iter().any(|r| bare(r) == answer)
}
