//! The arithmetic: matrix products over stored weights, attention over blocks of keys, norms.
//!
//! Every function gives the same bits on every instruction set, for any number of threads and any split of
//! the work: each output is one reduction in one fixed order, and work is split over outputs only.
//! The portable version is the oracle of the others.
//!
//! | file | holds |
//! |---|---|
//! | `isa.rs` | the choice of instruction set |
//! | `matmul.rs` | y = W x, and one row of a stored matrix |
//! | `attention.rs` | attention of a tile of queries over cached blocks |
//! | `elementwise.rs` | norms, activations, softmax |
//! | `math.rs` | exp, tanh, sigmoid, ln |

mod attention;
mod elementwise;
mod isa;
mod math;
mod matmul;

pub use attention::{KvBlocks, Scores, Scratch, attend};
pub use elementwise::{
    gelu_tanh_mul, layer_norm, log_sum_exp, rms_norm, sigmoid_all, silu_mul, softmax,
};
pub use isa::{Isa, isa};
pub use math::{exp, ln, sigmoid, tanh};
pub use matmul::{matmul, unpack_row};

use crate::format::StoredType;

/// A weight matrix as stored; y = W x.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// Type of the stored values.
    pub ty: StoredType,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// Order of the values in `data`.
    pub layout: Layout,
    /// The stored values.
    pub data: &'a [u8],
}

/// Order of a stored matrix's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Row r at `r * bytes_for(cols)`: `nn.Linear` and GGUF.
    RowMajor,
    /// Input-major: value (row r, col c) is element `c * stride + offset + r`; only for types of block size 1.
    /// (Llama 4's experts in Hugging Face checkpoints: `gate_up_proj` [dim, 2 * hidden].)
    ColMajor {
        /// Elements between one input and the next.
        stride: usize,
        /// First element.
        offset: usize,
    },
}

/// Positions in a block of the key-value cache. Block b holds positions 64 b .. 64 b + 63.
pub const KV_BLOCK: usize = 64;
