//! Which passages a question needs. `facts::prove` checks that they are enough, and that each is needed.

use super::world::{Claim, Kind, NovelFact, NovelQuery, Relation, Step};

/// The passages that answer a question.
pub fn evidence(query: &NovelQuery, facts: &[NovelFact]) -> Vec<usize> {
    let mut passages = match query {
        NovelQuery::Last { kind, subject, .. }
        | NovelQuery::Claim(Claim::Last(kind, subject, _)) => last(facts, *kind, *subject)
            .map(|f| f.passage)
            .into_iter()
            .collect(),
        NovelQuery::Whereabouts { thing, .. }
        | NovelQuery::Claim(Claim::Whereabouts(thing, ..)) => {
            let holder = last(facts, Kind::Holder, *thing);
            let home = holder.and_then(|f| last(facts, Kind::Home, f.object));
            holder.into_iter().chain(home).map(|f| f.passage).collect()
        }
        NovelQuery::Order { person, steps, .. } => steps
            .iter()
            .flat_map(|s| step(facts, *person, *s))
            .collect(),
        NovelQuery::Claim(Claim::Before(person, first, second)) => [*first, *second]
            .iter()
            .flat_map(|s| step(facts, *person, *s))
            .collect(),
        NovelQuery::Knew {
            secret,
            happening,
            people,
        } => knew(facts, people, *secret, *happening),
        NovelQuery::Claim(Claim::Knew(person, secret, happening)) => {
            knew(facts, &[*person], *secret, *happening)
        }
        NovelQuery::Arc { person } => facts
            .iter()
            .filter(|f| f.subject == *person)
            .filter(|f| matches!(f.relation, Relation::Becomes(kind) if kind != Kind::Holder))
            .map(|f| f.passage)
            .collect::<Vec<_>>(),
    };
    passages.sort_unstable();
    passages.dedup();
    passages
}

fn last(facts: &[NovelFact], kind: Kind, subject: u32) -> Option<&NovelFact> {
    facts
        .iter()
        .filter(|f| f.relation == Relation::Becomes(kind) && f.subject == subject)
        .max_by_key(|f| f.time)
}

fn step(facts: &[NovelFact], person: u32, (kind, value): Step) -> Option<usize> {
    let wanted = (Relation::Becomes(kind), person, value);
    facts
        .iter()
        .find(|f| (f.relation, f.subject, f.object) == wanted)
        .map(|f| f.passage)
}

fn knew(facts: &[NovelFact], people: &[u32], secret: u32, happening: u32) -> Vec<usize> {
    facts
        .iter()
        .filter(|f| match f.relation {
            Relation::Learns => f.object == secret && people.contains(&f.subject),
            Relation::Happens => f.subject == happening,
            _ => false,
        })
        .map(|f| f.passage)
        .collect()
}
