//! The tasks: from parameters and a seed to questions.
//!
//! | file | holds |
//! |---|---|
//! | `needle.rs` | facts in a haystack, as in RULER |
//! | `magic.rs` | keys and values of needles |

pub mod magic;
pub mod needle;
