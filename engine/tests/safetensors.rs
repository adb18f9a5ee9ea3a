//! The safetensors reader and Hugging Face folders: files of the format's own writers, then each way in which
//! one can be wrong.

mod support;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use fathom_engine::format::safetensors::{self, Safetensors};
use fathom_engine::format::{Bytes, Checkpoint, Config};
use support::safetensors as file_of;

type Outcome = Result<(), Box<dyn Error>>;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/golden/formats")
        .join(name)
}

fn read(bytes: Vec<u8>) -> Result<Safetensors, String> {
    safetensors::read("x.safetensors", &Bytes::from_vec(bytes)).map_err(|e| e.to_string())
}

/// The message for a file of this header and so many bytes of data.
fn refusal(header: &str, n_data: usize) -> String {
    let error = read(file_of(header, &vec![0; n_data])).expect_err("a wrong file was read");
    error
        .strip_prefix("x.safetensors: ")
        .map(String::from)
        .expect("the file's name")
}

#[test]
fn tensors_match_torch() -> Outcome {
    let found = safetensors::read("whole", &Bytes::map(&golden("whole.safetensors"))?)?;
    let count: Vec<f32> = (0..24u8).map(f32::from).collect();
    for (name, ty) in [("box", "F32"), ("half", "F16"), ("brain", "BF16")] {
        let tensor = &found.tensors[name];
        let mut values = vec![0.0; 24];
        tensor.ty.unpack(&tensor.data, &mut values);
        assert_eq!(
            (tensor.ty.name(), &tensor.shape[..], &values),
            (ty, &[2, 3, 4][..], &count)
        );
    }
    assert_eq!(
        (
            &found.tensors["scalar"].shape[..],
            found.tensors["scalar"].data.len()
        ),
        (&[][..], 4)
    );
    assert_eq!(
        (
            &found.tensors["nothing"].shape[..],
            found.tensors["nothing"].data.len()
        ),
        (&[0, 3][..], 0)
    );
    assert_eq!(found.tensors.len(), 6);
    let unreadable = [("ids", "I64"), ("mask", "BOOL")];
    assert_eq!(
        found.unreadable,
        unreadable
            .map(|(n, t)| (n.to_string(), t.to_string()))
            .into()
    );
    Ok(())
}

#[test]
fn every_truncation_is_refused() -> Outcome {
    let whole = support::safetensors_small();
    read(whole.clone())?;
    for n in 0..whole.len() {
        let error = read(whole[..n].to_vec()).expect_err("read");
        assert!(error.starts_with("x.safetensors: "), "{error}");
    }
    Ok(())
}

#[test]
fn what_is_no_safetensors_is_named() {
    for (bytes, what) in [
        (&b""[..], "file: found an empty file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "header: found a git-LFS pointer",
        ),
        (b"PK\x03\x04aaaaaaaaaaaaa", "header: found a zip archive"),
        (b"GGUF\x03\0\0\0\0\0\0\0", "header: found a GGUF file"),
        (b"\x80\x02}q\0(X\0\0\0\0\0", "header: found a Python pickle"),
    ] {
        let error = read(bytes.to_vec()).expect_err("read");
        assert!(
            error.starts_with(&format!("x.safetensors: {what}")),
            "{error}"
        );
    }
}

