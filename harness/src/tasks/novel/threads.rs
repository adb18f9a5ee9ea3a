//! Threads of a novel: scenes whose order among themselves matters, made so that no value stands out.
//!
//! In every thread, each value is taken equally often, by several people and in several orders; what is superseded, or
//! almost happens, or happens to others, looks just like what is asked for.

use super::render::Scene;
use super::world::{Kind, NovelFact, Relation, Step, consistent};
use crate::rng::Rng;

/// Merges chains at random, each in its own order.
pub fn merge(rng: &mut Rng, chains: Vec<Vec<Scene>>) -> Vec<Scene> {
    let mut order: Vec<usize> = chains
        .iter()
        .enumerate()
        .flat_map(|(i, chain)| std::iter::repeat_n(i, chain.len()))
        .collect();
    rng.shuffle(&mut order);
    let mut chains: Vec<_> = chains.into_iter().map(Vec::into_iter).collect();
    order.into_iter().filter_map(|i| chains[i].next()).collect()
}

/// The facts of scenes; a scene's number is its time and its passage.
pub fn facts(scenes: &[Scene]) -> Vec<NovelFact> {
    scenes
        .iter()
        .enumerate()
        .filter_map(|(i, scene)| match *scene {
            Scene::Fact(subject, relation, object, _) => Some(NovelFact {
                subject,
                relation,
                object,
                time: i as u32,
                passage: i,
            }),
            Scene::Meeting(..) => None,
        })
        .collect()
}

/// One subject goes through all of these steps in random order.
pub fn chain(rng: &mut Rng, subject: u32, steps: &[Step]) -> Vec<Scene> {
    let mut steps = steps.to_vec();
    rng.shuffle(&mut steps);
    steps
        .into_iter()
        .map(|(kind, value)| becomes(subject, kind, value))
        .collect()
}

/// Adds a scene for every step in which the subject *almost* takes it, wherever that contradicts nothing.
///
/// After the last step at least two of the values stay free of such a scene: who knew all but one of the values that
/// somebody turned down could tell the last one by elimination.
pub fn with_declined(rng: &mut Rng, chain: Vec<Scene>, subject: u32, steps: &[Step]) -> Vec<Scene> {
    let mut chain = chain;
    for &(kind, value) in steps {
        let declined = Scene::Fact(subject, Relation::Declined(kind), value, None);
        let is_step = |scene: &Scene| matches!(scene, Scene::Fact(_, Relation::Becomes(_), ..));
        let after = chain.iter().rposition(is_step).map_or(0, |last| last + 1);
        let full = chain.len() - after + 2 >= steps.len();
        let open: Vec<usize> = (0..=if full { after - 1 } else { chain.len() })
            .filter(|&at| {
                let mut longer = chain.clone();
                longer.insert(at, declined);
                consistent(&facts(&longer))
            })
            .collect();
        if !open.is_empty() {
            chain.insert(*rng.choose(&open), declined);
        }
    }
    chain
}

/// Several subjects go through the same values of one kind; the first one declines each of them once, too, where
/// `declined` says so, and the others where `all` does.
pub fn states(
    rng: &mut Rng,
    kind: Kind,
    subjects: &[u32],
    values: &[u32],
    declined: [bool; 2],
) -> Vec<Scene> {
    let steps: Vec<Step> = values.iter().map(|&value| (kind, value)).collect();
    courses(rng, subjects, &steps, declined)
}

/// Several subjects go through the same steps, each in another order.
pub fn courses(
    rng: &mut Rng,
    subjects: &[u32],
    steps: &[Step],
    [first, others]: [bool; 2],
) -> Vec<Scene> {
    let chains = subjects
        .iter()
        .enumerate()
        .map(|(i, &subject)| {
            let taken = chain(rng, subject, steps);
            if if i == 0 { first } else { others } {
                with_declined(rng, taken, subject, steps)
            } else {
                taken
            }
        })
        .collect();
    merge(rng, chains)
}

/// People move between places (each person through `moves` of them, each place equally often, no two people ending in
/// the same one) while a thing goes from each of them to another. One person and one place for each other.
pub fn whereabouts(
    rng: &mut Rng,
    thing: u32,
    people: &[u32],
    places: &[u32],
    moves: usize,
) -> Vec<Scene> {
    let n = people.len();
    let mut places = places.to_vec();
    rng.shuffle(&mut places);
    let mut chains: Vec<Vec<Scene>> = people
        .iter()
        .enumerate()
        .map(|(i, &person)| {
            (0..moves)
                .map(|j| becomes(person, Kind::Home, places[(i + j) % n]))
                .collect()
        })
        .collect();
    let holders: Vec<Step> = people.iter().map(|&p| (Kind::Holder, p)).collect();
    chains.push(chain(rng, thing, &holders));
    merge(rng, chains)
}

/// Who is in a thread of secrets.
#[derive(Clone, Copy, Debug)]
pub struct Gossip {
    /// The secret that is asked about, and another.
    pub secrets: [u32; 2],
    /// Those who find them out and tell.
    pub tellers: [u32; 2],
    /// The two who are told both.
    pub listeners: [u32; 2],
    /// What happens meanwhile; the first is asked about.
    pub happenings: [u32; 2],
    /// How often a listener is not told a secret.
    pub not_told: usize,
}

/// Two people find out a secret each and tell it to two others, one before and one after the town sees something; or
/// both before, or both after (`before`: whether each of the listeners hears the first secret before the first happening).
pub fn gossip(rng: &mut Rng, g: Gossip, before: [bool; 2]) -> Vec<Scene> {
    let first = Scene::Fact(g.happenings[0], Relation::Happens, 0, None);
    // The first secret: the happening among the tellings as demanded, and refusals anywhere before a listener knows.
    let told = |i: usize, s: usize| {
        Scene::Fact(
            g.listeners[i],
            Relation::Learns,
            g.secrets[s],
            Some(g.tellers[s]),
        )
    };
    let not = |i: usize, s: usize| {
        Scene::Fact(
            g.listeners[i],
            Relation::NotTold,
            g.secrets[s],
            Some(g.tellers[s]),
        )
    };
    let found = |s: usize| Scene::Fact(g.tellers[s], Relation::Learns, g.secrets[s], None);
    let mut listeners = [0, 1];
    rng.shuffle(&mut listeners);
    let mut asked: Vec<Scene> = listeners
        .iter()
        .filter(|&&i| before[i])
        .map(|&i| told(i, 0))
        .collect();
    asked.push(first);
    asked.extend(
        listeners
            .iter()
            .filter(|&&i| !before[i])
            .map(|&i| told(i, 0)),
    );
    let mut other: Vec<Scene> = vec![told(0, 1), told(1, 1)];
    rng.shuffle(&mut other);
    for (s, scenes) in [(0, &mut asked), (1, &mut other)] {
        for round in 0..2 * g.not_told {
            let i = round % 2;
            // Before the listener knows; and before the happening, for who is not told after it did not know at it.
            let until = scenes
                .iter()
                .position(|scene| *scene == told(i, s) || *scene == first)
                .unwrap_or(0);
            scenes.insert(rng.below(until + 1), not(i, s));
        }
        scenes.insert(0, found(s));
    }
    let second = Scene::Fact(g.happenings[1], Relation::Happens, 0, None);
    merge(rng, vec![asked, other, vec![second]])
}

/// A scene in which a subject's state changes.
pub fn becomes(subject: u32, kind: Kind, value: u32) -> Scene {
    Scene::Fact(subject, Relation::Becomes(kind), value, None)
}
