//! Stands between a client and a server: sees every request, and may answer in the server's place.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

/// A request that came by.
#[derive(Clone, Debug)]
pub struct Seen {
    pub head: String,
    pub body: Value,
}

/// Answers in the server's place and says so, or leaves it to the server.
pub type Act = dyn Fn(&Seen, &mut TcpStream) -> std::io::Result<bool> + Send + Sync;

pub struct Proxy {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Proxy {
    pub fn start(
        server: SocketAddr,
        act: impl Fn(&Seen, &mut TcpStream) -> std::io::Result<bool> + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let proxy = Self {
            address: listener.local_addr()?,
            seen: Arc::default(),
        };
        let (seen, act) = (proxy.seen.clone(), Arc::new(act));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, act) = (seen.clone(), act.clone());
                // Whoever hangs up on us is none of our concern.
                std::thread::spawn(move || drop(serve(stream, server, &seen, &*act)));
            }
        });
        Ok(proxy)
    }

    /// Base of the API.
    pub fn base(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What came by since this was asked last.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Sends a request on, with another body.
pub fn pass(
    server: SocketAddr,
    seen: &Seen,
    body: &Value,
    stream: &mut TcpStream,
) -> std::io::Result<bool> {
    let (first, _) = seen.head.split_once("\r\n").unwrap_or_default();
    let body = body.to_string();
    let n = body.len();
    let mut there = TcpStream::connect(server)?;
    write!(
        there,
        "{first}\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {n}\r\nconnection: close\r\n\r\n{body}"
    )?;
    std::io::copy(&mut there, stream)?;
    Ok(true)
}

fn serve(
    mut stream: TcpStream,
    server: SocketAddr,
    seen: &Mutex<Vec<Seen>>,
    act: &Act,
) -> std::io::Result<()> {
    let (head, body) = request(&stream)?;
    let request = Seen {
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        head,
    };
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(request.clone());
    if act(&request, &mut stream)? {
        return Ok(());
    }
    let mut there = TcpStream::connect(server)?;
    let kept = request.head.lines().filter(|line| {
        let line = line.to_ascii_lowercase();
        !line.is_empty() && !line.starts_with("connection:")
    });
    let head: String = kept.map(|line| format!("{line}\r\n")).collect();
    there.write_all(format!("{head}connection: close\r\n\r\n").as_bytes())?;
    there.write_all(&body)?;
    std::io::copy(&mut there, &mut stream)?;
    Ok(())
}

fn request(stream: &TcpStream) -> std::io::Result<(String, Vec<u8>)> {
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
        head += &line;
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    Ok((head, body))
}
