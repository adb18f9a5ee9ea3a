//! The kinds of tasks that exist, and how each makes its questions.

use serde::de::DeserializeOwned;

use super::Suite;
use super::file::{FillerChoice, TaskEntry, told};
use crate::item::{Filler, Magic, Question, Scorer};
use crate::rng::derive;
use crate::tasks::{needle, novel, own, papers, sweep};
use crate::{Error, Result};

/// A kind of task.
#[derive(Debug)]
pub struct Kind {
    /// As in a suite's file.
    pub name: &'static str,
    /// What it asks, in a sentence.
    pub summary: &'static str,
    /// Names of its parameters.
    pub parameters: &'static [&'static str],
    make: fn(&Suite, usize, &TaskEntry) -> Result<Vec<Question>>,
}

/// All kinds.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "needle",
        summary: "statements hidden in a long text; one or several are asked for, among others of their kind (RULER)",
        parameters: &[
            "keys",
            "values",
            "queries",
            "key",
            "value",
            "words",
            "wording",
            "options",
            "max-tokens",
        ],
        make: make_needle,
    },
    Kind {
        name: "sweep",
        summary: "a map of depth and length at the price of one long document for many cells",
        parameters: &[
            "distractors",
            "key",
            "value",
            "words",
            "wording",
            "options",
            "max-tokens",
        ],
        make: make_sweep,
    },
    Kind {
        name: "novel",
        summary: "a generated book whose people change: last states, the order of a life, who knew what, claims in pairs",
        parameters: &["task", "size", "split"],
        make: make_novel,
    },
    Kind {
        name: "papers",
        summary: "several studies to judge against each other: a ranking by a stated criterion, contradictions, replications",
        parameters: &["task", "size", "split"],
        make: make_papers,
    },
    Kind {
        name: "own",
        summary: "your own documents and questions, with the evidence marked",
        parameters: &["documents", "questions"],
        make: make_own,
    },
];

/// Whether a task's kind and parameters are understood.
pub fn check(suite: &Suite, index: usize, task: &TaskEntry) -> Result<()> {
    let known = kind(suite, index, task)?.parameters;
    if let Some(unknown) = task
        .parameters
        .keys()
        .find(|k| !known.contains(&k.as_str()))
    {
        let field = format!("task[{index}].parameters");
        return Err(Error::input(
            &suite.source,
            field,
            format!("unknown field `{unknown}`"),
            known.join(", "),
        ));
    }
    match task.kind.as_str() {
        "needle" => parameters::<needle::Needle>(suite, index, task)?
            .check()
            .map_err(|(field, found, expected)| wrong(suite, index, field, found, expected)),
        "sweep" => parameters::<sweep::Sweep>(suite, index, task)?
            .check()
            .map_err(|(field, found, expected)| wrong(suite, index, field, found, expected)),
        "novel" => parameters::<novel::Params>(suite, index, task).map(drop),
        "papers" => parameters::<papers::Params>(suite, index, task).map(drop),
        _ => parameters::<own::Own>(suite, index, task).map(drop),
    }
}

/// The questions of a task.
pub fn questions(suite: &Suite, index: usize, task: &TaskEntry) -> Result<Vec<Question>> {
    (kind(suite, index, task)?.make)(suite, index, task)
}

fn kind(suite: &Suite, index: usize, task: &TaskEntry) -> Result<&'static Kind> {
    KINDS.iter().find(|k| k.name == task.kind).ok_or_else(|| {
        let names: Vec<&str> = KINDS.iter().map(|k| k.name).collect();
        Error::input(
            &suite.source,
            format!("task[{index}].kind"),
            format!("`{}`", task.kind),
            names.join(", "),
        )
    })
}

fn wrong(suite: &Suite, index: usize, field: &str, found: String, expected: &str) -> Error {
    Error::input(
        &suite.source,
        format!("task[{index}].parameters.{field}"),
        found,
        expected,
    )
}

