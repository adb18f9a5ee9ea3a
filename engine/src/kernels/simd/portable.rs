//! Plain Rust: what every other instruction set must agree with, bit for bit.

use super::{GROUP, Kernel, Real, Rows, Simd};

impl Real for f32 {
    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        v
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        self + b
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        self - b
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        self * b
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        self / b
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        if self > b { self } else { b }
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        if self < b { self } else { b }
    }
    #[inline(always)]
    unsafe fn if_less(a: Self, b: Self, yes: Self, no: Self) -> Self {
        if a < b { yes } else { no }
    }
    #[inline(always)]
    unsafe fn copysign(self, sign: Self) -> Self {
        f32::copysign(self, sign)
    }
    #[inline(always)]
    unsafe fn scale(self, n: Self) -> Self {
        // In two factors: one f32 does not hold 2^-152 or 2^128. The first product is exact. (`as` gives 0 for NaN.)
        let n = n as i32;
        let half = n >> 1;
        let pow2 = |n: i32| f32::from_bits(((n + 127) as u32) << 23);
        self * pow2(half) * pow2(n - half)
    }
}

/// Eight lanes in an array.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Portable(pub(super) [f32; 8]);

impl Portable {
    #[inline(always)]
    fn zip(a: Self, b: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|j| f(a.0[j], b.0[j])))
    }
}

/// `f` of f32 in every lane.
macro_rules! lanewise {
    ($($name:ident)*) => {$(
        #[inline(always)]
        unsafe fn $name(self, b: Self) -> Self {
            // SAFETY: f32 needs no instruction set.
            Self::zip(self, b, |a, b| unsafe { Real::$name(a, b) })
        }
    )*};
}

impl Real for Portable {
    lanewise! { add sub mul div max min copysign scale }

    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        Self([v; 8])
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|j| self.0[j].mul_add(b.0[j], c.0[j])))
    }
    #[inline(always)]
    unsafe fn if_less(a: Self, b: Self, yes: Self, no: Self) -> Self {
        Self(std::array::from_fn(|j| {
            if a.0[j] < b.0[j] { yes.0[j] } else { no.0[j] }
        }))
    }
}

impl Simd for Portable {
    const ROWS: usize = 1;
    const TOKENS: usize = 2;

    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: needs no instruction set.
        unsafe { kernel.run::<Self>() }
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const u8) {}
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller's pointer holds eight values.
        Self(unsafe { p.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller's pointer has room for eight values.
        unsafe { p.cast::<[f32; 8]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn load_shared(p: *const f32) -> Self {
        // SAFETY: as `load`.
        unsafe { Self::load(p) }
    }
    #[inline(always)]
    unsafe fn load_rows(p: Rows<*const f32>) -> Self {
        // SAFETY: as `load`.
        unsafe { Self::load(p[0]) }
    }
    #[inline(always)]
    unsafe fn store_rows(self, p: Rows<*mut f32>) {
        // SAFETY: as `store`.
        unsafe { self.store(p[0]) }
    }
    #[inline(always)]
    unsafe fn splat_half(bits: Rows<u16>) -> Self {
        Self([half::f16::from_bits(bits[0]).to_f32(); 8])
    }
    #[inline(always)]
    unsafe fn load_half(p: Rows<*const u8>) -> Self {
        // SAFETY: the caller's pointer holds eight halves.
        let halves = unsafe { Self::load_u16(p) };
        Self(halves.map(|h| half::f16::from_bits(h as u16).to_f32()))
    }
    #[inline(always)]
    unsafe fn lane(self, i: usize) -> Self {
        Self([self.0[i]; 8])
    }
    #[inline(always)]
    unsafe fn transpose(v: [Self; 8]) -> [Self; 8] {
        std::array::from_fn(|i| Self(std::array::from_fn(|j| v[j].0[i])))
    }

    #[inline(always)]
    unsafe fn load_u8(p: Rows<*const u8>) -> Self::Int {
        // SAFETY: the caller's pointer holds eight bytes.
        unsafe { p[0].cast::<[u8; 8]>().read() }.map(i32::from)
    }
    #[inline(always)]
    unsafe fn load_i8(p: Rows<*const u8>) -> Self::Int {
        // SAFETY: the caller's pointer holds eight bytes.
        unsafe { p[0].cast::<[i8; 8]>().read() }.map(i32::from)
    }
    #[inline(always)]
    unsafe fn load_u16(p: Rows<*const u8>) -> Self::Int {
        // SAFETY: the caller's pointer holds sixteen bytes.
        let bytes = unsafe { p[0].cast::<[[u8; 2]; 8]>().read() };
        bytes.map(|b| i32::from(u16::from_le_bytes(b)))
    }
    #[inline(always)]
    unsafe fn int(v: i32) -> Self::Int {
        [v; 8]
    }
    #[inline(always)]
    unsafe fn and(a: Self::Int, b: Self::Int) -> Self::Int {
        std::array::from_fn(|j| a[j] & b[j])
    }
    #[inline(always)]
    unsafe fn or(a: Self::Int, b: Self::Int) -> Self::Int {
        std::array::from_fn(|j| a[j] | b[j])
    }
    #[inline(always)]
    unsafe fn shl<const N: u32>(a: Self::Int) -> Self::Int {
        a.map(|a| a << N)
    }
    #[inline(always)]
    unsafe fn shr<const N: u32>(a: Self::Int) -> Self::Int {
        a.map(|a| ((a as u32) >> N) as i32)
    }
    #[inline(always)]
    unsafe fn to_real(a: Self::Int) -> Self {
        Self(a.map(|a| a as f32))
    }
    #[inline(always)]
    unsafe fn from_bits(a: Self::Int) -> Self {
        Self(a.map(|a| f32::from_bits(a as u32)))
    }

    #[inline(always)]
    unsafe fn store_sums(v: [Self; GROUP], p: *mut f32) {
        for (i, v) in v.into_iter().enumerate() {
            // SAFETY: the caller's pointer has room for one value a vector.
            unsafe { p.add(i).write(tree(v.0)) }
        }
    }
    #[inline(always)]
    unsafe fn sum16(v: [Self; 2]) -> f32 {
        tree(std::array::from_fn(|j| v[0].0[j] + v[1].0[j]))
    }
    #[inline(always)]
    unsafe fn max_lane(self) -> f32 {
        self.0
            .into_iter()
            .fold(f32::NEG_INFINITY, |m, v| if v > m { v } else { m })
    }
}

fn tree(l: [f32; 8]) -> f32 {
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}
