//! The GGUF reader: files of the format's own writer, then each way in which a file can be wrong.

#[path = "../support/mod.rs"]
mod support;

mod sets;

use std::error::Error;
use std::path::{Path, PathBuf};

use fathom_engine::format::gguf::{self, Array, Gguf, Metadata, Value};
use fathom_engine::format::{Bytes, Checkpoint, Config, StoredType};
use support::{array, string, strings, tensor};

type Outcome = Result<(), Box<dyn Error>>;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/golden/formats")
        .join(name)
}

fn read(file: &support::Gguf) -> fathom_engine::Result<Gguf> {
    gguf::read("x.gguf", &Bytes::from_vec(file.bytes()))
}

/// The message for a file that must not be read.
fn refusal(edit: impl FnOnce(&mut support::Gguf)) -> String {
    let mut file = support::Gguf::small();
    edit(&mut file);
    read(&file).expect_err("a wrong file was read").to_string()
}

#[test]
fn values_match_gguf_py() -> Outcome {
    let Checkpoint {
        config: Config::Gguf(found),
        ..
    } = Checkpoint::open(&golden("whole.gguf"))?
    else {
        return Err("no GGUF".into());
    };
    let expected = [
        ("general.architecture", Value::Str("test".into())),
        ("general.alignment", Value::Unsigned(64)),
        ("u8", Value::Unsigned(200)),
        ("i8", Value::Signed(-100)),
        ("u16", Value::Unsigned(60_000)),
        ("i16", Value::Signed(-30_000)),
        ("u32", Value::Unsigned(4_000_000_000)),
        ("i32", Value::Signed(-2_000_000_000)),
        ("u64", Value::Unsigned(u64::MAX)),
        ("i64", Value::Signed(i64::MIN)),
        ("f32", Value::Float(0.1_f32.into())),
        ("f64", Value::Float(0.1)),
        ("yes", Value::Bool(true)),
        ("no", Value::Bool(false)),
        ("text", Value::Str("naïve 読む 🦀".into())),
        ("ints", Value::Array(Array::Signed(vec![1, -2, 3]))),
        ("floats", Value::Array(Array::Float(vec![0.5, -1.5]))),
        ("bools", Value::Array(Array::Bool(vec![true, false, true]))),
        (
            "strings",
            Value::Array(Array::Str(vec!["a".into(), String::new(), "ü".into()])),
        ),
    ];
    assert_eq!(
        found,
        expected
            .map(|(k, v)| (k.to_string(), v))
            .into_iter()
            .collect::<Metadata>()
    );
    Ok(())
}

#[test]
fn tensors_match_gguf_py() -> Outcome {
    let checkpoint = Checkpoint::open(&golden("whole.gguf"))?;
    let values = |name: &str| -> fathom_engine::Result<Vec<f32>> {
        let tensor = checkpoint.tensor(name)?;
        let mut values = vec![0.0; tensor.shape.iter().product()];
        tensor.ty.unpack(&tensor.data, &mut values);
        Ok(values)
    };
    let count: Vec<f32> = (0..24u8).map(f32::from).collect();
    for name in ["box", "half"] {
        assert_eq!(checkpoint.tensor(name)?.shape, [2, 3, 4]);
        assert_eq!(values(name)?, count);
    }
    // The same 512 values from -1 to 1 in every type: within half a step of the type.
    for (name, step) in [
        ("BF16", 0.004),
        ("Q8_0", 0.008),
        ("Q4_0", 0.13),
        ("Q4_1", 0.01),
        ("Q5_0", 0.07),
        ("Q5_1", 0.005),
    ] {
        let tensor = checkpoint.tensor(name)?;
        assert_eq!((tensor.ty.name(), &tensor.shape[..]), (name, &[2, 256][..]));
        for (i, v) in values(name)?.into_iter().enumerate() {
            let exact = -1.0 + 2.0 * i as f32 / 511.0;
            assert!(
                (v - exact).abs() <= step,
                "{name} {i}: {v}, written as {exact}"
            );
        }
    }
    assert_eq!(checkpoint.tensors.len(), 8);
    Ok(())
}

