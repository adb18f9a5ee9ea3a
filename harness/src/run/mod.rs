//! A run: a plan becomes a folder, the folder is executed, the answers become scores.
//!
//! | file | holds |
//! |---|---|
//! | `folder.rs` | the folder as others read it |
//! | `journal.rs` | lines that survive a kill; the lock |

pub mod folder;
pub mod journal;

pub use folder::RunFolder;
