//! Products of bytes: four in each lane of 32 bits. All of it is exact, so nothing here has an order.

use super::words::lane;
use super::{Portable, Rows, Words};

/// Bytes in a vector of integers, a lane's lowest first.
///
/// # Safety
/// Every function needs the instruction set of its type; pointers are valid for what is read or written, at any
/// alignment.
pub(in crate::kernels) trait Bytes: Words {
    /// Whether [`Bytes::add_byte_products`] adds in words, two in a lane, that the caller must keep within 16 bits and join
    /// by [`Words::add_products`] with ones; otherwise it adds in lanes.
    const SHORT_SUMS: bool;

    /// 32 bytes of each row.
    unsafe fn load_bytes(p: Rows<*const u8>) -> Self::Int;
    /// The low nibbles of sixteen bytes of each row, then the high ones.
    unsafe fn load_nibbles(p: Rows<*const u8>) -> Self::Int;
    /// Adds 16 to byte j of a row where bit j of `v` is set; no byte of `a` has a bit above the fourth.
    unsafe fn fifth_byte_bits(a: Self::Int, v: Rows<u32>) -> Self::Int;
    /// The bytes as words: the first sixteen of each row, then the others.
    unsafe fn widen(a: Self::Int, signed: bool) -> [Self::Int; 2];
    /// The bytes, none negative, as integers: eight of each row, then the next eight.
    unsafe fn spread(a: Self::Int) -> [Self::Int; 4];
    /// `sum` and the products of a, bytes from 0 to 127, with b, signed bytes.
    unsafe fn add_byte_products(sum: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int;
    /// Every lane as a signed byte; they are of eight bits.
    unsafe fn store_bytes(a: Self::Int, p: *mut i8);
}

impl Bytes for Portable {
    const SHORT_SUMS: bool = false;

    #[inline(always)]
    unsafe fn load_bytes(p: Rows<*const u8>) -> [i32; 8] {
        // SAFETY: the caller's pointer holds 32 bytes.
        lanes(unsafe { p[0].cast::<[u8; 32]>().read() })
    }
    #[inline(always)]
    unsafe fn load_nibbles(p: Rows<*const u8>) -> [i32; 8] {
        // SAFETY: the caller's pointer holds sixteen bytes.
        let bytes = unsafe { p[0].cast::<[u8; 16]>().read() };
        lanes(std::array::from_fn(|j| bytes[j % 16] >> (j / 16 * 4) & 15))
    }
    #[inline(always)]
    unsafe fn fifth_byte_bits(a: [i32; 8], v: Rows<u32>) -> [i32; 8] {
        let fifth = |j: usize| ((v[0] >> j & 1) as u8) << 4;
        let fifth = lanes(std::array::from_fn(fifth));
        std::array::from_fn(|j| a[j] | fifth[j])
    }
    #[inline(always)]
    unsafe fn widen(a: [i32; 8], signed: bool) -> [[i32; 8]; 2] {
        let word = |i: usize| {
            let byte = (a[i / 4] >> (i % 4 * 8)) as u8;
            match signed {
                true => i16::from(byte.cast_signed()),
                false => i16::from(byte),
            }
        };
        let of = |first: usize| {
            std::array::from_fn(|j| lane(word(first + 2 * j), word(first + 2 * j + 1)))
        };
        [of(0), of(16)]
    }
    #[inline(always)]
    unsafe fn spread(a: [i32; 8]) -> [[i32; 8]; 4] {
        let byte = |i: usize| a[i / 4] >> (i % 4 * 8) & 0xff;
        std::array::from_fn(|i| std::array::from_fn(|j| byte(8 * i + j)))
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

/// Bytes, four a lane, the lowest first.
fn lanes(bytes: [u8; 32]) -> [i32; 8] {
    std::array::from_fn(|j| i32::from_le_bytes(std::array::from_fn(|i| bytes[4 * j + i])))
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::{Avx2, Avx512, Rows};
    use super::Bytes;

    // SAFETY of every block below: the trait asks its callers for the instruction set and for pointers that are valid
    // for what is read or written; all accesses are unaligned ones.

    /// What [`Bytes::load_nibbles`] shifts its two copies of a row by.
    ///
    /// # Safety
    /// Needs AVX2.
    #[inline(always)]
    unsafe fn none_and_four() -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_set_epi64x(4, 4, 0, 0) }
    }

