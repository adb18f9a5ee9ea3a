//! Rounding weights: the error against ggml's quantisers', what stays, what falls back, what is refused.

use std::error::Error;
use std::path::{Path, PathBuf};

use fathom_engine::format::gguf::write::{Pair, Planned, write};
use fathom_engine::format::gguf::{self, Value};
use fathom_engine::format::{Bytes, StoredType};
use fathom_engine::quantize::{quantize, types};

type Test = Result<(), Box<dyn Error>>;

/// Normal numbers: splitmix64 and Box-Muller.
fn noise(n: usize) -> Vec<f32> {
    let mut state = 7u64;
    let mut uniform = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut normal = || {
        let (u, v) = (1.0 - uniform(), uniform());
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    };
    (0..n).map(|_| normal()).collect()
}

/// A GGUF file of these F32 tensors, with shapes.
fn file(folder: &Path, tensors: &[(&str, &[usize], &[f32])]) -> Result<PathBuf, Box<dyn Error>> {
    let path = folder.join("source.gguf");
    let planned: Vec<_> = tensors
        .iter()
        .map(|(name, shape, _)| Planned {
            name: (*name).into(),
            ty: StoredType::F32,
            shape: shape.to_vec(),
        })
        .collect();
    let pairs = [Pair::u32("x.y", 5), Pair::u32("general.file_type", 0)];
    write(&path, &pairs, 64, &planned, |i, sink| {
        tensors[i].2.iter().try_for_each(|v| sink(&v.to_le_bytes()))
    })?;
    Ok(path)
}

#[test]
fn errors_are_those_of_ggmls_quantisers() -> Test {
    // `quantize_row_*_ref` of ggml d99724f2 on 2^20 normal numbers: root mean square, relative.
    let ggml = [
        (StoredType::Q8_0, 0.005355),
        (StoredType::Q4_0, 0.085998),
        (StoredType::Q4_1, 0.078265),
        (StoredType::Q5_0, 0.042701),
        (StoredType::Q5_1, 0.037849),
        (StoredType::Q4_K, 0.071368),
        (StoredType::Q6_K, 0.017751),
    ];
    assert_eq!(types().count(), ggml.len());
    let folder = tempfile::tempdir()?;
    let source = file(
        folder.path(),
        &[("a.weight", &[512, 512], &noise(512 * 512))],
    )?;
    for (ty, expected) in ggml {
        let out = folder.path().join("out.gguf");
        let done = quantize(&source, ty, &out)?;
        let [before, changed] = done.tensors[0].squares;
        let error = (changed / before).sqrt();
        assert!(
            (0.98..1.02).contains(&(error / expected)),
            "{ty}: {error}, ggml has {expected}"
        );
        assert_eq!(done.bytes, std::fs::metadata(&out)?.len());
        let (gguf, _) = gguf::open(&out)?;
        let t = &gguf.tensors["a.weight"];
        assert_eq!((t.ty, &t.shape[..]), (ty, &[512, 512][..]));
        assert_eq!(gguf.metadata["x.y"], Value::Unsigned(5));
    }
    Ok(())
}

#[test]
fn vectors_norms_and_routers_stay_and_short_rows_fall_back() -> Test {
    let folder = tempfile::tempdir()?;
    let x = noise(96 * 64);
    let source = file(
        folder.path(),
        &[
            ("blk.0.attn_norm.weight", &[96], &x[..96]),
            ("blk.0.attn_q_norm.weight", &[4, 96], &x[..4 * 96]),
            ("blk.0.ffn_gate_inp.weight", &[2, 96], &x[..2 * 96]),
            ("blk.0.ffn_up.weight", &[64, 96], &x),
            ("blk.0.ffn_up_exps.weight", &[2, 32, 96], &x),
            ("odd.weight", &[2, 3], &x[..6]),
            ("zero.weight", &[1, 32], &[0.0; 32]),
        ],
    )?;
    let out = folder.path().join("out.gguf");
    let done = quantize(&source, StoredType::Q4_K, &out)?;
    let kinds: Vec<_> = done.tensors.iter().map(|t| (t.to, t.fallback)).collect();
    use StoredType::{F16, F32, Q5_0};
    let expected = [
        (F32, false),
        (F32, false),
        (F32, false),
        (Q5_0, true),
        (Q5_0, true),
        (F16, true),
        (Q5_0, true),
    ];
    assert_eq!(kinds, expected);
    let before = gguf::read("x", &Bytes::map(&source)?)?;
    let (after, _) = gguf::open(&out)?;
    let same = "blk.0.ffn_gate_inp.weight";
    assert_eq!(before.tensors[same].data[..], after.tensors[same].data[..]);
    let (zero, mut values) = (&after.tensors["zero.weight"], [1.0; 32]);
    zero.ty.unpack(&zero.data, &mut values);
    assert_eq!(values, [0.0; 32]);
    Ok(())
}

#[test]
fn what_cannot_be_rounded_is_one_error_and_no_file() -> Test {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out.gguf");
    let fails = |source: &Path, ty| quantize(source, ty, &out).err().map(|e| e.to_string());
    for bad in [f32::NAN, f32::INFINITY, 1e30] {
        let mut x = noise(64);
        x[40] = bad;
        let source = file(folder.path(), &[("a.weight", &[2, 32], &x)])?;
        let error = fails(&source, StoredType::Q8_0).ok_or("rounded")?;
        assert!(error.contains("a.weight"), "{error}");
        assert!(!out.exists());
    }
    let source = file(folder.path(), &[("a.weight", &[2, 32], &noise(64))])?;
    let error = fails(&source, StoredType::IQ2_K).ok_or("rounded")?;
    assert!(error.contains("IQ2_K"), "{error}");
    let rounded = folder.path().join("rounded.gguf");
    quantize(&source, StoredType::Q8_0, &rounded)?;
    let error = fails(&rounded, StoredType::Q4_0).ok_or("rounded twice")?;
    assert!(
        error.contains("a.weight") && error.contains("Q8_0"),
        "{error}"
    );
    Ok(())
}
