//! Products of 16-bit integers: what a vector needs beside floats. All of it is exact, so nothing here has an order.

use super::{Portable, Real, Rows};

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
    /// Eight integers, the same for every row.
    unsafe fn load_shared_ints(p: *const i32) -> Self::Int;
    /// Sixteen bytes of each row, a word each.
    unsafe fn load_u8_words(p: Rows<*const u8>) -> Self::Int;
    /// Sixteen signed bytes of each row, a word each.
    unsafe fn load_i8_words(p: Rows<*const u8>) -> Self::Int;
    /// Adds 16 to word j of a row where bit j of `v` is set; nothing in `a` is above the fourth bit.
    unsafe fn fifth_word_bits(a: Self::Int, v: Rows<u16>) -> Self::Int;
    /// Word by word.
    unsafe fn sub_words(a: Self::Int, b: Self::Int) -> Self::Int;
    /// Each lane's bits moved down by `n`, zeros behind them.
    unsafe fn shift_down(a: Self::Int, n: u32) -> Self::Int;
    /// `sum + a.low * b.low + a.high * b.high` in each lane.
    unsafe fn add_products(sum: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int;
    /// In each row: lane j is the sum of the row's eight lanes of `v[j]`.
    unsafe fn sum_rows(v: [Self::Int; 8]) -> Self::Int;
}

/// The two words of a lane.
fn halves(v: i32) -> [i16; 2] {
    [v as i16, (v >> 16) as i16]
}

