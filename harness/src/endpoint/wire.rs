//! An answer's body: whole or in pieces, in bounded time and memory.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::endpoint::answer::{Completed, Wrong};
use crate::endpoint::ask::Endpoint;
use crate::endpoint::stream::Events;
use crate::http::{self, Reply, one_line};

impl Endpoint {
    pub(super) fn pieces(
        &self,
        reply: Reply,
        begun: Instant,
        left: Duration,
        done: &mut Completed,
    ) -> Result<(), Wire> {
        encoded(&reply)?;
        let body = Guarded {
            body: reply.body.into_reader(),
            until: begun + left,
        };
        let mut events = Events::new(body, self.settings.max_body);
        while let Some(data) = events.next().map_err(broken)? {
            self.stop.check().map_err(|_| Wire::Stopped)?;
            if data.trim() == "[DONE]" {
                return Ok(());
            }
            let value = parse(data.as_bytes())?;
            done.take(&value, Some(begun.elapsed()))
                .map_err(Wire::Answer)?;
        }
        if done.finish_reason.is_some() {
            return Ok(());
        }
        Err(Wire::Answer(Wrong::Cut(
            "a stream that ends before its answer".to_owned(),
        )))
    }

    /// A whole body of JSON.
    pub(super) fn whole(&self, reply: Reply, until: Instant) -> Result<Value, Wire> {
        encoded(&reply)?;
        let most = self.settings.max_body;
        let body = Guarded {
            body: reply.body.into_reader(),
            until,
        };
        let mut bytes = Vec::new();
        let mut body = body.take(most + 1);
        body.read_to_end(&mut bytes).map_err(broken)?;
        if bytes.len() as u64 > most {
            let why = format!("a body longer than {most} bytes");
            return Err(Wire::Answer(Wrong::Malformed(why)));
        }
        parse(&bytes)
    }
}

/// What one try may meet.
pub(super) enum Wire {
    Http(http::Failure),
    Answer(Wrong),
    Stopped,
}

/// A body that is read no longer than until a moment, however slowly it trickles.
struct Guarded<R> {
    body: R,
    until: Instant,
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if Instant::now() >= self.until {
            return Err(std::io::Error::new(ErrorKind::TimedOut, "the deadline"));
        }
        self.body.read(buffer)
    }
}

pub(super) fn broken(error: std::io::Error) -> Wire {
    Wire::Answer(match error.kind() {
        ErrorKind::FileTooLarge => Wrong::Malformed(error.to_string()),
        _ => Wrong::Cut(format!("the answer breaks off: {error}")),
    })
}

fn parse(bytes: &[u8]) -> Result<Value, Wire> {
    serde_json::from_slice(bytes).map_err(|e| {
        let begins = String::from_utf8_lossy(bytes.get(..60).unwrap_or(bytes)).into_owned();
        let why = format!("found no JSON ({e}) in {:?}", one_line(&begins));
        Wire::Answer(if e.is_eof() {
            Wrong::Cut(why)
        } else {
            Wrong::Malformed(why)
        })
    })
}

/// Refuses a compressed body, which nobody asked for.
fn encoded(reply: &Reply) -> Result<(), Wire> {
    match reply.header("content-encoding") {
        None | Some("" | "identity") => Ok(()),
        Some(other) => Err(Wire::Answer(Wrong::Malformed(format!(
            "a body in {}, which was not asked for",
            one_line(other)
        )))),
    }
}
