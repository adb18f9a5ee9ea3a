//! A model together with what stands beside it in its checkpoint: tokenizer, chat template, stop tokens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fathom_engine::Model;
use fathom_engine::chat::{
    ChatTemplate, Message, StopSources, TemplateSources, chat_template_of, stop_tokens,
};
use fathom_engine::format::checkpoint::{Checkpoint, Config};
use fathom_engine::kernels::Precision;
use fathom_engine::model::NUMERIC_VERSION;
use fathom_engine::tokenizer::Tokenizer;
use serde_json::{Map, Value};

use crate::backend::ModelCard;
use crate::layout::Frame;
use crate::{Error, Result, describe};

/// What stands around a question.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct TemplateArgs {
    /// Do without the model's chat template: the question is text that the model continues
    #[arg(long, conflicts_with_all = ["system", "chat_template"])]
    pub raw: bool,
    /// A system message before the question
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// A chat template (Jinja) in place of the model's own
    #[arg(long, value_name = "FILE")]
    pub chat_template: Option<PathBuf>,
}

/// A model that can be talked to.
#[derive(Debug)]
pub struct Opened {
    /// The model.
    pub model: Model,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// Tokens that end an answer.
    pub stop: Vec<u32>,
    template: Option<Template>,
}

#[derive(Debug)]
struct Template {
    compiled: ChatTemplate,
    source: String,
    system: Option<String>,
}

impl Opened {
    /// Reads what stands beside a model.
    ///
    /// # Errors
    /// When a file of the checkpoint does not read, or a system message is wanted and there is no template.
    pub fn new(model: Model, args: &TemplateArgs) -> Result<Self> {
        let tokenizer = Arc::new(model.tokenizer()?);
        let sources = TemplateSources::of(&model.checkpoint);
        let template = Template::choose(&sources, &tokenizer, args)?;
        if template.is_none() && args.system.is_some() {
            return Err(Error::Usage(format!(
                "--system: {} has no chat template; name one with --chat-template",
                model.name
            )));
        }
        let compiled = template.as_ref().map(|t| &t.compiled);
        let sources = StopSources::of(&model.checkpoint, compiled);
        let stop = stop_tokens(&tokenizer, &sources)?.into_iter().collect();
        Ok(Self {
            model,
            tokenizer,
            stop,
            template,
        })
    }

    /// Whether questions stand without a template.
    pub fn raw_prompts(&self) -> bool {
        self.template.is_none()
    }

    /// What stands around a question.
    ///
    /// # Errors
    /// When the template does not render.
    pub fn frame(&self) -> Result<Frame> {
        frame(&self.tokenizer, self.template.as_ref())
    }

