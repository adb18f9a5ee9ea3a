//! A run: a plan becomes a folder, the folder is executed, the answers become scores.
//!
//! | file | holds |
//! |---|---|
//! | `identity.rs` | what makes two runs the same run |
//! | `place.rs` | which folder a run writes |
//! | `execute.rs` | from items to answers |
//! | `think.rs` | thought and answer |
//! | `speed.rs` | speed by length |
//! | `progress.rs` | how far a run is |
//! | `folder.rs` | the folder as others read it |
//! | `journal.rs` | lines that survive a kill; the lock |

pub mod execute;
pub mod folder;
pub mod identity;
pub mod journal;
pub mod place;
pub mod progress;
pub mod speed;
pub mod think;

pub use folder::RunFolder;
