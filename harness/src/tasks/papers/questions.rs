//! From collections to questions.

use serde::{Deserialize, Serialize};

use super::super::facts::prove;
use super::super::novel::surnames;
use super::super::reading::{CHOOSING, Size, Split, letter, spread, with_options};
use super::super::shortcuts::{View, balanced};
use super::cases::{Case, Criterion, contradict, rank, replicate};
use super::collection::{Collection, label, topic, write};
use super::words::GROUPS;
use super::world::{PaperQuery, evidence};
use crate::item::{Filler, Question, Role, Scorer};
use crate::rng::{Rng, derive};

/// What is asked about papers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Judge the papers against each other: rank them by a criterion that the question states.
    Rank,
    /// Which two contradict each other.
    Contradict,
    /// Which one replicates a given one.
    Replicate,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rank, Self::Contradict, Self::Replicate];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rank => "rank",
            Self::Contradict => "contradict",
            Self::Replicate => "replicate",
        }
    }
}

/// What to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Params {
    /// The task.
    pub task: Task,
    /// How many papers: 3 to rank and 4 to compare, 5 and 6, 7 and 9.
    #[serde(default)]
    pub size: Size,
    /// Names, subjects and sentences.
    #[serde(default)]
    pub split: Split,
}

/// A collection, what is asked and how it is put.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub case: Case,
    pub collection: Collection,
    pub question: String,
    /// The options as shown; empty for rankings.
    pub shown: Vec<String>,
    /// The papers that each option names.
    pub named: Vec<Vec<u32>>,
}

/// Draws `n` questions. The same seed gives the same questions, whatever `n`.
///
/// ```
/// use fathom_harness::item::Scorer;
/// use fathom_harness::tasks::papers::{Params, Task, questions};
///
/// let params = Params { task: Task::Rank, size: Default::default(), split: Default::default() };
/// let Scorer::Ranking { order } = &questions(params, 7, 1)[0].scorer else { panic!() };
/// assert_eq!(order.len(), 3);
/// ```
pub fn questions(params: Params, seed: u64, n: usize) -> Vec<Question> {
    (0..n).map(|index| question(params, seed, index)).collect()
}

/// The `index`th of [`questions`].
pub fn question(params: Params, seed: u64, index: usize) -> Question {
    let name = format!("papers/{}", params.task.name());
    let id = format!("{name}/{index:04}");
    let mut attempt = 0;
    loop {
        let purpose = format!("collection {attempt} {:?} {:?}", params.size, params.split);
        let mut rng = Rng::of(seed, &name, index as u64, &purpose);
        let asked = draw(&mut rng, params);
        let Asked {
            case, collection, ..
        } = &asked;
        let needed = evidence(&case.query, &collection.facts, collection.passages.len());
        if let Err(unsound) = prove(&case.query, &collection.facts, &needed, &case.expected) {
            tracing::debug!("{id} drawn again: {unsound}");
            attempt += 1;
            continue;
        }
        let (ask, prefix, scorer) = match &case.query {
            PaperQuery::Rank { .. } => {
                let order = case
                    .expected
                    .iter()
                    .map(|&p| letter(p as usize).to_string())
                    .collect();
                (
                    format!("Question: {}", asked.question),
                    "",
                    Scorer::Ranking { order },
                )
            }
            _ => {
                let scorer = Scorer::Choice {
                    options: asked.shown.clone(),
                    correct: case.expected[0] as usize,
                };
                (
                    with_options(&asked.question, &asked.shown),
                    CHOOSING,
                    scorer,
                )
            }
        };
        let facts = &collection.facts;
        let role = |i: usize| match (needed.contains(&i), facts.iter().any(|f| f.passage == i)) {
            (true, _) => Role::Evidence,
            (false, true) => Role::Distractor,
            (false, false) => Role::Body,
        };
        return Question {
            cluster: id.clone(),
            id,
            suite: "papers".to_string(),
            task: params.task.name().to_string(),
            instruction: "Read these papers and the notes on them. A question about them follows at the end.\n\n".to_string(),
            pieces: spread(&mut rng, &collection.passages, role),
            filler: Filler::Prose { seed: derive(seed, &name, index as u64, "filler") },
            ask,
            answer_prefix: prefix.to_string(),
            scorer,
            max_tokens: 64,
            shared: None,
        };
    }
}

