//! What is evaluated together, or goes on from what was kept, has the bits that it has alone.

use std::io::Read;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Test;
use crate::client::{Server, long};

/// A document longer than a chunk of the model, then something else.
fn prompt(document: u32, length: u32, ask: u32) -> Value {
    let mut ids: Vec<u32> = (0..length)
        .map(|i| 3 + (i * i + document * 31 + i / 7) % 2000)
        .collect();
    ids.extend([40, 41 + ask, 42, 43 + ask % 3]);
    json!(ids)
}

fn choices(server: &Server, asked: &Value) -> Result<(Value, u64), Box<dyn std::error::Error>> {
    let mut reply = server.ask("/v1/completions", asked)?;
    let details = &reply["usage"]["prompt_tokens_details"]["cached_tokens"];
    let cached = details.as_u64().ok_or("no cached tokens")?;
    Ok((reply["choices"].take(), cached))
}

#[test]
fn what_was_kept_changes_no_bit() -> Test {
    let keeping = Server::start(|l| l.kept = 3)?;
    let forgetting = Server::start(|l| l.kept = 0)?;
    let mut saved = Vec::new();
    // Ends in different chunks and at their edges, prompts that repeat, parts of others, and more than is kept.
    for (document, length, ask) in [
        (1, 500, 0),
        (1, 500, 1),
        (1, 500, 1),
        (1, 384, 0),
        (1, 383, 5),
        (2, 800, 0),
        (2, 805, 1),
        (3, 100, 0),
        (3, 101, 0),
        (4, 150, 0),
        (1, 500, 2),
        (2, 600, 3),
    ] {
        for scored in [false, true] {
            let mut asked = json!({"prompt": prompt(document, length, ask), "max_tokens": 12, "temperature": 0, "logprobs": 2});
            if scored {
                asked["echo"] = json!(true);
            }
            let (with, cached) = choices(&keeping, &asked)?;
            let (without, none) = choices(&forgetting, &asked)?;
            assert_eq!(with, without, "{document} {length} {ask} {scored}");
            assert_eq!(none, 0);
            saved.push(cached);
        }
    }
    assert_eq!(saved[0], 0);
    // The document and what was asked in the same words, then all but the last token; with scores, those must have been asked for before.
    assert_eq!((saved[2], saved[4]), (501, 503));
    assert!(saved[1] == 0 && saved[3] > 300, "{saved:?}");
    assert!(keeping.health("kept_prefixes")? == 3 && forgetting.health("kept_prefixes")? == 0);
    Ok(())
}

#[test]
fn a_conversation_goes_on_where_it_stood() -> Test {
    let server = Server::start(|_| ())?;
    let mut messages = vec![json!({"role": "user", "content": "Where did Mira go? ".repeat(30)})];
    let mut before = 0;
    for turn in 0..3 {
        let asked = json!({"messages": messages, "max_tokens": 16, "temperature": 0});
        let reply = server.ask("/v1/chat/completions", &asked)?;
        let usage = &reply["usage"];
        let cached = usage["prompt_tokens_details"]["cached_tokens"]
            .as_u64()
            .ok_or("none")?;
        assert!(
            turn == 0 || cached > before / 2,
            "turn {turn}: {cached} of {before}"
        );
        before = usage["prompt_tokens"].as_u64().ok_or("no count")?;
        messages.push(reply["choices"][0]["message"].clone());
        messages.push(json!({"role": "user", "content": "And then?"}));
    }
    Ok(())
}

#[test]
fn concurrent_requests_are_answered_as_alone() -> Test {
    let alone = Server::start(|l| (l.kept, l.batch) = (0, 4))?;
    let together = &Server::start(|l| l.batch = 4)?;
    let asked: Vec<Value> = (0..12u32)
        .map(|i| {
            let prompt = prompt(i / 4, 300 + 17 * (i % 4), i);
            json!({"prompt": prompt, "max_tokens": 5 + 9 * (i % 3), "seed": i, "temperature": 0.5 * f64::from(i % 3),
                "n": 1 + i % 2, "logprobs": i % 4, "echo": i % 5 == 0})
        })
        .collect();
    let replies: Vec<_> = std::thread::scope(|scope| {
        let ask = |asked| {
            scope.spawn(move || {
                together
                    .ask("/v1/completions", asked)
                    .map_err(|e| e.to_string())
            })
        };
        let threads: Vec<_> = asked.iter().map(ask).collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|_| Err("died".into())))
            .collect()
    });
    for (asked, reply) in asked.iter().zip(replies) {
        assert_eq!(
            reply?["choices"],
            alone.ask("/v1/completions", asked)?["choices"],
            "{asked}"
        );
    }
    // Four documents' questions, handed in together: each document was read once.
    let evaluated = |s: &Server| s.health("tokens_evaluated");
    assert!(evaluated(together)? < evaluated(&alone)? * 3 / 4);
    Ok(())
}

#[test]
fn a_list_of_prompts_is_answered_as_each_alone() -> Test {
    let server = Server::start(|_| ())?;
    let prompts: Vec<Value> = (0..5).map(|i| prompt(7, 200 + i, i)).collect();
    let asked = |prompt: Value| json!({"prompt": prompt, "max_tokens": 6, "seed": 2, "n": 2, "logprobs": 1, "echo": true});
    let all = server.ask("/v1/completions", &asked(json!(prompts)))?;
    for (i, prompt) in prompts.into_iter().enumerate() {
        let one = server.ask("/v1/completions", &asked(prompt))?;
        for n in 0..2 {
            let mut choice = all["choices"][2 * i + n].clone();
            assert_eq!(choice["index"], 2 * i + n);
            choice["index"] = json!(n);
            assert_eq!(choice, one["choices"][n]);
        }
    }
    Ok(())
}

#[test]
fn work_stops_when_the_client_has_gone() -> Test {
    let server = Server::start(|_| ())?;
    for stream in [false, true] {
        // Minutes of work, if it were done; both while a prompt is read and while an answer is generated.
        for asked in [
            json!({"prompt": prompt(9, 30, 0), "max_tokens": 30_000, "temperature": 2.0, "n": 16, "stream": stream}),
            long(stream),
        ] {
            let mut connection = server.send_post("/v1/completions", &asked.to_string())?;
            server.wait_for("running")?;
            if stream {
                connection.read_exact(&mut [0; 16])?;
            }
            drop(connection);
            server.idle()?;
        }
    }
    let evaluated = server.health("tokens_evaluated")?;
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.health("tokens_evaluated")?, evaluated);
    // What was read of the long prompt is kept.
    assert!(server.health("kept_prefixes")? > 0);
    Ok(())
}
