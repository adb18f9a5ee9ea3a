//! One item asked of an API: which request it becomes, and what its answer means.

use std::sync::Arc;

use fathom_engine::tokenizer::Tokenizer;

use crate::backend::endpoint::budget::Tokens;
use crate::backend::{End, Generate, Outcome, Reply, Request};
use crate::endpoint::{
    Capabilities, Chat, Completed, Completion, Endpoint, Failure, Kind, Message, Position, Prompt,
    Sampling, Usage,
};
use crate::layout::Frame;
use crate::record::{OptionScore, PromptOption};

/// Where prompts go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/completions`: the prompt as rendered here.
    Completions,
    /// `/chat/completions`: the user's message, in the service's own template.
    Chat,
}

impl Route {
    /// As the command line and the manifest name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completions => "completions",
            Self::Chat => "chat",
        }
    }
}

/// Who asks. Threads share it.
#[derive(Debug)]
pub struct Asker {
    /// The service.
    pub endpoint: Endpoint,
    /// What it is able to do.
    pub can: Capabilities,
    /// Where prompts go.
    pub route: Route,
    /// What stands around a message.
    pub frame: Frame,
    /// The model's tokenizer, where it is known.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// A message before the user's.
    pub system: Option<String>,
    /// The model thinks before it answers, without being opened a thought.
    pub thinks: bool,
}

/// Why an item's options cannot be scored.
pub const NO_LIKELIHOOD: &str = "needs log probabilities of prompts, which the API does not tell (--method generate asks for text)";

/// .. where the service would, of prompts that are rendered here.
pub const NO_COMPLETIONS: &str = "needs log probabilities of prompts, which chat does not tell (--tokenizer or --route completions)";

impl Asker {
    /// Tokens that an item is billed at most; of a prompt, as foreseen here.
    pub fn foreseen(&self, request: &Request) -> Tokens {
        let mut tokens = Tokens::default();
        if let Some(generate) = &request.generate {
            let once = Tokens::new(request.prompt_tokens, self.max_tokens(generate));
            // A first line that is empty is asked for again.
            let more = match generate.one_line {
                true => once,
                false => Tokens::default(),
            };
            tokens = tokens.and(once).and(more);
        }
        for option in &request.options {
            let prompt = request.prompt_tokens + option.ids.len();
            tokens = tokens.and(Tokens::new(prompt, 1));
        }
        tokens
    }

