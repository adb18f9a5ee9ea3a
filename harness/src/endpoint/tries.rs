//! Trying again while that may help, within a deadline.

use std::time::{Duration, Instant};

use crate::endpoint::answer::Wrong;
use crate::endpoint::ask::{Endpoint, Failure, Kind};
use crate::endpoint::wire::Wire;
use crate::fetch::patience::{GivenUp, Limits, Patience};
use crate::http;

impl Endpoint {
    /// Tries until it is answered, refused, or too late. What a failure quotes of the server's words has no key in it.
    pub(super) fn tries<T>(
        &self,
        tries: u32,
        one: impl FnMut(u32, Duration) -> Result<T, Wire>,
    ) -> Result<(T, u32), Failure> {
        self.attempts(tries, one).map_err(|failure| Failure {
            why: self.client.scrubbed(&failure.why),
            ..failure
        })
    }

    fn attempts<T>(
        &self,
        tries: u32,
        mut one: impl FnMut(u32, Duration) -> Result<T, Wire>,
    ) -> Result<(T, u32), Failure> {
        let deadline = self.settings.deadline;
        let begun = Instant::now();
        let mut patience = Patience::new(Limits { tries, deadline });
        let mut n = 0;
        let given_up = |given_up, status, n| match given_up {
            GivenUp::Failed(failure) => Failure {
                why: failure.why,
                kind: Kind::Transport,
                status: failure.status.or(status),
                code: failure.code,
                tries: n,
            },
            GivenUp::Stopped(_) => self.failed(Kind::Interrupted, "interrupted", n),
        };
        loop {
            patience
                .hold(&self.client, &self.stop)
                .map_err(|e| given_up(e, Some(429), n))?;
            let left = deadline.saturating_sub(begun.elapsed());
            if left.is_zero() {
                let why = format!("no answer in {} s", deadline.as_secs());
                return Err(self.failed(Kind::Transport, &why, n));
            }
            n += 1;
            let wire = match one(n, left) {
                Ok(done) => return Ok((done, n)),
                Err(wire) => wire,
            };
            let failure = match wire {
                Wire::Stopped => return Err(self.failed(Kind::Interrupted, "interrupted", n)),
                Wire::Http(failure) => failure,
                Wire::Answer(Wrong::Malformed(why)) => {
                    return Err(self.failed(Kind::Malformed, &why, n));
                }
                Wire::Answer(Wrong::Cut(why)) => {
                    http::Failure::passing(format!("{}: {why}", self.client.home()))
                }
                Wire::Answer(Wrong::Said(why, code)) => {
                    let why = format!("an error in the answer: {why}");
                    match code {
                        Some(408 | 429 | 500 | 502 | 503 | 504) => {
                            let why = format!("{}: {why}", self.client.home());
                            http::Failure {
                                status: code,
                                ..http::Failure::passing(why)
                            }
                        }
                        _ => {
                            let mut failure = self.failed(Kind::Refused, &why, n);
                            failure.status = code;
                            return Err(failure);
                        }
                    }
                }
            };
            let lasting = match (failure.status, failure.kind) {
                (Some(401..=403), _) => Some(Kind::Forbidden),
                (_, http::Kind::Lasting | http::Kind::Missing | http::Kind::Forbidden) => {
                    Some(Kind::Refused)
                }
                _ => None,
            };
            if let Some(kind) = lasting {
                return Err(Failure {
                    why: failure.why,
                    kind,
                    status: failure.status,
                    code: failure.code,
                    tries: n,
                });
            }
            let status = failure.status;
            patience
                .wait(&failure, &self.stop)
                .map_err(|e| given_up(e, status, n))?;
        }
    }
}