    impl Bytes for Avx2 {
        const SHORT_SUMS: bool = true;

        #[inline(always)]
        unsafe fn load_bytes(p: Rows<*const u8>) -> __m256i {
            // SAFETY: above.
            unsafe { _mm256_loadu_si256(p[0].cast()) }
        }
        #[inline(always)]
        unsafe fn load_nibbles(p: Rows<*const u8>) -> __m256i {
            // SAFETY: above.
            unsafe {
                let twice = _mm256_broadcastsi128_si256(_mm_loadu_si128(p[0].cast()));
                let nibbles = _mm256_srlv_epi64(twice, none_and_four());
                _mm256_and_si256(nibbles, _mm256_set1_epi8(15))
            }
        }
        #[inline(always)]
        unsafe fn fifth_byte_bits(a: __m256i, v: Rows<u32>) -> __m256i {
            // SAFETY: above.
            unsafe {
                // The byte that has each one's bit, and that bit.
                let of = |i: i64| 0x0101_0101_0101_0101 * i;
                let from = _mm256_set_epi64x(of(3), of(2), of(1), 0);
                let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
                let all = _mm256_shuffle_epi8(_mm256_set1_epi32(v[0].cast_signed()), from);
                let set = _mm256_cmpeq_epi8(_mm256_and_si256(all, bit), bit);
                _mm256_or_si256(a, _mm256_and_si256(set, _mm256_set1_epi8(16)))
            }
        }
        #[inline(always)]
        unsafe fn widen(a: __m256i, signed: bool) -> [__m256i; 2] {
            // SAFETY: above.
            unsafe {
                let (low, high) = (_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
                match signed {
                    true => [_mm256_cvtepi8_epi16(low), _mm256_cvtepi8_epi16(high)],
                    false => [_mm256_cvtepu8_epi16(low), _mm256_cvtepu8_epi16(high)],
                }
            }
        }
        #[inline(always)]
        unsafe fn spread(a: __m256i) -> [__m256i; 4] {
            // SAFETY: above.
            unsafe {
                let (low, high) = (_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
                [
                    _mm256_cvtepu8_epi32(low),
                    _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(low)),
                    _mm256_cvtepu8_epi32(high),
                    _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(high)),
                ]
            }
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
        unsafe fn load_bytes(p: Rows<*const u8>) -> __m512i {
            // SAFETY: above.
            unsafe {
                let low = _mm512_castsi256_si512(_mm256_loadu_si256(p[0].cast()));
                _mm512_inserti64x4::<1>(low, _mm256_loadu_si256(p[1].cast()))
            }
        }
        #[inline(always)]
        unsafe fn load_nibbles(p: Rows<*const u8>) -> __m512i {
            // SAFETY: above.
            unsafe {
                let low = _mm256_broadcastsi128_si256(_mm_loadu_si128(p[0].cast()));
                let high = _mm256_broadcastsi128_si256(_mm_loadu_si128(p[1].cast()));
                let twice = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
                let by = _mm512_broadcast_i64x4(none_and_four());
                _mm512_and_si512(_mm512_srlv_epi64(twice, by), _mm512_set1_epi8(15))
            }
        }
        #[inline(always)]
        unsafe fn fifth_byte_bits(a: __m512i, v: Rows<u32>) -> __m512i {
            // SAFETY: above.
            unsafe {
                let set = u64::from(v[0]) | u64::from(v[1]) << 32;
                _mm512_or_si512(a, _mm512_maskz_set1_epi8(set, 16))
            }
        }
        #[inline(always)]
        unsafe fn widen(a: __m512i, signed: bool) -> [__m512i; 2] {
            // SAFETY: above.
            unsafe {
                // The first sixteen of both rows, then the others.
                let a = _mm512_shuffle_i64x2::<0b11_01_10_00>(a, a);
                let (low, high) = (_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64::<1>(a));
                match signed {
                    true => [_mm512_cvtepi8_epi16(low), _mm512_cvtepi8_epi16(high)],
                    false => [_mm512_cvtepu8_epi16(low), _mm512_cvtepu8_epi16(high)],
                }
            }
        }
        #[inline(always)]
        unsafe fn spread(a: __m512i) -> [__m512i; 4] {
            // SAFETY: above.
            unsafe {
                // Eight bytes of one row beside those of the other.
                let pairs = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
                let a = _mm512_permutexvar_epi64(pairs, a);
                [
                    _mm512_cvtepu8_epi32(_mm512_castsi512_si128(a)),
                    _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32::<1>(a)),
                    _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32::<2>(a)),
                    _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32::<3>(a)),
                ]
            }
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

