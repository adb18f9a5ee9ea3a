//! From a folder's items and answers to its `scores.csv`.

use std::collections::HashMap;
use std::path::Path;

use crate::Result;
use crate::record::{Answer, ScoreRow};
use crate::run::folder::{RunFolder, SCORES};
use crate::run::journal::replace_file;
use crate::score;

/// What a scoring counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Items of the run.
    pub items: usize,
    /// Items with an answer, each of which has a row.
    pub answered: usize,
}

/// Judges every answer of a folder and writes its scores, in the order of the items.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write(dir: &Path) -> Result<Counted> {
    let folder = RunFolder::open(dir)?;
    let answers: HashMap<String, Answer> = folder
        .answers()?
        .into_iter()
        .map(|a| (a.item.clone(), a))
        .collect();
    let mut rows: Vec<ScoreRow> = Vec::new();
    let mut counted = Counted::default();
    for record in folder.items()? {
        let record = record?;
        counted.items += 1;
        if let Some(answer) = answers.get(&record.item.id) {
            counted.answered += 1;
            rows.push(score::row(&record, answer));
        }
    }
    replace_file(&dir.join(SCORES), |out| {
        let mut csv = csv::Writer::from_writer(out);
        for row in &rows {
            csv.serialize(row)?;
        }
        csv.flush()
    })?;
    Ok(counted)
}
