//! A whole book: the thread that is asked about, threads that are not, meetings, chapters, and the written passages.

use super::super::facts::{Unsound, prove};
use super::super::reading::{Size, Split};
use super::super::shortcuts::{View, balanced};
use super::cases::{Case, Scale, Topic, case, scale, subjects, values};
use super::cast::{self, Person, names};
use super::evidence::evidence;
use super::render::{Renderer, Scene, Season};
use super::threads::{Gossip, facts, gossip, states};
use super::wording::Wording;
use super::words::{HAPPENINGS, NUMBERS, SECRETS, TITLES};
use super::world::{Kind, NovelFact, NovelQuery};
use crate::item::Role;
use crate::rng::Rng;

/// How often a book may be drawn again before the nearest to what [`balanced`] wants is taken.
const TRIES: usize = 80;

/// A book and what is asked about it.
#[derive(Clone, Debug)]
pub struct Book {
    /// Its people.
    pub cast: Vec<Person>,
    /// What each passage tells.
    pub scenes: Vec<Scene>,
    /// The passages as written, chapter headings included.
    pub passages: Vec<String>,
    /// Whether a passage belongs to the thread that is asked about.
    pub asked: Vec<bool>,
    /// What is asked.
    pub case: Case,
    /// The two claims in words, the true one first.
    pub claims: Option<[String; 2]>,
    /// Both claims, as what the question of a pair is about.
    both: String,
}

impl Book {
    /// Draws a book in which shortcuts are right as often as chance: of the options, or of the two claims.
    pub fn draw(rng: &mut Rng, topic: Topic, size: Size, split: Split, claims: bool) -> Self {
        let options = match topic {
            _ if claims => 2,
            // Nobody guesses `both` or `neither` from mentions: where one of the two is right, such a guess may be
            // right half of the time, and so is right a quarter of the time in all.
            Topic::Knew([a, b]) if a != b => 2,
            Topic::Knew(_) | Topic::Arc => return Self::compose(rng, topic, size, split),
            Topic::Order if scale(size).steps == 3 => 6,
            Topic::Order => 1 << (scale(size).steps / 2),
            Topic::Last(_) | Topic::Whereabouts => scale(size).values,
        };
        let make = |rng: &mut Rng| Self::compose(rng, topic, size, split);
        if claims {
            balanced(rng, options, TRIES, make, Self::claims_view)
        } else {
            balanced(rng, options, TRIES, make, Self::view)
        }
    }

    /// What guessers see of the question, and the right option.
    pub fn view(&self) -> (View<'_>, usize) {
        let view = View {
            passages: self.passages.iter().map(String::as_str).collect(),
            subject: &self.case.subject,
            question: &self.case.question,
            options: self.case.phrases.clone(),
            shown: self.case.shown.clone(),
        };
        (view, self.case.correct)
    }

    /// What guessers see of the two claims; the first is right.
    pub fn claims_view(&self) -> (View<'_>, usize) {
        let phrases = self
            .case
            .claims
            .iter()
            .flatten()
            .map(|(_, phrases)| phrases.clone())
            .collect();
        let shown = self.claims.iter().flatten().cloned().collect();
        (
            View {
                question: &self.both,
                options: phrases,
                shown,
                ..self.view().0
            },
            0,
        )
    }

    /// The facts of the book.
    pub fn facts(&self) -> Vec<NovelFact> {
        facts(&self.scenes)
    }

    /// Roles of the passages for a query.
    pub fn roles(&self, query: &NovelQuery) -> Vec<Role> {
        let needed = evidence(query, &self.facts());
        let role = |i: usize| match (needed.contains(&i), self.asked[i]) {
            (true, _) => Role::Evidence,
            (false, true) => Role::Distractor,
            (false, false) => Role::Body,
        };
        (0..self.scenes.len()).map(role).collect()
    }

    /// Proves that a query has the one answer `expected`, and needs its evidence.
    ///
    /// # Errors
    /// The condition that does not hold.
    pub fn prove(&self, query: &NovelQuery, expected: &[u32]) -> Result<(), Unsound> {
        let facts = self.facts();
        prove(query, &facts, &evidence(query, &facts), expected)
    }

