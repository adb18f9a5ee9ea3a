//! The HTTP client: of downloads, and of whatever else is asked over the network.
//!
//! `ureq` 3 with `rustls`: requests block the thread that makes them, as all else here does, so no asynchronous runtime
//! is needed; TLS needs no OpenSSL; trust comes from the system's store (and `SSL_CERT_FILE`), so certificates of a
//! company's proxy work. A body is an `io::Read` whose silence is bounded for each read, not for the whole, which suits
//! both a download of hours and an answer that streams as server-sent events.
//!
//! Redirects are followed here and not by the library, because a token must go to its own host and to no other.

mod failure;
mod origin;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ureq::Agent;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use ureq::http::{HeaderMap, Uri};
use ureq::tls::{RootCerts, TlsConfig};

pub use failure::{Failure, Kind, error_words, one_line};
use failure::{failure, retry_after, words};
pub use origin::Origin;
use origin::join;

/// Redirects that are followed for one request.
const REDIRECTS: usize = 8;

/// A secret that is sent to one host; it is never printed.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token; `None` when nothing but space is in it.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What a server sent.
#[derive(Debug)]
pub struct Reply {
    /// A status of success, or 416.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Who answered in the end.
    pub origin: Origin,
    /// The body, to be read.
    pub body: ureq::Body,
}

impl Reply {
    /// A header, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A client of one service. Threads share it.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    home: Origin,
    token: Option<Token>,
    stall: Duration,
    /// Nobody asks before this moment: a limit of rate that one thread met holds for all, unless it is longer than a
    /// connection may be silent; then it is the end of that one request.
    not_before: Mutex<Instant>,
}

