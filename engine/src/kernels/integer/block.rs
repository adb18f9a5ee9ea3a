//! The register block of integers: a few vectors of rows, a row a lane, with a few tokens.
#![allow(
    clippy::needless_range_loop,
    reason = "register blocks are indexed by token and vector alike"
)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::super::Matrix;
use super::super::simd::{Kernel, Rows, Simd};
use super::codes::{Factors, Integers, Places, STRIP, with_integers};
use super::width::{Width, join};
use crate::format::StoredType;

/// Vectors of rows in a block.
pub(super) const VECTORS: usize = 2;

/// Rows `first ..`, at most a block's, and the strips `strips` of `w` as `panel`: `[strip][lanes of a strip][VECTORS]
/// [LANES]`, codes before factors. Lanes without a row repeat the last one.
///
/// # Safety
/// Needs the instruction set of V. The strips are whole blocks inside of `w`, whose data are as long as it says;
/// `panel` has the room.
#[inline(always)]
pub(super) unsafe fn fill<V: Simd, W: Width>(
    w: &Matrix<'_>,
    first: usize,
    last: usize,
    strips: std::ops::Range<usize>,
    panel: *mut f32,
) {
    // SAFETY: the caller's.
    unsafe {
        with_integers!(
            w.ty,
            T => fill_of::<V, W, T>(w, first, last, strips, panel),
            unreachable!("{}: `takes` says no", w.ty)
        );
    }
}

/// [`fill`] of a type.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn fill_of<V: Simd, W: Width, T: Integers>(
    w: &Matrix<'_>,
    first: usize,
    last: usize,
    strips: std::ops::Range<usize>,
    panel: *mut f32,
) {
    let step = VECTORS * V::LANES;
    let lanes = W::LANES + T::SCALES + T::OFFSETS;
    for m in 0..VECTORS {
        // SAFETY: the caller's.
        unsafe {
            let mut from = places::<V>(w, first + m * V::LANES, last, strips.start);
            let mut to = panel.add(m * V::LANES);
            for _ in 0..strips.len() / T::strips() {
                let factors = Factors {
                    to: to.add(W::LANES * step),
                    strip: lanes * step,
                    vector: step,
                };
                T::factors::<V>(&from, factors);
                for strip in 0..T::strips() {
                    put_codes::<V, W, T>(&from, strip, to);
                    to = to.add(lanes * step);
                }
                for from in &mut from {
                    *from = from.map(|p| p.wrapping_add(T::bytes()));
                }
            }
        }
    }
}

/// The codes of one strip of a vector's rows, a row a lane.
///
/// # Safety
/// As [`fill`].
#[inline(always)]
unsafe fn put_codes<V: Simd, W: Width, T: Integers>(from: &Places, strip: usize, to: *mut f32) {
    // SAFETY: the caller's.
    unsafe {
        let mut codes = [[V::splat(0.0); 8]; 2];
        for j in 0..8 {
            let row = W::row::<V, T>(T::codes::<V>(from[j], strip));
            for i in 0..W::VECTORS {
                codes[i][j] = V::from_bits(row[i]);
            }
        }
        for i in 0..W::VECTORS {
            for (lane, v) in V::transpose(codes[i]).into_iter().enumerate() {
                v.store(to.add((8 * i + lane) * VECTORS * V::LANES));
            }
        }
    }
}

/// Where strip `strip` of the rows `first ..` begins; rows behind `last` are `last`.
///
/// # Safety
/// They are inside of `w`.
#[inline(always)]
pub(super) unsafe fn places<V: Simd>(
    w: &Matrix<'_>,
    first: usize,
    last: usize,
    strip: usize,
) -> Places {
    let info = w.ty.info();
    let row_bytes = w.cols / info.block * info.bytes;
    let start = w
        .data
        .as_ptr()
        .wrapping_add(strip * STRIP / info.block * info.bytes);
    let at = |row: usize| start.wrapping_add(w.stored_row(row.min(last)) * row_bytes);
    let mut from: [Rows<*const u8>; 8] = [[std::ptr::null(); 2]; 8];
    for j in 0..8 {
        from[j] = [at(first + j), at(first + (V::ROWS - 1) * 8 + j)];
    }
    from
}

/// One block over one piece of the columns.
pub(super) struct Block {
    pub(super) ty: StoredType,
    pub(super) panel: *const f32,
    /// The piece's records of N tokens.
    pub(super) tokens: *const i32,
    pub(super) strips: usize,
    /// Whether the sums so far stand at `out`.
    pub(super) goes_on: bool,
    /// Where the sums go, tokens `stride` apart, `n_rows` each.
    pub(super) out: *mut f32,
    pub(super) stride: usize,
    pub(super) n_rows: usize,
}

/// Runs a block of N tokens in a function of its own, so that all vector registers are its own.
///
/// # Safety
/// Needs the instruction set of V; the pointers have what their docs say.
#[inline(never)]
pub(super) unsafe fn enter_block<V: Simd, W: Width, const N: usize>(block: &Block) {
    // SAFETY: the caller's.
    unsafe { V::enter(BlockOf::<W, N>(block, PhantomData)) }
}

/// Sums of N tokens. On cache lines, and so is then what does not fit into registers: where a vector lies across two, reading
/// it waits until all that was stored before has arrived in the cache.
#[repr(align(64))]
struct End<const N: usize>([[f32; VECTORS * 16]; N]);

struct BlockOf<'a, W, const N: usize>(&'a Block, PhantomData<W>);

