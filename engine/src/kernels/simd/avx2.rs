//! AVX2 with FMA and F16C: one row of eight lanes.

use std::arch::x86_64::*;

use super::{GROUP, Kernel, Real, Rows, Simd};

/// Eight lanes.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Avx2(pub(super) __m256);

// SAFETY of every block below: the traits ask their callers for AVX2, FMA and F16C, and for pointers that are valid
// for the eight (`store_sums`: four) elements accessed; all accesses are unaligned ones.

impl Real for Avx2 {
    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm256_set1_ps(v) })
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm256_add_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm256_sub_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm256_mul_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm256_div_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm256_fmadd_ps(self.0, b.0, c.0) })
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm256_max_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm256_min_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn if_less(a: Self, b: Self, yes: Self, no: Self) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm256_blendv_ps(no.0, yes.0, _mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0)) })
    }
    #[inline(always)]
    unsafe fn copysign(self, sign: Self) -> Self {
        // SAFETY: above.
        unsafe {
            let mask = _mm256_set1_ps(-0.0);
            Self(_mm256_or_ps(
                _mm256_andnot_ps(mask, self.0),
                _mm256_and_ps(mask, sign.0),
            ))
        }
    }
    #[inline(always)]
    unsafe fn scale(self, n: Self) -> Self {
        // SAFETY: above.
        unsafe {
            // In two factors: one f32 does not hold 2^-152 or 2^128. The first product is exact.
            let n = _mm256_cvtps_epi32(n.0);
            let half = _mm256_srai_epi32::<1>(n);
            let bias = _mm256_set1_epi32(127);
            let first = _mm256_slli_epi32::<23>(_mm256_add_epi32(half, bias));
            let rest = _mm256_add_epi32(_mm256_sub_epi32(n, half), bias);
            let second = _mm256_slli_epi32::<23>(rest);
            let product = _mm256_mul_ps(self.0, _mm256_castsi256_ps(first));
            Self(_mm256_mul_ps(product, _mm256_castsi256_ps(second)))
        }
    }
}

