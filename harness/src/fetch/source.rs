//! `hf:OWNER/NAME[/FILE][@REV]`: a model on a hub, or one file of it.

use std::fmt;

use crate::fetch::listing::check_path;
use crate::{Error, Result};

/// The revision where none is named.
pub const MAIN: &str = "main";

/// A model, or one file of it, at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Who owns it.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// The one file that is meant: of a split GGUF set, any.
    pub file: Option<String>,
    /// A branch, a tag, or a commit.
    pub revision: String,
}

impl Source {
    /// Whether a text means a model on a hub.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("hf:")
    }

    /// Reads `hf:OWNER/NAME`, `hf:OWNER/NAME@REV`, `hf:OWNER/NAME/FILE.gguf@REV`.
    ///
    /// ```
    /// use fathom_harness::fetch::source::Source;
    /// let source = Source::parse("hf:HuggingFaceTB/SmolLM2-135M-Instruct@refs/pr/1")?;
    /// assert_eq!((&*source.name, &*source.revision), ("SmolLM2-135M-Instruct", "refs/pr/1"));
    /// # Ok::<(), fathom_harness::Error>(())
    /// ```
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |field: &str, found: &str, expected: &str| {
            Err(Error::input(text, field, format!("{found:?}"), expected))
        };
        let rest = text.strip_prefix("hf:").unwrap_or(text);
        let (place, revision) = rest.split_once('@').unwrap_or((rest, MAIN));
        let mut parts = place.splitn(3, '/');
        let (owner, name) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        if !is_name(owner) || !is_name(name) {
            return wrong("model", place, "hf:OWNER/NAME");
        }
        let file = parts.next();
        if let Some(file) = file
            && let Err(why) = check_path(file)
        {
            return wrong("file", file, why);
        }
        if check_path(revision).is_err() {
            return wrong("revision", revision, "a branch, a tag or a commit");
        }
        Ok(Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            file: file.map(str::to_owned),
            revision: revision.to_owned(),
        })
    }

    /// `OWNER/NAME`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf:{}/{}", self.owner, self.name)?;
        if let Some(file) = &self.file {
            write!(f, "/{file}")?;
        }
        if self.revision != MAIN {
            write!(f, "@{}", self.revision)?;
        }
        Ok(())
    }
}

/// A hub's names: letters, digits, `-`, `_`, `.`; no `--`, by which the cache's folders tell the parts apart.
fn is_name(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=96).contains(&text.len())
        && text.bytes().all(inside)
        && !text.starts_with(['-', '.'])
        && !text.ends_with(['-', '.'])
        && !text.contains("--")
        && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_and_shown() -> Result<()> {
        for text in ["hf:a/b", "hf:a/b.c_d-e@v1.0", "hf:a/b/sub/x.gguf@refs/pr/1"] {
            assert_eq!(Source::parse(text)?.to_string(), text);
        }
        for bad in [
            "hf:",
            "hf:a",
            "hf:a/",
            "hf:/b",
            "hf:../b",
            "hf:a/..",
            "hf:a--b/c",
            "hf:a/b@",
            "hf:a/b@../x",
            "hf:a/b@/x",
            "hf:a/b/../x",
            "hf:a b/c",
            "hf:a/b//x",
            "hf:a/b?x=y",
        ] {
            let error = Source::parse(bad).err().map(|e| e.exit_code());
            assert_eq!(error, Some(2), "{bad}");
        }
        Ok(())
    }
}
