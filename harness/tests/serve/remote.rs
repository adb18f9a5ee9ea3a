//! `fathom run --model URL`: the same answers as here, whatever the server does, and nothing asked twice.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fathom_harness::item::Context;
use fathom_harness::record::{Answer, ItemRecord, Status};
use fathom_harness::run::RunFolder;
use serde_json::Value;

use crate::Test;
use crate::client::Server;
use crate::proxy::{Proxy, Seen};

/// Stands in for a key.
const KEY: &str = "sk-fathom-4711-not-to-be-written";

/// Questions of each kind that are answered by text and by likelihood.
const SUITE: &str = r#"
format = 1
name = "mixed"
description = "text and likelihood"
seed = 7
lengths = [300, 600]
depths = [0.2, 0.8]
method = "generate"

[[task]]
kind = "needle"
name = "text"
questions = 3
parameters = { words = "heldout", wording = "heldout", max-tokens = 12 }

[[task]]
kind = "needle"
name = "likelihood"
questions = 2
method = "likelihood"
parameters = { words = "heldout", wording = "heldout", max-tokens = 12 }
"#;

fn command(dir: &Path, model: &str, suite: &str) -> Result<Command, Box<dyn Error>> {
    let file = dir.join("mixed.toml");
    if !file.exists() {
        std::fs::write(&file, suite)?;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_fathom"));
    command.args(["run", "--model", model, "--suite"]).arg(file);
    command.env("OPENAI_API_KEY", KEY);
    Ok(command)
}

/// Runs it to its end and opens the folder.
fn ran(command: &mut Command, out: &Path) -> Result<RunFolder, Box<dyn Error>> {
    let output = command.arg("--out").arg(out).output()?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}");
    assert!(!words.contains(KEY), "{words}");
    let folder = RunFolder::open(out)?;
    assert!(folder.finished());
    nothing_holds_the_key(out)?;
    Ok(folder)
}

fn nothing_holds_the_key(dir: &Path) -> Test {
    for entry in std::fs::read_dir(dir)? {
        let bytes = std::fs::read(entry?.path())?;
        let found = bytes.windows(KEY.len()).any(|w| w == KEY.as_bytes());
        assert!(!found, "{}", dir.display());
    }
    Ok(())
}

fn items(folder: &RunFolder) -> Result<BTreeMap<String, ItemRecord>, Box<dyn Error>> {
    let items = folder.items()?.map(|r| r.map(|r| (r.item.id.clone(), r)));
    Ok(items.collect::<Result<_, _>>()?)
}

fn answers(folder: &RunFolder) -> Result<BTreeMap<String, Answer>, Box<dyn Error>> {
    let answers = folder.answers()?;
    let n = answers.len();
    let by_item: BTreeMap<_, _> = answers.into_iter().map(|a| (a.item.clone(), a)).collect();
    assert_eq!(by_item.len(), n, "an item has two answers");
    Ok(by_item)
}