impl Simd for Avx2 {
    const ROWS: usize = 1;
    const TOKENS: usize = 3;

    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: above.
        unsafe { kernel.run::<Self>() }
    }

    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        // SAFETY: above.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm256_loadu_ps(p) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: above.
        unsafe { _mm256_storeu_ps(p, self.0) }
    }
    #[inline(always)]
    unsafe fn load_shared(p: *const f32) -> Self {
        // SAFETY: above.
        unsafe { Self::load(p) }
    }
    #[inline(always)]
    unsafe fn load_rows(p: Rows<*const f32>) -> Self {
        // SAFETY: above.
        unsafe { Self::load(p[0]) }
    }
    #[inline(always)]
    unsafe fn store_rows(self, p: Rows<*mut f32>) {
        // SAFETY: above.
        unsafe { self.store(p[0]) }
    }
    #[inline(always)]
    unsafe fn splat_half(bits: Rows<u16>) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm256_cvtph_ps(_mm_set1_epi16(bits[0] as i16)) })
    }
    #[inline(always)]
    unsafe fn load_half(p: Rows<*const u8>) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p[0].cast())) })
    }
    #[inline(always)]
    unsafe fn lane(self, i: usize) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm256_permutevar8x32_ps(self.0, _mm256_set1_epi32(i as i32)) })
    }
    #[inline(always)]
    unsafe fn transpose(v: [Self; 8]) -> [Self; 8] {
        // SAFETY: above.
        unsafe {
            // Pairs of rows, then fours, then halves.
            let a0 = _mm256_unpacklo_ps(v[0].0, v[1].0);
            let a1 = _mm256_unpackhi_ps(v[0].0, v[1].0);
            let a2 = _mm256_unpacklo_ps(v[2].0, v[3].0);
            let a3 = _mm256_unpackhi_ps(v[2].0, v[3].0);
            let a4 = _mm256_unpacklo_ps(v[4].0, v[5].0);
            let a5 = _mm256_unpackhi_ps(v[4].0, v[5].0);
            let a6 = _mm256_unpacklo_ps(v[6].0, v[7].0);
            let a7 = _mm256_unpackhi_ps(v[6].0, v[7].0);
            let b0 = _mm256_shuffle_ps::<0x44>(a0, a2);
            let b1 = _mm256_shuffle_ps::<0xee>(a0, a2);
            let b2 = _mm256_shuffle_ps::<0x44>(a1, a3);
            let b3 = _mm256_shuffle_ps::<0xee>(a1, a3);
            let b4 = _mm256_shuffle_ps::<0x44>(a4, a6);
            let b5 = _mm256_shuffle_ps::<0xee>(a4, a6);
            let b6 = _mm256_shuffle_ps::<0x44>(a5, a7);
            let b7 = _mm256_shuffle_ps::<0xee>(a5, a7);
            [
                Self(_mm256_permute2f128_ps::<0x20>(b0, b4)),
                Self(_mm256_permute2f128_ps::<0x20>(b1, b5)),
                Self(_mm256_permute2f128_ps::<0x20>(b2, b6)),
                Self(_mm256_permute2f128_ps::<0x20>(b3, b7)),
                Self(_mm256_permute2f128_ps::<0x31>(b0, b4)),
                Self(_mm256_permute2f128_ps::<0x31>(b1, b5)),
                Self(_mm256_permute2f128_ps::<0x31>(b2, b6)),
                Self(_mm256_permute2f128_ps::<0x31>(b3, b7)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load_u8(p: Rows<*const u8>) -> Self::Int {
        // SAFETY: above.
        unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(p[0].cast())) }
    }
    #[inline(always)]
    unsafe fn load_i8(p: Rows<*const u8>) -> Self::Int {
        // SAFETY: above.
        unsafe { _mm256_cvtepi8_epi32(_mm_loadl_epi64(p[0].cast())) }
    }
    #[inline(always)]
    unsafe fn load_u16(p: Rows<*const u8>) -> Self::Int {
        // SAFETY: above.
        unsafe { _mm256_cvtepu16_epi32(_mm_loadu_si128(p[0].cast())) }
    }
    #[inline(always)]
    unsafe fn int(v: i32) -> Self::Int {
        // SAFETY: above.
        unsafe { _mm256_set1_epi32(v) }
    }
    #[inline(always)]
    unsafe fn and(a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: above.
        unsafe { _mm256_and_si256(a, b) }
    }
    #[inline(always)]
    unsafe fn or(a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: above.
        unsafe { _mm256_or_si256(a, b) }
    }
    #[inline(always)]
    unsafe fn shl<const N: u32>(a: Self::Int) -> Self::Int {
        // SAFETY: above.
        unsafe { _mm256_sll_epi32(a, _mm_cvtsi32_si128(N as i32)) }
    }
    #[inline(always)]
    unsafe fn shr<const N: u32>(a: Self::Int) -> Self::Int {
        // SAFETY: above.
        unsafe { _mm256_srl_epi32(a, _mm_cvtsi32_si128(N as i32)) }
    }
    #[inline(always)]
    unsafe fn to_real(a: Self::Int) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm256_cvtepi32_ps(a) })
    }
    #[inline(always)]
    unsafe fn from_bits(a: Self::Int) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm256_castsi256_ps(a) })
    }

    #[inline(always)]
    unsafe fn store_sums(v: [Self; GROUP], p: *mut f32) {
        // SAFETY: above.
        unsafe {
            let [a, b, c, d] = v;
            // l[j] + l[j + 4], two vectors in one.
            let ab = _mm256_add_ps(
                _mm256_permute2f128_ps::<0x20>(a.0, b.0),
                _mm256_permute2f128_ps::<0x31>(a.0, b.0),
            );
            let cd = _mm256_add_ps(
                _mm256_permute2f128_ps::<0x20>(c.0, d.0),
                _mm256_permute2f128_ps::<0x31>(c.0, d.0),
            );
            // Then j and j + 2: [a a c c | b b d d], then the neighbours.
            let acbd = _mm256_add_ps(
                _mm256_shuffle_ps::<0x44>(ab, cd),
                _mm256_shuffle_ps::<0xee>(ab, cd),
            );
            let sums = _mm256_add_ps(acbd, _mm256_permute_ps::<0b10_11_00_01>(acbd));
            let (ac, bd) = (
                _mm256_castps256_ps128(sums),
                _mm256_extractf128_ps::<1>(sums),
            );
            let abcd = _mm_unpacklo_ps(ac, bd);
            let rest = _mm_unpackhi_ps(ac, bd);
            _mm_storeu_ps(p, _mm_movelh_ps(abcd, rest));
        }
    }
    #[inline(always)]
    unsafe fn sum16(v: [Self; 2]) -> f32 {
        // SAFETY: above.
        unsafe { tree(_mm256_add_ps(v[0].0, v[1].0)) }
    }
    #[inline(always)]
    unsafe fn max_lane(self) -> f32 {
        // SAFETY: above.
        unsafe { max_lane(self.0) }
    }
}

/// The fixed tree over eight lanes.
///
/// # Safety
/// Needs AVX.
#[inline(always)]
pub(super) unsafe fn tree(v: __m256) -> f32 {
    // SAFETY: the caller has AVX.
    unsafe {
        let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
}

/// The greatest of eight lanes.
///
/// # Safety
/// Needs AVX.
#[inline(always)]
pub(super) unsafe fn max_lane(v: __m256) -> f32 {
    // SAFETY: the caller has AVX.
    unsafe {
        let four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
    }
}
