//! Why a request brought nothing: in words that can be shown, with what it means for another try.

use std::io::Read;
use std::time::{Duration, SystemTime};

use super::Origin;

/// Bytes of a refusal's body that are read.
const WORDS: u64 = 64 << 10;

/// Why a request brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In words, with the host; no query of an address, which may hold a signature.
    pub why: String,
    /// What it means for another try.
    pub kind: Kind,
    /// The server wants to be left alone for this long.
    pub retry_after: Option<Duration>,
    /// The status it answered with, where it answered.
    pub status: Option<u16>,
    /// The service's own name for the error, such as `content_filter`.
    pub code: Option<String>,
}

/// What a failure means for another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// May pass: a stall, a cut, a server's trouble, a limit of rate.
    Passing,
    /// No server answered at all; may pass.
    Unreachable,
    /// There is no such thing (404, 410).
    Missing,
    /// Not for us (401, 403).
    Forbidden,
    /// Will not pass.
    Lasting,
}

impl Failure {
    /// A failure that may pass.
    pub fn passing(why: impl Into<String>) -> Self {
        Self::of(Kind::Passing, why)
    }

    /// A failure of a kind.
    pub fn of(kind: Kind, why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            kind,
            retry_after: None,
            status: None,
            code: None,
        }
    }
}

/// What the body of a refusal says, and its name for the error.
pub(super) fn words(body: ureq::Body) -> (String, Option<String>) {
    let mut bytes = Vec::new();
    // Half of an explanation is better than none.
    let _ = body.into_reader().take(WORDS).read_to_end(&mut bytes);
    match serde_json::from_slice::<serde_json::Value>(&bytes) {
        Ok(value) => (
            error_words(&value).unwrap_or_else(|| value.to_string()),
            value["error"]["code"].as_str().map(str::to_owned),
        ),
        Err(_) => (String::from_utf8_lossy(&bytes).into_owned(), None),
    }
}

/// The message of an error as services write it: `{"error": {"message"}}`, `{"error": ".."}`, `{"message"}`,
/// `{"detail"}`, and vLLM's `{"object": "error", "message"}`.
pub fn error_words(value: &serde_json::Value) -> Option<String> {
    let error = value.get("error").filter(|e| !e.is_null());
    let message = error.and_then(|e| e.get("message"));
    let found = message.or(error).or_else(|| value.get("message"));
    let found = found.or_else(|| value.get("detail"))?;
    Some(found.as_str().map_or(found.to_string(), str::to_owned))
}

/// Text of a stranger in a message: one line, short, without control characters.
pub fn one_line(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(300).collect::<String>().trim().to_owned()
}

pub(super) fn failure(origin: &Origin, error: &ureq::Error) -> Failure {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, InvalidData, NetworkUnreachable};
    let kind = match error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => Kind::Unreachable,
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => Kind::Unreachable,
        ureq::Error::Io(e) => match e.kind() {
            ConnectionRefused | HostUnreachable | NetworkUnreachable => Kind::Unreachable,
            // So comes a certificate that is not trusted.
            InvalidData => Kind::Lasting,
            _ => Kind::Passing,
        },
        ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => Kind::Passing,
        _ => Kind::Lasting,
    };
    Failure::of(kind, format!("{origin}: {error}"))
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let seconds = |text| retry_after(text, now).map(|d| d.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(7));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:00 GMT"), Some(0));
        assert_eq!(seconds("soon"), None);
    }
}
