//! Recorded rows: what is read from a file as it is needed, one row at a time.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::divergence::base::Base;
use crate::divergence::measure::Row;
use crate::{Error, Result};

/// A header longer than this is none.
const HEADER: u64 = 100 << 20;

/// A file of logits, or of what was kept of them.
#[derive(Debug)]
pub struct Recorded {
    name: String,
    /// All tokens, one sequence after the other.
    pub tokens: Vec<u32>,
    /// Where each sequence begins, and the end.
    pub offsets: Vec<usize>,
    /// Entries of the vocabulary.
    pub n_vocab: usize,
    stored: Stored,
}

#[derive(Debug)]
enum Stored {
    /// Rows from this byte of the file on.
    Full(File, u64),
    Top(Top),
    Base(Base),
}

#[derive(Debug)]
struct Top {
    k: usize,
    ids: Vec<u32>,
    logits: Vec<f32>,
    log_sum_exp: Vec<f64>,
    next: Vec<f32>,
}

impl Recorded {
    /// Opens a file that `fathom logits record` or llama.cpp has written; which, its first bytes say.
    ///
    /// # Errors
    /// When it is neither, or contradicts itself.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let mut file = File::open(path).map_err(|e| Error::read(path, e))?;
        let mut first = [0; 8];
        file.read_exact(&mut first)
            .map_err(|e| Error::read(path, e))?;
        if &first == Base::MAGIC {
            let (base, tokens) = Base::open(path, file)?;
            let offsets = (0..=base.n_chunk).map(|i| i * base.n_ctx).collect();
            return Ok(Self {
                name,
                tokens,
                offsets,
                n_vocab: base.n_vocab,
                stored: Stored::Base(base),
            });
        }
        let length = u64::from_le_bytes(first);
        let whole = file.metadata().map_err(|e| Error::read(path, e))?.len();
        if length > HEADER.min(whole.saturating_sub(8)) {
            let expected = "a safetensors file, or llama.cpp's base file of KL divergence";
            return Err(Error::input(&name, "header", "neither", expected));
        }
        let mut header = Vec::new();
        file.by_ref()
            .take(length)
            .read_to_end(&mut header)
            .map_err(|e| Error::read(path, e))?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|e| Error::input(&name, "header", e, "a safetensors header"))?;
        let source = Source {
            name: &name,
            metadata: &metadata,
            start: 8 + length,
            end: whole,
        };
        let tokens = source.values(&mut file, "tokens", Dtype::I32, |b| u32::from_le_bytes(*b))?;
        let offsets = match metadata.info("offsets") {
            None => vec![0, tokens.len()],
            Some(_) => source.values(&mut file, "offsets", Dtype::I64, |b| {
                usize::try_from(i64::from_le_bytes(*b)).unwrap_or(usize::MAX)
            })?,
        };
        let ordered = offsets.windows(2).all(|w| w[0] <= w[1]);
        if !ordered || offsets.first() != Some(&0) || offsets.last() != Some(&tokens.len()) {
            let expected = format!("0 up to {}, in order", tokens.len());
            return Err(Error::input(&name, "offsets", "other numbers", expected));
        }
        let (n_vocab, stored) = if metadata.info("logits").is_some() {
            let (shape, range) = source.tensor("logits", Dtype::F32)?;
            let n_vocab = source.columns("logits", &shape, tokens.len())?;
            (n_vocab, Stored::Full(file, range.start))
        } else {
            let top = source.top(&mut file, tokens.len())?;
            let known = metadata.metadata().as_ref().and_then(|m| m.get("n_vocab"));
            let n_vocab = known.and_then(|n| n.parse().ok()).ok_or_else(|| {
                Error::input(&name, "__metadata__.n_vocab", "nothing", "a number")
            })?;
            (n_vocab, Stored::Top(top))
        };
        if let Some(i) = tokens.iter().position(|t| *t as usize >= n_vocab) {
            let expected = format!("an id below {n_vocab}");
            return Err(Error::input(
                &name,
                format!("tokens[{i}]"),
                tokens[i],
                expected,
            ));
        }
        Ok(Self {
            name,
            tokens,
            offsets,
            n_vocab,
            stored,
        })
    }

    /// The row after token `i`, where there is one; `buffer` holds it.
    ///
    /// # Errors
    /// When the file does not read.
    pub fn row<'a>(&'a mut self, i: usize, buffer: &'a mut Vec<f32>) -> Result<Option<Row<'a>>> {
        let read = |e| Error::read(Path::new(&self.name), e);
        match &mut self.stored {
            Stored::Full(file, start) => {
                let at = *start + 4 * i as u64 * self.n_vocab as u64;
                file.seek(SeekFrom::Start(at)).map_err(read)?;
                let mut bytes = vec![0; 4 * self.n_vocab];
                file.read_exact(&mut bytes).map_err(read)?;
                buffer.clear();
                buffer.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)));
                Ok(Some(Row::full(buffer)))
            }
            Stored::Top(top) => {
                let part = i * top.k..(i + 1) * top.k;
                Ok(Some(Row::Top {
                    ids: &top.ids[part.clone()],
                    logits: &top.logits[part],
                    log_sum_exp: top.log_sum_exp[i],
                    next: top.next[i],
                }))
            }
            Stored::Base(base) => {
                let there = base.read(i, buffer).map_err(read)?;
                Ok(there.then(|| Row::full(buffer)))
            }
        }
    }

    /// The sequences.
    pub fn sequences(&self) -> Vec<Range<usize>> {
        self.offsets.windows(2).map(|w| w[0]..w[1]).collect()
    }

    /// Whether llama.cpp's rule holds for it, which puts BOS in the place of each sequence's first token.
    pub fn begins_with_bos(&self) -> bool {
        matches!(self.stored, Stored::Base(_))
    }

    /// Of tokens of which only an upper bound was stored, nothing is expected: for a reference.
    pub fn drop_clipped(&mut self) {
        if let Stored::Base(base) = &mut self.stored {
            base.drop_clipped = true;
        }
    }

    /// What is known of each row, in words.
    pub fn kind(&self) -> String {
        match &self.stored {
            Stored::Full(..) => "all logits".to_owned(),
            Stored::Top(top) => format!("the {} largest logits and their sum", top.k),
            Stored::Base(_) => {
                "llama.cpp's 16-bit log probabilities of each second half".to_owned()
            }
        }
    }
}

