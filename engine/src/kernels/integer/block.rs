//! The register block of integers: a few vectors of rows, a row a lane, with a few tokens.
#![allow(
    clippy::needless_range_loop,
    reason = "register blocks are indexed by token and vector alike"
)]

use super::super::Matrix;
use super::super::simd::{Kernel, Rows, Simd};
use super::codes::{Factors, Integers, Places, STRIP, with_integers};
use super::pack::RECORD;
use crate::format::StoredType;

/// Vectors of rows in a block.
pub(super) const VECTORS: usize = 2;

/// Most lanes of a strip of one row: words, two scales, an offset. (Every type has two factors.)
pub(super) const PANEL: usize = STRIP / 2 + 2;

/// Rows `first ..`, at most a block's, and the strips `strips` of `w` as `panel`: `[strip][lanes of a strip][VECTORS]
/// [LANES]`, lanes of words before factors. Lanes without a row repeat the last one.
///
/// # Safety
/// Needs the instruction set of V. The strips are whole blocks inside of `w`, whose data are as long as it says;
/// `panel` has the room.
#[inline(always)]
pub(super) unsafe fn fill<V: Simd>(
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
            T => fill_of::<V, T>(w, first, last, strips, panel),
            unreachable!("{}: `takes` says no", w.ty)
        );
    }
}

/// [`fill`] of a type.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn fill_of<V: Simd, T: Integers>(
    w: &Matrix<'_>,
    first: usize,
    last: usize,
    strips: std::ops::Range<usize>,
    panel: *mut f32,
) {
    let step = VECTORS * V::LANES;
    let lanes = STRIP / 2 + T::SCALES + T::OFFSETS;
    for m in 0..VECTORS {
        // SAFETY: the caller's.
        unsafe {
            let mut from = places::<V>(w, first + m * V::LANES, last, strips.start);
            let mut to = panel.add(m * V::LANES);
            for _ in 0..strips.len() / T::strips() {
                let factors = Factors {
                    to: to.add(STRIP / 2 * step),
                    strip: lanes * step,
                    vector: step,
                };
                T::factors::<V>(&from, factors);
                for strip in 0..T::strips() {
                    put_words::<V, T>(&from, strip, to);
                    to = to.add(lanes * step);
                }
                for from in &mut from {
                    *from = from.map(|p| p.wrapping_add(T::bytes()));
                }
            }
        }
    }
}

/// The words of one strip of a vector's rows, a row a lane.
///
/// # Safety
/// As [`fill`].
#[inline(always)]
unsafe fn put_words<V: Simd, T: Integers>(from: &Places, strip: usize, to: *mut f32) {
    // SAFETY: the caller's.
    unsafe {
        let mut words = [[V::splat(0.0); 8]; 2];
        for j in 0..8 {
            let [low, high] = T::codes::<V>(from[j], strip);
            words[0][j] = V::from_bits(low);
            words[1][j] = V::from_bits(high);
        }
        for half in 0..2 {
            for (i, v) in V::transpose(words[half]).into_iter().enumerate() {
                v.store(to.add((8 * half + i) * VECTORS * V::LANES));
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
    let at = |row: usize| {
        let stored = w.stored_row(row.min(last));
        let byte = stored * row_bytes + strip * STRIP / info.block * info.bytes;
        w.data.as_ptr().wrapping_add(byte)
    };
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
pub(super) unsafe fn enter_block<V: Simd, const N: usize>(block: Block) {
    // SAFETY: the caller's.
    unsafe { V::enter(BlockOf::<N>(block)) }
}

struct BlockOf<const N: usize>(Block);

impl<const N: usize> Kernel for BlockOf<N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        let b = self.0;
        let whole = b.n_rows == VECTORS * V::LANES;
        let mut acc = [[0.0f32; 2 * 8 * VECTORS]; N];
        // SAFETY: the caller has the instruction set; the pointers have what their docs say.
        unsafe {
            let mut sums = [[V::splat(0.0); VECTORS]; N];
            if b.goes_on {
                for t in 0..N {
                    let mut from: *const f32 = b.out.add(t * b.stride);
                    if !whole {
                        acc[t].as_mut_ptr().copy_from_nonoverlapping(from, b.n_rows);
                        from = acc[t].as_ptr();
                    }
                    for m in 0..VECTORS {
                        sums[t][m] = V::load(from.add(m * V::LANES));
                    }
                }
            }
            let sums = with_integers!(
                b.ty,
                T => add_strips::<V, N, { T::SCALES }, { T::OFFSETS }>(
                    b.panel, b.tokens, b.strips, sums
                ),
                sums
            );
            for t in 0..N {
                let out = b.out.add(t * b.stride);
                let to = if whole { out } else { acc[t].as_mut_ptr() };
                for m in 0..VECTORS {
                    sums[t][m].store(to.add(m * V::LANES));
                }
                if !whole {
                    out.copy_from_nonoverlapping(acc[t].as_ptr(), b.n_rows);
                }
            }
        }
    }
}

/// Adds the products of strips to the sums: exact over a strip or half of one, then rounded in ascending order.
///
/// # Safety
/// Needs the instruction set of V; `panel` and `tokens` hold the strips.
#[inline(always)]
unsafe fn add_strips<V: Simd, const N: usize, const SCALES: usize, const OFFSETS: usize>(
    panel: *const f32,
    tokens: *const i32,
    strips: usize,
    mut sums: [[V; VECTORS]; N],
) -> [[V; VECTORS]; N] {
    let step = VECTORS * V::LANES;
    let (mut panel, mut tokens) = (panel, tokens);
    for _ in 0..strips {
        // SAFETY: one more strip of each.
        unsafe {
            let factors = panel.add(STRIP / 2 * step);
            let unit = tokens.add(STRIP / 2 * N).cast::<f32>();
            for part in 0..SCALES {
                let mut exact = [[V::int(0); VECTORS]; N];
                let lanes = STRIP / 2 / SCALES;
                for lane in part * lanes..(part + 1) * lanes {
                    let mut w = [V::int(0); VECTORS];
                    for m in 0..VECTORS {
                        w[m] = V::load_ints(panel.add(lane * step + m * V::LANES).cast());
                    }
                    for t in 0..N {
                        let x = V::int(*tokens.add(lane * N + t));
                        for m in 0..VECTORS {
                            exact[t][m] = V::add_products(exact[t][m], w[m], x);
                        }
                    }
                }
                for m in 0..VECTORS {
                    let scale = V::load(factors.add(part * step + m * V::LANES));
                    for t in 0..N {
                        let factor = scale.mul(V::splat(*unit.add(t)));
                        sums[t][m] = V::to_real(exact[t][m]).fma(factor, sums[t][m]);
                    }
                }
            }
            if OFFSETS > 0 {
                for m in 0..VECTORS {
                    let offset = V::load(factors.add(SCALES * step + m * V::LANES));
                    for t in 0..N {
                        let all = V::splat(*unit.add(N + t));
                        sums[t][m] = offset.fma(all, sums[t][m]);
                    }
                }
            }
            panel = panel.add((STRIP / 2 + SCALES + OFFSETS) * step);
            tokens = tokens.add(RECORD * N);
        }
    }
    sums
}
