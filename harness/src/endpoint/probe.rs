//! What a service can do, found out with small requests and not assumed.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::endpoint::ask::{Endpoint, Failure, Kind};
use crate::endpoint::request::{Chat, Completion, Prompt, Sampling};

/// The prompt of all probes.
const PROMPT: &str = "The quick brown fox jumps over the lazy";
/// Numbers of most probable tokens that are asked for, until one is answered.
const TOPS: [usize; 5] = [100, 20, 10, 5, 1];

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// `/completions` answers.
    pub completions: bool,
    /// .. and takes token ids for a prompt, as many as are billed (BOS aside).
    pub ids: bool,
    /// .. and echoes a prompt with log probabilities of its tokens.
    pub echo: bool,
    /// .. with ids for tokens, where asked to (`return_tokens_as_token_ids`, as vLLM has it).
    pub echo_ids: bool,
    /// .. and tells `prompt_logprobs` (vLLM).
    pub prompt_logprobs: bool,
    /// Most probable tokens that it tells at a position; 0 without log probabilities.
    pub completion_top: usize,
    /// `/chat/completions` answers.
    pub chat: bool,
    /// Most probable tokens that it tells at a position; 0 without log probabilities.
    pub chat_top: usize,
    /// Answers come in pieces where asked for.
    pub streams: bool,
    /// A seed is accepted.
    pub seed: bool,
    /// Answers tell what was billed.
    pub usage: bool,
    /// .. and what of it was cached.
    pub cached: bool,
    /// `/tokenize` answers.
    pub tokenize: bool,
    /// Tokens come with ids.
    pub told_ids: bool,
}

impl Endpoint {
    /// Finds out what the service can do: about a dozen requests of a few tokens each.
    ///
    /// # Errors
    /// When it cannot be reached, or answers neither completions nor chat.
    pub fn probe(&self) -> Result<Capabilities, Failure> {
        let mut can = Capabilities::default();
        let completion = |edit: &dyn Fn(&mut Completion)| {
            let mut asked = Completion::new(Prompt::Text(PROMPT.into()), Sampling::greedy(2));
            edit(&mut asked);
            asked
        };
        // The first request of each kind is tried as any; what it brings decides.
        let plain = self.complete(&completion(&|_| ()));
        let spoken = self.chat(&Chat::user(PROMPT, Sampling::greedy(2)));
        let known = [&plain, &spoken].map(|r| r.as_ref().is_ok());
        [can.completions, can.chat] = known;
        let usage = match (&plain, &spoken) {
            (Ok(done), _) | (Err(_), Ok(done)) => done.usage,
            // The one that says most: a route that is missing says least.
            (Err(a), Err(b)) => {
                let missing = a.status == Some(404);
                return Err(if missing { b } else { a }.clone());
            }
        };
        can.usage = usage.is_some();
        can.cached = usage.is_some_and(|u| u.cached_tokens.is_some());
        if can.completions {
            for top in TOPS {
                let asked = completion(&|c| c.sampling.logprobs = Some(top));
                if let Some(done) = found(self.complete_in(&asked, 2))? {
                    let told = done.tokens.iter().map(|t| t.top.len()).max();
                    // OpenAI's completions add the chosen token where it is none of them.
                    can.completion_top = told.unwrap_or(0).min(top);
                    can.told_ids = done.tokens.iter().any(|t| t.token.id.is_some());
                    break;
                }
            }
            let ids: Vec<u32> = (10..18).collect();
            let asked = completion(&|c| c.prompt = Prompt::Ids(ids.clone()));
            can.ids = found(self.complete_in(&asked, 2))?
                .and_then(|done| done.usage)
                .is_some_and(|u| (8..=9).contains(&u.prompt_tokens));
            let asked = completion(&|c| {
                c.echo = true;
                c.sampling.logprobs = Some(1);
            });
            can.echo = found(self.complete_in(&asked, 2))?.is_some_and(|done| {
                let scored = done.tokens.iter().filter(|t| t.logprob.is_some());
                done.text.contains(PROMPT) && scored.count() > 4
            });
            if can.echo {
                let asked = completion(&|c| {
                    c.echo = true;
                    c.sampling.logprobs = Some(1);
                    let name = "return_tokens_as_token_ids".to_owned();
                    c.extra.insert(name, json!(true));
                });
                can.echo_ids = found(self.complete_in(&asked, 2))?
                    .is_some_and(|done| done.tokens.iter().all(|t| t.token.id.is_some()));
            }
            let asked = completion(&|c| {
                c.extra.insert("prompt_logprobs".to_owned(), json!(1));
            });
            can.prompt_logprobs = found(self.complete_in(&asked, 2))?
                .is_some_and(|done| done.prompt_logprobs.is_array());
        }
        if can.chat {
            for top in TOPS {
                let mut asked = Chat::user(PROMPT, Sampling::greedy(2));
                asked.sampling.logprobs = Some(top);
                if let Some(done) = found(self.chat_in(&asked, 2))? {
                    let told = done.tokens.iter().map(|t| t.top.len()).max();
                    can.chat_top = told.unwrap_or(0).min(top);
                    can.told_ids |= done.tokens.iter().any(|t| t.token.id.is_some());
                    break;
                }
            }
        }
        let either = |edit: &dyn Fn(&mut Sampling)| {
            let mut sampling = Sampling::greedy(4);
            edit(&mut sampling);
            found(if can.completions {
                self.complete_in(&Completion::new(Prompt::Text(PROMPT.into()), sampling), 2)
            } else {
                self.chat_in(&Chat::user(PROMPT, sampling), 2)
            })
        };
        can.streams = either(&|s| s.stream = true)?.is_some_and(|done| !done.piece_s.is_empty());
        can.seed = either(&|s| s.seed = Some(1))?.is_some();
        let mut fields = Map::new();
        fields.insert("model".to_owned(), self.model().into());
        fields.insert("prompt".to_owned(), PROMPT.into());
        fields.insert("content".to_owned(), PROMPT.into());
        let tokenized = found(self.post_json("/../tokenize", fields.clone()))?;
        let tokenized = match tokenized {
            None => {
                fields.remove("content");
                found(self.post_json("/../tokenize", fields))?
            }
            some => some,
        };
        can.tokenize = tokenized.is_some_and(|v: Value| v["tokens"].is_array());
        Ok(can)
    }
}

