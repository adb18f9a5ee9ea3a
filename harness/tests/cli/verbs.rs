//! The other verbs: what they print and write.

use safetensors::{Dtype, SafeTensors};

use crate::*;

#[test]
fn what_cannot_be_written_is_one_line_and_exit_3() -> Test {
    let temp = tempfile::tempdir()?;
    small_suite(temp.path())?;
    std::fs::write(temp.path().join("file"), "x")?;
    let model = scout().display().to_string();
    for out in ["file/below", "/proc/fathom"] {
        let (_, err) = ends(3, fathom(temp.path(), &run_args(&model, &["--out", out])))?;
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.contains(out), "{err}");
    }
    Ok(())
}

#[test]
fn recorded_logits_have_the_layout_of_the_contract() -> Test {
    let temp = tempfile::tempdir()?;
    let dir = temp.path();
    let model = scout().display().to_string();
    std::fs::write(dir.join("flat.json"), "[5, 6, 7, 8]")?;
    std::fs::write(dir.join("nested.json"), "[[9, 5], [5, 6, 7, 8]]")?;
    for name in ["flat", "nested"] {
        let (tokens, out) = (format!("{name}.json"), format!("{name}.safetensors"));
        let args = [
            "logits", "record", "--model", &model, "--tokens", &tokens, "--out", &out,
        ];
        ends(0, fathom(dir, &args))?;
    }
    let (flat, nested) = (
        std::fs::read(dir.join("flat.safetensors"))?,
        std::fs::read(dir.join("nested.safetensors"))?,
    );
    let (flat, nested) = (
        SafeTensors::deserialize(&flat)?,
        SafeTensors::deserialize(&nested)?,
    );
    assert_eq!(flat.names().len(), 2);
    let logits = flat.tensor("logits")?;
    assert_eq!(
        (logits.dtype(), logits.shape()),
        (Dtype::F32, &[4, 272][..])
    );
    assert_eq!(flat.tensor("tokens")?.dtype(), Dtype::I32);
    let offsets = nested.tensor("offsets")?;
    assert_eq!((offsets.dtype(), offsets.shape()), (Dtype::I64, &[3][..]));
    // Positions start at 0 in each array, so the second one has the logits of the flat file.
    assert_eq!(
        &nested.tensor("logits")?.data()[2 * 272 * 4..],
        logits.data()
    );
    Ok(())
}

#[test]
fn tokenize_generate_and_bench_print_their_json() -> Test {
    let temp = tempfile::tempdir()?;
    let dir = temp.path();
    let model = scout().display().to_string();
    std::fs::write(dir.join("t.txt"), "Call me Ishmael.")?;
    let (out, _) = ends(
        0,
        fathom(
            dir,
            &["tokenize", "--model", &model, "--file", "t.txt", "--json"],
        ),
    )?;
    let ids: Vec<u32> = serde_json::from_str(&out)?;
    assert!(!ids.is_empty());
    let generate = [
        "generate",
        "--model",
        &model,
        "--prompt",
        "Call me",
        "--max-tokens",
        "3",
        "--json",
    ];
    let (out, _) = ends(0, fathom(dir, &generate))?;
    let value: serde_json::Value = serde_json::from_str(&out)?;
    let n = value["ids"].as_array().map_or(0, Vec::len);
    assert!(n > 0 && n <= 3);
    assert_eq!(value["logprobs"].as_array().map(Vec::len), Some(n));
    let bench = [
        "bench",
        "--model",
        &model,
        "--prompt",
        "16,1k",
        "--decode",
        "2",
        "--repeats",
        "1",
        "--tree",
        "--plot",
        "speed.svg",
        "--json",
    ];
    let (out, _) = ends(0, fathom(dir, &bench))?;
    let value: serde_json::Value = serde_json::from_str(&out)?;
    assert!(std::fs::read_to_string(dir.join("speed.svg"))?.starts_with("<svg"));
    // The planned forks of a sweep evaluate nothing again.
    let sweep = 1024 + 8 * 11 * 24;
    assert_eq!(value["sweep"]["tokens_worked"], sweep);
    assert_eq!(value["answers"]["tokens"], 32);
    assert_eq!(value["prefill"][1]["tokens"], 1024);
    assert!(
        value["prefill"][0]["tokens_per_s"]
            .as_f64()
            .is_some_and(|t| t > 0.0)
    );
    assert_eq!(
        (
            &value["decode"][0]["context"],
            &value["decode"][0]["tokens"]
        ),
        (&0.into(), &2.into())
    );
    Ok(())
}

