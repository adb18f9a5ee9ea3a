//! Our client of such APIs against our server: what it does is found out, and the bits of the engine arrive.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;

use fathom_engine::{Extend, Logits, PromptTree, TreeOptions};
use fathom_harness::backend::sample::logprob;
use fathom_harness::endpoint::{Chat, Completion, Endpoint, Kind, Prompt, Sampling, Settings};
use fathom_harness::stop::Stop;
use serde_json::{Value, json};

use crate::Test;
use crate::client::{NAME, Server, opened};
use crate::proxy::{Proxy, pass};

const PROMPT: &str = "The magic number of the quiet harbour is 4711. What is the";

fn settings(server: &Server) -> Settings {
    Settings::new(format!("http://{}/v1/", server.address))
}

fn endpoint(server: &Server) -> fathom_harness::Result<Endpoint> {
    Endpoint::open(&settings(server), &Stop::default())
}

#[test]
fn what_the_server_does_is_found_out() -> Test {
    let server = Server::start(|_| ())?;
    let endpoint = endpoint(&server)?;
    assert_eq!(endpoint.model(), NAME);
    let can = endpoint.probe()?;
    let words = can.in_words();
    assert!(
        can.completions && can.chat && can.ids && can.echo && can.echo_ids,
        "{words}"
    );
    assert!(
        can.streams && can.seed && can.usage && can.cached,
        "{words}"
    );
    assert!(can.tokenize && !can.prompt_logprobs, "{words}");
    assert!(can.completion_top >= 5 && can.chat_top >= 5, "{words}");
    assert!(words.contains("log probabilities of a prompt: by echo"));
    Ok(())
}

#[test]
fn a_prompts_log_probabilities_are_the_engines() -> Test {
    let server = Server::start(|_| ())?;
    let endpoint = endpoint(&server)?;
    let can = endpoint.probe()?;
    let opened = opened()?;
    let ids = opened.raw(PROMPT)?;
    let mut tree = PromptTree::new(&opened.model, TreeOptions::default())?;
    let batch = [Extend {
        span: tree.root(0),
        tokens: &ids,
        logits: Logits::All,
    }];
    let mut expected = vec![None];
    tree.extend(&batch, &mut |row| {
        expected.extend(
            ids.get(row.pos + 1)
                .map(|id| Some(logprob(row.logits, *id) as f32)),
        );
    })?;
    for prompt in [Prompt::Ids(ids.clone()), Prompt::Text(PROMPT.to_owned())] {
        let told = endpoint.score_prompt(&can, &prompt, 3)?;
        let bits: Vec<_> = told.iter().map(|p| p.logprob.map(|l| l as f32)).collect();
        assert_eq!(bits, expected);
        assert!(told[1..].iter().all(|p| p.top.len() >= 3));
        if let Prompt::Ids(ids) = prompt {
            let told: Vec<_> = told.iter().filter_map(|p| p.token.id).collect();
            assert_eq!(told, ids);
        }
    }
    Ok(())
}

/// `logits check --endpoint` of a server: exit code, standard output and standard error.
fn check(
    server: SocketAddr,
    reference: &std::path::Path,
) -> Result<(i32, Vec<u8>, String), Box<dyn Error>> {
    let output = Command::new(env!("CARGO_BIN_EXE_fathom"))
        .args(["logits", "check", "--json", "--top", "20", "--endpoint"])
        .arg(format!("http://{server}/v1"))
        .arg("--reference")
        .arg(reference)
        .output()?;
    let code = output.status.code().ok_or("no exit code")?;
    Ok((code, output.stdout, String::from_utf8(output.stderr)?))
}

/// The same: exit code and what it says.
fn checked(server: &Server, reference: &std::path::Path) -> Result<(i32, Value), Box<dyn Error>> {
    let (code, out, err) = check(server.address, reference)?;
    Ok((code, serde_json::from_slice(&out).map_err(|_| err)?))
}

