//! The world of a novel as facts, and the questions about it as functions of facts.

use super::super::facts::{Fact, Query};

/// What can change about a person or a thing. At any time there is one value, or none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The town where a person lives; the object is a place.
    Home,
    /// What a person does for a living; the object is a trade.
    Trade,
    /// The society that a person belongs to; the object is a society.
    Society,
    /// Who has a thing; the *subject* is a thing, the object a person.
    Holder,
}

/// What a passage of a novel can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// From now on the subject's value of this kind is the object.
    Becomes(Kind),
    /// The object might have become the subject's value of this kind, and did not.
    Declined(Kind),
    /// From now on the subject, a person, knows the object, a secret.
    Learns,
    /// The subject, a person, is not told the object, a secret, and does not know it.
    NotTold,
    /// The subject, something that the whole town sees, happens.
    Happens,
}

/// A fact of a novel. Subjects and objects are numbers in the book's lists of people, places, trades and so on.
pub type NovelFact = Fact<Relation>;

/// Whether facts can all be true: nobody becomes what he is or declines it, nobody learns what he knows, and nothing
/// happens twice.
pub fn consistent(facts: &[NovelFact]) -> bool {
    facts.iter().all(|fact| match fact.relation {
        Relation::Becomes(kind) | Relation::Declined(kind) => {
            state(facts, kind, fact.subject, fact.time) != Some(fact.object)
        }
        Relation::Learns | Relation::NotTold => !facts.iter().any(|other| {
            other.relation == Relation::Learns
                && (other.subject, other.object) == (fact.subject, fact.object)
                && other.time < fact.time
        }),
        Relation::Happens => {
            facts
                .iter()
                .filter(|other| (other.relation, other.subject) == (fact.relation, fact.subject))
                .count()
                == 1
        }
    })
}

/// The value of a state before a time.
pub fn state(facts: &[NovelFact], kind: Kind, subject: u32, before: u32) -> Option<u32> {
    facts
        .iter()
        .filter(|f| {
            f.relation == Relation::Becomes(kind) && f.subject == subject && f.time < before
        })
        .max_by_key(|f| f.time)
        .map(|f| f.object)
}

/// When somebody learns a secret.
fn learns(facts: &[NovelFact], person: u32, secret: u32) -> Option<u32> {
    facts
        .iter()
        .find(|f| (f.relation, f.subject, f.object) == (Relation::Learns, person, secret))
        .map(|f| f.time)
}

/// When something happens.
fn happens(facts: &[NovelFact], happening: u32) -> Option<u32> {
    facts
        .iter()
        .find(|f| (f.relation, f.subject) == (Relation::Happens, happening))
        .map(|f| f.time)
}

/// A step of an arc: a kind of state and its new value.
pub type Step = (Kind, u32);

/// When each step is taken, if each is taken exactly once.
fn steps(facts: &[NovelFact], person: u32, steps: &[Step]) -> Option<Vec<u32>> {
    steps
        .iter()
        .map(|&(kind, value)| {
            let wanted = (Relation::Becomes(kind), person, value);
            let mut times = facts
                .iter()
                .filter(|f| (f.relation, f.subject, f.object) == wanted)
                .map(|f| f.time);
            let time = times.next()?;
            times.next().is_none().then_some(time)
        })
        .collect()
}

/// A question about a novel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NovelQuery {
    /// Which of the options is the subject's value of this kind at the end.
    Last {
        /// What kind of state.
        kind: Kind,
        /// Whose.
        subject: u32,
        /// Values.
        options: Vec<u32>,
    },
    /// In which of the options (places) the person who has the thing at the end lives at the end.
    Whereabouts {
        /// The thing.
        thing: u32,
        /// Everyone who may have it.
        people: Vec<u32>,
        /// Places.
        options: Vec<u32>,
    },
    /// Which of the options (orders of the steps) is the order in which a person takes these steps.
    Order {
        /// Whose.
        person: u32,
        /// The steps.
        steps: Vec<Step>,
        /// Orders: numbers of steps, the earliest first.
        options: Vec<Vec<usize>>,
    },
    /// Which of two people know a secret when something happens. Options: both, the first only, the second only, neither.
    Knew {
        /// The secret.
        secret: u32,
        /// What happens.
        happening: u32,
        /// The two.
        people: [u32; 2],
    },
    /// A claim: option 0 is that it is true, 1 that it is false.
    Claim(Claim),
    /// The whole sequence of a person's steps; no options.
    Arc {
        /// Whose.
        person: u32,
    },
}

/// What a claim claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The subject's value of this kind at the end is this one.
    Last(Kind, u32, u32),
    /// The thing is at this place at the end; with everyone who may have it, and the other place spoken of.
    Whereabouts(u32, Vec<u32>, [u32; 2]),
    /// A person takes the first step before the second.
    Before(u32, Step, Step),
    /// A person knows a secret when something happens.
    Knew(u32, u32, u32),
}

impl NovelQuery {
    fn last_place(facts: &[NovelFact], thing: u32) -> Option<u32> {
        let holder = state(facts, Kind::Holder, thing, u32::MAX)?;
        state(facts, Kind::Home, holder, u32::MAX)
    }
}

