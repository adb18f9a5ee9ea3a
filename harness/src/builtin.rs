//! The model that is part of the program: `datasets/builtin`, a Hugging Face folder.

use fathom_engine::Model;

use crate::Result;

/// Longest sequences that it was trained on, in tokens (`datasets/builtin/train`).
pub const TRAINED_LENGTH: usize = 1024;

/// Opens the built-in model.
///
/// # Errors
/// When its files do not read, or this build was made without them.
#[cfg(builtin_model)]
pub fn open() -> Result<Model> {
    use fathom_engine::format::checkpoint::Checkpoint;

    macro_rules! file {
        ($name:literal) => {
            include_bytes!(concat!("../../datasets/builtin/", $name))
        };
    }
    let beside: [(&str, &[u8]); 3] = [
        ("tokenizer.json", file!("tokenizer.json")),
        ("tokenizer_config.json", file!("tokenizer_config.json")),
        ("generation_config.json", file!("generation_config.json")),
    ];
    let checkpoint = Checkpoint::from_parts(
        "builtin",
        file!("config.json"),
        file!("model.safetensors"),
        &beside,
    )?;
    Ok(Model::from_checkpoint(checkpoint, false)?)
}

/// Opens the built-in model.
///
/// # Errors
/// Always: this build was made without it.
#[cfg(not(builtin_model))]
pub fn open() -> Result<Model> {
    Err(crate::Error::Usage(
        "--model builtin: this build has no datasets/builtin; name a checkpoint with --model"
            .to_owned(),
    ))
}