    fn compose(rng: &mut Rng, topic: Topic, size: Size, split: Split) -> Self {
        let scale = scale(size);
        let cast = cast::draw(rng, names(split), scale.cast);
        let case = case(rng, topic, size, split, &cast);
        let mut chains = vec![case.scenes.clone()];
        chains.extend(extras(rng, &case, scale, split));
        for _ in 0..scale.meetings {
            let two = rng.sample(scale.cast, 2);
            chains.push(vec![Scene::Meeting(two[0] as u32, two[1] as u32)]);
        }
        let (scenes, asked) = interleave(rng, chains);
        let passages = write(rng, &scenes, scale, split, &cast);
        let claims = case.claims.as_ref().map(|claims| {
            let wording = Wording {
                split,
                cast: &cast,
                variant: false,
            };
            [0, 1].map(|i| wording.claim(&claims[i].0))
        });
        let both = claims
            .iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ");
        Self {
            cast,
            scenes,
            passages,
            asked,
            case,
            claims,
            both,
        }
    }
}

/// Threads that nothing is asked about: of kinds that the question does not speak of, so that they touch nothing.
fn extras(rng: &mut Rng, case: &Case, scale: Scale, split: Split) -> Vec<Vec<Scene>> {
    let mut threads = Vec::new();
    let mut kinds = [Kind::Home, Kind::Trade, Kind::Society, Kind::Holder].to_vec();
    kinds.retain(|kind| !case.kinds.contains(kind));
    rng.shuffle(&mut kinds);
    if scale.extras > 0 && !matches!(case.query, NovelQuery::Knew { .. }) {
        let people: Vec<u32> = rng
            .sample(scale.cast, 4)
            .into_iter()
            .map(|p| p as u32)
            .collect();
        let from = |n: usize| if split == Split::Train { 0 } else { n / 2 } as u32;
        let two = |rng: &mut Rng, n: usize| {
            let two = rng.sample(n / 2, 2);
            [two[0] as u32 + from(n), two[1] as u32 + from(n)]
        };
        let g = Gossip {
            secrets: two(rng, SECRETS.len()),
            tellers: [people[2], people[3]],
            listeners: [people[0], people[1]],
            happenings: two(rng, HAPPENINGS.len()),
            not_told: 1,
        };
        let before = [rng.chance(0.5), rng.chance(0.5)];
        threads.push(gossip(rng, g, before));
    }
    for kind in kinds {
        let subjects = subjects(rng, kind, scale.cast, 3);
        let values = values(rng, kind, split, scale.cast, 3);
        threads.push(states(rng, kind, &subjects, &values, [true, false]));
    }
    threads.truncate(scale.extras);
    threads
}

/// Merges chains at random, and says which scenes are of the first.
fn interleave(rng: &mut Rng, chains: Vec<Vec<Scene>>) -> (Vec<Scene>, Vec<bool>) {
    let mut order: Vec<usize> = chains
        .iter()
        .enumerate()
        .flat_map(|(i, chain)| std::iter::repeat_n(i, chain.len()))
        .collect();
    rng.shuffle(&mut order);
    let mut chains: Vec<_> = chains.into_iter().map(Vec::into_iter).collect();
    order
        .into_iter()
        .filter_map(|i| Some((chains[i].next()?, i == 0)))
        .unzip()
}

/// Writes the passages, with a heading where a chapter begins.
fn write(
    rng: &mut Rng,
    scenes: &[Scene],
    scale: Scale,
    split: Split,
    cast: &[Person],
) -> Vec<String> {
    let chapter = |i: usize| i * scale.chapters / scenes.len();
    let start = |chapter: usize| (chapter * scenes.len()).div_ceil(scale.chapters);
    let first_season = rng.below(4);
    let titles: Vec<Vec<usize>> = TITLES
        .iter()
        .map(|titles| rng.sample(titles.len(), titles.len()))
        .collect();
    let mut renderer = Renderer::new(rng.bits(), split, cast, scale.decoration);
    let mut passages = Vec::with_capacity(scenes.len());
    for (i, &scene) in scenes.iter().enumerate() {
        let c = chapter(i);
        let from = start(c);
        let season = Season {
            index: (first_season + c) % 4,
            passed: (i - from) as f64 / (start(c + 1) - from).max(1) as f64,
        };
        let mut text = String::new();
        if i == from {
            let order = &titles[season.index];
            let title = TITLES[season.index][order[(c / 4) % order.len()]];
            text = format!("Chapter {}: {title}\n\n", NUMBERS[c % NUMBERS.len()]);
        }
        text.push_str(&renderer.passage(scene, season));
        passages.push(text);
    }
    passages
}
