//! GGUF v2 and v3, one file or a split set.

/// A metadata value. Integers and floats of all widths are widened; arrays keep one type.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Str(String),
    Array(Array),
}

/// An array of metadata values.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Array {
    Unsigned(Vec<u64>),
    Signed(Vec<i64>),
    Float(Vec<f64>),
    Bool(Vec<bool>),
    Str(Vec<String>),
}

/// The metadata of a GGUF file (of the first of a split set), by key.
pub type Metadata = std::collections::BTreeMap<String, Value>;
