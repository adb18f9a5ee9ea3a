//! Weights rounded to fewer bits: a GGUF file of a GGUF file.
//!
//! | file | holds |
//! |---|---|
//! | `blocks.rs` | blocks of 32 values |
//! | `k.rs` | K-quants |
//!
//! Metadata and tokenizer are copied as they are. A tensor that is no matrix, a norm, and the router of a mixture of
//! experts stay as they are. Values are rounded as the formats define them; which of two near codes is taken is no part
//! of a format, and need not be as llama.cpp has it.

mod blocks;
mod k;

use std::path::Path;

use rayon::prelude::*;

use crate::format::checkpoint::{Checkpoint, Config};
use crate::format::gguf::{Value, write};
use crate::format::{Bytes, StoredType, Tensor};
use crate::{Error, Result};

/// A type that weights can be rounded to.
struct Target {
    ty: StoredType,
    /// `general.file_type` in GGUF (`enum llama_ftype`).
    file_type: u32,
    /// What llama.cpp takes where a row is no whole number of blocks.
    fallback: StoredType,
    /// Appends the blocks of a row.
    quantize: fn(row: &[f32], out: &mut Vec<u8>),
}

const TARGETS: &[Target] = {
    use StoredType::{F16, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q6_K, Q8_0};
    const fn target(
        ty: StoredType,
        file_type: u32,
        fallback: StoredType,
        quantize: fn(&[f32], &mut Vec<u8>),
    ) -> Target {
        Target {
            ty,
            file_type,
            fallback,
            quantize,
        }
    }
    &[
        target(Q8_0, 7, F16, blocks::q8_0),
        target(Q4_0, 2, F16, blocks::q4_0),
        target(Q4_1, 3, F16, blocks::q4_1),
        target(Q5_0, 8, F16, blocks::q5_0),
        target(Q5_1, 9, F16, blocks::q5_1),
        target(Q4_K, 14, Q5_0, k::q4_k),
        target(Q6_K, 18, Q8_0, k::q6_k),
    ]
};

/// The types that weights can be rounded to.
pub fn types() -> impl Iterator<Item = StoredType> {
    TARGETS.iter().map(|t| t.ty)
}

/// Appends a row in type `ty`, one of [`types`]; its length is a whole number of blocks.
pub(crate) fn row(row: &[f32], ty: StoredType, out: &mut Vec<u8>) {
    if let Some(target) = TARGETS.iter().find(|t| t.ty == ty) {
        (target.quantize)(row, out);
    }
}

/// What was done to one tensor.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its name.
    pub name: String,
    /// The type it had.
    pub from: StoredType,
    /// The type it has.
    pub to: StoredType,
    /// Another type would have been wanted, and the rows are no whole number of its blocks.
    pub fallback: bool,
    /// Sum of the squares of the values before, and of what rounding changed.
    pub squares: [f64; 2],
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// Every tensor, in the file's order.
    pub tensors: Vec<Done>,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Rows that pass together.
const ROWS: usize = 256;

