//! The model that is part of the program: `datasets/builtin`, a Hugging Face folder.

use fathom_engine::Model;
use fathom_engine::format::checkpoint::Checkpoint;

use crate::Result;

/// Longest sequences that it was trained on, in tokens (`datasets/builtin/train`).
pub const TRAINED_LENGTH: usize = 1024;

/// Opens the built-in model.
///
/// # Errors
/// When its files do not read.
pub fn open() -> Result<Model> {
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
