//! Activations as integers: each strip of 32 in units of its own.

use std::marker::PhantomData;

use super::super::dot::tile;
use super::super::simd::{Kernel, Simd};
use super::codes::STRIP;
use super::width::Width;

/// Strips whose values are all below it are zero: no unit of theirs is a normal number's reciprocal.
const LEAST: f32 = f32::from_bits((127 - 100) << 23);

/// Packs the tiles `tiles` of `n` tokens, x [n, cols], as the register block reads them: for each tile
/// `[cols / 32][W::RECORD][tokens]`.
pub(super) struct Pack<'a, W> {
    pub(super) width: PhantomData<W>,
    pub(super) x: &'a [f32],
    pub(super) n: usize,
    pub(super) cols: usize,
    pub(super) tiles: std::ops::Range<usize>,
    /// All tiles' records.
    pub(super) to: *mut i32,
}

impl<W: Width> Kernel for Pack<'_, W> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        let strips = self.cols / STRIP;
        for i in self.tiles {
            let (first, len) = tile(i, self.n, V::WORD_TOKENS);
            for t in 0..len {
                let x = &self.x[(first + t) * self.cols..][..self.cols];
                let mut to = self.to.wrapping_add(first * strips * W::RECORD + t);
                for strip in x.as_chunks::<STRIP>().0 {
                    // SAFETY: the caller has the instruction set; the tile's records are in the room that was given for all.
                    unsafe {
                        let record = rounded::<V, W>(strip);
                        for lane in &record[..W::RECORD] {
                            to.write(*lane);
                            to = to.add(len);
                        }
                    }
                }
            }
        }
    }
}

/// Lanes of a record, at most.
const MOST: usize = STRIP / 2 + 4;

/// A strip as integers of at most `W::GREATEST` in a unit of its own, to the nearest, ties to even: the record. Not a
/// number, or infinite: the unit is not a number either.
///
/// # Safety
/// Needs the instruction set of V.
#[inline(always)]
unsafe fn rounded<V: Simd, W: Width>(x: &[f32; STRIP]) -> [i32; MOST] {
    let mut record = [0; MOST];
    // SAFETY: the caller's; half a strip is a whole number of vectors.
    unsafe {
        let zero = V::splat(0.0);
        let (mut v, mut greatest, mut odd) = ([zero; 4], zero, zero);
        for (i, v) in v[..STRIP / V::LANES].iter_mut().enumerate() {
            *v = V::load(x.as_ptr().add(i * V::LANES));
            greatest = v.copysign(zero).max(greatest);
            // Not a number where x is none, or infinite.
            odd = v.fma(zero, odd);
        }
        if V::sum16([odd, zero]).is_nan() {
            record[W::LANES..][..2].fill(f32::NAN.to_bits().cast_signed());
            return record;
        }
        let greatest = greatest.max_lane();
        if greatest < LEAST {
            return record;
        }
        let units = V::splat(W::GREATEST / greatest);
        let mut sums = [zero; 2];
        for (i, v) in v[..STRIP / V::LANES].iter().enumerate() {
            let codes = v.mul(units).nearest();
            W::store::<V>(codes, record.as_mut_ptr(), i * V::LANES);
            // Exact: below 2^24.
            let half = &mut sums[i * V::LANES / (STRIP / 2)];
            *half = half.add(V::to_real(codes));
        }
        let sums = sums.map(|half| V::sum16([half, zero]));
        let unit = greatest / W::GREATEST;
        record[W::LANES] = unit.to_bits().cast_signed();
        record[W::LANES + 1] = (unit * (sums[0] + sums[1])).to_bits().cast_signed();
        for (i, half) in sums.into_iter().enumerate() {
            record[W::LANES + 2 + i] = half.to_int_unchecked();
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::simd::Portable;
    use super::super::width::{Int8, Int16};
    use super::*;

    /// The integers, unit, unit times sum, and the sums of the halves.
    fn record<W: Width>(x: &[f32; STRIP]) -> (Vec<i32>, f32, f32, [i32; 2]) {
        // SAFETY: it needs no instruction set.
        let record = unsafe { rounded::<Portable, W>(x) };
        let bits = 32 / W::IN_LANE;
        let codes = record[..W::LANES].iter().flat_map(|lane| {
            (0..W::IN_LANE).map(move |i| lane << (32 - bits * (i + 1)) >> (32 - bits))
        });
        let factor = |i: usize| f32::from_bits(record[W::LANES + i].cast_unsigned());
        let halves = [record[W::LANES + 2], record[W::LANES + 3]];
        (codes.collect(), factor(0), factor(1), halves)
    }

    fn strips_are_rounded_to_their_greatest<W: Width>() {
        let x: [f32; STRIP] = std::array::from_fn(|i| (i as f32 - 20.0) * 0.37);
        let (codes, unit, sum, halves) = record::<W>(&x);
        assert_eq!(unit, 20.0 * 0.37 / W::GREATEST);
        assert_eq!(codes[0], -W::GREATEST as i32);
        for (code, x) in codes.iter().zip(x) {
            assert!((*code as f32 * unit - x).abs() <= 0.501 * unit, "{x}");
        }
        let of = |part: &[i32]| part.iter().sum::<i32>();
        assert_eq!(halves, [of(&codes[..16]), of(&codes[16..])]);
        assert_eq!(sum, unit * of(&codes) as f32);
    }

    #[test]
    fn strips_are_rounded_to_their_greatest_in_both_widths() {
        strips_are_rounded_to_their_greatest::<Int16>();
        strips_are_rounded_to_their_greatest::<Int8>();
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for (odd, is_nan) in [(f32::NAN, true), (f32::INFINITY, true), (1e-38, false)] {
            let mut x = [0.0; STRIP];
            x[7] = odd;
            let (codes, unit, sum, halves) = record::<Int16>(&x);
            assert!(codes.iter().all(|c| *c == 0) && halves == [0, 0]);
            assert_eq!((unit.is_nan(), sum.is_nan()), (is_nan, is_nan), "{odd}");
            assert!(is_nan || (unit, sum) == (0.0, 0.0));
        }
    }
}