/// Writes the GGUF file `source` (of a split set, the first) to `out` with its matrices in `ty`. Runs on the current
/// rayon pool.
///
/// # Errors
/// A source that is no GGUF file of F32, F16 and BF16, weights that are not finite, a type that weights cannot be
/// rounded to, and what the file system says.
pub fn quantize(source: &Path, ty: StoredType, out: &Path) -> Result<Quantized> {
    let file = source.display().to_string();
    let target = TARGETS.iter().find(|t| t.ty == ty).ok_or_else(|| {
        let names: Vec<_> = types().map(StoredType::name).collect();
        let expected = format!("one of {}", names.join(", "));
        Error::input("quantize", "type", ty, expected)
    })?;
    let checkpoint = Checkpoint::open(source)?;
    let Config::Gguf(metadata) = &checkpoint.config else {
        let expected = "a GGUF file (llama.cpp's convert_hf_to_gguf.py makes one of a folder; --fault weights=TYPE \
                        rounds a folder's weights in memory)";
        return Err(Error::input(
            file,
            "model",
            "a Hugging Face folder",
            expected,
        ));
    };
    let alignment = match metadata.get("general.alignment") {
        Some(&Value::Unsigned(n)) => usize::try_from(n).unwrap_or(32),
        _ => 32,
    };
    let replaced = ["general.file_type", "general.quantization_version"];
    let mut pairs = write::pairs(&file, &Bytes::map(source)?)?;
    pairs.retain(|p| !replaced.contains(&&*p.key) && !p.key.starts_with("split."));
    pairs.extend(
        replaced
            .iter()
            .zip([target.file_type, 2])
            .map(|(key, n)| write::Pair::u32(key, n)),
    );

    let tensors: Vec<&Tensor> = checkpoint.tensors.values().collect();
    let mut done = Vec::with_capacity(tensors.len());
    for t in &tensors {
        done.push(plan(&file, t, target)?);
    }
    let planned: Vec<_> = tensors
        .iter()
        .zip(&done)
        .map(|(t, done)| write::Planned {
            name: t.name.clone(),
            ty: done.to,
            shape: t.shape.clone(),
        })
        .collect();
    let bytes = write::write(out, &pairs, alignment, &planned, |i, sink| {
        let (t, done) = (tensors[i], &mut done[i]);
        if done.from == done.to {
            return sink(&t.data);
        }
        convert(t, done.to, &mut done.squares, sink)?;
        if done.squares.iter().all(|s| s.is_finite()) {
            return Ok(());
        }
        let found = format!("values that {} cannot hold", done.to);
        Err(Error::input(
            &file,
            format!("tensor {}", t.name),
            found,
            "finite values of moderate size",
        ))
    })?;
    Ok(Quantized {
        tensors: done,
        bytes,
    })
}

/// What is to become of a tensor.
fn plan(file: &str, t: &Tensor, target: &Target) -> Result<Done> {
    let float = matches!(t.ty, StoredType::F32 | StoredType::F16 | StoredType::BF16);
    let stays = t.shape.len() < 2
        || !t.name.ends_with(".weight")
        || t.name.ends_with("_norm.weight")
        || t.name.ends_with("ffn_gate_inp.weight");
    let cols = t.shape.last().copied().unwrap_or(1);
    let fits = |ty: StoredType| cols.is_multiple_of(ty.info().block);
    let to = match () {
        () if stays => t.ty,
        () if !float => {
            let expected = "F32, F16 or BF16: rounding what is rounded says nothing of the type";
            let field = format!("tensor {}: type", t.name);
            return Err(Error::input(file, field, t.ty, expected));
        }
        () if fits(target.ty) => target.ty,
        () if fits(target.fallback) => target.fallback,
        () => StoredType::F16,
    };
    Ok(Done {
        name: t.name.clone(),
        from: t.ty,
        to,
        fallback: !stays && to != target.ty,
        squares: [0.0; 2],
    })
}

/// Gives `sink` the tensor in type `to`, some rows at a time.
fn convert(
    t: &Tensor,
    to: StoredType,
    squares: &mut [f64; 2],
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let cols = t.shape.last().copied().unwrap_or(1);
    let rows: usize = t.shape[..t.shape.len() - 1].iter().product();
    let one = |row: usize| {
        let (mut before, mut after) = (vec![0.0; cols], vec![0.0; cols]);
        t.ty.unpack_part(&t.data, cols, row, 0, &mut before);
        let mut out = Vec::new();
        match TARGETS.iter().find(|t| t.ty == to) {
            Some(target) => (target.quantize)(&before, &mut out),
            None => out.extend(
                before
                    .iter()
                    .flat_map(|v| half::f16::from_f32(*v).to_le_bytes()),
            ),
        }
        to.unpack(&out, &mut after);
        let mut squares = [0.0f64; 2];
        for (b, a) in before.iter().zip(&after) {
            squares[0] += f64::from(*b) * f64::from(*b);
            squares[1] += f64::from(b - a) * f64::from(b - a);
        }
        (out, squares)
    };
    for first in (0..rows).step_by(ROWS) {
        let part: Vec<_> = (first..rows.min(first + ROWS))
            .into_par_iter()
            .map(one)
            .collect();
        for (bytes, s) in part {
            squares.iter_mut().zip(s).for_each(|(all, s)| *all += s);
            sink(&bytes)?;
        }
    }
    Ok(())
}