    /// Ids of a text that is continued: BOS first where the model wants one; nothing in it is special.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn raw(&self, text: &str) -> Result<Vec<u32>> {
        let bos = self.tokenizer.bos().filter(|_| self.tokenizer.add_bos());
        let mut ids: Vec<u32> = bos.into_iter().collect();
        ids.extend(self.tokenizer.encode(text)?);
        Ok(ids)
    }

    /// Ids of a user's message in the template.
    ///
    /// # Errors
    /// When there is no template, or it does not render.
    pub fn chat(&self, text: &str) -> Result<Vec<u32>> {
        self.conversation(vec![Message::new("user", text)], true, &Map::new())
    }

    /// Ids of a conversation in the template, with more variables for it. The system message of the command line
    /// comes first where the conversation has none.
    ///
    /// # Errors
    /// When there is no template, or it does not render.
    pub fn conversation(
        &self,
        messages: Vec<Message>,
        add_generation_prompt: bool,
        variables: &Map<String, Value>,
    ) -> Result<Vec<u32>> {
        let template = self.template.as_ref().ok_or_else(|| {
            Error::Usage(format!(
                "{} has no chat template; name one with --chat-template",
                self.model.name
            ))
        })?;
        let messages = template.with_system(messages);
        let text = template
            .compiled
            .render_with(&messages, add_generation_prompt, variables)?;
        Ok(self.tokenizer.encode_special(&text)?)
    }

    /// What identifies the model and its prompts.
    pub fn identity(&self) -> BTreeMap<String, Value> {
        let facts: [(&str, Value); 3] = [
            ("weights", self.model.checkpoint.hash().into()),
            ("spec", hash(&format!("{:?}", self.model.spec))),
            ("precision", self.model.precision.name().into()),
        ];
        let mut identity = prompts_identity(&self.tokenizer, self.template.as_ref());
        identity.extend(facts.map(|(k, v)| (k.to_owned(), v)));
        identity
    }

    /// The model as it presents itself.
    pub fn card(&self, name: String, fault: Option<&str>) -> ModelCard {
        let spec = &self.model.spec;
        let layers: Vec<String> = describe::layers(spec)
            .into_iter()
            .map(|l| format!("{}: {}; {}; {}", l.layers, l.attention, l.position, l.ffn))
            .collect();
        let mut facts: BTreeMap<String, Value> = [
            ("name", Value::from(name.clone())),
            ("family", spec.family.clone().into()),
            ("layers", describe::summary(spec).into()),
            ("layers_in_words", layers.into()),
            ("context_length", spec.context_length.into()),
            ("width", spec.dim.into()),
            ("vocabulary", spec.n_vocab.into()),
            ("weight_bytes", self.model.weight_bytes().into()),
            ("precision", self.model.precision.name().into()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into();
        if let Some(fault) = fault {
            facts.insert("fault".to_owned(), fault.into());
        }
        if !self.model.unknown_keys.is_empty() {
            facts.insert(
                "unknown_keys".to_owned(),
                self.model.unknown_keys.clone().into(),
            );
        }
        let precision = match self.model.precision {
            Precision::F32 => None,
            rounder => Some(rounder.name()),
        };
        let edits = [fault, precision].into_iter().flatten();
        ModelCard {
            name: edits.fold(name, |name, edit| format!("{name}-{edit}")),
            context_length: spec.context_length,
            numeric_version: NUMERIC_VERSION,
            identity: self.identity(),
            facts,
        }
    }
}

/// How a model that runs elsewhere is spoken to: its tokenizer and its chat template, without its weights.
#[derive(Debug)]
pub struct Spoken {
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    template: Option<Template>,
}

impl Spoken {
    /// Of a GGUF file (also one with nothing but a vocabulary), or a folder with `tokenizer.json`.
    ///
    /// # Errors
    /// When there is no tokenizer, or a file does not read.
    pub fn open(path: &Path, args: &TemplateArgs) -> Result<Self> {
        if !path.is_dir() {
            let checkpoint = Checkpoint::open(path)?;
            let Config::Gguf(metadata) = &checkpoint.config else {
                let expected = "a GGUF file, or a folder with tokenizer.json";
                return Err(Error::input(
                    "--tokenizer",
                    "file",
                    path.display(),
                    expected,
                ));
            };
            let tokenizer = Tokenizer::from_gguf(&checkpoint.name, metadata)?;
            return Self::of(tokenizer, &TemplateSources::of(&checkpoint), args);
        }
        let read = |name: &str| match std::fs::read(path.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::read(&path.join(name), e)),
        };
        let file = path.join("tokenizer.json");
        let tokenizer = std::fs::read(&file).map_err(|e| Error::read(&file, e))?;
        let (config, jinja, json) = (
            read("tokenizer_config.json")?,
            read("chat_template.jinja")?,
            read("chat_template.json")?,
        );
        let file = file.display().to_string();
        let tokenizer = Tokenizer::from_hf(&file, &tokenizer, config.as_deref())?;
        let sources = TemplateSources {
            jinja: jinja.as_deref(),
            json: json.as_deref(),
            tokenizer_config: config.as_deref(),
            gguf: None,
        };
        Self::of(tokenizer, &sources, args)
    }

    /// Of an opened model.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of_model(model: &Model, args: &TemplateArgs) -> Result<Self> {
        let sources = TemplateSources::of(&model.checkpoint);
        Self::of(model.tokenizer()?, &sources, args)
    }

    fn of(tokenizer: Tokenizer, sources: &TemplateSources, args: &TemplateArgs) -> Result<Self> {
        let tokenizer = Arc::new(tokenizer);
        let template = Template::choose(sources, &tokenizer, args)?;
        Ok(Self {
            tokenizer,
            template,
        })
    }

    /// Whether questions stand without a template.
    pub fn raw_prompts(&self) -> bool {
        self.template.is_none()
    }

    /// What stands around a question.
    ///
    /// # Errors
    /// When the template does not render.
    pub fn frame(&self) -> Result<Frame> {
        frame(&self.tokenizer, self.template.as_ref())
    }

    /// What identifies the prompts.
    pub fn identity(&self) -> BTreeMap<String, Value> {
        prompts_identity(&self.tokenizer, self.template.as_ref())
    }
}

fn frame(tokenizer: &Tokenizer, template: Option<&Template>) -> Result<Frame> {
    match template {
        None => {
            let bos = tokenizer.bos().filter(|_| tokenizer.add_bos());
            let text = bos.and_then(|id| tokenizer.token(id));
            Ok(Frame::raw(text.unwrap_or_default()))
        }
        Some(template) => Frame::chat(|user| Ok(template.render(user)?)),
    }
}

fn prompts_identity(tokenizer: &Tokenizer, template: Option<&Template>) -> BTreeMap<String, Value> {
    let facts: [(&str, Value); 3] = [
        ("tokenizer", tokenizer.hash().into()),
        (
            "template",
            template.map_or_else(|| "raw".into(), |t| hash(&t.source)),
        ),
        ("system", template.and_then(|t| t.system.clone()).into()),
    ];
    facts.map(|(k, v)| (k.to_owned(), v)).into()
}

fn hash(text: &str) -> Value {
    blake3::hash(text.as_bytes()).to_hex()[..32].into()
}

impl Template {
    /// The one that the command line or the checkpoint names; none with `--raw`.
    fn choose(
        sources: &TemplateSources,
        tokenizer: &Tokenizer,
        args: &TemplateArgs,
    ) -> Result<Option<Self>> {
        let source = match &args.chat_template {
            Some(path) => Some(std::fs::read_to_string(path).map_err(|e| Error::read(path, e))?),
            None => chat_template_of(sources)?,
        };
        let Some(source) = source.filter(|_| !args.raw) else {
            return Ok(None);
        };
        Ok(Some(Self {
            compiled: ChatTemplate::with_tokenizer(&source, tokenizer)?,
            source,
            system: args.system.clone(),
        }))
    }

    fn render(&self, user: &str) -> fathom_engine::Result<String> {
        let messages = self.with_system(vec![Message::new("user", user)]);
        self.compiled.render(&messages, true)
    }

    fn with_system(&self, mut messages: Vec<Message>) -> Vec<Message> {
        if let Some(text) = &self.system
            && messages.first().is_none_or(|m| m.role != "system")
        {
            messages.insert(0, Message::new("system", text));
        }
        messages
    }
}
