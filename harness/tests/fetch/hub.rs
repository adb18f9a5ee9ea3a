//! A hub on this machine that can be told to misbehave: the interface of Hugging Face's as far as downloads need it.
//!
//! Large files are redirected to a second host, as there. Everything asked and every byte sent is on record.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha1::Digest as _;

/// The one commit of every model here.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What goes wrong with one request of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Announces everything, and hangs up after so many bytes.
    Truncate(usize),
    /// The first byte sent is another.
    Corrupt,
    /// Silent after so many bytes.
    Stall(usize),
    /// 200 and everything, whatever range was asked for; hangs up after so many bytes.
    IgnoreRange(usize),
    /// 206, but from the beginning.
    WrongRange,
    /// A few bytes at a time.
    Slow,
    /// Another status, with `Retry-After` where it is above 0.
    Status(u16, u64),
}

/// One request, as it came and was answered.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    pub if_range: Option<String>,
    pub authorization: Option<String>,
    /// Bytes of the body that went out.
    pub sent: usize,
}

#[derive(Clone)]
struct Stored {
    bytes: Arc<Vec<u8>>,
    lfs: bool,
    hash: String,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Stored>,
    /// Next faults by path; the last of `always` is never used up.
    faults: HashMap<String, VecDeque<Fault>>,
    always: HashMap<String, Fault>,
    asked: Vec<Asked>,
    listing: Option<String>,
    cdn: String,
    home: String,
    closed: bool,
}

/// The hub and its second host.
pub struct Hub {
    state: Arc<Mutex<State>>,
    pub url: String,
    pub cdn: String,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Entries a page of the listing holds.
const PAGE: usize = 2;

impl Hub {
    pub fn start() -> std::io::Result<Self> {
        let (home, cdn) = (
            TcpListener::bind("127.0.0.1:0")?,
            TcpListener::bind("127.0.0.1:0")?,
        );
        let address = |l: &TcpListener| l.local_addr().map(|a| format!("http://{a}"));
        let state = State {
            home: address(&home)?,
            cdn: address(&cdn)?,
            ..State::default()
        };
        let hub = Self {
            url: state.home.clone(),
            cdn: state.cdn.clone(),
            state: Arc::new(Mutex::new(state)),
        };
        for listener in [home, cdn] {
            let state = hub.state.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if lock(&state).closed {
                        return;
                    }
                    let (Ok(stream), state) = (stream, state.clone()) else {
                        continue;
                    };
                    // Whoever hangs up on us is none of our concern.
                    std::thread::spawn(move || drop(answer(stream, &state)));
                }
            });
        }
        Ok(hub)
    }

    /// A file; a large one if `lfs`.
    pub fn put(&self, path: &str, bytes: &[u8], lfs: bool) {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let hash = if lfs {
            hex(&sha2::Sha256::digest(bytes))
        } else {
            let header = format!("blob {}\0", bytes.len()).into_bytes();
            hex(&sha1::Sha1::digest([&header, bytes].concat()))
        };
        let stored = Stored {
            bytes: Arc::new(bytes.to_vec()),
            lfs,
            hash,
        };
        lock(&self.state).files.insert(path.to_owned(), stored);
    }

    pub fn hash(&self, path: &str) -> String {
        lock(&self.state)
            .files
            .get(path)
            .map_or(String::new(), |f| f.hash.clone())
    }

    /// The next requests of a path's bytes go wrong so.
    pub fn fault(&self, path: &str, faults: &[Fault]) {
        lock(&self.state)
            .faults
            .insert(path.to_owned(), faults.iter().copied().collect());
    }

    /// Every request of a path's bytes goes wrong so.
    pub fn always(&self, path: &str, fault: Fault) {
        lock(&self.state).always.insert(path.to_owned(), fault);
    }

    /// All is well again.
    pub fn mend(&self) {
        let mut state = lock(&self.state);
        state.faults.clear();
        state.always.clear();
    }

    /// The listing is this, whatever files there are.
    pub fn listing(&self, text: &str) {
        lock(&self.state).listing = Some(text.to_owned());
    }

    /// What was asked, of paths that hold `part`.
    pub fn asked(&self, part: &str) -> Vec<Asked> {
        let state = lock(&self.state);
        let all = state.asked.iter();
        all.filter(|a| a.path.contains(part)).cloned().collect()
    }

    /// Bytes of a file that went out.
    pub fn sent(&self, path: &str) -> usize {
        let sum = |of: &str| self.asked(of).iter().map(|a| a.sent).sum::<usize>();
        sum(&format!("/resolve/{COMMIT}/{path}")) + sum(&format!("/cdn/{path}"))
    }

    /// Nobody answers any more.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        for url in [&self.url, &self.cdn] {
            drop(TcpStream::connect(url.trim_start_matches("http://")));
        }
    }
}

