//! A server in this process, and a client of few lines: one request a connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use fathom_engine::variant::Variant;
use fathom_harness::opened::{Opened, TemplateArgs};
use fathom_harness::serve::{Limits, bind, serve};
use fathom_harness::stop::Stop;
use fathom_harness::{Result, builtin};
use serde_json::{Value, json};

type Failed = Box<dyn std::error::Error>;

pub const NAME: &str = "small";
pub const TEMPLATE: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}\
    {% if add_generation_prompt %}assistant:{% endif %}";

/// A request that takes seconds to read.
pub fn long(stream: bool) -> Value {
    let ids: Vec<u32> = (0..32_000u32)
        .map(|i| 3 + (i * 31 + i / 7) % 2000)
        .collect();
    json!({"prompt": ids, "max_tokens": 500, "stream": stream})
}

/// The built-in model with a chat template of its own.
pub fn opened() -> std::result::Result<Opened, Failed> {
    opened_with(TEMPLATE)
}

fn opened_with(template: &str) -> std::result::Result<Opened, Failed> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("chat.jinja");
    std::fs::write(&path, template)?;
    let template = TemplateArgs {
        chat_template: Some(path),
        ..TemplateArgs::default()
    };
    Ok(Opened::new(builtin::open()?, &template)?)
}

pub struct Server {
    pub address: SocketAddr,
    pub stop: Stop,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Server {
    pub fn start(edit: impl FnOnce(&mut Limits)) -> std::result::Result<Self, Failed> {
        Self::of(opened()?, edit)
    }

    /// Serves the built-in model with a fault.
    pub fn with(fault: &str) -> std::result::Result<Self, Failed> {
        let mut opened = opened()?;
        let faulty = Variant::parse(fault)?.model(&opened.model)?;
        opened.model = faulty.ok_or("a fault that changes nothing")?;
        Self::of(opened, |_| ())
    }

    /// Serves it with another chat template.
    pub fn templated(template: &str) -> std::result::Result<Self, Failed> {
        Self::of(opened_with(template)?, |_| ())
    }

    fn of(opened: Opened, edit: impl FnOnce(&mut Limits)) -> std::result::Result<Self, Failed> {
        let mut limits = Limits::new(32 << 10, 1 << 30);
        edit(&mut limits);
        let listener = bind("127.0.0.1", 0)?;
        let address = listener.local_addr()?;
        let stop = Stop::default();
        let raised = stop.clone();
        let run = move || serve(listener, opened, NAME, 1, &limits, &raised);
        Ok(Self {
            address,
            stop,
            thread: Some(std::thread::spawn(run)),
        })
    }

    /// A connection over which this has been sent.
    pub fn send(&self, text: &[u8]) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        stream.write_all(text)?;
        Ok(stream)
    }

    pub fn send_post(&self, path: &str, body: &str) -> std::io::Result<TcpStream> {
        let length = body.len();
        let text = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.send(text.as_bytes())
    }

    pub fn post_text(&self, path: &str, body: &str) -> std::result::Result<(u16, Value), Failed> {
        let (status, text) = response(self.send_post(path, body)?)?;
        Ok((status, serde_json::from_str(&text)?))
    }

    pub fn post(&self, path: &str, body: &Value) -> std::result::Result<(u16, Value), Failed> {
        self.post_text(path, &body.to_string())
    }

    /// A request that must be answered.
    pub fn ask(&self, path: &str, body: &Value) -> std::result::Result<Value, Failed> {
        let (status, reply) = self.post(path, body)?;
        assert_eq!(status, 200, "{body}\n{reply}");
        Ok(reply)
    }

    pub fn get(&self, path: &str) -> std::result::Result<(u16, Value), Failed> {
        let text = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let (status, text) = response(self.send(text.as_bytes())?)?;
        Ok((status, serde_json::from_str(&text)?))
    }

    /// A counter of `/health`.
    pub fn health(&self, counter: &str) -> std::result::Result<u64, Failed> {
        let (status, reply) = self.get("/health")?;
        assert_eq!((status, &reply["status"]), (200, &json!("ok")));
        reply[counter].as_u64().ok_or_else(|| counter.into())
    }

    /// The chunks of a stream, which must end as such.
    pub fn stream(&self, path: &str, body: &Value) -> std::result::Result<Vec<Value>, Failed> {
        let mut body = body.clone();
        body["stream"] = json!(true);
        let (status, text) = response(self.send_post(path, &body.to_string())?)?;
        assert_eq!(status, 200, "{body}\n{text}");
        let mut data: Vec<&str> = text
            .split("\n\n")
            .filter_map(|event| event.strip_prefix("data: "))
            .collect();
        assert_eq!(data.pop(), Some("[DONE]"), "{text}");
        Ok(data
            .into_iter()
            .map(serde_json::from_str)
            .collect::<serde_json::Result<_>>()?)
    }

    /// Waits until a counter of `/health` is above 0.
    pub fn wait_for(&self, counter: &str) -> std::result::Result<(), Failed> {
        for _ in 0..1000 {
            if self.health(counter)? > 0 {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("nothing is {counter} after 10 seconds").into())
    }

    /// Waits until nothing is under way.
    pub fn idle(&self) -> std::result::Result<(), Failed> {
        for _ in 0..400 {
            if self.health("running")? == 0 && self.health("waiting")? == 0 {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("the server is still busy after 20 seconds".into())
    }

    /// Stops it, and returns how it ended.
    pub fn end(&mut self) -> Result<()> {
        self.stop.raise();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            _ => panic!("the server has died"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.raise();
        if let Some(thread) = self.thread.take() {
            assert!(matches!(thread.join(), Ok(Ok(()))) || std::thread::panicking());
        }
    }
}

/// Status and body, put together from its chunks.
pub fn response(stream: TcpStream) -> std::result::Result<(u16, String), Failed> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).ok_or("no status")?.parse()?;
    let (mut chunked, mut length) = (false, None);
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let lower = line.trim().to_ascii_lowercase();
        match lower.split_once(": ") {
            Some(("transfer-encoding", "chunked")) => chunked = true,
            Some(("content-length", n)) => length = Some(n.parse::<u64>()?),
            _ if lower.is_empty() => break,
            _ => {}
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let n = u64::from_str_radix(line.trim(), 16)?;
            reader.by_ref().take(n).read_to_end(&mut body)?;
            reader.read_line(&mut line)?;
            if n == 0 {
                break;
            }
        }
    } else {
        reader
            .take(length.ok_or("no length")?)
            .read_to_end(&mut body)?;
    }
    Ok((status, String::from_utf8(body)?))
}
