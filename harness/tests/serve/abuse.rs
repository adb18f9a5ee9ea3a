//! Whatever comes in, the answer is an error that names the field, and the server goes on.

use std::io::Read;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Test;
use crate::client::{Server, long, response};

#[test]
fn what_cannot_be_used_is_named() -> Test {
    let server = Server::start(|_| ())?;
    let long = "x".repeat(2000);
    let cases: [(&str, Value, u16, &str); 42] = [
        ("completions", json!({}), 400, "prompt"),
        ("completions", json!({"prompt": null}), 400, "prompt"),
        ("completions", json!({"prompt": 7}), 400, "prompt"),
        ("completions", json!({"prompt": []}), 400, "prompt"),
        ("completions", json!({"prompt": [[]]}), 400, "prompt[0]"),
        ("completions", json!({"prompt": [1, "a"]}), 400, "prompt[1]"),
        ("completions", json!({"prompt": ["a", 1]}), 400, "prompt[1]"),
        ("completions", json!({"prompt": [2048]}), 400, "prompt[0]"),
        ("completions", json!({"prompt": [1, -1]}), 400, "prompt[1]"),
        (
            "completions",
            json!({"prompt": [[1], [1, 1.5]]}),
            400,
            "prompt[1][1]",
        ),
        (
            "completions",
            json!({"prompt": "a", "max_tokens": -1}),
            400,
            "max_tokens",
        ),
        (
            "completions",
            json!({"prompt": "a", "max_tokens": 1e300}),
            400,
            "max_tokens",
        ),
        (
            "completions",
            json!({"prompt": "a", "max_tokens": 9_223_372_036_854_775_807u64}),
            400,
            "prompt",
        ),
        (
            "completions",
            json!({"prompt": "a", "temperature": -0.1}),
            400,
            "temperature",
        ),
        (
            "completions",
            json!({"prompt": "a", "temperature": "hot"}),
            400,
            "temperature",
        ),
        (
            "completions",
            json!({"prompt": "a", "top_p": 1.5}),
            400,
            "top_p",
        ),
        ("completions", json!({"prompt": "a", "n": 0}), 400, "n"),
        ("completions", json!({"prompt": "a", "n": 17}), 400, "n"),
        (
            "completions",
            json!({"prompt": "a", "best_of": 2}),
            400,
            "best_of",
        ),
        (
            "completions",
            json!({"prompt": "a", "suffix": "z"}),
            400,
            "suffix",
        ),
        (
            "completions",
            json!({"prompt": "a", "logprobs": 21}),
            400,
            "logprobs",
        ),
        (
            "completions",
            json!({"prompt": "a", "logprobs": true}),
            400,
            "logprobs",
        ),
        (
            "completions",
            json!({"prompt": "a", "echo": 1}),
            400,
            "echo",
        ),
        (
            "completions",
            json!({"prompt": "a", "seed": 1.5}),
            400,
            "seed",
        ),
        (
            "completions",
            json!({"prompt": "a", "stop": 3}),
            400,
            "stop",
        ),
        (
            "completions",
            json!({"prompt": "a", "stop": [long]}),
            400,
            "stop",
        ),
        (
            "completions",
            json!({"prompt": "a", "logit_bias": {"5": 100}}),
            400,
            "logit_bias",
        ),
        (
            "completions",
            json!({"prompt": "a", "frequency_penalty": 0.5}),
            400,
            "frequency_penalty",
        ),
        (
            "completions",
            json!({"prompt": "a", "top_k": 5}),
            400,
            "top_k",
        ),
        (
            "completions",
            json!({"prompt": "a", "stream_options": {"include_usage": true}}),
            400,
            "stream_options",
        ),
        (
            "completions",
            json!({"prompt": "a", "frobnicate": 1}),
            400,
            "frobnicate",
        ),
        (
            "completions",
            json!({"prompt": "a", "model": "gpt-4"}),
            404,
            "model",
        ),
        ("chat/completions", json!({}), 400, "messages"),
        ("chat/completions", json!({"messages": []}), 400, "messages"),
        (
            "chat/completions",
            json!({"messages": ["hi"]}),
            400,
            "messages[0]",
        ),
        (
            "chat/completions",
            json!({"messages": [{"role": "tool", "content": "x"}]}),
            400,
            "messages[0].role",
        ),
        (
            "chat/completions",
            json!({"messages": [{"role": "user"}]}),
            400,
            "messages[0].content",
        ),
        (
            "chat/completions",
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}),
            400,
            "messages[0].content[0]",
        ),
        (
            "chat/completions",
            json!({"messages": [{"role": "user", "content": "x"}], "top_logprobs": 2}),
            400,
            "top_logprobs",
        ),
        (
            "chat/completions",
            json!({"messages": [{"role": "user", "content": "x"}], "tools": [{}]}),
            400,
            "tools",
        ),
        (
            "chat/completions",
            json!({"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_object"}}),
            400,
            "response_format",
        ),
        (
            "chat/completions",
            json!({"messages": [{"role": "user", "content": "x", "name": "Mira"}]}),
            400,
            "messages[0].name",
        ),
    ];
    for (path, asked, expected, param) in cases {
        let (status, reply) = server.post(&format!("/v1/{path}"), &asked)?;
        let error = &reply["error"];
        assert_eq!(status, expected, "{asked}\n{reply}");
        let named = error["param"] == param
            || error["message"]
                .as_str()
                .is_some_and(|m| m.ends_with(&format!("supplied: {param}")));
        assert!(
            named && error["type"] == "invalid_request_error",
            "{asked}\n{reply}"
        );
    }
    assert_eq!(
        server.post("/detokenize", &json!({"tokens": [99999]}))?.0,
        400
    );
    assert_eq!(server.post("/tokenize", &json!({"prompt": 3}))?.0, 400);
    assert_eq!(server.health("tokens_evaluated")?, 0);
    Ok(())
}

