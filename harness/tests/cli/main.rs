//! The command as people and scripts see it: exit codes, one-line errors, folders, files.

mod compare;
mod runs;
mod verbs;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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
