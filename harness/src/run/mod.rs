//! A run: a plan becomes a folder, the folder is executed, the answers become scores.
//!
//! | file | holds |
//! |---|---|
//! | `plan.rs` | from questions to items, short to long |
//! | `estimate.rs` | what a run will cost |
//! | `identity.rs` | what makes two runs the same run |
//! | `place.rs` | which folder a run writes |
//! | `execute.rs` | from items to answers |
//! | `think.rs` | thought and answer |
//! | `scores.rs` | from answers to scores |
//! | `speed.rs` | speed by length |
//! | `progress.rs` | how far a run is |
//! | `folder.rs` | the folder as others read it |
//! | `journal.rs` | lines that survive a kill; the lock |

pub mod estimate;
pub mod execute;
pub mod folder;
pub mod identity;
pub mod journal;
pub mod place;
pub mod plan;
pub mod progress;
pub mod scores;
pub mod speed;
pub mod think;

pub use folder::RunFolder;