    /// Why an item need not be sent: the service does not do what it takes.
    pub fn cannot(&self, request: &Request) -> Option<&'static str> {
        let told = self.can.echo || self.can.prompt_logprobs && self.can.ids;
        match self.route {
            _ if request.options.is_empty() => None,
            _ if !told => Some(NO_LIKELIHOOD),
            Route::Chat => Some(NO_COMPLETIONS),
            Route::Completions => None,
        }
    }

    /// Asks, and tells what came of it and what was billed; what was not told is taken as foreseen.
    pub fn answer(&self, request: &Request) -> (Outcome, Tokens) {
        let mut reply = Reply::default();
        let mut spent = Tokens::default();
        if let Some(generate) = &request.generate {
            let foreseen = Tokens::new(request.prompt_tokens, self.max_tokens(generate));
            match self.text(request, generate) {
                Err(failure) => return failed(&failure, foreseen),
                Ok(done) => {
                    let usage = done.iter().filter_map(|d| d.usage).reduce(sum);
                    spent = usage.map_or(foreseen, Tokens::from);
                    reply.usage = usage;
                    let Some(done) = done.last() else {
                        return (Outcome::Failed("no answer".to_owned()), spent);
                    };
                    if let Some(why) = refusal(done) {
                        return (Outcome::Refused(why), spent);
                    }
                    self.read(done, generate, &mut reply);
                }
            }
        }
        for option in &request.options {
            let foreseen = Tokens::new(request.prompt_tokens + option.ids.len(), 1);
            spent = spent.and(foreseen);
            match self.option(request, option) {
                Err(failure) => return failed(&failure, spent),
                Ok(None) => {
                    let why = format!(
                        "the tokens of {:?} cannot be told from those before it",
                        option.text
                    );
                    return (Outcome::Failed(why), spent);
                }
                Ok(Some(score)) => reply.options.push(score),
            }
        }
        if !request.options.is_empty() {
            // Of these nobody is told what they were billed.
            let told = reply.usage.and_then(|u| u.cached_tokens);
            reply.usage = Some(Usage {
                prompt_tokens: spent.prompt,
                completion_tokens: spent.answer,
                cached_tokens: told,
            });
        }
        (Outcome::Reply(reply), spent)
    }

    /// A prompt as it is sent to `/completions`.
    pub fn prompt(&self, ids: &[u32], text: &str) -> Prompt {
        if self.can.ids && !ids.is_empty() {
            return Prompt::Ids(ids.to_vec());
        }
        // A service that adds a BOS to text would have two.
        let bos = self.tokenizer.as_ref().filter(|t| t.add_bos());
        let bos = bos.and_then(|t| t.token(t.bos()?));
        let without = bos.and_then(|bos| text.strip_prefix(bos));
        Prompt::Text(without.unwrap_or(text).to_owned())
    }

    /// Sends a prompt by the run's route.
    ///
    /// # Errors
    /// When there is no answer that can be used.
    pub fn send(&self, ids: &[u32], text: &str, sampling: Sampling) -> Result<Completed, Failure> {
        match self.route {
            Route::Completions => {
                let prompt = self.prompt(ids, text);
                self.endpoint.complete(&Completion::new(prompt, sampling))
            }
            Route::Chat => {
                let mut chat = Chat::user(self.frame.sent(text), sampling);
                if let Some(content) = &self.system {
                    let role = "system".to_owned();
                    let content = content.clone();
                    chat.messages.insert(0, Message { role, content });
                }
                self.endpoint.chat(&chat)
            }
        }
    }

    fn max_tokens(&self, generate: &Generate) -> usize {
        let thinks = generate.thinking || self.thinks;
        generate.max_tokens + if thinks { generate.thought_budget } else { 0 }
    }

    /// The answer; before it those that were of no use.
    fn text(&self, request: &Request, generate: &Generate) -> Result<Vec<Completed>, Failure> {
        let mut sampling = Sampling {
            temperature: generate.temperature,
            top_p: generate.top_p,
            // Where a choice is greedy a seed decides nothing; services read 31 bits at least.
            seed: (generate.temperature > 0.0 && self.can.seed)
                .then_some(generate.seed & 0x7fff_ffff),
            ..Sampling::greedy(self.max_tokens(generate))
        };
        if generate.one_line {
            sampling.stop = vec!["\n".to_owned()];
        }
        let first = self.send(&request.ids, &request.text, sampling.clone())?;
        let stopped = first.finish_reason.as_deref() == Some("stop");
        if !(generate.one_line && stopped && first.text.trim().is_empty()) {
            return Ok(vec![first]);
        }
        // It begins with a line end: the line that is wanted comes after.
        sampling.stop = Vec::new();
        let second = self.send(&request.ids, &request.text, sampling)?;
        Ok(vec![first, second])
    }

    fn read(&self, done: &Completed, generate: &Generate, reply: &mut Reply) {
        let limit = match (done.finish_reason.as_deref(), done.usage) {
            (Some(reason), _) => reason == "length",
            (None, Some(usage)) => usage.completion_tokens >= self.max_tokens(generate) as u64,
            (None, None) => false,
        };
        let line = generate.one_line && done.text.trim_start().contains('\n');
        let text = if generate.one_line {
            let mut lines = done.text.trim_start().lines();
            lines.next().unwrap_or_default().to_owned()
        } else {
            done.text.clone()
        };
        let begun = match done.reasoning.is_empty() {
            true => text,
            false if text.is_empty() && limit => format!("<think>{}", done.reasoning),
            false => format!("<think>{}</think>{text}", done.reasoning),
        };
        let thought = generate.thinking || begun.trim_start().starts_with("<think>");
        let in_thought = thought && !begun.contains("</think>");
        reply.end = Some(match limit && !line {
            true if in_thought => End::ThoughtLimit,
            true => End::Limit,
            false => End::Stop,
        });
        reply.text = begun;
    }

    /// The log-likelihood of an option after the prompt; `None` where its tokens are not told apart.
    fn option(
        &self,
        request: &Request,
        option: &PromptOption,
    ) -> Result<Option<OptionScore>, Failure> {
        let ids = [&request.ids[..], &option.ids].concat();
        let text = format!("{}{}", request.text, option.text);
        let by_ids = self.can.ids && !request.ids.is_empty();
        let prompt = self.prompt(if by_ids { &ids } else { &[] }, &text);
        let told = self.endpoint.score_prompt(&self.can, &prompt, 1)?;
        let cut = by_ids && told.len() < ids.len();
        let own = if cut {
            &[]
        } else if by_ids {
            told.get(request.ids.len()..).unwrap_or_default()
        } else {
            last_of(&told, &option.text)
        };
        let logprobs: Option<Vec<f64>> = own.iter().map(|p| p.logprob).collect();
        Ok(logprobs.filter(|l| !l.is_empty()).map(|l| OptionScore {
            text: option.text.clone(),
            logprob: l.iter().sum(),
            tokens: l.len(),
        }))
    }
}

