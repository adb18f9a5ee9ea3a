//! Log probabilities of a prompt's own tokens.

use crate::endpoint::ask::{Endpoint, Failure, Kind};
use crate::endpoint::request::{Completion, Prompt, Sampling};
use crate::endpoint::{Capabilities, Position, logprobs};

impl Endpoint {
    /// Log probabilities of a prompt's own tokens and of the `top` most probable ones at each, in the way that was found
    /// to work. The first token has none.
    ///
    /// # Errors
    /// When the service does not tell them, or tells another number of tokens than it says to have read. One that says to have
    /// read fewer than were sent, tells those.
    pub fn score_prompt(
        &self,
        can: &Capabilities,
        prompt: &Prompt,
        top: usize,
    ) -> Result<Vec<Position>, Failure> {
        let malformed = |why: &str| self.failed(Kind::Malformed, why, 1);
        let mut asked = Completion::new(prompt.clone(), Sampling::greedy(1));
        let ids = match prompt {
            Prompt::Ids(ids) => Some(ids),
            Prompt::Text(_) => None,
        };
        if can.echo {
            asked.echo = true;
            asked.sampling.logprobs = Some(top);
            if can.echo_ids {
                let name = "return_tokens_as_token_ids".to_owned();
                asked.extra.insert(name, true.into());
            }
            let mut done = self.complete(&asked)?;
            let told = done.usage.map(|u| u.prompt_tokens as usize);
            let n = ids.map(Vec::len).or(told);
            let n =
                n.ok_or_else(|| malformed("echo: usage does not tell where the prompt ends"))?;
            // A prompt that was cut comes back cut; whoever asked for it sees what is missing.
            if let Some(told) = told.filter(|told| *told < n && ids.is_some()) {
                done.tokens.truncate(told);
                return Ok(done.tokens);
            }
            if done.tokens.len() < n || done.tokens.len() > n + 2 {
                let found = done.tokens.len();
                return Err(malformed(&format!(
                    "echo: found {found} tokens, expected {n} and one more"
                )));
            }
            done.tokens.truncate(n);
            for (position, id) in done.tokens.iter_mut().zip(ids.into_iter().flatten()) {
                position.token.id = Some(*id);
            }
            return Ok(done.tokens);
        }
        match ids.filter(|_| can.prompt_logprobs) {
            None => Err(self.failed(
                Kind::Refused,
                "the service does not tell log probabilities of a prompt",
                0,
            )),
            Some(ids) => {
                asked.extra.insert("prompt_logprobs".to_owned(), top.into());
                let done = self.complete(&asked)?;
                logprobs::prompt_logprobs(&done.prompt_logprobs, ids).map_err(|e| malformed(&e))
            }
        }
    }
}
