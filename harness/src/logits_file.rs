//! Safetensors files of logits: all of each row, written row by row so that no more than one is ever held, or the largest.
//!
//! Layout of the former: 8 bytes of the header's length, the header (JSON, padded to 8 bytes), `logits` f32 [n, n_vocab],
//! `offsets` i64 [m + 1] where there are several sequences, `tokens` i32 [n]. The same logits make the same bytes, so
//! that files can be compared by their hashes: the safetensors crate writes its metadata in an order that changes.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::backend::sample::{log_sum_exp, top};
use crate::{Error, Result};

/// Writes `logits`, row after row, beside `tokens` and `offsets`.
#[derive(Debug)]
pub struct LogitsWriter {
    path: PathBuf,
    part: PathBuf,
    file: BufWriter<File>,
    n_vocab: usize,
    rows_left: usize,
}

impl LogitsWriter {
    /// Begins a file beside `path`; [`LogitsWriter::finish`] gives it its name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(
        path: &Path,
        tokens: &[u32],
        offsets: Option<&[i64]>,
        n_vocab: usize,
    ) -> Result<Self> {
        let part = part_of(path);
        let n = tokens.len();
        let logits = 4 * n as u64 * n_vocab as u64;
        let begin = || -> std::io::Result<BufWriter<File>> {
            let mut tensors = vec![("logits", "F32", vec![n, n_vocab], logits)];
            if let Some(offsets) = offsets {
                tensors.push((
                    "offsets",
                    "I64",
                    vec![offsets.len()],
                    8 * offsets.len() as u64,
                ));
            }
            tensors.push(("tokens", "I32", vec![n], 4 * n as u64));
            let header = header(&tensors, Map::new())?;
            let mut file = BufWriter::with_capacity(1 << 20, File::create(&part)?);
            file.write_all(&header)?;
            let start = header.len() as u64;
            file.seek(SeekFrom::Start(start + logits))?;
            for offset in offsets.unwrap_or_default() {
                file.write_all(&offset.to_le_bytes())?;
            }
            for token in tokens {
                file.write_all(&token.to_le_bytes())?;
            }
            file.seek(SeekFrom::Start(start))?;
            Ok(file)
        };
        let file = begin().map_err(|e| Error::write(path, e))?;
        Ok(Self {
            path: path.to_path_buf(),
            part,
            file,
            n_vocab,
            rows_left: tokens.len(),
        })
    }

    /// Appends the logits after the next token.
    ///
    /// # Errors
    /// When the disk is full, or this is not a row.
    pub fn row(&mut self, logits: &[f32]) -> Result<()> {
        if logits.len() != self.n_vocab || self.rows_left == 0 {
            return Err(Error::Unfinished(format!(
                "{}: a row too many or too long",
                self.path.display()
            )));
        }
        self.rows_left -= 1;
        logits
            .iter()
            .try_for_each(|x| self.file.write_all(&x.to_le_bytes()))
            .map_err(|e| Error::write(&self.path, e))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// When rows are missing or the disk is full.
    pub fn finish(mut self) -> Result<()> {
        if self.rows_left > 0 {
            return Err(Error::Unfinished(format!(
                "{}: {} rows are missing",
                self.path.display(),
                self.rows_left
            )));
        }
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_data())
            .and_then(|()| std::fs::rename(&self.part, &self.path))
            .map_err(|e| Error::write(&self.path, e))
    }
}

impl Drop for LogitsWriter {
    fn drop(&mut self) {
        // Gone already when the file has been finished.
        let _ = std::fs::remove_file(&self.part);
    }
}

/// Collects the `k` largest logits of every row, and writes them at the end: `top_ids` i32 [n, k], `top_logits` f32
/// [n, k] (the largest first), `logsumexp` f64 [n] over all logits, `next_logit` f32 [n] of the token that follows (NaN
/// behind a sequence's last), beside `tokens` and `offsets`. The file's metadata say `rows`, `k` and `n_vocab`.
#[derive(Debug)]
pub struct TopWriter {
    path: PathBuf,
    tokens: Vec<u32>,
    offsets: Option<Vec<i64>>,
    n_vocab: usize,
    k: usize,
    ids: Vec<u8>,
    logits: Vec<u8>,
    sums: Vec<u8>,
    next: Vec<u8>,
    rows: usize,
}

