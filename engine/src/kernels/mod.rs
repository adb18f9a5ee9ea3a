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
//! | `integer/` | the same in integers of 16 or eight bits, where that is asked for |
//! | `unpack.rs`, `unpack_k.rs` | stored blocks to f32, eight at a time |
//! | `attention.rs` | attention of a tile of queries over cached blocks |
//! | `attention_steps.rs` | its steps over one block |
//! | `elementwise.rs` | norms, activations, softmax |
//! | `math.rs` | exp, tanh, sigmoid, ln |
//! | `simd/` | vectors: the instruction set as a parameter |
//! | `isa.rs` | the choice of instruction set |
//! | `limits.rs` | the peaks of this machine, measured |
//! | `team.rs` | the threads that share a call's tasks |
//! | `work.rs` | FLOP and bytes, counted |
//! | `buffer.rs` | scratch memory |
//! | `tests/` | every instruction set against the portable one, and that against f64 |

mod attention;
mod attention_steps;
mod buffer;
mod dot;
mod elementwise;
mod gemv;
mod integer;
mod isa;
pub mod limits;
mod math;
mod matmul;
mod panel;
mod simd;
pub mod team;
#[cfg(test)]
mod tests;
mod unpack;
mod unpack_k;
mod work;

pub use attention::{KvBlock, KvBlocks, Scores, Scratch, attend};
pub use elementwise::{
    clamped_swiglu_mul, gelu_tanh_mul, layer_norm, log_sum_exp, rms_norm, silu_mul, softmax,
};
pub use integer::takes as has_integers;
pub use isa::{Isa, isa};
pub use math::{exp, ln, sigmoid, tanh};
pub use matmul::{Precision, Product, matmul, matmuls, unpack_row};
pub use work::{Work, work};

use crate::format::StoredType;
use crate::format::types::Unpack;

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
    /// Factors on the values that are stored apart from them.
    pub scales: Option<Scales<'a>>,
}

/// Factors on blocks of a matrix, each value's product rounded to f32.
#[derive(Clone, Copy, Debug)]
pub struct Scales<'a> {
    /// Type of the factors, one value a block.
    pub ty: StoredType,
    /// Stored rows and columns that share a factor.
    pub block: (usize, usize),
    /// Stored row and column, among those the factors are of, where the matrix begins.
    pub first: (usize, usize),
    /// Factors side by side: columns that the factors are of / block columns, rounded up.
    pub across: usize,
    /// [stored rows / block rows, `across`].
    pub data: &'a [u8],
}

/// Order of a stored matrix's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Row r at `r * bytes_for(cols)`: `nn.Linear` and GGUF.
    RowMajor,
    /// Row r is the stored row `r * step + first`: matrices that alternate row by row (gpt-oss's gate and up).
    Rows {
        /// Stored rows between one row and the next.
        step: usize,
        /// First stored row.
        first: usize,
    },
    /// Input-major: value (row r, col c) is element `c * stride + offset + r`; only for types of block size 1.
    /// (Llama 4's experts in Hugging Face checkpoints: `gate_up_proj` [dim, 2 * hidden].)
    ColMajor {
        /// Elements between one input and the next.
        stride: usize,
        /// First element.
        offset: usize,
    },
}

impl Scales<'_> {
    /// The factor of the value in a stored row and column of the matrix, and the first column behind its block.
    fn of(&self, row: usize, col: usize) -> (f32, usize) {
        let (high, wide) = self.block;
        let (row, col) = (self.first.0 + row, self.first.1 + col);
        let mut scale = [0.0];
        let at = row / high * self.across + col / wide;
        self.ty.unpack_part(self.data, 0, 0, at, &mut scale);
        (scale[0], (col / wide + 1) * wide - self.first.1)
    }
}

impl Matrix<'_> {
    /// The shape fits the type and the data, or this panics. What was read from a file was checked then.
    fn check(&self) {
        let Self { ty, rows, cols, .. } = *self;
        let info = ty.info();
        let Some(row_bytes) = ty.bytes_for(cols) else {
            panic!("{}: {cols} columns are no whole blocks", info.name);
        };
        let bytes = match self.layout {
            Layout::ColMajor { stride, offset } => {
                assert_eq!(info.block, 1, "{}: column by column", info.name);
                match rows * cols {
                    0 => 0,
                    _ => ((cols - 1) * stride + offset + rows) * info.bytes,
                }
            }
            _ => self.stored_rows() * row_bytes,
        };
        assert!(
            self.data.len() >= bytes,
            "{rows} x {cols} {} in {} bytes",
            info.name,
            self.data.len()
        );
        if let Some(scales) = &self.scales {
            let (high, wide) = scales.block;
            let (down, right) = match self.layout {
                Layout::ColMajor { offset, .. } => (cols, offset + rows),
                _ => (self.stored_rows(), cols),
            };
            let right = (scales.first.1 + right).div_ceil(wide);
            assert!(right <= scales.across, "factors of {right} blocks in a row");
            let n = (scales.first.0 + down).div_ceil(high) * scales.across;
            assert!(
                scales
                    .ty
                    .bytes_for(n)
                    .is_some_and(|n| scales.data.len() >= n)
            );
        }
    }

    /// Rows of `data` up to the last one of the matrix.
    fn stored_rows(&self) -> usize {
        match self.rows {
            0 => 0,
            n => (self.stored_row(n - 1) + 1).next_multiple_of(self.ty.interleaved()),
        }
    }

    /// Where row `r` is stored.
    fn stored_row(&self, r: usize) -> usize {
        match self.layout {
            Layout::Rows { step, first } => r * step + first,
            _ => r,
        }
    }

    /// Whether the columns of a row must be unpacked with what stands elsewhere.
    fn needs_rows(&self) -> bool {
        self.scales.is_some() || matches!(self.ty.info().unpack, Unpack::Rows { .. })
    }

    /// Unpacks `out.len()` values of row `r` from column `first` on, both whole blocks.
    fn unpack_part(&self, r: usize, first: usize, out: &mut [f32]) {
        if let Layout::ColMajor { stride, offset } = self.layout {
            for (col, v) in (first..).zip(out) {
                let one = std::slice::from_mut(v);
                let at = col * stride + offset + r;
                self.ty.unpack_part(self.data, 0, 0, at, one);
                if let Some(scales) = &self.scales {
                    one[0] *= scales.of(col, offset + r).0;
                }
            }
            return;
        }
        let row = self.stored_row(r);
        self.ty.unpack_part(self.data, self.cols, row, first, out);
        let Some(scales) = &self.scales else { return };
        let end = first + out.len();
        let mut col = first;
        while col < end {
            let (scale, behind) = scales.of(row, col);
            let next = end.min(behind);
            out[col - first..next - first]
                .iter_mut()
                .for_each(|v| *v *= scale);
            col = next;
        }
    }
}

/// Positions in a block of the key-value cache. Block b holds positions 64 b .. 64 b + 63.
pub const KV_BLOCK: usize = 64;
