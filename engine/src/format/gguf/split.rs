//! A GGUF model on disk: one file, or the set `NAME-00001-of-00003.gguf` .. that `gguf-split` writes.

use std::path::Path;

use super::super::printable;
use super::{Bytes, Gguf, Metadata, Value, read};
use crate::{Error, Result};

/// Opens the model at `path`: a single file, or the first of a split set, whose other files lie beside it.
/// Also gives the bytes of all files together.
///
/// # Errors
/// Those of [`read`], for each file; a later member of a set (the message names the first); a set whose
/// files are missing or do not belong together.
pub fn open(path: &Path) -> Result<(Gguf, u64)> {
    let file = path.display().to_string();
    let bytes = Bytes::map(path)?;
    let mut total_bytes = bytes.len() as u64;
    let mut gguf = read(&file, &bytes)?;
    let Some(set) = Member::of(&file, &gguf.metadata)? else {
        return Ok((gguf, total_bytes));
    };
    let stem = set.stem(path)?;
    if set.no != 0 {
        let first = path.with_file_name(member_name(stem, 0, set.count));
        let found = format!("file {} of {} of a split set", set.no + 1, set.count);
        return Err(Error::input(
            file,
            "split.no",
            found,
            format!("the first: {}", first.display()),
        ));
    }
    for no in 1..set.count {
        let path = path.with_file_name(member_name(stem, no, set.count));
        let file = path.display().to_string();
        if !path.try_exists().unwrap_or(false) {
            let expected = format!("file {} of {} of the set", u32::from(no) + 1, set.count);
            return Err(Error::input(file, "file", "no such file", expected));
        }
        let bytes = Bytes::map(&path)?;
        total_bytes += bytes.len() as u64;
        let part = read(&file, &bytes)?;
        match Member::of(&file, &part.metadata)? {
            Some(member) if member.no == no && member.count == set.count => {}
            Some(member) => {
                let found = format!("file {} of {}", u32::from(member.no) + 1, member.count);
                let expected = format!("file {} of {}", u32::from(no) + 1, set.count);
                return Err(Error::input(file, "split.no", found, expected));
            }
            None => {
                return Err(Error::input(
                    file,
                    "split.no",
                    "no such key",
                    "a member of a split set",
                ));
            }
        }
        for (name, tensor) in part.tensors {
            if gguf.tensors.insert(name.clone(), tensor).is_some() {
                let field = format!("tensor {}: name", printable(&name));
                return Err(Error::input(
                    file,
                    field,
                    "the tensor twice in the set",
                    "each tensor once",
                ));
            }
        }
    }
    if let Some(n) = set.n_tensors
        && n != gguf.tensors.len() as u64
    {
        let found = format!("{} tensors in the set", gguf.tensors.len());
        return Err(Error::input(file, "split.tensors.count", found, n));
    }
    Ok((gguf, total_bytes))
}

/// What a file of a split set says of itself.
struct Member {
    /// Which file, from 0.
    no: u16,
    /// Files of the set, at least 2.
    count: u16,
    /// Tensors of the whole set.
    n_tensors: Option<u64>,
}

impl Member {
    /// `None` for a file that is a whole model.
    fn of(file: &str, metadata: &Metadata) -> Result<Option<Self>> {
        let Some(count) = number(file, metadata, "split.count", u16::MAX.into())? else {
            return Ok(None);
        };
        if count < 2 {
            return Ok(None);
        }
        let no = number(file, metadata, "split.no", count - 1)?.ok_or_else(|| {
            Error::input(
                file,
                "split.no",
                "no such key",
                "the file's number in its set",
            )
        })?;
        let n_tensors = number(file, metadata, "split.tensors.count", i32::MAX as u64)?;
        // Both fit: `number` holds them to u16::MAX.
        Ok(Some(Self {
            no: no as u16,
            count: count as u16,
            n_tensors,
        }))
    }

    /// The part of the file's name before `-00001-of-00003.gguf`.
    fn stem<'a>(&self, path: &'a Path) -> Result<&'a str> {
        let name = path.file_name().and_then(|n| n.to_str());
        let suffix = member_name("", self.no, self.count);
        name.and_then(|n| n.strip_suffix(suffix.as_str()))
            .ok_or_else(|| {
                let expected = format!(
                    "a name that ends in {suffix} (the files of a split set are found by name)"
                );
                Error::input(
                    path.display(),
                    "file name",
                    name.unwrap_or("no UTF-8"),
                    expected,
                )
            })
    }
}

fn member_name(stem: &str, no: u16, count: u16) -> String {
    format!("{stem}-{:05}-of-{count:05}.gguf", u32::from(no) + 1)
}

/// A whole number of at most `most`.
fn number(file: &str, metadata: &Metadata, key: &str, most: u64) -> Result<Option<u64>> {
    let found = match metadata.get(key) {
        None => return Ok(None),
        Some(&Value::Unsigned(n)) => Ok(n),
        Some(&Value::Signed(n)) => u64::try_from(n).map_err(|_| n.to_string()),
        Some(_) => Err("another type of value".into()),
    };
    match found {
        Ok(n) if n <= most => Ok(Some(n)),
        Ok(n) => Err(Error::input(file, key, n, format!("at most {most}"))),
        Err(found) => Err(Error::input(file, key, found, "a number of at least 0")),
    }
}
