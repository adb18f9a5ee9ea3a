//! What can be told of each fault at a budget, before anybody is asked.

use std::path::Path;

use anyhow::Result;
use fathom_harness::audit::observe::Told;
use fathom_harness::audit::plan::Plan;
use fathom_harness::audit::session::{Budget, Session};
use fathom_harness::audit::table::Table;
use fathom_harness::audit::verdict::Terms;

/// Of each hypothesis: nats a token and a request by which it differs from sound, nats of evidence that a request is expected to
/// bring against it where sound is true, and whether the budget is expected to exclude it.
pub fn write(table: &Table, budget: Budget, path: &Path) -> Result<()> {
    let plan = Plan::new(table, |p| Told::Prompt.places(&table.probes[p]));
    let probes: Vec<usize> = (0..table.probes.len()).collect();
    let session = Session::new(&plan, Terms::default(), budget, probes.clone());
    let mut lines = csv::Writer::from_path(path)?;
    lines.write_record([
        "hypothesis",
        "nats_a_token",
        "nats_a_request",
        "evidence_a_request",
        "detectable",
        "requests_needed",
    ])?;
    for (h, hypothesis) in table.hypotheses.iter().enumerate().skip(1) {
        let (mut nats, mut tokens, mut evidence) = (0.0, 0.0, 0.0);
        for p in &probes {
            let n = table.probes[*p].prompt_data();
            let rows = table.predicted[h][*p].iter().zip(&table.predicted[0][*p]);
            for (faulty, sound) in rows.take(n).filter(|(x, _)| x.is_finite()) {
                nats += 0.5 * f64::from(faulty - sound).powi(2);
                tokens += 1.0;
            }
            evidence += plan.expected(*p, 0, h).max(0.0);
        }
        let requests = probes.len() as f64;
        println!(
            "{}: an honest engine is at most {:.2} times as far from it as from sound",
            hypothesis.name, table.noise[h]
        );
        lines.write_record([
            hypothesis.name.clone(),
            format!("{:.2e}", nats / f64::max(tokens, 1.0)),
            format!("{:.2e}", nats / requests),
            format!("{:.2}", evidence / requests),
            session.decidable[h].to_string(),
            session.needed[h].map_or(String::new(), |(n, _)| n.to_string()),
        ])?;
    }
    Ok(lines.flush()?)
}
