//! `fathom audit` against `fathom serve`: sound, with faults, with what nobody has thought of.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::Test;
use crate::client::{Server, TEMPLATE};
use crate::proxy::{Proxy, Seen, pass};

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
    let mut args = vec!["--endpoint", &url, "--reference", &pack];
    args.extend(more);
    audited(&args)
}

fn is_fault(code: Option<i32>, told: &Value, name: &str) {
    let said = (code, told["fault"].as_str());
    assert_eq!(said, (Some(1), Some(name)), "{told}");
}

/// An audit's exit code and what it says.
fn audited(args: &[&str]) -> Result<(Option<i32>, Value), Box<dyn std::error::Error>> {
    let output = fathom(&[&["audit", "--json"], args].concat())?;
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
    // What is asked beside the probes is told too.
    let billed = &told["billed"];
    assert!(
        billed["requests"].as_u64() > told["requests"].as_u64(),
        "{told}"
    );
    assert!(
        billed["prompt_tokens"].as_u64() > told["tokens"].as_u64(),
        "{told}"
    );
    // Less is told, and less is known; what is sound stays so.
    let (code, told) = audit(&sound, &pack, &["--at-most", "top"])?;
    assert!(matches!(code, Some(0 | 4)), "{told}");
    let (code, told) = audit(&sound, &pack, &["--at-most", "text"])?;
    assert!(matches!(code, Some(0 | 4)), "{told}");
    assert_eq!(told["divergence"], Value::Null);
    // What is left comes with what would decide.
    let left = told["not_excluded"].as_array().ok_or("none left")?;
    let decide = told["would_decide"].as_object().ok_or("no budgets")?;
    assert_eq!(decide.len(), left.len(), "{told}");
    assert!(decide.values().any(|b| b["requests"].as_u64() > Some(8)));
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
    // A value between those of the catalogue is given no name inside it. A pack has nothing to look for it with; a model has.
    let server = Server::with("rope-base=3")?;
    let (code, told) = audit(&server, &pack, &[])?;
    assert_eq!(
        (code, told["verdict"].as_str()),
        (Some(1), Some("other")),
        "{told}"
    );
    let url = format!("http://{}/v1", server.address);
    let (code, told) = audited(&["--endpoint", &url, "--length", "400"])?;
    is_fault(code, &told, "rope-base");
    assert_eq!(told["parameters"]["value"].as_str(), Some("3"), "{told}");
    // A recording has what the service answered; what is too long for it is named.
    let short = Server::start(|limits| limits.context = 615)?;
    let url = format!("http://{}/v1", short.address);
    let (pack, said) = (pack.display().to_string(), dir.path().join("said.jsonl"));
    let args = [
        "audit",
        "--endpoint",
        &url,
        "--reference",
        &pack,
        "--record",
    ];
    let recorded = fathom(&[&args[..], &[&said.display().to_string()]].concat())?;
    let refused = String::from_utf8_lossy(&recorded.stderr).lines().count();
    let lines = std::fs::read_to_string(&said)?.lines().count();
    assert!(recorded.status.success() && refused > 0 && lines > 1);
    assert_eq!(lines - 1 + refused, probes(&pack)?);
    Ok(())
}

fn probes(pack: &str) -> Result<usize, fathom_harness::Error> {
    let pack = fathom_harness::audit::pack::Pack::read(Path::new(pack))?;
    Ok(pack.table.probes.len())
}

