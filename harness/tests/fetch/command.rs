//! The command: killed, twice at once, wrong in its words; and models by a hub's name.

use std::error::Error;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::hub::{Fault, Hub};
use crate::{
    LARGE, TOKEN, Test, a_hub, all_right, noise, nothing_wrong_is_visible, repo, snapshot,
};

/// The command, with a home of its own and the test's token.
fn command(hub: &Hub, home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fathom"));
    for name in [
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "HF_HUB_OFFLINE",
        "HF_TOKEN_PATH",
    ] {
        command.env_remove(name);
    }
    command
        .args(args)
        .env("HF_ENDPOINT", &hub.url)
        .env("HF_HOME", home)
        .env("HF_TOKEN", TOKEN)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The exit code, and what was said on both outputs.
fn end(child: Child) -> Result<(Option<i32>, String), Box<dyn Error>> {
    let output = child.wait_with_output()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text)?;
    assert!(!text.contains(TOKEN) && !text.contains("s3cret"), "{text}");
    Ok((output.status.code(), text))
}

#[test]
fn killed_in_the_middle_it_goes_on_and_no_byte_comes_twice() -> Test {
    let (hub, mut files) = a_hub()?;
    let large = noise(6_000_000, 3);
    hub.put(LARGE, &large, true);
    files[0].1 = large;
    let temp = tempfile::tempdir()?;
    let cache = temp.path().join("hub");
    let part = repo(&cache).join(format!("blobs/{}.incomplete", hub.hash(LARGE)));
    hub.always(LARGE, Fault::Slow);
    let args = ["fetch", "hf:owner/name"];
    let mut starts = vec![0];
    for kill in 1..=2 {
        let mut child = command(&hub, temp.path(), &args).spawn()?;
        let deadline = Instant::now() + Duration::from_secs(60);
        let enough = starts.last().unwrap_or(&0) + 400_000;
        while std::fs::metadata(&part).map_or(0, |m| m.len()) < enough {
            assert!(Instant::now() < deadline, "nothing comes");
            assert!(child.try_wait()?.is_none(), "ended before it was killed");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill()?;
        child.wait()?;
        let length = std::fs::metadata(&part)?.len();
        assert!(length < 6_000_000, "kill {kill} came too late");
        starts.push(length);
        nothing_wrong_is_visible(&hub, &cache, &files)?;
        assert!(!snapshot(&cache).join(LARGE).is_symlink());
    }
    hub.mend();
    let (code, text) = end(command(&hub, temp.path(), &args).spawn()?)?;
    assert_eq!(code, Some(0), "{text}");
    all_right(&cache, &files)?;
    // Each process began exactly where the one before it was killed, so only what was in flight went out twice.
    let asked = hub.asked("/cdn/model");
    let ranges: Vec<Option<String>> = asked.iter().map(|a| a.range.clone()).collect();
    let range = |start: u64| (start > 0).then(|| format!("bytes={start}-"));
    assert_eq!(ranges, starts.iter().map(|s| range(*s)).collect::<Vec<_>>());
    let last = asked.last().map(|a| a.sent as u64);
    assert_eq!(last, Some(6_000_000 - starts[2]));
    Ok(())
}

#[test]
fn two_processes_share_the_work() -> Test {
    let (hub, files) = a_hub()?;
    let temp = tempfile::tempdir()?;
    hub.always(LARGE, Fault::Slow);
    let args = ["fetch", "hf:owner/name"];
    let first = command(&hub, temp.path(), &args).spawn()?;
    let second = command(&hub, temp.path(), &args).spawn()?;
    for child in [first, second] {
        let (code, text) = end(child)?;
        assert_eq!(code, Some(0), "{text}");
    }
    all_right(&temp.path().join("hub"), &files)?;
    for (path, bytes) in &files[..2] {
        let copies = if *path == "config.json" {
            hub.sent("sub/copy.json")
        } else {
            0
        };
        assert_eq!(hub.sent(path) + copies, bytes.len(), "{path}");
    }
    Ok(())
}

#[test]
fn the_verb_fetches_checks_and_says_what_is_wrong() -> Test {
    let (hub, _) = a_hub()?;
    let temp = tempfile::tempdir()?;
    let run = |args: &[&str]| end(command(&hub, temp.path(), args).spawn()?);
    let folder = snapshot(&temp.path().join("hub")).display().to_string();
    let (code, text) = run(&["fetch", "hf:owner/name", "--include", "*.json"])?;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with(&format!("{folder}\n")), "{text}");
    assert!(hub.asked("/cdn/").is_empty());
    assert_eq!(run(&["fetch", "hf:owner/name", "--verify"])?.0, Some(1));
    assert_eq!(
        run(&["fetch", "--verify", &folder, "--include", "*.json"])?.0,
        Some(0)
    );
    assert_eq!(run(&["fetch", "hf:owner/name"])?.0, Some(0));
    let (code, text) = run(&["fetch", "hf:owner/name", "--verify"])?;
    assert_eq!((code, text.contains("5 files")), (Some(0), true), "{text}");
    std::fs::write(
        temp.path()
            .join("hub/models--owner--name/blobs")
            .join(hub.hash(LARGE)),
        "x",
    )?;
    let (code, text) = run(&["fetch", "--verify", &folder])?;
    assert_eq!(code, Some(1));
    assert!(text.contains("is 1 bytes, expected 300000"), "{text}");
    for (args, named) in [
        (&["fetch", "hf:owner/name@nowhere"][..], "no such model"),
        (&["fetch", "hf:owner"], "hf:OWNER/NAME"),
        (&["fetch", "folder"], "hf:OWNER/NAME"),
        (&["fetch", "--verify", "nowhere"], "nowhere"),
        (&["fetch", "hf:owner/name", "--include", "*.gguf"], "*.gguf"),
        (
            &["fetch", "hf:owner/name", "--endpoint", "file:///x"],
            "http",
        ),
        (&["show", "hf:owner/name/x.gguf"], "x.gguf"),
    ] {
        let (code, text) = run(args)?;
        assert_eq!(
            (code, text.contains(named)),
            (Some(2), true),
            "{args:?}: {text}"
        );
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    Ok(())
}

#[test]
fn a_model_named_by_hub_opens_and_opens_again_without_one() -> Test {
    let hub = Hub::start()?;
    let scout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/llama4_scout");
    for entry in std::fs::read_dir(&scout)? {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        hub.put(
            &name,
            &std::fs::read(entry.path())?,
            name.ends_with(".safetensors"),
        );
    }
    hub.put("pytorch_model.bin", &noise(1000, 4), true);
    let temp = tempfile::tempdir()?;
    std::fs::write(temp.path().join("text"), "Call me Ishmael.")?;
    let file = temp.path().join("text").display().to_string();
    let scout = scout.display().to_string();
    let args = |model| ["tokenize", "--model", model, "--file", &file, "--json"];
    let ids = |child: Child| -> Result<String, Box<dyn Error>> {
        let (code, text) = end(child)?;
        assert_eq!(code, Some(0), "{text}");
        let line = text.lines().find(|l| l.starts_with('['));
        Ok(line.ok_or(text.clone())?.to_owned())
    };
    let local = ids(command(&hub, temp.path(), &args(&scout)).spawn()?)?;
    let fetched = ids(command(&hub, temp.path(), &args("hf:owner/name")).spawn()?)?;
    assert_eq!(fetched, local);
    assert!(
        hub.asked("pytorch_model").is_empty(),
        "weights that are not read are not fetched"
    );
    let sent = hub.asked("/resolve/").len();
    assert_eq!(
        ids(command(&hub, temp.path(), &args("hf:owner/name")).spawn()?)?,
        local
    );
    assert_eq!(hub.asked("/resolve/").len(), sent);
    let mut offline = command(&hub, temp.path(), &args("hf:owner/name"));
    assert_eq!(ids(offline.env("HF_HUB_OFFLINE", "1").spawn()?)?, local);
    hub.close();
    assert_eq!(
        ids(command(&hub, temp.path(), &args("hf:owner/name")).spawn()?)?,
        local
    );
    Ok(())
}
