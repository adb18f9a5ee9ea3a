//! Reference inference engine: exact, deterministic, on the CPU.
//!
//! ```text
//! checkpoint (GGUF | safetensors, mapped)        format/
//!   -> ModelSpec { layers: Vec<LayerSpec>, .. }   spec/
//!   -> Weights (borrowed from the map)            weights.rs
//!   -> forward over a PromptTree                  forward.rs + tree.rs + cache.rs
//!   -> logits
//! ```
//!
//! The engine knows nothing of suites, items or scores.

pub mod error;
pub mod format;
pub mod kernels;
pub mod spec;

pub use error::{Error, Result};
