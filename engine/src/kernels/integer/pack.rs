//! Activations as 16-bit integers: each strip of 32 in units of its own.

use super::super::dot::tile;
use super::super::simd::{Kernel, Simd};
use super::codes::STRIP;

/// Lanes of words, the unit, and the unit times the sum of the integers: what a strip of one token becomes.
pub(super) const RECORD: usize = STRIP / 2 + 2;

/// Strips whose values are all below it are zero: no unit of theirs is a normal number's reciprocal.
const LEAST: f32 = f32::from_bits((127 - 100) << 23);

/// Packs the tiles `tiles` of `n` tokens, x [n, cols], as the register block reads them: for each tile
/// `[cols / 32][RECORD][tokens]`, of a strip first the lanes of words, then the units, then the sums.
pub(super) struct Pack<'a> {
    pub(super) x: &'a [f32],
    pub(super) n: usize,
    pub(super) cols: usize,
    pub(super) tiles: std::ops::Range<usize>,
    /// All tiles' records.
    pub(super) to: *mut i32,
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        let strips = self.cols / STRIP;
        for i in self.tiles {
            let (first, len) = tile(i, self.n, V::WORD_TOKENS);
            for t in 0..len {
                let x = &self.x[(first + t) * self.cols..][..self.cols];
                let mut to = self.to.wrapping_add(first * strips * RECORD + t);
                for strip in x.as_chunks::<STRIP>().0 {
                    let (lanes, unit, sum) = rounded(strip);
                    // SAFETY: the tile's records are in the room that the caller gave for all.
                    unsafe {
                        for lane in lanes {
                            to.write(lane);
                            to = to.add(len);
                        }
                        to.write(unit.to_bits().cast_signed());
                        to = to.add(len);
                        to.write(sum.to_bits().cast_signed());
                        to = to.add(len);
                    }
                }
            }
        }
    }
}

/// A strip as integers of at most 32 767 in a unit of its own, to the nearest, ties to even: two words a lane, the unit,
/// and the unit times the integers' sum. Not a number, or infinite: the unit is not a number either.
#[inline(always)]
fn rounded(x: &[f32; STRIP]) -> ([i32; STRIP / 2], f32, f32) {
    // As integers the magnitudes are ordered, what is no number last.
    let magnitude = |v: &f32| (v.to_bits() & 0x7fff_ffff).cast_signed();
    let mut greatest = [0i32; 8];
    for x in x.as_chunks::<8>().0 {
        for (g, v) in greatest.iter_mut().zip(x) {
            *g = (*g).max(magnitude(v));
        }
    }
    let greatest = greatest.into_iter().fold(0, i32::max);
    let greatest = f32::from_bits(greatest.cast_unsigned());
    if !greatest.is_finite() {
        return ([0; STRIP / 2], f32::NAN, f32::NAN);
    }
    if greatest < LEAST {
        return ([0; STRIP / 2], 0.0, 0.0);
    }
    let (unit, units) = (greatest / 32767.0, 32767.0 / greatest);
    let mut codes = [0i32; STRIP];
    for (code, v) in codes.iter_mut().zip(x) {
        // SAFETY: finite, and at most 32 767 with two roundings.
        *code = unsafe { (v * units).round_ties_even().to_int_unchecked::<i32>() };
    }
    let sum: i32 = codes.iter().sum();
    let (pairs, _) = codes.as_chunks::<2>();
    let lanes = std::array::from_fn(|i| pairs[i][0] & 0xffff | pairs[i][1] << 16);
    (lanes, unit, unit * sum as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_are_rounded_to_their_greatest() {
        let x: [f32; STRIP] = std::array::from_fn(|i| (i as f32 - 20.0) * 0.37);
        let (lanes, unit, sum) = rounded(&x);
        assert_eq!(unit, 20.0 * 0.37 / 32767.0);
        let codes = lanes.iter().flat_map(|&l| [l as i16, (l >> 16) as i16]);
        let codes: Vec<i16> = codes.collect();
        assert_eq!(codes[0], -32767);
        for (code, x) in codes.iter().zip(x) {
            assert!((f32::from(*code) * unit - x).abs() <= 0.501 * unit, "{x}");
        }
        let all: i32 = codes.iter().map(|&c| i32::from(c)).sum();
        assert_eq!(sum, unit * all as f32);
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for (odd, is_nan) in [(f32::NAN, true), (f32::INFINITY, true), (1e-38, false)] {
            let mut x = [0.0; STRIP];
            x[7] = odd;
            let (lanes, unit, sum) = rounded(&x);
            assert_eq!(lanes, [0; STRIP / 2]);
            assert_eq!((unit.is_nan(), sum.is_nan()), (is_nan, is_nan), "{odd}");
            assert!(is_nan || (unit, sum) == (0.0, 0.0));
        }
    }
}