fn parameters<T: DeserializeOwned>(suite: &Suite, index: usize, task: &TaskEntry) -> Result<T> {
    task.parameters
        .clone()
        .try_into()
        .map_err(|e: toml::de::Error| {
            told(
                e.message(),
                &suite.source,
                &format!("task[{index}].parameters"),
            )
        })
}

fn make_needle(suite: &Suite, index: usize, task: &TaskEntry) -> Result<Vec<Question>> {
    let p: needle::Needle = parameters(suite, index, task)?;
    let filler = filler(suite, task, p.key, p.value);
    Ok(needle::questions(
        suite.name(),
        &task.name,
        &p,
        &filler,
        task.questions,
        suite.file.seed,
    ))
}

fn make_sweep(suite: &Suite, index: usize, task: &TaskEntry) -> Result<Vec<Question>> {
    let p: sweep::Sweep = parameters(suite, index, task)?;
    let filler = filler(suite, task, p.key, p.value);
    let grid = sweep::Grid {
        lengths: suite.lengths(),
        depths: suite.file.depths.clone(),
    };
    Ok(sweep::questions(
        suite.name(),
        &task.name,
        &p,
        &grid,
        &filler,
        task.questions,
        suite.file.seed,
    ))
}

fn make_novel(suite: &Suite, index: usize, task: &TaskEntry) -> Result<Vec<Question>> {
    let p: novel::Params = parameters(suite, index, task)?;
    let name = format!("novel/{}", p.task.name());
    Ok(adopt(
        novel::questions(p, suite.file.seed, task.questions),
        &name,
        suite,
        task,
    ))
}

fn make_papers(suite: &Suite, index: usize, task: &TaskEntry) -> Result<Vec<Question>> {
    let p: papers::Params = parameters(suite, index, task)?;
    let name = format!("papers/{}", p.task.name());
    Ok(adopt(
        papers::questions(p, suite.file.seed, task.questions),
        &name,
        suite,
        task,
    ))
}

/// Questions of a kind that names itself, under the names of this suite and task, with its filler.
fn adopt(questions: Vec<Question>, name: &str, suite: &Suite, task: &TaskEntry) -> Vec<Question> {
    let renamed = |id: &str| match id.strip_prefix(name) {
        Some(rest) => format!("{}/{}{rest}", suite.name(), task.name),
        None => id.to_owned(),
    };
    let own = |mut question: Question| {
        question.id = renamed(&question.id);
        question.cluster = renamed(&question.cluster);
        question.suite = suite.name().to_owned();
        question.task = task.name.clone();
        if let Scorer::Claim { pair, .. } = &mut question.scorer {
            *pair = renamed(pair);
        }
        if task.filler.is_some() {
            let seed = derive(suite.file.seed, &question.cluster, 0, "filler");
            question.filler =
                needle::seeded(&filler(suite, task, Magic::Word, Magic::Number), seed);
        }
        question
    };
    questions.into_iter().map(own).collect()
}

fn make_own(suite: &Suite, index: usize, task: &TaskEntry) -> Result<Vec<Question>> {
    let p: own::Own = parameters(suite, index, task)?;
    let filler = filler(suite, task, Magic::Word, Magic::Number);
    let at = own::Source {
        file: &suite.source,
        field: format!("task[{index}].parameters"),
        folder: &suite.folder,
    };
    own::questions(suite.name(), &task.name, &p, &filler, &at, suite.file.seed)
}

/// The filler of a task; its seed is set for each question.
fn filler(suite: &Suite, task: &TaskEntry, key: Magic, value: Magic) -> Filler {
    match task.filler.as_ref().unwrap_or(&FillerChoice::Prose) {
        FillerChoice::Prose => Filler::Prose { seed: 0 },
        FillerChoice::Noise => Filler::Noise,
        FillerChoice::None => Filler::None,
        FillerChoice::Needles => Filler::Needles {
            seed: 0,
            template: needle::statement(value, "{key}", "{value}"),
            key,
            value,
        },
        FillerChoice::Text(path) => Filler::Text {
            path: suite.folder.join(path).display().to_string(),
            seed: 0,
        },
    }
}
