//! Weights whose factors are tensors of their own: FP8 (DeepSeek V3, fbgemm), integers (compressed-tensors), MXFP4 (gpt-oss).
//!
//! The stored values stay in the map, and so do the factors; the kernels multiply while they unpack.
//!
//! | stored | values | factors |
//! |---|---|---|
//! | FP8 in blocks | `X.weight` F8_E4M3 or F8_E5M2 [rows, cols] | `X.weight_scale_inv` [rows / 128, cols / 128], rounded up; the block's shape is `weight_block_size` |
//! | FP8 by row or tensor, int8 | the same, or I8 | `X.weight_scale` [rows] or [rows, 1]; [] or [1]; in blocks of `block_structure` |
//! | FP8 by tensor | the same, where `weight_block_size` is null | `X.weight_scale_inv` [] or [1] |
//! | FP8, stacked experts | `X` [n, inputs, outputs] | `X_scale` [n, 1, outputs] or [n, outputs, 1] |
//! | packed integers | `X.weight_packed` I32 [rows, cols / 8] or [rows, cols / 4]: 4 or 8 bits a value | `X.weight_scale` [rows, groups], or [1] |
//! | MXFP4 | `X_blocks` U8 [n, rows, cols / 32, 16], two values a byte | `X_scales` U8 [n, rows, cols / 32], exponents |
//!
//! A value is its float times its factor, rounded to f32: as transformers computes it before it rounds to bfloat16.

use serde_json::Value;

use super::Weight;
use crate::format::checkpoint::{Checkpoint, Config};
use crate::format::{Bytes, StoredType, Tensor};
use crate::kernels::{Layout, Precision, Scales};
use crate::spec::block_size;
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

    /// Rows and columns that share a factor.
    pub(super) fn block(&self) -> (usize, usize) {
        self.block
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
    use StoredType::{F4_E2M1, F8_E4M3, F8_E5M2, F8_E8M0, I8, I32, U8};
    matches!(ty, F8_E4M3 | F8_E5M2 | F8_E8M0 | F4_E2M1 | U8 | I8 | I32)
}

/// The factors of a matrix of FP8 or I8, `None` for types that have none. `tensor` finds a tensor by name.
///
/// # Errors
/// Factors that are missing or have another type or shape, and types that mean nothing without other factors.
pub(super) fn factors<'a>(
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
    use StoredType::{F8_E4M3, F8_E5M2, I8};
    if !matches!(t.ty, F8_E4M3 | F8_E5M2 | I8) {
        let expected = "a tensor of weights".into();
        return fail(&t.name, format!("type {}", t.ty), expected);
    }
    let [rows, cols] = t.shape[..] else {
        let expected = format!("a matrix, as its type is {}", t.ty);
        return fail(&t.name, format!("shape {:?}", t.shape), expected);
    };
    no_other(checkpoint, &t.name, &["_zero_point"])?;
    let in_blocks = |block: (usize, usize)| {
        let shape = vec![rows.div_ceil(block.0), cols.div_ceil(block.1)];
        (vec![shape], block)
    };
    let of_tensor = (vec![vec![], vec![1], vec![1, 1]], (rows, cols));
    let single = format!("{}_scale", t.name);
    let scaled = checkpoint.tensors.contains_key(&single) || t.ty == I8;
    let (scale, (shapes, block)) = if scaled {
        let scale = tensor(&single)?;
        let of_rows = vec![vec![rows], vec![rows, 1]];
        let shapes = match (
            scale.shape.iter().product::<usize>(),
            fp8_block(checkpoint)?,
        ) {
            (1, _) => of_tensor,
            (_, Some(block)) if !of_rows.contains(&scale.shape) => in_blocks(block),
            _ => (of_rows, (1, cols)),
        };
        (scale, shapes)
    } else {
        let shapes = fp8_block(checkpoint)?.map_or(of_tensor, in_blocks);
        (tensor(&format!("{}_scale_inv", t.name))?, shapes)
    };
    if !shapes.contains(&scale.shape) {
        let found = format!("shape {:?}", scale.shape);
        let expected = format!("{:?}", shapes[shapes.len() - 1]);
        return fail(&scale.name, found, expected);
    }
    Ok(Some(BlockScales {
        ty: type_of_factors(&checkpoint.name, scale)?,
        block,
        first: 0,
        across: cols.div_ceil(block.1),
        data: scale.data.clone(),
    }))
}

/// The type of factors, one that numbers are read of.
fn type_of_factors(file: &str, scale: &Tensor) -> Result<StoredType> {
    use StoredType::{BF16, F8_E8M0, F16, F32};
    if matches!(scale.ty, F32 | F16 | BF16 | F8_E8M0) {
        return Ok(scale.ty);
    }
    let found = format!("type {}", scale.ty);
    let expected = "F32, F16, BF16 or F8_E8M0";
    Err(Error::input(file, &scale.name, found, expected))
}