#[test]
fn what_is_no_request_is_survived() -> Test {
    let server = Server::start(|l| l.body = 4096)?;
    let deep = "[".repeat(3000);
    let half = "{\"prompt\": \"a\"";
    for body in [
        "",
        "null",
        "[]",
        half,
        &deep,
        "{\"prompt\": \"\\ud800\"}",
        "{\"a\":1e999}",
        "\u{0}",
    ] {
        assert_eq!(server.post_text("/v1/completions", body)?.0, 400, "{body}");
    }
    let (status, reply) = server.post("/v1/completions", &json!({"prompt": "x".repeat(5000)}))?;
    assert_eq!(
        (status, &reply["error"]["type"]),
        (413, &json!("invalid_request_error"))
    );
    let bytes: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{\"prompt\"",
    ];
    for bytes in bytes {
        let mut connection = server.send(bytes)?;
        connection.shutdown(Shutdown::Write)?;
        let mut said = Vec::new();
        let _ = connection.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    }
    assert_eq!(server.health("tokens_evaluated")?, 0);
    server.ask(
        "/v1/completions",
        &json!({"prompt": "still here", "max_tokens": 2}),
    )?;
    Ok(())
}

#[test]
fn limits_are_kept_and_named() -> Test {
    let server = Server::start(|l| {
        l.context = 64;
        l.queue = 2;
        l.memory = 1 << 20;
    })?;
    let code = |asked: Value| -> Result<(u16, Value), Box<dyn std::error::Error>> {
        let (status, mut reply) = server.post("/v1/completions", &asked)?;
        Ok((status, reply["error"].take()))
    };
    let ids: Vec<u32> = (0..64).collect();
    let (status, error) = code(json!({"prompt": ids, "max_tokens": 1}))?;
    assert_eq!(
        (status, &error["code"]),
        (400, &json!("context_length_exceeded"))
    );
    assert_eq!(
        code(json!({"prompt": ids, "max_tokens": 0, "echo": true}))?.0,
        200
    );
    assert_eq!(
        code(json!({"prompt": ids[..60], "n": 16, "max_tokens": 4}))?.0,
        400
    );
    assert_eq!(code(json!({"prompt": ["a", "b", "c"]}))?.0, 400);
    Ok(())
}

#[test]
fn a_full_queue_says_so() -> Test {
    let server = Server::start(|l| (l.queue, l.batch) = (1, 1))?;
    let long = long(false).to_string();
    let first = server.send_post("/v1/completions", &long)?;
    server.wait_for("running")?;
    let second = server.send_post("/v1/completions", &long)?;
    server.wait_for("waiting")?;
    let third = server.send_post("/v1/completions", &long)?;
    let (status, reply) = response(third)?;
    assert_eq!(status, 429, "{reply}");
    drop((first, second));
    server.idle()
}

#[test]
fn an_answer_ends_in_time() -> Test {
    let server = Server::start(|l| (l.time, l.kept) = (Duration::from_millis(700), 0))?;
    let (status, reply) = server.post("/v1/completions", &long(false))?;
    assert_eq!((status, &reply["error"]["code"]), (504, &json!("timeout")));
    let asked = long(true).to_string();
    let (status, text) = response(server.send_post("/v1/completions", &asked)?)?;
    assert_eq!(status, 200);
    let ended = text.trim_end().ends_with("\"code\":\"timeout\"}}");
    assert!(ended && !text.contains("[DONE]"), "{text}");
    Ok(())
}

#[test]
fn a_stop_lets_answers_end_and_not_for_ever() -> Test {
    let short = json!({"prompt": "a", "max_tokens": 200, "temperature": 2.0, "seed": 5});
    for (asked, grace, expected) in [(short, 60_000, 200), (long(false), 300, 503)] {
        let mut server = Server::start(|l| l.grace = Duration::from_millis(grace))?;
        let connection = server.send_post("/v1/completions", &asked.to_string())?;
        server.wait_for("running")?;
        let stopped = Instant::now();
        server.end()?;
        assert!(stopped.elapsed() < Duration::from_secs(30));
        let (status, reply) = response(connection)?;
        assert_eq!(status, expected, "{reply}");
        assert!(std::net::TcpStream::connect(server.address).is_err());
    }
    Ok(())
}
