//! Reports of made-up runs: what is drawn, what is escaped, and that one run and several both work.

use std::path::{Path, PathBuf};

use fathom_harness::item::{Context, Filler, Item, Prompt, Question, Scorer};
use fathom_harness::record::{Answer, FORMAT, ItemRecord, Manifest, ScoreRow, SpeedRow, Status};
use fathom_harness::report::render;

const HOSTILE: &str = "</pre><script>alert(1)</script> | <img src=x onerror=alert(2)>";

/// A finished run of one task whose score falls with length, with answers that try to break out of the page.
fn made_up(dir: &Path, fall: usize) -> PathBuf {
    std::fs::create_dir_all(dir).unwrap();
    let manifest = Manifest {
        format: FORMAT,
        fathom: "0.1.0".into(),
        numeric_version: 1,
        started: "2026-01-01T00:00:00Z".into(),
        finished: "2026-01-01T00:01:00Z".into(),
        identity: [("seed".to_owned(), 1.into())].into(),
        environment: [("command".to_owned(), HOSTILE.into())].into(),
        model: [("trained_length".to_owned(), 2048.into())].into(),
        logits_fingerprint: "0123abcd".into(),
    };
    std::fs::write(
        dir.join("manifest.json"),
        serde_json::to_vec(&manifest).unwrap(),
    )
    .unwrap();
    let (mut items, mut answers) = (String::new(), String::new());
    let mut scores = csv::Writer::from_path(dir.join("scores.csv")).unwrap();
    let contexts = ["none", "short", "1024", "2048", "4096", "8192"];
    for (task, offset) in [("single", 0), ("multikey", 6)] {
        for (c, context) in contexts.iter().enumerate() {
            for i in 0..30usize {
                let right = match *context {
                    "none" => i < 3,
                    "short" => i < 29,
                    _ => i < (30usize - offset).saturating_sub(fall * (c - 2)),
                };
                let status = match i {
                    29 if *context == "8192" => Status::Truncated,
                    27 | 28 if *context == "4096" => Status::Failed,
                    _ => Status::Scored,
                };
                let question = format!("needle/{task}/{i:04}");
                let id = format!("{question}@{context}/d{}", i % 5);
                scores
                    .serialize(ScoreRow {
                        item: id.clone(),
                        suite: "needle".into(),
                        task: task.into(),
                        context: (*context).into(),
                        depth: (c > 1).then_some((i % 5) as f64 / 4.0),
                        cluster: question.clone(),
                        method: "generate".into(),
                        status,
                        score: (status == Status::Scored).then_some(f64::from(u8::from(right))),
                        chance: 0.1,
                        defect: if i == 26 && *context == "8192" {
                            "loop".into()
                        } else {
                            String::new()
                        },
                        detail: String::new(),
                    })
                    .unwrap();
                let record = ItemRecord {
                    item: Item {
                        id: id.clone(),
                        question: question.clone(),
                        context: context.parse().map_or(Context::None, Context::Length),
                        depth: None,
                        repeat: 0,
                    },
                    question: Question {
                        id: question.clone(),
                        suite: "needle".into(),
                        task: task.into(),
                        cluster: question,
                        instruction: String::new(),
                        pieces: Vec::new(),
                        filler: Filler::None,
                        ask: "what?".into(),
                        answer_prefix: String::new(),
                        scorer: Scorer::Exact {
                            references: vec!["1234567".into()],
                        },
                        max_tokens: 8,
                        shared: None,
                    },
                    prompt: Prompt {
                        ids: vec![1],
                        text: format!("a document {HOSTILE} what?"),
                        evidence: Vec::new(),
                        about: None,
                    },
                    group: String::new(),
                    options: Vec::new(),
                    marks: Vec::new(),
                    skip: String::new(),
                };
                items += &(serde_json::to_string(&record).unwrap() + "\n");
                let answer = Answer {
                    item: id,
                    status,
                    reason: if status == Status::Scored {
                        String::new()
                    } else {
                        HOSTILE.into()
                    },
                    text: format!("it is {HOSTILE}"),
                    thought: String::new(),
                    ids: vec![1, 2],
                    logprobs: vec![-0.1, -0.2],
                    options: Vec::new(),
                    prompt_tokens: 1,
                    prefill_s: None,
                    decode_s: None,
                    logits_hash: String::new(),
                    usage: None,
                };
                answers += &(serde_json::to_string(&answer).unwrap() + "\n");
            }
        }
    }
    scores.flush().unwrap();
    std::fs::write(dir.join("items.jsonl"), items).unwrap();
    std::fs::write(dir.join("answers.jsonl"), answers).unwrap();
    let mut speed = csv::Writer::from_path(dir.join("speed.csv")).unwrap();
    for (i, context) in [1024, 2048, 4096, 8192].into_iter().enumerate() {
        speed
            .serialize(SpeedRow {
                context,
                prefill_tokens_per_s: 31_000.0 / (1.0 + i as f64 + fall as f64 / 10.0),
                decode_tokens_per_s: 900.0 - 100.0 * i as f64,
                first_token_s: 0.03 * (context as f64 / 1024.0).powf(1.3),
                peak_rss_bytes: 1 << 28,
                cache_bytes: 3 << (20 + i),
                repeats: 3,
                ..SpeedRow::default()
            })
            .unwrap();
    }
    speed.flush().unwrap();
    dir.to_path_buf()
}

