//! A checkpoint opened: configuration, tensors, and the small files beside them.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;

use super::{Bytes, Tensor, describe_start, gguf, printable, safetensors};
use crate::{Error, Result};

/// A model as downloaded: nothing is interpreted yet, the weights are mapped and not copied.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The path as given, or `builtin`: for messages.
    pub name: String,
    /// The configuration, as the file has it.
    pub config: Config,
    /// Tensors of a known type, by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// Tensors of a type that cannot be read (wide integers): name and type. An error only for whoever needs one.
    pub unreadable: BTreeMap<String, String>,
    /// The small files of a Hugging Face folder, those of [`SIDE_FILES`] that it has; empty for GGUF.
    pub files: BTreeMap<String, Bytes>,
    /// Bytes of all files of weights.
    pub total_bytes: u64,
}

/// A configuration, as its file has it.
#[derive(Clone, Debug)]
pub enum Config {
    /// `config.json` of a Hugging Face folder.
    Hf(serde_json::Map<String, serde_json::Value>),
    /// Metadata of a GGUF file, the tokenizer's included.
    Gguf(gguf::Metadata),
}

/// The small files that are kept beside the weights of a Hugging Face folder.
pub const SIDE_FILES: [&str; 6] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// Longest config.json; real ones have kilobytes, and parsed JSON takes many times its text.
const MAX_CONFIG: usize = 8 << 20;
/// Up to this size every byte of the weights enters [`Checkpoint::hash`].
const HASH_ALL_UP_TO: u64 = 4 << 30;
/// Beyond it, this many bytes from each end of every tensor.
const HASH_SAMPLE: usize = 4096;

impl Checkpoint {
    /// Opens a GGUF file (of a split set, the first) or a Hugging Face folder.
    ///
    /// # Errors
    /// One that names the file, the field, what was found and what was expected, for anything that is not as
    /// the formats have it.
    ///
    /// ```no_run
    /// # fn main() -> fathom_engine::Result<()> {
    /// let checkpoint = fathom_engine::format::Checkpoint::open("model.gguf".as_ref())?;
    /// println!("{} tensors, {}", checkpoint.tensors.len(), checkpoint.hash());
    /// # Ok(()) }
    /// ```
    pub fn open(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
        if metadata.is_dir() {
            return Self::open_folder(path);
        }
        let start = Bytes::map(path)?;
        if !start.starts_with(gguf::MAGIC) {
            let expected = "a GGUF file or a Hugging Face folder";
            return Err(Error::input(
                path.display(),
                "file",
                describe_start(&start),
                expected,
            ));
        }
        let (gguf::Gguf { metadata, tensors }, total_bytes) = gguf::open(path)?;
        Ok(Self {
            name: path.display().to_string(),
            config: Config::Gguf(metadata),
            tensors,
            unreadable: BTreeMap::new(),
            files: BTreeMap::new(),
            total_bytes,
        })
    }

    fn open_folder(folder: &Path) -> Result<Self> {
        let config_path = folder.join("config.json");
        if !config_path.try_exists().unwrap_or(false) {
            let expected = "config.json (a Hugging Face folder), or the path of a GGUF file";
            return Err(Error::input(
                folder.display(),
                "config.json",
                "no such file",
                expected,
            ));
        }
        let config = parse_config(
            &config_path.display().to_string(),
            &Bytes::map(&config_path)?,
        )?;
        let (weights, total_bytes) = safetensors::open(folder)?;
        let mut files = BTreeMap::new();
        for name in SIDE_FILES {
            let path = folder.join(name);
            if path.try_exists().unwrap_or(false) {
                files.insert(name.to_owned(), Bytes::map(&path)?);
            }
        }
        Ok(Self {
            name: folder.display().to_string(),
            config: Config::Hf(config),
            tensors: weights.tensors,
            unreadable: weights.unreadable,
            files,
            total_bytes,
        })
    }

