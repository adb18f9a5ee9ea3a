//! A prompt put again: a cache of prefixes that returns another state is warm the second time.

use crate::audit::observe::Observation;
use crate::audit::refine::Refined;
use crate::audit::session::weigh;
use crate::audit::table::Table;

/// What a probe that was put again tells.
#[derive(Clone, Debug, Default)]
pub struct Warm {
    /// Nats between the same numbers, on average.
    pub apart: Option<f64>,
    /// What was near cold, and is far twice.
    pub differs: Option<Refined>,
}

/// Puts a probe again whose first answer was near the reference.
///
/// # Errors
/// When it is not answered.
pub fn look(
    table: &Table,
    (probe, cold): (usize, &Observation),
    ask: impl Fn(usize) -> Result<Observation, String>,
) -> Result<Warm, String> {
    let again = ask(probe)?;
    // Once may be chance; only what is far is asked again.
    let once = too_far(table, probe, &again);
    let twice = once.and_then(|_| too_far(table, probe, &ask(probe).ok()?));
    let differs = once.zip(twice).map(|(once, twice)| {
        let (name, far) = (&table.probes[probe].name, once.min(twice));
        Refined {
            name: "prefix-cache".to_owned(),
            summary: "a prompt that was seen before meets another state: warm differs from cold"
                .to_owned(),
            evidence: format!(
                "{name}, put again twice, was {far:.1} times as far from the reference as an honest engine may be, and near it the first time"
            ),
        }
    });
    Ok(Warm {
        apart: apart(&cold.values, &again.values),
        differs,
    })
}

/// How much further from the reference than an honest engine may be, where it is.
fn too_far(table: &Table, probe: usize, told: &Observation) -> Option<f64> {
    let far = weigh(table, probe, told)?.far?[0].exp();
    (far > 1.0).then_some(far)
}

/// How far two answers to one probe are apart, nats on average.
fn apart(first: &[(usize, f64)], again: &[(usize, f64)]) -> Option<f64> {
    let pairs = first.iter().filter_map(|(place, x)| {
        let same = again.iter().find(|(other, _)| other == place)?;
        Some((x - same.1).abs())
    });
    let sizes: Vec<f64> = pairs.collect();
    (!sizes.is_empty()).then(|| sizes.iter().sum::<f64>() / sizes.len() as f64)
}
