//! llama.cpp's base file of KL divergence (`llama-perplexity --kl-divergence-base FILE`), read and written.
//!
//! ```text
//! "_logits_"; i32 n_ctx, n_vocab, n_chunk; i32 tokens[n_chunk * n_ctx]
//! for each chunk, for the positions n_ctx/2 .. n_ctx - 2: a row of 2 * ((n_vocab + 1) / 2) + 4 uint16
//! row: f32 scale, f32 min, then q[n_vocab]:  log p = scale * q + min
//! ```
//!
//! The smallest log probability is clipped to 16 below the largest (24 in ik_llama.cpp): of a clipped token only that it is
//! no more probable is known. Storing alone is a KL of 5.5e-4 nats, 40 % of what a
//! q8_0 quantisation is: good for exchange, too coarse for a reference (`tools/perplexity/perplexity.cpp` in llama.cpp).

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::backend::sample::log_sum_exp;
use crate::{Error, Result};

/// Log probabilities below the largest that are kept.
const CLIP: f32 = 16.0;
/// The same, of files that others write.
const CLIPS: [f32; 2] = [CLIP, 24.0];

/// An open base file.
#[derive(Debug)]
pub struct Base {
    file: File,
    /// Tokens of a chunk.
    pub n_ctx: usize,
    /// Entries of the vocabulary.
    pub n_vocab: usize,
    /// Chunks.
    pub n_chunk: usize,
    /// Clipped tokens are read as impossible. In a vocabulary of 50 000 the clipped ones would otherwise be given half
    /// a percent of the probability, which they do not have.
    pub drop_clipped: bool,
}

impl Base {
    /// The first bytes.
    pub const MAGIC: &[u8; 8] = b"_logits_";

    /// Reads what follows the magic: the table, and all tokens.
    ///
    /// # Errors
    /// When sizes contradict the file's.
    pub fn open(path: &Path, mut file: File) -> Result<(Self, Vec<u32>)> {
        let read = |e| Error::read(path, e);
        let mut sizes = [0; 12];
        file.read_exact(&mut sizes).map_err(read)?;
        let whole = file.metadata().map_err(read)?.len();
        let size = |i: usize| {
            let bytes = [sizes[i], sizes[i + 1], sizes[i + 2], sizes[i + 3]];
            usize::try_from(i32::from_le_bytes(bytes)).unwrap_or(0)
        };
        let base = Self {
            file,
            n_ctx: size(0),
            n_vocab: size(4),
            n_chunk: size(8),
            drop_clipped: false,
        };
        let bytes = base.length();
        if bytes != Some(whole) || base.n_ctx < 4 || base.n_vocab == 0 {
            let found = format!(
                "{} x {} tokens of {} in {whole} bytes",
                base.n_chunk, base.n_ctx, base.n_vocab
            );
            let expected = bytes.map_or("sizes that can be".to_owned(), |b| format!("{b} bytes"));
            return Err(Error::input(path.display(), "sizes", found, expected));
        }
        let mut bytes = vec![0; 4 * base.n_chunk * base.n_ctx];
        (&base.file).read_exact(&mut bytes).map_err(read)?;
        let tokens: Vec<u32> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| u32::from_le_bytes(*b))
            .collect();
        if let Some(i) = tokens.iter().position(|t| *t as usize >= base.n_vocab) {
            let expected = format!("an id below {}", base.n_vocab);
            let field = format!("tokens[{i}]");
            return Err(Error::input(path.display(), field, tokens[i], expected));
        }
        Ok((base, tokens))
    }

    /// Reads the log probabilities after token `i`; false where there are none.
    pub fn read(&mut self, i: usize, buffer: &mut Vec<f32>) -> std::io::Result<bool> {
        let Some(row) = row_of(i, self.n_ctx) else {
            return Ok(false);
        };
        let width = row_bytes(self.n_vocab);
        let start = 20 + 4 * (self.n_chunk * self.n_ctx) as u64;
        self.file.seek(SeekFrom::Start(start + row * width))?;
        let mut bytes = vec![0; width as usize];
        self.file.read_exact(&mut bytes)?;
        let float = |at: usize| {
            f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let (scale, min) = (float(0), float(4));
        let range = scale * 65535.0;
        let clipped = self.drop_clipped && CLIPS.iter().any(|clip| (range - clip).abs() < 1e-3);
        let rows = bytes[8..].as_chunks().0.iter().take(self.n_vocab);
        buffer.clear();
        buffer.extend(rows.map(|q| match u16::from_le_bytes(*q) {
            0 if clipped => f32::NEG_INFINITY,
            q => scale * f32::from(q) + min,
        }));
        Ok(true)
    }

    /// Bytes of a file of these sizes.
    fn length(&self) -> Option<u64> {
        let rows = (self.n_chunk as u64).checked_mul(rows_of_chunk(self.n_ctx) as u64)?;
        let tokens = 4 * (self.n_chunk as u64).checked_mul(self.n_ctx as u64)?;
        rows.checked_mul(row_bytes(self.n_vocab))?
            .checked_add(20 + tokens)
    }
}

