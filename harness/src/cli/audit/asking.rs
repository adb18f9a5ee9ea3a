//! Probes that are put to a service, and what comes of them.

use std::path::Path;

use crate::Result;
use crate::audit::drawn::Place;
use crate::audit::observe::{Observation, Told, observe, sample};
use crate::audit::pack::Pack;
use crate::audit::recording::{Recording, Speaker};
use crate::audit::sampled::Sampled;
use crate::audit::session::Session;
use crate::cli::out;
use crate::endpoint::{Capabilities, Endpoint, Failure, Kind};
use crate::stop::Stop;

/// Who is asked, and how.
pub struct Asking<'a> {
    pub endpoint: &'a Endpoint,
    pub can: &'a Capabilities,
    pub told: Told,
    pub pack: &'a Pack,
    /// Where answers are sampled: what weighs them.
    pub sampled: Option<&'a Sampled<'a>>,
    /// Seed of the first probe's answer, where it is sampled.
    pub seed: u64,
    /// Answers that were sampled, beside what the reference finds probable.
    pub answers: Vec<Vec<Place>>,
    /// Requests that brought nothing, and why.
    pub failures: Vec<String>,
}

impl Asking<'_> {
    /// What the service says of a probe.
    pub fn ask(&self, probe: usize) -> Result<Observation, String> {
        let (table, bytes) = (&self.pack.table, &self.pack.bytes);
        let asked = &table.probes[probe];
        let said = observe(
            self.endpoint,
            self.can,
            self.told,
            table.shape,
            asked,
            bytes,
        );
        said.map_err(|failure| self.named(probe, &failure))
    }

    /// Puts a probe; one that fails is spent as well.
    pub fn put(&mut self, session: &mut Session<'_>, probe: usize) -> Result<()> {
        let failure = match self.sampled {
            None => match self.ask(probe) {
                Ok(observation) => {
                    session.take(probe, observation);
                    return Ok(());
                }
                Err(failure) => failure,
            },
            Some(sampled) => match self.sample(probe) {
                Ok((text, observation)) => {
                    let answer = sampled.weigh(&self.pack.table, probe, &[text])?.pop();
                    let answer = answer.unwrap_or_default();
                    self.answers.push(answer.places);
                    session.weighed(probe, observation, answer.evidence);
                    return Ok(());
                }
                Err(failure) => self.named(probe, &failure),
            },
        };
        session.spend(probe, 0, None);
        self.failures.push(failure);
        Ok(())
    }

    fn sample(&self, probe: usize) -> Result<(String, Observation), Failure> {
        let (table, seed) = (&self.pack.table, self.seed + probe as u64);
        let asked = &table.probes[probe];
        sample(self.endpoint, self.can, table.shape, asked, seed)
    }

    fn named(&self, probe: usize, failure: &Failure) -> String {
        let name = &self.pack.table.probes[probe].name;
        format!("{name}: {}", failure.why)
    }
}

/// Puts every probe once and writes what was told.
pub fn record(
    endpoint: &Endpoint,
    can: &Capabilities,
    told: Told,
    pack: &Pack,
    path: &Path,
    stop: &Stop,
) -> Result<()> {
    let table = &pack.table;
    let mut recording = Recording {
        speaker: Speaker {
            engine: endpoint.host(),
            truth: None,
        },
        observations: Vec::new(),
    };
    let mut refused = None;
    for (i, probe) in table.probes.iter().enumerate() {
        stop.check()?;
        match observe(endpoint, can, told, table.shape, probe, &pack.bytes) {
            Ok(observation) => {
                recording.observations.push((i, observation));
                recording.write(path, table)?;
            }
            // One that is longer than the service's context, where others are not.
            Err(failure) if failure.kind == Kind::Refused => {
                eprintln!("fathom: {}: {}", probe.name, failure.why);
                refused = Some(failure);
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    if let (Some(failure), true) = (refused, recording.observations.is_empty()) {
        return Err(failure.into());
    }
    out::line(&format!(
        "{}: {} probes",
        path.display(),
        recording.observations.len()
    ))
}
