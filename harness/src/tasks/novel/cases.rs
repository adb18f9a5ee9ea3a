//! What a book is made to ask: the thread of scenes that a question needs, the question's query and its options.

use super::super::facts::prove;
use super::super::reading::{Size, Split};
use super::cast::{Person, names};
use super::evidence::evidence;
use super::render::Scene;
use super::threads::{Gossip, chain, courses, gossip, merge, states, whereabouts, with_declined};
use super::wording::Wording;
use super::words::{HAPPENINGS, SECRETS, SOCIETIES, THINGS, TRADES};
use super::world::{Claim, Kind, NovelQuery, Relation, Step};
use crate::rng::Rng;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// The last value of a state.
    Last(Kind),
    /// Where the last holder of a thing lives.
    Whereabouts,
    /// The order of a person's steps.
    Order,
    /// Which of two people (first, second) knew.
    Knew([bool; 2]),
    /// A person's arc, in free text.
    Arc,
}

/// The counts that a size means.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// People.
    pub cast: usize,
    /// Values of a state, and people or things that go through them.
    pub values: usize,
    /// Subjects that go through the values.
    pub subjects: usize,
    /// Steps of which the order is asked.
    pub steps: usize,
    /// Steps of an arc that is to be described.
    pub arc: usize,
    /// Threads that nothing is asked about.
    pub extras: usize,
    /// Meetings of people.
    pub meetings: usize,
    /// Chapters.
    pub chapters: usize,
    /// How often a passage has a sentence that changes nothing.
    pub decoration: f64,
}

/// The counts of a size.
pub fn scale(size: Size) -> Scale {
    match size {
        Size::Small => Scale {
            cast: 4,
            values: 3,
            subjects: 3,
            steps: 3,
            arc: 4,
            extras: 0,
            meetings: 0,
            chapters: 3,
            decoration: 0.1,
        },
        Size::Medium => Scale {
            cast: 6,
            values: 4,
            subjects: 4,
            steps: 4,
            arc: 5,
            extras: 1,
            meetings: 5,
            chapters: 6,
            decoration: 0.3,
        },
        Size::Large => Scale {
            cast: 9,
            values: 5,
            subjects: 5,
            steps: 6,
            arc: 6,
            extras: 3,
            meetings: 16,
            chapters: 12,
            decoration: 0.45,
        },
    }
}

/// A thread, and what is asked about it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The scenes in order.
    pub scenes: Vec<Scene>,
    /// The question.
    pub query: NovelQuery,
    /// The question in words.
    pub question: String,
    /// Index of the right option; 0 where there are none.
    pub correct: usize,
    /// The options as shown.
    pub shown: Vec<String>,
    /// The phrases of each option that passages mention.
    pub phrases: Vec<Vec<String>>,
    /// What passages call the one asked about.
    pub subject: String,
    /// Two claims, the true one first, each with the phrases in which it differs from the other; where the thread
    /// allows for it.
    pub claims: Option<[(Claim, Vec<String>); 2]>,
    /// Kinds of states in the thread.
    pub kinds: Vec<Kind>,
    /// For an arc: steps that others take and this person does not.
    pub never: Vec<Step>,
}

/// Makes the thread of a topic.
pub fn case(rng: &mut Rng, topic: Topic, size: Size, split: Split, cast: &[Person]) -> Case {
    let scale = scale(size);
    let wording = Wording {
        split,
        cast,
        variant: rng.chance(0.5),
    };
    // In a small book some have nothing that they decline, or the document would be too long for a short test.
    let declined = [
        size != Size::Small || rng.below(scale.values) > 0,
        size == Size::Large,
    ];
    match topic {
        Topic::Last(kind) => last(rng, kind, scale, declined, wording),
        Topic::Whereabouts => place(rng, scale, wording),
        Topic::Order => order(rng, scale, wording),
        Topic::Knew(before) => knew(rng, before, size, wording),
        Topic::Arc => arc(rng, scale, declined, wording),
    }
}