fn check(out: &Path) -> String {
    let html = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(
        !html.contains("<script") && !html.contains("<img"),
        "an answer became markup"
    );
    assert!(
        html.contains("&#60;script&#62;") || html.contains("&lt;script&gt;"),
        "an answer is missing"
    );
    let address = html.replace("http://www.w3.org/2000/svg", "");
    assert!(
        !address.contains("http://") && !address.contains("https://"),
        "something from elsewhere"
    );
    for entry in std::fs::read_dir(out).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "png") {
            let bytes = std::fs::read(&path).unwrap();
            assert!(
                bytes.starts_with(b"\x89PNG") && bytes.len() > 5000,
                "{}",
                path.display()
            );
        }
    }
    html
}

#[test]
fn one_run() {
    let dir = tempfile::tempdir().unwrap();
    let run = made_up(&dir.path().join("falling"), 6);
    let out = dir.path().join("out");
    assert_eq!(render(&[run], &out).unwrap(), out.join("report.html"));
    let html = check(&out);
    assert!(html.contains("reads 1k, lost at 2k"), "no effective length");
    assert!(
        html.contains("Yes, at everything asked."),
        "not good at short"
    );
    for file in [
        "quality.svg",
        "quality.png",
        "heat-needle-single.svg",
        "speed.png",
        "report.md",
        "cells.csv",
    ] {
        assert!(out.join(file).exists(), "{file}");
    }
    let cells = std::fs::read_to_string(out.join("cells.csv")).unwrap();
    let row = cells
        .lines()
        .find(|l| l.starts_with("falling,needle/single,4096,,"))
        .unwrap();
    let fields: Vec<&str> = row.split(',').collect();
    // 18 of 28 answered; 18 to 20 of 30 when the two failed ones are counted; marked.
    assert_eq!(
        fields[4..9],
        ["0.6429", "0.4583", "0.7929", "0.6000", "0.6667"],
        "{row}"
    );
    assert_eq!(fields[18], "true");
    let markdown = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(
        markdown.contains("| needle/single | yes | 10 % (3–26) | 97 % (83–99) |"),
        "{markdown}"
    );
}

#[test]
fn several_runs_are_drawn_together() {
    let dir = tempfile::tempdir().unwrap();
    let runs = [
        made_up(&dir.path().join("steady"), 0),
        made_up(&dir.path().join("falling"), 6),
    ];
    let out = dir.path().join("out");
    render(&runs, &out).unwrap();
    let html = check(&out);
    assert!(
        html.contains("falling against steady: 356 items in common, 0 better only here"),
        "not compared"
    );
    assert!(out.join("quality-needle-single.svg").exists());
}

#[test]
fn what_is_no_run_is_an_error_of_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let error = render(&[dir.path().to_path_buf()], &dir.path().join("out"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("manifest.json") && !error.contains('\n'),
        "{error}"
    );
}

/// Writes a report to look at: `FATHOM_REPORT_TO=/tmp/x cargo test --release --test report -- look`.
#[test]
fn look() {
    let Some(to) = std::env::var_os("FATHOM_REPORT_TO").map(PathBuf::from) else {
        return;
    };
    let one = made_up(&to.join("falling"), 6);
    let other = made_up(&to.join("steady"), 0);
    render(std::slice::from_ref(&one), &to.join("one")).unwrap();
    render(&[other, one], &to.join("two")).unwrap();
}