impl TopWriter {
    /// Before the first row; `k` is at most `n_vocab`.
    pub fn new(
        path: &Path,
        tokens: &[u32],
        offsets: Option<&[i64]>,
        n_vocab: usize,
        k: usize,
    ) -> Self {
        Self {
            path: path.to_path_buf(),
            tokens: tokens.to_vec(),
            offsets: offsets.map(<[i64]>::to_vec),
            n_vocab,
            k: k.min(n_vocab),
            ids: Vec::new(),
            logits: Vec::new(),
            sums: Vec::new(),
            next: Vec::new(),
            rows: 0,
        }
    }

    /// Appends what is kept of the logits after the next token.
    pub fn row(&mut self, logits: &[f32]) {
        let best = top(logits, self.k);
        // Where some are no numbers, fewer than k remain.
        let missing = std::iter::repeat_n((0, f32::NEG_INFINITY), self.k - best.len());
        let kept = best.iter().map(|(id, _)| (*id, logits[*id as usize]));
        for (id, logit) in kept.chain(missing) {
            self.ids.extend(id.to_le_bytes());
            self.logits.extend(logit.to_le_bytes());
        }
        self.sums.extend(log_sum_exp(logits).to_le_bytes());
        self.rows += 1;
        let ends = self
            .offsets
            .as_ref()
            .is_some_and(|o| o.contains(&(self.rows as i64)));
        let following = self.tokens.get(self.rows).filter(|_| !ends);
        let next = following.and_then(|id| logits.get(*id as usize));
        self.next.extend(next.unwrap_or(&f32::NAN).to_le_bytes());
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When rows are missing or the file cannot be written.
    pub fn finish(self) -> Result<()> {
        let n = self.tokens.len();
        if self.rows != n {
            return Err(Error::Unfinished(format!(
                "{}: {} rows of {n}",
                self.path.display(),
                self.rows
            )));
        }
        let tokens: Vec<u8> = self.tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
        let offsets: Vec<u8> = self
            .offsets
            .iter()
            .flatten()
            .flat_map(|o| o.to_le_bytes())
            .collect();
        let mut tensors = vec![
            ("logsumexp", "F64", vec![n], &self.sums),
            ("next_logit", "F32", vec![n], &self.next),
            ("tokens", "I32", vec![n], &tokens),
            ("top_ids", "I32", vec![n, self.k], &self.ids),
            ("top_logits", "F32", vec![n, self.k], &self.logits),
        ];
        if let Some(ends) = &self.offsets {
            // Before what has four bytes a number, so that every tensor is aligned.
            tensors.insert(1, ("offsets", "I64", vec![ends.len()], &offsets));
        }
        let metadata = [
            ("format", "fathom logits 1".to_owned()),
            ("rows", "top-k and logsumexp".to_owned()),
            ("k", self.k.to_string()),
            ("n_vocab", self.n_vocab.to_string()),
        ];
        let metadata = metadata.map(|(k, v)| (k.to_owned(), Value::from(v)));
        let sizes = tensors.iter().map(|(name, dtype, shape, data)| {
            let bytes = data.len() as u64;
            (*name, *dtype, shape.clone(), bytes)
        });
        let sizes: Vec<_> = sizes.collect();
        let part = part_of(&self.path);
        let write = || -> std::io::Result<()> {
            let mut file = BufWriter::new(File::create(&part)?);
            file.write_all(&header(&sizes, metadata.into_iter().collect())?)?;
            for (.., data) in &tensors {
                file.write_all(data)?;
            }
            file.into_inner()?.sync_data()?;
            std::fs::rename(&part, &self.path)
        };
        write().map_err(|e| {
            let _ = std::fs::remove_file(&part);
            Error::write(&self.path, e)
        })
    }
}

/// Where a file is written until it is whole.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

/// The beginning of a file whose tensors (name, type, shape, bytes) follow in this order.
fn header(
    tensors: &[(&str, &str, Vec<usize>, u64)],
    metadata: Map<String, Value>,
) -> serde_json::Result<Vec<u8>> {
    let (mut header, mut end) = (Map::new(), 0);
    if !metadata.is_empty() {
        header.insert("__metadata__".to_owned(), metadata.into());
    }
    for (name, dtype, shape, bytes) in tensors {
        let start = end;
        end += bytes;
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]});
        header.insert((*name).to_owned(), entry);
    }
    let mut json = serde_json::to_vec(&header)?;
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok([&(json.len() as u64).to_le_bytes()[..], &json].concat())
}

