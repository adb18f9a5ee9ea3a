//! A run that is killed, torn, interrupted or refused: no answer on record is lost, repeated or changed.

mod common;

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Fake, items, run, settings};
use fathom_harness::record::{Answer, Status};
use fathom_harness::run::RunFolder;
use fathom_harness::stop::Stop;

type Test = Result<(), Box<dyn Error>>;

/// Answers in the order of their items, without what a clock says.
fn answers(dir: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut all: Vec<Answer> = RunFolder::open(dir)?.answers()?;
    all.sort_by(|a, b| a.item.cmp(&b.item));
    all.iter_mut()
        .for_each(|a| (a.prefill_s, a.decode_s) = (None, None));
    Ok(all
        .iter()
        .map(serde_json::to_string)
        .collect::<Result<_, _>>()?)
}

fn complete(dir: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    run(
        dir,
        &mut Fake::new(Duration::ZERO),
        &settings(),
        &Stop::default(),
    )?;
    answers(dir)
}

/// The process that is killed by the test below; does nothing when it is run as a test.
#[test]
fn slow_run_to_be_killed() -> Test {
    if let Some(dir) = std::env::var_os("FATHOM_TEST_SLOW_RUN") {
        let mut backend = Fake::new(Duration::from_millis(4));
        run(Path::new(&dir), &mut backend, &settings(), &Stop::default())?;
    }
    Ok(())
}

#[test]
fn killed_at_any_moment_it_goes_on_and_ends_the_same() -> Test {
    let temp = tempfile::tempdir()?;
    let whole = complete(&temp.path().join("whole"))?;
    assert_eq!(whole.len(), items().len());
    let dir = temp.path().join("killed");
    let mut kills = 0;
    let mut before: Vec<Answer> = Vec::new();
    for round in 0u64..400 {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--exact", "slow_run_to_be_killed"])
            .env("FATHOM_TEST_SLOW_RUN", &dir)
            .stdout(Stdio::null())
            .spawn()?;
        std::thread::sleep(Duration::from_millis(5 + round * 37 % 61));
        let ended = child.try_wait()?;
        child.kill()?;
        let status = child.wait()?;
        if dir.join("manifest.json").exists() {
            let now = RunFolder::open(&dir)?.answers()?;
            let kept = now
                .iter()
                .zip(&before)
                .all(|(a, b)| serde_json::to_string(a).ok() == serde_json::to_string(b).ok());
            assert!(
                now.len() >= before.len() && kept,
                "an answer on record has changed"
            );
            before = now;
        }
        if ended.is_some() {
            assert!(status.success());
            break;
        }
        kills += 1;
    }
    assert!(kills > 1, "nothing was killed");
    assert!(RunFolder::open(&dir)?.finished());
    assert_eq!(answers(&dir)?, whole);
    assert_eq!(RunFolder::open(&dir)?.speed()?.len(), 2);
    Ok(())
}

#[test]
fn a_torn_line_is_cut_and_its_item_done_again() -> Test {
    let temp = tempfile::tempdir()?;
    let whole = complete(&temp.path().join("whole"))?;
    let dir = temp.path().join("torn");
    complete(&dir)?;
    let path = dir.join("answers.jsonl");
    let text = std::fs::read_to_string(&path)?;
    let manifest = std::fs::read_to_string(dir.join("manifest.json"))?;
    for cut in [1, text.len() / 3, text.len() - 1] {
        std::fs::write(&path, &text[..cut])?;
        let unfinished = manifest.replace("2026-01-01T00:00:01Z", "");
        std::fs::write(dir.join("manifest.json"), unfinished)?;
        assert_eq!(complete(&dir)?, whole);
    }
    Ok(())
}

#[test]
fn a_stop_is_noticed_and_what_is_there_stays() -> Test {
    let temp = tempfile::tempdir()?;
    let stop = Stop::default();
    stop.raise();
    let error = run(
        temp.path(),
        &mut Fake::new(Duration::ZERO),
        &settings(),
        &stop,
    );
    assert!(error.is_err_and(|e| e.exit_code() == 3));
    let whole = complete(&temp.path().join("whole"))?;
    assert_eq!(complete(temp.path().join("x").as_path())?, whole);
    Ok(())
}

#[test]
fn a_finished_run_is_never_touched() -> Test {
    let temp = tempfile::tempdir()?;
    let dir = temp.path().join("run");
    complete(&dir)?;
    let state = || -> Result<Vec<_>, Box<dyn Error>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            all.push((
                entry.file_name(),
                entry.metadata()?.modified()?,
                std::fs::read(entry.path())?,
            ));
        }
        all.sort();
        Ok(all)
    };
    let before = state()?;
    complete(&dir)?;
    assert_eq!(state()?, before);
    Ok(())
}

#[test]
fn another_run_is_refused_with_the_difference() -> Test {
    let temp = tempfile::tempdir()?;
    complete(temp.path())?;
    let other = fathom_harness::run::execute::Settings {
        seed: 6,
        ..settings()
    };
    let error = run(
        temp.path(),
        &mut Fake::new(Duration::ZERO),
        &other,
        &Stop::default(),
    );
    let error = error.err().ok_or("was not refused")?;
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string();
    assert!(
        text.ends_with("holds another run: seed: 5 there, 6 here"),
        "{text}"
    );
    Ok(())
}

#[test]
fn somebody_elses_folder_is_left_alone() -> Test {
    let temp = tempfile::tempdir()?;
    std::fs::write(temp.path().join("thesis.tex"), "x")?;
    let error = run(
        temp.path(),
        &mut Fake::new(Duration::ZERO),
        &settings(),
        &Stop::default(),
    );
    assert!(error.is_err_and(|e| e.exit_code() == 2 && e.to_string().contains("thesis.tex")));
    assert_eq!(std::fs::read_dir(temp.path())?.count(), 1);
    Ok(())
}

#[test]
fn what_does_not_fit_memory_is_skipped_and_says_what_it_needs() -> Test {
    let temp = tempfile::tempdir()?;
    let mut backend = Fake::new(Duration::ZERO);
    backend.bytes_per_token = 1_000_000_000;
    let small = fathom_harness::run::execute::Settings {
        memory: 40_000_000_000,
        ..settings()
    };
    run(temp.path(), &mut backend, &small, &Stop::default())?;
    let all = RunFolder::open(temp.path())?.answers()?;
    assert_eq!(all.len(), items().len());
    for answer in all {
        let skipped = answer.status == Status::Skipped;
        let long = answer.prompt_tokens > 16;
        let misfit = answer.item.contains("0011");
        assert_eq!(skipped, long || misfit, "{}", answer.item);
        if long && !misfit {
            assert!(answer.reason.starts_with("needs "), "{}", answer.reason);
            assert!(
                answer.reason.ends_with("40 GB available"),
                "{}",
                answer.reason
            );
        }
    }
    Ok(())
}
