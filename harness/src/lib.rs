//! Long-context evaluation: suites become items, items prompts, prompts answers, answers scores, scores a report.
//!
//! ```text
//! suite (TOML) -> questions -> items -> prompts (exact tokens) -> run -> answers -> scores -> cells -> report
//! ```
//!
//! Only `run/` executes a model. Everything after it reads the run's folder.

pub mod error;
pub mod item;
pub mod record;
pub mod run;

pub use error::{Error, Result};
