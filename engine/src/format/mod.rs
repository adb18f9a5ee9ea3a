//! Checkpoints: what is stored, where, and as which type. Nothing here computes.
//!
//! | file | holds |
//! |---|---|
//! | `types.rs` | the table of stored types: block size, bytes, unpack |
//! | `bytes.rs` | a range of a mapped file or of the program itself |
//! | `gguf.rs` | GGUF v2 and v3, single and split |
//! | `safetensors.rs` | one safetensors file or a sharded set |
//! | `checkpoint.rs` | a folder or file opened: configuration, tensors, tokenizer files |

pub mod bytes;
pub mod gguf;
pub mod types;

pub use bytes::Bytes;
pub use types::StoredType;

/// A tensor as stored.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Name in the file.
    pub name: String,
    /// Type of the stored values.
    pub ty: StoredType,
    /// Row-major shape, outermost dimension first (PyTorch's order; GGUF's is reversed on reading).
    pub shape: Vec<usize>,
    /// The stored bytes: exactly `ty.bytes_for(shape.product())`, the last dimension a whole number of blocks.
    pub data: Bytes,
}
