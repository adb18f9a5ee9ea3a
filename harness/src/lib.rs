//! Long-context evaluation: suites become items, items prompts, prompts answers, answers scores, scores a report.
//!
//! ```text
//! suite (TOML) -> questions -> items -> prompts (exact tokens) -> run -> answers -> scores -> cells -> report
//! ```
//!
//! `run/`, `serve/` and the verbs that say so execute a model. Everything after a run reads its folder.

pub mod audit;
pub mod backend;
pub mod builtin;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod cpu;
pub mod describe;
pub mod divergence;
pub mod endpoint;
pub mod error;
pub mod fetch;
pub mod filler;
pub mod http;
pub mod item;
mod json;
pub mod layout;
pub mod logits_file;
pub mod memory;
pub mod opened;
pub mod prose;
pub mod record;
pub mod report;
pub mod rng;
pub mod run;
pub mod score;
pub mod serve;
pub mod stats;
pub mod stop;
pub mod suite;
pub mod tasks;

pub use error::{Error, Result};
