//! AVX-512 (F, BW, DQ, VL, and VNNI where there is): two rows of eight lanes.

use std::arch::x86_64::*;

use super::avx2::{max_lane, tree};
use super::{Code, GROUP, Kernel, Real, Rows, Simd};

/// Sixteen lanes: eight of one row, eight of the next.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Avx512<const VNNI: bool>(pub(super) __m512);

// SAFETY of every block below: the traits ask their callers for AVX-512 F, BW, DQ and VL besides what AVX2 code
// needs, and for pointers that are valid for the sixteen elements (eight a row; `store_sums`: eight) accessed; all
// accesses are unaligned ones.

impl<const VNNI: bool> Real for Avx512<VNNI> {
    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm512_set1_ps(v) })
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm512_add_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm512_sub_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm512_mul_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm512_div_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm512_max_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm512_min_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn if_less(a: Self, b: Self, yes: Self, no: Self) -> Self {
        // SAFETY: above.
        Self(unsafe {
            _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a.0, b.0), no.0, yes.0)
        })
    }
    #[inline(always)]
    unsafe fn copysign(self, sign: Self) -> Self {
        // SAFETY: above.
        unsafe {
            let mask = _mm512_set1_ps(-0.0);
            Self(_mm512_or_ps(
                _mm512_andnot_ps(mask, self.0),
                _mm512_and_ps(mask, sign.0),
            ))
        }
    }
    #[inline(always)]
    unsafe fn scale(self, n: Self) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm512_scalef_ps(self.0, n.0) })
    }
}

impl<const VNNI: bool> Simd for Avx512<VNNI> {
    const ROWS: usize = 2;
    const TOKENS: usize = 6;

