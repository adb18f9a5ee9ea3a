//! One error type: it names the file, the field, what was found and what was expected.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Result of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong. The messages are one line each, lower case, without a final stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused to open or read a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file or an argument holds something that cannot be used.
    #[error("{file}: {field}: found {found}, expected {expected}")]
    Input {
        /// The file (or `prompt`, `request` where there is none).
        file: String,
        /// The field, key or tensor in it.
        field: String,
        /// What stands there.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// The work asked for cannot be done with what is there.
    #[error("{0}")]
    Unsupported(String),
}

impl Error {
    /// An [`Error::Input`].
    ///
    /// ```
    /// let e = fathom_engine::Error::input("config.json", "rope_theta", "-1", "a positive number");
    /// assert_eq!(e.to_string(), "config.json: rope_theta: found -1, expected a positive number");
    /// ```
    pub fn input(
        file: impl Display,
        field: impl Display,
        found: impl Display,
        expected: impl Display,
    ) -> Self {
        Self::Input {
            file: file.to_string(),
            field: field.to_string(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }

    /// An [`Error::Io`].
    pub fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }
}
