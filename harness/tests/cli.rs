//! The command as people and scripts see it: exit codes, one-line errors, folders, files.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use safetensors::{Dtype, SafeTensors};

type Test = Result<(), Box<dyn Error>>;

fn scout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/llama4_scout")
}

/// A command in a folder of its own.
fn fathom(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fathom"));
    command.current_dir(dir).args(args).stdin(Stdio::null());
    command
}

/// Runs a command that must end with this code. An error is one line on stderr, and nothing has panicked.
fn ends(code: i32, mut command: Command) -> Result<(String, String), Box<dyn Error>> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output()?;
    let (out, err) = (String::from_utf8(stdout)?, String::from_utf8(stderr)?);
    assert_eq!(status.code(), Some(code), "{command:?}\n{out}\n{err}");
    assert!(
        !err.contains("panicked") && !err.contains("internal error"),
        "{err}"
    );
    if code == 2 {
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.starts_with("fathom: "), "{err}");
    }
    Ok((out, err))
}

/// A suite that a random model of bytes evaluates in a moment.
fn small_suite(dir: &Path) -> Test {
    let text = "format = 1\nname = \"small\"\nlengths = [512, 640]\ndepths = [0.2, 0.8]\n\
        depth-mode = \"spread\"\n[[task]]\nkind = \"needle\"\nname = \"one\"\nquestions = 2\n\
        parameters = { max-tokens = 6, options = 3 }\n[[task]]\nkind = \"needle\"\nname = \"likely\"\n\
        questions = 2\nmethod = \"likelihood\"\nparameters = { max-tokens = 4, options = 3 }\n";
    Ok(std::fs::write(dir.join("small.toml"), text)?)
}

fn run_args<'a>(model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "run",
        "--model",
        model,
        "--suite",
        "small.toml",
        "--threads",
        "1",
    ];
    args.extend(more);
    args
}

/// Names and contents.
type Files = Vec<(String, Vec<u8>)>;

/// Every file of a folder.
fn files(dir: &Path) -> Result<Files, Box<dyn Error>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        all.push((
            entry.file_name().to_string_lossy().into_owned(),
            std::fs::read(entry.path())?,
        ));
    }
    all.sort();
    Ok(all)
}

#[test]
fn usage_and_input_errors_are_one_line_and_exit_2() -> Test {
    let temp = tempfile::tempdir()?;
    let dir = temp.path();
    let model = scout().display().to_string();
    std::fs::write(dir.join("text.bin"), [0xff, 0xfe])?;
    std::fs::write(dir.join("bad.json"), "[1, 99999]")?;
    std::fs::write(
        dir.join("bad.toml"),
        "format = 1\nname = \"x\"\nlenghts = [1]\n",
    )?;
    let cases: [(&[&str], &str); 14] = [
        (&["frob"], "frob"),
        (&["run", "--model", "nowhere.gguf"], "nowhere.gguf"),
        (&["run", "--model", "bad.json"], "bad.json"),
        (&["run", "--model", &model, "--suite", "noodle"], "noodle"),
        (
            &["run", "--model", &model, "--suite", "bad.toml"],
            "bad.toml",
        ),
        (&["run", "--model", &model, "--lengths", "4q"], "4q"),
        (&["run", "--model", &model, "--fault", "frob"], "no-chunk"),
        (
            &["run", "--model", &model, "--raw", "--system", "x"],
            "--raw",
        ),
        (
            &["tokenize", "--model", &model, "--file", "text.bin"],
            "UTF-8",
        ),
        (
            &[
                "logits", "record", "--model", &model, "--tokens", "bad.json", "--out", "o",
            ],
            "99999",
        ),
        (
            &[
                "logits", "record", "--model", &model, "--tokens", "no.json", "--out", "o",
            ],
            "no.json",
        ),
        (&["report", "."], "manifest.json"),
        (&["score", "nowhere"], "nowhere"),
        (&["show", ".", "item"], "manifest.json"),
    ];
    for (args, named) in cases {
        let (_, err) = ends(2, fathom(dir, args))?;
        assert!(err.contains(named), "{args:?}: {err}");
    }
    assert!(!dir.join("reports").exists());
    Ok(())
}