fn sample(rng: &mut Rng, n: usize, k: usize) -> Vec<u32> {
    rng.sample(n, k).into_iter().map(|i| i as u32).collect()
}

/// Values of a kind.
pub fn values(rng: &mut Rng, kind: Kind, split: Split, cast: usize, k: usize) -> Vec<u32> {
    let n = match kind {
        Kind::Home => names(split).places.len(),
        Kind::Trade => TRADES.len(),
        Kind::Society => SOCIETIES.len(),
        Kind::Holder => cast,
    };
    sample(rng, n, k)
}

/// Subjects of a kind: people, or things.
pub fn subjects(rng: &mut Rng, kind: Kind, cast: usize, k: usize) -> Vec<u32> {
    sample(
        rng,
        if kind == Kind::Holder {
            THINGS.len()
        } else {
            cast
        },
        k,
    )
}

fn last(rng: &mut Rng, kind: Kind, scale: Scale, declined: [bool; 2], wording: Wording) -> Case {
    let mut options = values(rng, kind, wording.split, scale.cast, scale.values);
    let subjects = subjects(rng, kind, scale.cast, scale.subjects);
    let subject = subjects[0];
    let scenes = states(rng, kind, &subjects, &options, declined);
    rng.shuffle(&mut options);
    let query = NovelQuery::Last {
        kind,
        subject,
        options: options.clone(),
    };
    let correct = right(&query, &scenes);
    // Who turns a value down at last cannot have it in the end: a claim of it would need no evidence.
    let is_step =
        |s: &Scene| matches!(s, Scene::Fact(p, Relation::Becomes(_), ..) if *p == subject);
    let end = scenes.iter().rposition(is_step).unwrap_or(0);
    let mut others = options.clone();
    others.retain(|&v| {
        v != options[correct]
            && !scenes[end..].contains(&Scene::Fact(subject, Relation::Declined(kind), v, None))
    });
    let other = *rng.choose(&others);
    let claims = [options[correct], other]
        .map(|v| (Claim::Last(kind, subject, v), vec![wording.phrase(kind, v)]));
    Case {
        question: wording.question(&query),
        correct,
        shown: options.iter().map(|&v| wording.value(kind, v)).collect(),
        phrases: options
            .iter()
            .map(|&v| vec![wording.phrase(kind, v)])
            .collect(),
        subject: match kind {
            Kind::Holder => THINGS[subject as usize].to_string(),
            _ => wording.phrase(Kind::Holder, subject),
        },
        claims: Some(claims),
        kinds: vec![kind],
        never: Vec::new(),
        scenes,
        query,
    }
}

fn place(rng: &mut Rng, scale: Scale, wording: Wording) -> Case {
    let n = scale.values;
    let mut options = values(rng, Kind::Home, wording.split, scale.cast, n);
    let people = sample(rng, scale.cast, n);
    let things = sample(rng, THINGS.len(), 2);
    let mut scenes = whereabouts(rng, things[0], &people, &options, n - 1);
    if n > 3 {
        // Another thing goes round among the same people.
        let holders: Vec<Step> = people.iter().map(|&p| (Kind::Holder, p)).collect();
        let other = chain(rng, things[1], &holders);
        scenes = merge(rng, vec![scenes, other]);
    }
    rng.shuffle(&mut options);
    let query = NovelQuery::Whereabouts {
        thing: things[0],
        people: people.clone(),
        options: options.clone(),
    };
    let correct = right(&query, &scenes);
    let other = options[(correct + 1 + rng.below(n - 1)) % n];
    let (yes, no) = (options[correct], other);
    let claims = [[yes, no], [no, yes]].map(|places| {
        (
            Claim::Whereabouts(things[0], people.clone(), places),
            vec![wording.phrase(Kind::Home, places[0])],
        )
    });
    Case {
        question: wording.question(&query),
        correct,
        shown: options
            .iter()
            .map(|&v| wording.value(Kind::Home, v))
            .collect(),
        phrases: options
            .iter()
            .map(|&v| vec![wording.phrase(Kind::Home, v)])
            .collect(),
        subject: THINGS[things[0] as usize].to_string(),
        claims: Some(claims),
        kinds: vec![Kind::Home, Kind::Holder],
        never: Vec::new(),
        scenes,
        query,
    }
}

