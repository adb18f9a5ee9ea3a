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

mod angles;
pub mod arithmetic;
mod attend;
mod cache;
pub mod chat;
pub mod error;
pub mod fault;
pub mod format;
mod forward;
pub mod kernels;
mod latent;
pub mod layer_major;
pub mod model;
mod moe;
pub mod quantize;
pub mod reach;
pub mod rounding;
mod scratch;
mod span;
mod spare;
pub mod spec;
pub mod tokenizer;
pub mod tree;
pub mod variant;
pub mod weights;

pub use error::{Error, Result};
pub use layer_major::LayerMajor;
pub use model::Model;
pub use scratch::Scratch;
pub use tree::{Extend, Logits, LogitsRow, PromptTree, SpanId, TreeOptions};
