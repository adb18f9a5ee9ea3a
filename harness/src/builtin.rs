//! The model that is part of the program.

use fathom_engine::Model;

use crate::{Error, Result};

/// Opens the built-in model.
///
/// # Errors
/// When its files do not read.
pub fn open() -> Result<Model> {
    Err(Error::Usage(
        "--model builtin: this build has no built-in model; name a checkpoint".to_owned(),
    ))
}
