//! Two distributions after every token of the same text: how far apart, where, and since when.
//!
//! | file | holds |
//! |---|---|
//! | `measure.rs` | one position: KL, agreement, the actual token's log probability; bounds where a part is known |
//! | `rows.rs` | recorded rows: safetensors files of ours, whole or top-k |
//! | `base.rs` | llama.cpp's base files of KL divergence, read and written |
//! | `curve.rs` | means by position, with intervals |
//! | `knees.rs` | positions from which on the divergence is another |
//! | `verdict.rs` | all of it, and whether it is within bounds |

pub mod base;
pub mod curve;
pub mod knees;
pub mod measure;
pub mod rows;
pub mod verdict;
