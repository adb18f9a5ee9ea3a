//! Our client of such APIs against servers that do everything wrong: each request ends, in time, in an answer or in words.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fathom_harness::endpoint::{
    Chat, Completed, Completion, Endpoint, Failure, Kind, Prompt, Sampling, Settings,
};
use fathom_harness::stop::Stop;

use crate::Test;

/// What the server does with one connection after it has read a request.
type Act = Arc<dyn Fn(usize, &mut TcpStream) -> std::io::Result<()> + Send + Sync>;

struct Hostile {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Hostile {
    /// The act knows which request it answers, from 0.
    fn start(
        act: impl Fn(usize, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let hostile = Self {
            address: listener.local_addr()?,
            asked: Arc::default(),
            heads: Arc::default(),
        };
        let (asked, heads, act) = (hostile.asked.clone(), hostile.heads.clone(), Arc::new(act));
        let act: Act = act;
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), act) = (stream, act.clone()) else {
                    continue;
                };
                let n = asked.fetch_add(1, Ordering::SeqCst);
                let heads = heads.clone();
                std::thread::spawn(move || {
                    if let Ok(head) = request(&stream) {
                        heads
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(head);
                        // Whoever hangs up on us is none of our concern.
                        drop(act(n, &mut stream));
                    }
                });
            }
        });
        Ok(hostile)
    }

    fn settings(&self) -> Settings {
        Settings {
            api_model: Some("m".to_owned()),
            api_key_env: "FATHOM_TEST_NO_SUCH_KEY".to_owned(),
            deadline: Duration::from_secs(4),
            stall: Duration::from_secs(1),
            tries: 3,
            max_body: 1 << 20,
            ..Settings::new(format!("http://{}/v1", self.address))
        }
    }

    fn ask(&self, stream: bool) -> Result<Completed, Failure> {
        self.ask_with(&self.settings(), stream)
    }

    fn ask_with(&self, settings: &Settings, stream: bool) -> Result<Completed, Failure> {
        let endpoint = Endpoint::open(settings, &Stop::default()).expect("an address of use");
        let mut sampling = Sampling::greedy(4);
        sampling.stream = stream;
        sampling.logprobs = Some(1);
        let begun = Instant::now();
        let answer = endpoint.complete(&Completion::new(Prompt::Text("x".into()), sampling));
        let limit = settings.deadline + settings.stall + Duration::from_secs(1);
        assert!(begun.elapsed() < limit, "{:?}: {answer:?}", begun.elapsed());
        answer
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn request(stream: &TcpStream) -> std::io::Result<String> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(n) = lower.strip_prefix("content-length:") {
            length = n.trim().parse().unwrap_or(0);
        }
        head += &lower;
    }
    reader.take(length).read_to_end(&mut Vec::new())?;
    Ok(head)
}

fn respond(stream: &mut TcpStream, head: &str, body: &[u8]) -> std::io::Result<()> {
    let n = body.len();
    write!(
        stream,
        "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {n}\r\n\r\n"
    )?;
    stream.write_all(body)
}

const JSON: &str = "200 OK\r\ncontent-type: application/json";
const EVENTS: &str =
    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n";