/// The last tokens, which make up a text; none where no token begins with it.
fn last_of<'a>(told: &'a [Position], text: &str) -> &'a [Position] {
    let mut bytes = Vec::new();
    for at in (0..told.len()).rev() {
        bytes.splice(0..0, told[at].token.bytes.iter().copied());
        match bytes.len().cmp(&text.len()) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal if bytes == text.as_bytes() => return &told[at..],
            _ => break,
        }
    }
    &[]
}

fn sum(a: Usage, b: Usage) -> Usage {
    let cached = [a.cached_tokens, b.cached_tokens];
    Usage {
        prompt_tokens: a.prompt_tokens.saturating_add(b.prompt_tokens),
        completion_tokens: a.completion_tokens.saturating_add(b.completion_tokens),
        cached_tokens: cached.into_iter().flatten().reduce(u64::saturating_add),
    }
}

/// What an API calls an answer that it withholds.
const WITHHELD: [&str; 2] = ["content_filter", "content_policy_violation"];

fn refusal(done: &Completed) -> Option<String> {
    let reason = done.finish_reason.as_deref();
    let withheld = reason.filter(|reason| WITHHELD.contains(reason));
    let withheld = withheld.map(|reason| format!("finish_reason {reason}"));
    withheld.or_else(|| done.refusal.clone())
}

/// What a failure means for an item. One in which nobody refused for the model says nothing of it.
fn failed(failure: &Failure, foreseen: Tokens) -> (Outcome, Tokens) {
    let withheld = failure
        .code
        .as_deref()
        .is_some_and(|c| WITHHELD.contains(&c));
    let outcome = match withheld {
        true => Outcome::Refused(failure.why.clone()),
        false => Outcome::Failed(failure.why.clone()),
    };
    // What a service refused it did not work on; what broke off, or holds an error within an answer, it may have.
    let billed = match (failure.kind, failure.status) {
        (Kind::Refused | Kind::Transport, Some(_)) | (Kind::Forbidden, _) => Tokens::default(),
        _ => foreseen,
    };
    (outcome, billed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Piece;

    #[test]
    fn an_options_tokens_are_the_last_ones() {
        let told: Vec<Position> = ["a", " bc", " d", "ef"]
            .iter()
            .map(|text| Position {
                token: Piece {
                    text: (*text).to_owned(),
                    bytes: text.as_bytes().to_vec(),
                    id: None,
                },
                logprob: Some(-1.0),
                top: Vec::new(),
            })
            .collect();
        assert_eq!(last_of(&told, " def").len(), 2);
        assert_eq!(last_of(&told, "f").len(), 0);
        assert_eq!(last_of(&told, " xef").len(), 0);
        assert_eq!(last_of(&[], "f").len(), 0);
    }
}
