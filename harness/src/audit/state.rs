//! What the evidence carries, and never more.

use serde_json::Value;

use crate::audit::hypothesis::Hypothesis;
use crate::audit::observe::Weighed;
use crate::audit::process::Process;
use crate::audit::verdict::{Kind, OTHER, Terms, Verdict};

/// The state of an audit.
#[derive(Debug)]
pub struct State<'a> {
    /// What is held possible.
    pub hypotheses: &'a [Hypothesis],
    /// The evidence.
    pub process: &'a Process,
    /// The terms.
    pub terms: Terms,
    /// Of each hypothesis, whether the whole budget is expected to tell it from sound on an engine like ours ..
    pub hopeful: &'a [bool],
    /// .. and on any that is honest.
    pub decidable: &'a [bool],
    /// What the evidence is made of; without numbers no divergence is measured.
    pub weighed: Weighed,
    /// Of each hypothesis, its own divergence from sound, nats a token.
    pub divergences: &'a [f64],
    /// Whether the budget is spent.
    pub spent: bool,
}

/// Requests before anything is called the same.
const LEAST: usize = 3;
/// Answers that sound does not give and a fault does, of text alone, that speak for the fault ..
const CHOSEN: usize = 5;
/// .. if they are this share of those that sound does not give.
const CHOSEN_SHARE: f64 = 0.8;
/// Of the evidence that rejects sound: with so much of it for a fault there is more to ask ..
const LEANS: f64 = 0.2;
/// .. and with so much nothing is called the same.
const LEANS_MUCH: f64 = 0.5;

