//! From books to questions.

use serde::{Deserialize, Serialize};

use super::super::facts::Unsound;
use super::super::reading::{CHOOSING, JUDGING, Size, Split, spread, with_options};
use super::book::Book;
use super::cases::Topic;
use super::wording::Wording;
use super::words::TRADES;
use super::world::{Kind, NovelQuery, Step};
use crate::item::{Filler, Question, Scorer};
use crate::rng::{Rng, derive};

/// What is asked about a novel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Where somebody lives, what somebody does, who has a thing, when the book ends.
    LastState,
    /// In which order somebody's life went.
    ArcOrder,
    /// Which of two people knew a secret before something happened.
    Knowledge,
    /// Claims in pairs, one true and one false, minimally different; counted in pairs.
    Claims,
    /// A person's arc in free text.
    Arc,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::LastState,
        Self::ArcOrder,
        Self::Knowledge,
        Self::Claims,
        Self::Arc,
    ];

    /// Its name: `last-state`.
    pub fn name(self) -> &'static str {
        match self {
            Self::LastState => "last-state",
            Self::ArcOrder => "arc-order",
            Self::Knowledge => "knowledge",
            Self::Claims => "claims",
            Self::Arc => "arc",
        }
    }
}

/// What to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Params {
    /// The task.
    pub task: Task,
    /// How long the book is without filler.
    #[serde(default)]
    pub size: Size,
    /// Names and sentences.
    #[serde(default)]
    pub split: Split,
}

/// Draws `n` questions; of claims, `n` pairs, that is `2 n` questions.
///
/// The same seed gives the same questions, whatever `n`.
///
/// ```
/// use fathom_harness::item::Role;
/// use fathom_harness::tasks::novel::{Params, Task, questions};
///
/// let params = Params { task: Task::LastState, size: Default::default(), split: Default::default() };
/// let questions = questions(params, 7, 3);
/// assert_eq!(questions.len(), 3);
/// assert!(questions[0].pieces.iter().any(|piece| piece.role == Role::Evidence));
/// ```
pub fn questions(params: Params, seed: u64, n: usize) -> Vec<Question> {
    (0..n)
        .flat_map(|index| question(params, seed, index))
        .collect()
}

/// The `index`th of [`questions`]: one, or a pair of claims.
pub fn question(params: Params, seed: u64, index: usize) -> Vec<Question> {
    let name = format!("novel/{}", params.task.name());
    for attempt in 0.. {
        let purpose = format!("book {attempt} {:?} {:?}", params.size, params.split);
        let mut rng = Rng::of(seed, &name, index as u64, &purpose);
        let (book, topic) = draw(&mut rng, params);
        let id = format!("{name}/{index:04}");
        let filler = Filler::Prose {
            seed: derive(seed, &name, index as u64, "filler"),
        };
        let drawn = match params.task {
            Task::Claims => claims(&mut rng, &book, params.split, &id, &filler),
            _ => single(&mut rng, &book, params.split, &id, &filler),
        };
        match drawn {
            Ok(questions) => return questions,
            Err(unsound) => tracing::debug!("{id}: {topic:?} drawn again: {unsound}"),
        }
    }
    Vec::new()
}

/// Draws a topic of the task and a book for it.
pub(super) fn draw(rng: &mut Rng, params: Params) -> (Book, Topic) {
    let Params { task, size, split } = params;
    let state = |rng: &mut Rng| match rng.below(if size == Size::Small { 5 } else { 6 }) {
        0 => Topic::Last(Kind::Home),
        1 => Topic::Last(Kind::Trade),
        2 => Topic::Last(Kind::Society),
        3 => Topic::Last(Kind::Holder),
        _ => Topic::Whereabouts,
    };
    let topic = match task {
        Task::LastState => state(rng),
        Task::ArcOrder => Topic::Order,
        Task::Knowledge => Topic::Knew([rng.chance(0.5), rng.chance(0.5)]),
        Task::Claims => match rng.below(4) {
            0 => Topic::Order,
            1 => {
                let first = rng.chance(0.5);
                Topic::Knew([first, !first])
            }
            _ => state(rng),
        },
        Task::Arc => Topic::Arc,
    };
    (
        Book::draw(rng, topic, size, split, task == Task::Claims),
        topic,
    )
}

const INSTRUCTION: &str = "Read this book. A question about it follows at the end.\n\n";

