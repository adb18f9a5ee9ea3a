//! The options that say how an API is asked.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::endpoint::Settings;
use crate::{Error, Result};

/// How an OpenAI-compatible API is asked. Its key comes from the environment alone. Stands last among the options of a verb:
/// what follows would share its heading.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Options of an API")]
pub struct EndpointArgs {
    /// The model's name there; without it, the only one that the API lists
    #[arg(long, value_name = "NAME")]
    pub api_model: Option<String>,
    /// Environment variable with the key; the key is sent to that host alone and never shown or written
    #[arg(long, value_name = "VAR", default_value = "OPENAI_API_KEY")]
    pub api_key_env: String,
    /// Fields of every request, such as a router's: '{"provider": {"only": ["x"], "allow_fallbacks": false}}'
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = fields)]
    pub api_fields: Fields,
    /// Seconds for one request with all its tries
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = clap::value_parser!(u32).range(1..))]
    pub api_deadline: u32,
    /// Tries of one request, with growing pauses between them, or as long as the API asks for
    #[arg(long, value_name = "N", default_value = "6", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub api_tries: u32,
}

/// Fields of a request's body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(pub Map<String, Value>);

fn fields(text: &str) -> Result<Fields, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(Fields(fields)),
        _ => Err("expected a JSON object".to_owned()),
    }
}

impl EndpointArgs {
    /// How the API at this address is asked.
    pub fn settings(&self, base: &str) -> Settings {
        let deadline = Duration::from_secs(self.api_deadline.into());
        let usual = Settings::new(base);
        Settings {
            api_model: self.api_model.clone(),
            api_key_env: self.api_key_env.clone(),
            extra: self.api_fields.0.clone(),
            deadline,
            stall: usual.stall.min(deadline),
            tries: self.api_tries,
            ..usual
        }
    }

    /// A text without the key, should it stand there.
    pub fn scrubbed(&self, text: &str) -> String {
        match std::env::var(&self.api_key_env) {
            Ok(key) if !key.trim().is_empty() => text.replace(key.trim(), "(the key)"),
            _ => text.to_owned(),
        }
    }

    /// Refuses a model's name or fields where there is no API; `option` would have named one.
    ///
    /// # Errors
    /// Which option has no use.
    pub fn unused(&self, option: &str) -> Result<()> {
        let given = [
            ("--api-model", self.api_model.is_some()),
            ("--api-fields", !self.api_fields.0.is_empty()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(Error::Usage(format!("{name}: needs {option}"))),
            None => Ok(()),
        }
    }
}

/// Whether a model is named by the address of an API.
pub fn is_address(model: &str) -> bool {
    let lower = model.get(..8).unwrap_or(model).to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_from_a_path() {
        assert!(is_address("http://localhost:8000/v1") && is_address("HTTPS://x"));
        for path in ["builtin", "hf:a/b", "http.gguf", "./https://x", "é"] {
            assert!(!is_address(path), "{path}");
        }
    }

    #[test]
    fn fields_are_an_object() {
        assert_eq!(fields("{}"), Ok(Fields::default()));
        assert!(fields("[]").is_err() && fields("{").is_err());
    }
}
