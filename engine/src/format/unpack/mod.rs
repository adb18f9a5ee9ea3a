//! Stored blocks to f32, one function a type, bit for bit as ggml's `dequantize_row_*` (ggml-quants.c) and
//! ik_llama.cpp's (iqk_quantize.cpp).
//!
//! Every product, sum and difference is rounded to f32 in the order written there; nothing is fused.
//! Bytes are little endian. `src` holds whole blocks and `dst` room for their values.
//!
//! | file | holds |
//! |---|---|
//! | `basic.rs` | floats, blocks of 32 with one scale |
//! | `k.rs` | K-quants |
//! | `iq.rs` | codes into grids, and into sixteen uneven values |
//! | `ik.rs`, `trellis.rs` | ik_llama.cpp's types |
//! | `interleaved.rs`, `interleaved_grids.rs` | its types whose rows lie together |
//! | `small.rs` | floats of 4 and 8 bits, ternary and binary digits |
//! | `grids.rs`, `grids.bin` | the grids, packed (from ggml-common.h, MIT, by `tests/golden/types/make_grids.py`) |

pub(super) mod basic;
mod grids;
pub(super) mod ik;
pub(super) mod interleaved;
pub(super) mod interleaved_grids;
pub(super) mod iq;
pub(super) mod k;
pub(super) mod small;
pub(super) mod trellis;

use half::f16;

/// Pairs of a block's `B` bytes and its `V` values.
fn blocks<'a, const B: usize, const V: usize>(
    src: &'a [u8],
    dst: &'a mut [f32],
) -> impl Iterator<Item = (&'a [u8; B], &'a mut [f32; V])> {
    src.as_chunks::<B>()
        .0
        .iter()
        .zip(dst.as_chunks_mut::<V>().0)
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn word_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// Sixteen signed bytes that nibbles choose from.
type Nibbles = [i8; 16];

/// Values of IQ4_NL and its kin (`kvalues_iq4nl`).
const IQ4_NL: Nibbles = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// `d * values[nibble]`: the low nibbles of `packed` first, then the high ones.
fn nibbles(packed: &[u8], d: f32, values: &Nibbles, y: &mut [f32]) {
    let (low, high) = y.split_at_mut(packed.len());
    for ((l, h), &q) in low.iter_mut().zip(high).zip(packed) {
        *l = d * f32::from(values[usize::from(q & 15)]);
        *h = d * f32::from(values[usize::from(q >> 4)]);
    }
}