impl Client {
    /// A client of the service at `base`, which alone gets the token. A connection that is silent for `stall` is cut.
    ///
    /// # Errors
    /// What was expected, when the address cannot be used.
    pub fn new(base: &str, token: Option<Token>, stall: Duration) -> Result<Self, &'static str> {
        let home = Origin::of(&base.parse().map_err(|_| "an http or https address")?)?;
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
        let agent = Agent::config_builder()
            .tls_config(tls.build())
            .max_redirects(0)
            .http_status_as_error(false)
            // Bytes as they are stored: lengths, ranges and hashes are of those.
            .accept_encoding("identity")
            .user_agent(concat!("fathom/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(stall.min(Duration::from_secs(20))))
            .timeout_recv_response(Some(stall))
            .timeout_per_read(Some(stall))
            .timeout_per_write(Some(stall))
            .build()
            .new_agent();
        Ok(Self {
            agent,
            home,
            token,
            stall,
            not_before: Mutex::new(Instant::now()),
        })
    }

    /// The service's own host.
    pub fn home(&self) -> &Origin {
        &self.home
    }

    /// A stranger's words without the token, should he have echoed it.
    pub fn scrubbed(&self, text: &str) -> String {
        match &self.token {
            Some(Token(token)) => text.replace(token.as_str(), "(the key)"),
            None => text.to_owned(),
        }
    }

    /// How long nobody may ask.
    pub fn hold(&self) -> Duration {
        let moment = *self.moment();
        moment.saturating_duration_since(Instant::now())
    }

    /// Asks for an address with headers that may differ by host. Redirects are followed, without the token where they
    /// lead to another host, and never from https to http.
    ///
    /// # Errors
    /// When there is no answer, or its status is neither a success nor 416.
    pub fn get<N: AsRef<str>>(
        &self,
        address: &str,
        headers: &dyn Fn(&Origin) -> Vec<(N, String)>,
    ) -> Result<Reply, Failure> {
        let lasting = |why: String| Failure::of(Kind::Lasting, why);
        let redirect =
            |expected| lasting(format!("{}: a redirect, expected {expected}", self.home));
        let mut uri: Uri = address
            .parse()
            .map_err(|_| lasting(format!("{address}: no address")))?;
        for _ in 0..=REDIRECTS {
            let origin = Origin::of(&uri).map_err(redirect)?;
            let mut request = self.agent.get(uri.clone());
            if let Some(Token(token)) = self.token.as_ref().filter(|_| origin == self.home) {
                request = request.header(AUTHORIZATION, format!("Bearer {token}"));
            }
            for (name, value) in headers(&origin) {
                request = request.header(name.as_ref(), value);
            }
            let (parts, body) = request
                .call()
                .map_err(|e| failure(&origin, &e))?
                .into_parts();
            match parts.status.as_u16() {
                status @ (200..=299 | 416) => {
                    return Ok(Reply {
                        status,
                        headers: parts.headers,
                        origin,
                        body,
                    });
                }
                301 | 302 | 303 | 307 | 308 => {
                    let to = parts.headers.get(LOCATION).and_then(|l| l.to_str().ok());
                    let next = to.and_then(|to| join(&uri, to)).ok_or_else(|| {
                        Failure::passing(format!("{origin}: a redirect that leads nowhere"))
                    })?;
                    let next_origin = Origin::of(&next).map_err(redirect)?;
                    if origin.https && !next_origin.https {
                        let why = format!("{origin}: a redirect from https to http");
                        return Err(lasting(why));
                    }
                    uri = next;
                }
                status => return Err(self.refusal(&origin, status, &parts.headers)),
            }
        }
        let why = format!("{}: more than {REDIRECTS} redirects", self.home);
        Err(Failure::passing(why))
    }

    /// Posts a JSON body to an address of the service itself, within a time for all of it, the reading included.
    /// Redirects are not followed: a prompt goes where it was sent and nowhere else.
    ///
    /// # Errors
    /// When there is no answer, or its status is no success; the words of the answer's body are part of the reason.
    pub fn post(
        &self,
        address: &str,
        headers: &[(String, String)],
        body: &[u8],
        within: Duration,
    ) -> Result<Reply, Failure> {
        let lasting = |why: String| Failure::of(Kind::Lasting, why);
        let uri: Uri = address
            .parse()
            .map_err(|_| lasting(format!("{address}: no address")))?;
        let origin = Origin::of(&uri).map_err(|e| lasting(format!("{address}: expected {e}")))?;
        if origin != self.home {
            return Err(lasting(format!("{origin}: expected {}", self.home)));
        }
        let mut request = self
            .agent
            .post(uri)
            .header(CONTENT_TYPE, "application/json");
        if let Some(Token(token)) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.config().timeout_global(Some(within)).build();
        let (parts, body) = request
            .send(body)
            .map_err(|e| failure(&origin, &e))?
            .into_parts();
        match parts.status.as_u16() {
            status @ 200..=299 => Ok(Reply {
                status,
                headers: parts.headers,
                origin,
                body,
            }),
            status @ 300..=399 => Err(Failure {
                status: Some(status),
                ..lasting(format!(
                    "{origin}: HTTP status {status}, a redirect of a request with a body; give the address it leads to"
                ))
            }),
            status => {
                let mut failure = self.refusal(&origin, status, &parts.headers);
                let (words, code) = words(body);
                failure.code = code.map(|code| one_line(&self.scrubbed(&code)));
                let words = one_line(&self.scrubbed(&words));
                if !words.is_empty() {
                    failure.why = format!("{}: {words}", failure.why);
                }
                Err(failure)
            }
        }
    }

    fn refusal(&self, origin: &Origin, status: u16, headers: &HeaderMap) -> Failure {
        let kind = match status {
            401 | 403 => Kind::Forbidden,
            404 | 410 => Kind::Missing,
            408 | 425 | 429 | 500.. => Kind::Passing,
            _ => Kind::Lasting,
        };
        let retry_after = headers
            .get(RETRY_AFTER)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| retry_after(v, SystemTime::now()));
        if let (Kind::Passing, Some(pause)) = (kind, retry_after)
            && pause <= self.stall
            && *origin == self.home
            && let Some(until) = Instant::now().checked_add(pause)
        {
            let mut moment = self.moment();
            *moment = until.max(*moment);
        }
        Failure {
            why: format!("{origin}: HTTP status {status}"),
            kind,
            retry_after,
            status: Some(status),
            code: None,
        }
    }

    fn moment(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.not_before
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_printed() -> Result<(), &'static str> {
        let client = Client::new(
            "https://hub.example",
            Token::new(" hf_secret\n"),
            Duration::from_secs(1),
        )?;
        let shown = format!("{client:?}");
        assert!(shown.contains("Token(..)") && !shown.contains("secret"));
        assert!(Token::new(" \n").is_none());
        Ok(())
    }
}