/// What a request of the probe brought; nothing where the service does not do it.
fn found<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(failure) => match (failure.kind, failure.status) {
            (Kind::Forbidden | Kind::Interrupted, _) => Err(failure),
            // Some servers fail where they mean to refuse; without a status nobody answered.
            (Kind::Transport, None | Some(429)) => Err(failure),
            _ => Ok(None),
        },
    }
}

impl Capabilities {
    /// One line a fact.
    pub fn in_words(&self) -> String {
        let top = |n| match n {
            0 => "no log probabilities".to_owned(),
            n => format!("log probabilities of the {n} most probable tokens"),
        };
        let mut lines = Vec::new();
        if self.completions {
            let prompt = if self.ids {
                "text or token ids"
            } else {
                "text"
            };
            lines.push(format!(
                "completions: of {prompt}, {}",
                top(self.completion_top)
            ));
        } else {
            lines.push("completions: none".to_owned());
        }
        lines.push(match self.chat {
            true => format!("chat: {}", top(self.chat_top)),
            false => "chat: none".to_owned(),
        });
        lines.push(match (self.echo, self.prompt_logprobs) {
            (true, _) => "log probabilities of a prompt: by echo".to_owned(),
            (_, true) => "log probabilities of a prompt: by prompt_logprobs".to_owned(),
            _ => "log probabilities of a prompt: none".to_owned(),
        });
        if self.echo_ids {
            lines.push("tokens of an echo: by id where asked".to_owned());
        }
        let yes = |name: &str, has| format!("{name}: {}", if has { "yes" } else { "no" });
        lines.push(yes("streams", self.streams));
        lines.push(yes("takes a seed", self.seed));
        lines.push(match (self.usage, self.cached) {
            (true, true) => "tells usage: with cached tokens".to_owned(),
            (has, _) => yes("tells usage", has),
        });
        lines.push(yes("tells token ids", self.told_ids));
        lines.push(yes("/tokenize", self.tokenize));
        lines.join("\n") + "\n"
    }
}