#[test]
fn an_endpoint_is_checked_against_recorded_logits() -> Test {
    let server = Server::start(|_| ())?;
    let dir = tempfile::tempdir()?;
    let tokens = dir.path().join("tokens.json");
    let ids: Vec<u32> = (0..2 * 400).map(|i| 20 + i * i * 7 % 1900).collect();
    std::fs::write(&tokens, json!([ids[..400], ids[400..]]).to_string())?;
    for (fault, code) in [(None, 0), (Some("no-temperature"), 1)] {
        let reference = dir.path().join(format!("{code}.safetensors"));
        let mut record = Command::new(env!("CARGO_BIN_EXE_fathom"));
        record.args(["logits", "record", "--tokens"]).arg(&tokens);
        record.arg("--out").arg(&reference);
        record.args(fault.iter().flat_map(|fault| ["--fault", fault]));
        assert!(record.output()?.status.success());
        let (found, verdict) = checked(&server, &reference)?;
        assert_eq!(found, code, "{verdict}");
        let kl = verdict["all"]["kl"]["mean"].as_f64().ok_or("a KL")?;
        let tokens = verdict["all"]["tokens"].as_u64();
        assert_eq!(tokens, Some(2 * 399), "{verdict}");
        match fault {
            None => assert!(kl.abs() < 1e-6, "{kl}"),
            Some(_) => assert!(kl > 1e-3, "{kl}"),
        }
    }
    // One that cuts prompts is not compared with what it never read.
    let address = server.address;
    let proxy = Proxy::start(address, move |seen, stream| {
        let Some(ids) = seen.body["prompt"].as_array().filter(|ids| ids.len() > 300) else {
            return Ok(false);
        };
        let mut body = seen.body.clone();
        body["prompt"] = ids[ids.len() - 300..].into();
        pass(address, seen, &body, stream)
    })?;
    let (code, _, said) = check(proxy.address, &dir.path().join("0.safetensors"))?;
    assert_eq!(code, 1, "{said}");
    let cut = "300 of a prompt's 400 tokens came back, another from token 0 on";
    assert!(said.contains(cut), "{said}");
    Ok(())
}

#[test]
fn a_stream_a_body_and_a_chat_say_the_same_of_the_same_prompt() -> Test {
    let server = Server::start(|_| ())?;
    let endpoint = endpoint(&server)?;
    let mut sampling = Sampling::greedy(12);
    sampling.logprobs = Some(2);
    let mut asked = Completion::new(Prompt::Text(PROMPT.to_owned()), sampling.clone());
    let whole = endpoint.complete(&asked)?;
    asked.sampling.stream = true;
    let pieces = endpoint.complete(&asked)?;
    assert_eq!(whole.text, pieces.text);
    assert_eq!(whole.tokens, pieces.tokens);
    assert_eq!(whole.finish_reason, pieces.finish_reason);
    assert!(whole.first_token_s.is_none() && pieces.first_token_s.is_some());
    assert!(pieces.piece_s.windows(2).all(|w| w[0] <= w[1]));
    let billed = pieces.usage.ok_or("no usage")?;
    assert_eq!(billed.prompt_tokens as usize, opened()?.raw(PROMPT)?.len());
    assert_eq!(billed.completion_tokens as usize, pieces.tokens.len());
    // What the server makes of the conversation, asked for as a prompt.
    let asked = json!({"messages": [{"role": "user", "content": PROMPT}]});
    let ids = server.ask("/tokenize", &asked)?["tokens"].take();
    let ids: Vec<u32> = serde_json::from_value(ids)?;
    let raw = endpoint.complete(&Completion::new(Prompt::Ids(ids), sampling.clone()))?;
    let chat = endpoint.chat(&Chat::user(PROMPT, sampling))?;
    assert_eq!(chat.tokens.len(), raw.tokens.len());
    for (chat, raw) in chat.tokens.iter().zip(&raw.tokens) {
        assert_eq!((&chat.token, chat.logprob), (&raw.token, raw.logprob));
    }
    Ok(())
}

#[test]
fn a_limit_goes_by_its_newer_name_where_a_service_knows_no_other() -> Test {
    let server = Server::start(|_| ())?;
    let proxy = Proxy::start(server.address, |seen, stream| {
        if seen.body["max_tokens"].is_null() {
            return Ok(false);
        }
        let why = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
        let body = json!({"error": {"message": why}}).to_string();
        let n = body.len();
        write!(
            stream,
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {n}\r\nconnection: close\r\n\r\n{body}"
        )?;
        Ok(true)
    })?;
    let mut settings = Settings::new(proxy.base());
    settings.api_model = Some(NAME.to_owned());
    let endpoint = Endpoint::open(&settings, &Stop::default())?;
    let can = endpoint.probe()?;
    assert!(can.chat && !can.completions, "{}", can.in_words());
    proxy.take();
    let done = endpoint.chat(&Chat::user(PROMPT, Sampling::greedy(3)))?;
    assert_eq!(done.usage.map(|u| u.completion_tokens), Some(3));
    // It is asked by the old name once, and not each time.
    assert_eq!(proxy.take().len(), 1);
    Ok(())
}

#[test]
fn a_model_that_is_not_there_is_refused_once() -> Test {
    let server = Server::start(|_| ())?;
    let mut settings = settings(&server);
    settings.api_model = Some("large".to_owned());
    let endpoint = Endpoint::open(&settings, &Stop::default())?;
    let asked = Completion::new(Prompt::Text("x".to_owned()), Sampling::greedy(1));
    let failure = endpoint.complete(&asked).err().ok_or("answered")?;
    assert_eq!((failure.kind, failure.tries), (Kind::Refused, 1));
    assert!(failure.why.contains("`large` does not exist"), "{failure}");
    Ok(())
}
