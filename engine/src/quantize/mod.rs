//! Weights rounded to fewer bits: a GGUF file of a GGUF file, or of a Hugging Face folder.
//!
//! | file | holds |
//! |---|---|
//! | `blocks.rs` | blocks of 32 values |
//! | `k.rs` | K-quants |
//! | `folder.rs` | a folder as a GGUF file |
//! | `metadata.rs` | its metadata, and whether they say what the folder says |
//! | `tensors.rs` | its tensors |
//!
//! Of a GGUF file, metadata and tokenizer are copied as they are. A tensor that is no matrix, a norm, and the router of a
//! mixture of experts stay as they are. Values are rounded as the formats define them; which of two near codes is taken is
//! no part of a format, and need not be as llama.cpp has it.

mod blocks;
mod folder;
mod k;
mod metadata;
mod tensors;

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

/// Types that hold each value by itself.
const FLOATS: &[Target] = {
    use StoredType::{BF16, F16, F32};
    const fn float(ty: StoredType, file_type: u32, quantize: fn(&[f32], &mut Vec<u8>)) -> Target {
        Target {
            ty,
            file_type,
            fallback: ty,
            quantize,
        }
    }
    &[
        float(F32, 0, |row, out| {
            out.extend(row.iter().flat_map(|v| v.to_le_bytes()));
        }),
        float(BF16, 32, |row, out| {
            let rounded = row.iter().map(|v| half::bf16::from_f32(*v));
            out.extend(rounded.flat_map(half::bf16::to_le_bytes));
        }),
        float(F16, 1, |row, out| {
            let rounded = row.iter().map(|v| half::f16::from_f32(*v));
            out.extend(rounded.flat_map(half::f16::to_le_bytes));
        }),
    ]
};

/// The types of blocks that weights can be rounded to.
pub fn types() -> impl Iterator<Item = StoredType> {
    TARGETS.iter().map(|t| t.ty)
}

/// The types that [`quantize`] writes: those of [`types`], and floats.
pub fn written_types() -> impl Iterator<Item = StoredType> {
    FLOATS.iter().chain(TARGETS).map(|t| t.ty)
}

/// How a type is written.
fn target_of(ty: StoredType) -> Option<&'static Target> {
    FLOATS.iter().chain(TARGETS).find(|t| t.ty == ty)
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

/// Writes the GGUF file `source` (of a split set, the first) or a Hugging Face folder to the GGUF file `out`, with its
/// matrices in `ty`. Runs on the current rayon pool.
///
/// # Errors
/// A GGUF file of other types than F32, F16 and BF16; a folder whose model GGUF has no place for, or whose tokenizer has no
/// name there; weights that are not finite, a type that is not written, and what the file system says.
pub fn quantize(source: &Path, ty: StoredType, out: &Path) -> Result<Quantized> {
    let file = source.display().to_string();
    let target = target_of(ty).ok_or_else(|| {
        let names: Vec<_> = written_types().map(StoredType::name).collect();
        let expected = format!("one of {}", names.join(", "));
        Error::input("quantize", "type", ty, expected)
    })?;
    let checkpoint = Checkpoint::open(source)?;
    let Config::Gguf(metadata) = &checkpoint.config else {
        return folder::quantize(checkpoint, target, out);
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
    let planned = planned(&done, tensors.iter().map(|t| &*t.shape));
    let bytes = write::write(out, &pairs, alignment, &planned, |i, sink| {
        let (t, done) = (tensors[i], &mut done[i]);
        if done.from == done.to {
            return sink(&t.data);
        }
        let cols = t.shape.last().copied().unwrap_or(1);
        let rows = t.shape[..t.shape.len() - 1].iter().product();
        let row = |r: usize, to: &mut [f32]| t.ty.unpack_part(&t.data, cols, r, 0, to);
        pack(&file, done, [rows, cols], row, sink)
    })?;
    Ok(Quantized {
        tensors: done,
        bytes,
    })
}

/// What is to become of a tensor.
fn plan(file: &str, t: &Tensor, target: &Target) -> Result<Done> {
    let float = matches!(t.ty, StoredType::F32 | StoredType::F16 | StoredType::BF16);
    let stays = stays(&t.name, t.shape.len());
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

/// The tensors of a file, with their shapes.
fn planned<'a>(done: &[Done], shapes: impl Iterator<Item = &'a [usize]>) -> Vec<write::Planned> {
    let pairs = done.iter().zip(shapes);
    let one = |(done, shape): (&Done, &[usize])| write::Planned {
        name: done.name.clone(),
        ty: done.to,
        shape: shape.to_vec(),
    };
    pairs.map(one).collect()
}

/// Whether a tensor of this name and number of dimensions keeps its precision: no matrix, a norm, a router.
fn stays(name: &str, dimensions: usize) -> bool {
    dimensions < 2
        || !name.ends_with(".weight")
        || name.ends_with("_norm.weight")
        || name.ends_with("ffn_gate_inp.weight")
}

/// Gives `sink` a tensor of [rows, cols] in the type that `done` has for it, some rows at a time; `row` unpacks one.
///
/// # Errors
/// Values that the type cannot hold.
fn pack(
    file: &str,
    done: &mut Done,
    [rows, cols]: [usize; 2],
    row: impl Fn(usize, &mut [f32]) + Sync,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let to = done.to;
    let one = |r: usize| {
        let (mut before, mut after) = (vec![0.0; cols], vec![0.0; cols]);
        row(r, &mut before);
        let mut out = Vec::new();
        if let Some(target) = target_of(to) {
            (target.quantize)(&before, &mut out);
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
            done.squares
                .iter_mut()
                .zip(s)
                .for_each(|(all, s)| *all += s);
            sink(&bytes)?;
        }
    }
    if done.squares.iter().all(|s| s.is_finite()) {
        return Ok(());
    }
    let found = format!("values that {to} cannot hold");
    let field = format!("tensor {}", done.name);
    Err(Error::input(
        file,
        field,
        found,
        "finite values of moderate size",
    ))
}
