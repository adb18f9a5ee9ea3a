//! A suite: a TOML file that says what is asked, at which lengths and depths, and how answers are scored.
//!
//! | file | holds |
//! |---|---|
//! | `file.rs` | the file's fields, read strictly |
//! | `table.rs` | the tasks that exist |
//!
//! ```
//! # fn main() -> fathom_harness::Result<()> {
//! use fathom_harness::suite::Suite;
//! let suite = Suite::load("needle")?;
//! let questions = suite.questions()?;
//! let items = suite.items(&questions);
//! assert!(items.len() > questions.len());
//! # Ok(())
//! # }
//! ```

mod file;
mod table;

use std::path::{Path, PathBuf};

use crate::item::{Context, Item, Place, Question, Role};
use crate::score;
use crate::{Error, Result};

pub use file::{DepthMode, FillerChoice, Length, Method, SuiteFile, TaskEntry};
pub use table::{KINDS, Kind};

/// Suites that are part of the program: name and file.
const BUILT_IN: &[(&str, &str)] = &[
    (
        "default",
        include_str!("../../../datasets/suites/default.toml"),
    ),
    (
        "needle",
        include_str!("../../../datasets/suites/needle.toml"),
    ),
    ("novel", include_str!("../../../datasets/suites/novel.toml")),
    (
        "papers",
        include_str!("../../../datasets/suites/papers.toml"),
    ),
    ("sweep", include_str!("../../../datasets/suites/sweep.toml")),
];

/// A suite, read and checked.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Its fields. Lengths and the like may be changed before questions are made.
    pub file: SuiteFile,
    /// Where it came from, for messages and the manifest.
    pub source: String,
    /// BLAKE3 hash of the file.
    pub hash: String,
    /// Folder that paths in it start from.
    folder: PathBuf,
}

/// Names and descriptions of the built-in suites.
pub fn list() -> Vec<(String, String)> {
    BUILT_IN
        .iter()
        .map(|(name, text)| {
            let description = Suite::parse(text, name, Path::new(""))
                .map_or_else(|e| e.to_string(), |s| s.file.description);
            ((*name).to_owned(), description)
        })
        .collect()
}

impl Suite {
    /// A built-in suite by name, or the suite in a file.
    ///
    /// # Errors
    /// When there is no such suite or file, or the file has something that is not understood.
    pub fn load(name_or_path: &str) -> Result<Self> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(text, &format!("suite {name}"), Path::new(""));
        }
        let path = Path::new(name_or_path);
        if !path.exists() && !name_or_path.contains(['/', '.', '\\']) {
            let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            return Err(Error::input(
                "--suite",
                "name",
                name_or_path,
                format!("{}, or a file", names.join(", ")),
            ));
        }
        let text = std::fs::read_to_string(path).map_err(|e| Error::read(path, e))?;
        Self::parse(&text, name_or_path, path.parent().unwrap_or(Path::new("")))
    }

    /// A suite from its text. `source` names it in messages; paths in it start from `folder`.
    ///
    /// # Errors
    /// As [`Suite::load`].
    pub fn parse(text: &str, source: &str, folder: &Path) -> Result<Self> {
        let file = SuiteFile::parse(text, source)?;
        let suite = Self {
            file,
            source: source.to_owned(),
            hash: blake3::hash(text.as_bytes()).to_hex().to_string(),
            folder: folder.to_path_buf(),
        };
        for (index, task) in suite.file.task.iter().enumerate() {
            table::check(&suite, index, task)?;
        }
        Ok(suite)
    }

    /// The suite's name.
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// Lengths in tokens, ascending.
    pub fn lengths(&self) -> Vec<usize> {
        self.file.lengths.iter().map(|l| l.0).collect()
    }

    /// All questions, task by task. A question is the same whatever else the suite holds.
    ///
    /// # Errors
    /// When a task's parameters are not understood or its files cannot be read.
    pub fn questions(&self) -> Result<Vec<Question>> {
        let mut all = Vec::new();
        for (index, task) in self.file.task.iter().enumerate() {
            all.extend(table::questions(self, index, task)?);
        }
        Ok(all)
    }

    /// Every question at every length and depth, with its short control and without context; short to long. Items that are
    /// beginnings of one document follow each other, at the end.
    ///
    /// A question that belongs to one length and depth (sweep) stands there only.
    pub fn items(&self, questions: &[Question]) -> Vec<Item> {
        let mut contexts = Vec::new();
        if self.file.none {
            contexts.push(Context::None);
        }
        if self.file.short {
            contexts.push(Context::Short);
        }
        contexts.extend(self.file.lengths.iter().map(|l| Context::Length(l.0)));
        let mut items = Vec::new();
        let mut shared: Vec<(&str, Item)> = Vec::new();
        for context in contexts {
            for (index, question) in questions.iter().enumerate() {
                for depth in self.depths(question, context, index) {
                    for repeat in 0..self.file.repeats {
                        let item = item(question, context, depth, repeat);
                        match context {
                            Context::Length(_) if question.shared.is_some() => {
                                shared.push((&question.cluster, item))
                            }
                            _ => items.push(item),
                        }
                    }
                }
            }
        }
        // Stable: a document's items stay short to long.
        shared.sort_by_key(|(cluster, _)| *cluster);
        items.extend(shared.into_iter().map(|(_, item)| item));
        items
    }

    /// Options of a question that are scored by log-likelihood, if its task is scored so and has any.
    pub fn options(&self, question: &Question) -> Vec<String> {
        let method = self
            .file
            .task
            .iter()
            .find(|t| t.name == question.task)
            .and_then(|t| t.method)
            .unwrap_or(self.file.method);
        match method {
            Method::Generate => Vec::new(),
            Method::Likelihood => {
                score::options(&question.scorer, &question.id).map_or_else(Vec::new, |(all, _)| all)
            }
        }
    }

    /// The depths at which a question stands in a context.
    fn depths(&self, question: &Question, context: Context, index: usize) -> Vec<Option<f64>> {
        let Context::Length(length) = context else {
            return vec![None];
        };
        let asked = question.pieces.iter().filter(|p| p.role == Role::Evidence);
        let mut has_depth = false;
        for piece in asked {
            match piece.place {
                Place::Cell { length: own, depth } => {
                    return if own == length {
                        vec![Some(depth)]
                    } else {
                        Vec::new()
                    };
                }
                Place::Depth => has_depth = true,
                Place::Share(_) => {}
            }
        }
        if !has_depth || self.file.depths.is_empty() {
            return vec![None];
        }
        match self.file.depth_mode {
            DepthMode::Each => self.file.depths.iter().map(|&d| Some(d)).collect(),
            DepthMode::Spread => vec![Some(self.file.depths[index % self.file.depths.len()])],
        }
    }
}

fn item(question: &Question, context: Context, depth: Option<f64>, repeat: usize) -> Item {
    let mut id = question.id.clone();
    match context {
        Context::None => id.push_str("@none"),
        Context::Short => id.push_str("@short"),
        Context::Length(n) => id.push_str(&format!("@{n}")),
    }
    if let Some(depth) = depth {
        id.push_str(&format!("/d{depth}"));
    }
    if repeat > 0 {
        id.push_str(&format!("#{}", repeat + 1));
    }
    Item {
        id,
        question: question.id.clone(),
        context,
        depth,
        repeat,
    }
}

#[cfg(test)]
mod tests;
