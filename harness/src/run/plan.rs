//! From questions to the items of a run, in the order in which they are executed: short to long.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::item::{Context, Filler, Item, Prompt, Question};
use crate::layout::{Laid, Layout};
use crate::record::{ItemRecord, PromptOption};
use crate::suite::Suite;
use crate::{Error, Result};

/// A question, and the options that are compared by log-likelihood; none where text is generated.
#[derive(Clone, Debug)]
struct Asked {
    question: Question,
    options: Vec<String>,
}

/// The items of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    questions: Vec<Asked>,
    /// Index of the question, and the item.
    items: Vec<(usize, Item)>,
    /// Longest context that the model declares; 0: none.
    declared: usize,
}

impl Plan {
    /// The items of suites, in order. `declared` is the longest context that the model declares; 0: none.
    ///
    /// # Errors
    /// When a suite's questions cannot be made, or two items have one id.
    pub fn new(suites: &[Suite], declared: usize) -> Result<Self> {
        let mut questions = Vec::new();
        let mut items = Vec::new();
        let mut ids = HashSet::new();
        for suite in suites {
            let asked = suite.questions()?;
            let first = questions.len();
            let index: HashMap<&str, usize> = asked
                .iter()
                .enumerate()
                .map(|(i, q)| (&q.id[..], first + i))
                .collect();
            for item in suite.items(&asked) {
                let question = index.get(&item.question[..]).copied().ok_or_else(|| {
                    Error::input(
                        &suite.source,
                        "item",
                        &item.question,
                        "a question of the suite",
                    )
                })?;
                if !ids.insert(item.id.clone()) {
                    let expected = "every item once; does a suite stand twice?";
                    return Err(Error::input(&suite.source, "item", &item.id, expected));
                }
                items.push((question, item));
            }
            questions.extend(asked.into_iter().map(|question| {
                let options = suite.options(&question);
                Asked { question, options }
            }));
        }
        sort(&questions, &mut items);
        Ok(Self {
            questions,
            items,
            declared,
        })
    }

    /// Hash of all questions, and of the text files that fill their documents.
    ///
    /// # Errors
    /// When a text file cannot be read.
    pub fn hash(&self) -> Result<String> {
        let mut hasher = blake3::Hasher::new();
        let mut texts = BTreeSet::new();
        for asked in &self.questions {
            let line = serde_json::to_vec(&(&asked.question, &asked.options));
            hasher.update(&line.map_err(|e| Error::Unfinished(e.to_string()))?);
            if let Filler::Text { path, .. } = &asked.question.filler {
                texts.insert(path);
            }
        }
        for path in texts {
            hasher.update(&std::fs::read(path).map_err(|e| Error::read(path.as_ref(), e))?);
        }
        Ok(hasher.finalize().to_hex()[..32].to_owned())
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Lengths of documents, ascending.
    pub fn lengths(&self) -> Vec<usize> {
        let lengths = self.items.iter().filter_map(|(_, i)| match i.context {
            Context::Length(n) => Some(n),
            Context::None | Context::Short => None,
        });
        lengths
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Lays every item out, in order. `unfit` says why a length cannot be evaluated, if it cannot; such items are not
    /// laid out.
    ///
    /// # Errors
    /// When the tokenizer or `write` fails.
    pub fn lay_out(
        &self,
        layout: &mut Layout<'_>,
        unfit: &dyn Fn(usize) -> Option<String>,
        write: &mut dyn FnMut(&ItemRecord) -> Result<()>,
    ) -> Result<()> {
        self.items.iter().try_for_each(|(q, item)| {
            let asked = &self.questions[*q];
            if let Context::Length(n) = item.context
                && let Some(skip) = unfit(n + asked.question.max_tokens)
            {
                return write(&ItemRecord {
                    skip,
                    ..empty(&asked.question, item)
                });
            }
            write(&self.record(layout, asked, item)?)
        })
    }

    /// The records that an estimate needs, with the tokens of their prompts: documents are as long as asked for, only
    /// the controls are laid out.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn outline(
        &self,
        layout: &mut Layout<'_>,
        tell: &mut dyn FnMut(&ItemRecord, usize),
    ) -> Result<()> {
        for (q, item) in &self.items {
            let asked = &self.questions[*q];
            if let Context::Length(n) = item.context {
                let mut record = empty(&asked.question, item);
                record.options = asked
                    .options
                    .iter()
                    .map(|option| PromptOption {
                        text: option.clone(),
                        ids: Vec::new(),
                    })
                    .collect();
                tell(&record, n);
            } else {
                let record = self.record(layout, asked, item)?;
                tell(&record, record.prompt.tokens());
            }
        }
        Ok(())
    }

    fn record(&self, layout: &mut Layout<'_>, asked: &Asked, item: &Item) -> Result<ItemRecord> {
        let mut record = empty(&asked.question, item);
        match layout.lay(&asked.question, item)? {
            Laid::Skip(reason) => record.skip = reason,
            Laid::Fits { prompt, marks } => {
                record.marks = marks;
                if self.declared > 0 && prompt.tokens() > self.declared {
                    record.marks.push("beyond-declared-context".to_owned());
                }
                record.options = layout.options(&prompt, &asked.options)?;
                record.prompt = prompt;
            }
        }
        Ok(record)
    }
}

/// An item before it is laid out.
fn empty(question: &Question, item: &Item) -> ItemRecord {
    ItemRecord {
        item: item.clone(),
        group: group(question, item).unwrap_or_default().to_owned(),
        question: Question {
            pieces: Vec::new(),
            ..question.clone()
        },
        prompt: Prompt {
            ids: Vec::new(),
            text: String::new(),
            evidence: Vec::new(),
            about: None,
        },
        options: Vec::new(),
        marks: Vec::new(),
        skip: String::new(),
    }
}

/// Short to long; a document that questions share stands where its longest beginning does.
fn sort(questions: &[Asked], items: &mut [(usize, Item)]) {
    let mut longest: HashMap<String, Context> = HashMap::new();
    for (q, item) in items.iter() {
        if let Some(group) = group(&questions[*q].question, item) {
            let context = longest.entry(group.to_owned()).or_insert(item.context);
            *context = (*context).max(item.context);
        }
    }
    items.sort_by_cached_key(|(q, item)| {
        let group = group(&questions[*q].question, item)
            .unwrap_or_default()
            .to_owned();
        let until = longest.get(&group).copied().unwrap_or(item.context);
        (
            until,
            group,
            *q,
            item.context,
            item.depth.map(|d| (d * 1e6) as u64),
            item.repeat,
        )
    });
}

/// The document that an item shares with others.
fn group<'a>(question: &'a Question, item: &Item) -> Option<&'a str> {
    let long = matches!(item.context, Context::Length(_));
    Some(question.group()).filter(|group| long && !group.is_empty())
}