/// A safetensors file's table.
struct Source<'a> {
    name: &'a str,
    metadata: &'a Metadata,
    start: u64,
    end: u64,
}

impl Source<'_> {
    /// Shape of a tensor and its bytes of the file.
    fn tensor(&self, tensor: &str, dtype: Dtype) -> Result<(Vec<usize>, Range<u64>)> {
        let info = self
            .metadata
            .info(tensor)
            .ok_or_else(|| Error::input(self.name, tensor, "nothing", "a tensor"))?;
        if info.dtype != dtype {
            let found = format!("{:?}", info.dtype);
            return Err(Error::input(self.name, tensor, found, format!("{dtype:?}")));
        }
        let (from, to) = info.data_offsets;
        let range = self.start + from as u64..self.start + to as u64;
        if range.end > self.end {
            let found = format!("an end at byte {}", range.end);
            let expected = format!("at most {}", self.end);
            return Err(Error::input(self.name, tensor, found, expected));
        }
        Ok((info.shape.clone(), range))
    }

    /// Columns of a tensor with a row a token.
    fn columns(&self, tensor: &str, shape: &[usize], rows: usize) -> Result<usize> {
        match shape {
            [n, columns] if *n == rows && *columns > 0 => Ok(*columns),
            _ => {
                let expected = format!("[{rows}, columns]");
                Err(Error::input(
                    self.name,
                    tensor,
                    format!("{shape:?}"),
                    expected,
                ))
            }
        }
    }

    /// All values of a tensor.
    fn values<T, const N: usize>(
        &self,
        file: &mut File,
        tensor: &str,
        dtype: Dtype,
        value: impl Fn(&[u8; N]) -> T,
    ) -> Result<Vec<T>> {
        let (_, range) = self.tensor(tensor, dtype)?;
        let read = |e| Error::read(Path::new(self.name), e);
        file.seek(SeekFrom::Start(range.start)).map_err(read)?;
        let mut bytes = Vec::new();
        file.take(range.end - range.start)
            .read_to_end(&mut bytes)
            .map_err(read)?;
        Ok(bytes.as_chunks().0.iter().map(value).collect())
    }

    fn top(&self, file: &mut File, rows: usize) -> Result<Top> {
        let (shape, _) = self.tensor("top_ids", Dtype::I32)?;
        let k = self.columns("top_ids", &shape, rows)?;
        let top = Top {
            k,
            ids: self.values(file, "top_ids", Dtype::I32, |b| u32::from_le_bytes(*b))?,
            logits: self.values(file, "top_logits", Dtype::F32, |b| f32::from_le_bytes(*b))?,
            log_sum_exp: self.values(file, "logsumexp", Dtype::F64, |b| f64::from_le_bytes(*b))?,
            next: self.values(file, "next_logit", Dtype::F32, |b| f32::from_le_bytes(*b))?,
        };
        for (tensor, found, expected) in [
            ("top_logits", top.logits.len(), rows * k),
            ("logsumexp", top.log_sum_exp.len(), rows),
            ("next_logit", top.next.len(), rows),
        ] {
            if found != expected {
                return Err(Error::input(
                    self.name,
                    tensor,
                    found,
                    format!("{expected} values"),
                ));
            }
        }
        Ok(top)
    }
}
