//! Which instruction set the kernels use: chosen once, or forced with `FATHOM_ISA`.

use crate::error::{Error, Result};

/// An instruction set that kernels exist for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isa {
    /// Plain Rust.
    Portable,
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
        })
    }
}

/// The instruction set in use: the best that this machine has, or the value of `FATHOM_ISA`.
///
/// # Errors
/// When `FATHOM_ISA` names none, or one that this machine lacks.
pub fn isa() -> Result<Isa> {
    match std::env::var("FATHOM_ISA") {
        Ok(name) if name != "portable" => {
            Err(Error::input("environment", "FATHOM_ISA", name, "portable"))
        }
        _ => Ok(Isa::Portable),
    }
}
