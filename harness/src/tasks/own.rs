//! **own**: questions of one's own about documents of one's own.
//!
//! The evidence is marked: between `<<` and `>>` in the document, or quoted in the question's `evidence`. It is never cut:
//! the rest of the document is the filler around it. Where the document is longer than the length asked for, each stretch
//! before, between and after the evidence keeps the same share of its tokens, those next to the evidence; where it is
//! shorter, the task's filler follows it. The short control is the marked evidence.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::item::{Filler, Piece, Place, Question, Role, Scorer};
use crate::rng::derive;
use crate::tasks::needle::seeded;
use crate::tasks::reading::{CHOOSING, with_options};
use crate::{Error, Result};

/// Parameters of the task.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Own {
    /// The documents.
    pub documents: Vec<Document>,
    /// The questions.
    pub questions: Vec<Asked>,
}

/// A document.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Document {
    /// Name, for questions that are about some documents only.
    pub name: String,
    /// A text file, relative to the suite's folder.
    #[serde(default)]
    pub path: Option<String>,
    /// The text itself.
    #[serde(default)]
    pub text: Option<String>,
}

/// A question.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Asked {
    /// Names of the documents, in order; all where absent.
    #[serde(default)]
    pub documents: Vec<String>,
    /// Stands before the documents.
    #[serde(default)]
    pub instruction: String,
    /// The question.
    pub ask: String,
    /// Passages of the documents that the answer needs, word for word.
    #[serde(default)]
    pub evidence: Vec<String>,
    /// Options to choose from, shown with letters.
    #[serde(default)]
    pub options: Vec<String>,
    /// Accepted answers; with options, the right one.
    pub answers: Vec<String>,
    /// How an answer without options is judged.
    #[serde(default)]
    pub scorer: Judge,
    /// The beginning of the answer; where there are options, `The correct answer is` unless set.
    #[serde(default)]
    pub answer_prefix: String,
    /// Tokens an answer may have.
    #[serde(default = "max_tokens")]
    pub max_tokens: usize,
}

fn max_tokens() -> usize {
    128
}

/// How an answer without options is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judge {
    /// Any accepted answer occurs in it.
    #[default]
    ContainsAny,
    /// The share of the accepted answers that occur in it.
    ContainsAll,
    /// It is an accepted answer.
    Exact,
}

/// Where the parameters stand.
pub struct Source<'a> {
    /// The suite's file.
    pub file: &'a str,
    /// The field of the parameters.
    pub field: String,
    /// Folder that paths start from.
    pub folder: &'a Path,
}

/// All questions.
///
/// # Errors
/// When a document cannot be read, or evidence or an answer is not where it should be.
pub fn questions(
    suite: &str,
    task: &str,
    parameters: &Own,
    filler: &Filler,
    at: &Source,
    seed: u64,
) -> Result<Vec<Question>> {
    let texts = parameters
        .documents
        .iter()
        .map(|d| read(d, at))
        .collect::<Result<Vec<String>>>()?;
    let make = |(index, asked)| {
        question(
            suite, task, parameters, &texts, index, asked, filler, at, seed,
        )
    };
    parameters.questions.iter().enumerate().map(make).collect()
}

fn read(document: &Document, at: &Source) -> Result<String> {
    let text = match (&document.path, &document.text) {
        (Some(path), None) => {
            let path = at.folder.join(path);
            std::fs::read_to_string(&path).map_err(|e| Error::read(&path, e))?
        }
        (None, Some(text)) => text.clone(),
        _ => {
            let field = format!("{}.documents.{}", at.field, document.name);
            return Err(Error::input(
                at.file,
                field,
                "both or neither",
                "either `path` or `text`",
            ));
        }
    };
    Ok(text.trim().to_owned())
}

