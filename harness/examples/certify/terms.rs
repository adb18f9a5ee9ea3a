//! What can be told of each fault at a budget, before anybody is asked.

use std::path::Path;

use anyhow::Result;
use fathom_harness::audit::evidence::Seen;
use fathom_harness::audit::observe::{Told, Weighed};
use fathom_harness::audit::plan::Plan;
use fathom_harness::audit::session::{Budget, Session};
use fathom_harness::audit::table::Table;
use fathom_harness::audit::verdict::Terms;
use fathom_harness::rng::Rng;

/// Draws of probes.
const DRAWS: usize = 200;
/// Share of draws in which the budget has to be expected to exclude what is called detectable.
const OFTEN: f64 = 0.99;

/// Of each hypothesis: nats a token by which it differs from sound in what is told (where that is text, in the answers' distributions), nats of evidence that a
/// request is expected to bring against it where sound is true, in how many of 200 draws of probes the budget is expected to exclude it, whether that
/// is in 99 % of them, and what would exclude it.
pub fn write(
    table: &Table,
    told: Told,
    budget: Budget,
    drawn: usize,
    seed: u64,
    path: &Path,
) -> Result<()> {
    let places: Vec<Vec<usize>> = table.probes.iter().map(|p| told.places(p)).collect();
    let plan = Plan::new(table, told);
    let probes: Vec<usize> = (0..table.probes.len()).collect();
    let session = Session::new(&plan, Terms::default(), budget, probes.clone());
    let mut decidable = vec![0; table.hypotheses.len()];
    for draw in 0..DRAWS {
        let mut rng = Rng::of(seed, "terms", draw as u64, "probes");
        let probes = rng.sample(table.probes.len(), drawn);
        let session = Session::new(&plan, Terms::default(), budget, probes);
        for (n, decidable) in decidable.iter_mut().zip(session.decidable) {
            *n += usize::from(decidable);
        }
    }
    let mut lines = csv::Writer::from_path(path)?;
    lines.write_record([
        "hypothesis",
        "nats_a_token",
        "evidence_a_request",
        "draws",
        "detectable",
        "requests_needed",
    ])?;
    let requests = probes.len() as f64;
    for (h, hypothesis) in table.hypotheses.iter().enumerate().skip(1) {
        let nats = probes.iter().map(|p| {
            let row = &table.predicted[h][*p];
            let told: Vec<(usize, f64)> = places[*p]
                .iter()
                .map(|i| (*i, f64::from(row[*i])))
                .collect();
            Seen::of(table, *p, &told, &[0]).divergence(0)
        });
        let nats: f64 = nats.sum();
        let evidence: f64 = probes
            .iter()
            .map(|p| plan.expected(*p, 0, h).max(0.0))
            .sum();
        println!(
            "{}: an honest engine is at most {:.2} times as far from it as from sound",
            hypothesis.name, table.noise[h]
        );
        lines.write_record([
            hypothesis.name.clone(),
            match plan.weighed {
                Weighed::Numbers => format!("{:.2e}", nats / requests),
                Weighed::Choices | Weighed::Samples => format!("{:.2e}", plan.divergences[h]),
            },
            format!("{:.2}", evidence / requests),
            decidable[h].to_string(),
            (decidable[h] as f64 >= OFTEN * DRAWS as f64).to_string(),
            session.needed[h].map_or(String::new(), |(n, _)| n.to_string()),
        ])?;
    }
    Ok(lines.flush()?)
}