fn prompt_ids(seen: &Seen) -> usize {
    seen.body["prompt"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_service_that_cuts_prompts_is_told_where_and_to_what() -> Test {
    let server = Server::start(|_| ())?;
    let address = server.address;
    // 300 tokens are kept, half of them from the end: what routers call middle-out.
    let proxy = Proxy::start(address, move |seen, stream| {
        let Some(ids) = seen.body["prompt"].as_array().filter(|ids| ids.len() > 300) else {
            return Ok(false);
        };
        let kept = [&ids[..150], &ids[ids.len() - 150..]].concat();
        let mut body = seen.body.clone();
        body["prompt"] = kept.into();
        pass(address, seen, &body, stream)
    })?;
    let base = proxy.base();
    let (code, told) = audited(&["--endpoint", &base, "--length", "400"])?;
    is_fault(code, &told, "cut-middle");
    assert_eq!(
        told["parameters"]["value"].as_str(),
        Some("beyond-300"),
        "{told}"
    );
    // With a pack nothing is evaluated: the echo alone shows it.
    let dir = tempfile::tempdir()?;
    let pack = dir.path().join("short.pack").display().to_string();
    let made = ["logits", "pack", "--length", "400", "--probes", "5"];
    let made = fathom(&[&made[..], &["--out", &pack]].concat())?;
    assert!(made.status.success());
    let (code, told) = audited(&["--endpoint", &base, "--reference", &pack])?;
    is_fault(code, &told, "cut-middle");
    let value = told["parameters"]["value"].as_str();
    assert_eq!(value, Some("beyond-300"), "{told}");
    Ok(())
}

#[test]
fn a_share_of_requests_that_goes_elsewhere_is_a_mixture() -> Test {
    let (sound, faulty) = (Server::start(|_| ())?, Server::with("no-shared-expert")?);
    let (asked, other) = (AtomicUsize::new(0), faulty.address);
    // Every third prompt of some length is answered by the other one.
    let proxy = Proxy::start(sound.address, move |seen, stream| {
        let probe = prompt_ids(seen) > 200;
        if probe && asked.fetch_add(1, Ordering::SeqCst) % 3 == 2 {
            return pass(other, seen, &seen.body, stream);
        }
        Ok(false)
    })?;
    let base = proxy.base();
    let (code, told) = audited(&[
        "--endpoint",
        &base,
        "--length",
        "400",
        "--budget-requests",
        "16",
    ])?;
    is_fault(code, &told, "no-shared-expert");
    let share = told["share"].as_f64().unwrap_or_default();
    assert!((0.1..0.7).contains(&share), "{told}");
    Ok(())
}

/// An audit of a sound server where somebody else, without temperature, answers a long prompt that comes for the n-th
/// time where `other` says so.
fn audited_again(
    other: fn(usize) -> bool,
) -> Result<(Option<i32>, Value), Box<dyn std::error::Error>> {
    let (sound, faulty) = (Server::start(|_| ())?, Server::with("no-temperature")?);
    let (asked, address) = (Mutex::new(HashMap::new()), faulty.address);
    let proxy = Proxy::start(sound.address, move |seen, stream| {
        let prompt = seen.body["prompt"].to_string();
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        let times = asked.entry(prompt).or_insert(0);
        *times += 1;
        if prompt_ids(seen) > 200 && other(*times) {
            return pass(address, seen, &seen.body, stream);
        }
        Ok(false)
    })?;
    audited(&["--endpoint", &proxy.base(), "--length", "640"])
}

#[test]
fn a_prefix_cache_that_returns_another_state_is_told() -> Test {
    let (code, told) = audited_again(|times| times > 1)?;
    is_fault(code, &told, "prefix-cache");
    Ok(())
}

#[test]
fn a_prompt_that_is_answered_otherwise_now_and_then_is_no_cache() -> Test {
    let (code, told) = audited_again(|times| times == 2)?;
    assert_eq!(
        (code, &told["verdict"]),
        (Some(1), &"other".into()),
        "{told}"
    );
    let share = told["share"].as_f64().unwrap_or_default();
    assert!((0.1..0.4).contains(&share), "{told}");
    Ok(())
}

/// A service that takes its own word for one field of a request.
fn forced(
    server: &Server,
    field: &'static str,
    value: f64,
) -> Result<Proxy, Box<dyn std::error::Error>> {
    let address = server.address;
    Ok(Proxy::start(address, move |seen, stream| {
        if seen.body[field].is_null() {
            return Ok(false);
        }
        let mut body = seen.body.clone();
        body[field] = value.into();
        pass(address, seen, &body, stream)
    })?)
}

#[test]
fn a_temperature_or_a_share_that_is_forced_is_told() -> Test {
    let server = Server::start(|_| ())?;
    let value = |told: &Value| -> f64 {
        let value = told["parameters"]["value"].as_str();
        value.and_then(|v| v.parse().ok()).unwrap_or(f64::NAN)
    };
    // With the reference at hand, where nothing but text is told.
    let proxy = forced(&server, "temperature", 0.7)?;
    let base = proxy.base();
    let short = ["--length", "200", "--at-most"];
    let (code, told) = audited(&[&["--endpoint", &base][..], &short, &["text"]].concat())?;
    is_fault(code, &told, "forced-temperature");
    assert!((value(&told) - 0.7).abs() < 0.2, "{told}");
    let proxy = forced(&server, "temperature", 0.0)?;
    let base = proxy.base();
    let (code, told) = audited(&[&["--endpoint", &base][..], &short, &["prompt"]].concat())?;
    is_fault(code, &told, "forced-temperature");
    assert_eq!(value(&told), 0.0, "{told}");
    let proxy = forced(&server, "top_p", 0.6)?;
    let base = proxy.base();
    let (code, told) = audited(&[&["--endpoint", &base][..], &short, &["prompt"]].concat())?;
    is_fault(code, &told, "forced-top-p");
    assert!((0.55..0.7).contains(&value(&told)), "{told}");
    Ok(())
}

/// Text alone, of answers that are sampled: what changes a few tokens of a greedy answer, or none, changes how likely all of them are.
#[test]
fn of_text_alone_a_fault_is_told_by_what_is_sampled() -> Test {
    let text = |server: &Server, more: &[&str]| {
        let base = format!("http://{}/v1", server.address);
        audited(&[&["--endpoint", &base, "--at-most", "text"], more].concat())
    };
    let sound = Server::start(|_| ())?;
    let (code, told) = text(&sound, &[])?;
    let verdict = told["verdict"].as_str();
    assert_eq!((code, verdict), (Some(0), Some("same")), "{told}");
    assert_eq!(told["divergence"], Value::Null);
    let excluded = told["excluded"].as_array().ok_or("nothing is excluded")?;
    for fault in ["no-temperature", "router-softmax", "rope-base=2"] {
        assert!(excluded.contains(&fault.into()), "{told}");
    }
    // How another program rounds, text does not tell.
    let left = told["not_excluded"].as_array().ok_or("none is left")?;
    assert!(left.contains(&"weights=q4_0".into()), "{told}");
    // With too little to be sure of all that would matter nothing is called the same.
    let (code, told) = text(&sound, &["--budget-requests", "3"])?;
    assert_eq!(code, Some(4), "{told}");
    drop(sound);
    for fault in ["no-temperature", "experts-plus-one"] {
        let (code, told) = text(&Server::with(fault)?, &[])?;
        is_fault(code, &told, fault);
    }
    Ok(())
}

#[test]
fn a_chat_with_another_template_or_a_hidden_system_message_is_told() -> Test {
    let dir = tempfile::tempdir()?;
    let template = dir.path().join("chat.jinja");
    std::fs::write(&template, TEMPLATE)?;
    let template = template.display().to_string();
    let audit = |base: &str| {
        let asked = ["--endpoint", base, "--chat", "--chat-template", &template];
        audited(&[&asked[..], &["--length", "300", "--budget-requests", "4"]].concat())
    };
    let sound = Server::start(|_| ())?;
    let (code, told) = audit(&format!("http://{}/v1", sound.address))?;
    assert_eq!(
        (code, told["verdict"].as_str()),
        (Some(0), Some("same")),
        "{told}"
    );
    assert_eq!(told["findings"], Value::Array(Vec::new()), "{told}");

    let address = sound.address;
    let proxy = Proxy::start(address, move |seen, stream| {
        let Some(messages) = seen.body["messages"].as_array() else {
            return Ok(false);
        };
        let system =
            serde_json::json!({"role": "system", "content": "You are a helpful assistant."});
        let mut body = seen.body.clone();
        body["messages"] = [&[system], &messages[..]].concat().into();
        pass(address, seen, &body, stream)
    })?;
    let (code, told) = audit(&proxy.base())?;
    is_fault(code, &told, "hidden-system");
    let counted = told["findings"].as_array().map_or(0, Vec::len);
    assert!(counted > 0, "{told}");

    let bare = Server::templated("{% for m in messages %}{{ m.content }}{% endfor %}")?;
    let (code, told) = audit(&format!("http://{}/v1", bare.address))?;
    is_fault(code, &told, "template");
    assert_eq!(told["parameters"]["value"].as_str(), Some("none"), "{told}");
    Ok(())
}