#[expect(clippy::too_many_arguments, reason = "the parts of a question, named")]
fn question(
    suite: &str,
    task: &str,
    parameters: &Own,
    texts: &[String],
    index: usize,
    asked: &Asked,
    filler: &Filler,
    at: &Source,
    seed: u64,
) -> Result<Question> {
    let field = |name: &str| format!("{}.questions[{index}].{name}", at.field);
    let mut text = String::new();
    for (document, document_text) in parameters.documents.iter().zip(texts) {
        if asked.documents.is_empty() || asked.documents.contains(&document.name) {
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(document_text);
        }
    }
    for name in &asked.documents {
        if !parameters.documents.iter().any(|d| d.name == *name) {
            return Err(Error::input(
                at.file,
                field("documents"),
                format!("`{name}`"),
                "the name of a document",
            ));
        }
    }
    let (text, mut spans) = unmark(&text);
    for passage in &asked.evidence {
        let mut places = text.match_indices(passage.as_str());
        match (places.next(), places.next()) {
            (Some((start, _)), None) if !passage.trim().is_empty() => {
                spans.push(start..start + passage.len())
            }
            (found, _) => {
                let found = if found.is_some() {
                    "a passage that occurs more than once"
                } else {
                    "a passage that does not occur"
                };
                return Err(Error::input(
                    at.file,
                    field("evidence"),
                    format!(
                        "{found}: `{}`",
                        passage.chars().take(60).collect::<String>()
                    ),
                    "a passage of the documents, word for word",
                ));
            }
        }
    }
    if spans.is_empty() {
        return Err(Error::input(
            at.file,
            field("evidence"),
            "none",
            "a quoted passage, or <<..>> in a document",
        ));
    }
    let spans = merged(spans);
    let mut parts = Vec::new();
    let mut end = 0;
    let mut pieces = Vec::new();
    for span in &spans {
        parts.push(text[end..span.start].to_owned());
        pieces.push(Piece {
            text: text[span.clone()].trim().to_owned(),
            role: Role::Evidence,
            place: Place::Share(span.start as f64 / text.len() as f64),
        });
        end = span.end;
    }
    parts.push(text[end..].to_owned());

    let (ask, scorer) = scorer(asked, || at.file.to_owned(), &field)?;
    let name = format!("{suite}/{task}");
    let id = format!("{name}/{index:04}");
    let then = Box::new(seeded(filler, derive(seed, &name, index as u64, "filler")));
    Ok(Question {
        cluster: id.clone(),
        id,
        suite: suite.to_owned(),
        task: task.to_owned(),
        instruction: asked.instruction.clone(),
        pieces,
        filler: Filler::Document { parts, then },
        ask,
        answer_prefix: match asked.answer_prefix.as_str() {
            "" if !asked.options.is_empty() => CHOOSING.to_owned(),
            prefix => prefix.to_owned(),
        },
        scorer,
        max_tokens: asked.max_tokens,
        shared: None,
    })
}

fn scorer(
    asked: &Asked,
    file: impl Fn() -> String,
    field: &dyn Fn(&str) -> String,
) -> Result<(String, Scorer)> {
    if asked.answers.is_empty() || asked.answers.iter().any(|a| a.trim().is_empty()) {
        return Err(Error::input(
            file(),
            field("answers"),
            "nothing",
            "at least one answer",
        ));
    }
    let references = asked.answers.clone();
    if asked.options.is_empty() {
        let scorer = match asked.scorer {
            Judge::ContainsAny => Scorer::ContainsAny { references },
            Judge::ContainsAll => Scorer::ContainsAll {
                references,
                distractors: Vec::new(),
            },
            Judge::Exact => Scorer::Exact { references },
        };
        return Ok((asked.ask.clone(), scorer));
    }
    let correct = asked
        .options
        .iter()
        .position(|o| asked.answers == [o.clone()]);
    let Some(correct) = correct.filter(|_| (2..=26).contains(&asked.options.len())) else {
        return Err(Error::input(
            file(),
            field("answers"),
            format!("{:?} of {} options", asked.answers, asked.options.len()),
            "exactly one of 2 to 26 options",
        ));
    };
    let ask = with_options(&asked.ask, &asked.options);
    Ok((
        ask,
        Scorer::Choice {
            options: asked.options.clone(),
            correct,
        },
    ))
}

/// The text without `<<` and `>>`, and the ranges that stood between them.
fn unmark(text: &str) -> (String, Vec<std::ops::Range<usize>>) {
    let mut out = String::with_capacity(text.len());
    let mut spans = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<<") {
        let Some((inside, after)) = after.split_once(">>") else {
            break;
        };
        out.push_str(before);
        spans.push(out.len()..out.len() + inside.len());
        out.push_str(inside);
        rest = after;
    }
    out.push_str(rest);
    (out, spans)
}

fn merged(mut spans: Vec<std::ops::Range<usize>>) -> Vec<std::ops::Range<usize>> {
    spans.sort_by_key(|s| s.start);
    let mut out: Vec<std::ops::Range<usize>> = Vec::new();
    for span in spans {
        match out.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => out.push(span),
        }
    }
    out
}
