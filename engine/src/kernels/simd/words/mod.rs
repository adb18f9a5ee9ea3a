//! Products of 16-bit integers: what a vector needs beside floats. All of it is exact, so nothing here has an order.

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::{Portable, Real, Rows, Simd};

/// Integers in a vector: 32 bits in each lane, or two words of 16 bits in each lane, the lower one first.
///
/// # Safety
/// Every function needs the instruction set of its type; pointers are valid for what is read, at any alignment.
pub(in crate::kernels) trait Words: Real {
    /// 32-bit integers, as many as the vector has elements.
    type Int: Copy;
    /// Tokens in a register block of integers, at most 6.
    const WORD_TOKENS: usize;

    /// One integer a lane.
    unsafe fn load_ints(p: *const i32) -> Self::Int;
    /// Four bytes of eight places in every row, a lane each.
    unsafe fn load_lanes(p: [Rows<*const u8>; 8]) -> Self::Int;
    /// Sixteen bytes of eight places in every row, a lane each: four bytes in each vector.
    unsafe fn load_fours(p: [Rows<*const u8>; 8]) -> [Self::Int; 4];
    /// The IEEE half in the lower two bytes of each lane.
    unsafe fn halves(a: Self::Int) -> Self;
    /// Each lane's bits moved down by `n`, zeros behind them.
    unsafe fn shift_down(a: Self::Int, n: u32) -> Self::Int;
    /// `a + b` in each lane.
    unsafe fn add_ints(a: Self::Int, b: Self::Int) -> Self::Int;
    /// `sum + a.low * b.low + a.high * b.high` in each lane.
    unsafe fn add_products(sum: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int;
    /// In each row: lane j is the sum of the row's first four lanes of `v[j]`, and of its last four.
    unsafe fn sum_halves(v: [Self::Int; 8]) -> [Self::Int; 2];
    /// The nearest integers, ties to even; they are of 32 bits.
    unsafe fn nearest(self) -> Self::Int;
    /// Every lane as a word; they are of 16 bits.
    unsafe fn store_words(a: Self::Int, p: *mut i16);
}

/// The two words of a lane.
fn halves(v: i32) -> [i16; 2] {
    [v as i16, (v >> 16) as i16]
}

/// A lane of two words.
pub(super) fn lane(low: i16, high: i16) -> i32 {
    i32::from(low as u16) | i32::from(high) << 16
}

impl Words for Portable {
    type Int = [i32; 8];
    const WORD_TOKENS: usize = 2;

    #[inline(always)]
    unsafe fn load_ints(p: *const i32) -> [i32; 8] {
        // SAFETY: the caller's pointer holds eight integers.
        unsafe { p.cast::<[i32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_lanes(p: [Rows<*const u8>; 8]) -> [i32; 8] {
        // SAFETY: the caller's pointers hold four bytes.
        p.map(|p| unsafe { i32::from_le_bytes(p[0].cast::<[u8; 4]>().read()) })
    }
    #[inline(always)]
    unsafe fn load_fours(p: [Rows<*const u8>; 8]) -> [[i32; 8]; 4] {
        // SAFETY: the caller's pointers hold sixteen bytes.
        std::array::from_fn(|i| unsafe { Self::load_lanes(p.map(|p| p.map(|p| p.add(4 * i)))) })
    }
    #[inline(always)]
    unsafe fn halves(a: [i32; 8]) -> Self {
        let bytes = a.map(|a| (a as u16).to_le_bytes());
        // SAFETY: sixteen bytes.
        unsafe { <Self as Simd>::load_half([bytes.as_ptr().cast(); 2]) }
    }
    #[inline(always)]
    unsafe fn shift_down(a: [i32; 8], n: u32) -> [i32; 8] {
        a.map(|a| ((a as u32) >> n) as i32)
    }
    #[inline(always)]
    unsafe fn add_ints(a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|j| a[j] + b[j])
    }
    #[inline(always)]
    unsafe fn add_products(sum: [i32; 8], a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|j| {
            let (a, b) = (halves(a[j]), halves(b[j]));
            let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
            sum[j] + (product(0) + product(1))
        })
    }
    #[inline(always)]
    unsafe fn sum_halves(v: [[i32; 8]; 8]) -> [[i32; 8]; 2] {
        [
            v.map(|v| v[..4].iter().sum()),
            v.map(|v| v[4..].iter().sum()),
        ]
    }
    #[inline(always)]
    unsafe fn nearest(self) -> [i32; 8] {
        self.0.map(|v| v.round_ties_even() as i32)
    }
    #[inline(always)]
    unsafe fn store_words(a: [i32; 8], p: *mut i16) {
        // SAFETY: the caller's pointer has room for eight words.
        unsafe {
            p.cast::<[i16; 8]>().write_unaligned(a.map(|a| a as i16));
        }
    }
}