/// Steps of all three kinds, in random order.
fn mixed_steps(rng: &mut Rng, split: Split, n: usize) -> Vec<Step> {
    let mut kinds = [Kind::Trade, Kind::Home, Kind::Society];
    rng.shuffle(&mut kinds);
    let mut steps = Vec::new();
    for (i, kind) in kinds.into_iter().enumerate() {
        let k = n / 3 + usize::from(i < n % 3);
        steps.extend(
            values(rng, kind, split, 0, k)
                .into_iter()
                .map(|value| (kind, value)),
        );
    }
    rng.shuffle(&mut steps);
    steps
}

/// The orders to choose from. With 3 steps all; else those that exchange neighbours of disjoint pairs, in which
/// every one of the options has the same distances to the others.
fn orders(taken: &[usize]) -> Vec<Vec<usize>> {
    let n = taken.len();
    if n == 3 {
        return [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ]
        .map(Vec::from)
        .to_vec();
    }
    (0..1usize << (n / 2))
        .map(|flips| {
            let mut order = taken.to_vec();
            for pair in (0..n / 2).filter(|pair| flips & (1 << pair) != 0) {
                order.swap(2 * pair, 2 * pair + 1);
            }
            order
        })
        .collect()
}

fn order(rng: &mut Rng, scale: Scale, wording: Wording) -> Case {
    let steps = mixed_steps(rng, wording.split, scale.steps);
    let people = sample(rng, scale.cast, scale.subjects);
    // What somebody declines can tell where in the order a missing step must have been; then it is drawn again.
    for _ in 0..20 {
        let scenes = courses(rng, &people, &steps, [true, false]);
        let case = order_of(rng, people[0], &steps, scenes, wording);
        let facts = super::threads::facts(&case.scenes);
        let holds = |query: &NovelQuery, answer: u32| {
            prove(query, &facts, &evidence(query, &facts), &[answer]).is_ok()
        };
        let claims = case.claims.iter().flatten().zip([0, 1]);
        if holds(&case.query, case.correct as u32)
            && claims
                .into_iter()
                .all(|((claim, _), answer)| holds(&NovelQuery::Claim(claim.clone()), answer))
        {
            return case;
        }
    }
    let scenes = courses(rng, &people, &steps, [false, false]);
    order_of(rng, people[0], &steps, scenes, wording)
}

fn order_of(
    rng: &mut Rng,
    person: u32,
    steps: &[Step],
    scenes: Vec<Scene>,
    wording: Wording,
) -> Case {
    let at = |step: &Step| {
        scenes
            .iter()
            .position(|s| *s == super::threads::becomes(person, step.0, step.1))
    };
    let mut taken: Vec<usize> = (0..steps.len()).collect();
    taken.sort_by_key(|&i| at(&steps[i]));
    let pair = 2 * rng.below(taken.len() / 2);
    let (a, b) = (steps[taken[pair]], steps[taken[pair + 1]]);
    let mut options = orders(&taken);
    rng.shuffle(&mut options);
    let query = NovelQuery::Order {
        person,
        steps: steps.to_vec(),
        options: options.clone(),
    };
    let correct = right(&query, &scenes);
    let phrase = |&i: &usize| wording.phrase(steps[i].0, steps[i].1);
    let told = |&i: &usize| wording.step(steps[i]);
    Case {
        question: wording.question(&query),
        correct,
        shown: options
            .iter()
            .map(|o| o.iter().map(told).collect::<Vec<_>>().join(", then "))
            .collect(),
        phrases: options
            .iter()
            .map(|o| o.iter().map(phrase).collect())
            .collect(),
        subject: wording.phrase(Kind::Holder, person),
        claims: Some([(a, b), (b, a)].map(|(first, then)| {
            let phrases = [first, then]
                .map(|(kind, v)| wording.phrase(kind, v))
                .to_vec();
            (Claim::Before(person, first, then), phrases)
        })),
        kinds: vec![Kind::Home, Kind::Trade, Kind::Society],
        never: Vec::new(),
        scenes,
        query,
    }
}

