//! The table of stored types. A type is one entry here and one function in `unpack.rs`.

use super::unpack;

/// Declares [`StoredType`] and its table from one list, so that a type stands in one place.
macro_rules! stored_types {
    ($($ty:ident: ggml $id:literal, safetensors $st:expr, $block:literal values in $bytes:literal bytes, $unpack:path;)*) => {
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
    F32:  ggml 0,  safetensors Some("F32"),  1 values in 4 bytes,     unpack::f32;
    F16:  ggml 1,  safetensors Some("F16"),  1 values in 2 bytes,     unpack::f16;
    BF16: ggml 30, safetensors Some("BF16"), 1 values in 2 bytes,     unpack::bf16;
    Q8_0: ggml 8,  safetensors None,         32 values in 34 bytes,   unpack::q8_0;
    Q4_0: ggml 2,  safetensors None,         32 values in 18 bytes,   unpack::q4_0;
    Q4_1: ggml 3,  safetensors None,         32 values in 20 bytes,   unpack::q4_1;
    Q5_0: ggml 6,  safetensors None,         32 values in 22 bytes,   unpack::q5_0;
    Q5_1: ggml 7,  safetensors None,         32 values in 24 bytes,   unpack::q5_1;
    Q4_K: ggml 12, safetensors None,         256 values in 144 bytes, unpack::q4_k;
    Q5_K: ggml 13, safetensors None,         256 values in 176 bytes, unpack::q5_k;
    Q6_K: ggml 14, safetensors None,         256 values in 210 bytes, unpack::q6_k;
}

/// Types that ggml has and this table has not: only for the names in messages.
const NOT_READ: &[(u32, &str)] = &[
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (41, "Q1_0"),
    (42, "Q2_0"),
];

/// One row of the table.
pub struct TypeInfo {
    /// The field's name of the type, as GGUF tools print it.
    pub name: &'static str,
    /// The type's number in GGUF files (`enum ggml_type`).
    pub ggml_id: u32,
    /// The type's name in safetensors files, where they have it.
    pub safetensors: Option<&'static str>,
    /// Values in a block.
    pub block: usize,
    /// Bytes in a block.
    pub bytes: usize,
    /// Unpack whole blocks: `src` is n * `bytes`, `dst` is n * `block` values.
    /// The bits are those of ggml's reference (`dequantize_row_*`): every operation rounded to f32, none fused.
    pub unpack: fn(src: &[u8], dst: &mut [f32]),
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

    /// Bytes of `n_values` stored values; `None` when they are no whole number of blocks or the bytes
    /// overflow.
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
        (n_values / info.block).checked_mul(info.bytes)
    }

    /// Unpacks `dst.len()` values from `src`; the fast way for one row is the kernels'.
    ///
    /// ```
    /// use fathom_engine::format::StoredType;
    /// let mut values = [0.0; 2];
    /// StoredType::BF16.unpack(&[0x80, 0x3f, 0x00, 0xc0], &mut values);
    /// assert_eq!(values, [1.0, -2.0]);
    /// ```
    ///
    /// # Panics
    /// When `src` is not exactly [`bytes_for`](Self::bytes_for) of `dst.len()`.
    pub fn unpack(self, src: &[u8], dst: &mut [f32]) {
        assert_eq!(
            self.bytes_for(dst.len()),
            Some(src.len()),
            "{} of {} values",
            self.name(),
            dst.len()
        );
        (self.info().unpack)(src, dst);
    }

    /// The type with this number in GGUF files.
    pub fn from_ggml_id(id: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|t| t.info().ggml_id == id)
    }

    /// The type with this name in safetensors files.
    pub fn from_safetensors(dtype: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|t| t.info().safetensors == Some(dtype))
    }

    /// The names of all types, for messages: `F32, F16, ..`.
    pub fn names() -> String {
        TABLE.iter().map(|t| t.name).collect::<Vec<_>>().join(", ")
    }

    /// A number in a GGUF file for a person: `23 (IQ4_XS)`.
    pub(crate) fn describe_ggml_id(id: u32) -> String {
        let known = TABLE
            .iter()
            .map(|t| (t.ggml_id, t.name))
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
            assert_eq!(StoredType::from_ggml_id(info.ggml_id), Some(ty));
            if let Some(name) = info.safetensors {
                assert_eq!(StoredType::from_safetensors(name), Some(ty));
            }
            assert!(
                NOT_READ
                    .iter()
                    .all(|&(id, name)| id != info.ggml_id && name != info.name)
            );
        }
    }

    #[test]
    fn bytes_are_of_whole_blocks_and_do_not_overflow() {
        for &ty in StoredType::ALL {
            let (block, bytes) = (ty.info().block, ty.info().bytes);
            assert_eq!(ty.bytes_for(0), Some(0));
            assert_eq!(ty.bytes_for(3 * block), Some(3 * bytes));
            if block > 1 {
                assert_eq!(ty.bytes_for(block + 1), None);
            }
            if bytes > block {
                assert_eq!(ty.bytes_for(usize::MAX / block * block), None);
            }
        }
    }
}
