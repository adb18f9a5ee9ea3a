//! One error type: one line that names the file, the field, what was found and what was expected.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Result of the harness.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong. The messages are one line each, lower case, without a final stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine refused a checkpoint or a request.
    #[error(transparent)]
    Engine(#[from] fathom_engine::Error),
    /// An input file cannot be opened or read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// An output cannot be written: disk full, read-only folder, a closed file.
    #[error("{}: cannot write: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file or an argument holds something that cannot be used.
    #[error("{file}: {field}: found {found}, expected {expected}")]
    Input {
        /// The file, or the option of the command line.
        file: String,
        /// The field or key in it.
        field: String,
        /// What stands there.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// What is asked for contradicts itself or what exists.
    #[error("{0}")]
    Usage(String),
    /// The work began and cannot be finished.
    #[error("{0}")]
    Unfinished(String),
    /// A check was made and says no.
    #[error("{0}")]
    Check(String),
    /// Somebody asked to stop (Ctrl-C, SIGTERM).
    #[error("interrupted")]
    Interrupted,
    /// A check says no: what was measured is beyond a bound.
    #[error("{0}")]
    Beyond(String),
    /// A question was asked, and the evidence is not enough for an answer.
    #[error("{0}")]
    Undecided(String),
    /// Whoever reads our output has gone.
    #[error("output closed")]
    OutputClosed,
}

impl Error {
    /// An [`Error::Input`].
    ///
    /// ```
    /// let e = fathom_harness::Error::input("suite.toml", "task[0].depths", "1.5", "shares in 0..=1");
    /// assert_eq!(e.to_string(), "suite.toml: task[0].depths: found 1.5, expected shares in 0..=1");
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

    /// An [`Error::Read`].
    pub fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read {
            path: path.to_path_buf(),
            source,
        }
    }

    /// An [`Error::Write`].
    pub fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Write {
            path: path.to_path_buf(),
            source,
        }
    }

    /// The same error, met when the inputs had been accepted and the work was under way.
    pub fn at_work(self) -> Self {
        match self {
            Self::Engine(e) => Self::Unfinished(e.to_string()),
            other => other,
        }
    }

    /// Exit code of the command: 1 for a check that says no, 2 for bad usage or bad input, 3 for work that could not be finished,
    /// 4 for evidence that is not enough.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Check(_) => 1,
            Self::Engine(_) | Self::Read { .. } | Self::Input { .. } | Self::Usage(_) => 2,
            Self::Write { .. } | Self::Unfinished(_) | Self::Interrupted => 3,
            Self::Beyond(_) => 1,
            Self::Undecided(_) => 4,
            Self::OutputClosed => 0,
        }
    }
}
