//! GGUF v3 written: metadata as it stands in another file, tensors one after the other.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::super::{StoredType, tensor_bytes};
use super::{Array, Bytes, Cursor, MAGIC, Value, name};
use crate::{Error, Result};

/// A key with its value as the file has them, bytes and all.
pub struct Pair {
    /// The key.
    pub key: String,
    /// Key, type and value, encoded.
    pub bytes: Vec<u8>,
}

impl Pair {
    /// A 32-bit unsigned number.
    pub fn u32(key: &str, value: u32) -> Self {
        Self::new(key, &Value::Unsigned(value.into()))
    }

    /// A value of any kind; numbers in 32 bits, as the readers of nearly all keys want them.
    pub fn new(key: &str, value: &Value) -> Self {
        let mut bytes = Vec::new();
        string(key, &mut bytes);
        let at = bytes.len();
        bytes.extend([0; 4]);
        let ty: u32 = match value {
            Value::Unsigned(n) => number(4, &(*n as u32).to_le_bytes(), &mut bytes),
            Value::Signed(n) => number(5, &(*n as i32).to_le_bytes(), &mut bytes),
            Value::Float(x) => number(6, &(*x as f32).to_le_bytes(), &mut bytes),
            Value::Bool(b) => number(7, &[u8::from(*b)], &mut bytes),
            Value::Str(s) => {
                string(s, &mut bytes);
                8
            }
            Value::Array(array) => {
                list(array, &mut bytes);
                9
            }
        };
        bytes[at..at + 4].copy_from_slice(&ty.to_le_bytes());
        Self {
            key: key.into(),
            bytes,
        }
    }
}

fn number(ty: u32, value: &[u8], out: &mut Vec<u8>) -> u32 {
    out.extend(value);
    ty
}

fn string(s: &str, out: &mut Vec<u8>) {
    out.extend((s.len() as u64).to_le_bytes());
    out.extend(s.as_bytes());
}

/// Type, length and elements of an array.
fn list(array: &Array, out: &mut Vec<u8>) {
    let (ty, len): (u32, usize) = match array {
        Array::Unsigned(v) => (4, v.len()),
        Array::Signed(v) => (5, v.len()),
        Array::Float(v) => (6, v.len()),
        Array::Bool(v) => (7, v.len()),
        Array::Str(v) => (8, v.len()),
    };
    out.extend(ty.to_le_bytes());
    out.extend((len as u64).to_le_bytes());
    match array {
        Array::Unsigned(v) => out.extend(v.iter().flat_map(|n| (*n as u32).to_le_bytes())),
        Array::Signed(v) => out.extend(v.iter().flat_map(|n| (*n as i32).to_le_bytes())),
        Array::Float(v) => out.extend(v.iter().flat_map(|x| (*x as f32).to_le_bytes())),
        Array::Bool(v) => out.extend(v.iter().map(|b| u8::from(*b))),
        Array::Str(v) => v.iter().for_each(|s| string(s, out)),
    }
}

/// The metadata of one file, encoded as they are there and in their order. `file` is its name for messages.
///
/// # Errors
/// As [`read`](super::read).
pub fn pairs(file: &str, bytes: &Bytes) -> Result<Vec<Pair>> {
    let mut cursor = Cursor::new(file, bytes);
    super::check_version(file, bytes, &mut cursor)?;
    cursor.u64("tensor_count")?;
    let n = cursor.count("metadata_kv_count", 8 + 4 + 1)?;
    let mut pairs = Vec::with_capacity(n);
    for i in 0..n {
        let start = cursor.pos();
        let key = name(&mut cursor, &format!("metadata key {i}"))?.to_owned();
        cursor.value(&key)?;
        pairs.push(Pair {
            key,
            bytes: bytes[start..cursor.pos()].to_vec(),
        });
    }
    Ok(pairs)
}

/// A tensor that is to be written.
pub struct Planned {
    /// Its name.
    pub name: String,
    /// The type that it gets.
    pub ty: StoredType,
    /// Row-major shape.
    pub shape: Vec<usize>,
}

/// Writes a file: `data(i, sink)` gives the bytes of tensor `i` in pieces. Under its name only when it is whole.
///
/// # Errors
/// What `data` says, a type that GGUF does not have, and what the file system says.
pub fn write(
    path: &Path,
    pairs: &[Pair],
    alignment: usize,
    tensors: &[Planned],
    mut data: impl FnMut(usize, &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
) -> Result<u64> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    let written = (|| {
        let file = File::create(part).map_err(|e| Error::io(part, e))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let mut n_written = 0u64;
        let mut put = |bytes: &[u8]| {
            n_written += bytes.len() as u64;
            out.write_all(bytes).map_err(|e| Error::io(part, e))
        };
        let (head, sizes) = header(pairs, alignment, tensors)?;
        put(&head)?;
        for (i, size) in sizes.into_iter().enumerate() {
            let mut n = 0;
            data(i, &mut |bytes| {
                n += bytes.len();
                put(bytes)
            })?;
            debug_assert_eq!(n, size, "{}", tensors[i].name);
            put(&vec![0; size.next_multiple_of(alignment) - size])?;
        }
        out.flush().map_err(|e| Error::io(part, e))?;
        Ok(n_written)
    })();
    let named = written.and_then(|n| {
        std::fs::rename(part, path).map_err(|e| Error::io(path, e))?;
        Ok(n)
    });
    if named.is_err() {
        // What could not be finished is of no use; that it cannot be removed changes nothing of the error.
        let _ = std::fs::remove_file(part);
    }
    named
}

/// All before the data, padded, and the bytes of every tensor.
fn header(pairs: &[Pair], alignment: usize, tensors: &[Planned]) -> Result<(Vec<u8>, Vec<usize>)> {
    let mut out = MAGIC.to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((pairs.len() as u64).to_le_bytes());
    pairs.iter().for_each(|pair| out.extend(&pair.bytes));
    let mut offset = 0u64;
    let mut sizes = Vec::with_capacity(tensors.len());
    for t in tensors {
        let fail = |what: String| Error::Unsupported(format!("tensor {}: {what}", t.name));
        let id = t.ty.info().ggml_id;
        let id = id.ok_or_else(|| fail(format!("GGUF has no type {}", t.ty)))?;
        let size = tensor_bytes(t.ty, &t.shape).map_err(fail)?;
        out.extend((t.name.len() as u64).to_le_bytes());
        out.extend(t.name.as_bytes());
        out.extend((t.shape.len() as u32).to_le_bytes());
        for &n in t.shape.iter().rev() {
            out.extend((n as u64).to_le_bytes());
        }
        out.extend(id.to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset += size.next_multiple_of(alignment) as u64;
        sizes.push(size);
    }
    out.resize(out.len().next_multiple_of(alignment), 0);
    Ok((out, sizes))
}
