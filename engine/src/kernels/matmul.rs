//! y = W x for stored weights.
//!
//! A panel of rows is unpacked to f32 and stays in the second-level cache while tiles of tokens, each small enough for
//! the first level, pass over it. Long rows are cut along the columns; the accumulators are kept between the
//! pieces, so that the order of a sum does not depend on the cut. A single token needs no panel (`gemv.rs`).

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::buffer::Pool;
use super::dot::{accumulate, finish, pack_tokens, tile, with_tokens, zero};
use super::gemv::Gemv;
use super::integer;
use super::isa::Isa;
use super::panel::{COLS_UNIT, fill};
use super::simd::{GROUP, Kernel, Simd};
use super::{Matrix, team, work};

/// Columns of a panel when many tokens pass over it: a group of rows and a tile of tokens then share the first-level
/// cache. Rows of up to `WHOLE` columns are not cut.
const COLS: usize = 512;
const WHOLE: usize = 640;
/// Rows of such a panel: 96 to 120 KiB.
const ROWS: usize = 48;
/// Most tokens that pass over a panel: they are still in a cache when the next panel comes.
pub(super) const TOKENS: usize = 512;
/// The same where rows are cut: the sums kept between the pieces stay in the second-level cache.
const CUT_TOKENS: usize = 256;
/// Columns of a panel that a single tile of tokens passes over: a group of rows, read straight on.
const FEW_COLS: usize = 1024;
/// Most floats of x that are packed at a time: 16 MiB.
const PACKED: usize = 4 << 20;
/// Multiply-adds that are worth another task.
pub(super) const TASK_WORK: usize = 1 << 17;

thread_local! {
    pub(super) static POOL: Pool = const { Pool::new() };
}

/// `y[t, r] = sum_c w[r, c] * x[t, c]`; x is [n, cols], y is [n, rows]. Runs on the current [`team`].
///
/// Every output is the same reduction whatever `n`, the number of threads and the instruction set: eight lanes along c
/// (lane j takes c = j mod 8, fused multiply-add in ascending c), then `((l0+l4)+(l2+l6)) + ((l1+l5)+(l3+l7))`.
///
/// ```
/// use fathom_engine::format::StoredType;
/// use fathom_engine::kernels::{Layout, Matrix, matmul};
/// let data: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
/// let w = Matrix { ty: StoredType::F32, rows: 2, cols: 2, layout: Layout::RowMajor, data: &data, scales: None };
/// let mut y = [0.0; 2];
/// matmul(&[10.0, 1.0], 1, &w, &mut y);
/// assert_eq!(y, [12.0, 34.0]);
/// ```
///
/// # Panics
/// When the lengths of `x`, `y` or `w.data` are not those of the shapes.
pub fn matmul(x: &[f32], n: usize, w: &Matrix<'_>, y: &mut [f32]) {
    let (w, precision) = (*w, Precision::F32);
    matmuls(x, n, &mut [Product { w, precision, y }]);
}

/// What activations are multiplied as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As they are: the reference.
    #[default]
    F32,
    /// Rounded to 16 bits in strips of 32, where the matrix is stored as integers (`integer/`).
    Int16,
    /// Rounded to eight bits in strips of 32, where it is stored as integers of at most six; as `Int16` where of eight.
    Int8,
}

impl Precision {
    /// Its name in manifests and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int16 => "int16",
            Self::Int8 => "int8",
        }
    }
}

/// A matrix and what its product goes to.
pub struct Product<'a> {
    /// The matrix.
    pub w: Matrix<'a>,
    /// What x is multiplied as.
    pub precision: Precision,
    /// [n, w.rows]
    pub y: &'a mut [f32],
}

