//! The table of stored types. A type is one entry here and one function in `unpack/`.

use super::unpack::{basic, ik, interleaved, interleaved_grids, iq, k, small, trellis};
use Unpack::Blocks;

/// Declares [`StoredType`] and its table from one list, so that a type stands in one place.
macro_rules! stored_types {
    ($($ty:ident: ggml $id:expr, safetensors $st:expr, $block:literal values in $bytes:literal bytes, $unpack:expr;)*) => {
        /// How values are stored.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[allow(non_camel_case_types, missing_docs)]
        pub enum StoredType {
            $($ty,)*
        }

        impl StoredType {
            /// Every type, in the table's order.
            pub const ALL: &[Self] = &[$(Self::$ty,)*];
        }

        const TABLE: &[TypeInfo] = &[$(TypeInfo {
            name: stringify!($ty),
            ggml_id: $id,
            safetensors: $st,
            block: $block,
            bytes: $bytes,
            unpack: $unpack,
        },)*];
    };
}

stored_types! {
    F32:        ggml Some(0),   safetensors Some("F32"),     1 values in 4 bytes,     Blocks(basic::f32);
    F16:        ggml Some(1),   safetensors Some("F16"),     1 values in 2 bytes,     Blocks(basic::f16);
    BF16:       ggml Some(30),  safetensors Some("BF16"),    1 values in 2 bytes,     Blocks(basic::bf16);
    F8_E4M3:    ggml None,      safetensors Some("F8_E4M3"), 1 values in 1 bytes,     Blocks(small::f8_e4m3);
    F8_E5M2:    ggml None,      safetensors Some("F8_E5M2"), 1 values in 1 bytes,     Blocks(small::f8_e5m2);
    F8_E8M0:    ggml None,      safetensors Some("F8_E8M0"), 1 values in 1 bytes,     Blocks(small::f8_e8m0);
    F4_E2M1:    ggml None,      safetensors None,            32 values in 16 bytes,   Blocks(small::f4_e2m1);
    U8:         ggml None,      safetensors Some("U8"),      1 values in 1 bytes,     Blocks(small::u8);
    I8:         ggml None,      safetensors Some("I8"),      1 values in 1 bytes,     Blocks(small::i8);
    I32:        ggml None,      safetensors Some("I32"),     1 values in 4 bytes,     Blocks(small::i32);
    PACKED_I4:  ggml None,      safetensors None,            8 values in 4 bytes,     Blocks(small::packed_i4);
    PACKED_I8:  ggml None,      safetensors None,            1 values in 1 bytes,     Blocks(small::packed_i8);
    Q8_0:       ggml Some(8),   safetensors None,            32 values in 34 bytes,   Blocks(basic::q8_0);
    Q4_0:       ggml Some(2),   safetensors None,            32 values in 18 bytes,   Blocks(basic::q4_0);
    Q4_1:       ggml Some(3),   safetensors None,            32 values in 20 bytes,   Blocks(basic::q4_1);
    Q5_0:       ggml Some(6),   safetensors None,            32 values in 22 bytes,   Blocks(basic::q5_0);
    Q5_1:       ggml Some(7),   safetensors None,            32 values in 24 bytes,   Blocks(basic::q5_1);
    Q2_K:       ggml Some(10),  safetensors None,            256 values in 84 bytes,  Blocks(k::q2_k);
    Q3_K:       ggml Some(11),  safetensors None,            256 values in 110 bytes, Blocks(k::q3_k);
    Q4_K:       ggml Some(12),  safetensors None,            256 values in 144 bytes, Blocks(k::q4_k);
    Q5_K:       ggml Some(13),  safetensors None,            256 values in 176 bytes, Blocks(k::q5_k);
    Q6_K:       ggml Some(14),  safetensors None,            256 values in 210 bytes, Blocks(k::q6_k);
    Q8_K:       ggml Some(15),  safetensors None,            256 values in 292 bytes, Blocks(k::q8_k);
    IQ1_S:      ggml Some(19),  safetensors None,            256 values in 50 bytes,  Blocks(iq::iq1_s);
    IQ1_M:      ggml Some(29),  safetensors None,            256 values in 56 bytes,  Blocks(iq::iq1_m);
    IQ2_XXS:    ggml Some(16),  safetensors None,            256 values in 66 bytes,  Blocks(iq::iq2_xxs);
    IQ2_XS:     ggml Some(17),  safetensors None,            256 values in 74 bytes,  Blocks(iq::iq2_xs);
    IQ2_S:      ggml Some(22),  safetensors None,            256 values in 82 bytes,  Blocks(iq::iq2_s);
    IQ3_XXS:    ggml Some(18),  safetensors None,            256 values in 98 bytes,  Blocks(iq::iq3_xxs);
    IQ3_S:      ggml Some(21),  safetensors None,            256 values in 110 bytes, Blocks(iq::iq3_s);
    IQ4_NL:     ggml Some(20),  safetensors None,            32 values in 18 bytes,   Blocks(iq::iq4_nl);
    IQ4_XS:     ggml Some(23),  safetensors None,            256 values in 136 bytes, Blocks(iq::iq4_xs);
    TQ1_0:      ggml Some(34),  safetensors None,            256 values in 54 bytes,  Blocks(small::tq1_0);
    TQ2_0:      ggml Some(35),  safetensors None,            256 values in 66 bytes,  Blocks(small::tq2_0);
    MXFP4:      ggml Some(39),  safetensors None,            32 values in 17 bytes,   Blocks(small::mxfp4);
    NVFP4:      ggml Some(40),  safetensors None,            64 values in 36 bytes,   Blocks(small::nvfp4);
    Q1_0:       ggml Some(41),  safetensors None,            128 values in 18 bytes,  Blocks(small::q1_0);
    Q2_0:       ggml Some(42),  safetensors None,            64 values in 18 bytes,   Blocks(small::q2_0);
    Q6_0:       ggml Some(133), safetensors None,            32 values in 26 bytes,   Blocks(ik::q6_0);
    IQ2_K:      ggml Some(137), safetensors None,            256 values in 76 bytes,  Blocks(ik::iq2_k);
    IQ3_K:      ggml Some(138), safetensors None,            256 values in 110 bytes, Blocks(ik::iq3_k);
    IQ4_K:      ggml Some(139), safetensors None,            256 values in 144 bytes, Blocks(ik::iq4_k);
    IQ5_K:      ggml Some(140), safetensors None,            256 values in 176 bytes, Blocks(ik::iq5_k);
    IQ6_K:      ggml Some(141), safetensors None,            256 values in 212 bytes, Blocks(ik::iq6_k);
    IQ2_KS:     ggml Some(145), safetensors None,            256 values in 70 bytes,  rows(2, 1, ik::iq2_ks);
    IQ3_KS:     ggml Some(156), safetensors None,            256 values in 102 bytes, rows(2, 1, ik::iq3_ks);
    IQ4_KS:     ggml Some(144), safetensors None,            256 values in 136 bytes, rows(4, 1, ik::iq4_ks);
    IQ5_KS:     ggml Some(152), safetensors None,            256 values in 168 bytes, rows(4, 1, ik::iq5_ks);
    IQ4_KSS:    ggml Some(146), safetensors None,            256 values in 128 bytes, rows(4, 1, ik::iq4_kss);
    IQ2_KL:     ggml Some(157), safetensors None,            256 values in 86 bytes,  rows(2, 1, ik::iq2_kl);
    IQ1_KT:     ggml Some(158), safetensors None,            256 values in 56 bytes,  rows(4, 1, trellis::iq1_kt);
    IQ2_KT:     ggml Some(153), safetensors None,            256 values in 68 bytes,  rows(4, 1, trellis::iq2_kt);
    IQ3_KT:     ggml Some(154), safetensors None,            256 values in 100 bytes, rows(4, 1, trellis::iq3_kt);
    IQ4_KT:     ggml Some(155), safetensors None,            256 values in 128 bytes, rows(4, 1, trellis::iq4_kt);
    Q8_KV:      ggml Some(151), safetensors None,            32 values in 32 bytes,   rows(8, 1, interleaved::q8_kv);
    Q4_0_R8:    ggml Some(202), safetensors None,            32 values in 18 bytes,   rows(0, 8, interleaved::q4_0_r8);
    Q5_0_R4:    ggml Some(206), safetensors None,            32 values in 22 bytes,   rows(0, 4, interleaved::q5_0_r4);
    Q8_0_R8:    ggml Some(208), safetensors None,            32 values in 34 bytes,   rows(0, 8, interleaved::q8_0_r8);
    Q6_0_R4:    ggml Some(233), safetensors None,            32 values in 26 bytes,   rows(0, 4, interleaved::q6_0_r4);
    Q2_K_R4:    ggml Some(210), safetensors None,            256 values in 84 bytes,  rows(0, 4, interleaved::q2_k_r4);
    Q3_K_R4:    ggml Some(211), safetensors None,            256 values in 110 bytes, rows(0, 4, interleaved::q3_k_r4);
    Q4_K_R4:    ggml Some(212), safetensors None,            256 values in 144 bytes, rows(0, 4, interleaved::q4_k_r4);
    Q5_K_R4:    ggml Some(213), safetensors None,            256 values in 176 bytes, rows(0, 4, interleaved::q5_k_r4);
    Q6_K_R4:    ggml Some(214), safetensors None,            256 values in 210 bytes, rows(0, 4, interleaved::q6_k_r4);
    Q8_K_R8:    ggml Some(399), safetensors None,            256 values in 258 bytes, rows(0, 8, interleaved::q8_k_r8);
    Q8_K_R16:   ggml Some(397), safetensors None,            256 values in 258 bytes, rows(0, 16, interleaved::q8_k_r16);
    Q8_KV_R8:   ggml Some(398), safetensors None,            32 values in 32 bytes,   rows(4, 8, interleaved::q8_kv_r8);
    IQ4_NL_R4:  ggml Some(220), safetensors None,            32 values in 18 bytes,   rows(0, 4, interleaved::iq4_nl_r4);
    IQ4_XS_R8:  ggml Some(223), safetensors None,            256 values in 136 bytes, rows(0, 8, interleaved::iq4_xs_r8);
    IQ4_KS_R4:  ggml Some(344), safetensors None,            256 values in 136 bytes, rows(4, 4, interleaved::iq4_ks_r4);
    IQ5_KS_R4:  ggml Some(352), safetensors None,            256 values in 168 bytes, rows(4, 4, interleaved::iq5_ks_r4);
    IQ2_K_R4:   ggml Some(337), safetensors None,            256 values in 76 bytes,  rows(0, 4, interleaved::iq2_k_r4);
    IQ3_K_R4:   ggml Some(338), safetensors None,            256 values in 110 bytes, rows(0, 4, interleaved::iq3_k_r4);
    IQ4_K_R4:   ggml Some(339), safetensors None,            256 values in 144 bytes, rows(0, 4, interleaved::iq4_k_r4);
    IQ5_K_R4:   ggml Some(340), safetensors None,            256 values in 176 bytes, rows(0, 4, interleaved::iq5_k_r4);
    IQ2_XXS_R4: ggml Some(216), safetensors None,            256 values in 66 bytes,  rows(0, 4, interleaved_grids::iq2_xxs_r4);
    IQ2_XS_R4:  ggml Some(217), safetensors None,            256 values in 74 bytes,  rows(0, 4, interleaved_grids::iq2_xs_r4);
    IQ2_S_R4:   ggml Some(222), safetensors None,            256 values in 82 bytes,  rows(0, 4, interleaved_grids::iq2_s_r4);
    IQ3_XXS_R4: ggml Some(218), safetensors None,            256 values in 98 bytes,  rows(0, 4, interleaved_grids::iq3_xxs_r4);
    IQ3_S_R4:   ggml Some(221), safetensors None,            256 values in 110 bytes, rows(0, 4, interleaved_grids::iq3_s_r4);
    IQ1_S_R4:   ggml Some(219), safetensors None,            32 values in 6 bytes,    rows(2, 4, interleaved_grids::iq1_s_r4);
    IQ1_M_R4:   ggml Some(229), safetensors None,            32 values in 7 bytes,    rows(2, 4, interleaved_grids::iq1_m_r4);
}

