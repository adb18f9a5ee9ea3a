//! Safetensors: one file, or a sharded set with its index.
//!
//! Layout: the header's length as u64 little endian, the header as JSON
//! (`{"name": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}, "__metadata__": {..}}`), then the data,
//! which the tensors cover without gap or overlap. Read here and not by the crate of the same name, which knows no
//! dtypes but its own and takes the last of two tensors of one name; the tests compare the two.

use std::borrow::Cow;
use std::collections::{BTreeMap, btree_map::Entry as Slot};
use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::{
    Bytes, StoredType, Tensor, describe_start, find_overlap, printable, show_shape, tensor_bytes,
};
use crate::{Error, Result};

/// The file of a model that is not sharded.
pub const SINGLE: &str = "model.safetensors";
/// The index of a sharded model.
pub const INDEX: &str = "model.safetensors.index.json";
/// Longest header that the format allows, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// What a safetensors file, or a sharded set, holds.
#[derive(Debug, Default)]
pub struct Safetensors {
    /// Tensors of a type in the table, by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// Tensors of any other type: name and dtype.
    pub unreadable: BTreeMap<String, String>,
}

impl Safetensors {
    fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name) || self.unreadable.contains_key(name)
    }
}

/// Reads one file. `file` is its name for messages.
///
/// # Errors
/// A header that is not as the format has it, and data that do not fit what the header says of them.
pub fn read(file: &str, bytes: &Bytes) -> Result<Safetensors> {
    let (header, data_start) = header(file, bytes)?;
    let ByName::<Entry>(entries) = serde_json::from_slice(header).map_err(|e| {
        let expected = "JSON of names with dtype, shape and data_offsets";
        Error::input(file, "header", printable(&e.to_string()), expected)
    })?;
    let n_data = bytes.len() - data_start;
    let mut out = Safetensors::default();
    let mut ranges = Vec::with_capacity(entries.len());
    let mut covered = 0;
    for (name, entry) in &entries {
        let error = |what: &str, found: String, expected: String| {
            Error::input(
                file,
                format!("tensor {}: {what}", printable(name)),
                found,
                expected,
            )
        };
        let [start, end] = entry.data_offsets;
        let range = data_range(start, end, n_data).ok_or_else(|| {
            let expected =
                format!("a range within the {n_data} bytes of data (is the file whole?)");
            error("data_offsets", format!("[{start}, {end}]"), expected)
        })?;
        covered += range.len() as u128;
        match StoredType::from_safetensors(&entry.dtype) {
            Some(ty) => {
                let size = tensor_bytes(ty, &entry.shape)
                    .map_err(|expected| error("shape", show_shape(&entry.shape), expected))?;
                if size != range.len() {
                    let found = format!("{} bytes", range.len());
                    let expected = format!("{size} for {ty} {}", show_shape(&entry.shape));
                    return Err(error("data_offsets", found, expected));
                }
                let data = bytes
                    .slice(data_start + range.start..data_start + range.end)
                    .ok_or_else(|| error("data", "nothing".into(), "bytes of the file".into()))?;
                let shape = entry.shape.clone();
                let tensor = Tensor {
                    name: name.to_string(),
                    ty,
                    shape,
                    data,
                };
                out.tensors.insert(name.to_string(), tensor);
            }
            None => {
                out.unreadable
                    .insert(name.to_string(), printable(&entry.dtype));
            }
        }
        ranges.push((range, &**name));
    }
    if let Some((a, b)) = find_overlap(&mut ranges) {
        let found = format!("the bytes of tensor {} too", printable(b));
        let field = format!("tensor {}: data_offsets", printable(a));
        return Err(Error::input(
            file,
            field,
            found,
            "tensors that do not overlap",
        ));
    }
    // No overlap and all within the data: so equal sums mean no gap.
    if covered != n_data as u128 {
        let expected = format!("the {covered} that the tensors take");
        return Err(Error::input(
            file,
            "data",
            format!("{n_data} bytes"),
            expected,
        ));
    }
    Ok(out)
}

