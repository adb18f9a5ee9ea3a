//! What stands around the user's message.

use crate::{Error, Result};

/// A rendered template, split where the user's message stands; without a template, the BOS token or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    before: String,
    after: String,
    /// The beginning of the answer stands at the message's end: who answers writes the turns himself.
    in_message: bool,
}

/// Stands in for the user's message while a template is rendered; templates that trim it find nothing to trim.
const STAND_IN: &str = "fathom-stands-in-for-the-message";

impl Frame {
    /// No template: the text alone, after the text of the BOS token where the model wants one (else empty).
    ///
    /// ```
    /// use fathom_harness::layout::Frame;
    /// assert_eq!(Frame::raw("<s>").fill("What?", "It is"), "<s>What? It is");
    /// ```
    pub fn raw(bos: &str) -> Self {
        Self {
            before: bos.to_owned(),
            after: " ".to_owned(),
            in_message: false,
        }
    }

    /// A template: `render` is given the user's message and renders the conversation up to the answer.
    ///
    /// # Errors
    /// When rendering fails, or its result does not have the message exactly once and as it is.
    pub fn chat(render: impl FnOnce(&str) -> Result<String>) -> Result<Self> {
        let text = render(STAND_IN)?;
        match text.split_once(STAND_IN) {
            Some((before, after)) if !after.contains(STAND_IN) => Ok(Self {
                before: before.to_owned(),
                after: after.to_owned(),
                in_message: false,
            }),
            _ => Err(Error::input(
                "chat template",
                "the user's message",
                "it changed, twice, or not at all",
                "it once, as it is",
            )),
        }
    }

    /// The same, where only the user's message is sent: the beginning of the answer stands at its end.
    pub fn of_messages(self) -> Self {
        Self {
            in_message: true,
            ..self
        }
    }

    /// What is sent of a prompt that this frame has filled: all, or the user's message.
    pub fn sent<'a>(&self, prompt: &'a str) -> &'a str {
        if !self.in_message {
            return prompt;
        }
        let inner = prompt.strip_prefix(&*self.before);
        inner
            .and_then(|p| p.strip_suffix(&*self.after))
            .unwrap_or(prompt)
    }

    /// The whole prompt: message, template, beginning of the answer.
    pub fn fill(&self, user: &str, answer_prefix: &str) -> String {
        if self.in_message {
            let joint = if user.is_empty() || answer_prefix.is_empty() {
                ""
            } else {
                " "
            };
            let Self { before, after, .. } = self;
            return format!("{before}{user}{joint}{answer_prefix}{after}");
        }
        let after = if answer_prefix.is_empty() && self.after == " " {
            ""
        } else {
            &self.after
        };
        let space =
            if answer_prefix.is_empty() || after.is_empty() || after.ends_with(char::is_whitespace)
            {
                ""
            } else {
                " "
            };
        format!("{}{user}{after}{space}{answer_prefix}", self.before)
    }

    /// Bytes before the message.
    pub fn before_len(&self) -> usize {
        self.before.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_split_around_the_message() -> Result<()> {
        let frame = Frame::chat(|user| Ok(format!("<|user|>\n{user}<|end|>\n<|assistant|>\n")))?;
        assert_eq!(
            frame.fill("Hi", "Yes"),
            "<|user|>\nHi<|end|>\n<|assistant|>\nYes"
        );
        let frame = Frame::chat(|user| Ok(format!("[INST] {user} [/INST]")))?;
        assert_eq!(frame.fill("Hi", "Yes"), "[INST] Hi [/INST] Yes");
        assert_eq!(frame.fill("Hi", ""), "[INST] Hi [/INST]");
        let frame = frame.of_messages();
        let prompt = frame.fill("Hi", "Yes");
        assert_eq!(prompt, "[INST] Hi Yes [/INST]");
        assert_eq!(frame.sent(&prompt), "Hi Yes");
        assert!(Frame::chat(|user| Ok(user.to_uppercase())).is_err());
        assert!(Frame::chat(|user| Ok(format!("{user}{user}"))).is_err());
        Ok(())
    }
}
