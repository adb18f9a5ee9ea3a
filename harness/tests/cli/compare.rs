//! `fathom compare`: what the gate lets through, and what it does not.

use std::path::Path;

use crate::*;

/// One task, one length, sixteen questions that do not depend on each other.
fn sixteen(dir: &Path) -> Test {
    let text = "format = 1\nname = \"small\"\nlengths = [512]\ndepths = [0.5]\n[[task]]\n\
        kind = \"needle\"\nname = \"one\"\nquestions = 16\nmethod = \"likelihood\"\n\
        parameters = { max-tokens = 4, options = 3 }\n";
    Ok(std::fs::write(dir.join("small.toml"), text)?)
}

/// A run again under another name, its scores at 512 tokens as `edit` makes them: of question i the status and score.
fn edited(dir: &Path, to: &str, edit: impl Fn(usize) -> (&'static str, &'static str)) -> Test {
    std::fs::create_dir(dir.join(to))?;
    for file in ["manifest.json", "items.jsonl", "answers.jsonl"] {
        std::fs::copy(dir.join("run").join(file), dir.join(to).join(file))?;
    }
    let mut reader = csv::Reader::from_path(dir.join("run/scores.csv"))?;
    let mut writer = csv::Writer::from_path(dir.join(to).join("scores.csv"))?;
    let header = reader.headers()?.clone();
    let place = |name: &str| {
        header
            .iter()
            .position(|h| h == name)
            .ok_or("no such column")
    };
    let (context, status, score) = (place("context")?, place("status")?, place("score")?);
    writer.write_record(&header)?;
    let mut i = 0;
    for record in reader.records() {
        let mut fields: Vec<String> = record?.iter().map(str::to_owned).collect();
        if fields[context] == "512" {
            let (a, b) = edit(i);
            (fields[status], fields[score]) = (a.to_owned(), b.to_owned());
            i += 1;
        }
        writer.write_record(&fields)?;
    }
    assert_eq!(i, 16);
    Ok(writer.flush()?)
}

fn compare(dir: &Path, code: i32, args: &[&str]) -> Result<(String, String), Box<dyn Error>> {
    ends(code, fathom(dir, &[&["compare"], args].concat()))
}

#[test]
fn a_gate_fails_on_what_got_worse_and_on_nothing_else() -> Test {
    let temp = tempfile::tempdir()?;
    let dir = temp.path();
    sixteen(dir)?;
    let model = scout().display().to_string();
    ends(
        0,
        fathom(dir, &run_args(&model, &["--out", "run", "--no-speed"])),
    )?;
    edited(dir, "good", |_| ("scored", "1.0"))?;
    edited(dir, "nearly", |i| {
        ("scored", if i < 3 { "0.0" } else { "1.0" })
    })?;
    edited(dir, "bad", |i| {
        ("scored", if i < 12 { "0.0" } else { "1.0" })
    })?;
    edited(dir, "broken", |i| match i {
        0..2 => ("failed", ""),
        _ => ("scored", "1.0"),
    })?;

    for candidate in ["good", "nearly"] {
        let (out, err) = compare(dir, 0, &["good", candidate, "--gate"])?;
        assert!(
            out.contains("no change found") && err.is_empty(),
            "{out}{err}"
        );
    }
    // McNemar's exact p of 0 and 12, in three rows: 3 * 2 / 2^12.
    let (out, err) = compare(dir, 1, &["good", "bad", "--gate", "--out", "both"])?;
    assert!(out.contains("WORSE"), "{out}");
    let said = "bad against good: worse: small/one at 512: 100.0 % to 25.0 %, 12 of 16 pairs lost, p = 1.5e-3";
    assert!(err.contains(said), "{err}");
    compare(dir, 0, &["good", "bad"])?;
    let (out, _) = compare(dir, 0, &["bad", "good", "--gate", "--json"])?;
    let json: serde_json::Value = serde_json::from_str(&out)?;
    assert_eq!(json["verdict"], "better");
    let at_512 = json["rows"]
        .as_array()
        .and_then(|rows| rows.iter().find(|r| r["context"] == "512"));
    let at_512 = at_512.ok_or("no row of 512")?;
    assert_eq!(
        (&at_512["n"], &at_512["gained"], &at_512["lost"]),
        (&16.into(), &12.into(), &0.into())
    );
    let p = at_512["p"].as_f64().ok_or("no p")?;
    assert!((p - 2.0 / 4096.0).abs() < 1e-9, "{p}");

    // What has no answer says nothing about the model, and too much of it lets nothing pass.
    let (_, err) = compare(dir, 4, &["good", "broken", "--gate"])?;
    assert!(
        err.contains("small/one at 512: 2 of 16 have no answer"),
        "{err}"
    );
    let (_, err) = compare(dir, 4, &["good", "good", "--gate", "--margin", "0.01"])?;
    assert!(err.contains("is not excluded"), "{err}");

    let junit = std::fs::read_to_string(dir.join("both/junit.xml"))?;
    assert!(
        junit.contains("failures=\"1\"") && junit.contains("one at 512"),
        "{junit}"
    );
    let markdown = std::fs::read_to_string(dir.join("both/comparison.md"))?;
    assert!(
        markdown.contains("| small/one | 512 | 16 | 100.0 | 25.0 |"),
        "{markdown}"
    );
    assert!(dir.join("both/report.html").exists() && dir.join("both/comparison.json").exists());
    Ok(())
}

#[test]
fn runs_that_ask_other_questions_are_refused() -> Test {
    let temp = tempfile::tempdir()?;
    let dir = temp.path();
    sixteen(dir)?;
    let model = scout().display().to_string();
    for (seed, out) in [("1", "a"), ("2", "b")] {
        let more = ["--out", out, "--seed", seed, "--no-speed"];
        ends(0, fathom(dir, &run_args(&model, &more)))?;
    }
    let (_, err) = compare(dir, 2, &["a", "b", "--gate"])?;
    assert!(
        err.contains("b: items.jsonl: found no question of a"),
        "{err}"
    );
    let (_, err) = compare(dir, 2, &["a", "nowhere"])?;
    assert!(err.contains("nowhere/manifest.json"), "{err}");
    std::fs::remove_file(dir.join("b/scores.csv"))?;
    let (_, err) = compare(dir, 2, &["a", "b"])?;
    assert!(err.contains("b/scores.csv: rows: found none"), "{err}");
    compare(dir, 2, &["a", "a", "--margin", "2"])?;
    Ok(())
}
