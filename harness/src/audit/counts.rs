//! What is free to find out: whether a service counts the tokens of a prompt as we do.
//!
//! One token more is a second BOS, a constant more a system message of the service's own, fewer a prompt that was cut. The
//! counts are what is billed; what is read, the log probabilities tell.

use fathom_engine::chat::Message as Turn;
use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::Result;
use crate::endpoint::{
    Capabilities, Chat, Completed, Completion, Endpoint, Failure, Kind, Message, Prompt, Sampling,
};
use crate::opened::Opened;

/// A prompt whose tokens are known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// What is sent, in words.
    pub what: String,
    /// Whether it is a conversation.
    pub chat: bool,
    /// The system message, where there is one.
    pub system: Option<String>,
    /// The text.
    pub text: String,
    /// Its tokens, as the model's tokenizer and template have them.
    pub expected: u64,
}

/// What a service said of a prompt's tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Counted {
    /// What was sent.
    pub what: String,
    /// Its tokens.
    pub expected: u64,
    /// What the service says.
    pub told: Option<u64>,
}

const SHORT: &str = "Name three rivers.";

/// The prompts: short and long text, a conversation with and without a system message.
///
/// # Errors
/// When the tokenizer fails.
pub fn counts(opened: &Opened) -> Result<Vec<Count>> {
    let long = SHORT.repeat(40);
    let mut all = Vec::new();
    for (what, text) in [("a short text", SHORT), ("a long text", &long)] {
        all.push(Count {
            what: what.to_owned(),
            chat: false,
            system: None,
            text: text.to_owned(),
            expected: opened.raw(text)?.len() as u64,
        });
    }
    let systems = [
        None,
        Some("Answer in French."),
        Some("Answer in one word and in capital letters."),
    ];
    for (what, system) in [
        "a user's message",
        "with a system message",
        "with a longer one",
    ]
    .into_iter()
    .zip(systems)
    {
        let system_turn = system.map(|s| Turn::new("system", s));
        let turns = system_turn
            .into_iter()
            .chain([Turn::new("user", SHORT)])
            .collect();
        // A model without a template, or whose template has no system message, has nothing to compare with.
        if let Ok(ids) = opened.conversation(turns, true, &Map::new()) {
            all.push(Count {
                what: what.to_owned(),
                chat: true,
                system: system.map(str::to_owned),
                text: SHORT.to_owned(),
                expected: ids.len() as u64,
            });
        }
    }
    Ok(all)
}

/// Asks for each count that the service can be asked for.
///
/// # Errors
/// When somebody asks to stop.
pub fn count(
    endpoint: &Endpoint,
    can: &Capabilities,
    all: &[Count],
) -> Result<Vec<Counted>, Failure> {
    let possible = all
        .iter()
        .filter(|c| can.usage && if c.chat { can.chat } else { can.completions });
    let counted = possible.map(|c| {
        let sampling = Sampling::greedy(1);
        let done = if c.chat {
            let mut chat = Chat::user(c.text.clone(), sampling);
            if let Some(system) = &c.system {
                let message = Message {
                    role: "system".to_owned(),
                    content: system.clone(),
                };
                chat.messages.insert(0, message);
            }
            endpoint.chat(&chat)
        } else {
            endpoint.complete(&Completion::new(Prompt::Text(c.text.clone()), sampling))
        };
        Ok(Counted {
            what: c.what.clone(),
            expected: c.expected,
            told: told(done)?,
        })
    });
    counted.collect()
}

/// What was billed; nothing where the service does not answer, unless nobody is to be asked any more.
fn told(done: Result<Completed, Failure>) -> Result<Option<u64>, Failure> {
    match done {
        Ok(done) => Ok(done.usage.map(|u| u.prompt_tokens)),
        Err(failure) if failure.kind == Kind::Interrupted => Err(failure),
        Err(_) => Ok(None),
    }
}

impl Counted {
    /// In words, where it is not what was expected.
    pub fn finding(&self) -> Option<String> {
        let told = self.told?;
        let why = match told.checked_sub(self.expected) {
            Some(0) => return None,
            Some(1) => "one more: a second BOS",
            Some(_) => "more: another template, or a message that nobody sent",
            None => "fewer: no BOS, another template, or a prompt that was cut",
        };
        Some(format!(
            "{}: {} tokens, billed {told} ({why})",
            self.what, self.expected
        ))
    }
}