#[cfg(test)]
mod tests {
    use safetensors::{Dtype, SafeTensors};

    use super::*;

    #[test]
    fn the_safetensors_crate_reads_what_is_written() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("l.safetensors");
        let mut writer = LogitsWriter::create(&path, &[5, 6, 7], Some(&[0, 2, 3]), 2)?;
        for i in 0..3u8 {
            writer.row(&[f32::from(i), 0.5])?;
        }
        assert!(writer.row(&[0.0, 0.0]).is_err());
        writer.finish()?;
        let bytes = std::fs::read(&path)?;
        let file = SafeTensors::deserialize(&bytes)?;
        let logits = file.tensor("logits")?;
        assert_eq!((logits.dtype(), logits.shape()), (Dtype::F32, &[3, 2][..]));
        assert_eq!(logits.data()[8..12], 1f32.to_le_bytes());
        let tokens = file.tensor("tokens")?;
        assert_eq!((tokens.dtype(), tokens.data()[8]), (Dtype::I32, 7));
        let offsets = file.tensor("offsets")?;
        assert_eq!(
            (offsets.dtype(), offsets.shape(), offsets.data()[8]),
            (Dtype::I64, &[3][..], 2)
        );
        assert_eq!(std::fs::read_dir(dir.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn an_unfinished_file_leaves_nothing_behind() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("l.safetensors");
        let mut writer = LogitsWriter::create(&path, &[5, 6], None, 2)?;
        writer.row(&[0.0, 0.0])?;
        assert!(writer.finish().is_err());
        assert_eq!(std::fs::read_dir(dir.path())?.count(), 0);
        Ok(())
    }

    #[test]
    fn the_same_largest_logits_make_the_same_file() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let write = |name: &str| -> Result<Vec<u8>, Box<dyn std::error::Error>> {
            let path = dir.path().join(name);
            let mut writer = TopWriter::new(&path, &[2, 0, 1], Some(&[0, 2, 3]), 3, 2);
            for i in 0..3u8 {
                writer.row(&[f32::from(i), 0.5, 4.0]);
            }
            writer.finish()?;
            Ok(std::fs::read(&path)?)
        };
        let bytes = write("a")?;
        assert_eq!(bytes, write("b")?);
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let said = header.metadata().as_ref().ok_or("no metadata")?;
        assert_eq!(
            (said["rows"].as_str(), said["k"].as_str()),
            ("top-k and logsumexp", "2")
        );
        let file = SafeTensors::deserialize(&bytes)?;
        let of = |name: &str| file.tensor(name).map(|t| t.data().to_vec());
        let ints = |x: [u32; 6]| x.map(u32::to_le_bytes).concat();
        assert_eq!(of("top_ids")?, ints([2, 1, 2, 0, 2, 0]));
        assert_eq!(of("tokens")?[..4], 2u32.to_le_bytes());
        assert_eq!(of("offsets")?[8..16], 2i64.to_le_bytes());
        // The second token's logits follow the first's; nothing follows the second in its sequence.
        let next = of("next_logit")?;
        assert_eq!(next[..4], 0f32.to_le_bytes());
        assert!(f32::from_le_bytes([next[4], next[5], next[6], next[7]]).is_nan());
        assert_eq!(std::fs::read_dir(dir.path())?.count(), 2);
        Ok(())
    }
}
