//! How wide the integers are: 16 bits, two in a lane of 32, or eight, four in a lane.

use super::super::simd::Simd;
use super::codes::{Integers, STRIP};

/// Integers of activations, and of the codes that they are multiplied with.
pub(super) trait Width: Copy + Sync {
    /// Integers in a lane.
    const IN_LANE: usize;
    /// Lanes of a strip, and vectors of eight lanes that these are.
    const LANES: usize = STRIP / Self::IN_LANE;
    const VECTORS: usize = Self::LANES / 8;
    /// The greatest magnitude of an activation.
    const GREATEST: f32;
    /// What a strip of one token becomes: lanes of integers, the unit, the unit times the integers' sum, and that sum of
    /// each half.
    const RECORD: usize = Self::LANES + 4;
    /// Most lanes of a strip of one row: codes, two scales, an offset. (Every type has two factors.)
    const PANEL: usize = Self::LANES + 2;

    /// A strip's codes of one row, or of two: `VECTORS` vectors; a second one may hold anything.
    unsafe fn row<V: Simd, T: Integers>(codes: V::Int) -> [V::Int; 2];
    /// Whether [`Width::add`] adds in words, as [`super::super::simd::Bytes::SHORT_SUMS`] says.
    fn short_sums<V: Simd>() -> bool;
    /// `sum` and the products of codes and activations.
    unsafe fn add<V: Simd>(sum: V::Int, w: V::Int, x: V::Int) -> V::Int;
    /// Activations, one a lane, from the integer `first` of the strip on.
    unsafe fn store<V: Simd>(codes: V::Int, strip: *mut i32, first: usize);
}

/// Activations of 16 bits.
#[derive(Clone, Copy)]
pub(super) struct Int16;

/// Activations of eight bits; codes of at most seven, none negative.
#[derive(Clone, Copy)]
pub(super) struct Int8;

// SAFETY of the functions below: they need the instruction set of V, and room for the strip.

impl Width for Int16 {
    const IN_LANE: usize = 2;
    const GREATEST: f32 = 32767.0;

    #[inline(always)]
    unsafe fn row<V: Simd, T: Integers>(codes: V::Int) -> [V::Int; 2] {
        // SAFETY: above.
        unsafe { V::widen(codes, T::BITS == 8) }
    }
    fn short_sums<V: Simd>() -> bool {
        false
    }
    #[inline(always)]
    unsafe fn add<V: Simd>(sum: V::Int, w: V::Int, x: V::Int) -> V::Int {
        // SAFETY: above.
        unsafe { V::add_products(sum, w, x) }
    }
    #[inline(always)]
    unsafe fn store<V: Simd>(codes: V::Int, strip: *mut i32, first: usize) {
        // SAFETY: above.
        unsafe { V::store_words(codes, strip.cast::<i16>().add(first)) }
    }
}

impl Width for Int8 {
    const IN_LANE: usize = 4;
    const GREATEST: f32 = 127.0;

    #[inline(always)]
    unsafe fn row<V: Simd, T: Integers>(codes: V::Int) -> [V::Int; 2] {
        [codes; 2]
    }
    fn short_sums<V: Simd>() -> bool {
        V::SHORT_SUMS
    }
    #[inline(always)]
    unsafe fn add<V: Simd>(sum: V::Int, w: V::Int, x: V::Int) -> V::Int {
        // SAFETY: above.
        unsafe { V::add_byte_products(sum, w, x) }
    }
    #[inline(always)]
    unsafe fn store<V: Simd>(codes: V::Int, strip: *mut i32, first: usize) {
        // SAFETY: above.
        unsafe { V::store_bytes(codes, strip.cast::<i8>().add(first)) }
    }
}

/// Sums of words that are joined to sums of lanes.
///
/// # Safety
/// Needs the instruction set of V.
#[inline(always)]
pub(super) unsafe fn join<V: Simd>(sum: V::Int, short: V::Int) -> V::Int {
    // SAFETY: the caller's.
    unsafe { V::add_products(sum, short, V::int(0x0001_0001)) }
}
