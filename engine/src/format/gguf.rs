//! GGUF v2 and v3, one file or a split set.
//!
//! Layout (ggml's `docs/gguf.md`): magic, version, counts, metadata, a list of tensors (name, shape, type, offset),
//! then the tensors' data from the next multiple of `general.alignment`. Little endian.

mod cursor;
mod split;
pub mod write;

use std::collections::BTreeMap;

use super::{Bytes, StoredType, Tensor, find_overlap, printable, show_shape, tensor_bytes};
use crate::{Error, Result};
use cursor::Cursor;

pub use split::open;

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
pub type Metadata = BTreeMap<String, Value>;

/// What a GGUF file, or a split set, holds.
#[derive(Debug)]
pub struct Gguf {
    /// Metadata; of a split set, the first file's.
    pub metadata: Metadata,
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
}

/// The first bytes of every GGUF file.
pub const MAGIC: &[u8; 4] = b"GGUF";
/// Most dimensions of a tensor (`GGML_MAX_DIMS`).
const MAX_DIMS: u32 = 4;
/// Longest key and tensor name, in bytes (the format's own limit on keys).
const MAX_NAME: usize = 65_535;

/// Reads one file of GGUF, which may be a member of a split set. `file` is its name for messages.
///
/// # Errors
/// Anything in the header that is not as the format has it, and every tensor whose type is unknown or whose
/// data do not lie in the file.
pub fn read(file: &str, bytes: &Bytes) -> Result<Gguf> {
    let mut cursor = Cursor::new(file, bytes);
    check_version(file, bytes, &mut cursor)?;
    // A tensor takes at least a name's length, n_dims, one dimension, type and offset; a key its length, a type and a byte.
    let n_tensors = cursor.count("tensor_count", 8 + 4 + 8 + 4 + 8)?;
    let n_keys = cursor.count("metadata_kv_count", 8 + 4 + 1)?;

    let mut metadata = Metadata::new();
    for i in 0..n_keys {
        let key = name(&mut cursor, &format!("metadata key {i}"))?;
        let value = cursor.value(&printable(key))?;
        if metadata.insert(key.to_owned(), value).is_some() {
            return Err(cursor.error(printable(key), "the key twice", "each key once"));
        }
    }
    let alignment = alignment(file, &metadata)?;

    let mut entries = Vec::with_capacity(n_tensors);
    for i in 0..n_tensors {
        entries.push(Entry::read(&mut cursor, i)?);
    }
    let tensors = place(file, bytes, cursor.pos(), alignment, &entries)?;
    Ok(Gguf { metadata, tensors })
}

fn check_version(file: &str, bytes: &[u8], cursor: &mut Cursor) -> Result<()> {
    if !bytes.starts_with(MAGIC) {
        let found = super::describe_start(bytes);
        return Err(Error::input(file, "magic", found, "\"GGUF\""));
    }
    cursor.u32("magic")?;
    match cursor.u32("version")? {
        2 | 3 => Ok(()),
        v if v & 0xffff == 0 && v != 0 => {
            let found = format!("{} in big-endian order", v.swap_bytes());
            Err(cursor.error(
                "version",
                found,
                "a little-endian file (gguf-convert-endian converts)",
            ))
        }
        v => Err(cursor.error("version", v, "2 or 3")),
    }
}

fn name<'a>(cursor: &mut Cursor<'a>, field: &str) -> Result<&'a str> {
    let name = cursor.string(field)?;
    match name.len() {
        1..=MAX_NAME => Ok(name),
        n => Err(cursor.error(
            field,
            format!("a name of {n} bytes"),
            format!("1 to {MAX_NAME}"),
        )),
    }
}

fn alignment(file: &str, metadata: &Metadata) -> Result<usize> {
    const KEY: &str = "general.alignment";
    match metadata.get(KEY) {
        None => Ok(32),
        Some(&Value::Unsigned(n)) if n.is_power_of_two() && n <= 1 << 31 => Ok(n as usize),
        Some(Value::Unsigned(n)) => Err(Error::input(file, KEY, n, "a power of two up to 2^31")),
        Some(_) => Err(Error::input(
            file,
            KEY,
            "another type of value",
            "an unsigned number",
        )),
    }
}

