//! Log probabilities in OpenAI's two shapes: lists beside each other (completions), a list of objects (chat).

use fathom_engine::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};

use crate::serve::job::Token;
use crate::serve::text::TextStream;

/// A token's text; where its bytes are no UTF-8, `bytes:\xe2\x80`, as OpenAI's completions write it.
pub fn token_text(tokenizer: &Tokenizer, id: u32) -> String {
    let bytes = tokenizer.decode_bytes(&[id]);
    String::from_utf8(bytes).unwrap_or_else(|e| {
        let bytes = e.as_bytes().iter().map(|b| format!("\\x{b:02x}"));
        format!("bytes:{}", bytes.collect::<String>())
    })
}

/// How tokens are named.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// Knows their bytes.
    pub tokenizer: &'a Tokenizer,
    /// `token_id:7` in place of the text.
    pub ids: bool,
}

impl Names<'_> {
    fn of(self, id: u32) -> String {
        if self.ids {
            format!("token_id:{id}")
        } else {
            token_text(self.tokenizer, id)
        }
    }
}

/// Where tokens begin in a text, in characters.
#[derive(Clone, Debug, Default)]
pub struct Offsets {
    /// Bytes of the tokens that come that do not stand in the text.
    skip: usize,
    text: TextStream,
    bytes: usize,
    chars: usize,
}

impl Offsets {
    /// Before the first token, with bytes that do not stand in the text.
    pub fn new(skip: usize) -> Self {
        Self {
            skip,
            ..Self::default()
        }
    }

    /// Where the next token begins; one that begins within a character, where that begins.
    fn next(&mut self, bytes: &[u8]) -> usize {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        let bytes = &bytes[skipped..];
        let within = self.bytes > self.text.settled();
        // A character that is not continued has become U+FFFD.
        let broken = within && bytes.first().is_some_and(|b| b & 0xc0 != 0x80);
        let at = self.chars + usize::from(broken);
        self.bytes += bytes.len();
        self.chars += self.text.push(bytes).0.chars().count();
        at
    }
}

/// `{tokens, token_logprobs, top_logprobs, text_offset}` of tokens; one without a log probability is a prompt's first.
pub fn lists<'a>(
    names: Names<'_>,
    tokens: impl Iterator<Item = (u32, Option<&'a Token>)>,
    offsets: &mut Offsets,
) -> Value {
    let [mut texts, mut logprobs, mut tops, mut places] = [const { Vec::new() }; 4];
    for (id, token) in tokens {
        places.push(json!(offsets.next(&names.tokenizer.decode_bytes(&[id]))));
        logprobs.push(json!(token.map(|t| t.logprob)));
        tops.push(token.map_or(Value::Null, |token| {
            let mut top = Map::new();
            for (id, logprob) in token.top.iter().chain([&(token.id, token.logprob)]) {
                // Of tokens with one text, the most probable.
                top.entry(names.of(*id)).or_insert(json!(logprob));
            }
            Value::Object(top)
        }));
        texts.push(json!(names.of(id)));
    }
    json!({
        "tokens": texts,
        "token_logprobs": logprobs,
        "top_logprobs": tops,
        "text_offset": places,
    })
}

/// `{content: [{token, logprob, bytes, top_logprobs}], refusal}` of tokens.
pub fn content(names: Names<'_>, tokens: &[Token]) -> Value {
    let one = |id: u32, logprob: f32| {
        json!({
            "token": names.of(id),
            "logprob": logprob,
            "bytes": names.tokenizer.decode_bytes(&[id]),
        })
    };
    let content = tokens.iter().map(|token| {
        let mut entry = one(token.id, token.logprob);
        let top = token.top.iter().map(|(id, logprob)| one(*id, *logprob));
        entry["top_logprobs"] = Value::Array(top.collect());
        entry
    });
    json!({"content": content.collect::<Vec<_>>(), "refusal": null})
}