#[test]
fn an_api_that_serves_the_model_scores_as_the_model_does() -> Test {
    let server = Server::start(|_| ())?;
    let dir = tempfile::tempdir()?;
    let base = format!("http://{}/v1", server.address);
    let here = ran(
        command(dir.path(), "builtin", SUITE)?.arg("--no-speed"),
        &dir.path().join("here"),
    )?;
    let there = ran(
        command(dir.path(), &base, SUITE)?
            .args(["--tokenizer", "builtin", "--api-fields"])
            // Who writes his key there has it neither in the command on record nor in the identity.
            .arg(serde_json::json!({"user": KEY}).to_string()),
        &dir.path().join("there"),
    )?;
    let (items_here, items_there) = (items(&here)?, items(&there)?);
    let prompts = |items: &BTreeMap<String, ItemRecord>| -> Vec<_> {
        let all = items
            .values()
            .map(|r| (r.prompt.ids.clone(), r.options.clone()));
        all.collect()
    };
    assert_eq!(prompts(&items_here), prompts(&items_there));
    let (answers_here, answers_there) = (answers(&here)?, answers(&there)?);
    assert!(answers_here.len() > 20 && answers_here.len() == answers_there.len());
    for (id, a) in &answers_here {
        let b = &answers_there[id];
        assert_eq!(
            (&a.text, a.status, &a.reason),
            (&b.text, b.status, &b.reason),
            "{id}"
        );
        assert_eq!(a.options.len(), b.options.len(), "{id}");
        for (a, b) in a.options.iter().zip(&b.options) {
            assert_eq!((&a.text, a.tokens), (&b.text, b.tokens), "{id}");
            // A server tells each token's log probability in 32 bits.
            let most = 1e-5 * a.tokens as f64;
            assert!((a.logprob - b.logprob).abs() < most, "{id}: {a:?} {b:?}");
        }
        if items_here[id].options.is_empty() {
            let usage = b.usage.ok_or("no usage")?;
            assert_eq!(usage.prompt_tokens as usize, a.prompt_tokens, "{id}");
        }
    }
    let scores = |folder: &RunFolder| -> Result<Vec<String>, Box<dyn Error>> {
        let mut rows = folder.scores()?;
        // Margins of likelihood, told to four digits.
        rows.iter_mut().for_each(|row| row.detail.clear());
        Ok(rows
            .iter()
            .map(serde_json::to_string)
            .collect::<Result<_, _>>()?)
    };
    assert_eq!(scores(&here)?, scores(&there)?);
    assert!(here.scores()?.iter().any(|r| r.score == Some(1.0)));

    let manifest = there.manifest();
    assert_eq!(manifest.model["capabilities"]["echo"], true);
    assert_eq!(
        manifest.model["lengths"],
        "exact: the API tells the same numbers"
    );
    let speed = there.speed()?;
    assert_eq!(
        speed.iter().map(|s| s.context).collect::<Vec<_>>(),
        [300, 600]
    );
    for row in speed {
        let n = row.prompt_tokens.unwrap_or(row.context);
        assert!(n.abs_diff(row.context) < 8, "{row:?}");
        assert!(row.first_token_s > 0.0 && row.warm_first_token_s > Some(0.0));
        assert!(row.decode_tokens_per_s > 0.0);
        // New to the server at first, then in its cache but for what must be computed again.
        assert!(row.cold_cached_tokens < Some(64), "{row:?}");
        assert!(row.warm_cached_tokens > Some(200), "{row:?}");
    }
    Ok(())
}

#[test]
fn without_a_tokenizer_lengths_are_about_right_and_marked() -> Test {
    let server = Server::start(|_| ())?;
    let dir = tempfile::tempdir()?;
    let base = format!("http://{}/v1", server.address);
    let text = SUITE
        .split("[[task]]")
        .take(2)
        .collect::<Vec<_>>()
        .join("[[task]]");
    let folder = ran(
        command(dir.path(), &base, &text)?.arg("--no-speed"),
        &dir.path().join("out"),
    )?;
    assert_eq!(folder.manifest().model["route"], "chat");
    let items = items(&folder)?;
    for (id, answer) in answers(&folder)? {
        let record = &items[&id];
        assert_eq!(record.marks, ["approximate-length"]);
        assert!(record.prompt.ids.is_empty());
        if !matches!(record.item.context, Context::Length(_)) {
            continue;
        }
        let told = answer.usage.ok_or("no usage")?.prompt_tokens as f64;
        let about = answer.prompt_tokens as f64;
        assert!(
            (told / about - 1.0).abs() < 0.15,
            "{id}: {told}, about {about}"
        );
    }
    let page = std::fs::read_to_string(dir.path().join("out/report.html"))?;
    assert!(page.contains("~300") && page.contains("prompt tokens by usage"));
    let cells = std::fs::read_to_string(dir.path().join("out/cells.csv"))?;
    assert!(
        cells
            .lines()
            .next()
            .is_some_and(|l| l.ends_with(",approximate"))
    );
    assert!(
        cells
            .lines()
            .any(|l| l.contains(",300,") && l.ends_with(",true"))
    );
    Ok(())
}

#[test]
fn likelihood_is_never_made_up() -> Test {
    let server = Server::start(|_| ())?;
    let dir = tempfile::tempdir()?;
    let base = format!("http://{}/v1", server.address);
    let folder = ran(
        command(dir.path(), &base, SUITE)?.args(["--no-speed", "--route", "chat"]),
        &dir.path().join("out"),
    )?;
    let items = items(&folder)?;
    for (id, answer) in answers(&folder)? {
        let skipped = answer.status == Status::Skipped;
        assert_eq!(skipped, !items[&id].options.is_empty(), "{id}: {answer:?}");
        assert!(!skipped || answer.reason.contains("log probabilities of prompts"));
    }
    Ok(())
}