#[test]
fn a_plan_says_what_it_costs_and_runs_nothing() -> Test {
    let temp = tempfile::tempdir()?;
    small_suite(temp.path())?;
    let model = scout().display().to_string();
    let (out, _) = ends(0, fathom(temp.path(), &run_args(&model, &["--plan"])))?;
    for word in [
        "items",
        "tokens",
        "min",
        "memory",
        "money",
        "together",
        "nothing has been run",
    ] {
        assert!(out.contains(word), "{word}\n{out}");
    }
    assert_eq!(std::fs::read_dir(temp.path())?.count(), 1);
    let small = run_args(&model, &["--plan", "--memory", "1kB"]);
    let (_, err) = ends(3, fathom(temp.path(), &small))?;
    assert!(err.contains("even layer by layer"), "{err}");
    Ok(())
}

#[test]
fn what_does_not_fit_memory_is_skipped_without_being_written_out() -> Test {
    let temp = tempfile::tempdir()?;
    small_suite(temp.path())?;
    let model = scout().display().to_string();
    let huge = ["--lengths", "512,1000000m", "--no-speed"];
    let (out, _) = ends(
        0,
        fathom(
            temp.path(),
            &run_args(&model, &[&huge[..], &["--plan"]].concat()),
        ),
    )?;
    assert!(out.contains("do not fit in memory"), "{out}");
    ends(
        0,
        fathom(
            temp.path(),
            &run_args(&model, &[&huge[..], &["--out", "a"]].concat()),
        ),
    )?;
    let answers = std::fs::read_to_string(temp.path().join("a/answers.jsonl"))?;
    assert_eq!(answers.lines().count(), 16);
    assert_eq!(
        answers
            .matches("\"status\":\"skipped\",\"reason\":\"needs ")
            .count(),
        4
    );
    let bench = ["bench", "--model", &model, "--prompt", "1000000m"];
    let (_, err) = ends(2, fathom(temp.path(), &bench))?;
    assert!(err.contains("needs "), "{err}");
    Ok(())
}

#[test]
fn a_run_is_written_once_continued_when_unfinished_and_refused_to_others() -> Test {
    let temp = tempfile::tempdir()?;
    let dir = temp.path();
    small_suite(dir)?;
    let model = scout().display().to_string();
    let (out, _) = ends(0, fathom(dir, &run_args(&model, &["--out", "a"])))?;
    assert!(out.contains("small/one") && out.contains("logits ") && out.contains("report.html"));
    let a = dir.join("a");
    for file in [
        "manifest.json",
        "items.jsonl",
        "answers.jsonl",
        "scores.csv",
        "speed.csv",
        "report.html",
    ] {
        assert!(a.join(file).exists(), "{file}");
    }
    // Again: nothing is touched.
    let before = files(&a)?;
    let (out, _) = ends(0, fathom(dir, &run_args(&model, &["--out", "a"])))?;
    assert!(out.contains("finished"), "{out}");
    assert_eq!(files(&a)?, before);
    // Another run: refused, the difference named.
    for (more, named) in [
        (&["--seed", "9"][..], "seed: [42] there, [9] here"),
        (
            &["--fault", "no-temperature"],
            "fault: none there, no-temperature here",
        ),
        (
            &["--lengths", "512"],
            "lengths: [512,640] there, [512] here",
        ),
    ] {
        let (_, err) = ends(
            2,
            fathom(dir, &run_args(&model, &[more, &["--out", "a"]].concat())),
        )?;
        assert!(err.contains(named), "{err}");
    }
    assert_eq!(files(&a)?, before);
    // Torn and unfinished: goes on, and ends with the same scores, without doing an answer again.
    let answers = std::fs::read_to_string(a.join("answers.jsonl"))?;
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(a.join("manifest.json"))?)?;
    let mut unfinished = manifest.clone();
    unfinished["finished"] = "".into();
    std::fs::write(a.join("manifest.json"), unfinished.to_string())?;
    let cut = answers.len() * 2 / 3;
    std::fs::write(a.join("answers.jsonl"), &answers[..cut])?;
    let scores = std::fs::read(a.join("scores.csv"))?;
    ends(0, fathom(dir, &run_args(&model, &["--out", "a"])))?;
    assert_eq!(std::fs::read(a.join("scores.csv"))?, scores);
    let again = std::fs::read_to_string(a.join("answers.jsonl"))?;
    let kept = answers[..cut].rfind('\n').map_or(0, |i| i + 1);
    assert_eq!(&again[..kept], &answers[..kept]);
    assert_eq!(again.lines().count(), answers.lines().count());
    // Scored and rendered again from the files.
    std::fs::remove_file(a.join("scores.csv"))?;
    ends(0, fathom(dir, &["score", "a"]))?;
    assert_eq!(std::fs::read(a.join("scores.csv"))?, scores);
    let (out, _) = ends(0, fathom(dir, &["report", "a", "a", "--out", "both"]))?;
    assert!(dir.join(out.trim()).exists());
    // Looked at.
    let (out, _) = ends(0, fathom(dir, &["show", "a"]))?;
    assert!(out.contains("small/one/"), "{out}");
    let first: serde_json::Value = answers
        .lines()
        .next()
        .map(serde_json::from_str)
        .ok_or("none")??;
    let id = first["item"].as_str().ok_or("no item")?.to_owned();
    let (out, _) = ends(0, fathom(dir, &["show", "a", &id]))?;
    assert!(out.contains("sent, ") && out.contains("answered:"), "{out}");
    let (_, err) = ends(2, fathom(dir, &["show", "a", "small/one"]))?;
    assert!(err.contains("others begin so"), "{err}");
    Ok(())
}