/// [`matmul`] of several matrices with the same x, [n, cols]: the threads are called together once.
///
/// # Panics
/// As [`matmul`], for each of them.
pub fn matmuls(x: &[f32], n: usize, products: &mut [Product<'_>]) {
    matmuls_on(Isa::current(), x, n, products);
}

/// [`matmuls`] on an instruction set that is available.
pub(super) fn matmuls_on(isa: Isa, x: &[f32], n: usize, products: &mut [Product<'_>]) {
    let cols = products.first().map_or(0, |p| p.w.cols);
    assert_eq!(x.len(), n * cols, "x: [n, cols]");
    for Product { w, y, .. } in &mut *products {
        assert_eq!(w.cols, cols, "the same inputs");
        assert_eq!(y.len(), n * w.rows, "y: [n, rows]");
        w.check();
        work::add(2 * n * w.rows * cols, w.data.len());
        if cols == 0 {
            y.fill(0.0);
        }
    }
    if n * cols == 0 {
        return;
    }
    let most = (PACKED / cols).max(64);
    for first in (0..n).step_by(most) {
        let n = most.min(n - first);
        let x = &x[first * cols..];
        let (mut jobs, mut in_integers) = (Vec::new(), [(); 2].map(|()| Vec::new()));
        for Product { w, precision, y } in &mut *products {
            let y = y[first * w.rows..].as_mut_ptr();
            match integer::precision(w, *precision) {
                _ if w.rows == 0 => {}
                Precision::F32 => jobs.push(Job { w, y }),
                Precision::Int16 => in_integers[0].push(integer::Job { w, y }),
                Precision::Int8 => in_integers[1].push(integer::Job { w, y }),
            }
        }
        let widths = [Precision::Int16, Precision::Int8];
        for (precision, jobs) in widths.into_iter().zip(&in_integers) {
            if !jobs.is_empty() {
                integer::multiply(isa, precision, x, n, cols, jobs);
            }
        }
        if jobs.is_empty() {
            continue;
        }
        POOL.with(|pool| {
            pool.with(|packed| {
                let packed = packed.room(n * cols.next_multiple_of(8));
                pack(x, n, cols, isa.tokens().0, packed);
                multiply(isa, packed, n, &jobs);
            })
        });
    }
}

/// Packs x into tiles of at most `most` tokens.
fn pack(x: &[f32], n: usize, cols: usize, most: usize, packed: &mut [f32]) {
    let per_token = cols.div_ceil(8) * 8;
    let tiles = n.div_ceil(most);
    let pack_part = |part: Range<usize>, packed: &mut [f32]| {
        let base = tile(part.start, n, most).0;
        for i in part {
            let (first, len) = tile(i, n, most);
            let to = &mut packed[(first - base) * per_token..][..len * per_token];
            pack_tokens(&x[first * cols..], len, cols, cols, to);
        }
    };
    if n * cols < 1 << 16 || team::threads() == 1 {
        return pack_part(0..tiles, packed);
    }
    let middle = tiles / 2;
    let (low, high) = packed.split_at_mut(tile(middle, n, most).0 * per_token);
    let halves = [
        (0..middle, Mutex::new(low)),
        (middle..tiles, Mutex::new(high)),
    ];
    team::for_each(2, |i| {
        let (part, packed) = &halves[i];
        let mut packed = packed.lock().unwrap_or_else(PoisonError::into_inner);
        pack_part(part.clone(), &mut packed);
    });
}

/// A product with the packed tokens.
struct Job<'a> {
    w: &'a Matrix<'a>,
    /// [n, w.rows]
    y: *mut f32,
}

// SAFETY: tasks write disjoint elements.
unsafe impl Sync for Job<'_> {}

/// How a product's outputs are cut into tasks.
#[derive(Clone, Copy)]
struct Cut {
    /// Rows of a task, and how many tasks that makes.
    rows: usize,
    by_rows: usize,
    /// Parts of the tiles of tokens.
    by_tiles: usize,
}

/// Cuts a product into about `wanted` tasks: by rows first; what is still wanted, by tokens.
fn cut(w: &Matrix<'_>, n: usize, tiles: usize, wanted: usize) -> Cut {
    let most_rows = if tiles == 1 { usize::MAX } else { ROWS };
    let rows = w.rows.div_ceil(wanted).next_multiple_of(16).min(most_rows);
    let by_rows = w.rows.div_ceil(rows);
    let most_tokens = if w.cols > WHOLE { CUT_TOKENS } else { TOKENS };
    let by_tiles = wanted.div_ceil(by_rows).min(tiles.div_ceil(4));
    Cut {
        rows,
        by_rows,
        by_tiles: by_tiles.max(n.div_ceil(most_tokens)).min(tiles),
    }
}

/// Cuts the outputs into tasks and runs them.
fn multiply(isa: Isa, packed: &[f32], n: usize, jobs: &[Job<'_>]) {
    let threads = team::threads();
    let tiles = n.div_ceil(isa.tokens().0);
    let all_rows: usize = jobs.iter().map(|job| job.w.rows).sum();
    let cols = jobs.first().map_or(0, |job| job.w.cols);
    let wanted = (n * all_rows * cols / TASK_WORK).clamp(1, 4 * threads);
    let mut tasks = Vec::new();
    for job in jobs {
        let cut = cut(job.w, n, tiles, (wanted * job.w.rows).div_ceil(all_rows));
        tasks.extend((0..cut.by_rows * cut.by_tiles).map(|task| (job, cut, task)));
    }
    let run = |&(job, cut, task): &(&Job<'_>, Cut, usize)| {
        let (at, part) = (task % cut.by_rows * cut.rows, task / cut.by_rows);
        let rows = at..job.w.rows.min(at + cut.rows);
        if n == 1 && Gemv::takes(job.w) {
            return isa.run(Gemv {
                w: job.w,
                rows,
                x: packed,
                y: job.y,
            });
        }
        POOL.with(|pool| {
            pool.with(|panel| {
                pool.with(|sums| {
                    isa.run(Task {
                        job,
                        rows,
                        tiles: part * tiles / cut.by_tiles..(part + 1) * tiles / cut.by_tiles,
                        n,
                        packed,
                        panel,
                        sums,
                    });
                })
            })
        });
    };
    team::for_each(tasks.len(), |i| run(&tasks[i]));
}

/// The products of some rows with some tiles of tokens.
struct Task<'a> {
    job: &'a Job<'a>,
    rows: Range<usize>,
    tiles: Range<usize>,
    /// All tokens: what the tiles are cut from.
    n: usize,
    packed: &'a [f32],
    panel: &'a mut super::buffer::Buffer,
    sums: &'a mut super::buffer::Buffer,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        let w = self.job.w;
        let (group, cols) = (GROUP * V::ROWS, w.cols);
        let single = self.tiles.len() == 1;
        let (most_rows, piece) = match (single, cols <= WHOLE) {
            (true, _) => (group, cols.next_multiple_of(COLS_UNIT).min(FEW_COLS)),
            (false, true) => (ROWS, cols.next_multiple_of(COLS_UNIT)),
            (false, false) => (ROWS, COLS),
        };
        let pieces = cols.div_ceil(piece);
        let tokens = self
            .tiles
            .clone()
            .map(|i| tile(i, self.n, V::TOKENS).1)
            .sum::<usize>();
        let panel = self
            .panel
            .room(most_rows.next_multiple_of(group) * piece)
            .as_mut_ptr();
        let kept = if pieces > 1 {
            tokens * most_rows * 8
        } else {
            0
        };
        let sums = self.sums.room(kept).as_mut_ptr();
        let per_token = cols.div_ceil(8) * 8;
        for start in self.rows.clone().step_by(most_rows) {
            let rows = start..self.rows.end.min(start + most_rows);
            for p in 0..pieces {
                let cols = p * piece..cols.min((p + 1) * piece);
                let chunks = cols.len().div_ceil(8);
                // SAFETY: the caller has the instruction set; `matmul_on` checked the lengths; the panel has room for
                // `most_rows` x `piece`, the sums for eight lanes of every output of the panel, and the rows and tokens
                // are this task's own.
                unsafe {
                    fill::<V>(w, rows.clone(), cols.clone(), panel);
                    let mut sums = sums;
                    for i in self.tiles.clone() {
                        let (first, len) = tile(i, self.n, V::TOKENS);
                        let x = self
                            .packed
                            .as_ptr()
                            .add(first * per_token + cols.start * len);
                        for at in (0..rows.len()).step_by(group) {
                            let block = &Block {
                                rows: panel.add(at * chunks * 8),
                                tokens: x,
                                chunks,
                                kept: sums,
                                first: p == 0,
                                last: p == pieces - 1,
                                out: self.job.y.add(first * w.rows + rows.start + at),
                                stride: w.rows,
                                n_rows: (rows.len() - at).min(group),
                            };
                            with_tokens!(len, enter_block::<V>(block));
                            if pieces > 1 {
                                sums = sums.add(len * GROUP * V::LANES);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// One register block over one piece of the columns.
struct Block {
    rows: *const f32,
    tokens: *const f32,
    chunks: usize,
    /// Accumulators between pieces: `[N][GROUP][LANES]`.
    kept: *mut f32,
    first: bool,
    last: bool,
    out: *mut f32,
    stride: usize,
    n_rows: usize,
}

/// Runs a block in a function of its own, so that all vector registers are its own: inlined between the unpackers it
/// would spill. The compiler does not keep `inline(never)` where instruction sets are enabled, hence here.
///
/// # Safety
/// Needs the instruction set of V; the pointers have what their docs say.
#[inline(never)]
unsafe fn enter_block<V: Simd, const N: usize>(block: &Block) {
    // SAFETY: the caller's.
    unsafe { V::enter(BlockOf::<N>(block)) }
}

/// A register block of N tokens.
struct BlockOf<'a, const N: usize>(&'a Block);

impl<const N: usize> Kernel for BlockOf<'_, N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        let b = self.0;
        // SAFETY: the caller has the instruction set; the pointers have what their docs say.
        unsafe {
            let mut acc = zero::<V, N>();
            if !b.first {
                for (i, acc) in acc.as_flattened_mut().iter_mut().enumerate() {
                    *acc = V::load(b.kept.add(i * V::LANES));
                }
            }
            let acc = accumulate::<V, N>(b.rows, b.tokens, b.chunks, acc);
            if b.last {
                finish::<V, N>(acc, b.out, b.stride, b.n_rows);
            } else {
                for (i, acc) in acc.as_flattened().iter().enumerate() {
                    acc.store(b.kept.add(i * V::LANES));
                }
            }
        }
    }
}

/// Row `r` of `w` as f32; `out` is [cols].
///
/// # Panics
/// When `r` is not a row, or `out` or `w.data` have another length than the shape says.
pub fn unpack_row(w: &Matrix<'_>, r: usize, out: &mut [f32]) {
    assert!(r < w.rows && out.len() == w.cols, "out: [cols]");
    w.check();
    w.unpack_part(r, 0, out);
}
