//! The instruction set as a parameter: vectors that the kernels are written against.
//!
//! | file | holds |
//! |---|---|
//! | `portable.rs` | plain Rust, the oracle; and `f32` itself as a vector of one |
//! | `avx2.rs` | x86-64 with AVX2, FMA and F16C: 8 lanes |
//! | `avx512.rs` | x86-64 with AVX-512 F, BW, DQ, VL, and VNNI where there is: 16 lanes |
//! | `neon.rs` | AArch64 with NEON: 8 lanes in two registers |
//! | `words/` | 16-bit integers in such vectors, and their products |
//! | `bytes.rs` | the same with bytes |
//!
//! The lanes of a reduction are a matter of the result's bits, so a vector is never simply "as wide as it gets":
//! it is eight lanes along the reduction, for [`Simd::ROWS`] rows at a time. A wider unit takes more rows. What
//! is done to each element alone uses all [`Simd::LANES`] as they come.

mod bytes;
mod portable;
mod words;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(target_arch = "aarch64")]
pub(super) use self::neon::Neon;
#[cfg(target_arch = "x86_64")]
pub(super) use self::{avx2::Avx2, avx512::Avx512};
pub(super) use bytes::Bytes;
pub(super) use portable::Portable;
pub(super) use words::Words;

/// One value for each row of a vector; the second is not looked at where [`Simd::ROWS`] is 1.
pub(super) type Rows<T> = [T; 2];

/// Vectors in a row group of a panel. A group is `GROUP * ROWS` rows.
pub(super) const GROUP: usize = 4;

/// Arithmetic on one f32 or on a vector of them. Every operation is IEEE 754's, rounded once.
///
/// # Safety
/// Every function needs the instruction set of its type.
pub(super) trait Real: Copy {
    unsafe fn splat(v: f32) -> Self;
    unsafe fn add(self, b: Self) -> Self;
    unsafe fn sub(self, b: Self) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
    unsafe fn div(self, b: Self) -> Self;
    /// `self * b + c`, rounded once.
    unsafe fn fma(self, b: Self, c: Self) -> Self;
    /// `self > b ? self : b`: b where either is NaN.
    unsafe fn max(self, b: Self) -> Self;
    /// `self < b ? self : b`: b where either is NaN.
    unsafe fn min(self, b: Self) -> Self;
    /// `a < b ? yes : no`.
    unsafe fn if_less(a: Self, b: Self, yes: Self, no: Self) -> Self;
    /// Magnitude of self, sign of `sign`.
    unsafe fn copysign(self, sign: Self) -> Self;
    /// `self * 2^n` for an integer n in -152 ..= 128, rounded once.
    unsafe fn scale(self, n: Self) -> Self;
}

/// A vector: eight lanes for each of `ROWS` rows.
///
/// # Safety
/// Every function needs the instruction set of its type; pointers are valid for what is read or written, at any
/// alignment.
pub(super) trait Simd: Bytes {
    /// Rows side by side in a vector: 1 or 2.
    const ROWS: usize;
    /// Elements of a vector.
    const LANES: usize = 8 * Self::ROWS;
    /// Tokens in a register block of `GROUP` vectors of rows, at most 6.
    const TOKENS: usize;

    /// Runs a kernel in a function of its own, compiled for the instruction set.
    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output;

    /// Has the cache line of `p` brought near, which may lie anywhere.
    unsafe fn prefetch(p: *const u8);
    /// `LANES` values.
    unsafe fn load(p: *const f32) -> Self;
    /// `LANES` values.
    unsafe fn store(self, p: *mut f32);
    /// Eight values, the same for every row.
    unsafe fn load_shared(p: *const f32) -> Self;
    /// Eight values of each row.
    unsafe fn load_rows(p: Rows<*const f32>) -> Self;
    /// The eight values of each row.
    unsafe fn store_rows(self, p: Rows<*mut f32>);
    /// One IEEE half a row.
    unsafe fn splat_half(bits: Rows<u16>) -> Self;
    /// Two IEEE halves of each row, the first in the lower half of its bits.
    #[inline(always)]
    unsafe fn splat_halves(bits: Rows<u32>) -> [Self; 2] {
        // SAFETY: the caller's.
        unsafe {
            [
                Self::splat_half(bits.map(|b| b as u16)),
                Self::splat_half(bits.map(|b| (b >> 16) as u16)),
            ]
        }
    }
    /// Eight IEEE halves of each row.
    unsafe fn load_half(p: Rows<*const u8>) -> Self;
    /// Lane i of each row in all lanes of the row.
    unsafe fn lane(self, i: usize) -> Self;
    /// In each row: out[i][j] = v[j][i].
    unsafe fn transpose(v: [Self; 8]) -> [Self; 8];

    /// Eight bytes of each row.
    unsafe fn load_u8(p: Rows<*const u8>) -> Self::Int;
    /// Eight signed bytes of each row.
    unsafe fn load_i8(p: Rows<*const u8>) -> Self::Int;
    /// Eight 16-bit integers of each row.
    unsafe fn load_u16(p: Rows<*const u8>) -> Self::Int;
    /// What [`Simd::look_up`] needs for codes with these parameters: the values of all sixteen codes where registers
    /// hold them, else the parameters.
    #[inline(always)]
    unsafe fn table<C: Code<Self>>(parameters: [Self; 2]) -> [Self; 2] {
        parameters
    }
    /// The value of the code in the lowest four bits of each integer, whatever stands above.
    #[inline(always)]
    unsafe fn look_up<C: Code<Self>>(table: [Self; 2], q: Self::Int) -> Self {
        // SAFETY: the caller's.
        unsafe { C::value(table, Self::to_real(Self::and(q, Self::int(15)))) }
    }
    /// The same in every lane.
    unsafe fn int(v: i32) -> Self::Int;
    unsafe fn and(a: Self::Int, b: Self::Int) -> Self::Int;
    unsafe fn or(a: Self::Int, b: Self::Int) -> Self::Int;
    unsafe fn shl<const N: u32>(a: Self::Int) -> Self::Int;
    unsafe fn shr<const N: u32>(a: Self::Int) -> Self::Int;
    /// The value of each integer.
    unsafe fn to_real(a: Self::Int) -> Self;
    /// The float with these bits.
    unsafe fn from_bits(a: Self::Int) -> Self;

    /// The sum of the eight lanes of each row of four vectors, by the fixed tree
    /// `((l0+l4)+(l2+l6)) + ((l1+l5)+(l3+l7))`: `GROUP * ROWS` values, row by row.
    unsafe fn store_sums(v: [Self; GROUP], p: *mut f32);
    /// Sum of 16 lanes: `l[j] + l[j + 8]`, then the tree of `store_sums`. Where `LANES` is 8 the lanes are those
    /// of both vectors, else of the first.
    unsafe fn sum16(v: [Self; 2]) -> f32;
    /// The greatest lane.
    unsafe fn max_lane(self) -> f32;
}

/// What a code stands for: a function of each lane, its parameters those of the lane's row.
pub(super) trait Code<V> {
    /// # Safety
    /// Needs the instruction set of V.
    unsafe fn value(parameters: [V; 2], code: V) -> V;
}

/// Work that is compiled once for each instruction set.
pub(super) trait Kernel {
    /// What it gives.
    type Output;

    /// Does the work. Must be `#[inline(always)]`, and so must be all that takes `V`: the caller is
    /// [`Simd::enter`], which has the instruction set enabled.
    ///
    /// # Safety
    /// Needs the instruction set of V.
    unsafe fn run<V: Simd>(self) -> Self::Output;
}
