//! The grids that IQ types choose eight or four values from.
//!
//! `grids.bin` is one u16 an entry: eight codes of 2 bits, or four of 3 bits, the first value in the lowest bits.

/// Entries of all grids, one after the other.
static PACKED: &[u8] = include_bytes!("grids.bin");

/// Eight values an entry, three or fewer different ones.
pub(super) struct Eights {
    first: usize,
    values: [i8; 4],
}

/// Four values an entry, eight different ones.
pub(super) struct Fours {
    first: usize,
    values: [u8; 8],
}

/// 256 entries.
pub(super) const IQ2_XXS: Eights = Eights::magnitudes(0);
/// 512 entries.
pub(super) const IQ2_XS: Eights = Eights::magnitudes(256);
/// 1024 entries.
pub(super) const IQ2_S: Eights = Eights::magnitudes(768);
/// 2048 entries of -1, 0 and 1.
pub(super) const IQ1_S: Eights = Eights {
    first: 1792,
    values: [-1, 0, 1, 0],
};
/// 256 entries.
pub(super) const IQ3_XXS: Fours = Fours {
    first: 3840,
    values: [4, 12, 20, 28, 36, 44, 52, 62],
};
/// 512 entries.
pub(super) const IQ3_S: Fours = Fours {
    first: 4096,
    values: [1, 3, 5, 7, 9, 11, 13, 15],
};

fn entry(i: usize) -> usize {
    usize::from(u16::from_le_bytes([PACKED[2 * i], PACKED[2 * i + 1]]))
}

impl Eights {
    const fn magnitudes(first: usize) -> Self {
        let values = [8, 25, 43, 0];
        Self { first, values }
    }

    /// Entry `i`, which the grid has.
    pub(super) fn get(&self, i: usize) -> [f32; 8] {
        let codes = entry(self.first + i);
        std::array::from_fn(|j| f32::from(self.values[(codes >> (2 * j)) & 3]))
    }
}

impl Fours {
    /// Entries `i` and `j`, one after the other.
    pub(super) fn get(&self, i: usize, j: usize) -> [f32; 8] {
        let codes = entry(self.first + i) | entry(self.first + j) << 12;
        std::array::from_fn(|j| f32::from(self.values[(codes >> (3 * j)) & 7]))
    }
}