impl State<'_> {
    /// The verdict, or none as long as more requests may bring one.
    pub fn verdict(&self) -> Option<Verdict> {
        let left = self.process.survivors(self.terms.alpha);
        let sound = left.contains(&0);
        let faults: Vec<usize> = left.iter().copied().filter(|h| *h > 0).collect();
        if sound {
            let bound = -self.terms.alpha.ln();
            let leans = |h: usize| self.process.ratio(h, 0).max(self.process.direction(h)) / bound;
            let open = faults.iter().any(|h| match self.spent {
                false => self.hopeful[*h] || leans(*h) > LEANS,
                true => self.decidable[*h] || leans(*h) > LEANS_MUCH,
            });
            let jumps = match self.spent {
                false => self.process.jumps() > 0,
                true => self.process.jumped(0) / bound > LEANS_MUCH,
            };
            let near = match self.process.divergence() {
                Some((_, most)) => most < self.terms.margin,
                None => self.weighed != Weighed::Numbers && self.none_far(&faults),
            };
            if !open && !jumps && near && self.process.requests() >= LEAST {
                return Some(self.told(Kind::Same, &[]));
            }
            return self.spent.then(|| self.undecided());
        }
        match &faults[..] {
            [] => Some(
                self.mixture()
                    .unwrap_or_else(|| self.told(Kind::Other, &[])),
            ),
            all => {
                let fitting: Vec<usize> = all
                    .iter()
                    .copied()
                    .filter(|h| self.process.fits(*h))
                    .collect();
                let name = self.hypotheses[all[0]].fault();
                let one_name = all.iter().all(|h| self.hypotheses[*h].fault() == name);
                let left_over = self.left_over(all);
                match (&fitting[..], one_name) {
                    ([_, ..], true) if !left_over => Some(self.told(Kind::Fault, &fitting)),
                    ([_, ..], _) if self.spent => {
                        let mut class = self.told(Kind::Class, all);
                        class.members.extend(left_over.then(|| OTHER.to_owned()));
                        Some(class)
                    }
                    ([], _) if self.spent => Some(self.told(Kind::Other, &[])),
                    _ => None,
                }
            }
        }
    }

    /// Whether none of these is further from sound than the margin: what stands for a divergence where none can be measured. How far another
    /// program's rounding is, text does not tell.
    fn none_far(&self, faults: &[usize]) -> bool {
        let far = |h: &usize| self.divergences[*h] >= self.terms.margin;
        let exact = faults.iter().filter(|h| !self.hypotheses[**h].rounds());
        !exact.into_iter().any(far)
    }

    /// Whether nothing speaks for any of these but that they are left: no deviation was in the direction of one. What nobody has
    /// thought of may be as large; and of text, a model that is led astray chooses another one's token now and then.
    fn left_over(&self, faults: &[usize]) -> bool {
        let bound = -self.terms.alpha.ln();
        let speaks = |h: &usize| match self.weighed {
            Weighed::Numbers | Weighed::Samples => self.process.direction(*h) >= bound,
            Weighed::Choices => {
                let (far, explained) = self.process.explains(*h);
                explained >= CHOSEN && explained as f64 >= CHOSEN_SHARE * far as f64
            }
        };
        !faults.iter().any(speaks)
    }

    /// Not enough evidence.
    pub fn undecided(&self) -> Verdict {
        self.told(Kind::Undecided, &[])
    }

    /// Where no single hypothesis is left: a share of requests with one fault, the others sound.
    fn mixture(&self) -> Option<Verdict> {
        let bound = -self.terms.alpha.ln();
        let likely = |f: &usize| {
            let share = self.process.share(*f, self.terms.alpha).0;
            self.process.mixture(*f, share, 0)
        };
        let all: Vec<usize> = (1..self.hypotheses.len())
            .filter(|f| self.process.against_mixture(*f) < bound && self.process.fits_in_parts(*f))
            .collect();
        let best = all.iter().map(likely).fold(f64::NEG_INFINITY, f64::max);
        let all: Vec<usize> = all
            .into_iter()
            .filter(|f| likely(f) > best - bound)
            .collect();
        let first = *all.iter().max_by(|a, b| likely(a).total_cmp(&likely(b)))?;
        let name = self.hypotheses[first].fault();
        let one_name = all.iter().all(|h| self.hypotheses[*h].fault() == name);
        // Of a rounding the size alone is no name.
        let speaks = all.iter().any(|h| self.process.toward(*h) >= bound);
        let named = one_name && speaks;
        let mut told = self.told(if named { Kind::Fault } else { Kind::Class }, &all);
        told.members.extend((!speaks).then(|| OTHER.to_owned()));
        let (share, interval) = self.process.share(first, self.terms.alpha);
        told.share = Some(share);
        told.share_interval = Some(interval);
        Some(told)
    }

    /// A verdict of this kind, with what is named by it.
    fn told(&self, verdict: Kind, named: &[usize]) -> Verdict {
        let name = |h: usize| self.hypotheses[h].name.clone();
        let best = named.iter().copied();
        let best = best.max_by(|a, b| {
            self.process
                .ratio(*a, 0)
                .total_cmp(&self.process.ratio(*b, 0))
        });
        let best = best
            .filter(|_| verdict == Kind::Fault)
            .map(|h| &self.hypotheses[h]);
        let faults = || 1..self.hypotheses.len();
        let rejected = |h: &usize| self.process.rejected(*h, self.terms.alpha);
        let e_values = self.process.e_values().iter().enumerate();
        let divergence = self.process.divergence();
        Verdict {
            verdict,
            fault: best.map(|h| h.fault().to_owned()),
            parameters: best
                .and_then(|h| h.value())
                .map(|value| ("value".to_owned(), Value::from(value)))
                .into_iter()
                .collect(),
            members: named
                .iter()
                .filter(|_| best.is_none())
                .map(|h| name(*h))
                .collect(),
            share: None,
            share_interval: None,
            refined: Vec::new(),
            excluded: faults().filter(rejected).map(name).collect(),
            not_excluded: faults().filter(|h| !rejected(h)).map(name).collect(),
            // JSON has no number for more.
            e_values: e_values
                .map(|(h, log)| (name(h), log.exp().min(1e300)))
                .collect(),
            divergence: divergence.map(|d| d.0),
            divergence_at_most: divergence.map(|d| d.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::request::Evidence;

    const NAMES: [&str; 4] = ["sound", "no-chunk", "kv-cache=q4_0", "kv-cache=q8_0"];

    /// A request whose evidence favours each hypothesis by so much, at distances (logs, honest below 0).
    fn request(favour: [f64; 4], far: [f64; 4]) -> Evidence {
        Evidence {
            ratios: favour
                .iter()
                .map(|g| favour.iter().map(|h| g - h).collect())
                .collect(),
            left: far.map(|f| (f - far[0]).exp()).to_vec(),
            far: Some(far.to_vec()),
            jump: Vec::new(),
            direction: favour.map(|g| g - favour[0]).to_vec(),
            divergence: Some(1e-4),
        }
    }

    fn judged(requests: &[Evidence], decidable: [bool; 4], spent: bool) -> Option<Verdict> {
        let named = |name: &&str| Hypothesis {
            name: (*name).to_owned(),
            ..Hypothesis::sound()
        };
        let hypotheses: Vec<Hypothesis> = NAMES.iter().map(named).collect();
        let mut process = Process::new(hypotheses.len());
        requests.iter().cloned().for_each(|r| process.take(r));
        let state = State {
            hypotheses: &hypotheses,
            process: &process,
            terms: Terms::default(),
            hopeful: &decidable,
            decidable: &decidable,
            weighed: Weighed::Numbers,
            divergences: &[0.0; 4],
            spent,
        };
        state.verdict()
    }

    const NEAR: [f64; 4] = [-1.0; 4];
    const ALL: [bool; 4] = [true; 4];

    #[test]
    fn sound_is_the_same_and_what_cannot_be_told_from_it_is_said() {
        let clear = vec![request([4.0, 0.0, 0.0, 0.0], NEAR); 4];
        let verdict = judged(&clear, ALL, false).map(|v| (v.verdict, v.not_excluded.len()));
        assert_eq!(verdict, Some((Kind::Same, 0)));
        let mild = vec![request([4.0, 0.0, 0.0, 4.0], NEAR); 4];
        assert!(judged(&mild, ALL, false).is_none());
        assert_eq!(
            judged(&mild, ALL, true).map(|v| v.verdict),
            Some(Kind::Undecided)
        );
        let verdict = judged(&mild, [true, true, true, false], false);
        let verdict = verdict.map(|v| (v.verdict, v.not_excluded));
        assert_eq!(
            verdict,
            Some((Kind::Same, vec!["kv-cache=q8_0".to_owned()]))
        );
        // One request is none.
        assert!(judged(&[request([20.0, 0.0, 0.0, 0.0], NEAR)], ALL, false).is_none());
    }

    /// Of text no divergence is measured: what may be further than the margin has to be rejected, but for what rounds.
    #[test]
    fn of_text_what_is_left_has_to_be_known_to_be_near() {
        let named = |name: &&str| Hypothesis {
            name: (*name).to_owned(),
            ..Hypothesis::sound()
        };
        let hypotheses: Vec<Hypothesis> = NAMES.iter().map(named).collect();
        let mut process = Process::new(hypotheses.len());
        // Nothing speaks against the second, nor against what rounds.
        (0..4).for_each(|_| {
            process.take(Evidence {
                divergence: None,
                ..request([4.0, 4.0, 0.0, 4.0], NEAR)
            });
        });
        let kind = |divergences: &[f64]| {
            let state = State {
                hypotheses: &hypotheses,
                process: &process,
                terms: Terms::default(),
                hopeful: &[false; 4],
                decidable: &[false; 4],
                weighed: Weighed::Samples,
                divergences,
                spent: true,
            };
            state.verdict().map(|v| v.verdict)
        };
        assert_eq!(kind(&[0.0, 0.01, 0.3, 0.3]), Some(Kind::Same));
        assert_eq!(kind(&[0.0, 0.03, 0.3, 0.3]), Some(Kind::Undecided));
    }

    /// Near in all but one number, again and again: not the model; once, of eight: still the same.
    #[test]
    fn single_numbers_that_no_honest_engine_has_so_wrong_are_something_else() {
        let with = |jump: f64| Evidence {
            jump: vec![jump, f64::NEG_INFINITY, f64::NEG_INFINITY, jump],
            ..request([4.0, 0.0, 0.0, 0.0], NEAR)
        };
        let (none, one) = (with(-1.0), with(1.3));
        let kind = |requests: &[Evidence], spent| judged(requests, ALL, spent).map(|v| v.verdict);
        assert_eq!(kind(&vec![none.clone(); 4], false), Some(Kind::Same));
        // It is reason to ask on.
        let once = [&vec![none.clone(); 3][..], std::slice::from_ref(&one)].concat();
        assert_eq!(kind(&once, false), None);
        let once = [&once[..], &vec![none.clone(); 4]].concat();
        assert_eq!(kind(&once, true), Some(Kind::Same));
        let often = [vec![none; 5], vec![one; 3]].concat();
        assert_eq!(kind(&often, true), Some(Kind::Other));
    }

    #[test]
    fn a_fault_is_named_with_its_value_and_a_class_with_its_members() {
        let fault = vec![request([0.0, 0.0, 4.0, 0.0], NEAR); 4];
        let verdict = judged(&fault, ALL, false).map(|v| (v.verdict, v.fault, v.parameters));
        let value = [("value".to_owned(), Value::from("q4_0"))]
            .into_iter()
            .collect();
        assert_eq!(
            verdict,
            Some((Kind::Fault, Some("kv-cache".to_owned()), value))
        );
        let class = vec![request([0.0, 4.0, 4.0, 0.0], NEAR); 4];
        assert!(judged(&class, ALL, false).is_none());
        let verdict = judged(&class, ALL, true).map(|v| (v.verdict, v.members));
        let members = vec!["no-chunk".to_owned(), "kv-cache=q4_0".to_owned()];
        assert_eq!(verdict, Some((Kind::Class, members)));
    }

    #[test]
    fn what_fits_nothing_is_given_no_name() {
        // Nearest to no-chunk, and far from it.
        let odd = vec![request([0.0, 4.0, 0.0, 0.0], [3.0, 0.8, 3.0, 3.0]); 6];
        let verdict = judged(&odd, ALL, true).map(|v| (v.verdict, v.fault));
        assert_eq!(verdict, Some((Kind::Other, None)));
        let far = vec![request([0.0; 4], [3.0; 4]); 6];
        assert_eq!(
            judged(&far, ALL, false).map(|v| v.verdict),
            Some(Kind::Other)
        );
    }

    #[test]
    fn what_is_near_in_wide_noise_and_explains_nothing_is_not_named() {
        // As near to no-chunk as honest engines that have it may be, no nearer than to sound.
        let mut odd = request([0.0, 4.0, 0.0, 0.0], [3.0, -0.5, 3.0, 3.0]);
        let verdict = |requests: &[Evidence]| judged(requests, ALL, true).map(|v| v.verdict);
        assert_eq!(verdict(&vec![odd.clone(); 6]), Some(Kind::Fault));
        odd.left = vec![1.0, 0.9, 1.0, 1.0];
        assert_eq!(verdict(&vec![odd; 6]), Some(Kind::Other));
    }

    #[test]
    fn a_rounding_that_nothing_but_its_size_speaks_for_may_be_something_else() {
        // As far from sound as a cache of 4 bits, in no direction that is known; nothing else is.
        let odd = request([0.0, -6.0, 0.0, -6.0], [3.0, 3.0, -1.0, 3.0]);
        let requests = vec![odd; 4];
        assert!(judged(&requests, ALL, false).is_none());
        let verdict = judged(&requests, ALL, true).map(|v| (v.verdict, v.members));
        let members = vec!["kv-cache=q4_0".to_owned(), OTHER.to_owned()];
        assert_eq!(verdict, Some((Kind::Class, members)));
    }

    #[test]
    fn what_is_left_over_without_evidence_for_it_is_not_named() {
        // Far from all but no-chunk, which is not rejected and which nothing speaks for.
        let requests = vec![request([0.0; 4], [3.0, -1.0, 3.0, 3.0]); 4];
        assert!(judged(&requests, ALL, false).is_none());
        let verdict = judged(&requests, ALL, true).map(|v| (v.verdict, v.members));
        let members = vec!["no-chunk".to_owned(), OTHER.to_owned()];
        assert_eq!(verdict, Some((Kind::Class, members)));
    }

    #[test]
    fn what_evidence_leans_to_is_not_called_the_same() {
        let leans = vec![request([0.0, -4.0, -4.0, 0.7], NEAR); 4];
        let undetectable = [true, true, true, false];
        assert!(judged(&leans, undetectable, false).is_none());
        let verdict = judged(&leans, undetectable, true).map(|v| v.verdict);
        assert_eq!(verdict, Some(Kind::Undecided));
    }

    #[test]
    fn a_mixture_that_nothing_but_size_speaks_for_may_be_something_else() {
        let sound = request([6.0, 0.0, 0.0, 0.0], [-1.0, 2.0, 2.0, 2.0]);
        let mut odd = request([0.0, 0.0, 6.0, 0.0], [2.0, 2.0, -1.0, 2.0]);
        odd.direction = vec![0.0; 4];
        let requests: Vec<Evidence> = (0..8)
            .map(|i| if i % 2 == 0 { &odd } else { &sound }.clone())
            .collect();
        let verdict = judged(&requests, ALL, true).map(|v| (v.verdict, v.members));
        let members = vec!["kv-cache=q4_0".to_owned(), OTHER.to_owned()];
        assert_eq!(verdict, Some((Kind::Class, members)));
    }

    #[test]
    fn a_mixture_is_a_fault_with_a_share() {
        let sound = request([6.0, 0.0, 0.0, 0.0], [-1.0, 2.0, 2.0, 2.0]);
        let faulty = request([0.0, 6.0, 0.0, 0.0], [2.0, -1.0, 2.0, 2.0]);
        let requests: Vec<Evidence> = (0..8)
            .map(|i| if i % 4 == 0 { &faulty } else { &sound }.clone())
            .collect();
        let verdict = judged(&requests, ALL, false);
        let verdict = verdict.unwrap_or_else(|| unreachable!("all pure ones are rejected"));
        assert_eq!(
            (verdict.verdict, verdict.fault.as_deref()),
            (Kind::Fault, Some("no-chunk"))
        );
        let [low, high] = verdict.share_interval.unwrap_or_default();
        let share = verdict.share.unwrap_or_default();
        assert!(
            (0.15..0.4).contains(&share) && low < share && share < high,
            "{share} {low} {high}"
        );
    }
}
