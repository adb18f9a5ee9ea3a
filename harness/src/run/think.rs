//! What a reasoning model thinks is kept apart from what it answers.

use crate::backend::Reply;

/// Whether a prompt ends inside a thought, as the templates of some reasoning models do.
pub fn opens(prompt: &str) -> bool {
    prompt.trim_end().ends_with("<think>")
}

/// Thought and answer of a reply.
pub fn split(prompt: &str, reply: &Reply) -> (String, String) {
    let text = reply.text.trim_start();
    let inside = match text.strip_prefix("<think>") {
        Some(rest) => rest,
        None if opens(prompt) => text,
        None => return (String::new(), reply.text.clone()),
    };
    match inside.split_once("</think>") {
        Some((thought, answer)) => (thought.trim().to_owned(), answer.trim_start().to_owned()),
        None => (inside.trim().to_owned(), String::new()),
    }
}
