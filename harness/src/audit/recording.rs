//! What a service said of every probe, kept: to be weighed again, or to find out how often an audit is right.
//!
//! JSON lines: who spoke, then an observation a line. Other programs write them as well (`tests/audit/`).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::audit::observe::Observation;
use crate::audit::table::Table;
use crate::{Error, Result};

/// Who spoke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speaker {
    /// The program, or the host.
    pub engine: String,
    /// What was done, where that is known: `sound`, a fault's name, `other`.
    pub truth: Option<String>,
}

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    probe: String,
    #[serde(flatten)]
    observation: Observation,
}

/// Observations by the probe's place in a table.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Who spoke.
    pub speaker: Speaker,
    /// What was said.
    pub observations: Vec<(usize, Observation)>,
}

impl Recording {
    /// Reads a file, for the probes of a table.
    ///
    /// # Errors
    /// What is wrong with it, or names a probe that the table does not have.
    pub fn read(path: &Path, table: &Table) -> Result<Self> {
        let file = path.display().to_string();
        let wrong = |n: usize, found: String, expected: &str| {
            Err(Error::input(&file, format!("line {n}"), found, expected))
        };
        let open = std::fs::File::open(path).map_err(|e| Error::read(path, e))?;
        let mut lines = BufReader::new(open).lines();
        let first = lines.next().transpose().map_err(|e| Error::read(path, e))?;
        let speaker = match serde_json::from_str(&first.unwrap_or_default()) {
            Ok(speaker) => speaker,
            Err(e) => return wrong(1, e.to_string(), "engine and truth"),
        };
        let mut observations = Vec::new();
        for (i, line) in lines.enumerate() {
            let line = line.map_err(|e| Error::read(path, e))?;
            let line: Line = match serde_json::from_str(&line) {
                Ok(line) => line,
                Err(e) => return wrong(i + 2, e.to_string(), "an observation"),
            };
            match table.probes.iter().position(|p| p.name == line.probe) {
                Some(probe) => observations.push((probe, line.observation)),
                None => return wrong(i + 2, line.probe, "a probe of the pack"),
            }
        }
        Ok(Self {
            speaker,
            observations,
        })
    }

    /// Writes a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path, table: &Table) -> Result<()> {
        let lines = self.observations.iter().map(|(probe, observation)| {
            serde_json::to_string(&Line {
                probe: table.probes[*probe].name.clone(),
                observation: observation.clone(),
            })
        });
        let all = std::iter::once(serde_json::to_string(&self.speaker)).chain(lines);
        let mut text = Vec::new();
        for line in all {
            let line = line.map_err(|e| Error::Unfinished(format!("{}: {e}", path.display())))?;
            writeln!(text, "{line}").map_err(|e| Error::write(path, e))?;
        }
        std::fs::write(path, text).map_err(|e| Error::write(path, e))
    }
}