#[test]
fn what_was_answered_before_a_kill_is_not_asked_again() -> Test {
    let server = Server::start(|_| ())?;
    let slow = |seen: &Seen, _: &mut std::net::TcpStream| {
        if is_item(seen) {
            std::thread::sleep(Duration::from_millis(30));
        }
        Ok(false)
    };
    let proxy = Proxy::start(server.address, slow)?;
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let run = || -> Result<Command, Box<dyn Error>> {
        let mut run = command(dir.path(), &proxy.base(), SUITE)?;
        run.args(["--no-speed", "--tokenizer", "builtin", "--concurrency", "2"]);
        Ok(run)
    };
    let mut child = run()?
        .arg("--out")
        .arg(&out)
        .stderr(Stdio::null())
        .spawn()?;
    let begun = Instant::now();
    let on_record = || std::fs::read_to_string(out.join("answers.jsonl")).unwrap_or_default();
    while on_record().lines().count() < 6 && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill()?;
    child.wait()?;
    let folder = RunFolder::open(&out)?;
    let before = answers(&folder)?;
    let items = items(&folder)?;
    assert!(
        before.len() >= 6 && before.len() < items.len(),
        "{}",
        before.len()
    );
    // What was under way comes by until the server has seen it.
    std::thread::sleep(Duration::from_millis(300));
    proxy.take();
    let folder = ran(&mut run()?, &out)?;
    assert_eq!(answers(&folder)?.len(), items.len());
    let again = proxy.take();
    let sent: Vec<&Value> = again.iter().map(|s| &s.body["prompt"]).collect();
    let begins = |record: &ItemRecord| {
        let ids: Value = record.prompt.ids.clone().into();
        let exact = sent.iter().filter(|p| ***p == ids).count();
        let longer = sent.iter().filter(|p| {
            let (Some(prompt), Some(ids)) = (p.as_array(), ids.as_array()) else {
                return false;
            };
            !record.options.is_empty() && prompt.starts_with(ids)
        });
        exact.max(longer.count())
    };
    for (id, record) in &items {
        match before.contains_key(id) {
            true => assert_eq!(begins(record), 0, "{id} was asked again"),
            false => assert!(begins(record) > 0, "{id} was not asked"),
        }
    }
    Ok(())
}

/// Requests of items: no probe asks for so many tokens.
fn is_item(seen: &Seen) -> bool {
    seen.body["max_tokens"] == 12
}

fn json(stream: &mut std::net::TcpStream, more: &str, body: &[u8]) -> std::io::Result<bool> {
    let n = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json{more}\r\ncontent-length: {n}\r\n\r\n"
    )?;
    stream.write_all(body)?;
    Ok(true)
}

