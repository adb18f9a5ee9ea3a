//! Chat templates: the prompt that a conversation becomes, as `transformers` renders it.
//!
//! Templates are Jinja programs that come with downloaded models: they run with a bound on recursion and with a budget
//! that pays for steps and for the text they make.

mod date;
mod json;
mod stop;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind};
use serde_json::{Map, json};

pub use date::Date;
pub use stop::{StopSources, stop_tokens};

use crate::format::checkpoint::{Checkpoint, Config};
use crate::format::gguf;
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text.
    pub content: String,
}

impl Message {
    /// A turn.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
        }
    }
}

/// Steps that a template may take beside one for each byte of the conversation; each 64 bytes that it makes are a step.
/// Today's templates take some hundreds a message.
const FUEL: u64 = 4_000_000;
/// Calls and nestings of a template.
const RECURSION: usize = 100;
/// Name of a template in messages.
const NAME: &str = "chat template";

/// A chat template that compiles.
///
/// ```
/// # fn main() -> fathom_engine::Result<()> {
/// use fathom_engine::chat::{ChatTemplate, Message};
/// let source = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}\
///     {% if add_generation_prompt %}<|assistant|>{% endif %}";
/// let template = ChatTemplate::new(source, "<s>", "</s>")?;
/// assert_eq!(template.render(&[Message::new("user", "hi")], true)?, "<|user|>hi</s><|assistant|>");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    source: String,
    bos: String,
    eos: String,
    date: Date,
}

impl ChatTemplate {
    /// Compiles a template. `bos` and `eos` are its `bos_token` and `eos_token`; empty means that there is none.
    ///
    /// # Errors
    /// When the template is not valid Jinja.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self> {
        let source = without_generation_tags(source);
        environment(Date::default())
            .template_from_named_str(NAME, &source)
            .map_err(|e| error(&e))?;
        Ok(Self {
            source,
            bos: bos.to_owned(),
            eos: eos.to_owned(),
            date: Date::default(),
        })
    }

    /// A template with the special tokens of its model's tokenizer.
    ///
    /// # Errors
    /// As [`ChatTemplate::new`].
    pub fn with_tokenizer(source: &str, tokenizer: &Tokenizer) -> Result<Self> {
        let text = |id: Option<u32>| id.and_then(|id| tokenizer.token(id)).unwrap_or("");
        Self::new(source, text(tokenizer.bos()), text(tokenizer.eos()))
    }

    /// The same template on another day. Without this it is always [`Date::default`], so that a prompt is the same every day.
    pub fn on(mut self, date: Date) -> Self {
        self.date = date;
        self
    }

    /// The prompt of a conversation. To continue an answer begun, render with the generation prompt and append its text.
    ///
    /// # Errors
    /// When the template refuses the messages (`raise_exception`), fails, or does not end.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        self.render_with(messages, add_generation_prompt, &Map::new())
    }

    /// The prompt of a conversation, with more variables for the template (`enable_thinking`).
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_with(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        variables: &Map<String, serde_json::Value>,
    ) -> Result<String> {
        let mut context = Map::new();
        context.insert("messages".into(), json!(messages));
        context.insert("tools".into(), json!(null));
        context.insert("documents".into(), json!(null));
        context.insert("add_generation_prompt".into(), json!(add_generation_prompt));
        for (name, text) in [("bos_token", &self.bos), ("eos_token", &self.eos)] {
            if !text.is_empty() {
                context.insert(name.into(), json!(text));
            }
        }
        context.extend(variables.clone());
        let given: usize = messages.iter().map(|message| message.content.len()).sum();
        let mut environment = environment(self.date);
        environment.set_fuel(Some(FUEL + given as u64));
        environment
            .template_from_named_str(NAME, &self.source)
            .and_then(|template| template.render(json::value(&serde_json::Value::Object(context))))
            .map_err(|e| error(&e))
    }
}

/// Where a checkpoint may keep its chat template, in the order in which they count.
#[derive(Clone, Copy, Default, Debug)]
pub struct TemplateSources<'a> {
    /// `chat_template.jinja`.
    pub jinja: Option<&'a [u8]>,
    /// `chat_template.json`.
    pub json: Option<&'a [u8]>,
    /// `tokenizer_config.json`.
    pub tokenizer_config: Option<&'a [u8]>,
    /// GGUF metadata.
    pub gguf: Option<&'a gguf::Metadata>,
}

