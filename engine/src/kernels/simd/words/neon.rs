//! On NEON.
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
    unsafe fn load_lanes(p: [Rows<*const u8>; 8]) -> Self::Int {
        // SAFETY: above.
        unsafe { Self::load_ints(p.map(|p| p[0].cast::<i32>().read_unaligned()).as_ptr()) }
    }
    #[inline(always)]
    unsafe fn load_fours(p: [Rows<*const u8>; 8]) -> [Self::Int; 4] {
        // SAFETY: above.
        unsafe {
            let at = |i: usize| Self::load_lanes(p.map(|p| p.map(|p| p.wrapping_add(4 * i))));
            [at(0), at(1), at(2), at(3)]
        }
    }
    #[inline(always)]
    unsafe fn halves(a: Self::Int) -> Self {
        // SAFETY: above; eight words.
        unsafe {
            let words = vcombine_s16(vmovn_s32(a[0]), vmovn_s32(a[1]));
            let mut bits = [0i16; 8];
            vst1q_s16(bits.as_mut_ptr(), words);
            <Self as super::super::Simd>::load_half([bits.as_ptr().cast(); 2])
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
    unsafe fn add_ints(a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: above.
        unsafe { [vaddq_s32(a[0], b[0]), vaddq_s32(a[1], b[1])] }
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
    unsafe fn sum_halves(v: [Self::Int; 8]) -> [Self::Int; 2] {
        // SAFETY: above.
        unsafe {
            let fours = |i: usize, half: usize| {
                let low = vpaddq_s32(v[i][half], v[i + 1][half]);
                vpaddq_s32(low, vpaddq_s32(v[i + 2][half], v[i + 3][half]))
            };
            [[fours(0, 0), fours(4, 0)], [fours(0, 1), fours(4, 1)]]
        }
    }
    #[inline(always)]
    unsafe fn nearest(self) -> Self::Int {
        // SAFETY: above.
        unsafe { [vcvtnq_s32_f32(self.0), vcvtnq_s32_f32(self.1)] }
    }
    #[inline(always)]
    unsafe fn store_words(a: Self::Int, p: *mut i16) {
        // SAFETY: above.
        unsafe { vst1q_s16(p, vcombine_s16(vmovn_s32(a[0]), vmovn_s32(a[1]))) }
    }
}
