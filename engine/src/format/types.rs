//! The table of stored types. A type is one entry: name, block size, bytes a block, unpack.

/// How values are stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(non_camel_case_types, missing_docs)]
pub enum StoredType {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q4_K,
    Q5_K,
    Q6_K,
}

/// One row of the table.
pub struct TypeInfo {
    /// The field's name of the type, as GGUF tools print it.
    pub name: &'static str,
    /// Values in a block.
    pub block: usize,
    /// Bytes in a block.
    pub bytes: usize,
    /// Unpack whole blocks: `src` is n * bytes, `dst` is n * block values.
    pub unpack: fn(src: &[u8], dst: &mut [f32]),
}
