//! What is asked of a tokenizer.

use fathom_engine::Result;
use fathom_engine::tokenizer::Tokenizer;

/// What layout asks of a tokenizer.
pub trait Encode: Send + Sync {
    /// Ids of a text in which special tokens are recognised (a rendered template).
    ///
    /// # Errors
    /// When the tokenizer fails.
    fn encode(&self, text: &str) -> Result<Vec<u32>>;

    /// Whether the text has something that would become a special token.
    ///
    /// # Errors
    /// When the tokenizer fails.
    fn has_special(&self, text: &str) -> Result<bool>;

    /// The text of ids.
    fn decode(&self, ids: &[u32]) -> String;
}

impl Encode for Tokenizer {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_special(text)
    }

    fn has_special(&self, text: &str) -> Result<bool> {
        Ok(Tokenizer::encode(self, text)? != self.encode_special(text)?)
    }

    fn decode(&self, ids: &[u32]) -> String {
        Tokenizer::decode(self, ids)
    }
}
