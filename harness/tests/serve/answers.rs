//! Every endpoint answers, with the bits of the engine, and a stream says what a whole answer says.

use std::sync::Arc;

use fathom_engine::{Extend, Logits, PromptTree, TreeOptions};
use fathom_harness::backend::local::Local;
use fathom_harness::backend::sample::{logprob, top};
use fathom_harness::backend::{Backend, Event, Generate, ModelCard, Outcome, Request};
use serde_json::{Value, json};

use crate::Test;
use crate::client::{NAME, Server, opened};

const PROMPT: &str =
    "The magic number of the quiet harbour is 4711. Mira walked to the old mill. What is the";

fn floats(value: &Value) -> Vec<Option<f32>> {
    let list = value.as_array().map_or(&[][..], |l| &l[..]);
    list.iter().map(|x| x.as_f64().map(|x| x as f32)).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    let list = value.as_array().map_or(&[][..], |l| &l[..]);
    list.iter()
        .filter_map(|x| x.as_u64())
        .map(|x| x as u32)
        .collect()
}

#[test]
fn models_and_health_are_there_and_nothing_else() -> Test {
    let server = Server::start(|_| ())?;
    let (status, models) = server.get("/v1/models")?;
    assert_eq!((status, &models["data"][0]["id"]), (200, &json!(NAME)));
    assert_eq!(models["data"][0]["max_model_len"], 32768);
    assert_eq!(server.get("/v1/models/small")?.1["object"], "model");
    assert_eq!(server.get("/v1/models/large")?.0, 404);
    assert_eq!(server.health("running")?, 0);
    for (status, reply) in [server.get("/v2")?, server.get("/v1/completions")?] {
        assert_eq!(
            (status, &reply["error"]["type"]),
            (404, &json!("invalid_request_error"))
        );
    }
    Ok(())
}

#[test]
fn tokens_are_those_of_the_tokenizer() -> Test {
    let server = Server::start(|_| ())?;
    let opened = opened()?;
    let text = "Tide <|end_of_text|> \u{e9}\u{1f600}";
    let with_bos = server.ask("/tokenize", &json!({"prompt": text, "model": NAME}))?;
    assert_eq!(ids(&with_bos["tokens"]), opened.raw(text)?);
    assert_eq!(with_bos["count"], opened.raw(text)?.len());
    let plain = server.ask("/tokenize", &json!({"content": text}))?;
    assert_eq!(ids(&plain["tokens"]), opened.tokenizer.encode(text)?);
    let again = server.ask("/detokenize", &json!({"tokens": plain["tokens"]}))?;
    assert_eq!(again["prompt"], text);
    let messages = json!({"messages": [{"role": "user", "content": "hi"}]});
    let chat = server.ask("/tokenize", &messages)?;
    assert_eq!(ids(&chat["tokens"]), opened.chat("hi")?);
    Ok(())
}

#[test]
fn a_completion_has_the_bits_of_generate() -> Test {
    let server = Server::start(|_| ())?;
    let asked = json!({"model": NAME, "prompt": PROMPT, "max_tokens": 24, "temperature": 0, "logprobs": 3,
        "return_token_ids": true});
    let reply = server.ask("/v1/completions", &asked)?;
    let choice = &reply["choices"][0];

    let opened = opened()?;
    let request = Request {
        ids: opened.raw(PROMPT)?,
        generate: Some(Generate {
            max_tokens: 24,
            thought_budget: 24,
            thinking: false,
            one_line: false,
            temperature: 0.0,
            top_p: 1.0,
            seed: 0,
        }),
        options: Vec::new(),
        ..Request::default()
    };
    let card = ModelCard::default();
    let mut local = Local::new(
        opened.model,
        Arc::clone(&opened.tokenizer),
        opened.stop,
        card,
        2,
    );
    let mut expected = None;
    local.evaluate(std::slice::from_ref(&request), &mut |event| {
        if let Event::Done(_, Outcome::Reply(reply)) = event {
            expected = Some(reply);
        }
        Ok(())
    })?;
    let expected = expected.ok_or("no reply")?;
    assert_eq!(choice["text"], expected.text);
    assert_eq!(ids(&choice["token_ids"]), expected.ids);
    assert_eq!(ids(&choice["prompt_token_ids"]), request.ids);
    let logprobs: Vec<_> = expected.logprobs.into_iter().map(Some).collect();
    assert_eq!(floats(&choice["logprobs"]["token_logprobs"]), logprobs);
    assert_eq!(reply["usage"]["prompt_tokens"], request.ids.len());
    assert_eq!(reply["usage"]["completion_tokens"], expected.ids.len());
    assert_eq!(reply["object"], "text_completion");
    Ok(())
}

