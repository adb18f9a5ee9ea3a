//! A cut that a service shows itself: it echoes a prompt without some of its tokens. That needs no prediction, and no model.

use crate::audit::observe::Observation;
use crate::audit::probe::Probe;
use crate::audit::prompt::{Amount, Part, PromptEdit};
use crate::audit::refine::Refined;
use crate::audit::table::Table;

/// Requests in which it has to be the same.
const LEAST: usize = 2;

/// The cut that all echoes agree on: of one part, and of one size.
pub fn cut(table: &Table, observed: &[(usize, Observation)]) -> Option<Refined> {
    let probe = |p: &usize| &table.probes[*p];
    let gaps = observed
        .iter()
        .filter_map(|(p, o)| Some((probe(p), o.missing?)));
    let gaps: Vec<(&Probe, (usize, usize))> = gaps.collect();
    let whole = observed.iter().filter(|(_, o)| o.missing.is_none());
    let whole = whole.map(|(p, _)| probe(p).ids.len()).max().unwrap_or(0);
    let (first, gap) = gaps.first().filter(|_| gaps.len() >= LEAST)?;
    let part = part(first, *gap);
    if gaps
        .iter()
        .any(|(probe, gap)| self::part(probe, *gap) != part)
    {
        return None;
    }
    let kept = first.ids.len() - gap.1;
    let all_keep = gaps.iter().all(|(p, gap)| p.ids.len() - gap.1 == kept);
    let share = gap.1 as f64 / first.body.len().max(1) as f64;
    let share = (share * 1000.0).round() / 1000.0;
    let all_lose = gaps
        .iter()
        .all(|(p, gap)| (share * p.body.len() as f64 - gap.1 as f64).abs() <= 1.5);
    let amount = match (all_keep && whole <= kept, all_lose && whole == 0) {
        (true, _) => Amount::Beyond(kept),
        (false, true) => Amount::Share(share),
        _ => return None,
    };
    let edit = PromptEdit::Cut(part, amount);
    Some(Refined {
        name: edit.to_string(),
        summary: edit.summary().to_owned(),
        evidence: format!(
            "the service echoes {} prompts without these tokens; what else may have been done is not known",
            gaps.len()
        ),
        interval: None,
    })
}

/// Where the tokens are missing, which a text that repeats itself leaves open by a few places.
fn part(probe: &Probe, (first, gap): (usize, usize)) -> Part {
    let (ids, body) = (&probe.ids, &probe.body);
    let slides = (body.start..first).rev();
    let slides = slides.take_while(|at| ids.get(*at) == ids.get(at + gap));
    if first - slides.count() <= body.start {
        Part::Start
    } else if first + gap >= body.end {
        Part::End
    } else {
        Part::Middle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::table::Shape;

    /// Probes of these lengths, of which so many tokens from the first on are missing.
    fn told(seen: &[(usize, Option<(usize, usize)>)]) -> Option<String> {
        let probes = seen.iter().map(|(n, _)| Probe {
            // What comes first comes again.
            ids: (0..*n as u32)
                .map(|i| match i {
                    1..=10 | 199..=204 | 400..=405 => i % 3,
                    i => 10 + i,
                })
                .collect(),
            body: 1..*n,
            ..Probe::default()
        });
        let table = Table {
            shape: Shape::Raw,
            scored: true,
            counts: Vec::new(),
            hypotheses: Vec::new(),
            probes: probes.collect(),
            predicted: Vec::new(),
            honest: Vec::new(),
            noise: Vec::new(),
        };
        let observed = seen.iter().enumerate().map(|(p, (_, missing))| {
            let missing = *missing;
            let observation = Observation {
                missing,
                ..Observation::default()
            };
            (p, observation)
        });
        cut(&table, &observed.collect::<Vec<_>>()).map(|refined| refined.name)
    }

    #[test]
    fn a_cut_has_the_part_and_the_size_that_echoes_agree_on() {
        let named = |seen: &[_]| told(seen);
        let beyond = [(900, Some((1, 400))), (700, Some((1, 200))), (400, None)];
        assert_eq!(named(&beyond).as_deref(), Some("cut-start=beyond-500"));
        // The first tokens that are left are those that were there.
        let slid = [(900, Some((7, 399))), (699, Some((7, 198)))];
        assert_eq!(named(&slid).as_deref(), Some("cut-start=beyond-501"));
        let share = [(901, Some((631, 270))), (701, Some((491, 210)))];
        assert_eq!(named(&share).as_deref(), Some("cut-end=0.3"));
        let middle = [(901, Some((300, 301))), (900, Some((299, 300)))];
        assert_eq!(named(&middle).as_deref(), Some("cut-middle=beyond-600"));
        // Once is not enough, nor are two sizes or two parts.
        for none in [
            &beyond[..1],
            &[(900, Some((1, 400))), (700, Some((1, 100)))],
            &[(900, Some((1, 400))), (700, Some((500, 200)))],
            &[(900, Some((1, 400))), (700, Some((1, 200))), (600, None)],
        ] {
            assert_eq!(named(none), None, "{none:?}");
        }
    }
}