/// A tensor as the header lists it.
struct Entry<'a> {
    name: &'a str,
    ty: StoredType,
    /// Row-major: the file's order reversed.
    shape: Vec<usize>,
    offset: u64,
}

impl<'a> Entry<'a> {
    fn read(cursor: &mut Cursor<'a>, index: usize) -> Result<Self> {
        let name = name(cursor, &format!("name of tensor {index}"))?;
        let field = |what: &str| format!("tensor {}: {what}", printable(name));

        let n_dims = cursor.u32(&field("dimensions"))?;
        if !(1..=MAX_DIMS).contains(&n_dims) {
            return Err(cursor.error(field("dimensions"), n_dims, format!("1 to {MAX_DIMS}")));
        }
        let mut shape = Vec::with_capacity(n_dims as usize);
        for _ in 0..n_dims {
            let n = cursor.u64(&field("shape"))?;
            let n = usize::try_from(n).ok().filter(|&n| n > 0);
            shape.push(
                n.ok_or_else(|| cursor.error(field("shape"), "a dimension of 0", "at least 1"))?,
            );
        }
        shape.reverse();

        let id = cursor.u32(&field("type"))?;
        let ty = StoredType::from_ggml_id(id).ok_or_else(|| {
            let expected = format!("one of {}", StoredType::names(|t| t.ggml_id.is_some()));
            cursor.error(field("type"), StoredType::describe_ggml_id(id), expected)
        })?;
        let offset = cursor.u64(&field("offset"))?;
        Ok(Self {
            name,
            ty,
            shape,
            offset,
        })
    }
}

/// The listed tensors with their data, which start at the first multiple of `alignment` from `header_end`.
fn place(
    file: &str,
    bytes: &Bytes,
    header_end: usize,
    alignment: usize,
    entries: &[Entry],
) -> Result<BTreeMap<String, Tensor>> {
    let data_start = header_end
        .checked_next_multiple_of(alignment)
        .unwrap_or(usize::MAX);
    let mut tensors = BTreeMap::new();
    let mut ranges = Vec::with_capacity(entries.len());
    for entry in entries {
        let Entry {
            name,
            ty,
            ref shape,
            offset,
        } = *entry;
        let error = |what: &str, found: String, expected: String| {
            Error::input(
                file,
                format!("tensor {}: {what}", printable(name)),
                found,
                expected,
            )
        };
        let size = tensor_bytes(ty, shape)
            .map_err(|expected| error("shape", show_shape(shape), expected))?;
        if offset % alignment as u64 != 0 {
            return Err(error(
                "offset",
                offset.to_string(),
                format!("a multiple of {alignment}"),
            ));
        }
        let start = usize::try_from(offset)
            .ok()
            .and_then(|o| o.checked_add(data_start));
        let range = start.and_then(|s| Some(s..s.checked_add(size)?));
        let placed = range.and_then(|r| Some((bytes.slice(r.clone())?, r)));
        let Some((data, range)) = placed else {
            return Err(error(
                "data",
                format!("{size} bytes at offset {offset}"),
                format!(
                    "to end within the {} bytes after the header (is the file whole?)",
                    bytes.len().saturating_sub(data_start)
                ),
            ));
        };
        ranges.push((range, name));
        let tensor = Tensor {
            name: name.to_owned(),
            ty,
            shape: shape.clone(),
            data,
        };
        if tensors.insert(name.to_owned(), tensor).is_some() {
            return Err(error(
                "name",
                "the tensor twice".into(),
                "each tensor once".into(),
            ));
        }
    }
    if let Some((a, b)) = find_overlap(&mut ranges) {
        let found = format!("the bytes of tensor {} too", printable(b));
        return Err(Error::input(
            file,
            format!("tensor {}: data", printable(a)),
            found,
            "tensors that do not overlap",
        ));
    }
    Ok(tensors)
}
