//! `fathom logits check` on the built-in model: the knee of a fault stands where the fault begins, and nothing else has one.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize_to_file};
use serde_json::Value;

type Test = Result<(), Box<dyn Error>>;

/// Tokens of each of two texts: several chunks of 448, several steps of 128.
const LENGTH: usize = 1600;

fn fathom(dir: &Path, args: &[&str]) -> Result<(i32, String, String), Box<dyn Error>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fathom"));
    let output = command
        .current_dir(dir)
        .args(args)
        .stdin(Stdio::null())
        .output()?;
    let code = output.status.code().ok_or("no exit code")?;
    Ok((
        code,
        String::from_utf8(output.stdout)?,
        String::from_utf8(output.stderr)?,
    ))
}

fn done(dir: &Path, args: &[&str]) -> Result<String, Box<dyn Error>> {
    let (code, out, err) = fathom(dir, args)?;
    assert_eq!(code, 0, "{args:?}\n{out}\n{err}");
    Ok(out)
}

fn check(dir: &Path, args: &[&str]) -> Result<(i32, Value), Box<dyn Error>> {
    let (code, out, err) = fathom(dir, &[&["logits", "check", "--json"], args].concat())?;
    assert!(code < 2, "{args:?}\n{err}");
    Ok((code, serde_json::from_str(&out)?))
}

/// Two texts of the built-in model's own words, as ids.
fn record(dir: &Path, more: &[&str]) -> Test {
    let mut texts = Vec::new();
    for (name, first) in [("a", 7), ("b", 3)] {
        let sentences = (0..LENGTH).map(|i| {
            let kind = ["river", "lamp", "stone", "letter"][(i * first + i / 5) % 4];
            format!(
                "The {kind} of day {} stood by the old mill. ",
                (i * i * first) % 997
            )
        });
        std::fs::write(dir.join(name), sentences.collect::<String>())?;
        let ids = done(
            dir,
            &["tokenize", "--model", "builtin", "--file", name, "--json"],
        )?;
        let mut ids: Vec<u32> = serde_json::from_str(&ids)?;
        ids.truncate(LENGTH);
        assert_eq!(ids.len(), LENGTH);
        texts.push(ids);
    }
    std::fs::write(dir.join("tokens.json"), serde_json::to_string(&texts)?)?;
    let args = ["logits", "record", "--tokens", "tokens.json", "--out"];
    done(dir, &[&args, more].concat())?;
    Ok(())
}

#[test]
fn a_fault_has_its_knee_where_it_begins() -> Test {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    record(dir, &["full.safetensors"])?;
    record(dir, &["top.safetensors", "--top-k", "32"])?;
    assert!(
        dir.join("top.safetensors").metadata()?.len()
            < dir.join("full.safetensors").metadata()?.len() / 20
    );
    for reference in ["full.safetensors", "top.safetensors"] {
        for (fault, begins) in [
            ("no-chunk", 448),
            ("window-for-chunk", 448),
            ("no-temperature", 127),
        ] {
            let (code, found) = check(dir, &["--reference", reference, "--fault", fault])?;
            assert_eq!((code, &found["within_bounds"]), (1, &false.into()));
            let knee = &found["knees"][0];
            // With top-k the others' mass hides what is less than rounding.
            assert_eq!(
                knee["position"], begins,
                "{fault} {reference}: {}",
                found["knees"]
            );
            assert_eq!(
                (&knee["low"], &knee["high"]),
                (&begins.into(), &begins.into())
            );
        }
        let (code, same) = check(dir, &["--reference", reference])?;
        assert_eq!(
            (code, same["knees"].as_array().map(Vec::len)),
            (0, Some(0)),
            "{same}"
        );
        assert!(
            same["all"]["kl"]["mean"]
                .as_f64()
                .is_some_and(|kl| kl < 1e-9)
        );
        assert_eq!(same["all"]["top1"]["mean"], 1.0);
    }
    // A fault that is everywhere has a divergence and need not have a knee.
    let (code, everywhere) = check(
        dir,
        &["--reference", "full.safetensors", "--fault", "router-twice"],
    )?;
    assert_eq!(code, 1);
    assert!(
        everywhere["curve"][0]["kl"]["low"]
            .as_f64()
            .is_some_and(|kl| kl > 0.005),
        "{everywhere}"
    );
    Ok(())
}

