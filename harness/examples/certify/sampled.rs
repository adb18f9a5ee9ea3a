//! Endpoints that tell text alone, whose answers are sampled: weighed with the built-in model, as an audit does.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fathom_engine::Model;
use fathom_harness::audit::observe::Observation;
use fathom_harness::audit::prepare::{self, Prepared, Wanted};
use fathom_harness::audit::recording::{Recording, Speaker};
use fathom_harness::audit::request::Evidence;
use fathom_harness::audit::sampled::Sampled;
use fathom_harness::audit::table::{Making, Shape};
use fathom_harness::builtin;
use fathom_harness::opened::{Opened, TemplateArgs};
use fathom_harness::stop::Stop;
use serde::{Deserialize, Serialize};

/// Long probes; a few short ones come with them.
const PROBES: usize = 18;

/// The built-in model with its probes.
pub struct Texts {
    opened: Opened,
    stop: Stop,
    /// The probes and what is expected of them.
    pub prepared: Prepared,
}

/// A probe as other programs read it.
#[derive(Serialize)]
struct Asked<'a> {
    name: &'a str,
    ids: &'a [u32],
    ends: &'a [u32],
}

/// A line of a recording.
#[derive(Deserialize)]
struct Line {
    probe: String,
    texts: Vec<String>,
    seconds: f64,
}

impl Texts {
    /// Probes of a seed, with another checkpoint that may be in the model's place; `file` gets them where it is not there.
    pub fn new(seed: u64, suspect: Option<&PathBuf>, file: &Path) -> Result<Self> {
        let opened = Opened::new(builtin::open()?, &TemplateArgs::default())?;
        let stop = Stop::default();
        let suspects = suspect.map(|path| {
            let name = path.file_name().unwrap_or(path.as_os_str());
            anyhow::Ok((
                name.to_string_lossy().into_owned(),
                Model::open(path, false)?,
            ))
        });
        let wanted = Wanted {
            shape: Shape::Raw,
            scored: false,
            sampled: true,
            probes: PROBES,
            length: None,
            most: opened.model.spec.context_length,
            seed,
        };
        let suspects = suspects.transpose()?.into_iter().collect();
        let prepared = prepare::table(
            &opened,
            suspects,
            wanted,
            &Making::new(&opened.model, 0, &stop),
        )?;
        let mut lines = Vec::new();
        for probe in &prepared.table.probes {
            let asked = Asked {
                name: &probe.name,
                ids: &probe.ids,
                ends: &opened.stop,
            };
            writeln!(lines, "{}", serde_json::to_string(&asked)?)?;
        }
        if !file.exists() {
            std::fs::write(file, &lines)?;
        } else if std::fs::read(file)? != lines {
            bail!("{}: other probes than those of seed {seed}", file.display());
        }
        Ok(Self {
            opened,
            stop,
            prepared,
        })
    }

    /// A recording, and the evidence of each answer by probe.
    pub fn weigh(&self, path: &Path) -> Result<(Recording, Vec<Vec<Option<Evidence>>>)> {
        let making = Making::new(&self.opened.model, 0, &self.stop);
        let sampled = Sampled {
            making: &making,
            tokenizer: &self.opened.tokenizer,
            edits: &self.prepared.edits,
            rare: self.prepared.rare,
        };
        let table = &self.prepared.table;
        let mut lines = BufReader::new(std::fs::File::open(path)?).lines();
        let speaker: Speaker = serde_json::from_str(&lines.next().context("empty")??)?;
        let mut evidence = vec![Vec::new(); table.probes.len()];
        let mut observations = Vec::new();
        for line in lines {
            let line: Line = serde_json::from_str(&line?)?;
            let mut probes = table.probes.iter();
            let probe = probes.position(|p| p.name == line.probe);
            let probe = probe.with_context(|| line.probe.clone())?;
            let answers = sampled.weigh(table, probe, &line.texts)?;
            evidence[probe] = answers.into_iter().map(|a| a.evidence).collect();
            let seconds = line.seconds;
            observations.push((
                probe,
                Observation {
                    seconds,
                    ..Observation::default()
                },
            ));
        }
        let recording = Recording {
            speaker,
            observations,
        };
        Ok((recording, evidence))
    }
}
