//! What a collection is made to ask: facts drawn so that the answer depends on all of them together.

use super::super::facts::prove;
use super::super::reading::Size;
use super::collection::{Layout, Plan};
use super::words::PROTOCOLS;
use super::world::{PaperFact, PaperQuery, Relation, agreement, evidence, likeness};
use crate::rng::Rng;

/// By what papers are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criterion {
    /// The sample that remains after exclusions and later withdrawals.
    Sample,
    /// The points that remain after two deductions.
    Points,
}

/// A plan and what is asked of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is written.
    pub plan: Plan,
    /// What is asked.
    pub query: PaperQuery,
    /// The right answer.
    pub expected: Vec<u32>,
}

/// Number of papers to rank, and to compare.
pub fn papers(size: Size) -> (usize, usize) {
    match size {
        Size::Small => (3, 4),
        Size::Medium => (5, 6),
        Size::Large => (7, 9),
    }
}

/// Papers to rank by what remains of a number after two cuts.
///
/// What remains differs by little, in an order of its own. The cuts, and their sums, differ by more than that, each in
/// an order of its own. So no number by itself, and no two of the three, say anything about the order of what remains.
pub fn rank(rng: &mut Rng, criterion: Criterion, size: Size) -> Case {
    loop {
        let case = rank_of(rng, criterion, size);
        if is_sound(&case) {
            return case;
        }
    }
}

fn rank_of(rng: &mut Rng, criterion: Criterion, size: Size) -> Case {
    let n = papers(size).0;
    let mut remainder = 90 + rng.below(60);
    let mut remainders = Vec::new();
    for _ in 0..n {
        remainder += 1 + rng.below(4);
        remainders.push(remainder);
    }
    let span = remainders[n - 1] - remainders[0] + 2;
    rng.shuffle(&mut remainders);
    let (cut, later) = loop {
        let mut cuts = || -> Vec<usize> {
            let mut cuts: Vec<usize> = (0..n)
                .map(|i| 11 + 2 * i * span + rng.below(span / 2))
                .collect();
            rng.shuffle(&mut cuts);
            cuts
        };
        let (cut, later) = (cuts(), cuts());
        let mut sums: Vec<usize> = cut.iter().zip(&later).map(|(a, b)| a + b).collect();
        sums.sort_unstable();
        if sums.windows(2).all(|two| two[1] - two[0] > span) {
            break (cut, later);
        }
    };
    let said = |p: usize| {
        [
            (Relation::Base, remainders[p] + cut[p] + later[p]),
            (Relation::Cut, cut[p]),
            (Relation::LaterCut, later[p]),
        ]
        .map(|(relation, number)| (relation, number as u32))
        .to_vec()
    };
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.sort_by_key(|&p| std::cmp::Reverse(remainders[p as usize]));
    let layout = match criterion {
        Criterion::Sample => Layout::Sample,
        Criterion::Points => Layout::Points,
    };
    let plan = Plan {
        papers: (0..n).map(said).collect(),
        layout,
        oldest: None,
        discussion: size != Size::Small,
    };
    Case {
        plan,
        query: PaperQuery::Rank { papers: n as u32 },
        expected: order,
    }
}

/// The facts of papers, each in a passage of its own.
fn facts(papers: &[Vec<(Relation, u32)>]) -> Vec<PaperFact> {
    let all = papers
        .iter()
        .enumerate()
        .flat_map(|(p, said)| said.iter().map(move |&(r, o)| (p as u32, r, o)));
    all.enumerate()
        .map(|(passage, (subject, relation, object))| PaperFact {
            subject,
            relation,
            object,
            time: 0,
            passage,
        })
        .collect()
}

/// Whether the proof holds, with some evidence.
fn is_sound(case: &Case) -> bool {
    let facts = facts(&case.plan.papers);
    let needed = evidence(&case.query, &facts, facts.len());
    !needed.is_empty() && prove(&case.query, &facts, &needed, &case.expected).is_ok()
}