#[test]
fn without_out_a_finished_run_gets_a_sibling() -> Test {
    let temp = tempfile::tempdir()?;
    small_suite(temp.path())?;
    let model = scout().display().to_string();
    let args = run_args(&model, &["--lengths", "512", "--no-speed"]);
    ends(0, fathom(temp.path(), &args))?;
    ends(0, fathom(temp.path(), &args))?;
    let mut names: Vec<String> = files_in(&temp.path().join("reports"))?;
    names.sort();
    assert_eq!(names.len(), 2);
    assert!(names[0].ends_with("-llama4_scout"), "{names:?}");
    assert_eq!(names[1], format!("{}-2", names[0]));
    Ok(())
}

fn files_in(dir: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let names = std::fs::read_dir(dir)?
        .map(|e| Ok(e?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, std::io::Error>>()?;
    Ok(names)
}

#[test]
fn killed_it_goes_on_and_gives_the_same_scores() -> Test {
    let temp = tempfile::tempdir()?;
    let dir = temp.path();
    small_suite(dir)?;
    let model = scout().display().to_string();
    let (out, _) = ends(
        0,
        fathom(dir, &run_args(&model, &["--out", "whole", "--no-speed"])),
    )?;
    let killed = run_args(&model, &["--out", "killed", "--no-speed"]);
    let mut kills = 0;
    for round in 0..60u64 {
        let mut child = fathom(dir, &killed)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        std::thread::sleep(Duration::from_millis(60 + 130 * round));
        let ended = child.try_wait()?;
        child.kill()?;
        child.wait()?;
        match ended {
            Some(status) if status.success() => break,
            Some(status) => return Err(format!("ended by itself with {status}").into()),
            None => kills += 1,
        }
    }
    assert!(kills > 0);
    let (whole, killed) = (dir.join("whole"), dir.join("killed"));
    assert_eq!(
        std::fs::read(whole.join("scores.csv"))?,
        std::fs::read(killed.join("scores.csv"))?
    );
    assert_eq!(
        std::fs::read(whole.join("items.jsonl"))?,
        std::fs::read(killed.join("items.jsonl"))?
    );
    let answers = std::fs::read_to_string(killed.join("answers.jsonl"))?;
    let mut ids: Vec<String> = answers
        .lines()
        .map(|l| Ok(serde_json::from_str::<serde_json::Value>(l)?["item"].to_string()))
        .collect::<Result<_, serde_json::Error>>()?;
    let n = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), n, "an item was answered twice");
    assert!(out.contains("logits "));
    Ok(())
}

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
