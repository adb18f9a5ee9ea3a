//! Weights whose factors are tensors of their own: FP8 (DeepSeek V3), MXFP4 (gpt-oss).
//!
//! The stored values stay in the map, and so do the factors; the kernels multiply while they unpack.
//!
//! | stored | values | factors |
//! |---|---|---|
//! | FP8 in blocks | `X.weight` F8_E4M3 or F8_E5M2 [rows, cols] | `X.weight_scale_inv` [rows / 128, cols / 128], rounded up; the block's shape is `weight_block_size` |
//! | FP8 by row or tensor | the same | `X.weight_scale` [rows] or [rows, 1]; [] or [1] |
//! | FP8, stacked experts | `X` [n, inputs, outputs] | `X_scale` [n, 1, outputs] |
//! | MXFP4 | `X_blocks` U8 [n, rows, cols / 32, 16], two values a byte | `X_scales` U8 [n, rows, cols / 32], exponents |
//!
//! A value is its float times its factor, rounded to f32: as transformers computes it before it rounds to bfloat16.

use serde_json::{Map, Value};

use super::Weight;
use crate::format::checkpoint::{Checkpoint, Config};
use crate::format::{Bytes, StoredType, Tensor};
use crate::kernels::{Layout, Precision, Scales};
use crate::{Error, Result};

/// Factors on the values of a matrix.
#[derive(Clone, Debug)]
pub(super) struct BlockScales {
    ty: StoredType,
    /// Rows and columns that share a factor.
    block: (usize, usize),
    /// Where the matrix begins among the rows that the factors are of.
    first: usize,
    /// Factors side by side.
    across: usize,
    data: Bytes,
}

impl BlockScales {
    /// Those of the rows from `first` on.
    pub(super) fn at_row(&self, first: usize) -> Self {
        Self {
            first: self.first + first,
            ..self.clone()
        }
    }

    /// The factors as stored.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.data
    }

    pub(super) fn view(&self) -> Scales<'_> {
        Scales {
            ty: self.ty,
            block: self.block,
            first: (self.first, 0),
            across: self.across,
            data: &self.data,
        }
    }
}

/// Whether a tensor of this type means nothing without factors, or is no tensor of weights at all.
pub(super) fn needs_scales(ty: StoredType) -> bool {
    use StoredType::{F4_E2M1, F8_E4M3, F8_E5M2, F8_E8M0, U8};
    matches!(ty, F8_E4M3 | F8_E5M2 | F8_E8M0 | F4_E2M1 | U8)
}

/// The factors of an FP8 matrix, `None` for types that have none. `tensor` finds a tensor by name.
pub(super) fn fp8<'a>(
    checkpoint: &Checkpoint,
    t: &Tensor,
    tensor: impl Fn(&str) -> Result<&'a Tensor>,
) -> Result<Option<BlockScales>> {
    if !needs_scales(t.ty) {
        return Ok(None);
    }
    let fail = |name: &str, found: String, expected: String| {
        Err(Error::input(&checkpoint.name, name, found, expected))
    };
    if !matches!(t.ty, StoredType::F8_E4M3 | StoredType::F8_E5M2) {
        let expected = "a tensor of weights".into();
        return fail(&t.name, format!("type {}", t.ty), expected);
    }
    let [rows, cols] = t.shape[..] else {
        let expected = "a matrix, as its type is FP8".into();
        return fail(&t.name, format!("shape {:?}", t.shape), expected);
    };
    let single = format!("{}_scale", t.name);
    let (scale, shapes, block) = if checkpoint.tensors.contains_key(&single) {
        let scale = tensor(&single)?;
        match scale.shape.iter().product::<usize>() {
            1 => (scale, vec![vec![], vec![1], vec![1, 1]], (rows, cols)),
            _ => (scale, vec![vec![rows], vec![rows, 1]], (1, cols)),
        }
    } else {
        let block = fp8_block(checkpoint)?;
        let shape = vec![rows.div_ceil(block.0), cols.div_ceil(block.1)];
        (
            tensor(&format!("{}_scale_inv", t.name))?,
            vec![shape],
            block,
        )
    };
    if !shapes.contains(&scale.shape) {
        let found = format!("shape {:?}", scale.shape);
        return fail(
            &scale.name,
            found,
            format!("{:?}", shapes[shapes.len() - 1]),
        );
    }
    use StoredType::{BF16, F8_E8M0, F16, F32};
    if !matches!(scale.ty, F32 | F16 | BF16 | F8_E8M0) {
        let found = format!("type {}", scale.ty);
        return fail(&scale.name, found, "F32, F16, BF16 or F8_E8M0".into());
    }
    Ok(Some(BlockScales {
        ty: scale.ty,
        block,
        first: 0,
        across: cols.div_ceil(block.1),
        data: scale.data.clone(),
    }))
}

