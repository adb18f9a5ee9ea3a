//! A model together with what stands beside it in its checkpoint: tokenizer, chat template, stop tokens.

use fathom_engine::Model;
use fathom_engine::format::checkpoint::Config;
use fathom_engine::tokenizer::Tokenizer;

use crate::{Error, Result};

/// A model that can be talked to.
#[derive(Debug)]
pub struct Opened {
    /// The model.
    pub model: Model,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Tokens that end an answer.
    pub stop: Vec<u32>,
}

impl Opened {
    /// Reads what stands beside a model.
    ///
    /// # Errors
    /// When a file of the checkpoint does not read.
    pub fn new(model: Model) -> Result<Self> {
        let tokenizer = tokenizer(&model)?;
        Ok(Self {
            model,
            tokenizer,
            stop: Vec::new(),
        })
    }

    /// Ids of a text that is continued: BOS first where the model wants one; nothing in it is special.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn raw(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids: Vec<u32> = self
            .tokenizer
            .bos()
            .filter(|_| self.tokenizer.add_bos())
            .into_iter()
            .collect();
        ids.extend(self.tokenizer.encode(text)?);
        Ok(ids)
    }
}

/// The tokenizer of a model.
///
/// # Errors
/// When the checkpoint has none, or it does not read.
pub fn tokenizer(model: &Model) -> Result<Tokenizer> {
    let checkpoint = &model.checkpoint;
    match &checkpoint.config {
        Config::Gguf(metadata) => Ok(Tokenizer::from_gguf(&checkpoint.name, metadata)?),
        Config::Hf(_) => {
            let name = format!("{}/tokenizer.json", checkpoint.name);
            let json = checkpoint.files.get("tokenizer.json").ok_or_else(|| {
                Error::input(
                    &checkpoint.name,
                    "tokenizer.json",
                    "no such file",
                    "a tokenizer",
                )
            })?;
            let config = checkpoint.files.get("tokenizer_config.json");
            Ok(Tokenizer::from_hf(&name, json, config.map(|c| &c[..]))?)
        }
    }
}