#[test]
fn whatever_a_server_does_every_item_ends_in_a_status() -> Test {
    const EVENTS: &[u8] =
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n";
    let answer = |text: &str, finish: &str, n: u64| {
        let said = serde_json::json!({
            "choices": [{"index": 0, "text": text, "finish_reason": finish}],
            "usage": {"prompt_tokens": 300, "completion_tokens": n},
        });
        said.to_string().into_bytes()
    };
    let server = Server::start(|_| ())?;
    let n = AtomicUsize::new(0);
    let proxy = Proxy::start(server.address, move |seen, stream| {
        if !is_item(seen) {
            return Ok(false);
        }
        match n.fetch_add(1, Ordering::SeqCst) % 12 {
            0 => Ok(true), // Hangs up.
            1 => {
                std::thread::sleep(Duration::from_secs(8));
                Ok(true)
            }
            2 => {
                stream.write_all(EVENTS)?;
                stream.write_all(b"data: {\"error\":{\"message\":\"lost\",\"code\":500}}\n\n")?;
                Ok(true)
            }
            3 => json(stream, "", &answer("half", "stop", 2)[..30]),
            4 => json(stream, "", b"{\"choices\":[{\"text\":NaN}]}"),
            5 => json(stream, "", &answer("many", "stop", 10_000)),
            6 => json(
                stream,
                "\r\ncontent-encoding: gzip",
                &[0x1f, 0x8b, 8, 0, 0, 0],
            ),
            7 => {
                stream.write_all(EVENTS)?;
                let piece = "data: {\"choices\":[{\"index\":0,\"text\":\"on and on \"}]}\n\n";
                loop {
                    stream.write_all(piece.as_bytes())?;
                }
            }
            8 => {
                stream.write_all(b"HTTP/1.1 503 X\r\nretry-after: 9999\r\n")?;
                stream.write_all(b"connection: close\r\ncontent-length: 0\r\n\r\n")?;
                Ok(true)
            }
            9 => json(stream, "", &answer("", "content_filter", 1)),
            // Says the key back.
            10 => {
                let lines = seen.head.lines();
                let key: String = lines.filter(|l| l.contains("Bearer")).collect();
                json(stream, "", &answer(&key, "stop", 2))
            }
            _ => Ok(false),
        }
    })?;
    let dir = tempfile::tempdir()?;
    let text = SUITE.replace("questions = 3", "questions = 12");
    let text = text
        .split("[[task]]")
        .take(2)
        .collect::<Vec<_>>()
        .join("[[task]]");
    let mut run = command(dir.path(), &proxy.base(), &text)?;
    run.args(["--tokenizer", "builtin", "--no-speed", "--concurrency", "3"]);
    run.args(["--api-tries", "1", "--api-deadline", "3"]);
    let folder = ran(&mut run, &dir.path().join("out"))?;
    let answers = answers(&folder)?;
    assert_eq!(answers.len(), items(&folder)?.len());
    let with = |status: Status| answers.values().filter(|a| a.status == status).count();
    assert!(with(Status::Scored) + with(Status::Truncated) > 3);
    assert!(with(Status::Failed) > 12 && with(Status::Refused) > 1);
    for words in ["lost", "no JSON", "gzip", "10000", "503"] {
        let found = answers.values().any(|a| a.reason.contains(words));
        assert!(found, "{words}");
    }
    // Whichever comes first, of the endless stream.
    let endless = |a: &&Answer| a.reason.contains("longer than") || a.reason.contains("breaks off");
    assert!(answers.values().any(|a| endless(&a)));
    assert!(answers.values().any(|a| a.text.contains("(the key)")));
    Ok(())
}

#[test]
fn a_budget_is_kept_to_and_what_is_beyond_it_says_so() -> Test {
    let server = Server::start(|_| ())?;
    let proxy = Proxy::start(server.address, |_, _| Ok(false))?;
    let dir = tempfile::tempdir()?;
    let budget = 8000u64;
    let mut run = command(dir.path(), &proxy.base(), SUITE)?;
    run.args([
        "--tokenizer",
        "builtin",
        "--budget-tokens",
        &budget.to_string(),
    ]);
    run.args(["--price-in", "1", "--price-out", "2", "--no-speed"]);
    let plan = run.arg("--plan").output()?;
    let plan = String::from_utf8(plan.stdout)?;
    assert!(
        plan.contains("budget: 8000 tokens, may not be enough"),
        "{plan}"
    );
    proxy.take();
    let mut run = command(dir.path(), &proxy.base(), SUITE)?;
    run.args([
        "--tokenizer",
        "builtin",
        "--budget-tokens",
        &budget.to_string(),
    ]);
    let folder = ran(run.arg("--no-speed"), &dir.path().join("out"))?;
    let answers = answers(&folder)?;
    let (mut run, mut not_run) = (0, 0);
    for answer in answers.values() {
        match answer.status {
            Status::Skipped => {
                assert_eq!(answer.reason, "not run: budget of 8000 tokens");
                not_run += 1;
            }
            _ => run += 1,
        }
    }
    assert!(run > 3 && not_run > 3, "{run}, {not_run}");
    // What the prompts alone have, by what was sent; the probe's texts have few.
    let sent = proxy.take();
    let ids = sent.iter().filter_map(|s| s.body["prompt"].as_array());
    let sent: usize = ids.map(Vec::len).sum();
    assert!((sent as u64) < budget, "{sent}");
    let billed = &folder.manifest().environment;
    let billed = [
        &billed["billed_prompt_tokens"],
        &billed["billed_answer_tokens"],
    ];
    let billed: u64 = billed.iter().filter_map(|n| n.as_u64()).sum();
    assert!(
        billed <= budget && billed as usize > sent,
        "{billed}, {sent}"
    );
    Ok(())
}
