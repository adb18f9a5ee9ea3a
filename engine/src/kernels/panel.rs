//! Weights to panels: rows unpacked to f32 in the order in which the register block reads them.

use std::ops::Range;

use super::simd::{GROUP, Rows, Simd};
use super::unpack::{at, block_bytes, block_values, put_rows, unpack};
use super::{Layout, Matrix};

/// Columns that every type's blocks divide: panels are cut along the columns at multiples of it.
pub(super) const COLS_UNIT: usize = 256;

/// Unpacks rows `rows` and the columns `cols` of `w` into `panel`: `[group][columns / 8][GROUP][ROWS][8]`. Columns past
/// the end are zeros; rows that complete the last group are copies.
///
/// # Safety
/// Needs the instruction set of V. `rows` is not empty and inside of `w`, `w.data` as long as `w` says,
/// `cols.start` a multiple of [`COLS_UNIT`] and `cols.end` too or the end of the row; `panel` has the room.
#[inline(always)]
pub(super) unsafe fn fill<V: Simd>(
    w: &Matrix<'_>,
    rows: Range<usize>,
    cols: Range<usize>,
    panel: *mut f32,
) {
    // SAFETY: the caller's.
    unsafe {
        match w.layout {
            _ if w.needs_rows() => fill_rows::<V>(w, rows, cols, panel),
            Layout::RowMajor | Layout::Rows { .. } => {
                fill_row_major::<V>(w, rows, cols, panel);
            }
            Layout::ColMajor { stride, offset } => {
                fill_col_major::<V>(w, rows, cols, stride, offset, panel);
            }
        }
    }
}

#[inline(always)]
unsafe fn fill_row_major<V: Simd>(
    w: &Matrix<'_>,
    rows: Range<usize>,
    cols: Range<usize>,
    panel: *mut f32,
) {
    let (values, bytes) = (block_values(w.ty), block_bytes(w.ty));
    let info = w.ty.info();
    let row_bytes = w.cols / info.block * info.bytes;
    let first_byte = cols.start / values * bytes;
    let chunks = cols.len().div_ceil(8);
    let step = GROUP * V::LANES;
    let vectors = rows.len().div_ceil(V::ROWS).next_multiple_of(GROUP);
    for vector in 0..vectors {
        let row = |i: usize| w.stored_row((rows.start + vector * V::ROWS + i).min(rows.end - 1));
        // SAFETY: the rows are inside of the matrix, and so are the blocks of `cols` in them.
        unsafe {
            let data = w.data.as_ptr().add(first_byte);
            let from: Rows<*const u8> = [
                data.add(row(0) * row_bytes),
                data.add(row(V::ROWS - 1) * row_bytes),
            ];
            let to = panel.add((vector / GROUP * chunks * GROUP + vector % GROUP) * V::LANES);
            let blocks = cols.len() / values;
            unpack::<V>(w.ty, from, blocks, to, step);
            // Only types without blocks leave a rest.
            let rest = cols.len() % values;
            if rest > 0 {
                let padded = padded::<V>(at(from, blocks * bytes), rest * info.bytes);
                let from = [padded[0].as_ptr(), padded[1].as_ptr()];
                unpack::<V>(w.ty, from, 1, to.add(blocks * step), step);
            }
        }
    }
}

/// The last values of a row without blocks, and zeros behind them.
///
/// # Safety
/// Each pointer holds `bytes`, at most 32.
#[inline(always)]
pub(super) unsafe fn padded<V: Simd>(from: Rows<*const u8>, bytes: usize) -> Rows<[u8; 32]> {
    let mut padded = [[0u8; 32]; 2];
    for i in 0..V::ROWS {
        // SAFETY: the caller's.
        let rest = unsafe { std::slice::from_raw_parts(from[i], bytes) };
        padded[i][..bytes].copy_from_slice(rest);
    }
    padded
}

/// Rows whose values need more than their own blocks, by the table's functions.
#[inline(always)]
unsafe fn fill_rows<V: Simd>(
    w: &Matrix<'_>,
    rows: Range<usize>,
    cols: Range<usize>,
    panel: *mut f32,
) {
    let chunks = cols.len().div_ceil(8);
    let step = GROUP * V::LANES;
    let vectors = rows.len().div_ceil(V::ROWS).next_multiple_of(GROUP);
    for vector in 0..vectors {
        let row = |i: usize| (rows.start + vector * V::ROWS + i).min(rows.end - 1);
        for first in cols.clone().step_by(COLS_UNIT) {
            let part = first..cols.end.min(first + COLS_UNIT);
            let mut unpacked = [[0.0; COLS_UNIT]; 2];
            for (i, unpacked) in unpacked.iter_mut().take(V::ROWS).enumerate() {
                w.unpack_part(row(i), first, &mut unpacked[..part.len()]);
            }
            let chunk = (first - cols.start) / 8;
            // SAFETY: the panel has room for the vectors of `rows` and the chunks of `cols`.
            unsafe {
                let at = (vector / GROUP * chunks + chunk) * GROUP + vector % GROUP;
                let to = panel.add(at * V::LANES);
                put_rows::<V>(&unpacked, part.len().div_ceil(8), to, step);
            }
        }
    }
}

#[inline(always)]
unsafe fn fill_col_major<V: Simd>(
    w: &Matrix<'_>,
    rows: Range<usize>,
    cols: Range<usize>,
    stride: usize,
    offset: usize,
    panel: *mut f32,
) {
    let bytes = w.ty.info().bytes;
    let chunks = cols.len().div_ceil(8);
    let group = GROUP * V::ROWS;
    let rows_filled = rows.len().next_multiple_of(group);
    // Where eight columns of a row go.
    let slot = |row: usize, chunk: usize| {
        let vector = (row / group * chunks + chunk) * GROUP + row % group / V::ROWS;
        vector * V::LANES + row % V::ROWS * 8
    };
    for row in (0..rows_filled).step_by(8) {
        for chunk in (0..chunks).step_by(V::ROWS) {
            // SAFETY: eight rows and as many chunks of columns as a vector has rows; what lies outside of the matrix is
            // read from a padded copy (`eight`), what lies outside of the panel is not written.
            unsafe {
                let mut v = [V::splat(0.0); 8];
                for (c, v) in v.iter_mut().enumerate() {
                    let mut padded = [[0u8; 32]; 2];
                    let mut from = [padded[0].as_ptr(), padded[1].as_ptr()];
                    for i in 0..V::ROWS {
                        let col = (chunk + i) * 8 + c;
                        if col < cols.len() {
                            let at =
                                ((cols.start + col) * stride + offset + rows.start + row) * bytes;
                            let here = rows.len().saturating_sub(row);
                            if here >= 8 {
                                from[i] = w.data.as_ptr().add(at);
                            } else if here > 0 {
                                let part = &w.data[at..][..here * bytes];
                                padded[i][..part.len()].copy_from_slice(part);
                                from[i] = padded[i].as_ptr();
                            }
                        }
                    }
                    unpack::<V>(w.ty, from, 1, (v as *mut V).cast(), V::LANES);
                }
                for (r, v) in V::transpose(v).into_iter().enumerate() {
                    if row + r >= rows_filled {
                        break;
                    }
                    let mut to = [panel.add(slot(row + r, chunk)); 2];
                    let mut spare = [0.0f32; 8];
                    if V::ROWS == 2 {
                        to[1] = if chunk + 1 < chunks {
                            panel.add(slot(row + r, chunk + 1))
                        } else {
                            spare.as_mut_ptr()
                        };
                    }
                    v.store_rows(to);
                }
            }
        }
    }
}