impl<'a> TemplateSources<'a> {
    /// What an opened checkpoint has.
    pub fn of(checkpoint: &'a Checkpoint) -> Self {
        let file = |name: &str| checkpoint.files.get(name).map(|bytes| &**bytes);
        let gguf = match &checkpoint.config {
            Config::Gguf(meta) => Some(meta),
            Config::Hf(_) => None,
        };
        Self {
            jinja: file("chat_template.jinja"),
            json: file("chat_template.json"),
            tokenizer_config: file("tokenizer_config.json"),
            gguf,
        }
    }
}

/// The chat template of a checkpoint; of several named ones, `default`.
///
/// # Errors
/// When a file is not what it should be.
pub fn chat_template_of(sources: &TemplateSources) -> Result<Option<String>> {
    if let Some(bytes) = sources.jinja {
        let text = std::str::from_utf8(bytes)
            .map_err(|e| Error::input("chat_template.jinja", "content", e, "UTF-8"))?;
        return Ok(Some(text.to_owned()));
    }
    for (file, bytes) in [
        ("chat_template.json", sources.json),
        ("tokenizer_config.json", sources.tokenizer_config),
    ] {
        let Some(bytes) = bytes else { continue };
        let value: serde_json::Value = serde_json::from_slice(bytes)
            .map_err(|e| Error::input(file, "content", e, "a JSON object"))?;
        match &value["chat_template"] {
            serde_json::Value::Null => {}
            serde_json::Value::String(text) => return Ok(Some(text.clone())),
            serde_json::Value::Array(list) => {
                let default = list.iter().find(|entry| entry["name"] == "default");
                let text = default
                    .and_then(|entry| entry["template"].as_str())
                    .ok_or_else(|| {
                        let found = format!("{} without `default`", list.len());
                        Error::input(file, "chat_template", found, "a template named `default`")
                    })?;
                return Ok(Some(text.to_owned()));
            }
            _ => {
                let expected = "a template, or a list of named ones";
                return Err(Error::input(
                    file,
                    "chat_template",
                    "another type",
                    expected,
                ));
            }
        }
    }
    match sources
        .gguf
        .and_then(|meta| meta.get("tokenizer.chat_template"))
    {
        None => Ok(None),
        Some(gguf::Value::Str(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Error::input(
            "GGUF",
            "tokenizer.chat_template",
            "another type",
            "a string",
        )),
    }
}

/// Jinja as `transformers` sets it up.
fn environment(date: Date) -> Environment<'static> {
    let mut env = Environment::new();
    if let Ok(syntax) = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
    {
        env.set_syntax(syntax);
    }
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_recursion_limit(RECURSION);
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.set_formatter(|out, state, value| match value.kind() {
        // As Python prints them.
        ValueKind::Bool => Ok(out.write_str(if value.is_true() { "True" } else { "False" })?),
        ValueKind::None => Ok(out.write_str("None")?),
        _ => minijinja::escape_formatter(out, state, value),
    });
    env.add_function(
        "raise_exception",
        |message: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    env.add_function("strftime_now", move |format: String| date.format(&format));
    // None is not, in Python.
    env.add_test("iterable", |value: &Value| {
        use ValueKind::{Iterable, Map, Seq, String, Undefined};
        matches!(value.kind(), Undefined | String | Seq | Map | Iterable)
    });
    env.add_filter("tojson", |value: Value, options: Kwargs| {
        let indent: Option<usize> = options.get("indent")?;
        for name in ["ensure_ascii", "separators", "sort_keys"] {
            let _: Option<Value> = options.get(name)?;
        }
        options.assert_all_used()?;
        json::python(&value, indent)
    });
    env
}

/// `{% generation %}` marks what an assistant wrote for training; it writes nothing.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let end = tag.find("%}").map_or(tag.len(), |end| end + 2);
        let (tag, after) = tag.split_at(end);
        let name = tag.trim_matches(['{', '%', '}', '-', '+']).trim();
        match name {
            "generation" => out.push_str(&tag.replacen(name, "if true", 1)),
            "endgeneration" => out.push_str(&tag.replacen(name, "endif", 1)),
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out + rest
}

/// One line of a template's error.
fn error(e: &minijinja::Error) -> Error {
    let field = e
        .line()
        .map_or("rendering".to_owned(), |line| format!("line {line}"));
    let found = match (e.kind(), e.detail()) {
        (ErrorKind::OutOfFuel, _) => "a template that does not end".to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    let found = found.split_whitespace().collect::<Vec<_>>().join(" ");
    Error::input(NAME, field, found, "a template that renders these messages")
}

#[cfg(test)]
mod tests;