fn answer(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let mut asked = Asked {
        method: words.next().unwrap_or_default().to_owned(),
        path: words.next().unwrap_or_default().to_owned(),
        ..Asked::default()
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        match &*name.to_ascii_lowercase() {
            "range" => asked.range = Some(value.to_owned()),
            "if-range" => asked.if_range = Some(value.to_owned()),
            "authorization" => asked.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    let index = {
        let mut state = lock(state);
        state.asked.push(asked.clone());
        state.asked.len() - 1
    };
    let mut out = Out {
        stream,
        state,
        index,
        head: asked.method == "HEAD",
    };
    let path = asked.path.split('?').next().unwrap_or_default().to_owned();
    let resolve = format!("/resolve/{COMMIT}/");
    if let Some((_, file)) = path.split_once(&resolve) {
        let (stored, cdn) = {
            let state = lock(state);
            (state.files.get(file).cloned(), state.cdn.clone())
        };
        match stored {
            None => out.status(404, ""),
            Some(f) if f.lfs => out.status(
                302,
                &format!(
                    "Location: {cdn}/cdn/{file}?signature=s3cret\r\nX-Repo-Commit: {COMMIT}\r\n\
                     X-Linked-Etag: \"{}\"\r\nX-Linked-Size: {}\r\n",
                    f.hash,
                    f.bytes.len()
                ),
            ),
            Some(f) => out.file(file, &f, &asked),
        }
    } else if let Some(file) = path.strip_prefix("/cdn/") {
        let stored = lock(state).files.get(file).cloned();
        match stored {
            Some(f) => out.file(file, &f, &asked),
            None => out.status(404, ""),
        }
    } else if path.contains("/revision/") && !path.ends_with("/nowhere") {
        let siblings: Vec<_> = lock(state)
            .files
            .keys()
            .map(|path| serde_json::json!({ "rfilename": path }))
            .collect();
        let info = serde_json::json!({ "id": "owner/name", "sha": COMMIT, "siblings": siblings });
        out.json(&info.to_string(), "")
    } else if path.contains("/tree/") {
        let (listing, link) = listing(&lock(state), &asked.path, &path);
        out.json(&listing, &link)
    } else {
        out.status(404, "")
    }
}

/// A page of the listing, and the header that names the next.
fn listing(state: &State, whole: &str, path: &str) -> (String, String) {
    if let Some(text) = &state.listing {
        return (text.clone(), String::new());
    }
    let mut items = Vec::new();
    for (path, f) in &state.files {
        if let Some((folder, _)) = path.rsplit_once('/') {
            let item =
                serde_json::json!({"type": "directory", "oid": COMMIT, "size": 0, "path": folder});
            if !items.contains(&item) {
                items.push(item);
            }
        }
        let mut item =
            serde_json::json!({"type": "file", "oid": f.hash, "size": f.bytes.len(), "path": path});
        if f.lfs {
            item["oid"] = COMMIT.into();
            item["lfs"] =
                serde_json::json!({"oid": f.hash, "size": f.bytes.len(), "pointerSize": 134});
        }
        items.push(item);
    }
    let cursor = whole.split("cursor=").nth(1).and_then(|c| c.parse().ok());
    let start: usize = cursor.unwrap_or(0);
    let page: Vec<_> = items.iter().skip(start).take(PAGE).collect();
    let next = start + PAGE;
    let link = format!(
        "Link: <{}{path}?recursive=true&cursor={next}>; rel=\"next\"\r\n",
        state.home
    );
    let text = serde_json::to_string(&page).unwrap_or_default();
    (
        text,
        if next < items.len() {
            link
        } else {
            String::new()
        },
    )
}

struct Out<'a> {
    stream: TcpStream,
    state: &'a Mutex<State>,
    index: usize,
    head: bool,
}

impl Out<'_> {
    fn head(&mut self, status: u16, length: usize, headers: &str) -> std::io::Result<()> {
        write!(
            self.stream,
            "HTTP/1.1 {status} Status\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        )
    }

    fn status(&mut self, status: u16, headers: &str) -> std::io::Result<()> {
        self.head(status, 0, headers)
    }

    fn json(&mut self, text: &str, headers: &str) -> std::io::Result<()> {
        let headers = format!("Content-Type: application/json\r\n{headers}");
        self.head(200, text.len(), &headers)?;
        self.stream.write_all(text.as_bytes())
    }

    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        lock(self.state).asked[self.index].sent += bytes.len();
        Ok(())
    }

    fn file(&mut self, path: &str, f: &Stored, asked: &Asked) -> std::io::Result<()> {
        let fault = {
            let mut state = lock(self.state);
            let next = state.faults.get_mut(path).and_then(VecDeque::pop_front);
            next.or_else(|| state.always.get(path).copied())
        };
        let range = asked.range.as_deref().and_then(|r| {
            r.strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse::<usize>()
                .ok()
        });
        let same = asked
            .if_range
            .as_ref()
            .is_none_or(|tag| *tag == format!("\"{}\"", f.hash));
        let whole = matches!(fault, Some(Fault::IgnoreRange(_))) || !same;
        let start = range.filter(|_| !whole).unwrap_or(0);
        let total = f.bytes.len();
        if let Some(Fault::Status(status, pause)) = fault {
            let retry = format!("Retry-After: {pause}\r\n");
            return self.status(status, if pause > 0 { &retry } else { "" });
        }
        let etag = format!("ETag: \"{}\"\r\nX-Repo-Commit: {COMMIT}\r\n", f.hash);
        if start > 0 && start >= total {
            return self.status(416, &format!("Content-Range: bytes */{total}\r\n"));
        }
        let start = if fault == Some(Fault::WrongRange) {
            0
        } else {
            start
        };
        let body = &f.bytes[start..];
        if range.is_some() && !whole {
            let range = format!("Content-Range: bytes {start}-{}/{total}\r\n", total - 1);
            self.head(206, body.len(), &(etag + &range))?;
        } else {
            self.head(200, body.len(), &etag)?;
        }
        if self.head {
            return Ok(());
        }
        match fault {
            Some(Fault::Truncate(n) | Fault::IgnoreRange(n)) => {
                self.send(&body[..n.min(body.len())])
            }
            Some(Fault::Stall(n)) => {
                self.send(&body[..n.min(body.len())])?;
                std::thread::sleep(Duration::from_secs(4));
                Ok(())
            }
            Some(Fault::Corrupt) => {
                let mut body = body.to_vec();
                body[0] ^= 1;
                self.send(&body)
            }
            Some(Fault::Slow) => {
                for part in body.chunks(16 << 10) {
                    self.send(part)?;
                    std::thread::sleep(Duration::from_millis(10));
                }
                Ok(())
            }
            Some(Fault::WrongRange | Fault::Status(..)) | None => self.send(body),
        }
    }
}