/// `max_tokens` 0 and 1 are what programs use that score text.
#[test]
fn echoed_log_probabilities_are_those_of_recorded_logits() -> Test {
    let server = Server::start(|_| ())?;
    let opened = opened()?;
    let tokens: Vec<u32> = (0..700u32).map(|i| 3 + i * i * 7 % 2000).collect();
    let mut tree = PromptTree::new(&opened.model, TreeOptions::default())?;
    let span = tree.root(0);
    let mut expected = Vec::new();
    let batch = [Extend {
        span,
        tokens: &tokens,
        logits: Logits::All,
    }];
    tree.extend(&batch, &mut |row| {
        let best: Vec<_> = top(row.logits, 2)
            .into_iter()
            .map(|(id, p)| (id, p as f32))
            .collect();
        let next = tokens.get(row.pos + 1);
        expected.push((next.map(|id| logprob(row.logits, *id) as f32), best));
    })?;
    for max_tokens in [0, 1] {
        let asked = json!({"prompt": tokens, "max_tokens": max_tokens, "echo": true, "logprobs": 2, "temperature": 0});
        let reply = server.ask("/v1/completions", &asked)?;
        let lists = &reply["choices"][0]["logprobs"];
        let said = floats(&lists["token_logprobs"]);
        assert_eq!(said.len(), tokens.len() + max_tokens);
        assert_eq!(said[0], None);
        for (i, (next, best)) in expected[..tokens.len() - 1].iter().enumerate() {
            assert_eq!(said[i + 1], *next, "token {}", i + 1);
            let told = lists["top_logprobs"][i + 1].as_object().ok_or("no top")?;
            let first = told.iter().next().ok_or("empty top")?;
            assert_eq!(first.1.as_f64().map(|x| x as f32), Some(best[0].1));
        }
        // The text, and where each token stands in it.
        let text: Vec<char> = reply["choices"][0]["text"]
            .as_str()
            .ok_or("no text")?
            .chars()
            .collect();
        let offsets = ids(&lists["text_offset"]);
        for (i, token) in lists["tokens"]
            .as_array()
            .ok_or("no tokens")?
            .iter()
            .enumerate()
        {
            let token = token.as_str().ok_or("no token")?;
            let there: String = text[offsets[i] as usize..].iter().collect();
            assert!(
                token.starts_with("bytes:") || there.starts_with(token),
                "token {i}"
            );
        }
        assert_eq!(reply["usage"]["total_tokens"], tokens.len() + max_tokens);
    }
    Ok(())
}

#[test]
fn an_added_beginning_stands_in_no_text() -> Test {
    let server = Server::start(|_| ())?;
    let reply = server.ask(
        "/v1/completions",
        &json!({"prompt": "Call me", "max_tokens": 0, "echo": true, "logprobs": 0}),
    )?;
    let choice = &reply["choices"][0];
    assert_eq!(
        (&choice["text"], &choice["finish_reason"]),
        (&json!("Call me"), &json!("length"))
    );
    assert_eq!(choice["logprobs"]["tokens"][0], "<|begin_of_text|>");
    assert_eq!(ids(&choice["logprobs"]["text_offset"])[..2], [0, 0]);
    Ok(())
}

/// What a stream says, put together as a whole answer's choices.
fn joined(chunks: &[Value]) -> Vec<Value> {
    let mut choices: Vec<Value> = Vec::new();
    for choice in chunks
        .iter()
        .flat_map(|c| c["choices"].as_array().into_iter().flatten())
    {
        let i = choice["index"].as_u64().unwrap_or(0) as usize;
        if choices.len() <= i {
            choices.resize(i + 1, json!({"text": "", "logprobs": {}, "token_ids": []}));
        }
        let whole = &mut choices[i];
        let text = choice["text"]
            .as_str()
            .or(choice["delta"]["content"].as_str());
        whole["text"] = json!(whole["text"].as_str().unwrap_or("").to_owned() + text.unwrap_or(""));
        for (name, list) in choice["logprobs"].as_object().into_iter().flatten() {
            let mut all = whole["logprobs"][name]
                .as_array()
                .cloned()
                .unwrap_or_default();
            all.extend(list.as_array().into_iter().flatten().cloned());
            whole["logprobs"][name] = Value::Array(all);
        }
        let mut all = ids(&whole["token_ids"]);
        all.extend(ids(&choice["token_ids"]));
        whole["token_ids"] = json!(all);
        if !choice["finish_reason"].is_null() {
            whole["finish_reason"] = choice["finish_reason"].clone();
        }
    }
    choices
}