/// Types that ggml or ik_llama.cpp has and this table has not in GGUF files: only for the names in messages. Of those for
/// weights none has a reference to be held against: ik_llama.cpp (8337e4cd) has no `dequantize_row` for BF16_R16, that of
/// MXFP4_R8 goes on behind the end of its rows, and those of IQ1_BN and IQ2_BN leave out the scale of the row. IQ2_BN_R4, whose
/// has it, is left out with them: these three hold the ternary weights of BitNet alone, whose architecture is no family here.
const NOT_READ: &[(u32, &str)] = &[
    (9, "Q8_1"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (36, "I2_S"),
    (134, "IQ1_BN"),
    (135, "IQ2_BN"),
    (230, "BF16_R16"),
    (335, "IQ2_BN_R4"),
    (353, "MXFP4_R8"),
];

/// One row of the table.
pub struct TypeInfo {
    /// The field's name of the type, as GGUF tools print it.
    pub name: &'static str,
    /// The type's number in GGUF files (`enum ggml_type`), where they have it.
    pub ggml_id: Option<u32>,
    /// The type's name in safetensors files, where they have it.
    pub safetensors: Option<&'static str>,
    /// Values in a block.
    pub block: usize,
    /// Bytes in a block.
    pub bytes: usize,
    /// From stored bytes to values. The bits are those of the reference (`dequantize_row_*` of ggml and ik_llama.cpp):
    /// every operation rounded to f32, none fused.
    pub unpack: Unpack,
}

/// How a type is unpacked.
#[derive(Clone, Copy)]
pub enum Unpack {
    /// Each block by itself: `src` is n * `bytes`, `dst` is n * `block` values.
    Blocks(fn(src: &[u8], dst: &mut [f32])),
    /// `interleaved` rows lie together: `meta` bytes for each of them, then their blocks, mixed, each `interleaved` *
    /// `bytes`.
    Rows {
        /// Bytes of a row beside its blocks (a scale).
        meta: usize,
        /// Rows that lie together.
        interleaved: usize,
        /// Unpacks some blocks of one row.
        unpack: fn(part: RowPart<'_>, dst: &mut [f32]),
    },
}

/// [`Unpack::Rows`].
const fn rows(meta: usize, interleaved: usize, unpack: fn(RowPart<'_>, &mut [f32])) -> Unpack {
    Unpack::Rows {
        meta,
        interleaved,
        unpack,
    }
}

/// Some blocks of rows that lie together.
#[derive(Clone, Copy)]
pub struct RowPart<'a> {
    /// What stands before the blocks, of all rows.
    pub meta: &'a [u8],
    /// Whole blocks, of all rows.
    pub blocks: &'a [u8],
    /// The row that is wanted, below the number of rows that lie together.
    pub row: usize,
}

impl StoredType {
    /// The type's row of the table.
    pub fn info(self) -> &'static TypeInfo {
        &TABLE[self as usize]
    }

    /// The field's name of the type, as GGUF tools print it.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// Rows that lie together; 1 for most types.
    pub fn interleaved(self) -> usize {
        match self.info().unpack {
            Unpack::Blocks(_) => 1,
            Unpack::Rows { interleaved, .. } => interleaved,
        }
    }

    /// Bytes of a row of `n_values` values (its share, where rows lie together); `None` when they are no whole number of
    /// blocks or the bytes overflow.
    ///
    /// ```
    /// use fathom_engine::format::StoredType;
    /// assert_eq!(StoredType::Q4_K.bytes_for(512), Some(288));
    /// assert_eq!(StoredType::Q4_K.bytes_for(500), None);
    /// assert_eq!(StoredType::F32.bytes_for(usize::MAX), None);
    /// ```
    pub fn bytes_for(self, n_values: usize) -> Option<usize> {
        let info = self.info();
        n_values.is_multiple_of(info.block).then_some(())?;
        let meta = match info.unpack {
            Unpack::Blocks(_) => 0,
            Unpack::Rows { meta, .. } => meta,
        };
        (n_values / info.block)
            .checked_mul(info.bytes)?
            .checked_add(meta)
    }

    /// Unpacks one row, or any number of blocks that need no row; the kernels have a faster way.
    ///
    /// ```
    /// use fathom_engine::format::StoredType;
    /// let mut values = [0.0; 2];
    /// StoredType::BF16.unpack(&[0x80, 0x3f, 0x00, 0xc0], &mut values);
    /// assert_eq!(values, [1.0, -2.0]);
    /// ```
    ///
    /// # Panics
    /// When `src` is not exactly [`bytes_for`](Self::bytes_for) of `dst.len()`, or the type's rows lie together.
    pub fn unpack(self, src: &[u8], dst: &mut [f32]) {
        assert_eq!(
            self.bytes_for(dst.len()),
            Some(src.len()),
            "{} of {} values",
            self.name(),
            dst.len()
        );
        assert_eq!(self.interleaved(), 1, "{} of one row", self.name());
        self.unpack_part(src, dst.len(), 0, 0, dst);
    }

    /// Unpacks `dst.len()` values from column `first` on, whole blocks, of a row of the matrix `data` with `cols` columns.
    ///
    /// # Panics
    /// When the matrix has no such row or columns.
    pub fn unpack_part(self, data: &[u8], cols: usize, row: usize, first: usize, dst: &mut [f32]) {
        let info = self.info();
        let blocks = |values: usize| values / info.block;
        let (first, n, all) = (blocks(first), blocks(dst.len()), blocks(cols));
        match info.unpack {
            Unpack::Blocks(unpack) => {
                let at = (row * all + first) * info.bytes;
                unpack(&data[at..][..n * info.bytes], dst);
            }
            Unpack::Rows {
                meta,
                interleaved,
                unpack,
            } => {
                let (meta, bytes) = (interleaved * meta, interleaved * info.bytes);
                let together = meta + all * bytes;
                let rows = &data[row / interleaved * together..][..together];
                let part = RowPart {
                    meta: &rows[..meta],
                    blocks: &rows[meta + first * bytes..][..n * bytes],
                    row: row % interleaved,
                };
                unpack(part, dst);
            }
        }
    }

    /// The type with this number in GGUF files.
    pub fn from_ggml_id(id: u32) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|t| t.info().ggml_id == Some(id))
    }

    /// The type with this name in safetensors files.
    pub fn from_safetensors(dtype: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|t| t.info().safetensors == Some(dtype))
    }

    /// The names of the types that are `wanted`, for messages: `F32, F16, ..`.
    pub fn names(wanted: impl Fn(&TypeInfo) -> bool) -> String {
        let names: Vec<_> = TABLE.iter().filter(|t| wanted(t)).map(|t| t.name).collect();
        names.join(", ")
    }

    /// A number in a GGUF file for a person: `23 (IQ4_XS)`.
    pub(crate) fn describe_ggml_id(id: u32) -> String {
        let known = TABLE
            .iter()
            .filter_map(|t| Some((t.ggml_id?, t.name)))
            .chain(NOT_READ.iter().copied());
        match known.into_iter().find(|&(n, _)| n == id) {
            Some((_, name)) => format!("{id} ({name})"),
            None => id.to_string(),
        }
    }
}

impl std::fmt::Display for StoredType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_its_number_and_name() {
        for &ty in StoredType::ALL {
            let info = ty.info();
            assert_eq!(info.name, format!("{ty:?}"));
            if let Some(id) = info.ggml_id {
                assert_eq!(StoredType::from_ggml_id(id), Some(ty));
            }
            if let Some(name) = info.safetensors {
                assert_eq!(StoredType::from_safetensors(name), Some(ty));
            }
            assert!(NOT_READ.iter().all(|&(id, name)| Some(id) != info.ggml_id
                && (name != info.name || info.ggml_id.is_none())));
        }
    }

    #[test]
    fn bytes_are_of_whole_blocks_and_do_not_overflow() {
        for &ty in StoredType::ALL {
            let (block, bytes) = (ty.info().block, ty.info().bytes);
            let meta = ty.bytes_for(0).unwrap();
            assert_eq!(ty.bytes_for(3 * block), Some(meta + 3 * bytes));
            if block > 1 {
                assert_eq!(ty.bytes_for(block + 1), None);
            }
            if bytes > block {
                assert_eq!(ty.bytes_for(usize::MAX / block * block), None);
            }
        }
    }
}