fn knew(rng: &mut Rng, before: [bool; 2], size: Size, wording: Wording) -> Case {
    let people = sample(rng, wording.cast.len(), 4);
    // One half of the secrets and happenings is for training, the other for testing.
    let half = |rng: &mut Rng, n: usize| -> [u32; 2] {
        let from = if wording.split == Split::Train {
            0
        } else {
            n / 2
        };
        let two = rng.sample(n / 2, 2);
        [two[0] + from, two[1] + from].map(|i| i as u32)
    };
    let g = Gossip {
        secrets: half(rng, SECRETS.len()),
        tellers: [people[2], people[3]],
        listeners: [people[0], people[1]],
        happenings: half(rng, HAPPENINGS.len()),
        not_told: match size {
            Size::Small => 1,
            Size::Medium => 2,
            Size::Large => 4,
        },
    };
    let scenes = gossip(rng, g, before);
    let query = NovelQuery::Knew {
        secret: g.secrets[0],
        happening: g.happenings[0],
        people: g.listeners,
    };
    let correct = right(&query, &scenes);
    let [a, b] = g.listeners;
    let name = |p| wording.value(Kind::Holder, p);
    let first = |p| vec![wording.phrase(Kind::Holder, p)];
    let claims = (before[0] != before[1]).then(|| {
        let (yes, no) = if before[0] { (a, b) } else { (b, a) };
        [yes, no].map(|p| (Claim::Knew(p, g.secrets[0], g.happenings[0]), first(p)))
    });
    Case {
        question: wording.question(&query),
        correct,
        shown: vec![
            format!("both {} and {}", name(a), name(b)),
            format!("{}, but not {}", name(a), name(b)),
            format!("{}, but not {}", name(b), name(a)),
            format!("neither {} nor {}", name(a), name(b)),
        ],
        phrases: vec![vec![], first(a), first(b), vec![]],
        subject: SECRETS[g.secrets[0] as usize].topic.to_string(),
        claims,
        kinds: vec![],
        never: Vec::new(),
        scenes,
        query,
    }
}

fn arc(rng: &mut Rng, scale: Scale, declined: [bool; 2], wording: Wording) -> Case {
    // Half of the steps that the others take are this person's too, half are not.
    let all = mixed_steps(rng, wording.split, 2 * scale.arc);
    let (own, never) = all.split_at(scale.arc);
    let people = sample(rng, scale.cast, scale.subjects);
    let person = people[0];
    let mut chains = vec![chain(rng, person, own)];
    if declined[0] {
        let taken = chains.remove(0);
        chains.push(with_declined(rng, taken, person, &own[..2]));
    }
    for &other in &people[1..] {
        let mut steps = own[..scale.arc / 2].to_vec();
        steps.extend(
            rng.sample(never.len(), scale.arc / 2)
                .into_iter()
                .map(|i| never[i]),
        );
        chains.push(chain(rng, other, &steps));
    }
    let query = NovelQuery::Arc { person };
    Case {
        scenes: merge(rng, chains),
        question: wording.question(&query),
        correct: 0,
        shown: Vec::new(),
        phrases: Vec::new(),
        subject: wording.phrase(Kind::Holder, person),
        claims: None,
        kinds: vec![Kind::Home, Kind::Trade, Kind::Society],
        never: never.to_vec(),
        query,
    }
}

/// The option that the scenes make right.
fn right(query: &NovelQuery, scenes: &[Scene]) -> usize {
    use super::super::facts::Query as _;
    query
        .answer(&super::threads::facts(scenes))
        .map_or(0, |answer| answer[0] as usize)
}
