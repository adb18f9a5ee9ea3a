//! What is asked of an endpoint, and its JSON.

use serde_json::{Map, Value, json};

/// A prompt of a completion.
#[derive(Clone, Debug, PartialEq)]
pub enum Prompt {
    /// Token ids, where the service takes them.
    Ids(Vec<u32>),
    /// Text.
    Text(String),
}

/// How tokens are chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Tokens of the answer, at most.
    pub max_tokens: usize,
    /// 0: the most probable token.
    pub temperature: f32,
    /// Share of the distribution that is drawn from.
    pub top_p: f32,
    /// Seed of the drawing, where the service has one.
    pub seed: Option<u64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Log probabilities of each token and of so many of the most probable ones.
    pub logprobs: Option<usize>,
    /// The answer in pieces: times of its tokens are known then.
    pub stream: bool,
}

impl Sampling {
    /// The most probable token each time, up to `max_tokens` of them.
    pub fn greedy(max_tokens: usize) -> Self {
        Self {
            max_tokens,
            temperature: 0.0,
            top_p: 1.0,
            seed: None,
            stop: Vec::new(),
            logprobs: None,
            stream: false,
        }
    }

    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        put("max_tokens", json!(self.max_tokens));
        put("temperature", json!(self.temperature));
        put("top_p", json!(self.top_p));
        put("presence_penalty", json!(0.0));
        put("frequency_penalty", json!(0.0));
        put("n", json!(1));
        put("stream", json!(self.stream));
        if self.stream {
            put("stream_options", json!({"include_usage": true}));
        }
        if let Some(seed) = self.seed {
            put("seed", json!(seed));
        }
        if !self.stop.is_empty() {
            put("stop", json!(self.stop));
        }
        fields
    }
}

/// A request of `/completions`.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// What is continued.
    pub prompt: Prompt,
    /// How.
    pub sampling: Sampling,
    /// The prompt is part of the answer, with its log probabilities.
    pub echo: bool,
    /// Further fields, such as vLLM's `prompt_logprobs`.
    pub extra: Map<String, Value>,
}

impl Completion {
    /// A completion without echo.
    pub fn new(prompt: Prompt, sampling: Sampling) -> Self {
        Self {
            prompt,
            sampling,
            echo: false,
            extra: Map::new(),
        }
    }

    /// The body's fields, without the model.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let mut fields = self.sampling.fields();
        let prompt = match &self.prompt {
            Prompt::Ids(ids) => json!(ids),
            Prompt::Text(text) => json!(text),
        };
        fields.insert("prompt".to_owned(), prompt);
        if let Some(k) = self.sampling.logprobs {
            fields.insert("logprobs".to_owned(), json!(k));
        }
        if self.echo {
            fields.insert("echo".to_owned(), json!(true));
        }
        fields.extend(self.extra.clone());
        fields
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// A request of `/chat/completions`.
#[derive(Clone, Debug, PartialEq)]
pub struct Chat {
    /// The conversation.
    pub messages: Vec<Message>,
    /// How it is answered.
    pub sampling: Sampling,
    /// Further fields.
    pub extra: Map<String, Value>,
}

impl Chat {
    /// One message of a user.
    pub fn user(content: impl Into<String>, sampling: Sampling) -> Self {
        let message = Message {
            role: "user".to_owned(),
            content: content.into(),
        };
        Self {
            messages: vec![message],
            sampling,
            extra: Map::new(),
        }
    }

    /// The body's fields, without the model.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let mut fields = self.sampling.fields();
        let messages = self.messages.iter();
        let messages = messages.map(|m| json!({"role": m.role, "content": m.content}));
        fields.insert("messages".to_owned(), messages.collect());
        if let Some(k) = self.sampling.logprobs {
            fields.insert("logprobs".to_owned(), json!(true));
            if k > 0 {
                fields.insert("top_logprobs".to_owned(), json!(k));
            }
        }
        fields.extend(self.extra.clone());
        fields
    }
}
