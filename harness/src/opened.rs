//! A model together with what stands beside it in its checkpoint: tokenizer, chat template, stop tokens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use fathom_engine::Model;
use fathom_engine::chat::{
    ChatTemplate, Message, StopSources, TemplateSources, chat_template_of, stop_tokens,
};
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
        let source = match &args.chat_template {
            Some(path) => Some(std::fs::read_to_string(path).map_err(|e| Error::read(path, e))?),
            None => chat_template_of(&TemplateSources::of(&model.checkpoint))?,
        };
        let template = match source {
            Some(source) if !args.raw => {
                let compiled = ChatTemplate::with_tokenizer(&source, &tokenizer)?;
                Some(Template {
                    compiled,
                    source,
                    system: args.system.clone(),
                })
            }
            _ => None,
        };
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
        match &self.template {
            None => {
                let bos = self.tokenizer.bos().filter(|_| self.tokenizer.add_bos());
                Ok(Frame::raw(
                    bos.and_then(|id| self.tokenizer.token(id))
                        .unwrap_or_default(),
                ))
            }
            Some(template) => Frame::chat(|user| Ok(template.render(user)?)),
        }
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
        let hash =
            |text: &str| Value::from(blake3::hash(text.as_bytes()).to_hex()[..32].to_owned());
        let template = self.template.as_ref();
        let facts: [(&str, Value); 5] = [
            ("weights", self.model.checkpoint.hash().into()),
            ("spec", hash(&format!("{:?}", self.model.spec))),
            ("tokenizer", self.tokenizer.hash().into()),
            (
                "template",
                template.map_or_else(|| "raw".into(), |t| hash(&t.source)),
            ),
            ("system", template.and_then(|t| t.system.clone()).into()),
        ];
        facts.map(|(k, v)| (k.to_owned(), v)).into()
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
        ModelCard {
            name: fault.map_or_else(|| name.clone(), |fault| format!("{name}-{fault}")),
            context_length: spec.context_length,
            numeric_version: NUMERIC_VERSION,
            identity: self.identity(),
            facts,
        }
    }
}

impl Template {
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