    /// A Hugging Face model that is part of the program. `files` are side files by name, of [`SIDE_FILES`].
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_parts(
        name: &str,
        config: &'static [u8],
        weights: &'static [u8],
        files: &[(&str, &'static [u8])],
    ) -> Result<Self> {
        let config = parse_config(&format!("{name}/config.json"), config)?;
        let bytes = Bytes::from_static(weights);
        let weights = safetensors::read(&format!("{name}/{}", safetensors::SINGLE), &bytes)?;
        Ok(Self {
            name: name.to_owned(),
            config: Config::Hf(config),
            tensors: weights.tensors,
            unreadable: weights.unreadable,
            files: files
                .iter()
                .map(|&(n, bytes)| (n.to_owned(), Bytes::from_static(bytes)))
                .collect(),
            total_bytes: bytes.len() as u64,
        })
    }

    /// The tensor of this name.
    ///
    /// # Errors
    /// There is none, or its type cannot be read.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| {
            let field = format!("tensor {}", printable(name));
            match self.unreadable.get(name) {
                Some(ty) => {
                    let expected = format!(
                        "one of {}",
                        super::StoredType::names(|t| t.safetensors.is_some())
                    );
                    Error::input(&self.name, field + ": type", ty, expected)
                }
                None => Error::input(
                    &self.name,
                    field,
                    "no such tensor",
                    "a tensor that the model needs",
                ),
            }
        })
    }

    /// A hash of the weights: names, types, shapes and values, whatever file they lie in. `blake3:` and 64 hex
    /// digits; of more than 4 GiB only the ends of every tensor are read, and the hash says `blake3-sampled:`.
    pub fn hash(&self) -> String {
        self.hash_with_limit(HASH_ALL_UP_TO)
    }

    fn hash_with_limit(&self, hash_all_up_to: u64) -> String {
        let all = self.total_bytes <= hash_all_up_to;
        let tensors: Vec<&Tensor> = self.tensors.values().collect();
        // One hash a tensor, in parallel; then the hash of these in the order of names.
        let hashes: Vec<blake3::Hash> = tensors
            .par_iter()
            .map(|tensor| hash_tensor(tensor, all))
            .collect();
        let mut hasher = blake3::Hasher::new();
        for hash in hashes {
            hasher.update(hash.as_bytes());
        }
        for (name, ty) in &self.unreadable {
            hash_str(&mut hasher, name);
            hash_str(&mut hasher, ty);
        }
        let kind = if all { "blake3" } else { "blake3-sampled" };
        format!("{kind}:{}", hasher.finalize())
    }
}

fn hash_tensor(tensor: &Tensor, all: bool) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hash_str(&mut hasher, &tensor.name);
    hash_str(&mut hasher, tensor.ty.name());
    for n in std::iter::once(&tensor.shape.len()).chain(&tensor.shape) {
        hasher.update(&(*n as u64).to_le_bytes());
    }
    let data: &[u8] = &tensor.data;
    if all || data.len() <= 2 * HASH_SAMPLE {
        hasher.update(data);
    } else {
        hasher.update(&data[..HASH_SAMPLE]);
        hasher.update(&data[data.len() - HASH_SAMPLE..]);
    }
    // What was only hashed need not stay in memory.
    tensor.data.release();
    hasher.finalize()
}

/// A string with its length before it, so that no two lists of strings hash alike.
fn hash_str(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

fn parse_config(file: &str, bytes: &[u8]) -> Result<serde_json::Map<String, serde_json::Value>> {
    if bytes.len() > MAX_CONFIG {
        let found = format!("{} bytes", bytes.len());
        return Err(Error::input(
            file,
            "size",
            found,
            format!("at most {MAX_CONFIG}"),
        ));
    }
    serde_json::from_slice(bytes).map_err(|e| {
        let found = if bytes.first() == Some(&b'{') {
            printable(&e.to_string())
        } else {
            describe_start(bytes)
        };
        Error::input(file, "JSON", found, "an object")
    })
}