fn single(
    rng: &mut Rng,
    book: &Book,
    split: Split,
    id: &str,
    filler: &Filler,
) -> Result<Vec<Question>, Unsound> {
    let case = &book.case;
    let (task, ask, prefix, scorer, expected, max_tokens) = match &case.query {
        NovelQuery::Arc { person } => {
            let steps = own_steps(book, *person);
            let expected = steps
                .iter()
                .flat_map(|&(kind, value)| [kind as u32, value])
                .collect();
            let wording = Wording {
                split,
                cast: &book.cast,
                variant: false,
            };
            let he = book.cast[*person as usize].pronouns;
            let ask = format!(
                "Question: {} Say in the order of the book what {} did for a living, where {} lived and which societies {} \
                 joined. Leave out what did not happen to {}.",
                case.question, he.he, he.he, he.he, he.him
            );
            let scorer = Scorer::Arc {
                events: steps.iter().map(|&step| mentions(wording, step)).collect(),
                never: case
                    .never
                    .iter()
                    .map(|&(kind, value)| wording.phrase(kind, value))
                    .collect(),
            };
            (Task::Arc, ask, "", scorer, expected, 300)
        }
        query => {
            let task = match query {
                NovelQuery::Order { .. } => Task::ArcOrder,
                NovelQuery::Knew { .. } => Task::Knowledge,
                _ => Task::LastState,
            };
            let scorer = Scorer::Choice {
                options: case.shown.clone(),
                correct: case.correct,
            };
            (
                task,
                with_options(&case.question, &case.shown),
                CHOOSING,
                scorer,
                vec![case.correct as u32],
                32,
            )
        }
    };
    book.prove(&case.query, &expected)?;
    let roles = book.roles(&case.query);
    Ok(vec![Question {
        id: id.to_string(),
        suite: "novel".to_string(),
        task: task.name().to_string(),
        cluster: id.to_string(),
        instruction: INSTRUCTION.to_string(),
        pieces: spread(rng, &book.passages, |i| roles[i]),
        filler: filler.clone(),
        ask,
        answer_prefix: prefix.to_string(),
        shared: None,
        scorer,
        max_tokens,
    }])
}

fn claims(
    rng: &mut Rng,
    book: &Book,
    split: Split,
    id: &str,
    filler: &Filler,
) -> Result<Vec<Question>, Unsound> {
    let wording = Wording {
        split,
        cast: &book.cast,
        variant: rng.chance(0.5),
    };
    let pieces = spread(rng, &book.passages, |_| crate::item::Role::Body);
    let both = book.case.claims.iter().flatten().zip([true, false]);
    both.map(|((claim, _), truth)| {
        let query = NovelQuery::Claim(claim.clone());
        book.prove(&query, &[u32::from(!truth)])?;
        let mut pieces = pieces.clone();
        for (piece, role) in pieces.iter_mut().zip(book.roles(&query)) {
            piece.role = role;
        }
        let question = wording.question(&query);
        Ok(Question {
            id: format!("{id}{}", if truth { "t" } else { "f" }),
            suite: "novel".to_string(),
            task: Task::Claims.name().to_string(),
            cluster: id.to_string(),
            instruction: INSTRUCTION.to_string(),
            pieces,
            filler: filler.clone(),
            ask: format!(
                "Claim: {}\nQuestion: {question} Reply with: The claim is true. Or: The claim is false.",
                wording.claim(claim)
            ),
            answer_prefix: JUDGING.to_string(),
            shared: None,
            scorer: Scorer::Claim {
                truth,
                pair: id.to_string(),
            },
            max_tokens: 16,
        })
    })
    .collect()
}

/// A person's steps in the order of the book.
fn own_steps(book: &Book, person: u32) -> Vec<Step> {
    use super::world::Relation;
    let own = |fact: super::world::NovelFact| match fact.relation {
        Relation::Becomes(kind) if kind != Kind::Holder && fact.subject == person => {
            Some((kind, fact.object))
        }
        _ => None,
    };
    book.facts().into_iter().filter_map(own).collect()
}

/// The phrases by which a free answer mentions a step.
fn mentions(wording: Wording, (kind, value): Step) -> Vec<String> {
    match kind {
        Kind::Trade => TRADES[value as usize]
            .words
            .iter()
            .map(ToString::to_string)
            .collect(),
        _ => vec![wording.phrase(kind, value)],
    }
}