    #[inline(always)]
    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: above.
        unsafe {
            if VNNI {
                enter_vnni(kernel)
            } else {
                enter_plain(kernel)
            }
        }
    }

    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        // SAFETY: above.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm512_loadu_ps(p) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: above.
        unsafe { _mm512_storeu_ps(p, self.0) }
    }
    #[inline(always)]
    unsafe fn load_shared(p: *const f32) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm512_broadcast_f32x8(_mm256_loadu_ps(p)) })
    }
    #[inline(always)]
    unsafe fn load_rows(p: Rows<*const f32>) -> Self {
        // SAFETY: above.
        Self(unsafe { join(_mm256_loadu_ps(p[0]), _mm256_loadu_ps(p[1])) })
    }
    #[inline(always)]
    unsafe fn store_rows(self, p: Rows<*mut f32>) {
        // SAFETY: above.
        unsafe {
            _mm256_storeu_ps(p[0], _mm512_castps512_ps256(self.0));
            _mm256_storeu_ps(p[1], _mm512_extractf32x8_ps::<1>(self.0));
        }
    }
    #[inline(always)]
    unsafe fn splat_half(bits: Rows<u16>) -> Self {
        // SAFETY: above.
        unsafe { pick::<1, VNNI>(u64::from(bits[0]) | u64::from(bits[1]) << 16)[0] }
    }
    #[inline(always)]
    unsafe fn splat_halves(bits: Rows<u32>) -> [Self; 2] {
        // SAFETY: above.
        unsafe { pick::<2, VNNI>(u64::from(bits[0]) | u64::from(bits[1]) << 32) }
    }
    #[inline(always)]
    unsafe fn load_half(p: Rows<*const u8>) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm512_cvtph_ps(sixteen_words(p)) })
    }
    #[inline(always)]
    unsafe fn lane(self, i: usize) -> Self {
        // SAFETY: above.
        unsafe {
            let row = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8, 8, 8, 8, 8);
            let index = _mm512_add_epi32(row, _mm512_set1_epi32(i as i32));
            Self(_mm512_permutexvar_ps(index, self.0))
        }
    }
    #[inline(always)]
    unsafe fn transpose(v: [Self; 8]) -> [Self; 8] {
        // SAFETY: above.
        unsafe {
            // Pairs of rows, then fours, then the 128-bit halves of each eight lanes.
            let a0 = _mm512_unpacklo_ps(v[0].0, v[1].0);
            let a1 = _mm512_unpackhi_ps(v[0].0, v[1].0);
            let a2 = _mm512_unpacklo_ps(v[2].0, v[3].0);
            let a3 = _mm512_unpackhi_ps(v[2].0, v[3].0);
            let a4 = _mm512_unpacklo_ps(v[4].0, v[5].0);
            let a5 = _mm512_unpackhi_ps(v[4].0, v[5].0);
            let a6 = _mm512_unpacklo_ps(v[6].0, v[7].0);
            let a7 = _mm512_unpackhi_ps(v[6].0, v[7].0);
            let b0 = _mm512_shuffle_ps::<0x44>(a0, a2);
            let b1 = _mm512_shuffle_ps::<0xee>(a0, a2);
            let b2 = _mm512_shuffle_ps::<0x44>(a1, a3);
            let b3 = _mm512_shuffle_ps::<0xee>(a1, a3);
            let b4 = _mm512_shuffle_ps::<0x44>(a4, a6);
            let b5 = _mm512_shuffle_ps::<0xee>(a4, a6);
            let b6 = _mm512_shuffle_ps::<0x44>(a5, a7);
            let b7 = _mm512_shuffle_ps::<0xee>(a5, a7);
            let low = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
            let high =
                _mm512_setr_epi32(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
            [
                Self(_mm512_permutex2var_ps(b0, low, b4)),
                Self(_mm512_permutex2var_ps(b1, low, b5)),
                Self(_mm512_permutex2var_ps(b2, low, b6)),
                Self(_mm512_permutex2var_ps(b3, low, b7)),
                Self(_mm512_permutex2var_ps(b0, high, b4)),
                Self(_mm512_permutex2var_ps(b1, high, b5)),
                Self(_mm512_permutex2var_ps(b2, high, b6)),
                Self(_mm512_permutex2var_ps(b3, high, b7)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load_u8(p: Rows<*const u8>) -> Self::Int {
        // SAFETY: above.
        unsafe { _mm512_cvtepu8_epi32(sixteen_bytes(p)) }
    }
    #[inline(always)]
    unsafe fn load_i8(p: Rows<*const u8>) -> Self::Int {
        // SAFETY: above.
        unsafe { _mm512_cvtepi8_epi32(sixteen_bytes(p)) }
    }
    #[inline(always)]
    unsafe fn load_u16(p: Rows<*const u8>) -> Self::Int {
        // SAFETY: above.
        unsafe { _mm512_cvtepu16_epi32(sixteen_words(p)) }
    }
    #[inline(always)]
    unsafe fn table<C: Code<Self>>(parameters: [Self; 2]) -> [Self; 2] {
        // SAFETY: above.
        unsafe {
            let codes = _mm512_setr_ps(
                0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0,
            );
            let low = C::value(parameters, Self(codes)).0;
            let codes = _mm512_add_ps(codes, _mm512_set1_ps(8.0));
            let high = C::value(parameters, Self(codes)).0;
            // One row's sixteen, and the other's.
            [
                Self(_mm512_shuffle_f32x4::<0b01_00_01_00>(low, high)),
                Self(_mm512_shuffle_f32x4::<0b11_10_11_10>(low, high)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn look_up<C: Code<Self>>(table: [Self; 2], q: Self::Int) -> Self {
        // SAFETY: above.
        unsafe {
            // Bit 4 of an index chooses the row's values: row | (q & lowest).
            let lowest = _mm512_set1_epi32(15);
            let row = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 16, 16, 16, 16, 16, 16, 16, 16);
            let index = _mm512_ternarylogic_epi32::<0xf8>(row, q, lowest);
            Self(_mm512_permutex2var_ps(table[0].0, index, table[1].0))
        }
    }
    #[inline(always)]
    unsafe fn int(v: i32) -> Self::Int {
        // SAFETY: above.
        unsafe { _mm512_set1_epi32(v) }
    }
    #[inline(always)]
    unsafe fn and(a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: above.
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn or(a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: above.
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn shl<const N: u32>(a: Self::Int) -> Self::Int {
        // SAFETY: above.
        unsafe { _mm512_slli_epi32::<N>(a) }
    }
    #[inline(always)]
    unsafe fn shr<const N: u32>(a: Self::Int) -> Self::Int {
        // SAFETY: above.
        unsafe { _mm512_srli_epi32::<N>(a) }
    }
    #[inline(always)]
    unsafe fn to_real(a: Self::Int) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm512_cvtepi32_ps(a) })
    }
    #[inline(always)]
    unsafe fn from_bits(a: Self::Int) -> Self {
        // SAFETY: above.
        Self(unsafe { _mm512_castsi512_ps(a) })
    }

    #[inline(always)]
    unsafe fn store_sums(v: [Self; GROUP], p: *mut f32) {
        // SAFETY: above.
        unsafe {
            let [a, b, c, d] = v;
            // l[j] + l[j + 4] in each row: 128-bit lanes a0 a1 b0 b1 and c0 c1 d0 d1.
            let ab = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b10_00_10_00>(a.0, b.0),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(a.0, b.0),
            );
            let cd = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b10_00_10_00>(c.0, d.0),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(c.0, d.0),
            );
            // Then j and j + 2: lanes [a0 a0 c0 c0] [a1 a1 c1 c1] [b0 ..] [b1 ..]; then the neighbours.
            let pairs = _mm512_add_ps(
                _mm512_shuffle_ps::<0x44>(ab, cd),
                _mm512_shuffle_ps::<0xee>(ab, cd),
            );
            let sums = _mm512_add_ps(pairs, _mm512_permute_ps::<0b10_11_00_01>(pairs));
            let order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
            _mm256_storeu_ps(
                p,
                _mm512_castps512_ps256(_mm512_permutexvar_ps(order, sums)),
            );
        }
    }
    #[inline(always)]
    unsafe fn sum16(v: [Self; 2]) -> f32 {
        // SAFETY: above.
        unsafe {
            let (low, high) = (
                _mm512_castps512_ps256(v[0].0),
                _mm512_extractf32x8_ps::<1>(v[0].0),
            );
            tree(_mm256_add_ps(low, high))
        }
    }
    #[inline(always)]
    unsafe fn max_lane(self) -> f32 {
        // SAFETY: above.
        unsafe {
            let (low, high) = (
                _mm512_castps512_ps256(self.0),
                _mm512_extractf32x8_ps::<1>(self.0),
            );
            max_lane(_mm256_max_ps(low, high))
        }
    }
}

/// # Safety
/// Needs the instruction set.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn enter_plain<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller's.
    unsafe { kernel.run::<Avx512<false>>() }
}

/// # Safety
/// Needs the instruction set.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn enter_vnni<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller's.
    unsafe { kernel.run::<Avx512<true>>() }
}

/// # Safety
/// Needs AVX-512 DQ.
#[inline(always)]
unsafe fn join(low: __m256, high: __m256) -> __m512 {
    // SAFETY: the caller has AVX-512 DQ.
    unsafe { _mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high) }
}

/// Eight bytes of each row.
///
/// # Safety
/// Each pointer holds eight bytes.
#[inline(always)]
unsafe fn sixteen_bytes(p: Rows<*const u8>) -> __m128i {
    // SAFETY: the caller's pointers hold eight bytes each.
    unsafe {
        let low = _mm_castsi128_pd(_mm_loadl_epi64(p[0].cast()));
        _mm_castpd_si128(_mm_loadh_pd(low, p[1].cast()))
    }
}

/// N of four halves for each row, row after row, each in all lanes of its row.
///
/// # Safety
/// Needs AVX-512 F and F16C.
#[inline(always)]
unsafe fn pick<const N: usize, const VNNI: bool>(halves: u64) -> [Avx512<VNNI>; N] {
    // SAFETY: the caller has the instruction sets.
    unsafe {
        let all = _mm512_castps128_ps512(_mm_cvtph_ps(_mm_cvtsi64_si128(halves.cast_signed())));
        let mut picked = [Avx512(all); N];
        for (i, picked) in picked.iter_mut().enumerate() {
            let (a, b) = (i as i32, (N + i) as i32);
            let index = _mm512_setr_epi32(a, a, a, a, a, a, a, a, b, b, b, b, b, b, b, b);
            *picked = Avx512(_mm512_permutexvar_ps(index, all));
        }
        picked
    }
}

/// Sixteen bytes of each row.
///
/// # Safety
/// Needs AVX; each pointer holds sixteen bytes.
#[inline(always)]
unsafe fn sixteen_words(p: Rows<*const u8>) -> __m256i {
    // SAFETY: the caller's pointers hold sixteen bytes each.
    unsafe { _mm256_set_m128i(_mm_loadu_si128(p[1].cast()), _mm_loadu_si128(p[0].cast())) }
}
