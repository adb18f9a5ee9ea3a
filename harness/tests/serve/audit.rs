//! `fathom audit` against `fathom serve`: sound, with faults, with what nobody has thought of.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::Test;
use crate::client::Server;

fn fathom(args: &[&str]) -> std::io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_fathom"))
        .args(args)
        .output()
}

fn audit(
    server: &Server,
    pack: &Path,
    more: &[&str],
) -> Result<(Option<i32>, Value), Box<dyn std::error::Error>> {
    let (url, pack) = (
        format!("http://{}/v1", server.address),
        pack.display().to_string(),
    );
    let mut args = vec!["audit", "--endpoint", &url, "--reference", &pack, "--json"];
    args.extend(more);
    let output = fathom(&args)?;
    let told = serde_json::from_slice(&output.stdout).map_err(|e| {
        format!(
            "{e}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })?;
    Ok((output.status.code(), told))
}

#[test]
fn an_audit_names_what_was_done_and_calls_nothing_else_a_fault() -> Test {
    let dir = tempfile::tempdir()?;
    let pack = dir.path().join("builtin.pack");
    let made = fathom(&[
        "logits",
        "pack",
        "--out",
        &pack.display().to_string(),
        "--probes",
        "5",
        "--length",
        "640",
    ])?;
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );

    let sound = Server::start(|_| ())?;
    let (code, told) = audit(&sound, &pack, &[])?;
    assert_eq!(
        (code, told["verdict"].as_str()),
        (Some(0), Some("same")),
        "{told}"
    );
    assert!(
        told["divergence"].as_f64().is_some_and(|d| d < 1e-9),
        "{told}"
    );
    assert!(
        told["excluded"]
            .as_array()
            .is_some_and(|e| e.contains(&"no-chunk".into()))
    );
    assert_eq!(told["findings"], Value::Array(Vec::new()), "{told}");
    // Less is told, and less is known; what is sound stays so.
    let (code, told) = audit(&sound, &pack, &["--at-most", "top"])?;
    assert!(matches!(code, Some(0 | 4)), "{told}");
    let (code, told) = audit(&sound, &pack, &["--at-most", "text"])?;
    assert!(matches!(code, Some(0 | 4)), "{told}");
    assert_eq!(told["divergence"], Value::Null);
    drop(sound);

    for (fault, name, value) in [
        ("no-temperature", "no-temperature", None),
        ("kv-cache=q4_0", "kv-cache", Some("q4_0")),
        ("rope-base=2", "rope-base", Some("2")),
    ] {
        let server = Server::with(fault)?;
        let (code, told) = audit(&server, &pack, &[])?;
        assert_eq!(
            (code, told["fault"].as_str()),
            (Some(1), Some(name)),
            "{fault}: {told}"
        );
        assert_eq!(
            told["parameters"]["value"].as_str(),
            value,
            "{fault}: {told}"
        );
    }
    // Chunks of 896 tokens are no chunks in a text of 640: what cannot be told apart is not told apart.
    let server = Server::with("no-chunk")?;
    let (code, told) = audit(&server, &pack, &[])?;
    assert_eq!(
        (code, told["verdict"].as_str()),
        (Some(1), Some("class")),
        "{told}"
    );
    assert_eq!(
        told["members"],
        serde_json::json!(["no-chunk", "chunk-size=2"]),
        "{told}"
    );
    // A value between those of the catalogue is given no name inside it.
    let server = Server::with("rope-base=3")?;
    let (code, told) = audit(&server, &pack, &[])?;
    assert_eq!(
        (code, told["verdict"].as_str()),
        (Some(1), Some("other")),
        "{told}"
    );
    Ok(())
}
