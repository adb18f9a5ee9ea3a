//! A run's folder as `report`, `score`, `show` and a continued run read it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::record::{Answer, FORMAT, ItemRecord, Manifest, ScoreRow, SpeedRow};
use crate::{Error, Result};

/// File of the manifest.
pub const MANIFEST: &str = "manifest.json";
/// File of the items.
pub const ITEMS: &str = "items.jsonl";
/// File of the answers.
pub const ANSWERS: &str = "answers.jsonl";
/// File of the scores.
pub const SCORES: &str = "scores.csv";
/// File of the speed measurements.
pub const SPEED: &str = "speed.csv";
/// File that a writing process holds locked.
pub const LOCK: &str = ".lock";

/// A run's folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    dir: PathBuf,
    manifest: Manifest,
}

impl RunFolder {
    /// Opens the folder of a run, finished or not.
    ///
    /// # Errors
    /// When there is no manifest, or it is of another format.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST);
        let text = std::fs::read_to_string(&path).map_err(|e| Error::read(&path, e))?;
        let value: serde_json::Value = serde_json::from_str(&text)
            .map_err(|e| Error::input(path.display(), "JSON", e, "a manifest"))?;
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        if format != Some(u64::from(FORMAT)) {
            let found = format.map_or("none".to_owned(), |f| f.to_string());
            return Err(Error::input(path.display(), "format", found, FORMAT));
        }
        let manifest = serde_json::from_value(value)
            .map_err(|e| Error::input(path.display(), "manifest", e, "the fields of format 1"))?;
        Ok(Self {
            dir: dir.to_path_buf(),
            manifest,
        })
    }

    /// The folder's path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder's name, for people.
    pub fn name(&self) -> String {
        let whole = std::path::absolute(&self.dir).unwrap_or_else(|_| self.dir.clone());
        whole
            .file_name()
            .unwrap_or(whole.as_os_str())
            .to_string_lossy()
            .into_owned()
    }

    /// What was run.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether every item has its answer and its score.
    pub fn finished(&self) -> bool {
        !self.manifest.finished.is_empty()
    }

    /// The items in their order, read line by line: a long run's prompts need not fit in memory.
    ///
    /// # Errors
    /// When the file cannot be opened; each line has its own result.
    pub fn items(&self) -> Result<Lines<ItemRecord>> {
        Lines::open(&self.dir.join(ITEMS))
    }

    /// The answers so far, in the order they came. A last line that a kill has torn is left out.
    ///
    /// # Errors
    /// When a whole line cannot be read. No file means no answers.
    pub fn answers(&self) -> Result<Vec<Answer>> {
        let path = self.dir.join(ANSWERS);
        if !path.exists() {
            return Ok(Vec::new());
        }
        Lines::open(&path)?.collect()
    }

    /// The scores; none before the first scoring.
    ///
    /// # Errors
    /// When a row cannot be read.
    pub fn scores(&self) -> Result<Vec<ScoreRow>> {
        read_csv(&self.dir.join(SCORES))
    }

    /// The speed by length; none before the first measurement.
    ///
    /// # Errors
    /// When a row cannot be read.
    pub fn speed(&self) -> Result<Vec<SpeedRow>> {
        read_csv(&self.dir.join(SPEED))
    }
}

/// Whole lines of a JSON-lines file; what stands behind the last line end is not a line.
#[derive(Debug)]
pub struct Lines<T> {
    path: PathBuf,
    reader: BufReader<File>,
    line: usize,
    kind: std::marker::PhantomData<T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::read(path, e))?;
        let reader = BufReader::with_capacity(1 << 18, file);
        Ok(Self {
            path: path.to_path_buf(),
            reader,
            line: 0,
            kind: std::marker::PhantomData,
        })
    }
}

impl<T: DeserializeOwned> Iterator for Lines<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut text = Vec::new();
        match self.reader.read_until(b'\n', &mut text) {
            Err(e) => return Some(Err(Error::read(&self.path, e))),
            Ok(_) if text.last() != Some(&b'\n') => return None,
            Ok(_) => self.line += 1,
        }
        Some(serde_json::from_slice(&text).map_err(|e| {
            Error::input(
                self.path.display(),
                format!("line {}", self.line),
                e,
                "a record",
            )
        }))
    }
}

fn read_csv<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let file = File::open(path).map_err(|e| Error::read(path, e))?;
    csv::Reader::from_reader(file)
        .deserialize()
        .enumerate()
        .map(|(i, row)| {
            row.map_err(|e| {
                Error::input(
                    path.display(),
                    format!("row {}", i + 1),
                    e,
                    "the columns of format 1",
                )
            })
        })
        .collect()
}
