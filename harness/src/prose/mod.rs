//! Filler prose of our own: endless plain English about places where nothing much happens.
//!
//! The text is a walk through the frames of `topics.txt`. A paragraph takes one topic, one or two people and one or
//! two places; it opens with one of the topic's openings and goes on with some of its other sentences, in the order
//! in which they are listed, so that it reads as an account. No sentence occurs twice in a stream, there are no
//! digits, and nothing is stated that a question could ask for.

mod grammar;

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::rng::Rng;
use grammar::{Frame, Grammar, Scene, Topic};

static GRAMMAR: LazyLock<Grammar> =
    LazyLock::new(|| Grammar::parse(include_str!("words.txt"), include_str!("topics.txt")));

/// Attempts to draw a sentence that has not been told before; then the frame is left out.
const ATTEMPTS: usize = 12;

/// A deterministic, endless stream of paragraphs.
///
/// ```
/// use fathom_harness::prose::Prose;
/// let paragraph = Prose::new(1).next_paragraph();
/// assert!(paragraph.len() >= 3);
/// assert_eq!(paragraph, Prose::new(1).next_paragraph());
/// ```
#[derive(Debug)]
pub struct Prose {
    rng: Rng,
    scene: Option<Scene>,
    /// Topics still to be used before any comes again.
    topics: Vec<usize>,
    /// Hashes of every sentence told.
    told: HashSet<u64>,
}

impl Prose {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::of(seed, "prose", 0, "stream"),
            scene: None,
            topics: Vec::new(),
            told: HashSet::new(),
        }
    }

    /// The next paragraph, sentence by sentence.
    pub fn next_paragraph(&mut self) -> Vec<String> {
        loop {
            // One topic after another has nothing new to say (not before some hundred million words): begin again.
            for _ in 0..4 * GRAMMAR.topics.len() {
                let sentences = self.try_paragraph();
                if sentences.len() >= 2 {
                    return sentences;
                }
            }
            self.told.clear();
        }
    }

    fn try_paragraph(&mut self) -> Vec<String> {
        let grammar = &*GRAMMAR;
        let topic = &grammar.topics[self.next_topic()];
        let mut scene = Scene::next(grammar, topic, self.scene.take(), &mut self.rng);
        let mut sentences = Vec::new();
        let mut told_before = None;
        for index in plan(topic, &mut self.rng) {
            let frame = &topic.frames[index];
            if frame.leans && told_before != Some(frame.leans_on) {
                continue;
            }
            if let Some(sentence) = self.tell(grammar, frame, &mut scene) {
                sentences.push(sentence);
                told_before = Some(index);
                if frame.opening {
                    told_before = Some(topic.last_opening);
                }
            }
        }
        self.scene = Some(scene);
        sentences
    }

    fn next_topic(&mut self) -> usize {
        if self.topics.is_empty() {
            self.topics = (0..GRAMMAR.topics.len()).collect();
            self.rng.shuffle(&mut self.topics);
        }
        self.topics.pop().unwrap_or(0)
    }

    /// A sentence of this frame that was never told in this stream, if a few attempts find one.
    fn tell(&mut self, grammar: &Grammar, frame: &Frame, scene: &mut Scene) -> Option<String> {
        for _ in 0..ATTEMPTS {
            let mut after = scene.clone();
            let sentence = grammar.render(frame, &mut after, &mut self.rng);
            let hash = blake3::hash(sentence.as_bytes());
            let mut key = [0; 8];
            key.copy_from_slice(&hash.as_bytes()[..8]);
            if self.told.insert(u64::from_le_bytes(key)) {
                *scene = after;
                return Some(sentence);
            }
        }
        None
    }
}

/// Which frames a paragraph tells: one opening, then three to seven others in their order, and what leans on them.
fn plan(topic: &Topic, rng: &mut Rng) -> Vec<usize> {
    let openings: Vec<usize> = (0..topic.frames.len())
        .filter(|&i| topic.frames[i].opening)
        .collect();
    let others: Vec<usize> = (0..topic.frames.len())
        .filter(|&i| !topic.frames[i].opening && !topic.frames[i].leans)
        .collect();
    let count = 3 + rng.below(5);
    let mut chosen: Vec<usize> = rng
        .sample(others.len(), count)
        .into_iter()
        .map(|i| others[i])
        .collect();
    chosen.sort_unstable();
    let mut plan = vec![*rng.choose(&openings)];
    if topic
        .frames
        .get(topic.last_opening + 1)
        .is_some_and(|f| f.leans)
        && rng.chance(0.6)
    {
        plan.push(topic.last_opening + 1);
    }
    for index in chosen {
        plan.push(index);
        let mut next = index + 1;
        while topic.frames.get(next).is_some_and(|f| f.leans) && rng.chance(0.7) {
            plan.push(next);
            next += 1;
        }
    }
    plan
}

#[cfg(test)]
mod tests;
