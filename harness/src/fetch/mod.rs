//! Models from a Hugging Face compatible hub: whole, checked, and continued where they were interrupted.
//!
//! | file | holds |
//! |---|---|
//! | `source.rs` | `hf:OWNER/NAME[/FILE][@REV]` |
//! | `hub.rs` | the hub's interface: a revision's commit, a commit's files |
//! | `listing.rs` | a commit's files with sizes and hashes, as untrusted as any input |
//! | `digest.rs` | the two hashes that a hub knows files by |
//! | `cache.rs` | the folder layout that `huggingface_hub` shares, its locks |
//! | `patience.rs` | when to try again, and when no more |
//! | `download.rs` | one file |
//! | `snapshot.rs` | all files, several at a time |
//! | `choice.rs` | which files are wanted; which of them a model needs |
//! | `bars.rs` | progress |
//! | `verify.rs` | what is there, checked again |
//!
//! A file has its final name only after its size and hash were right. Until then its bytes stand in
//! `blobs/HASH.incomplete`, whose length is the whole state of a download: a kill loses what was in flight.

mod bars;
pub mod cache;
pub mod choice;
pub mod digest;
mod download;
mod hub;
pub mod listing;
pub mod patience;
mod settings;
pub mod snapshot;
pub mod source;
pub mod verify;

pub use settings::Settings;