/// Other numerics are no fault: all logits rounded to bfloat16.
#[test]
fn rounding_is_within_bounds_and_has_no_knee() -> Test {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    record(dir, &["full.safetensors"])?;
    let bytes = std::fs::read(dir.join("full.safetensors"))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let rounded: Vec<u8> = file
        .tensor("logits")?
        .data()
        .as_chunks()
        .0
        .iter()
        .flat_map(|b| {
            let bits = u32::from_le_bytes(*b);
            let even = (bits >> 16) & 1;
            ((bits + 0x7fff + even) & 0xffff_0000).to_le_bytes()
        })
        .collect();
    let shape = file.tensor("logits")?.shape().to_vec();
    let tensors = [
        ("logits", TensorView::new(Dtype::F32, shape, &rounded)?),
        ("tokens", file.tensor("tokens")?),
        ("offsets", file.tensor("offsets")?),
    ];
    serialize_to_file(tensors, None, &dir.join("rounded.safetensors"))?;
    let args = [
        "--reference",
        "full.safetensors",
        "--candidate",
        "rounded.safetensors",
    ];
    let (code, found) = check(dir, &args)?;
    assert_eq!(
        (code, found["knees"].as_array().map(Vec::len)),
        (0, Some(0)),
        "{found}"
    );
    let kl = found["all"]["kl"]["mean"].as_f64().ok_or("no mean")?;
    assert!(kl > 1e-7 && kl < 1e-3, "{kl}");
    // The same file is nothing at all apart, and a bound below the noise is exceeded.
    let same = [
        "--reference",
        "full.safetensors",
        "--candidate",
        "full.safetensors",
    ];
    assert_eq!(check(dir, &same)?.1["all"]["kl"]["high"], 0.0);
    assert_eq!(
        check(dir, &[&args[..], &["--max-kl", "1e-8"]].concat())?.0,
        1
    );
    Ok(())
}

#[test]
fn llamacpp_base_files_are_written_and_read() -> Test {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    record(dir, &["base.kld"])?;
    let (code, same) = check(dir, &["--reference", "base.kld"])?;
    assert_eq!(code, 0, "{same}");
    // Sixteen bits: about 5e-4 nats at most; the second half of each text only.
    let kl = same["all"]["kl"]["mean"].as_f64().ok_or("no mean")?;
    assert!(kl > 1e-10 && kl < 2e-3, "{kl}");
    assert_eq!(
        (&same["all"]["from"], &same["all"]["tokens"]),
        (&(LENGTH / 2).into(), &(2 * (LENGTH / 2 - 1)).into())
    );
    assert_eq!(
        check(dir, &["--reference", "base.kld", "--fault", "no-chunk"])?.0,
        1
    );
    Ok(())
}

/// `tests/golden/perplexity.kld` is llama-perplexity's own, of a model that llama.cpp evaluates with activations in bfloat16.
#[test]
fn a_base_file_of_llama_perplexity_is_read() -> Test {
    let dir = tempfile::tempdir()?;
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let model = golden.join("llama31/model-bf16.gguf").display().to_string();
    let base = golden.join("perplexity.kld").display().to_string();
    let args = ["--model", &model, "--reference", &base];
    let (code, found) = check(dir.path(), &args)?;
    assert_eq!(
        (code, found["knees"].as_array().map(Vec::len)),
        (0, Some(0)),
        "{found}"
    );
    assert!(
        found["all"]["kl"]["mean"]
            .as_f64()
            .is_some_and(|kl| kl < 5e-4),
        "{found}"
    );
    assert_eq!(
        (&found["sequences"], &found["all"]["tokens"]),
        (&3.into(), &(3 * 15).into())
    );
    let faulty = [&args[..], &["--fault", "no-rope-scaling"]].concat();
    assert_eq!(check(dir.path(), &faulty)?.0, 1);
    Ok(())
}