const GOOD: &str = r#"{"model":"m","choices":[{"index":0,"text":" y","finish_reason":"length","logprobs":
    {"tokens":[" y"],"token_logprobs":[-0.5],"top_logprobs":[{" y":-0.5}],"text_offset":[1]}}],
    "usage":{"prompt_tokens":1,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":0}}}"#;

fn body(body: impl Into<Vec<u8>>) -> std::io::Result<Hostile> {
    let body = body.into();
    Hostile::start(move |_, stream| respond(stream, JSON, &body))
}

#[test]
fn what_passes_is_tried_again_and_what_does_not_is_not() -> Test {
    for status in [408, 429, 500, 502, 503, 504] {
        let server = Hostile::start(move |n, stream| match n {
            0 => respond(stream, &format!("{status} X\r\nretry-after: 1"), b"{}"),
            _ => respond(stream, JSON, GOOD.as_bytes()),
        })?;
        let begun = Instant::now();
        let done = server.ask(false)?;
        assert_eq!((done.tries, done.text.as_str()), (2, " y"), "{status}");
        assert!(
            begun.elapsed() >= Duration::from_secs(1),
            "{status}: Retry-After is kept"
        );
    }
    for status in [400, 401, 402, 403, 404, 422] {
        let server = Hostile::start(move |_, stream| {
            let words = br#"{"error":{"message":"not\nthis \u001b[31mone"}}"#;
            respond(stream, &format!("{status} X\r\nretry-after: 1"), words)
        })?;
        let failure = server.ask(false).expect_err("refused");
        assert_eq!((server.asked(), failure.status), (1, Some(status)));
        assert!(failure.why.contains("not this  [31mone"), "{failure}");
        let forbidden = (401..=403).contains(&status);
        assert_eq!(failure.kind == Kind::Forbidden, forbidden, "{status}");
    }
    Ok(())
}

#[test]
fn a_long_wait_that_a_server_asks_for_ends_the_request_at_once() -> Test {
    let server = Hostile::start(|_, s| respond(s, "429 X\r\nretry-after: 9999", b"{}"))?;
    let begun = Instant::now();
    let failure = server.ask(false).expect_err("too long");
    assert!(begun.elapsed() < Duration::from_secs(1) && failure.why.contains("9999 s"));
    Ok(())
}

#[test]
fn answers_that_are_none_are_named() -> Test {
    let nested = "[".repeat(100_000);
    let long = "x".repeat(2 << 20);
    let other = |from: &str, to: &str| GOOD.replace(from, to);
    for (text, kind, words) in [
        (other("-0.5],", "NaN],"), Kind::Malformed, "no JSON"),
        (other("-0.5],", "-Infinity],"), Kind::Malformed, "no JSON"),
        (
            other("-0.5],", "0.5],"),
            Kind::Malformed,
            "expected at most 0",
        ),
        (
            other("[-0.5]", "[-0.5,-1]"),
            Kind::Malformed,
            "expected a list of 1",
        ),
        (
            other("\"completion_tokens\":1", "\"completion_tokens\":9"),
            Kind::Malformed,
            "expected at most 4",
        ),
        (
            other("\"completion_tokens\":1", "\"completion_tokens\":-1"),
            Kind::Malformed,
            "a count",
        ),
        (GOOD[..80].to_owned(), Kind::Transport, "3 tries"),
        (String::new(), Kind::Transport, "3 tries"),
        (r#"{"choices":[]}"#.into(), Kind::Malformed, "expected 1"),
        (
            r#"{"choices":[{}]}"#.into(),
            Kind::Malformed,
            "neither text nor message",
        ),
        (
            r#"{"error":{"message":"no such","code":400}}"#.into(),
            Kind::Refused,
            "no such",
        ),
        (
            r#"{"object":"error","message":"busy","code":503}"#.into(),
            Kind::Transport,
            "busy",
        ),
        ("<html>hello</html>".into(), Kind::Malformed, "<html>"),
        ("3".into(), Kind::Malformed, "expected an object"),
        (nested, Kind::Malformed, "recursion"),
        (long, Kind::Malformed, "longer than"),
    ] {
        let short: String = text.chars().take(80).collect();
        let failure = body(text)?.ask(false).expect_err(&short);
        assert!(
            failure.kind == kind && failure.why.contains(words),
            "{short}\n{failure:?}"
        );
    }
    let zipped = Hostile::start(|_, s| {
        respond(
            s,
            &format!("{JSON}\r\ncontent-encoding: gzip"),
            &[0x1f, 0x8b, 8, 0],
        )
    })?;
    let failure = zipped.ask(false).expect_err("compressed");
    assert!(failure.why.contains("gzip"), "{failure}");
    Ok(())
}

#[test]
fn connections_that_break_or_fall_silent_are_given_up() -> Test {
    let reset = Hostile::start(|_, _| Ok(()))?;
    assert_eq!(reset.ask(false).expect_err("reset").kind, Kind::Transport);
    assert_eq!(reset.asked(), 3);
    let once = Hostile::start(|n, s| match n {
        0 => Ok(()),
        _ => respond(s, JSON, GOOD.as_bytes()),
    })?;
    assert_eq!(once.ask(false)?.tries, 2);
    let silent = Hostile::start(|_, _| {
        std::thread::sleep(Duration::from_secs(20));
        Ok(())
    })?;
    assert_eq!(silent.ask(false).expect_err("silent").kind, Kind::Transport);
    let trickle = Hostile::start(|_, s| {
        s.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")?;
        loop {
            s.write_all(b" ")?;
            std::thread::sleep(Duration::from_millis(50));
        }
    })?;
    assert_eq!(trickle.ask(false).expect_err("slow").kind, Kind::Transport);
    Ok(())
}

#[test]
fn streams_are_read_with_comments_and_end_in_words_when_they_go_wrong() -> Test {
    let piece = |text: &str, rest: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"text\":\"{text}\"{rest}}}]}}\n\n")
    };
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n";
    let end = piece("", ",\"finish_reason\":\"stop\"");
    let (one, two) = (piece("a", ""), piece("b", ""));
    let good = format!(": PROCESSING\n\n{one}: PROCESSING\n\n{two}{end}{usage}data: [DONE]\n\n");
    let streamed = |text: String| {
        Hostile::start(move |_, s| {
            s.write_all(EVENTS.as_bytes())?;
            s.write_all(text.as_bytes())
        })
    };
    let done = streamed(good)?.ask(true)?;
    assert_eq!((done.text.as_str(), done.piece_s.len()), ("ab", 2));
    assert_eq!(done.usage.map(|u| u.completion_tokens), Some(2));
    for (text, kind, words) in [
        (
            format!("{one}data: {{\"error\":{{\"message\":\"lost\",\"code\":400}}}}\n\n"),
            Kind::Refused,
            "lost",
        ),
        (
            format!("{one}data: {{\"error\":{{\"message\":\"lost\",\"code\":502}}}}\n\n"),
            Kind::Transport,
            "lost",
        ),
        (
            piece("", ",\"finish_reason\":\"error\""),
            Kind::Refused,
            "finish_reason error",
        ),
        (one.clone(), Kind::Transport, "ends before"),
        (
            format!("{one}data: {{\"choi\n\n"),
            Kind::Transport,
            "no JSON",
        ),
        (
            format!("{one}data: nonsense\n\n"),
            Kind::Malformed,
            "no JSON",
        ),
    ] {
        let failure = streamed(text.clone())?.ask(true).expect_err(&text);
        assert!(
            failure.kind == kind && failure.why.contains(words),
            "{text}\n{failure:?}"
        );
    }
    let endless = Hostile::start(move |_, s| {
        s.write_all(EVENTS.as_bytes())?;
        loop {
            s.write_all(one.as_bytes())?;
        }
    })?;
    let failure = endless.ask(true).expect_err("endless");
    assert!(failure.why.contains("longer than is read"), "{failure}");
    let comments = Hostile::start(|_, s| {
        s.write_all(EVENTS.as_bytes())?;
        loop {
            s.write_all(b": PROCESSING\n\n")?;
            std::thread::sleep(Duration::from_millis(20));
        }
    })?;
    assert_eq!(
        comments.ask(true).expect_err("comments").kind,
        Kind::Transport
    );
    Ok(())
}

