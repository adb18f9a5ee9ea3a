//! Files that are split into a set.

use std::error::Error;
use std::fs;
use std::path::Path;

use fathom_engine::format::Checkpoint;

use crate::{Outcome, golden, support};

#[test]
fn a_set_split_by_gguf_py_reads_as_one() -> Outcome {
    let checkpoint = Checkpoint::open(&golden("set-00001-of-00003.gguf"))?;
    for i in 0..5u8 {
        let tensor = checkpoint.tensor(&format!("t{i}"))?;
        let mut values = [0.0; 24];
        tensor.ty.unpack(&tensor.data, &mut values);
        assert_eq!((values[0], values[23]), (i.into(), f32::from(i) + 23.0));
    }
    let on_disk: u64 = (1..=3)
        .map(|i| fs::metadata(golden(&format!("set-0000{i}-of-00003.gguf"))).map(|m| m.len()))
        .sum::<Result<_, _>>()?;
    assert_eq!(checkpoint.total_bytes, on_disk);
    Ok(())
}

#[test]
fn a_later_member_of_a_set_names_the_first() {
    let error = Checkpoint::open(&golden("set-00002-of-00003.gguf"))
        .expect_err("opened")
        .to_string();
    assert!(
        error.contains("found file 2 of 3 of a split set, expected the first:"),
        "{error}"
    );
    assert!(error.ends_with("set-00001-of-00003.gguf"), "{error}");
}

/// What opening the set says after `edit` has done something to a copy of it.
fn set_refusal(edit: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<String, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    for i in 1..=3 {
        let name = format!("set-0000{i}-of-00003.gguf");
        fs::copy(golden(&name), folder.path().join(&name))?;
    }
    edit(folder.path())?;
    match Checkpoint::open(&folder.path().join("set-00001-of-00003.gguf")) {
        Ok(_) => Err("a wrong set was opened".into()),
        Err(e) => Ok(e.to_string()),
    }
}

#[test]
fn a_set_that_does_not_belong_together_is_refused() -> Outcome {
    const SECOND: &str = "set-00002-of-00003.gguf";
    let missing = set_refusal(|f| fs::remove_file(f.join(SECOND)))?;
    assert!(
        missing.ends_with(
            "set-00002-of-00003.gguf: file: found no such file, expected file 2 of 3 of the set"
        ),
        "{missing}"
    );

    let twice =
        set_refusal(|f| fs::copy(f.join("set-00003-of-00003.gguf"), f.join(SECOND)).map(drop))?;
    assert!(
        twice.ends_with("split.no: found file 3 of 3, expected file 2 of 3"),
        "{twice}"
    );

    let foreign = set_refusal(|f| fs::copy(golden("whole.gguf"), f.join(SECOND)).map(drop))?;
    assert!(
        foreign.ends_with("split.no: found no such key, expected a member of a split set"),
        "{foreign}"
    );

    let lfs = set_refusal(|f| {
        fs::write(
            f.join(SECOND),
            "version https://git-lfs.github.com/spec/v1\n",
        )
    })?;
    assert!(
        lfs.contains(SECOND) && lfs.contains("a git-LFS pointer"),
        "{lfs}"
    );

    let folder = tempfile::tempdir()?;
    let renamed = folder.path().join("model.gguf");
    fs::copy(golden("set-00001-of-00003.gguf"), &renamed)?;
    let error = Checkpoint::open(&renamed).expect_err("opened").to_string();
    assert!(
        error.contains("expected a name that ends in -00001-of-00003.gguf"),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_set_is_counted() -> Outcome {
    let member = |no: u16, name: &str, n_tensors: i32| {
        let mut file = support::Gguf::small()
            .key("split.no", 2, no.to_le_bytes())
            .key("split.count", 2, 2u16.to_le_bytes())
            .key("split.tensors.count", 5, n_tensors.to_le_bytes());
        file.tensors.truncate(1);
        file.tensors[0].name = name.into();
        file.bytes()
    };
    let folder = tempfile::tempdir()?;
    let path = |i| folder.path().join(format!("m-0000{i}-of-00002.gguf"));
    let open = |second: &str, n_tensors| -> Result<_, Box<dyn Error>> {
        fs::write(path(1), member(0, "a", n_tensors))?;
        fs::write(path(2), member(1, second, n_tensors))?;
        Ok(Checkpoint::open(&path(1))
            .map(|c| c.tensors.len())
            .map_err(|e| e.to_string()))
    };
    assert_eq!(open("b", 2)?, Ok(2));
    let error = open("b", 3)?.unwrap_err();
    assert!(
        error.ends_with("split.tensors.count: found 2 tensors in the set, expected 3"),
        "{error}"
    );
    let error = open("a", 2)?.unwrap_err();
    assert!(
        error.ends_with(
            "tensor a: name: found the tensor twice in the set, expected each tensor once"
        ),
        "{error}"
    );
    let error = open("b", -1)?.unwrap_err();
    assert!(
        error.ends_with("split.tensors.count: found -1, expected a number of at least 0"),
        "{error}"
    );
    Ok(())
}
