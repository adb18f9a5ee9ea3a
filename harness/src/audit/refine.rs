//! A fault with a value that the catalogue does not have: the value is looked for on one request, and has to hold on the others.
//!
//! The e-processes are of hypotheses that were fixed beforehand. Where they leave none, a family of faults with one number (RoPE's base
//! by any factor, a prompt cut at any length) is fitted to the request that is furthest from sound; what was fitted is named only if
//! it predicts the other requests, which it has not seen, as well as an honest engine would.

use fathom_engine::variant::{VALUED, Variant};
use serde::Serialize;

use crate::Result;
use crate::audit::evidence::Seen;
use crate::audit::hypothesis::{Edit, Hypothesis, split};
use crate::audit::observe::Observation;
use crate::audit::prompt::{Amount, Part, PromptEdit};
use crate::audit::request::Evidence;
use crate::audit::table::{Making, Table};

/// A fault with a value that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refined {
    /// The fault with its value: `rope-base=3.1`.
    pub name: String,
    /// What is wrong, in a line.
    pub summary: String,
    /// What speaks for it, in words.
    pub evidence: String,
    /// Values that are not much less likely, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
}

/// A family of faults with one number.
#[derive(Clone, Copy, Debug)]
enum Family {
    /// A fault of the catalogue whose value is a factor.
    Factor(&'static str),
    /// A prompt cut at a number of tokens.
    Cut(Part),
}

/// Factors that are tried first.
const FACTORS: [f64; 25] = [
    0.01, 0.02, 0.05, 0.1, 0.125, 0.2, 0.25, 0.333, 0.4, 0.5, 0.667, 0.75, 0.85, 1.15, 1.25, 1.333,
    1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 8.0, 20.0, 50.0,
];
/// Parts of a prompt at which a cut is tried first.
const PARTS: usize = 16;
/// Evaluations that narrow a value down.
const NARROWING: usize = 12;
/// Nats that one number counts at most in a fit.
const FAR: f64 = 2.0;
/// A fit with fewer digits is as good if it is this much worse.
const WORSE: f64 = 1.15;

/// Looks for a fault with a value that explains what was observed.
#[derive(Clone, Copy)]
pub struct Search<'a> {
    /// The reference.
    pub making: &'a Making<'a>,
    /// Its predictions.
    pub table: &'a Table,
    /// What was told of probes.
    pub observed: &'a [(usize, Observation)],
}

