//! `fathom run`: its plan, its folder, what a kill cannot lose.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use crate::*;

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