#[test]
fn a_reader_that_has_gone_is_no_error() -> Test {
    let temp = tempfile::tempdir()?;
    let mut child = fathom(temp.path(), &["list", "faults"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let output = child.wait_with_output()?;
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    Ok(())
}

#[test]
fn faults_of_a_model_are_those_that_change_it() -> Test {
    let temp = tempfile::tempdir()?;
    let (out, _) = ends(
        0,
        fathom(temp.path(), &["list", "faults", "--model", "builtin"]),
    )?;
    let row = |name: &str| {
        out.lines()
            .find(|l| l.split_whitespace().next() == Some(name))
    };
    for (name, changed, tokens) in [
        ("no-chunk", "3 of 4 layers", "449 tokens"),
        ("no-temperature", "1 of 4 layers", "128 tokens"),
        ("router-twice", "4 of 4 layers", "1 tokens"),
        ("rope-pairing", "3 of 4 layers", "2 tokens"),
    ] {
        let row = row(name).ok_or(name)?;
        assert!(row.contains(changed) && row.contains(tokens), "{row}");
    }
    // It has no norm on queries and keys, and no window.
    assert!(
        row("no-qk-norm").is_none() && row("no-window").is_none(),
        "{out}"
    );
    ends(
        2,
        fathom(temp.path(), &["list", "suites", "--model", "builtin"]),
    )?;
    Ok(())
}

/// How weights are stored is named: the type, and what shares a scale.
#[test]
fn show_names_the_stored_types() -> Test {
    let dir = tempfile::tempdir()?;
    for (name, stored) in [
        ("fp8_deepseek_v3", "FP8 E4M3 in blocks of 24 x 40: "),
        ("fp8_tensor", "FP8 E4M3, one scale a matrix: 28"),
        ("fbgemm_llama4", "FP8 E4M3, one scale an output: "),
        ("ct_fp8", "FP8 E4M3, one scale an output: "),
        ("ct_int", "int4 in groups of 8: 7"),
        ("gpt_oss_mxfp4", "MXFP4 in groups of 32: 32"),
        ("llama31", "BF16: "),
    ] {
        let model = scout().join("..").join(name);
        let (out, _) = ends(
            0,
            fathom(dir.path(), &["show", model.to_str().ok_or("path")?]),
        )?;
        let line = out.lines().find(|l| l.trim_start().starts_with("matrices"));
        let line = line.ok_or("no line of matrices")?;
        assert!(line.contains(stored), "{name}: {line}");
    }
    Ok(())
}

/// Through the command: a file of the golden checkpoint that answers as the original does, nearly.
#[test]
fn quantize_writes_a_file_that_says_nearly_the_same() -> Test {
    let dir = tempfile::tempdir()?;
    let source = scout().join("../llama31/model-bf16.gguf");
    let source = source.to_str().ok_or("path")?;
    std::fs::write(dir.path().join("tokens.json"), "[1, 2, 3, 4, 5, 6, 7, 8]")?;
    let logits = |model: &str| -> Result<Vec<f32>, Box<dyn Error>> {
        let args = [
            "logits",
            "record",
            "--model",
            model,
            "--tokens",
            "tokens.json",
        ];
        ends(
            0,
            fathom(
                dir.path(),
                &[&args[..], &["--out", "l.safetensors"]].concat(),
            ),
        )?;
        let bytes = std::fs::read(dir.path().join("l.safetensors"))?;
        let file = SafeTensors::deserialize(&bytes)?;
        let data = file.tensor("logits")?.data().as_chunks().0.iter();
        Ok(data.map(|b| f32::from_le_bytes(*b)).collect())
    };
    let exact = logits(source)?;
    let size = |x: &[f32]| x.iter().map(|v| f64::from(v * v)).sum::<f64>().sqrt();
    for (ty, most) in [("Q8_0", 0.05), ("q5_0", 0.4)] {
        let args = [
            "quantize", "--model", source, "--type", ty, "--out", "q.gguf",
        ];
        let (out, _) = ends(0, fathom(dir.path(), &args))?;
        assert!(
            out.contains("BF16 to ") && out.contains("relative error"),
            "{out}"
        );
        let rounded = logits("q.gguf")?;
        let off: Vec<f32> = exact.iter().zip(&rounded).map(|(a, b)| a - b).collect();
        let share = size(&off) / size(&exact);
        assert!(share > 0.0 && share < most, "{ty}: {share}");
    }
    let args = [
        "quantize", "--model", source, "--type", "Q3", "--out", "q.gguf",
    ];
    let (_, error) = ends(2, fathom(dir.path(), &args))?;
    assert!(error.contains("Q4_K"), "{error}");
    let args = [
        "quantize", "--model", "q.gguf", "--type", "Q8_0", "--out", "r.gguf", "--json",
    ];
    let (_, error) = ends(2, fathom(dir.path(), &args))?;
    assert!(
        error.contains("Q5_0") && error.contains("F32, F16 or BF16"),
        "{error}"
    );
    Ok(())
}
