//! The tasks: from parameters and a seed to questions.
//!
//! | file | holds |
//! |---|---|
//! | `needle.rs` | facts in a haystack, as in RULER |
//! | `magic.rs` | keys and values of needles |
//! | `novel/` | people who change, over the chapters of a generated book |
//! | `papers/` | several studies, judged against each other |
//! | `facts.rs` | the solver that proves a question sound |
//! | `shortcuts.rs` | ways to answer without reading, which must not pay |
//! | `reading.rs` | what novels and papers have in common |
//! | `export.rs` | questions as lines to train a model on |
//! | `sweep.rs` | a map of depth and length, many cells from one document |
//! | `own.rs` | documents and questions of one's own |

pub mod export;
pub mod facts;
pub mod magic;
pub mod needle;
pub mod novel;
pub mod own;
pub mod papers;
pub mod reading;
pub mod shortcuts;
pub mod sweep;