/// An error where tensors stand beside a matrix that would change what it means: `ends` of its name.
fn no_other(checkpoint: &Checkpoint, name: &str, ends: &[&str]) -> Result<()> {
    let has =
        |n: &String| checkpoint.tensors.contains_key(n) || checkpoint.unreadable.contains_key(n);
    match ends.iter().map(|end| format!("{name}{end}")).find(has) {
        Some(other) => {
            let expected = "integers around 0, in the order of their columns";
            Err(Error::input(&checkpoint.name, other, "a tensor", expected))
        }
        None => Ok(()),
    }
}

/// A matrix of integers in words of 32 bits, as compressed-tensors packs them: `name` with `_packed` and `_scale` behind.
/// `tensor` finds a tensor by name.
///
/// # Errors
/// A tensor that is missing, or has another type or shape; zero points, and columns in another order.
pub(super) fn packed<'a>(
    checkpoint: &Checkpoint,
    name: &str,
    [rows, cols]: [usize; 2],
    tensor: impl Fn(&str) -> Result<&'a Tensor>,
) -> Result<Weight> {
    let file = &checkpoint.name;
    no_other(checkpoint, name, &["_zero_point", "_g_idx"])?;
    let words = tensor(&format!("{name}_packed"))?;
    let types = [(StoredType::PACKED_I4, 8), (StoredType::PACKED_I8, 4)];
    let fits = |&(_, each): &(StoredType, usize)| {
        cols.is_multiple_of(each) && words.shape == [rows, cols / each]
    };
    let found = types.into_iter().find(fits);
    let Some((ty, _)) = found.filter(|_| words.ty == StoredType::I32) else {
        let found = format!("{} {:?}", words.ty, words.shape);
        let expected = format!("I32, 8 or 4 values of {rows} x {cols} a word");
        return Err(Error::input(file, &words.name, found, expected));
    };
    let scale = tensor(&format!("{name}_scale"))?;
    let block = match scale.shape[..] {
        [1] | [] => (rows, cols),
        [r, n] if r == rows && n > 0 && cols.is_multiple_of(n) => (1, cols / n),
        _ => {
            let found = format!("shape {:?}", scale.shape);
            let expected = format!("[1] or [{rows}, n], n a divisor of {cols}");
            return Err(Error::input(file, &scale.name, found, expected));
        }
    };
    Ok(Weight {
        ty,
        rows,
        cols,
        layout: Layout::RowMajor,
        data: words.data.clone(),
        scales: Some(Box::new(BlockScales {
            ty: type_of_factors(file, scale)?,
            block,
            first: 0,
            across: cols / block.1,
            data: scale.data.clone(),
        })),
        precision: Precision::F32,
    })
}

/// The factors of stacked, input-major FP8 matrices, [n, inputs, outputs], one an output: `X_scale` [n, 1, outputs] or
/// [n, outputs, 1] (Llama 4 Maverick's FP8 files have the first for `gate_up_proj`, the second for `down_proj`). One entry a matrix, `None` for types that have none.
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
    let shapes = [[n, 1, outputs], [n, outputs, 1]];
    if !shapes.iter().any(|shape| scale.shape == shape) {
        let found = format!("shape {:?}", scale.shape);
        let expected = format!("{:?} or {:?}, a factor an output", shapes[0], shapes[1]);
        return Err(Error::input(file, &scale.name, found, expected));
    }
    let ty = type_of_factors(file, scale)?;
    let each = scale.data.len() / n;
    let one = |e: usize| {
        Some(Some(BlockScales {
            ty,
            block: (usize::MAX, 1),
            first: 0,
            across: outputs,
            data: scale.data.slice(e * each..(e + 1) * each)?,
        }))
    };
    let all: Option<Vec<_>> = (0..n).map(one).collect();
    all.ok_or_else(|| Error::input(file, &scale.name, "too few bytes", "those of its shape"))
}

/// Rows and columns that share a factor; 128 by 128 where the configuration says nothing, `None` where it says that
/// the whole matrix does.
fn fp8_block(checkpoint: &Checkpoint) -> Result<Option<(usize, usize)>> {
    let Config::Hf(config) = &checkpoint.config else {
        return Ok(Some((128, 128)));
    };
    let size = match block_size(config) {
        None => return Ok(Some((128, 128))),
        Some(Value::Null) => return Ok(None),
        Some(size) => size,
    };
    let sides: Option<Vec<u32>> = size.as_array().and_then(|a| {
        let side = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
        a.iter().map(|v| side(v).filter(|&n| n > 0)).collect()
    });
    match sides.as_deref() {
        Some(&[rows, cols]) => Ok(Some((rows as usize, cols as usize))),
        _ => Err(Error::input(
            &checkpoint.name,
            "quantization_config: size of blocks",
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
