//! Where a hub is, who asks, and where models are kept: from the environment, by the names that `huggingface_hub` reads.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fetch::patience::Limits;
use crate::http::Token;
use crate::{Error, Result};

/// The public hub.
const HUB: &str = "https://huggingface.co";

/// How models are fetched.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of the hub, without a last slash (`HF_ENDPOINT`).
    pub endpoint: String,
    /// Sent to the hub's own host and to no other (`HF_TOKEN`, or the file `HF_TOKEN_PATH` or `HF_HOME/token`).
    pub token: Option<Token>,
    /// Folder of the cache (`HF_HUB_CACHE`, or `HF_HOME/hub`).
    pub cache: PathBuf,
    /// Ask nobody (`HF_HUB_OFFLINE`).
    pub offline: bool,
    /// Files at a time.
    pub jobs: usize,
    /// A connection that is silent for so long is cut, and its file goes on with another.
    pub stall: Duration,
    /// How long failures are put up with.
    pub limits: Limits,
    /// Bytes that may still be written below a folder.
    pub free_space: fn(&Path) -> std::io::Result<u64>,
}

impl Settings {
    /// From the environment.
    ///
    /// # Errors
    /// When it names no folder for the cache.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(&|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
    }

    fn from_variables(get: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let user = get("HOME")
            .or_else(|| get("USERPROFILE"))
            .map(PathBuf::from);
        let expand = |path: String| match (path.strip_prefix("~/"), &user) {
            (Some(rest), Some(user)) => user.join(rest),
            _ => PathBuf::from(path),
        };
        let home = get("HF_HOME")
            .map(expand)
            .or_else(|| get("XDG_CACHE_HOME").map(|dir| expand(dir).join("huggingface")))
            .or_else(|| user.as_ref().map(|dir| dir.join(".cache/huggingface")));
        let cache = get("HF_HUB_CACHE")
            .or_else(|| get("HUGGINGFACE_HUB_CACHE"))
            .map(expand)
            .or_else(|| home.as_ref().map(|home| home.join("hub")));
        let cache = cache.ok_or_else(|| {
            Error::Usage("no folder for models: set HF_HOME or HF_HUB_CACHE".to_owned())
        })?;
        let token_file = get("HF_TOKEN_PATH")
            .map(expand)
            .or_else(|| home.map(|home| home.join("token")));
        let token = get("HF_TOKEN")
            .or_else(|| get("HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| std::fs::read_to_string(token_file?).ok());
        let yes = |name| {
            get(name)
                .is_some_and(|v| matches!(&*v.to_ascii_uppercase(), "1" | "ON" | "YES" | "TRUE"))
        };
        Ok(Self {
            endpoint: get("HF_ENDPOINT").unwrap_or_else(|| HUB.to_owned()),
            token: token.as_deref().and_then(Token::new),
            cache,
            offline: yes("HF_HUB_OFFLINE"),
            jobs: 4,
            stall: Duration::from_secs(30),
            limits: Limits::default(),
            free_space: |path| fs4::available_space(path),
        }
        .at(None))
    }

    /// With another hub, where one is named.
    pub fn at(mut self, endpoint: Option<&str>) -> Self {
        let endpoint = endpoint.unwrap_or(&self.endpoint);
        self.endpoint = endpoint.trim_end_matches('/').to_owned();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings> {
        Settings::from_variables(&|name| {
            let found = variables.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_cache_is_where_huggingface_hub_has_it() -> Result<()> {
        let cache = |v: &[(&str, &str)]| settings(v).map(|s| s.cache);
        let user = ("HOME", "/u");
        assert_eq!(cache(&[user])?, Path::new("/u/.cache/huggingface/hub"));
        assert_eq!(
            cache(&[user, ("XDG_CACHE_HOME", "/x")])?,
            Path::new("/x/huggingface/hub")
        );
        assert_eq!(cache(&[user, ("HF_HOME", "~/h")])?, Path::new("/u/h/hub"));
        assert_eq!(
            cache(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")])?,
            Path::new("/c")
        );
        assert!(cache(&[]).is_err());
        Ok(())
    }

    #[test]
    fn the_token_is_the_variable_or_the_file() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let home = dir.path().display().to_string();
        assert!(settings(&[("HF_HOME", &home)])?.token.is_none());
        std::fs::write(dir.path().join("token"), "hf_x\n")?;
        assert!(settings(&[("HF_HOME", &home)])?.token.is_some());
        let env = settings(&[("HF_HOME", "/nowhere"), ("HF_TOKEN", "hf_y")])?;
        assert!(env.token.is_some() && !format!("{env:?}").contains("hf_y"));
        let endpoint = settings(&[("HF_HOME", &home), ("HF_ENDPOINT", "http://h/")])?.endpoint;
        assert_eq!(endpoint, "http://h");
        Ok(())
    }
}