/// How often a collection may be drawn again before the nearest to what [`balanced`] wants is taken.
const TRIES: usize = 80;

/// Draws a collection in which shortcuts are right as often as chance.
pub(super) fn draw(rng: &mut Rng, params: Params) -> Asked {
    let first = compose(rng, params);
    if params.task == Task::Rank {
        return first;
    }
    let is_none = |asked: &Asked| asked.named[asked.case.expected[0] as usize].is_empty();
    if is_none(&first) {
        return first;
    }
    // Nobody guesses from mentions that there is none: of the other options' share of the questions, such a guess may
    // be right in as many as there are options but that one.
    let options = first.named.len() - 1;
    let make = |rng: &mut Rng| {
        loop {
            let asked = compose(rng, params);
            if !is_none(&asked) {
                return asked;
            }
        }
    };
    balanced(rng, options, TRIES, make, Asked::view)
}

impl Asked {
    /// What guessers see, and the right option.
    pub fn view(&self) -> (View<'_>, usize) {
        let view = self
            .collection
            .view(&self.question, self.named.clone(), self.shown.clone());
        (view, self.case.expected[0] as usize)
    }
}

/// Kinds of participants in a collection.
fn groups_of(size: Size) -> usize {
    match size {
        Size::Small => 2,
        Size::Medium => 3,
        Size::Large => 5,
    }
}

fn compose(rng: &mut Rng, params: Params) -> Asked {
    let Params { task, size, split } = params;
    let topic = topic(rng, split);
    let groups: Vec<&'static str> = rng
        .sample(GROUPS.len(), groups_of(size))
        .into_iter()
        .map(|g| GROUPS[g])
        .collect();
    let criterion = if rng.chance(0.5) {
        Criterion::Sample
    } else {
        Criterion::Points
    };
    let case = match task {
        Task::Rank => rank(rng, criterion, size),
        Task::Contradict => contradict(rng, size, groups.len() as u32),
        Task::Replicate => replicate(rng, size),
    };
    let collection = write(rng, &case.plan, split, topic, surnames(split), &groups);
    let (question, named): (String, Vec<Vec<u32>>) = match &case.query {
        PaperQuery::Rank { .. } => (rank_question(criterion, split), Vec::new()),
        PaperQuery::Contradict { options, .. } => {
            let named = options
                .iter()
                .map(|pair| pair.map(Vec::from).unwrap_or_default())
                .collect();
            (
                "Which two papers contradict each other? Two papers do so when they measured the same outcome in the same \
                 kind of participants and report opposite effects, each after the correction on it."
                    .to_string(),
                named,
            )
        }
        PaperQuery::Replicate {
            target, options, ..
        } => {
            let named = options
                .iter()
                .map(|paper| paper.iter().copied().collect())
                .collect();
            (
                format!(
                    "Which paper replicates {}? A paper replicates another when it repeats its protocol and measured the \
                     same outcome.",
                    label(case.plan.layout, *target)
                ),
                named,
            )
        }
    };
    let shown = named
        .iter()
        .map(|papers| match papers.as_slice() {
            [] if task == Task::Contradict => "no two of them".to_string(),
            [] => "none of them".to_string(),
            papers => papers
                .iter()
                .map(|&p| label(case.plan.layout, p))
                .collect::<Vec<_>>()
                .join(" and "),
        })
        .collect();
    Asked {
        case,
        collection,
        question,
        shown,
        named,
    }
}

fn rank_question(criterion: Criterion, split: Split) -> String {
    let rubric = match (criterion, split) {
        (Criterion::Sample, Split::Train) => {
            "by the size of the sample that is left: the people enrolled, less those excluded in the Results, less those \
             taken out by the later withdrawal."
        }
        (Criterion::Sample, Split::Test) => {
            "by their final sample size, that is, the volunteers at the start, minus those dropped in the Results, minus \
             those struck out by the later withdrawal."
        }
        (Criterion::Points, Split::Train) => {
            "by the points that they keep: those for the registration, less what the review of the methods and the note \
             on the data deduct."
        }
        (Criterion::Points, Split::Test) => {
            "by quality points: the credit of the audit, minus what the review of the methods and the note on the data \
             subtract."
        }
    };
    format!(
        "Judge these papers against each other and rank them {rubric} Answer with the letters from the largest to the smallest, like this: X > Y > Z."
    )
}