/// The header's JSON, and where the data start.
fn header<'a>(file: &str, bytes: &'a [u8]) -> Result<(&'a [u8], usize)> {
    let Some((len, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(Error::input(
            file,
            "file",
            describe_start(bytes),
            "a safetensors file",
        ));
    };
    let len = u64::from_le_bytes(*len);
    let most = MAX_HEADER.min(rest.len() as u64);
    if rest.first() != Some(&b'{') {
        return Err(Error::input(
            file,
            "header",
            describe_start(bytes),
            "a safetensors file",
        ));
    }
    if len > most {
        let expected = format!("at most {most} (is the file whole?)");
        return Err(Error::input(file, "header length", len, expected));
    }
    // Not above the file's size.
    let len = len as usize;
    Ok((&rest[..len], 8 + len))
}

/// `None` when the range does not lie in the data.
fn data_range(start: u64, end: u64, n_data: usize) -> Option<Range<usize>> {
    let (start, end) = (usize::try_from(start).ok()?, usize::try_from(end).ok()?);
    (start <= end && end <= n_data).then_some(start..end)
}

/// Opens the weights of a Hugging Face folder: [`SINGLE`] where there is one, otherwise the shards of [`INDEX`].
/// Also gives the bytes of all files together.
///
/// # Errors
/// Those of [`read`], for each file; no weights in the folder; an index that is not as its shards are.
pub fn open(folder: &Path) -> Result<(Safetensors, u64)> {
    let single = folder.join(SINGLE);
    if exists(&single) {
        let bytes = Bytes::map(&single)?;
        return Ok((
            read(&single.display().to_string(), &bytes)?,
            bytes.len() as u64,
        ));
    }
    let index_path = folder.join(INDEX);
    if exists(&index_path) {
        return open_sharded(folder, &index_path);
    }
    let found = match first_weights(folder) {
        Some(name) => format!("only {name}"),
        None => "no weights".into(),
    };
    Err(Error::input(
        folder.display(),
        "weights",
        found,
        format!("{SINGLE} or {INDEX}"),
    ))
}

fn open_sharded(folder: &Path, index_path: &Path) -> Result<(Safetensors, u64)> {
    let index_file = index_path.display().to_string();
    let bytes = Bytes::map(index_path)?;
    let Index {
        weight_map: ByName(weight_map),
    } = serde_json::from_slice(&bytes).map_err(|e| {
        let found = if bytes.first() == Some(&b'{') {
            printable(&e.to_string())
        } else {
            describe_start(&bytes)
        };
        Error::input(
            &index_file,
            "index",
            found,
            "JSON with a weight_map of tensors to files",
        )
    })?;
    if weight_map.is_empty() {
        return Err(Error::input(
            &index_file,
            "weight_map",
            "no tensors",
            "tensors with their files",
        ));
    }
    let mut shards: Vec<&str> = weight_map.values().map(|Text(file)| &**file).collect();
    shards.sort_unstable();
    shards.dedup();

    let mut out = Safetensors::default();
    let mut total_bytes = 0;
    for shard in shards {
        // A name alone: a downloaded index opens nothing outside its folder.
        if shard.contains(['/', '\\', '\0']) || matches!(shard, "" | "." | "..") {
            let expected = "a file's name without a folder";
            return Err(Error::input(
                &index_file,
                "weight_map",
                printable(shard),
                expected,
            ));
        }
        let path = folder.join(shard);
        if !exists(&path) {
            let expected = format!("the shard that {INDEX} names");
            return Err(Error::input(
                path.display(),
                "file",
                "no such file",
                expected,
            ));
        }
        let file = path.display().to_string();
        let bytes = Bytes::map(&path)?;
        total_bytes += bytes.len() as u64;
        let part = read(&file, &bytes)?;
        let twice = part
            .tensors
            .keys()
            .chain(part.unreadable.keys())
            .find(|name| out.contains(name));
        if let Some(name) = twice {
            let field = format!("tensor {}: name", printable(name));
            return Err(Error::input(
                &file,
                field,
                "the tensor in another shard too",
                "each tensor once",
            ));
        }
        let listed = weight_map.iter().filter(|(_, Text(file))| *file == shard);
        for (name, _) in listed {
            if !part.contains(name) {
                let field = format!("tensor {}", printable(name));
                return Err(Error::input(
                    &file,
                    field,
                    "no such tensor",
                    format!("it, as {INDEX} says"),
                ));
            }
        }
        out.tensors.extend(part.tensors);
        out.unreadable.extend(part.unreadable);
    }
    Ok((out, total_bytes))
}

/// Whether something stands at the path; a link that leads nowhere does not.
fn exists(path: &Path) -> bool {
    path.try_exists().unwrap_or(false)
}

/// The name of any file of weights in the folder, for a message.
fn first_weights(folder: &Path) -> Option<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            [".safetensors", ".gguf", ".bin", ".pt", ".pth"]
                .iter()
                .any(|end| name.ends_with(end))
        })
        .collect();
    names.sort_unstable();
    names.first().map(|name| printable(name))
}

/// A tensor as the header lists it.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// The index of a sharded set; its `metadata` is of no use here.
#[derive(Deserialize)]
struct Index<'a> {
    #[serde(borrow)]
    weight_map: ByName<'a, Text<'a>>,
}

/// A JSON object by tensor name, [`METADATA`] left out; a name that stands there twice is an error.
struct ByName<'a, V>(BTreeMap<Cow<'a, str>, V>);

/// The one name that is no tensor's.
const METADATA: &str = "__metadata__";

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for ByName<'a, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ByName(BTreeMap::new()))
    }
}

impl<'de: 'a, 'a, V: Deserialize<'de>> Visitor<'de> for ByName<'a, V> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object by tensor name")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(Text(name)) = map.next_key()? {
            if name == METADATA {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            match self.0.entry(name) {
                Slot::Vacant(slot) => slot.insert(map.next_value()?),
                Slot::Occupied(slot) => {
                    let message = format!("tensor {} twice", printable(slot.key()));
                    return Err(A::Error::custom(message));
                }
            };
        }
        Ok(self)
    }
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