impl Search<'_> {
    /// All that holds, best first: of one name where the evidence is enough.
    ///
    /// # Errors
    /// When somebody asks to stop.
    pub fn find(&self) -> Result<Vec<Refined>> {
        let known = self.observed.iter().filter(|o| !o.1.values.is_empty());
        let far = |o: &(usize, Observation)| {
            let all = Seen::of(self.table, o.0, &o.1.values, &[0]);
            all.distance(0)
        };
        let furthest = known.max_by(|a, b| far(a).total_cmp(&far(b)));
        let Some((probe, observation)) = furthest else {
            return Ok(Vec::new());
        };
        let mut edits: Vec<(Hypothesis, Edit)> = Vec::new();
        let mut cuts = vec![Part::Start, Part::Middle, Part::End];
        // Where the service says how much it read, nothing is to be looked for.
        if let Some(read) = self.read() {
            edits.extend(cuts.drain(..).map(|part| cut(part, Amount::Beyond(read))));
        }
        let factors = VALUED.iter().map(|fault| Family::Factor(fault.name));
        let families = factors.chain(cuts.into_iter().map(Family::Cut));
        let mut coarse = Vec::new();
        for family in families {
            coarse.extend(self.coarse(family, *probe, &observation.values)?);
        }
        // What is far behind after the first look is not looked at closer.
        coarse.sort_by(|a, b| a.2.total_cmp(&b.2));
        for (family, at, _) in coarse.into_iter().take(3) {
            edits.extend(self.narrow(family, at, *probe, &observation.values)?);
        }
        let mut found: Vec<(f64, Refined)> = Vec::new();
        for edit in &edits {
            found.extend(self.confirmed(*probe, edit)?);
        }
        // What is much further off than another is not in question.
        let nearest = found.iter().map(|f| f.0).fold(f64::INFINITY, f64::min);
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Of one fault the first is enough.
        let mut best: Vec<Refined> = Vec::new();
        for (_, refined) in found.into_iter().filter(|f| f.0 <= 2.0 * nearest + 0.05) {
            if best
                .iter()
                .all(|b| split(&b.name).0 != split(&refined.name).0)
            {
                best.push(refined);
            }
        }
        Ok(best)
    }

    /// Tokens that every longer prompt was read of, where the service tells and all agree.
    fn read(&self) -> Option<usize> {
        let cut = self.observed.iter().filter_map(|(probe, o)| {
            let read = o.read?;
            (read < self.table.probes[*probe].ids.len()).then_some(read)
        });
        let all: Vec<usize> = cut.collect();
        let first = *all.first()?;
        all.iter().all(|n| *n == first).then_some(first)
    }

    /// The best of a family's usual values: its place among them, and how far it is off.
    fn coarse(
        &self,
        family: Family,
        probe: usize,
        values: &[(usize, f64)],
    ) -> Result<Option<(Family, f64, f64)>> {
        let n = self.table.probes[probe].ids.len();
        let grid: Vec<f64> = match family {
            Family::Factor(_) => FACTORS.to_vec(),
            Family::Cut(_) => (1..PARTS).map(|i| (n * i / PARTS) as f64).collect(),
        };
        let mut best: Option<(f64, f64)> = None;
        for at in grid {
            if let Some(edit) = self.edit(family, at) {
                let fit = self.fit(probe, values, &edit)?;
                if best.is_none_or(|(_, b)| fit < b) {
                    best = Some((at, fit));
                }
            }
        }
        Ok(best.map(|(at, fit)| (family, at, fit)))
    }

    /// The value near `at` that fits best, with as few digits as will do.
    fn narrow(
        &self,
        family: Family,
        at: f64,
        probe: usize,
        values: &[(usize, f64)],
    ) -> Result<Vec<(Hypothesis, Edit)>> {
        let off = |at: f64| match self.edit(family, at) {
            Some(edit) => self.fit(probe, values, &edit),
            None => Ok(f64::INFINITY),
        };
        let n = self.table.probes[probe].ids.len() as f64;
        // Factors are narrowed down in logarithms, tokens in tokens.
        let (mut low, mut high) = match family {
            Family::Factor(_) => ((at / 1.6).ln(), (at * 1.6).ln()),
            Family::Cut(_) => (at - n / PARTS as f64, at + n / PARTS as f64),
        };
        let value = |x: f64| match family {
            Family::Factor(_) => x.exp(),
            Family::Cut(_) => x.round().max(1.0),
        };
        let golden = 0.5 * (5.0_f64.sqrt() - 1.0);
        let mut best = (off(at)?, at);
        let mut inner = [high - golden * (high - low), low + golden * (high - low)];
        let mut fits = [off(value(inner[0]))?, off(value(inner[1]))?];
        for _ in 0..NARROWING {
            for (x, fit) in inner.iter().zip(fits) {
                if fit < best.0 {
                    best = (fit, value(*x));
                }
            }
            if fits[0] < fits[1] {
                (high, inner[1], fits[1]) = (inner[1], inner[0], fits[0]);
                inner[0] = high - golden * (high - low);
                fits[0] = off(value(inner[0]))?;
            } else {
                (low, inner[0], fits[0]) = (inner[0], inner[1], fits[1]);
                inner[1] = low + golden * (high - low);
                fits[1] = off(value(inner[1]))?;
            }
        }
        let (fit, at) = best;
        if let Family::Cut(part) = family {
            let kept = at as usize;
            let share = ((n - at) / n * 1000.0).round() / 1000.0;
            let amounts = [Amount::Beyond(kept), Amount::Share(share)];
            return Ok(amounts.map(|amount| cut(part, amount)).to_vec());
        }
        let mut short = at;
        for digits in 1..4 {
            short = significant(at, digits);
            if off(short)? <= WORSE * fit {
                break;
            }
        }
        Ok(self.edit(family, short).into_iter().collect())
    }

    /// A family's member.
    fn edit(&self, family: Family, at: f64) -> Option<(Hypothesis, Edit)> {
        match family {
            Family::Factor(name) => {
                let variant = Variant::parse(&format!("{name}={at}")).ok()?;
                let hypothesis = Hypothesis::of_variant(&variant, self.making.model)?;
                Some((hypothesis, Edit::Variant(variant)))
            }
            Family::Cut(part) => Some(cut(part, Amount::Beyond(at as usize))),
        }
    }

    /// How far what was told of a probe is from what an edit predicts, nats on average.
    fn fit(&self, probe: usize, values: &[(usize, f64)], edit: &(Hypothesis, Edit)) -> Result<f64> {
        let table = self
            .making
            .extended(self.table, &[probe], std::slice::from_ref(edit))?;
        let predicted = &table.predicted[1][0];
        let sizes = values.iter().map(|(i, x)| {
            let mu = f64::from(predicted[*i]);
            // What it says nothing of cannot have been told.
            if mu.is_finite() {
                (x - mu).abs().min(FAR)
            } else {
                FAR
            }
        });
        Ok(sizes.sum::<f64>() / values.len().max(1) as f64)
    }

    /// The edit, if it predicts most of the other probes as honest engines do.
    /// With how far it is off there, in distances that are honest.
    fn confirmed(
        &self,
        fitted: usize,
        edit: &(Hypothesis, Edit),
    ) -> Result<Option<(f64, Refined)>> {
        let told = self.read().is_some() && edit.0.name.contains("=beyond-");
        let others = self.observed.iter().filter(|o| told || o.0 != fitted);
        let others: Vec<&(usize, Observation)> =
            others.filter(|o| !o.1.values.is_empty()).collect();
        let places: Vec<usize> = others.iter().map(|o| o.0).collect();
        let mut table = self
            .making
            .extended(self.table, &places, std::slice::from_ref(edit))?;
        // Noise is as large as under the fault's other values.
        let own = self.table.hypotheses.iter().zip(&self.table.noise);
        let own = own.filter(|(h, _)| h.fault() == edit.0.fault());
        table.noise[1] = own.map(|(_, noise)| *noise).fold(1.0, f64::max);
        let (mut holds, mut shows, mut off) = (0, false, 0.0);
        for (i, o) in others.iter().enumerate() {
            let far = Evidence::of_numbers(&table, i, &o.1.values, o.1.missing).far;
            let far = far.unwrap_or_default();
            off += far[1].exp();
            if far[1] <= 0.0 {
                holds += 1;
                // What is as near to sound speaks for nothing.
                shows |= far[0] > 0.0;
            }
        }
        let of = others.len();
        let how = match told {
            true => "what the service says to have read".to_owned(),
            false => format!("fitted to {}", self.table.probes[fitted].name),
        };
        let refined = || Refined {
            name: edit.0.name.clone(),
            summary: edit.0.summary.clone(),
            evidence: format!(
                "{how}; it predicts {holds} of {of} requests beside as honest engines would"
            ),
            interval: None,
        };
        Ok((shows && 5 * holds >= 4 * of).then(|| (off / of as f64, refined())))
    }
}

