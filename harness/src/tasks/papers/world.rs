//! Papers as facts, and the questions about them as functions of facts.

use super::super::facts::{Fact, Query, possible};

/// What a section of a paper, or a note on it, can say. Facts about papers have no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// What is counted first (people enrolled, points credited).
    Base,
    /// What is taken away from it, in the paper.
    Cut,
    /// What is taken away later.
    LaterCut,
    /// Which outcome was measured.
    Measure,
    /// In which group.
    Group,
    /// The direction of the effect as printed: 1 higher, 0 lower.
    Direction,
    /// The printed direction is to be reversed (object 1), or stands (0).
    Reversed,
    /// The study's own protocol.
    Protocol,
    /// The protocol that the study repeats.
    Repeats,
}

/// A fact about a paper: subject is the paper's number.
pub type PaperFact = Fact<Relation>;

/// A question about papers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaperQuery {
    /// The papers from the largest to the smallest remainder: base less both cuts.
    Rank {
        /// How many papers.
        papers: u32,
    },
    /// Which pair contradicts: same outcome, same group, opposite effects. `None`: no two papers do.
    Contradict {
        /// How many papers.
        papers: u32,
        /// The pairs offered.
        options: Vec<Option<[u32; 2]>>,
        /// Values that outcome and group may have.
        values: [Vec<u32>; 2],
    },
    /// Which paper replicates the target: repeats its protocol and measures its outcome. `None`: none does.
    Replicate {
        /// How many papers.
        papers: u32,
        /// The paper replicated.
        target: u32,
        /// The papers offered.
        options: Vec<Option<u32>>,
        /// Values that outcome and protocol may have.
        values: [Vec<u32>; 2],
    },
}

/// The one object of a relation of a paper; `None` where it is not said, or said twice.
fn object(facts: &[PaperFact], paper: u32, relation: Relation) -> Option<u32> {
    let mut objects = facts
        .iter()
        .filter(|f| f.subject == paper && f.relation == relation)
        .map(|f| f.object);
    let first = objects.next()?;
    objects.next().is_none().then_some(first)
}

/// What remains of a paper's base.
pub fn remainder(facts: &[PaperFact], paper: u32) -> Option<i64> {
    let part = |relation| object(facts, paper, relation).map(i64::from);
    Some(part(Relation::Base)? - part(Relation::Cut)? - part(Relation::LaterCut)?)
}

/// Outcome, group and direction (after a correction) of a paper.
fn finding(facts: &[PaperFact], paper: u32) -> Option<(u32, u32, u32)> {
    let said = |relation| object(facts, paper, relation);
    let reversed = said(Relation::Reversed).unwrap_or(0);
    Some((
        said(Relation::Measure)?,
        said(Relation::Group)?,
        said(Relation::Direction)? ^ reversed,
    ))
}

/// In how many of the three ways in which two papers must be alike or opposite they are so; 3 is a contradiction.
pub fn agreement(facts: &[PaperFact], [a, b]: [u32; 2]) -> usize {
    match (finding(facts, a), finding(facts, b)) {
        (Some(a), Some(b)) => {
            usize::from(a.0 == b.0) + usize::from(a.1 == b.1) + usize::from(a.2 != b.2)
        }
        _ => 0,
    }
}

/// In how many of the two ways a paper is as a replication must be; 2 is a replication.
pub fn likeness(facts: &[PaperFact], target: u32, paper: u32) -> usize {
    let said = |paper, relation| object(facts, paper, relation);
    let protocol = said(target, Relation::Protocol);
    let outcome = said(target, Relation::Measure);
    usize::from(protocol.is_some() && said(paper, Relation::Repeats) == protocol)
        + usize::from(outcome.is_some() && said(paper, Relation::Measure) == outcome)
}

/// The index of the one option that is right: that of the one thing found, or that of `None` where nothing is found.
fn only<T: PartialEq + Copy>(options: &[Option<T>], found: &[T]) -> Option<Vec<u32>> {
    let wanted = match found {
        [] => None,
        [one] => Some(*one),
        _ => return None,
    };
    let at = options.iter().position(|option| *option == wanted)?;
    Some(vec![at as u32])
}

impl Query for PaperQuery {
    type Relation = Relation;

    fn answer(&self, facts: &[PaperFact]) -> Option<Vec<u32>> {
        match self {
            Self::Rank { papers } => {
                let mut ranked: Vec<(i64, u32)> = (0..*papers)
                    .map(|p| Some((-remainder(facts, p)?, p)))
                    .collect::<Option<_>>()?;
                ranked.sort_unstable();
                let distinct = ranked.windows(2).all(|two| two[0].0 != two[1].0);
                distinct.then(|| ranked.into_iter().map(|(_, p)| p).collect())
            }
            Self::Contradict {
                papers, options, ..
            } => {
                let pairs = (0..*papers).flat_map(|b| (0..b).map(move |a| [a, b]));
                let found: Vec<[u32; 2]> =
                    pairs.filter(|&pair| agreement(facts, pair) == 3).collect();
                only(options, &found)
            }
            Self::Replicate {
                papers,
                target,
                options,
                ..
            } => {
                let others = (0..*papers).filter(|p| p != target);
                let found: Vec<u32> = others
                    .filter(|&p| likeness(facts, *target, p) == 2)
                    .collect();
                only(options, &found)
            }
        }
    }

    fn conceivable(&self, time: u32) -> Vec<PaperFact> {
        if time != 0 {
            return Vec::new();
        }
        let said = |papers: u32, relation, objects: &[u32]| -> Vec<PaperFact> {
            let all = (0..papers)
                .flat_map(|subject| objects.iter().map(move |&object| (subject, object)));
            all.map(|(subject, object)| Fact {
                subject,
                relation,
                object,
                time,
                passage: usize::MAX,
            })
            .collect()
        };
        match self {
            Self::Rank { papers } => {
                let numbers: Vec<u32> = (0..900).step_by(9).collect();
                let relations = [Relation::Base, Relation::Cut, Relation::LaterCut];
                relations
                    .iter()
                    .flat_map(|&relation| said(*papers, relation, &numbers))
                    .collect()
            }
            Self::Contradict { papers, values, .. } => [
                said(*papers, Relation::Measure, &values[0]),
                said(*papers, Relation::Group, &values[1]),
                said(*papers, Relation::Direction, &[0, 1]),
                said(*papers, Relation::Reversed, &[0, 1]),
            ]
            .concat(),
            Self::Replicate {
                papers,
                target,
                values,
                ..
            } => {
                let own = said(target + 1, Relation::Protocol, &values[1]);
                [
                    said(*papers, Relation::Measure, &values[0]),
                    said(*papers, Relation::Repeats, &values[1]),
                    own.into_iter().filter(|f| f.subject == *target).collect(),
                ]
                .concat()
            }
        }
    }

    fn consistent(&self, facts: &[PaperFact]) -> bool {
        // Nothing is said twice of a paper, and nobody takes away more than there is.
        // From the end, where a conceivable fact was added that is most often one too many.
        facts.iter().enumerate().rev().all(|(i, f)| {
            facts[..i]
                .iter()
                .all(|g| (g.subject, g.relation) != (f.subject, f.relation))
                && remainder(facts, f.subject).is_none_or(|left| left >= 0)
        })
    }
}

/// The passages that a question needs: those without which more than one answer remains possible.
pub fn evidence(query: &PaperQuery, facts: &[PaperFact], passages: usize) -> Vec<usize> {
    (0..passages)
        .filter(|&p| facts.iter().any(|f| f.passage == p))
        .filter(|&p| possible(query, facts, Some(p)).len() >= 2)
        .collect()
}
