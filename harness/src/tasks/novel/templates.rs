//! How the templates of the prose are written; the sentences themselves are in `templates_train.rs` and `templates_test.rs`.
//!
//! In a template, `{X}` is the person whom the passage is about (by full or first name), `{x}` the same by first name, `{he}`,
//! `{him}`, `{his}` (`his own`, `her own`), `{hers}` (`his to keep`, `hers to keep`), `{self}` (with `{He}`, `{His}` at the beginning of a sentence) their pronouns, `{v}` the value (`Thornby`),
//! `{av}` the value with its article (`an apothecary`; `{Av}` at the beginning of a sentence), `{T}` another person, `{t}` a thing, `{s}` what a secret is about,
//! `{truth}` what is told (`{Truth}` at the beginning of a sentence), `{When}` and `{when}` a time of the year (`in April`),
//! `{cause}` a sentence that gives a reason or nothing, `{Cause}` always a reason.

/// Sentences of one split.
#[derive(Debug)]
pub struct Templates {
    /// Moving house.
    pub home: &'static [&'static str],
    /// Almost moving house.
    pub home_declined: &'static [&'static str],
    /// Taking up a trade.
    pub trade: &'static [&'static str],
    /// Almost taking up a trade.
    pub trade_declined: &'static [&'static str],
    /// Joining a society.
    pub society: &'static [&'static str],
    /// Almost joining a society.
    pub society_declined: &'static [&'static str],
    /// Getting a thing.
    pub holder: &'static [&'static str],
    /// Almost getting a thing.
    pub holder_declined: &'static [&'static str],
    /// Finding out a secret by oneself.
    pub found_out: &'static [&'static str],
    /// Being told a secret.
    pub told: &'static [&'static str],
    /// Not being told a secret.
    pub not_told: &'static [&'static str],
    /// Two people meet and nothing changes.
    pub meeting: &'static [&'static str],
    /// Reasons to move.
    pub home_cause: &'static [&'static str],
    /// Reasons to take up another trade.
    pub trade_cause: &'static [&'static str],
    /// Reasons to join a society.
    pub society_cause: &'static [&'static str],
    /// Times of the year, lower case, in their order: spring, summer, autumn, winter.
    pub when: [&'static [&'static str]; 4],
    /// Sentences of the season that change nothing.
    pub season: [&'static [&'static str]; 4],
    /// Sentences of any season that change nothing.
    pub aside: &'static [&'static str],
}
