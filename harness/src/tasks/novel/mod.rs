//! Novels: questions about people who change, generated at any length and answered without a judge.
//!
//! ```text
//! world.rs      facts and queries: what can be true, and what is asked
//! threads.rs    scenes in which every value stands out as little as every other
//! cases.rs      for a topic: thread, query, options
//! book.rs       thread + other threads + meetings -> chapters -> passages
//! render.rs     scene -> sentences (templates_*.rs, words.rs, names.rs)
//! wording.rs    query -> question, options, claims
//! evidence.rs   query -> the passages that it needs
//! ```
//!
//! [`questions`] draws a book for every question (for every pair of claims), proves the question sound with
//! [`facts::prove`](super::facts::prove), and marks the passages that are evidence.

mod book;
mod cases;
mod cast;
mod evidence;
mod names;
mod questions;
mod render;
mod templates;
mod templates_test;
mod templates_train;
#[cfg(test)]
mod tests;
mod threads;
mod wording;
mod words;
mod world;

pub use questions::{Params, Task, question, questions};

/// The surnames of a split.
pub(in crate::tasks) fn surnames(split: super::reading::Split) -> &'static [&'static str] {
    cast::names(split).surnames
}