#[test]
fn the_curve_is_printed_and_drawn() -> Test {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    record(dir, &["full.safetensors"])?;
    for plot in ["curve.svg", "curve.png"] {
        let args = [
            "logits",
            "check",
            "--reference",
            "full.safetensors",
            "--fault",
            "no-chunk",
            "--plot",
            plot,
        ];
        let (code, out, err) = fathom(dir, &args)?;
        assert_eq!(code, 1);
        assert!(
            out.contains("knee: from position 448 on (448 to 448)"),
            "{out}"
        );
        assert!(
            err.starts_with("fathom: full.safetensors: ") && err.lines().count() == 1,
            "{err}"
        );
    }
    assert!(std::fs::read_to_string(dir.join("curve.svg"))?.contains("from 448 on"));
    assert_eq!(std::fs::read(dir.join("curve.png"))?[1..4], *b"PNG");
    Ok(())
}

#[test]
fn what_is_no_reference_is_named() -> Test {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    record(dir, &["full.safetensors"])?;
    let good = std::fs::read(dir.join("full.safetensors"))?;
    std::fs::write(dir.join("cut.safetensors"), &good[..good.len() - 5000])?;
    std::fs::write(dir.join("short"), b"abc")?;
    std::fs::write(dir.join("noise"), [0xff; 64])?;
    let mut base = b"_logits_".to_vec();
    base.extend([0xff; 12]);
    std::fs::write(dir.join("base"), &base)?;
    for (args, named) in [
        (&["--reference", "nowhere"][..], "nowhere"),
        (&["--reference", "short"], "short"),
        (&["--reference", "noise"], "neither"),
        (&["--reference", "base"], "sizes"),
        (&["--reference", "cut.safetensors"], "cut.safetensors"),
        (
            &[
                "--reference",
                "full.safetensors",
                "--candidate",
                "cut.safetensors",
            ],
            "cut.safetensors",
        ),
        (
            &["--reference", "full.safetensors", "--plot", "curve.gif"],
            ".svg",
        ),
    ] {
        let (code, _, err) = fathom(dir, &[&["logits", "check"], args].concat())?;
        assert_eq!(code, 2, "{args:?} {err}");
        assert!(
            err.contains(named) && err.lines().count() == 1,
            "{args:?} {err}"
        );
    }
    Ok(())
}

/// A whole suite is recorded as a run would send it, each prompt once, and a fault shows from where it begins.
#[test]
fn a_suites_prompts_are_recorded_and_checked() -> Test {
    let dir = tempfile::tempdir()?;
    let suite = ["--suite", "default", "--lengths", "200,300"];
    let to = ["--top-k", "8", "--out", "suite.safetensors"];
    let said = done(
        dir.path(),
        &[&["logits", "record"], &suite[..], &to].concat(),
    )?;
    let plan = [&["run", "--plan"], &suite[..]].concat();
    let items = done(dir.path(), &plan)?;
    assert!(items.contains("300"), "{items}");
    let bytes = std::fs::read(dir.path().join("suite.safetensors"))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let offsets = file.tensor("offsets")?;
    let offsets: Vec<i64> = offsets
        .data()
        .as_chunks::<8>()
        .0
        .iter()
        .map(|b| i64::from_le_bytes(*b))
        .collect();
    let lengths: Vec<i64> = offsets.windows(2).map(|w| w[1] - w[0]).collect();
    let longest = lengths.iter().max().copied().unwrap_or(0);
    assert!((290..=300).contains(&longest), "{lengths:?}");
    assert!(lengths.iter().filter(|n| **n <= 200).count() > 10);
    let total = offsets.last().copied().unwrap_or(0);
    assert!(said.contains(&format!("{total} tokens")), "{said}");
    let against = ["--reference", "suite.safetensors"];
    assert_eq!(check(dir.path(), &against)?.0, 0);
    let fault = [&against[..], &["--fault", "no-temperature"]].concat();
    let (code, told) = check(dir.path(), &fault)?;
    assert_eq!(code, 1, "{told}");
    // More logits than there are.
    let all = [&["logits", "record"], &suite[..]].concat();
    let too_many = ["--top-k", "100000", "--out", "more.safetensors"];
    let (code, _, err) = fathom(dir.path(), &[&all[..], &too_many].concat())?;
    assert_eq!(code, 2, "{err}");
    assert!(
        err.contains("--top-k") && err.contains("found 100000"),
        "{err}"
    );
    Ok(())
}