/// A lane of two words.
fn lane(low: i16, high: i16) -> i32 {
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
    unsafe fn load_shared_ints(p: *const i32) -> [i32; 8] {
        // SAFETY: as `load_ints`.
        unsafe { Self::load_ints(p) }
    }
    #[inline(always)]
    unsafe fn load_u8_words(p: Rows<*const u8>) -> [i32; 8] {
        // SAFETY: the caller's pointer holds sixteen bytes.
        let bytes = unsafe { p[0].cast::<[[u8; 2]; 8]>().read() };
        bytes.map(|[a, b]| lane(a.into(), b.into()))
    }
    #[inline(always)]
    unsafe fn load_i8_words(p: Rows<*const u8>) -> [i32; 8] {
        // SAFETY: the caller's pointer holds sixteen bytes.
        let bytes = unsafe { p[0].cast::<[[i8; 2]; 8]>().read() };
        bytes.map(|[a, b]| lane(a.into(), b.into()))
    }
    #[inline(always)]
    unsafe fn fifth_word_bits(a: [i32; 8], v: Rows<u16>) -> [i32; 8] {
        let bit = |j: usize| i32::from(v[0] >> j & 1) << 4;
        std::array::from_fn(|j| a[j] + (bit(2 * j) | bit(2 * j + 1) << 16))
    }
    #[inline(always)]
    unsafe fn sub_words(a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|j| {
            let (a, b) = (halves(a[j]), halves(b[j]));
            lane(a[0].wrapping_sub(b[0]), a[1].wrapping_sub(b[1]))
        })
    }
    #[inline(always)]
    unsafe fn shift_down(a: [i32; 8], n: u32) -> [i32; 8] {
        a.map(|a| ((a as u32) >> n) as i32)
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
    unsafe fn sum_rows(v: [[i32; 8]; 8]) -> [i32; 8] {
        v.map(|v| v.into_iter().sum())
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::{Avx2, Avx512, Rows};
    use super::Words;

    // SAFETY of every block below: the trait asks its callers for the instruction set and for pointers that are valid
    // for what is read; all accesses are unaligned ones.

    impl Words for Avx2 {
        type Int = __m256i;
        const WORD_TOKENS: usize = 4;

        #[inline(always)]
        unsafe fn load_ints(p: *const i32) -> __m256i {
            // SAFETY: above.
            unsafe { _mm256_loadu_si256(p.cast()) }
        }
        #[inline(always)]
        unsafe fn load_shared_ints(p: *const i32) -> __m256i {
            // SAFETY: above.
            unsafe { Self::load_ints(p) }
        }
        #[inline(always)]
        unsafe fn load_u8_words(p: Rows<*const u8>) -> __m256i {
            // SAFETY: above.
            unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(p[0].cast())) }
        }
        #[inline(always)]
        unsafe fn load_i8_words(p: Rows<*const u8>) -> __m256i {
            // SAFETY: above.
            unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(p[0].cast())) }
        }
        #[inline(always)]
        unsafe fn fifth_word_bits(a: __m256i, v: Rows<u16>) -> __m256i {
            // SAFETY: above.
            unsafe {
                let bit = _mm256_setr_epi16(
                    1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, -32768,
                );
                let all = _mm256_and_si256(_mm256_set1_epi16(v[0].cast_signed()), bit);
                let set = _mm256_cmpeq_epi16(all, bit);
                _mm256_or_si256(a, _mm256_and_si256(set, _mm256_set1_epi16(16)))
            }
        }
        #[inline(always)]
        unsafe fn sub_words(a: __m256i, b: __m256i) -> __m256i {
            // SAFETY: above.
            unsafe { _mm256_sub_epi16(a, b) }
        }
        #[inline(always)]
        unsafe fn shift_down(a: __m256i, n: u32) -> __m256i {
            // SAFETY: above.
            unsafe { _mm256_srl_epi32(a, _mm_cvtsi32_si128(n as i32)) }
        }
        #[inline(always)]
        unsafe fn add_products(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
            // SAFETY: above.
            unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)) }
        }
        #[inline(always)]
        unsafe fn sum_rows(v: [__m256i; 8]) -> __m256i {
            // SAFETY: above.
            unsafe {
                // Each 128-bit half holds four sums over it.
                let fours = |v: &[__m256i]| {
                    let (a, b) = (_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
                    _mm256_hadd_epi32(a, b)
                };
                let (low, high) = (fours(&v[..4]), fours(&v[4..]));
                _mm256_add_epi32(
                    _mm256_permute2x128_si256::<0x20>(low, high),
                    _mm256_permute2x128_si256::<0x31>(low, high),
                )
            }
        }
    }

    impl<const VNNI: bool> Words for Avx512<VNNI> {
        type Int = __m512i;
        const WORD_TOKENS: usize = 6;

        #[inline(always)]
        unsafe fn load_ints(p: *const i32) -> __m512i {
            // SAFETY: above.
            unsafe { _mm512_loadu_si512(p.cast()) }
        }
        #[inline(always)]
        unsafe fn load_shared_ints(p: *const i32) -> __m512i {
            // SAFETY: above.
            unsafe { _mm512_broadcast_i64x4(_mm256_loadu_si256(p.cast())) }
        }
        #[inline(always)]
        unsafe fn load_u8_words(p: Rows<*const u8>) -> __m512i {
            // SAFETY: above.
            unsafe { _mm512_cvtepu8_epi16(sixteen_each(p)) }
        }
        #[inline(always)]
        unsafe fn load_i8_words(p: Rows<*const u8>) -> __m512i {
            // SAFETY: above.
            unsafe { _mm512_cvtepi8_epi16(sixteen_each(p)) }
        }
        #[inline(always)]
        unsafe fn fifth_word_bits(a: __m512i, v: Rows<u16>) -> __m512i {
            // SAFETY: above.
            unsafe {
                let set = u32::from(v[0]) | u32::from(v[1]) << 16;
                _mm512_or_si512(a, _mm512_maskz_set1_epi16(set, 16))
            }
        }
        #[inline(always)]
        unsafe fn sub_words(a: __m512i, b: __m512i) -> __m512i {
            // SAFETY: above.
            unsafe { _mm512_sub_epi16(a, b) }
        }
        #[inline(always)]
        unsafe fn shift_down(a: __m512i, n: u32) -> __m512i {
            // SAFETY: above.
            unsafe { _mm512_srl_epi32(a, _mm_cvtsi32_si128(n as i32)) }
        }
        #[inline(always)]
        unsafe fn add_products(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
            // SAFETY: above; VNNI is only said where it is.
            unsafe {
                if VNNI {
                    _mm512_dpwssd_epi32(sum, a, b)
                } else {
                    _mm512_add_epi32(sum, _mm512_madd_epi16(a, b))
                }
            }
        }
        #[inline(always)]
        unsafe fn sum_rows(v: [__m512i; 8]) -> __m512i {
            // SAFETY: above.
            unsafe {
                // Each 128-bit quarter holds four sums over it.
                let twos = |a, b| {
                    _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b))
                };
                let fours = |v: &[__m512i]| {
                    let (a, b) = (twos(v[0], v[1]), twos(v[2], v[3]));
                    _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b))
                };
                let (low, high) = (fours(&v[..4]), fours(&v[4..]));
                // [row 0's lower four, row 1's lower four, row 0's upper four, row 1's upper four]
                let sums = _mm512_add_epi32(
                    _mm512_shuffle_i32x4::<0b10_00_10_00>(low, high),
                    _mm512_shuffle_i32x4::<0b11_01_11_01>(low, high),
                );
                _mm512_shuffle_i32x4::<0b11_01_10_00>(sums, sums)
            }
        }
    }

    /// # Safety
    /// Needs AVX; each pointer holds sixteen bytes.
    #[inline(always)]
    unsafe fn sixteen_each(p: Rows<*const u8>) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_set_m128i(_mm_loadu_si128(p[1].cast()), _mm_loadu_si128(p[0].cast())) }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    #![allow(
        unused_unsafe,
        reason = "which intrinsics are unsafe differs between versions of the standard library"
    )]

    use std::arch::aarch64::*;

    use super::super::{Neon, Rows};
    use super::Words;

    // SAFETY of every block below: as in `neon.rs`.

    impl Words for Neon {
        type Int = [int32x4_t; 2];
        const WORD_TOKENS: usize = 6;

        #[inline(always)]
        unsafe fn load_ints(p: *const i32) -> Self::Int {
            // SAFETY: above.
            unsafe { [vld1q_s32(p), vld1q_s32(p.add(4))] }
        }
        #[inline(always)]
        unsafe fn load_shared_ints(p: *const i32) -> Self::Int {
            // SAFETY: above.
            unsafe { Self::load_ints(p) }
        }
        #[inline(always)]
        unsafe fn load_u8_words(p: Rows<*const u8>) -> Self::Int {
            // SAFETY: above.
            unsafe {
                let v = vld1q_u8(p[0]);
                [
                    vreinterpretq_s32_u16(vmovl_u8(vget_low_u8(v))),
                    vreinterpretq_s32_u16(vmovl_u8(vget_high_u8(v))),
                ]
            }
        }
        #[inline(always)]
        unsafe fn load_i8_words(p: Rows<*const u8>) -> Self::Int {
            // SAFETY: above.
            unsafe {
                let v = vld1q_s8(p[0].cast());
                [
                    vreinterpretq_s32_s16(vmovl_s8(vget_low_s8(v))),
                    vreinterpretq_s32_s16(vmovl_s8(vget_high_s8(v))),
                ]
            }
        }
        #[inline(always)]
        unsafe fn fifth_word_bits(a: Self::Int, v: Rows<u16>) -> Self::Int {
            const BITS: [u16; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
            // SAFETY: above; the table is eight words.
            unsafe {
                let (bits, one) = (vld1q_u16(BITS.as_ptr()), vdupq_n_u16(16));
                let of =
                    |v: u16| vreinterpretq_s32_u16(vandq_u16(vtstq_u16(vdupq_n_u16(v), bits), one));
                [
                    vorrq_s32(a[0], of(v[0] & 0xff)),
                    vorrq_s32(a[1], of(v[0] >> 8)),
                ]
            }
        }
        #[inline(always)]
        unsafe fn sub_words(a: Self::Int, b: Self::Int) -> Self::Int {
            // SAFETY: above.
            unsafe {
                let sub = |a, b| {
                    let (a, b) = (vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
                    vreinterpretq_s32_s16(vsubq_s16(a, b))
                };
                [sub(a[0], b[0]), sub(a[1], b[1])]
            }
        }
        #[inline(always)]
        unsafe fn shift_down(a: Self::Int, n: u32) -> Self::Int {
            // SAFETY: above. To the left by less than nothing is to the right.
            unsafe {
                let n = vdupq_n_s32(-(n as i32));
                let shift = |a| vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), n));
                [shift(a[0]), shift(a[1])]
            }
        }
        #[inline(always)]
        unsafe fn add_products(sum: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int {
            // SAFETY: above.
            unsafe {
                let of = |sum, a, b| {
                    let (a, b) = (vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
                    let low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
                    let high = vmull_s16(vget_high_s16(a), vget_high_s16(b));
                    vaddq_s32(sum, vpaddq_s32(low, high))
                };
                [of(sum[0], a[0], b[0]), of(sum[1], a[1], b[1])]
            }
        }
        #[inline(always)]
        unsafe fn sum_rows(v: [Self::Int; 8]) -> Self::Int {
            // SAFETY: above.
            unsafe {
                let fours = |v: &[Self::Int]| {
                    let add = |i: usize| vaddq_s32(v[i][0], v[i][1]);
                    vpaddq_s32(vpaddq_s32(add(0), add(1)), vpaddq_s32(add(2), add(3)))
                };
                [fours(&v[..4]), fours(&v[4..])]
            }
        }
    }
}
