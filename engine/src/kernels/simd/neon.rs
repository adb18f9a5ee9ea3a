//! AArch64 with NEON: eight lanes of one row in two registers.
#![allow(
    unused_unsafe,
    reason = "which intrinsics are unsafe differs between versions of the standard library"
)]

use std::arch::aarch64::*;

use super::{GROUP, Kernel, Real, Rows, Simd};

/// Eight lanes: the lower four, the upper four.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Neon(pub(super) float32x4_t, pub(super) float32x4_t);

// SAFETY of every block below: NEON is a part of every AArch64 that this target has; the traits ask their callers for
// pointers that are valid for the eight elements accessed; all accesses are unaligned ones.

/// `f` of the two registers.
macro_rules! lanewise {
    ($($name:ident = $f:ident)*) => {$(
        #[inline(always)]
        unsafe fn $name(self, b: Self) -> Self {
            // SAFETY: above.
            unsafe { Self($f(self.0, b.0), $f(self.1, b.1)) }
        }
    )*};
}

impl Real for Neon {
    lanewise! { add = vaddq_f32 sub = vsubq_f32 mul = vmulq_f32 div = vdivq_f32 }

    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        // SAFETY: above.
        unsafe { Self(vdupq_n_f32(v), vdupq_n_f32(v)) }
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        // SAFETY: above.
        unsafe { Self(vfmaq_f32(c.0, self.0, b.0), vfmaq_f32(c.1, self.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        // SAFETY: above. Not vmaxq_f32, which gives NaN where either is.
        unsafe { Self::if_less(b, self, self, b) }
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        // SAFETY: above.
        unsafe { Self::if_less(self, b, self, b) }
    }
    #[inline(always)]
    unsafe fn if_less(a: Self, b: Self, yes: Self, no: Self) -> Self {
        // SAFETY: above.
        unsafe {
            Self(
                vbslq_f32(vcltq_f32(a.0, b.0), yes.0, no.0),
                vbslq_f32(vcltq_f32(a.1, b.1), yes.1, no.1),
            )
        }
    }
    #[inline(always)]
    unsafe fn copysign(self, sign: Self) -> Self {
        // SAFETY: above.
        unsafe {
            let mask = vdupq_n_u32(1 << 31);
            Self(
                vbslq_f32(mask, sign.0, self.0),
                vbslq_f32(mask, sign.1, self.1),
            )
        }
    }
    #[inline(always)]
    unsafe fn scale(self, n: Self) -> Self {
        // SAFETY: above. In two factors: one f32 does not hold 2^-152 or 2^128. The first product is exact.
        unsafe {
            let scale = |v: float32x4_t, n: float32x4_t| {
                let n = vcvtq_s32_f32(n);
                let half = vshrq_n_s32::<1>(n);
                let bias = vdupq_n_s32(127);
                let first = vshlq_n_s32::<23>(vaddq_s32(half, bias));
                let second = vshlq_n_s32::<23>(vaddq_s32(vsubq_s32(n, half), bias));
                vmulq_f32(
                    vmulq_f32(v, vreinterpretq_f32_s32(first)),
                    vreinterpretq_f32_s32(second),
                )
            };
            Self(scale(self.0, n.0), scale(self.1, n.1))
        }
    }
}

impl Neon {
    #[inline(always)]
    fn lanes(self) -> [f32; 8] {
        let mut lanes = [0.0; 8];
        // SAFETY: above.
        unsafe { self.store(lanes.as_mut_ptr()) };
        lanes
    }

    #[inline(always)]
    fn from_lanes(lanes: [f32; 8]) -> Self {
        // SAFETY: above.
        unsafe { Self::load(lanes.as_ptr()) }
    }
}

impl Simd for Neon {
    const ROWS: usize = 1;
    const TOKENS: usize = 2;

    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: above.
        unsafe { kernel.run::<Self>() }
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const u8) {}
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: above.
        unsafe { Self(vld1q_f32(p), vld1q_f32(p.add(4))) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: above.
        unsafe {
            vst1q_f32(p, self.0);
            vst1q_f32(p.add(4), self.1);
        }
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
        unsafe { Self::splat(half::f16::from_bits(bits[0]).to_f32()) }
    }
    #[inline(always)]
    unsafe fn load_half(p: Rows<*const u8>) -> Self {
        // SAFETY: above.
        let bytes = unsafe { p[0].cast::<[[u8; 2]; 8]>().read() };
        Self::from_lanes(bytes.map(|b| half::f16::from_le_bytes(b).to_f32()))
    }
    #[inline(always)]
    unsafe fn lane(self, i: usize) -> Self {
        // SAFETY: above.
        unsafe { Self::splat(self.lanes()[i]) }
    }
    #[inline(always)]
    unsafe fn transpose(v: [Self; 8]) -> [Self; 8] {
        let v = v.map(Self::lanes);
        std::array::from_fn(|i| Self::from_lanes(std::array::from_fn(|j| v[j][i])))
    }

    #[inline(always)]
    unsafe fn load_u8(p: Rows<*const u8>) -> Self::Int {
        // SAFETY: above.
        unsafe { words(vmovl_u8(vld1_u8(p[0]))) }
    }
    #[inline(always)]
    unsafe fn load_i8(p: Rows<*const u8>) -> Self::Int {
        // SAFETY: above.
        unsafe {
            let v = vmovl_s8(vld1_s8(p[0].cast()));
            [vmovl_s16(vget_low_s16(v)), vmovl_s16(vget_high_s16(v))]
        }
    }
    #[inline(always)]
    unsafe fn load_u16(p: Rows<*const u8>) -> Self::Int {
        // SAFETY: above.
        unsafe { words(vreinterpretq_u16_u8(vld1q_u8(p[0]))) }
    }
    #[inline(always)]
    unsafe fn int(v: i32) -> Self::Int {
        // SAFETY: above.
        unsafe { [vdupq_n_s32(v); 2] }
    }
    #[inline(always)]
    unsafe fn and(a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: above.
        unsafe { [vandq_s32(a[0], b[0]), vandq_s32(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn or(a: Self::Int, b: Self::Int) -> Self::Int {
        // SAFETY: above.
        unsafe { [vorrq_s32(a[0], b[0]), vorrq_s32(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn shl<const N: u32>(a: Self::Int) -> Self::Int {
        // SAFETY: above. A shift by a register: the intrinsics with a constant want another type of it.
        unsafe {
            let n = vdupq_n_s32(N as i32);
            [vshlq_s32(a[0], n), vshlq_s32(a[1], n)]
        }
    }
    #[inline(always)]
    unsafe fn shr<const N: u32>(a: Self::Int) -> Self::Int {
        // SAFETY: above. To the left by less than nothing is to the right.
        unsafe {
            let n = vdupq_n_s32(-(N as i32));
            let shift = |a| vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), n));
            [shift(a[0]), shift(a[1])]
        }
    }
    #[inline(always)]
    unsafe fn to_real(a: Self::Int) -> Self {
        // SAFETY: above.
        unsafe { Self(vcvtq_f32_s32(a[0]), vcvtq_f32_s32(a[1])) }
    }
    #[inline(always)]
    unsafe fn from_bits(a: Self::Int) -> Self {
        // SAFETY: above.
        unsafe { Self(vreinterpretq_f32_s32(a[0]), vreinterpretq_f32_s32(a[1])) }
    }

    #[inline(always)]
    unsafe fn store_sums(v: [Self; GROUP], p: *mut f32) {
        for (i, v) in v.into_iter().enumerate() {
            // SAFETY: above.
            unsafe { p.add(i).write(tree(v)) }
        }
    }
    #[inline(always)]
    unsafe fn sum16(v: [Self; 2]) -> f32 {
        // SAFETY: above.
        unsafe { tree(v[0].add(v[1])) }
    }
    #[inline(always)]
    unsafe fn max_lane(self) -> f32 {
        let greater = |m, v| if v > m { v } else { m };
        self.lanes().into_iter().fold(f32::NEG_INFINITY, greater)
    }
}

/// Sixteen bits each to 32.
#[inline(always)]
unsafe fn words(v: uint16x8_t) -> [int32x4_t; 2] {
    // SAFETY: above.
    unsafe {
        [
            vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(v))),
            vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(v))),
        ]
    }
}

/// `((l0+l4)+(l2+l6)) + ((l1+l5)+(l3+l7))`.
#[inline(always)]
unsafe fn tree(v: Neon) -> f32 {
    // SAFETY: above.
    unsafe {
        let fours = vaddq_f32(v.0, v.1);
        let pairs = vadd_f32(vget_low_f32(fours), vget_high_f32(fours));
        vget_lane_f32::<0>(pairs) + vget_lane_f32::<1>(pairs)
    }
}