#[test]
fn versions_2_and_3_are_read_and_no_others() -> Outcome {
    let mut file = support::Gguf::small();
    for version in [2, 3] {
        file.version = version;
        let gguf = read(&file)?;
        assert_eq!(gguf.tensors["a"].shape, [2, 4]);
        assert_eq!(gguf.tensors["b"].ty, StoredType::Q8_0);
        assert_eq!(&gguf.tensors["b"].data[..3], [0, 0x3c, 0]);
    }
    assert_eq!(
        refusal(|f| f.version = 1),
        "x.gguf: version: found 1, expected 2 or 3"
    );
    assert_eq!(
        refusal(|f| f.version = 4),
        "x.gguf: version: found 4, expected 2 or 3"
    );
    let big_endian = refusal(|f| f.version = 3u32.swap_bytes());
    assert!(
        big_endian.starts_with("x.gguf: version: found 3 in big-endian order"),
        "{big_endian}"
    );
    Ok(())
}

#[test]
fn what_is_no_gguf_is_named() {
    for (bytes, what) in [
        (&b""[..], "an empty file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "a git-LFS pointer",
        ),
        (b"tjgg\x03\0\0\0", "a ggml file from before GGUF"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"\x01\x02\x1b[2J", r#""\x01\x02\x1b[2J""#),
        (
            &support::safetensors_small(),
            "what looks like a safetensors file",
        ),
    ] {
        let error = gguf::read("x.gguf", &Bytes::from_vec(bytes.to_vec()))
            .expect_err("read")
            .to_string();
        assert!(
            error.starts_with(&format!("x.gguf: magic: found {what}")),
            "{error}"
        );
    }
}

#[test]
fn every_truncation_is_refused() {
    let whole = support::Gguf::small().bytes();
    for n in 0..whole.len() {
        let error = gguf::read("x.gguf", &Bytes::from_vec(whole[..n].to_vec())).expect_err("read");
        assert!(error.to_string().starts_with("x.gguf: "), "{error}");
    }
}

#[test]
fn counts_beyond_the_file_are_refused() {
    for n in [1 << 20, 1 << 60, u64::MAX] {
        let error = refusal(|f| f.n_tensors = Some(n));
        assert!(
            error.starts_with(&format!(
                "x.gguf: tensor_count: found a length of {n}, expected at most "
            )),
            "{error}"
        );
        let error = refusal(|f| f.n_keys = Some(n));
        assert!(
            error.starts_with(&format!(
                "x.gguf: metadata_kv_count: found a length of {n}, "
            )),
            "{error}"
        );
        let huge = |n: u64| n.to_le_bytes().to_vec();
        let error = refusal(|f| f.keys.push(("k".into(), 8, huge(n))));
        assert!(
            error.starts_with(&format!("x.gguf: k: found a length of {n}, ")),
            "{error}"
        );
        for ty in [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12] {
            let error = refusal(|f| f.keys.push(("k".into(), 9, array(ty, n, &[]))));
            assert!(
                error.starts_with(&format!("x.gguf: k: found a length of {n}, ")),
                "{error}"
            );
        }
    }
}

#[test]
fn wrong_metadata_is_refused() {
    let with = |ty: u32, value: &[u8]| refusal(|f| f.keys.push(("k".into(), ty, value.to_vec())));
    assert_eq!(
        with(13, &[]),
        "x.gguf: k: found value type 13, expected a value type of 0 to 12"
    );
    assert_eq!(
        with(7, &[2]),
        "x.gguf: k: found 2 for a truth value, expected 0 or 1"
    );
    assert_eq!(
        with(9, &array(7, 2, &[1, 3])),
        "x.gguf: k: found 3 for a truth value, expected 0 or 1"
    );
    assert_eq!(
        with(9, &array(9, 1, &strings(&["a"]))),
        "x.gguf: k: found an array of arrays, expected an array of numbers or strings"
    );
    assert_eq!(
        with(9, &array(77, 1, &[0; 8])),
        "x.gguf: k: found an array of value type 77, expected a value type of 0 to 12"
    );
    let mut text = string("ab");
    text[9] = 0xff;
    assert_eq!(
        with(8, &text),
        r#"x.gguf: k: found "a\xff", not UTF-8 at byte 1, expected UTF-8"#
    );
    assert_eq!(
        refusal(|f| f.keys.push(("n".into(), 0, vec![1]))),
        "x.gguf: n: found the key twice, expected each key once"
    );
    assert_eq!(
        refusal(|f| f.keys.push((String::new(), 0, vec![1]))),
        "x.gguf: metadata key 3: found a name of 0 bytes, expected 1 to 65535"
    );
    let escape = refusal(|f| f.keys.push(("\x1b[2J\n\u{202e}".into(), 13, vec![])));
    assert!(
        escape.starts_with(r"x.gguf: \u{1b}[2J\u{a}\u{202e}: found"),
        "{escape}"
    );
}

#[test]
fn alignment_is_a_power_of_two() -> Outcome {
    for n in [1u32, 8, 64, 4096] {
        let mut file = support::Gguf::small().key("general.alignment", 4, n.to_le_bytes());
        file.alignment = n as usize;
        file.tensors[1].offset = 32u64.next_multiple_of(n.into());
        let second = file.data.split_off(32);
        file.data.resize(file.tensors[1].offset as usize, 0);
        file.data.extend(second);
        assert_eq!(&read(&file)?.tensors["b"].data[..3], [0, 0x3c, 0]);
    }
    for n in [0u32, 24, u32::MAX] {
        let error = refusal(|f| {
            f.keys
                .push(("general.alignment".into(), 4, n.to_le_bytes().to_vec()))
        });
        assert_eq!(
            error,
            format!("x.gguf: general.alignment: found {n}, expected a power of two up to 2^31")
        );
    }
    let error = refusal(|f| {
        f.keys.push((
            "general.alignment".into(),
            4,
            (1u32 << 31).to_le_bytes().to_vec(),
        ))
    });
    assert!(
        error.contains("expected to end within the 0 bytes after the header"),
        "{error}"
    );
    let error = refusal(|f| f.keys.push(("general.alignment".into(), 8, string("32"))));
    assert!(error.ends_with("expected an unsigned number"), "{error}");
    Ok(())
}

#[test]
fn wrong_tensors_are_refused() {
    let with = |name: &str, dims: &[u64], ty: u32, offset: u64| {
        refusal(|f| f.tensors[0] = tensor(name, dims, ty, offset))
    };
    for (dims, ty, offset, expected) in [
        (
            &[4, 2][..],
            0,
            8,
            "offset: found 8, expected a multiple of 32",
        ),
        (
            &[4, 0],
            0,
            0,
            "shape: found a dimension of 0, expected at least 1",
        ),
        (&[], 0, 0, "dimensions: found 0, expected 1 to 4"),
        (
            &[1, 1, 1, 1, 8],
            0,
            0,
            "dimensions: found 5, expected 1 to 4",
        ),
        (
            &[16, 2],
            8,
            0,
            "shape: found [2, 16], expected rows of a multiple of 32 values of type Q8_0",
        ),
        (
            &[u64::MAX, 2],
            0,
            0,
            "shape: found [2, 18446744073709551615], expected",
        ),
        (
            &[1 << 32, 1 << 32],
            1,
            0,
            "shape: found [4294967296, 4294967296], expected a shape whose size can be counted",
        ),
        (
            &[1 << 40],
            0,
            0,
            "data: found 4398046511104 bytes at offset 0, expected to end within the 66 bytes",
        ),
        (
            &[8],
            0,
            1 << 62,
            "data: found 32 bytes at offset 4611686018427387904, expected to end within",
        ),
        (
            &[8],
            0,
            u64::MAX - 31,
            "data: found 32 bytes at offset 18446744073709551584, expected to end within",
        ),
        (
            &[4, 3],
            0,
            0,
            "data: found the bytes of tensor b too, expected tensors that do not overlap",
        ),
        (
            &[4, 2],
            0,
            32,
            "data: found the bytes of tensor b too, expected tensors that do not overlap",
        ),
        (
            &[4, 2],
            24,
            0,
            "type: found 24 (I8), expected one of F32, F16, BF16, Q8_0, ",
        ),
        (&[4, 2], 31, 0, "type: found 31, expected one of F32"),
    ] {
        let error = with("t", dims, ty, offset);
        let first_or_second = error
            .strip_prefix("x.gguf: tensor t: ")
            .or(error.strip_prefix("x.gguf: tensor b: "));
        assert!(
            first_or_second.is_some_and(|e| e.starts_with(expected) || e.contains("tensor t too")),
            "{error}"
        );
    }
    assert_eq!(
        with("b", &[8], 0, 0),
        "x.gguf: tensor b: name: found the tensor twice, expected each tensor once"
    );
    assert_eq!(
        refusal(|f| f.tensors[0].n_dims = Some(u32::MAX)),
        "x.gguf: tensor a: dimensions: found 4294967295, expected 1 to 4"
    );
    let long = with(&"x".repeat(70_000), &[8], 0, 0);
    assert!(
        long.ends_with("found a name of 70000 bytes, expected 1 to 65535"),
        "{long}"
    );
}