#[test]
fn a_request_follows_no_redirect() -> Test {
    let there = Hostile::start(|_, s| respond(s, JSON, GOOD.as_bytes()))?;
    let to = there.address;
    let here = Hostile::start(move |_, s| {
        respond(
            s,
            &format!("307 X\r\nlocation: http://{to}/v1/completions"),
            b"",
        )
    })?;
    let failure = here.ask(false).expect_err("a redirect");
    assert!(
        failure.why.contains("a redirect") && there.asked() == 0,
        "{failure}"
    );
    Ok(())
}

#[test]
fn a_key_is_sent_and_never_shown() -> Test {
    // A variable that every process has stands for a key, and the server says it back.
    let key = std::env::var("PATH")?;
    let said = serde_json::json!({ "detail": format!("who is {key}?") }).to_string();
    let server = Hostile::start(move |_, s| respond(s, "401 X", said.as_bytes()))?;
    let mut settings = server.settings();
    settings.api_key_env = "PATH".to_owned();
    settings.headers.push(("x-mine".into(), "yes".into()));
    let endpoint = Endpoint::open(&settings, &Stop::default())?;
    let failure = endpoint
        .chat(&Chat::user("x", Sampling::greedy(1)))
        .expect_err("401");
    let heads = server.heads.lock().unwrap_or_else(PoisonError::into_inner);
    let sent = format!("authorization: bearer {}", key.to_ascii_lowercase());
    assert!(heads[0].contains(&sent) && heads[0].contains("x-mine: yes"));
    assert!(failure.why.contains("who is (the key)?"), "{failure}");
    let beginning: String = key.chars().take(12).collect();
    assert!(!format!("{endpoint:?} {settings:?} {failure:?}").contains(&beginning));
    Ok(())
}
