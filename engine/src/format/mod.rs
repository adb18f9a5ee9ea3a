//! Checkpoints: what is stored, where, and as which type. Nothing here computes.
//!
//! | file | holds |
//! |---|---|
//! | `types.rs`, `unpack/` | the table of stored types: block size, bytes, unpack |
//! | `bytes.rs` | a range of a mapped file or of the program itself |
//! | `gguf.rs`, `gguf/` | GGUF v2 and v3, single and split |
//! | `safetensors.rs` | one safetensors file or a sharded set |
//! | `checkpoint.rs` | a folder or file opened: configuration, tensors, tokenizer files |
//!
//! The files come from strangers. Every count, offset, length, type and shape is checked before use; what is
//! wrong is one [`Error::Input`](crate::Error::Input), never a panic, and nothing is allocated that is not a small
//! multiple of the file's own size.

pub mod bytes;
pub mod checkpoint;
pub mod gguf;
pub mod safetensors;
pub mod types;
mod unpack;

pub use bytes::Bytes;
pub use checkpoint::{Checkpoint, Config};
pub use types::StoredType;

/// A tensor as stored.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Name in the file.
    pub name: String,
    /// Type of the stored values.
    pub ty: StoredType,
    /// Row-major shape, outermost dimension first (PyTorch's order; GGUF's is reversed on reading).
    pub shape: Vec<usize>,
    /// The stored bytes: exactly `ty.bytes_for(row)` for each row, the last dimension a whole number of blocks.
    /// Nothing is promised of their alignment.
    pub data: Bytes,
}

/// Bytes of a tensor of this row-major shape; `Err` says what is wrong with the shape.
fn tensor_bytes(ty: StoredType, shape: &[usize]) -> Result<usize, String> {
    let row = shape.last().copied().unwrap_or(1);
    let row_bytes = ty.bytes_for(row).ok_or_else(|| {
        format!(
            "rows of a multiple of {} values of type {ty}",
            ty.info().block
        )
    })?;
    let rows = &shape[..shape.len().saturating_sub(1)];
    let together = ty.interleaved();
    if !rows.last().unwrap_or(&1).is_multiple_of(together) {
        return Err(format!("a multiple of {together} rows of type {ty}"));
    }
    rows.iter()
        .try_fold(row_bytes, |bytes, &n| bytes.checked_mul(n))
        .ok_or_else(|| "a shape whose size can be counted".to_string())
}

/// Two ranges that overlap, if there are any (an empty one inside another counts). Sorts.
fn find_overlap<'a>(
    ranges: &mut [(std::ops::Range<usize>, &'a str)],
) -> Option<(&'a str, &'a str)> {
    ranges.sort_by_key(|(range, _)| (range.start, range.end));
    let pair = ranges
        .windows(2)
        .find(|pair| pair[0].0.end > pair[1].0.start)?;
    Some((pair[0].1, pair[1].1))
}

/// A name from a file, fit for one line of a terminal: control characters escaped, cut after 100 characters.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(100) {
        // Also what reorders or hides text: zero-width and directional characters.
        if c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    if text.chars().nth(100).is_some() {
        shown.push_str("..");
    }
    shown
}

/// A shape for a message.
fn show_shape(shape: &[usize]) -> String {
    printable(&format!("{shape:?}"))
}

/// What a file that is no checkpoint seems to be, from its first bytes.
fn describe_start(bytes: &[u8]) -> String {
    let known: &[(&[u8], &str)] = &[
        (
            b"version https://git-lfs",
            "a git-LFS pointer in place of the file (git lfs pull fetches it)",
        ),
        (b"GGUF", "a GGUF file"),
        (b"FUGG", "a big-endian GGUF file"),
        (b"tjgg", "a ggml file from before GGUF"),
        (b"fmgg", "a ggml file from before GGUF"),
        (b"lmgg", "a ggml file from before GGUF"),
        (b"PK\x03\x04", "a zip archive (PyTorch's format?)"),
        (b"\x80\x02", "a Python pickle (PyTorch's format?)"),
        (b"<!DOCTYPE", "a web page"),
        (b"<!doctype", "a web page"),
        (b"<html", "a web page"),
    ];
    if bytes.is_empty() {
        return "an empty file".into();
    }
    match known.iter().find(|(start, _)| bytes.starts_with(start)) {
        Some((_, what)) => (*what).into(),
        None if bytes.get(8) == Some(&b'{') => "what looks like a safetensors file".into(),
        None => format!("\"{}\"", bytes[..bytes.len().min(8)].escape_ascii()),
    }
}