    use super::super::{Neon, Rows};
    use super::Bytes;

    // SAFETY of every block below: as in `neon.rs`.

    impl Bytes for Neon {
        const SHORT_SUMS: bool = false;

        #[inline(always)]
        unsafe fn load_bytes(p: Rows<*const u8>) -> Self::Int {
            // SAFETY: above.
            unsafe {
                let of = |p| vreinterpretq_s32_u8(vld1q_u8(p));
                [of(p[0]), of(p[0].add(16))]
            }
        }
        #[inline(always)]
        unsafe fn load_nibbles(p: Rows<*const u8>) -> Self::Int {
            // SAFETY: above.
            unsafe {
                let bytes = vld1q_u8(p[0]);
                let low = vandq_u8(bytes, vdupq_n_u8(15));
                [
                    vreinterpretq_s32_u8(low),
                    vreinterpretq_s32_u8(vshrq_n_u8::<4>(bytes)),
                ]
            }
        }
        #[inline(always)]
        unsafe fn fifth_byte_bits(a: Self::Int, v: Rows<u32>) -> Self::Int {
            const BITS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
            // SAFETY: above; the table is sixteen bytes.
            unsafe {
                let (bits, one) = (vld1q_u8(BITS.as_ptr()), vdupq_n_u8(16));
                let [v0, v1, v2, v3] = v[0].to_le_bytes();
                let of = |a, low, high| {
                    let all = vcombine_u8(vdup_n_u8(low), vdup_n_u8(high));
                    let fifth = vandq_u8(vtstq_u8(all, bits), one);
                    vorrq_s32(a, vreinterpretq_s32_u8(fifth))
                };
                [of(a[0], v0, v1), of(a[1], v2, v3)]
            }
        }
        #[inline(always)]
        unsafe fn widen(a: Self::Int, signed: bool) -> [Self::Int; 2] {
            // SAFETY: above.
            unsafe {
                let of = |a: int32x4_t| match signed {
                    true => {
                        let a = vreinterpretq_s8_s32(a);
                        [
                            vreinterpretq_s32_s16(vmovl_s8(vget_low_s8(a))),
                            vreinterpretq_s32_s16(vmovl_s8(vget_high_s8(a))),
                        ]
                    }
                    false => {
                        let a = vreinterpretq_u8_s32(a);
                        [
                            vreinterpretq_s32_u16(vmovl_u8(vget_low_u8(a))),
                            vreinterpretq_s32_u16(vmovl_u8(vget_high_u8(a))),
                        ]
                    }
                };
                [of(a[0]), of(a[1])]
            }
        }
        #[inline(always)]
        unsafe fn spread(a: Self::Int) -> [Self::Int; 4] {
            // SAFETY: above.
            unsafe {
                let of = |words: uint16x8_t| {
                    [
                        vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(words))),
                        vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(words))),
                    ]
                };
                let [low, high] = a.map(|a| vreinterpretq_u8_s32(a));
                [
                    of(vmovl_u8(vget_low_u8(low))),
                    of(vmovl_u8(vget_high_u8(low))),
                    of(vmovl_u8(vget_low_u8(high))),
                    of(vmovl_u8(vget_high_u8(high))),
                ]
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