/// The factors of stacked, input-major FP8 matrices, [n, inputs, outputs], one an output: `X_scale` [n, 1, outputs]
/// (Llama 4 Maverick's FP8 files). One entry a matrix, `None` for types that have none.
///
/// # Errors
/// Factors that are missing or have another type or shape, and types that mean nothing without other factors.
pub(super) fn stacked_fp8<'a>(
    file: &str,
    t: &Tensor,
    [n, outputs]: [usize; 2],
    tensor: impl Fn(&str) -> Result<&'a Tensor>,
) -> Result<Vec<Option<BlockScales>>> {
    if !needs_scales(t.ty) {
        return Ok(vec![None; n]);
    }
    if !matches!(t.ty, StoredType::F8_E4M3 | StoredType::F8_E5M2) {
        let (found, expected) = (format!("type {}", t.ty), "a tensor of weights");
        return Err(Error::input(file, &t.name, found, expected));
    }
    let scale = tensor(&format!("{}_scale", t.name))?;
    let shape = [n, 1, outputs];
    use StoredType::{BF16, F16, F32};
    if scale.shape != shape || !matches!(scale.ty, F32 | F16 | BF16) {
        let found = format!("{} {:?}", scale.ty, scale.shape);
        let expected = format!("F32, F16 or BF16 {shape:?}, a factor an output");
        return Err(Error::input(file, &scale.name, found, expected));
    }
    let each = scale.data.len() / n;
    let one = |e: usize| {
        Some(Some(BlockScales {
            ty: scale.ty,
            block: (usize::MAX, 1),
            first: 0,
            across: outputs,
            data: scale.data.slice(e * each..(e + 1) * each)?,
        }))
    };
    let all: Option<Vec<_>> = (0..n).map(one).collect();
    all.ok_or_else(|| Error::input(file, &scale.name, "too few bytes", "those of its shape"))
}

/// `weight_block_size` of `quantization_config`; 128 by 128 where it says nothing.
fn fp8_block(checkpoint: &Checkpoint) -> Result<(usize, usize)> {
    let Config::Hf(config) = &checkpoint.config else {
        return Ok((128, 128));
    };
    let of = |config: &Map<String, Value>| {
        let size = config
            .get("quantization_config")?
            .get("weight_block_size")?;
        (!size.is_null()).then(|| size.clone())
    };
    let inner = config.get("text_config").and_then(Value::as_object);
    let Some(size) = of(config).or_else(|| of(inner?)) else {
        return Ok((128, 128));
    };
    let sides: Option<Vec<u32>> = size.as_array().and_then(|a| {
        let side = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
        a.iter().map(|v| side(v).filter(|&n| n > 0)).collect()
    });
    match sides.as_deref() {
        Some(&[rows, cols]) => Ok((rows as usize, cols as usize)),
        _ => Err(Error::input(
            &checkpoint.name,
            "quantization_config.weight_block_size",
            size,
            "two numbers above 0",
        )),
    }
}

/// Stacked matrices in MXFP4, one `Weight` [rows, cols] each of `n`: `name` with `_blocks` and `_scales` behind.
/// `tensor` finds a tensor by name. What alternates row by row is taken apart by [`Weight::every`].
///
/// # Errors
/// A tensor that is missing, or has another type or shape.
pub fn mxfp4<'a>(
    file: &str,
    name: &str,
    [n, rows, cols]: [usize; 3],
    tensor: impl Fn(&str) -> Result<&'a Tensor>,
) -> Result<Vec<Weight>> {
    let groups = cols / 32;
    let bytes = |suffix: &str, shape: &[usize]| {
        let t = tensor(&format!("{name}{suffix}"))?;
        if t.ty != StoredType::U8 || t.shape != shape || !cols.is_multiple_of(32) {
            let found = format!("{} {:?}", t.ty, t.shape);
            let expected = format!("U8 {shape:?} for {n} matrices {rows} x {cols}");
            return Err(Error::input(file, &t.name, found, expected));
        }
        Ok(&t.data)
    };
    let blocks = bytes("_blocks", &[n, rows, groups, 16])?;
    let scales = bytes("_scales", &[n, rows, groups])?;
    let each = rows * groups;
    let one = |i: usize| {
        Some(Weight {
            ty: StoredType::F4_E2M1,
            rows,
            cols,
            layout: Layout::RowMajor,
            data: blocks.slice(16 * i * each..16 * (i + 1) * each)?,
            scales: Some(Box::new(BlockScales {
                ty: StoredType::F8_E8M0,
                block: (1, 32),
                first: 0,
                across: groups,
                data: scales.slice(i * each..(i + 1) * each)?,
            })),
            precision: Precision::F32,
        })
    };
    let all: Option<Vec<Weight>> = (0..n).map(one).collect();
    all.ok_or_else(|| Error::input(file, name, "too few bytes", "the bytes of its shape"))
}
