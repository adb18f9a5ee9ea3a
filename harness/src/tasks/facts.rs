//! The solver that proves a question sound: facts as data, the passage that states each, and what remains possible
//! when a passage is missing.
//!
//! A generated document states facts. A [`Query`] is a function of facts. Three things must hold before a question
//! is asked ([`prove`]):
//!
//! 1. all facts of the document make exactly one answer right, and so do those of the evidence alone (the short
//!    control has an answer);
//! 2. without any one passage of the evidence at least two answers remain possible: every passage marked as
//!    evidence is needed, and nothing else in the document gives its content away;
//! 3. without any one other passage the answer is the same: nothing outside of the evidence is needed.
//!
//! "Possible" is meant in the strict sense: a reader who knows that a passage is missing considers every fact that
//! it may have stated, at every time, that contradicts none of the remaining ones.
//!
//! ```
//! use std::collections::BTreeSet;
//! use fathom_harness::tasks::facts::{Fact, Query, possible, prove};
//!
//! /// Where somebody lives at the end; the relation is "moved to".
//! struct Home(u32);
//! impl Query for Home {
//!     type Relation = ();
//!     fn answer(&self, facts: &[Fact<()>]) -> Option<Vec<u32>> {
//!         let moves = facts.iter().filter(|f| f.subject == self.0);
//!         moves.max_by_key(|f| f.time).map(|f| vec![f.object])
//!     }
//!     fn conceivable(&self, time: u32) -> Vec<Fact<()>> {
//!         (0..3).map(|place| Fact { subject: self.0, relation: (), object: place, time, passage: usize::MAX }).collect()
//!     }
//! }
//!
//! let fact = |subject, object, time| Fact { subject, relation: (), object, time, passage: time as usize };
//! let facts = [fact(7, 0, 0), fact(8, 1, 1), fact(7, 2, 2)];
//! assert_eq!(possible(&Home(7), &facts, None), BTreeSet::from([vec![2]]));
//! assert_eq!(possible(&Home(7), &facts, Some(2)).len(), 3);
//! assert!(prove(&Home(7), &facts, &[2], &[2]).is_ok());
//! assert!(prove(&Home(7), &facts, &[0], &[2]).is_err(), "the first move alone says something else");
//! ```

use std::collections::BTreeSet;

/// Something that a passage of a document states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact<R> {
    /// Whom or what it is about.
    pub subject: u32,
    /// What is said.
    pub relation: R,
    /// With regard to whom, what, or which number.
    pub object: u32,
    /// When: larger is later.
    pub time: u32,
    /// The passage that states it.
    pub passage: usize,
}

/// What a question asks, as a function of facts.
pub trait Query {
    /// What facts can say.
    type Relation: Copy;

    /// The one answer that a document which states exactly these facts makes right; `None` where it makes none right,
    /// or more than one. An answer is the option's number, or the whole order where an order is asked for.
    fn answer(&self, facts: &[Fact<Self::Relation>]) -> Option<Vec<u32>>;

    /// Every fact that could bear on the answer and that a passage could state at this time.
    fn conceivable(&self, time: u32) -> Vec<Fact<Self::Relation>>;

    /// Whether these facts can all be true in one world.
    fn consistent(&self, _facts: &[Fact<Self::Relation>]) -> bool {
        true
    }
}

/// The answers that remain possible for a reader who misses one passage (or none).
///
/// Where the missing passage stated several facts, the reader of this solver misses only as much as one fact can
/// say; the real reader knows less, so at least these answers remain possible.
pub fn possible<Q: Query>(
    query: &Q,
    facts: &[Fact<Q::Relation>],
    missing: Option<usize>,
) -> BTreeSet<Vec<u32>> {
    // Times are doubled so that there is room before, between and after all facts.
    let mut known: Vec<Fact<Q::Relation>> = facts
        .iter()
        .filter(|fact| Some(fact.passage) != missing)
        .map(|fact| Fact {
            time: 2 * fact.time + 1,
            ..*fact
        })
        .collect();
    let mut answers = BTreeSet::new();
    if query.consistent(&known) {
        answers.extend(query.answer(&known));
    }
    if missing.is_some() {
        let gaps: BTreeSet<u32> = known
            .iter()
            .flat_map(|fact| [fact.time - 1, fact.time + 1])
            .chain([0])
            .collect();
        for time in gaps {
            for fact in query.conceivable(time) {
                known.push(fact);
                if query.consistent(&known) {
                    answers.extend(query.answer(&known));
                }
                known.pop();
            }
        }
    }
    answers
}

/// Why a question is not sound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    /// The document contradicts itself.
    #[error("the facts contradict each other")]
    Contradictory,
    /// The document does not make the expected answer right.
    #[error("the document says {found:?}, expected {expected:?}")]
    Wrong {
        /// What the solver found.
        found: Option<Vec<u32>>,
        /// What was to be right.
        expected: Vec<u32>,
    },
    /// The evidence alone does not make it right.
    #[error("the evidence alone says {found:?}, expected {expected:?}")]
    Incomplete {
        /// What the solver found.
        found: Option<Vec<u32>>,
        /// What was to be right.
        expected: Vec<u32>,
    },
    /// A passage is marked as evidence and is not needed.
    #[error("without passage {passage} the answer can still be told")]
    Superfluous {
        /// The passage.
        passage: usize,
    },
    /// A passage is needed and not marked as evidence.
    #[error("without passage {passage}, which is no evidence, the answer changes")]
    Unmarked {
        /// The passage.
        passage: usize,
    },
}

/// Proves that a question is sound (see the module's three conditions).
///
/// # Errors
/// The condition that does not hold.
pub fn prove<Q: Query>(
    query: &Q,
    facts: &[Fact<Q::Relation>],
    evidence: &[usize],
    expected: &[u32],
) -> Result<(), Unsound> {
    if !query.consistent(facts) {
        return Err(Unsound::Contradictory);
    }
    let found = query.answer(facts);
    if found.as_deref() != Some(expected) {
        return Err(Unsound::Wrong {
            found,
            expected: expected.to_vec(),
        });
    }
    let alone: Vec<_> = facts
        .iter()
        .filter(|fact| evidence.contains(&fact.passage))
        .copied()
        .collect();
    let found = query.answer(&alone);
    if found.as_deref() != Some(expected) {
        return Err(Unsound::Incomplete {
            found,
            expected: expected.to_vec(),
        });
    }
    let passages: BTreeSet<usize> = facts.iter().map(|fact| fact.passage).collect();
    for passage in passages {
        if evidence.contains(&passage) {
            if possible(query, facts, Some(passage)).len() < 2 {
                return Err(Unsound::Superfluous { passage });
            }
        } else {
            let rest: Vec<_> = facts
                .iter()
                .filter(|fact| fact.passage != passage)
                .copied()
                .collect();
            if query.answer(&rest).as_deref() != Some(expected) {
                return Err(Unsound::Unmarked { passage });
            }
        }
    }
    Ok(())
}
