//! The header of a GGUF file read front to back, every length checked against what is left of the file.

use super::{Array, Value};
use crate::{Error, Result};

/// Where the reader stands in one file.
pub(super) struct Cursor<'a> {
    file: &'a str,
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(file: &'a str, bytes: &'a [u8]) -> Self {
        Self {
            file,
            bytes,
            pos: 0,
        }
    }

    /// Bytes read so far.
    pub(super) fn pos(&self) -> usize {
        self.pos
    }

    /// An error at `field` of this file.
    pub(super) fn error(
        &self,
        field: impl std::fmt::Display,
        found: impl std::fmt::Display,
        expected: impl std::fmt::Display,
    ) -> Error {
        Error::input(self.file, field, found, expected)
    }

    pub(super) fn u32(&mut self, field: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    pub(super) fn u64(&mut self, field: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    /// A count of things of at least `min_bytes` each: refused when the file cannot hold them.
    pub(super) fn count(&mut self, field: &str, min_bytes: usize) -> Result<usize> {
        let found = self.u64(field)?;
        self.check_count(field, found, min_bytes)
    }

    /// A string; its length is 64 bits.
    pub(super) fn string(&mut self, field: &str) -> Result<&'a str> {
        let len = self.count(field, 1)?;
        let bytes = self.take(field, len)?;
        std::str::from_utf8(bytes).map_err(|e| {
            let start = &bytes[..bytes.len().min(40)];
            self.error(
                field,
                format!(
                    "\"{}\", not UTF-8 at byte {}",
                    start.escape_ascii(),
                    e.valid_up_to()
                ),
                "UTF-8",
            )
        })
    }

    /// A metadata value: its type, then the value. `key` is for messages.
    pub(super) fn value(&mut self, key: &str) -> Result<Value> {
        let id = self.u32(key)?;
        Ok(match id {
            0 => Value::Unsigned(u8::from_le_bytes(self.array(key)?).into()),
            1 => Value::Signed(i8::from_le_bytes(self.array(key)?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array(key)?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array(key)?).into()),
            4 => Value::Unsigned(self.u32(key)?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array(key)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array(key)?).into()),
            7 => Value::Bool(self.bool(key)?),
            8 => Value::Str(self.string(key)?.to_owned()),
            9 => Value::Array(self.array_value(key)?),
            10 => Value::Unsigned(self.u64(key)?),
            11 => Value::Signed(i64::from_le_bytes(self.array(key)?)),
            12 => Value::Float(f64::from_le_bytes(self.array(key)?)),
            _ => {
                return Err(self.error(key, format!("value type {id}"), "a value type of 0 to 12"));
            }
        })
    }

    fn array_value(&mut self, key: &str) -> Result<Array> {
        let id = self.u32(key)?;
        Ok(match id {
            0 => Array::Unsigned(self.elements(key, |[b]: [u8; 1]| b.into())?),
            1 => Array::Signed(self.elements(key, |b| i8::from_le_bytes(b).into())?),
            2 => Array::Unsigned(self.elements(key, |b| u16::from_le_bytes(b).into())?),
            3 => Array::Signed(self.elements(key, |b| i16::from_le_bytes(b).into())?),
            4 => Array::Unsigned(self.elements(key, |b| u32::from_le_bytes(b).into())?),
            5 => Array::Signed(self.elements(key, |b| i32::from_le_bytes(b).into())?),
            6 => Array::Float(self.elements(key, |b| f32::from_le_bytes(b).into())?),
            7 => {
                let n = self.count(key, 1)?;
                Array::Bool((0..n).map(|_| self.bool(key)).collect::<Result<_>>()?)
            }
            8 => {
                // Every string has at least its length.
                let n = self.count(key, 8)?;
                let mut strings = Vec::with_capacity(n);
                for _ in 0..n {
                    strings.push(self.string(key)?.to_owned());
                }
                Array::Str(strings)
            }
            9 => {
                return Err(self.error(
                    key,
                    "an array of arrays",
                    "an array of numbers or strings",
                ));
            }
            10 => Array::Unsigned(self.elements(key, u64::from_le_bytes)?),
            11 => Array::Signed(self.elements(key, i64::from_le_bytes)?),
            12 => Array::Float(self.elements(key, f64::from_le_bytes)?),
            _ => {
                let found = format!("an array of value type {id}");
                return Err(self.error(key, found, "a value type of 0 to 12"));
            }
        })
    }

    /// The elements of an array of numbers of `N` bytes.
    fn elements<T, const N: usize>(&mut self, key: &str, read: fn([u8; N]) -> T) -> Result<Vec<T>> {
        let n = self.count(key, N)?;
        let bytes = self.take(key, n * N)?;
        Ok(bytes.as_chunks::<N>().0.iter().map(|b| read(*b)).collect())
    }

    fn bool(&mut self, key: &str) -> Result<bool> {
        match self.array(key)? {
            [0] => Ok(false),
            [1] => Ok(true),
            [n] => Err(self.error(key, format!("{n} for a truth value"), "0 or 1")),
        }
    }

    fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N]> {
        Ok(*self.take(field, N)?.as_array().expect("took N bytes"))
    }

    fn take(&mut self, field: &str, len: usize) -> Result<&'a [u8]> {
        let left = &self.bytes[self.pos..];
        let taken = left.get(..len).ok_or_else(|| {
            let found = format!("the file's end after {} bytes", self.bytes.len());
            self.error(
                field,
                found,
                format!("{len} bytes at {} (is the file whole?)", self.pos),
            )
        })?;
        self.pos += len;
        Ok(taken)
    }

    fn check_count(&self, field: &str, found: u64, min_bytes: usize) -> Result<usize> {
        let most = (self.bytes.len() - self.pos) / min_bytes;
        match usize::try_from(found) {
            Ok(n) if n <= most => Ok(n),
            _ => Err(self.error(
                field,
                format!("a length of {found}"),
                format!(
                    "at most {most} (the file has {} bytes; is it whole?)",
                    self.bytes.len()
                ),
            )),
        }
    }
}
