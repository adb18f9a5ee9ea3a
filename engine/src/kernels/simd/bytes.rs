//! Products of bytes: four in each lane of 32 bits. All of it is exact, so nothing here has an order.

use super::{Portable, Words};

/// Bytes in a vector of integers, a lane's lowest first.
///
/// # Safety
/// Every function needs the instruction set of its type; pointers are valid for what is written, at any alignment.
pub(in crate::kernels) trait Bytes: Words {
    /// Whether [`Bytes::add_byte_products`] adds in words, two in a lane, that the caller must keep within 16 bits and join
    /// by [`Words::add_products`] with ones; otherwise it adds in lanes.
    const SHORT_SUMS: bool;

    /// The words of two vectors, none above 255, as the bytes of one: for each row those of `low`, then those of `high`.
    unsafe fn pack_bytes(low: Self::Int, high: Self::Int) -> Self::Int;
    /// `sum` and the products of a, bytes from 0 to 127, with b, signed bytes.
    unsafe fn add_byte_products(sum: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int;
    /// Every lane as a signed byte; they are of eight bits.
    unsafe fn store_bytes(a: Self::Int, p: *mut i8);
}

impl Bytes for Portable {
    const SHORT_SUMS: bool = false;

    #[inline(always)]
    unsafe fn pack_bytes(low: [i32; 8], high: [i32; 8]) -> [i32; 8] {
        let bytes =
            |a: i32, b: i32| a & 0xff | a >> 8 & 0xff00 | (b & 0xff | b >> 8 & 0xff00) << 16;
        std::array::from_fn(|j| {
            let from = if j < 4 { &low } else { &high };
            bytes(from[j % 4 * 2], from[j % 4 * 2 + 1])
        })
    }
    #[inline(always)]
    unsafe fn add_byte_products(sum: [i32; 8], a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|j| {
            let (a, b) = (a[j].to_le_bytes(), b[j].to_le_bytes());
            let products = a.into_iter().zip(b);
            sum[j]
                + products
                    .map(|(a, b)| i32::from(a) * i32::from(b.cast_signed()))
                    .sum::<i32>()
        })
    }
    #[inline(always)]
    unsafe fn store_bytes(a: [i32; 8], p: *mut i8) {
        // SAFETY: the caller's pointer has room for eight bytes.
        unsafe { p.cast::<[i8; 8]>().write(a.map(|a| a as i8)) }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::{Avx2, Avx512};
    use super::Bytes;

    // SAFETY of every block below: the trait asks its callers for the instruction set and for pointers that are valid
    // for what is written; all accesses are unaligned ones.

    impl Bytes for Avx2 {
        const SHORT_SUMS: bool = true;

        #[inline(always)]
        unsafe fn pack_bytes(low: __m256i, high: __m256i) -> __m256i {
            // SAFETY: above.
            unsafe { _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(low, high)) }
        }
        #[inline(always)]
        unsafe fn add_byte_products(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
            // SAFETY: above.
            unsafe { _mm256_add_epi16(sum, _mm256_maddubs_epi16(a, b)) }
        }
        #[inline(always)]
        unsafe fn store_bytes(a: __m256i, p: *mut i8) {
            // SAFETY: above.
            unsafe {
                let high = _mm256_extracti128_si256::<1>(a);
                let words = _mm_packs_epi32(_mm256_castsi256_si128(a), high);
                _mm_storel_epi64(p.cast(), _mm_packs_epi16(words, words));
            }
        }
    }

    impl<const VNNI: bool> Bytes for Avx512<VNNI> {
        const SHORT_SUMS: bool = !VNNI;

        #[inline(always)]
        unsafe fn pack_bytes(low: __m512i, high: __m512i) -> __m512i {
            // SAFETY: above.
            unsafe { _mm512_permutex_epi64::<0b11_01_10_00>(_mm512_packus_epi16(low, high)) }
        }
        #[inline(always)]
        unsafe fn add_byte_products(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
            // SAFETY: above; VNNI is only said where it is.
            unsafe {
                if VNNI {
                    _mm512_dpbusd_epi32(sum, a, b)
                } else {
                    _mm512_add_epi16(sum, _mm512_maddubs_epi16(a, b))
                }
            }
        }
        #[inline(always)]
        unsafe fn store_bytes(a: __m512i, p: *mut i8) {
            // SAFETY: above.
            unsafe { _mm_storeu_si128(p.cast(), _mm512_cvtepi32_epi8(a)) }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    #![allow(
        unused_unsafe,
        reason = "which intrinsics are unsafe differs between versions of the standard library"
    )]

    use std::arch::aarch64::*;

    use super::super::Neon;
    use super::Bytes;

    // SAFETY of every block below: as in `neon.rs`.

    impl Bytes for Neon {
        const SHORT_SUMS: bool = false;

        #[inline(always)]
        unsafe fn pack_bytes(low: Self::Int, high: Self::Int) -> Self::Int {
            // SAFETY: above.
            unsafe {
                let narrow = |v: int32x4_t| vmovn_u16(vreinterpretq_u16_s32(v));
                let pack =
                    |v: Self::Int| vreinterpretq_s32_u8(vcombine_u8(narrow(v[0]), narrow(v[1])));
                [pack(low), pack(high)]
            }
        }
        #[inline(always)]
        unsafe fn add_byte_products(sum: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int {
            // SAFETY: above.
            unsafe {
                let of = |sum, a, b| {
                    let (a, b) = (vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
                    let low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
                    let high = vpaddlq_s16(vmull_s8(vget_high_s8(a), vget_high_s8(b)));
                    vaddq_s32(sum, vpaddq_s32(low, high))
                };
                [of(sum[0], a[0], b[0]), of(sum[1], a[1], b[1])]
            }
        }
        #[inline(always)]
        unsafe fn store_bytes(a: Self::Int, p: *mut i8) {
            // SAFETY: above.
            unsafe {
                let words = vcombine_s16(vmovn_s32(a[0]), vmovn_s32(a[1]));
                vst1_s8(p, vmovn_s16(words));
            }
        }
    }
}