#[test]
fn a_header_that_lies_is_refused() {
    for n in [41u64, 1 << 27, 1 << 60, u64::MAX] {
        let mut bytes = file_of(r#"{"a":{"dtype":"I8"}}"#, &[0; 20]);
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        let error = read(bytes).expect_err("read");
        assert!(
            error.starts_with(&format!(
                "x.safetensors: header length: found {n}, expected at most 40"
            )),
            "{error}"
        );
    }
    // Shorter than the JSON is.
    let mut bytes = support::safetensors_small();
    bytes[..8].copy_from_slice(&20u64.to_le_bytes());
    assert!(
        read(bytes)
            .expect_err("read")
            .starts_with("x.safetensors: header: found EOF while parsing")
    );
    // Bombs of depth: what is ignored is skipped without recursion.
    let bomb = format!(r#"{{"a":{}"#, "[".repeat(1 << 20));
    assert!(
        refusal(&bomb, 0).starts_with("header: found invalid type: sequence"),
        "{}",
        refusal(&bomb, 0)
    );
    for key in ["__metadata__\":", "a\":{\"dtype\":\"F32\",\"x\":"] {
        let bomb = format!("{{\"{key}{}", r#"{"a":"#.repeat(1 << 20));
        assert!(refusal(&bomb, 0).starts_with("header: found EOF while parsing"));
    }
    let escape = refusal(
        "{\"a\":{\"dtype\":\"F32\",\"shape\":\"\u{202e}\",\"data_offsets\":[0,4]}}",
        4,
    );
    assert!(escape.contains(r"\u{202e}"), "{escape}");
}

#[test]
fn wrong_tensors_are_refused() {
    let a = |shape: &str, offsets: &str| {
        format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    for (header, n_data, expected) in [
        (a("[2]", "[0,12]"), 8, "tensor a: data_offsets: found [0, 12], expected a range within the 8 bytes of data"),
        (a("[2]", "[8,0]"), 8, "tensor a: data_offsets: found [8, 0], expected a range within"),
        (a("[2]", "[0,18446744073709551615]"), 8, "tensor a: data_offsets: found [0, 18446744073709551615], expected a range"),
        (a("[3]", "[0,8]"), 8, "tensor a: data_offsets: found 8 bytes, expected 12 for F32 [3]"),
        (a("[4294967296,4294967296]", "[0,0]"), 0, "tensor a: shape: found [4294967296, 4294967296], expected a shape whose size can be counted"),
        (a("[0,18446744073709551615]", "[0,0]"), 0, "tensor a: shape: found [0, 18446744073709551615], expected rows"),
        (a("[2]", "[0,8]"), 9, "data: found 9 bytes, expected the 8 that the tensors take"),
        (a("[2]", "[4,12]"), 12, "data: found 12 bytes, expected the 8 that the tensors take"),
        (a("[-2]", "[0,8]"), 8, "header: found invalid value: integer `-2`"),
        (a("[1.5]", "[0,8]"), 8, "header: found invalid type: floating point"),
        (a("[2]", "[0]"), 8, "header: found invalid length 1"),
        (a("[2]", "[0,8,9]"), 8, "header: found trailing characters"),
        (r#"{"a":{"shape":[2],"data_offsets":[0,8]}}"#.into(), 8, "header: found missing field `dtype`"),
        (r#"{"a":1}"#.into(), 8, "header: found invalid type: integer `1`"),
        (
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#.into(),
            8,
            "header: found tensor a twice",
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"I64","shape":[1],"data_offsets":[4,12]}}"#.into(),
            16,
            "tensor a: data_offsets: found the bytes of tensor b too, expected tensors that do not overlap",
        ),
    ] {
        let found = refusal(&header, n_data);
        assert!(found.starts_with(expected), "{found}");
    }
}

/// A folder of config.json and what else is given.
fn folder(files: &[(&str, &[u8])]) -> std::io::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    fs::write(
        folder.path().join("config.json"),
        r#"{"model_type": "llama"}"#,
    )?;
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes)?;
    }
    Ok(folder)
}

fn folder_refusal(files: &[(&str, &[u8])]) -> Result<String, Box<dyn Error>> {
    let folder = folder(files)?;
    match Checkpoint::open(folder.path()) {
        Ok(_) => Err("a wrong folder was opened".into()),
        Err(e) => Ok(e
            .to_string()
            .replace(&folder.path().display().to_string(), "DIR")),
    }
}

const INDEX: &str = "model.safetensors.index.json";

/// One tensor of this name, F32 [1].
fn shard(name: &str) -> Vec<u8> {
    file_of(
        &format!(r#"{{"{name}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#),
        &[0, 0, 0x80, 0x3f],
    )
}

#[test]
fn a_folder_is_opened_with_its_side_files() -> Outcome {
    let files: &[(&str, &[u8])] = &[
        ("model.safetensors", &support::safetensors_small()),
        ("tokenizer.json", b"{}"),
        ("README.md", b""),
    ];
    let folder = folder(files)?;
    let checkpoint = Checkpoint::open(folder.path())?;
    let Config::Hf(config) = &checkpoint.config else {
        return Err("no folder".into());
    };
    assert_eq!(config["model_type"], "llama");
    assert_eq!(checkpoint.tensor("a")?.shape, [2, 4]);
    assert_eq!(
        checkpoint.files.keys().collect::<Vec<_>>(),
        ["tokenizer.json"]
    );
    assert_eq!(&checkpoint.files["tokenizer.json"][..], b"{}");
    let error = |name: &str| checkpoint.tensor(name).expect_err("read").to_string();
    assert!(
        error("c").contains(": tensor c: type: found I16, expected one of F32, F16, BF16, F8_E4M3"),
        "{}",
        error("c")
    );
    assert!(
        error("d")
            .ends_with(": tensor d: found no such tensor, expected a tensor that the model needs"),
        "{}",
        error("d")
    );
    Ok(())
}

#[test]
fn shards_read_as_one() -> Outcome {
    let index = br#"{"metadata": {"total_size": 8}, "weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#;
    let folder = folder(&[
        (INDEX, index),
        ("one.safetensors", &shard("a")),
        ("two.safetensors", &shard("b")),
    ])?;
    let sharded = Checkpoint::open(folder.path())?;
    assert_eq!(sharded.tensors.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(sharded.total_bytes, 2 * shard("a").len() as u64);
    Ok(())
}

#[test]
fn shards_that_do_not_belong_together_are_refused() -> Outcome {
    let (a, b) = (&shard("a")[..], &shard("b")[..]);
    let two = br#"{"weight_map": {"a": "1", "b": "2"}}"#;
    for (index, one, second, expected) in [
        (
            &two[..],
            a,
            None,
            "DIR/2: file: found no such file, expected the shard that model.safetensors.index.json names",
        ),
        (
            two,
            a,
            Some(a),
            "DIR/2: tensor a: name: found the tensor in another shard too, expected each tensor once",
        ),
        (
            two,
            b,
            Some(a),
            "DIR/1: tensor a: found no such tensor, expected it, as model.safetensors.index.json says",
        ),
        (
            two,
            a,
            Some(&a[..20]),
            "DIR/2: header length: found 54, expected at most 12",
        ),
        (
            br#"{"weight_map": {"a": "../x"}}"#,
            a,
            None,
            "DIR/model.safetensors.index.json: weight_map: found ../x, expected a file's name without a folder",
        ),
        (
            br#"{"weight_map": {"a": ".."}}"#,
            a,
            None,
            "DIR/model.safetensors.index.json: weight_map: found .., expected a file's name",
        ),
        (
            br#"{"weight_map": {"a": "/dev/zero"}}"#,
            a,
            None,
            "DIR/model.safetensors.index.json: weight_map: found /dev/zero, expected",
        ),
        (
            br#"{"weight_map": {}}"#,
            a,
            None,
            "DIR/model.safetensors.index.json: weight_map: found no tensors",
        ),
        (
            br#"{"weight_map": {"a": "1", "a": "1"}}"#,
            a,
            None,
            "DIR/model.safetensors.index.json: index: found tensor a twice",
        ),
        (
            br#"{"weight_map": []}"#,
            a,
            None,
            "DIR/model.safetensors.index.json: index: found invalid type: sequence",
        ),
        (
            b"{}",
            a,
            None,
            "DIR/model.safetensors.index.json: index: found missing field `weight_map`",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1",
            a,
            None,
            "DIR/model.safetensors.index.json: index: found a git-LFS pointer",
        ),
    ] {
        let mut files = vec![(INDEX, index), ("1", one)];
        files.extend(second.map(|bytes| ("2", bytes)));
        let found = folder_refusal(&files)?;
        assert!(found.starts_with(expected), "{found}");
    }
    Ok(())
}

#[test]
fn a_folder_without_weights_says_what_it_has() -> Outcome {
    let expected = "expected model.safetensors or model.safetensors.index.json";
    assert_eq!(
        folder_refusal(&[])?,
        format!("DIR: weights: found no weights, {expected}")
    );
    assert_eq!(
        folder_refusal(&[("pytorch_model.bin", b"")])?,
        format!("DIR: weights: found only pytorch_model.bin, {expected}")
    );
    let lfs = folder_refusal(&[(
        "model.safetensors",
        b"version https://git-lfs.github.com/spec/v1",
    )])?;
    assert!(
        lfs.starts_with("DIR/model.safetensors: header: found a git-LFS pointer"),
        "{lfs}"
    );
    let empty = folder_refusal(&[("model.safetensors", b"")])?;
    assert!(
        empty.starts_with("DIR/model.safetensors: file: found an empty file"),
        "{empty}"
    );
    Ok(())
}

#[test]
fn a_wrong_config_is_refused() -> Outcome {
    for (config, expected) in [
        (&b"[]"[..], "DIR/config.json: JSON: found "),
        (
            b"",
            "DIR/config.json: JSON: found an empty file, expected an object",
        ),
        (
            b"{\"a\": }",
            "DIR/config.json: JSON: found expected value at line 1 column 7, expected an object",
        ),
        (&[b'['; 1 << 20], "DIR/config.json: JSON: found "),
        (
            &r#"{"a":"#.repeat(1 << 20).into_bytes(),
            "DIR/config.json: JSON: found recursion limit exceeded",
        ),
        (
            &vec![b' '; 9 << 20],
            "DIR/config.json: size: found 9437184 bytes, expected at most 8388608",
        ),
    ] {
        let found = folder_refusal(&[("config.json", config), ("model.safetensors", &shard("a"))])?;
        assert!(found.starts_with(expected), "{found}");
    }
    let empty = tempfile::tempdir()?;
    let error = Checkpoint::open(empty.path())
        .expect_err("opened")
        .to_string();
    assert!(error.contains("config.json: found no such file"), "{error}");
    let error = Checkpoint::open(&golden("make.py"))
        .expect_err("opened")
        .to_string();
    assert!(
        error
            .contains(r##"file: found "#!/usr/b", expected a GGUF file or a Hugging Face folder"##),
        "{error}"
    );
    Ok(())
}

#[test]
fn the_hash_is_of_the_weights_and_not_of_their_files() -> Outcome {
    let weights: &'static [u8] = support::safetensors_small().leak();
    let builtin = Checkpoint::from_parts("builtin", b"{}", weights, &[("tokenizer.json", b"{}")])?;
    let folder = folder(&[("model.safetensors", weights)])?;
    assert_eq!(builtin.hash(), Checkpoint::open(folder.path())?.hash());
    assert!(builtin.hash().starts_with("blake3:"));
    // One bit of a value, one of a name.
    for (at, bit) in [(weights.len() - 39, 1), (10, 4)] {
        let mut other = weights.to_vec();
        other[at] ^= bit;
        assert_ne!(
            Checkpoint::from_parts("builtin", b"{}", other.leak(), &[])?.hash(),
            builtin.hash()
        );
    }
    Ok(())
}