impl<W: Width, const N: usize> Kernel for BlockOf<'_, W, N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        let b = self.0;
        let room = VECTORS * V::LANES;
        let (mut out, mut stride) = (b.out, b.stride);
        // What a matrix ends with may be less than a block's rows.
        let mut end = MaybeUninit::<End<N>>::uninit();
        // SAFETY: the caller has the instruction set; the pointers have what their docs say.
        unsafe {
            if b.n_rows < room {
                let end = end.write(End([[0.0; VECTORS * 16]; N]));
                for t in 0..N {
                    let from = b.out.add(t * b.stride);
                    let to = end.0[t].as_mut_ptr();
                    to.copy_from_nonoverlapping(from, b.n_rows);
                }
                (out, stride) = (end.0.as_mut_ptr().cast(), VECTORS * 16);
            }
            let mut sums = [[V::splat(0.0); VECTORS]; N];
            if b.goes_on {
                for t in 0..N {
                    for m in 0..VECTORS {
                        sums[t][m] = V::load(out.add(t * stride + m * V::LANES));
                    }
                }
            }
            let sums = with_integers!(
                b.ty,
                T => add_strips::<V, W, N, { T::SCALES }, { T::OFFSETS }>(b, T::BITS, T::BIAS, sums),
                sums
            );
            for t in 0..N {
                for m in 0..VECTORS {
                    sums[t][m].store(out.add(t * stride + m * V::LANES));
                }
                if b.n_rows < room {
                    let to = b.out.add(t * b.stride);
                    to.copy_from_nonoverlapping(out.add(t * stride), b.n_rows);
                }
            }
        }
    }
}

/// Adds the products of strips to the sums: exact over a strip or half of one, then rounded in ascending order.
///
/// # Safety
/// Needs the instruction set of V; the block's pointers hold its strips.
#[inline(always)]
unsafe fn add_strips<
    V: Simd,
    W: Width,
    const N: usize,
    const SCALES: usize,
    const OFFSETS: usize,
>(
    block: &Block,
    bits: u32,
    bias: i32,
    mut sums: [[V; VECTORS]; N],
) -> [[V; VECTORS]; N] {
    let step = VECTORS * V::LANES;
    let lanes = W::LANES / SCALES;
    let together = in_words(bits).min(lanes);
    let (mut panel, mut tokens) = (block.panel, block.tokens);
    for _ in 0..block.strips {
        // SAFETY: one more strip of each.
        unsafe {
            let factors = panel.add(W::LANES * step);
            let unit = tokens.add(W::LANES * N).cast::<f32>();
            for part in 0..SCALES {
                let mut exact = [[V::int(0); VECTORS]; N];
                if bias != 0 {
                    for t in 0..N {
                        let half = |i: usize| *tokens.add((W::LANES + 2 + i) * N + t);
                        let sum = match SCALES {
                            1 => half(0) + half(1),
                            _ => half(part),
                        };
                        exact[t] = [V::int(-bias * sum); VECTORS];
                    }
                }
                let part_lanes = part * lanes..(part + 1) * lanes;
                if W::short_sums::<V>() {
                    for first in part_lanes.step_by(together) {
                        let zero = [[V::int(0); VECTORS]; N];
                        let lanes = first..first + together;
                        let short = add_lanes::<V, W, N>(panel, tokens, lanes, zero);
                        for t in 0..N {
                            for m in 0..VECTORS {
                                exact[t][m] = join::<V>(exact[t][m], short[t][m]);
                            }
                        }
                    }
                } else {
                    exact = add_lanes::<V, W, N>(panel, tokens, part_lanes, exact);
                }
                let scales = load_factors::<V>(factors.add(part * step));
                for t in 0..N {
                    let unit = V::splat(*unit.add(t));
                    for m in 0..VECTORS {
                        let factor = scales[m].mul(unit);
                        sums[t][m] = V::to_real(exact[t][m]).fma(factor, sums[t][m]);
                    }
                }
            }
            if OFFSETS > 0 {
                let offsets = load_factors::<V>(factors.add(SCALES * step));
                for t in 0..N {
                    let all = V::splat(*unit.add(N + t));
                    for m in 0..VECTORS {
                        sums[t][m] = offsets[m].fma(all, sums[t][m]);
                    }
                }
            }
            panel = panel.add((W::LANES + SCALES + OFFSETS) * step);
            tokens = tokens.add(W::RECORD * N);
        }
    }
    sums
}

/// The factors of a block's rows.
///
/// # Safety
/// Needs the instruction set of V; they are there.
#[inline(always)]
unsafe fn load_factors<V: Simd>(from: *const f32) -> [V; VECTORS] {
    // SAFETY: the caller's.
    unsafe { std::array::from_fn(|m| V::load(from.add(m * V::LANES))) }
}

/// The products of some lanes of a strip, added to `sums`.
///
/// # Safety
/// Needs the instruction set of V; `panel` and `tokens` hold the strip.
#[inline(always)]
unsafe fn add_lanes<V: Simd, W: Width, const N: usize>(
    panel: *const f32,
    tokens: *const i32,
    lanes: std::ops::Range<usize>,
    mut sums: [[V::Int; VECTORS]; N],
) -> [[V::Int; VECTORS]; N] {
    for lane in lanes {
        // SAFETY: the caller's.
        unsafe {
            let mut w = [V::int(0); VECTORS];
            for m in 0..VECTORS {
                w[m] = V::load_ints(panel.add((lane * VECTORS + m) * V::LANES).cast());
            }
            for t in 0..N {
                let x = V::int(*tokens.add(lane * N + t));
                for m in 0..VECTORS {
                    sums[t][m] = W::add::<V>(sums[t][m], w[m], x);
                }
            }
        }
    }
    sums
}

/// Lanes of bytes whose products with codes of so many bits add up to 16 bits in each word: two products of at most 127
/// times the greatest code are added in each.
fn in_words(bits: u32) -> usize {
    32767 / (2 * 127 * ((1 << bits) - 1))
}