/// Papers of which exactly one offered pair contradicts, or none; the other pairs offered nearly do.
pub fn contradict(rng: &mut Rng, size: Size, groups: u32) -> Case {
    let n = papers(size).1 as u32;
    let none = rng.below(4) == 0;
    loop {
        let mut pairs: Vec<[u32; 2]> = (0..n).flat_map(|b| (0..b).map(move |a| [a, b])).collect();
        rng.shuffle(&mut pairs);
        let mut options: Vec<Option<[u32; 2]>> =
            pairs[..3].iter().copied().map(Some).chain([None]).collect();
        rng.shuffle(&mut options);
        let correct = rng.below(options.len());
        if options[correct].is_none() != none {
            continue;
        }
        for _ in 0..4000 {
            let papers: Vec<Vec<(Relation, u32)>> = (0..n)
                .map(|_| {
                    vec![
                        (Relation::Measure, rng.below(2) as u32),
                        (Relation::Group, rng.below(groups as usize) as u32),
                        (Relation::Direction, rng.below(2) as u32),
                        (Relation::Reversed, u32::from(rng.chance(0.4))),
                    ]
                })
                .collect();
            let facts = facts(&papers);
            let only_this = pairs
                .iter()
                .all(|&pair| (agreement(&facts, pair) == 3) == (options[correct] == Some(pair)));
            let near = || {
                options
                    .iter()
                    .flatten()
                    .all(|&pair| agreement(&facts, pair) >= 2)
            };
            if !only_this || !near() {
                continue;
            }
            let plan = Plan {
                papers,
                layout: Layout::Finding,
                oldest: None,
                discussion: size != Size::Small,
            };
            let values = [vec![0, 1], (0..groups).collect()];
            let query = PaperQuery::Contradict {
                papers: n,
                options: options.clone(),
                values,
            };
            let case = Case {
                plan,
                query,
                expected: vec![correct as u32],
            };
            if is_sound(&case) {
                return case;
            }
        }
    }
}

/// A paper, and others of which one at most replicates it; those offered that do not nearly do.
pub fn replicate(rng: &mut Rng, size: Size) -> Case {
    let n = papers(size).1 as u32;
    let target = rng.below(n as usize) as u32;
    let mut others: Vec<u32> = (0..n).filter(|&p| p != target).collect();
    rng.shuffle(&mut others);
    let mut options: Vec<Option<u32>> = others[..3]
        .iter()
        .copied()
        .map(Some)
        .chain([None])
        .collect();
    rng.shuffle(&mut options);
    let correct = rng.below(options.len());
    let protocols: Vec<u32> = rng
        .sample(PROTOCOLS.len() * 4, 3)
        .into_iter()
        .map(|k| k as u32)
        .collect();
    loop {
        let papers: Vec<Vec<(Relation, u32)>> = (0..n)
            .map(|p| {
                let measure = (Relation::Measure, rng.below(2) as u32);
                let protocol = match p == target {
                    true => (Relation::Protocol, protocols[0]),
                    // As many with the target's protocol as with others together.
                    false if rng.chance(0.5) => (Relation::Repeats, protocols[0]),
                    false => (Relation::Repeats, protocols[1 + rng.below(2)]),
                };
                vec![measure, protocol]
            })
            .collect();
        let facts = facts(&papers);
        let only_this = others
            .iter()
            .all(|&p| (likeness(&facts, target, p) == 2) == (options[correct] == Some(p)));
        if !only_this
            || !options
                .iter()
                .flatten()
                .all(|&p| likeness(&facts, target, p) >= 1)
        {
            continue;
        }
        let plan = Plan {
            papers,
            layout: Layout::Protocol,
            oldest: Some(target),
            discussion: size != Size::Small,
        };
        let values = [vec![0, 1], protocols.clone()];
        let query = PaperQuery::Replicate {
            papers: n,
            target,
            options: options.clone(),
            values,
        };
        let case = Case {
            plan,
            query,
            expected: vec![correct as u32],
        };
        if is_sound(&case) {
            return case;
        }
    }
}
