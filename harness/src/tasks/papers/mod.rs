//! Papers: several short studies to be judged against each other, with what matters of each in places apart.
//!
//! ```text
//! world.rs       facts and queries: what a paper can say, and what is asked
//! cases.rs       facts drawn so that no part of them gives the answer away
//! collection.rs  facts -> sections and later notes (words.rs)
//! questions.rs   collections -> questions, proved sound
//! ```

mod cases;
mod collection;
mod questions;
#[cfg(test)]
mod tests;
mod words;
mod world;

pub use questions::{Params, Task, question, questions};
