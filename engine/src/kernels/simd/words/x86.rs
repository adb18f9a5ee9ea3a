//! On AVX2 and AVX-512.

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
    unsafe fn load_lanes(p: [Rows<*const u8>; 8]) -> __m256i {
        // SAFETY: above.
        unsafe { eight_lanes(p, 0) }
    }
    #[inline(always)]
    unsafe fn load_fours(p: [Rows<*const u8>; 8]) -> [__m256i; 4] {
        // SAFETY: above.
        unsafe {
            let mut v = [_mm256_setzero_si256(); 4];
            for j in 0..4 {
                v[j] = both(p[j][0], p[j + 4][0]);
            }
            let (a, b) = (
                _mm256_unpacklo_epi32(v[0], v[1]),
                _mm256_unpacklo_epi32(v[2], v[3]),
            );
            let (c, d) = (
                _mm256_unpackhi_epi32(v[0], v[1]),
                _mm256_unpackhi_epi32(v[2], v[3]),
            );
            [
                _mm256_unpacklo_epi64(a, b),
                _mm256_unpackhi_epi64(a, b),
                _mm256_unpacklo_epi64(c, d),
                _mm256_unpackhi_epi64(c, d),
            ]
        }
    }
    #[inline(always)]
    unsafe fn halves(a: __m256i) -> Self {
        // SAFETY: above.
        unsafe {
            let a = _mm256_and_si256(a, _mm256_set1_epi32(0xffff));
            let high = _mm256_extracti128_si256::<1>(a);
            let words = _mm_packus_epi32(_mm256_castsi256_si128(a), high);
            Self(_mm256_cvtph_ps(words))
        }
    }
    #[inline(always)]
    unsafe fn shift_down(a: __m256i, n: u32) -> __m256i {
        // SAFETY: above.
        unsafe { _mm256_srl_epi32(a, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    unsafe fn add_ints(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: above.
        unsafe { _mm256_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn add_products(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: above.
        unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)) }
    }
    #[inline(always)]
    unsafe fn sum_halves(v: [__m256i; 8]) -> [__m256i; 2] {
        // SAFETY: above.
        unsafe {
            // Each 128-bit half holds four sums over it.
            let low =
                _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
            let high =
                _mm256_hadd_epi32(_mm256_hadd_epi32(v[4], v[5]), _mm256_hadd_epi32(v[6], v[7]));
            [
                _mm256_permute2x128_si256::<0x20>(low, high),
                _mm256_permute2x128_si256::<0x31>(low, high),
            ]
        }
    }
    #[inline(always)]
    unsafe fn nearest(self) -> __m256i {
        // SAFETY: above. Rust leaves the mode of rounding as it is: to nearest, ties to even.
        unsafe { _mm256_cvtps_epi32(self.0) }
    }
    #[inline(always)]
    unsafe fn store_words(a: __m256i, p: *mut i16) {
        // SAFETY: above.
        unsafe {
            let high = _mm256_extracti128_si256::<1>(a);
            let words = _mm_packs_epi32(_mm256_castsi256_si128(a), high);
            _mm_storeu_si128(p.cast(), words);
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
    unsafe fn load_lanes(p: [Rows<*const u8>; 8]) -> __m512i {
        // SAFETY: above.
        unsafe {
            let low = _mm512_castsi256_si512(eight_lanes(p, 0));
            _mm512_inserti64x4::<1>(low, eight_lanes(p, 1))
        }
    }
    #[inline(always)]
    unsafe fn load_fours(p: [Rows<*const u8>; 8]) -> [__m512i; 4] {
        // SAFETY: above.
        unsafe {
            let mut v = [_mm512_setzero_si512(); 4];
            for j in 0..4 {
                let low = _mm512_castsi256_si512(both(p[j][0], p[j + 4][0]));
                v[j] = _mm512_inserti64x4::<1>(low, both(p[j][1], p[j + 4][1]));
            }
            let (a, b) = (
                _mm512_unpacklo_epi32(v[0], v[1]),
                _mm512_unpacklo_epi32(v[2], v[3]),
            );
            let (c, d) = (
                _mm512_unpackhi_epi32(v[0], v[1]),
                _mm512_unpackhi_epi32(v[2], v[3]),
            );
            [
                _mm512_unpacklo_epi64(a, b),
                _mm512_unpackhi_epi64(a, b),
                _mm512_unpacklo_epi64(c, d),
                _mm512_unpackhi_epi64(c, d),
            ]
        }
    }
    #[inline(always)]
    unsafe fn halves(a: __m512i) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)) })
    }
    #[inline(always)]
    unsafe fn shift_down(a: __m512i, n: u32) -> __m512i {
        // SAFETY: above.
        unsafe { _mm512_srl_epi32(a, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    unsafe fn add_ints(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: above.
        unsafe { _mm512_add_epi32(a, b) }
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
    unsafe fn sum_halves(v: [__m512i; 8]) -> [__m512i; 2] {
        // SAFETY: above.
        unsafe {
            // Each 128-bit quarter holds four sums over it: a row's first half, its second one, and those of the other row.
            let [low, high] = [
                sum_quarters(v[0], v[1], v[2], v[3]),
                sum_quarters(v[4], v[5], v[6], v[7]),
            ];
            let first = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
            let second = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
            [
                _mm512_permutex2var_epi64(low, first, high),
                _mm512_permutex2var_epi64(low, second, high),
            ]
        }
    }
    #[inline(always)]
    unsafe fn nearest(self) -> __m512i {
        // SAFETY: above. Rust leaves the mode of rounding as it is: to nearest, ties to even.
        unsafe { _mm512_cvtps_epi32(self.0) }
    }
    #[inline(always)]
    unsafe fn store_words(a: __m512i, p: *mut i16) {
        // SAFETY: above.
        unsafe { _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(a)) }
    }
}

/// Four bytes of each place in row `i`. In registers all the way: what was just written in parts cannot be read as a whole
/// at once.
///
/// # Safety
/// Needs AVX2; each pointer holds four bytes.
#[inline(always)]
unsafe fn eight_lanes(p: [Rows<*const u8>; 8], i: usize) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        let [a, b, c, d, e, f, g, h] = p.map(|p| p[i].cast::<i32>().read_unaligned());
        _mm256_setr_epi32(a, b, c, d, e, f, g, h)
    }
}

/// Sixteen bytes of one place beside those of another.
///
/// # Safety
/// Needs AVX2, and the bytes.
#[inline(always)]
unsafe fn both(low: *const u8, high: *const u8) -> __m256i {
    // SAFETY: the caller's.
    unsafe { _mm256_loadu2_m128i(high.cast(), low.cast()) }
}

/// In each 128-bit quarter: lane j is the sum of the quarter of the j-th vector.
///
/// # Safety
/// Needs AVX-512 F.
#[inline(always)]
unsafe fn sum_quarters(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> __m512i {
    // SAFETY: the caller's.
    unsafe {
        let a = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let c = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        _mm512_add_epi32(_mm512_unpacklo_epi64(a, c), _mm512_unpackhi_epi64(a, c))
    }
}