fn rows_of_chunk(n_ctx: usize) -> usize {
    n_ctx.saturating_sub(1 + n_ctx / 2)
}

fn row_bytes(n_vocab: usize) -> u64 {
    2 * (2 * n_vocab.div_ceil(2) + 4) as u64
}

/// Number of the row after token `i` of all.
fn row_of(i: usize, n_ctx: usize) -> Option<u64> {
    let (chunk, pos) = (i / n_ctx, i % n_ctx);
    let within = (n_ctx / 2..n_ctx - 1).contains(&pos);
    within.then(|| (chunk * rows_of_chunk(n_ctx) + pos - n_ctx / 2) as u64)
}

/// Writes a base file.
#[derive(Debug)]
pub struct BaseWriter {
    path: PathBuf,
    file: BufWriter<File>,
    n_ctx: usize,
    taken: usize,
}

impl BaseWriter {
    /// Begins a file of sequences that all have one length.
    ///
    /// # Errors
    /// When they have not, or the file cannot be written.
    pub fn create(path: &Path, tokens: &[u32], offsets: &[usize], n_vocab: usize) -> Result<Self> {
        let n_ctx = offsets.get(1).copied().unwrap_or(0);
        let equal = offsets.windows(2).all(|w| w[1] - w[0] == n_ctx);
        if !equal || n_ctx < 4 {
            let expected =
                "sequences of one length, at least 4 tokens, as llama.cpp's base files have";
            return Err(Error::input(
                path.display(),
                "tokens",
                "other sequences",
                expected,
            ));
        }
        let begin = || -> std::io::Result<BufWriter<File>> {
            let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
            file.write_all(Base::MAGIC)?;
            for size in [n_ctx, n_vocab, offsets.len() - 1] {
                file.write_all(&(size as u32).to_le_bytes())?;
            }
            tokens
                .iter()
                .try_for_each(|t| file.write_all(&t.to_le_bytes()))?;
            Ok(file)
        };
        Ok(Self {
            file: begin().map_err(|e| Error::write(path, e))?,
            path: path.to_path_buf(),
            n_ctx,
            taken: 0,
        })
    }

    /// Takes the logits after the next token.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn row(&mut self, logits: &[f32]) -> Result<()> {
        let there = row_of(self.taken, self.n_ctx).is_some();
        self.taken += 1;
        if !there {
            return Ok(());
        }
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let smallest = logits
            .iter()
            .copied()
            .fold(f32::INFINITY, f32::min)
            .max(largest - CLIP);
        let scale = (largest - smallest) / 65535.0;
        let min = (f64::from(smallest) - log_sum_exp(logits)) as f32;
        let mut bytes = Vec::with_capacity(row_bytes(logits.len()) as usize);
        bytes.extend(scale.to_le_bytes());
        bytes.extend(min.to_le_bytes());
        for x in logits {
            let q = ((x - smallest).max(0.0) / scale).round_ties_even() as u16;
            bytes.extend(q.to_le_bytes());
        }
        bytes.resize(row_bytes(logits.len()) as usize, 0);
        self.file
            .write_all(&bytes)
            .map_err(|e| Error::write(&self.path, e))
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn finish(mut self) -> Result<()> {
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_data())
            .map_err(|e| Error::write(&self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() -> Result<()> {
        let file =
            tempfile::NamedTempFile::new().map_err(|e| Error::write(Path::new("temp"), e))?;
        let tokens: Vec<u32> = (0..16).map(|i| i % 5).collect();
        let mut writer = BaseWriter::create(file.path(), &tokens, &[0, 8, 16], 5)?;
        let row = |i: usize| [i as f32, 2.0, -1.5, -30.0, 0.25];
        (0..16).try_for_each(|i| writer.row(&row(i)))?;
        writer.finish()?;
        let mut opened = File::open(file.path()).map_err(|e| Error::read(file.path(), e))?;
        opened
            .read_exact(&mut [0; 8])
            .map_err(|e| Error::read(file.path(), e))?;
        let (mut base, again) = Base::open(file.path(), opened)?;
        assert_eq!((again, base.n_ctx, base.n_chunk), (tokens, 8, 2));
        let mut buffer = Vec::new();
        for i in 0..16 {
            let there = base
                .read(i, &mut buffer)
                .map_err(|e| Error::read(file.path(), e))?;
            assert_eq!(there, (4..7).contains(&(i % 8)), "{i}");
            if there {
                let sum = log_sum_exp(&row(i));
                let largest = row(i).into_iter().fold(f32::MIN, f32::max);
                for (found, x) in buffer.iter().zip(row(i)) {
                    let expected = f64::from(x.max(largest - CLIP)) - sum;
                    assert!(
                        (f64::from(*found) - expected).abs() < 2e-4,
                        "{i}: {found} {expected}"
                    );
                }
            }
        }
        Ok(())
    }
}