#[test]
fn a_stream_says_what_a_whole_answer_says() -> Test {
    let server = Server::start(|_| ())?;
    let chat = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Who?"}]}]);
    for (path, asked) in [
        (
            "/v1/completions",
            json!({"prompt": PROMPT, "max_tokens": 20, "logprobs": 4, "echo": true, "n": 3, "seed": 7}),
        ),
        (
            "/v1/completions",
            json!({"prompt": [PROMPT, "Call me"], "max_tokens": 30, "temperature": 0, "stop": [" the", "e w"]}),
        ),
        (
            "/v1/completions",
            json!({"prompt": [[5, 6, 7], [900, 901]], "max_tokens": 60, "seed": 1, "temperature": 2.0, "logprobs": 1, "stop": "a"}),
        ),
        (
            "/v1/chat/completions",
            json!({"messages": chat, "max_tokens": 25, "logprobs": true, "top_logprobs": 3, "seed": -5}),
        ),
        (
            "/v1/chat/completions",
            json!({"messages": chat, "max_completion_tokens": 9, "temperature": 0, "n": 2}),
        ),
    ] {
        let mut asked = asked;
        asked["return_token_ids"] = json!(true);
        let whole = server.ask(path, &asked)?;
        asked["stream_options"] = json!({"include_usage": true});
        asked["stream"] = json!(true);
        let chunks = server.stream(path, &asked)?;
        let usage = &chunks.last().ok_or("no chunk")?["usage"];
        for count in ["prompt_tokens", "completion_tokens", "total_tokens"] {
            assert_eq!(usage[count], whole["usage"][count], "{count} of {asked}");
        }
        let said = joined(&chunks);
        let choices = whole["choices"].as_array().ok_or("no choices")?;
        assert_eq!(said.len(), choices.len());
        for (said, whole) in said.iter().zip(choices) {
            let text = if whole["text"].is_null() {
                &whole["message"]["content"]
            } else {
                &whole["text"]
            };
            assert_eq!(&said["text"], text, "{asked}");
            assert_eq!(said["finish_reason"], whole["finish_reason"], "{asked}");
            assert_eq!(said["token_ids"], whole["token_ids"], "{asked}");
            for (name, list) in whole["logprobs"].as_object().into_iter().flatten() {
                let said = &said["logprobs"][name];
                assert!(
                    said == list || list.is_null(),
                    "{name} of {asked}\n{said}\n{list}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn stop_strings_are_no_part_of_the_answer() -> Test {
    let server = Server::start(|_| ())?;
    let asked = json!({"prompt": PROMPT, "max_tokens": 40, "temperature": 0, "logprobs": 0});
    let free = server.ask("/v1/completions", &asked)?;
    let text = free["choices"][0]["text"]
        .as_str()
        .ok_or("no text")?
        .to_owned();
    let stop: String = text.chars().skip(9).take(4).collect();
    let expected = &text[..text.find(&stop).ok_or("no stop")?];
    let mut asked = asked;
    asked["stop"] = json!(["\u{1f600}never", stop]);
    let cut = server.ask("/v1/completions", &asked)?;
    let choice = &cut["choices"][0];
    assert_eq!(
        (&choice["text"], &choice["finish_reason"]),
        (&json!(expected), &json!("stop"))
    );
    // Tokens that begin in what is left, and no others.
    let tokens = choice["logprobs"]["tokens"].as_array().ok_or("no tokens")?;
    let texts: Vec<&str> = tokens.iter().filter_map(Value::as_str).collect();
    let (last, before) = texts.split_last().ok_or("no token")?;
    let before = before.concat();
    assert!(expected.starts_with(&before) && before.len() < expected.len());
    assert!(format!("{before}{last}").starts_with(expected));
    Ok(())
}

#[test]
fn a_seed_repeats_an_answer() -> Test {
    let server = Server::start(|_| ())?;
    let ask = |seed: i64, n: usize| -> Result<Value, Box<dyn std::error::Error>> {
        let asked =
            json!({"prompt": PROMPT, "max_tokens": 30, "seed": seed, "n": n, "top_p": 0.95});
        Ok(server.ask("/v1/completions", &asked)?["choices"].take())
    };
    assert_eq!(ask(3, 1)?[0], ask(3, 4)?[0]);
    assert_eq!(ask(3, 4)?, ask(3, 4)?);
    assert_ne!(ask(3, 4)?[0]["text"], ask(3, 4)?[1]["text"]);
    assert_ne!(ask(3, 1)?, ask(4, 1)?);
    Ok(())
}
