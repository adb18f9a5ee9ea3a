//! Where a service is, and how long it is waited for.

use std::time::Duration;

use serde_json::{Map, Value};

/// How an API is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its address, `/v1` or the like included.
    pub base: String,
    /// The model's name there; without one, the only model that the service lists.
    pub api_model: Option<String>,
    /// The environment variable that holds the key; no key is sent where it is not set.
    pub api_key_env: String,
    /// Headers of every request: name and value.
    pub headers: Vec<(String, String)>,
    /// Fields of every request's body, such as a router's `provider`.
    pub extra: Map<String, Value>,
    /// Time for one request with all its tries.
    pub deadline: Duration,
    /// A connection that is silent for so long is cut.
    pub stall: Duration,
    /// Tries of one request.
    pub tries: u32,
    /// Bytes of an answer, or of all of a stream.
    pub max_body: u64,
}

impl Settings {
    /// The usual ones: ten minutes a request, five of them silent, six tries, 64 MiB.
    pub fn new(base: impl Into<String>) -> Self {
        Self {
            base: base.into(),
            api_model: None,
            api_key_env: "OPENAI_API_KEY".to_owned(),
            headers: Vec::new(),
            extra: Map::new(),
            deadline: Duration::from_secs(600),
            stall: Duration::from_secs(300),
            tries: 6,
            max_body: 64 << 20,
        }
    }
}
