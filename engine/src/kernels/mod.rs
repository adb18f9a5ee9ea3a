//! The arithmetic: matrix products over stored weights, attention over blocks of keys, norms.
//!
//! Every function gives the same bits on every instruction set, for any number of threads and any split of
//! the work: each output is one reduction in one fixed order, and work is split over outputs only.
//! The portable version is the oracle of the others.
//!
//! | file | holds |
//! |---|---|
//! | `matmul.rs` | y = W x: how the work is cut, and one row of a stored matrix |
//! | `dot.rs` | the register block, and with it the order of every matrix product |
//! | `panel.rs` | rows of weights in the order in which the register block reads them |
//! | `gemv.rs` | the same for one token, without a panel |
//! | `unpack.rs` | stored blocks to f32, eight at a time |
//! | `attention.rs` | attention of a tile of queries over cached blocks |
//! | `attention_steps.rs` | its steps over one block |
//! | `elementwise.rs` | norms, activations, softmax |
//! | `math.rs` | exp, tanh, sigmoid, ln |
//! | `simd/` | vectors: the instruction set as a parameter |
//! | `isa.rs` | the choice of instruction set |
//! | `limits.rs` | the peaks of this machine, measured |
//! | `work.rs` | FLOP and bytes, counted |
//! | `buffer.rs` | scratch memory |
//! | `tests/` | every instruction set against the portable one, and that against f64 |

mod attention;
mod attention_steps;
mod buffer;
mod dot;
mod elementwise;
mod gemv;
mod isa;
pub mod limits;
mod math;
mod matmul;
mod panel;
mod simd;
#[cfg(test)]
mod tests;
mod unpack;
mod work;

pub use attention::{KvBlocks, Scores, Scratch, attend};
pub use elementwise::{
    clamped_swiglu_mul, gelu_tanh_mul, layer_norm, log_sum_exp, rms_norm, silu_mul, softmax,
};
pub use isa::{Isa, isa};
pub use math::{exp, ln, sigmoid, tanh};
pub use matmul::{Product, matmul, matmuls, unpack_row};
pub use work::{Work, work};

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

impl Matrix<'_> {
    /// The shape fits the type and the data, or this panics. What was read from a file was checked then.
    fn check(&self) {
        let Self {
            ty,
            rows,
            cols,
            layout,
            data,
        } = *self;
        let info = ty.info();
        assert!(
            cols.is_multiple_of(info.block),
            "{}: {cols} columns are no whole blocks",
            info.name
        );
        let values = match layout {
            Layout::RowMajor => rows * cols,
            Layout::ColMajor { stride, offset } => {
                assert_eq!(info.block, 1, "{}: column by column", info.name);
                if rows * cols == 0 {
                    0
                } else {
                    (cols - 1) * stride + offset + rows
                }
            }
        };
        let bytes = values / info.block * info.bytes;
        assert!(
            data.len() >= bytes,
            "{rows} x {cols} {} in {} bytes",
            info.name,
            data.len()
        );
    }
}

/// Positions in a block of the key-value cache. Block b holds positions 64 b .. 64 b + 63.
pub const KV_BLOCK: usize = 64;