fn cut(part: Part, amount: Amount) -> (Hypothesis, Edit) {
    let edit = PromptEdit::Cut(part, amount);
    (Hypothesis::of_prompt(&edit), Edit::Prompt(edit))
}

/// A number with so many significant digits.
fn significant(x: f64, digits: i32) -> f64 {
    let scale = 10.0_f64.powi(digits - 1 - x.abs().log10().floor() as i32);
    (x * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::prepare::{self, Wanted};
    use crate::audit::table::Shape;
    use crate::builtin;
    use crate::opened::{Opened, TemplateArgs};
    use crate::stop::Stop;

    #[test]
    fn digits_are_significant_ones() {
        assert_eq!(significant(3.0412, 1), 3.0);
        assert_eq!(significant(0.020_49, 2), 0.02);
        assert_eq!(significant(19_871.0, 3), 19_900.0);
    }

    /// What an edit makes of the probes' numbers is what a service with it would tell.
    #[test]
    fn a_value_between_those_of_the_catalogue_is_found_and_nothing_else_is() -> Result<()> {
        let opened = Opened::new(builtin::open()?, &TemplateArgs::default())?;
        let stop = Stop::default();
        let making = Making::new(&opened.model, 0, &stop);
        let wanted = Wanted {
            shape: Shape::Raw,
            scored: true,
            sampled: false,
            probes: 3,
            length: Some(256),
            most: 4096,
            seed: 5,
        };
        let table = prepare::table(&opened, Vec::new(), wanted, &making)?.table;
        let found = |edits: &[(Hypothesis, Edit)]| -> Result<Vec<Refined>> {
            let told = making.extended(&table, &[0, 1, 2], edits)?;
            let observed = told.predicted.iter().skip(1).flatten().enumerate();
            let observed: Vec<(usize, Observation)> = observed
                .map(|(p, row)| {
                    let values = row.iter().map(|x| f64::from(*x)).enumerate();
                    let values = values.filter(|v| v.1.is_finite()).collect();
                    let observation = Observation {
                        values,
                        ..Observation::default()
                    };
                    (p, observation)
                })
                .collect();
            let search = Search {
                making: &making,
                table: &table,
                observed: &observed,
            };
            search.find()
        };
        let variant = |name: &str| -> Result<(Hypothesis, Edit)> {
            let variant = Variant::parse(name)?;
            let hypothesis = Hypothesis::of_variant(&variant, &opened.model);
            Ok((
                hypothesis.unwrap_or_else(Hypothesis::sound),
                Edit::Variant(variant),
            ))
        };
        for name in ["rope-base=3.3", "rope-scale=0.7"] {
            let all = found(&[variant(name)?])?;
            let names: Vec<&str> = all.iter().map(|r| &*r.name).collect();
            assert_eq!(names, [name]);
        }
        assert_eq!(found(&[variant("rope-pairing")?])?, []);
        let all = found(&[cut(Part::Middle, Amount::Beyond(150))])?;
        assert_eq!(all.first().map(|r| &*r.name), Some("cut-middle=beyond-150"));
        Ok(())
    }
}