fn position(options: &[u32], value: Option<u32>) -> Option<Vec<u32>> {
    let at = options.iter().position(|&option| Some(option) == value)?;
    Some(vec![at as u32])
}

impl Query for NovelQuery {
    type Relation = Relation;

    fn answer(&self, facts: &[NovelFact]) -> Option<Vec<u32>> {
        match self {
            Self::Last {
                kind,
                subject,
                options,
            } => position(options, state(facts, *kind, *subject, u32::MAX)),
            Self::Whereabouts { thing, options, .. } => {
                position(options, Self::last_place(facts, *thing))
            }
            Self::Order {
                person,
                steps: wanted,
                options,
            } => {
                let times = steps(facts, *person, wanted)?;
                let mut order: Vec<usize> = (0..times.len()).collect();
                order.sort_by_key(|&i| times[i]);
                let at = options.iter().position(|option| *option == order)?;
                Some(vec![at as u32])
            }
            Self::Knew {
                secret,
                happening,
                people,
            } => {
                let when = happens(facts, *happening)?;
                let [a, b] =
                    people.map(|p| learns(facts, p, *secret).is_some_and(|time| time < when));
                Some(vec![match (a, b) {
                    (true, true) => 0,
                    (true, false) => 1,
                    (false, true) => 2,
                    (false, false) => 3,
                }])
            }
            Self::Claim(claim) => claim.holds(facts).map(|holds| vec![u32::from(!holds)]),
            Self::Arc { person } => {
                let mut taken: Vec<(u32, u32, u32)> = facts
                    .iter()
                    .filter(|f| f.subject == *person)
                    .filter_map(|f| match f.relation {
                        Relation::Becomes(kind) if kind != Kind::Holder => {
                            Some((f.time, kind as u32, f.object))
                        }
                        _ => None,
                    })
                    .collect();
                taken.sort_unstable();
                Some(
                    taken
                        .into_iter()
                        .flat_map(|(_, kind, value)| [kind, value])
                        .collect(),
                )
            }
        }
    }

    fn conceivable(&self, time: u32) -> Vec<NovelFact> {
        let fact = |subject, relation, object| Fact {
            subject,
            relation,
            object,
            time,
            passage: usize::MAX,
        };
        let becomes = |subject, (kind, value): Step| fact(subject, Relation::Becomes(kind), value);
        match self {
            Self::Last {
                kind,
                subject,
                options,
            } => options
                .iter()
                .map(|&o| becomes(*subject, (*kind, o)))
                .collect(),
            Self::Whereabouts {
                thing,
                people,
                options,
            } => whereabouts(*thing, people, options, becomes),
            Self::Order { person, steps, .. } => {
                steps.iter().map(|&step| becomes(*person, step)).collect()
            }
            Self::Knew {
                secret,
                happening,
                people,
            } => people
                .iter()
                .map(|&p| fact(p, Relation::Learns, *secret))
                .chain([fact(*happening, Relation::Happens, 0)])
                .collect(),
            Self::Claim(Claim::Last(kind, subject, value)) => {
                // The value claimed, and one that the claim does not speak of.
                vec![
                    becomes(*subject, (*kind, *value)),
                    becomes(*subject, (*kind, u32::MAX)),
                ]
            }
            Self::Claim(Claim::Whereabouts(thing, people, places)) => {
                whereabouts(*thing, people, places, becomes)
            }
            Self::Claim(Claim::Before(person, first, second)) => {
                vec![becomes(*person, *first), becomes(*person, *second)]
            }
            Self::Claim(Claim::Knew(person, secret, happening)) => {
                vec![
                    fact(*person, Relation::Learns, *secret),
                    fact(*happening, Relation::Happens, 0),
                ]
            }
            Self::Arc { person } => [Kind::Home, Kind::Trade, Kind::Society]
                .map(|kind| becomes(*person, (kind, u32::MAX)))
                .to_vec(),
        }
    }

    fn consistent(&self, facts: &[NovelFact]) -> bool {
        consistent(facts)
    }
}

fn whereabouts(
    thing: u32,
    people: &[u32],
    places: &[u32],
    becomes: impl Fn(u32, Step) -> NovelFact,
) -> Vec<NovelFact> {
    let holders = people.iter().map(|&p| becomes(thing, (Kind::Holder, p)));
    let homes = people
        .iter()
        .flat_map(|&p| places.iter().map(move |&place| (p, place)));
    holders
        .chain(homes.map(|(p, place)| becomes(p, (Kind::Home, place))))
        .collect()
}

impl Claim {
    /// Whether facts make the claim true; `None` where they do not say.
    fn holds(&self, facts: &[NovelFact]) -> Option<bool> {
        match self {
            Self::Last(kind, subject, value) => {
                Some(state(facts, *kind, *subject, u32::MAX)? == *value)
            }
            Self::Whereabouts(thing, _, [place, _]) => {
                Some(NovelQuery::last_place(facts, *thing)? == *place)
            }
            Self::Before(person, first, second) => {
                let times = steps(facts, *person, &[*first, *second])?;
                Some(times[0] < times[1])
            }
            Self::Knew(person, secret, happening) => {
                let when = happens(facts, *happening)?;
                Some(learns(facts, *person, *secret).is_some_and(|time| time < when))
            }
        }
    }
}
