//! Ways to answer without reading: what a question must not reward.
//!
//! A document about several people in which one option is mentioned last, or more often, or in the passage most like
//! the question, gives its answer away to a reader who understands nothing. Generators draw documents until these
//! guesses are right as often as chance ([`Balance`]), and tests hold them to it.

use crate::rng::Rng;

/// What a guesser sees of a question with options.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The document's passages in order.
    pub passages: Vec<&'a str>,
    /// Who or what is asked about, as passages name it; empty where nothing in particular is.
    pub subject: &'a str,
    /// The question without its options.
    pub question: &'a str,
    /// For each option the phrases that it consists of: one, or several in the order that the option claims; none
    /// where it names nothing (`neither of them`).
    pub options: Vec<Vec<String>>,
    /// For each option its text as shown.
    pub shown: Vec<String>,
}

/// A way to guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shortcut {
    /// The option that the document mentions first (or whose phrases are first mentioned in the option's order).
    FirstMention,
    /// The option that the document mentions last (or whose phrases are last mentioned in the option's order).
    LastMention,
    /// The option mentioned last in a passage that names the subject.
    LastNearSubject,
    /// The option that the document mentions most often.
    MostFrequent,
    /// The option most like the passage that is most like the question (BM25).
    BestPassage,
    /// The longest option.
    Longest,
    /// The shortest option.
    Shortest,
    /// The option that shares most words with the others: what a reader of the options alone would suspect.
    Central,
}

impl Shortcut {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::FirstMention,
        Self::LastMention,
        Self::LastNearSubject,
        Self::MostFrequent,
        Self::BestPassage,
        Self::Longest,
        Self::Shortest,
        Self::Central,
    ];

    /// Those that depend on how a document is arranged.
    pub const ARRANGED: [Self; 5] = [
        Self::FirstMention,
        Self::LastMention,
        Self::LastNearSubject,
        Self::MostFrequent,
        Self::BestPassage,
    ];

    /// The options that this way cannot tell apart; a guesser draws one of them.
    pub fn candidates(self, view: &View) -> Vec<usize> {
        let scores: Vec<f64> = match self {
            Self::FirstMention => order_scores(view, "", false),
            Self::LastMention => order_scores(view, "", true),
            // Without a subject there is nothing to be near to.
            Self::LastNearSubject if view.subject.is_empty() => vec![0.0; view.options.len()],
            Self::LastNearSubject => order_scores(view, view.subject, true),
            Self::MostFrequent => view.options.iter().map(|o| frequency(view, o)).collect(),
            Self::BestPassage => passage_scores(view),
            Self::Longest => view
                .shown
                .iter()
                .map(|s| s.chars().count() as f64)
                .collect(),
            Self::Shortest => view
                .shown
                .iter()
                .map(|s| -(s.chars().count() as f64))
                .collect(),
            Self::Central => central_scores(view),
        };
        let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (0..scores.len())
            .filter(|&i| scores[i] >= best - 1e-9)
            .collect()
    }

    /// How likely a guesser of this kind is right.
    pub fn right(self, view: &View, correct: usize) -> f64 {
        let candidates = self.candidates(view);
        if candidates.contains(&correct) {
            1.0 / candidates.len() as f64
        } else {
            0.0
        }
    }
}

/// Which of the [`Shortcut::ARRANGED`] are to be right for one question, drawn so that each is right as often as chance.
#[derive(Clone, Debug)]
pub struct Balance {
    right: [bool; 5],
}

impl Balance {
    /// Draws for a question with this many options.
    pub fn draw(rng: &mut Rng, options: usize) -> Self {
        Self {
            right: std::array::from_fn(|_| rng.below(options) == 0),
        }
    }

    /// How far a document is from what was drawn; 0 is as drawn. Stops counting at `enough`.
    pub fn distance(&self, rng: &mut Rng, view: &View, correct: usize, enough: usize) -> usize {
        let mut wrong = 0;
        // The last one costs most.
        for (shortcut, right) in Shortcut::ARRANGED.iter().zip(self.right) {
            if wrong >= enough {
                break;
            }
            if *shortcut == Shortcut::LastNearSubject && view.subject.is_empty() {
                continue;
            }
            let guess = *rng.choose(&shortcut.candidates(view));
            wrong += usize::from((guess == correct) != right);
        }
        wrong
    }
}

/// Draws documents until one is as [`Balance`] wants it, and gives up after `tries` with the nearest.
///
/// `make` draws a document; `view` shows it to the guessers, with the right option.
pub fn balanced<D>(
    rng: &mut Rng,
    options: usize,
    tries: usize,
    mut make: impl FnMut(&mut Rng) -> D,
    view: impl Fn(&D) -> (View<'_>, usize),
) -> D {
    let balance = Balance::draw(rng, options);
    let judge = |rng: &mut Rng, document: &D, enough: usize| {
        let (seen, correct) = view(document);
        balance.distance(rng, &seen, correct, enough)
    };
    let mut nearest = make(rng);
    let mut least = judge(rng, &nearest, usize::MAX);
    for _ in 1..tries {
        if least == 0 {
            break;
        }
        let next = make(rng);
        let distance = judge(rng, &next, least);
        if distance < least {
            (nearest, least) = (next, distance);
        }
    }
    nearest
}

/// Position of the first or last mention of a phrase in passages that name `near`.
fn mention(view: &View, phrase: &str, near: &str, last: bool) -> Option<usize> {
    let mut start = 0;
    let mut found = None;
    for passage in &view.passages {
        if passage.contains(near) {
            let at = if last {
                passage.rfind(phrase)
            } else {
                passage.find(phrase)
            };
            if let Some(at) = at {
                found = Some(start + at);
                if !last {
                    return found;
                }
            }
        }
        start += passage.len();
    }
    found
}

/// Options of one phrase: by where it is mentioned. Options of several: by how many pairs of them are mentioned in the
/// option's order.
fn order_scores(view: &View, near: &str, last: bool) -> Vec<f64> {
    view.options
        .iter()
        .map(|phrases| {
            let at: Vec<_> = phrases
                .iter()
                .map(|p| mention(view, p, near, last))
                .collect();
            match at.as_slice() {
                [] | [None] => f64::NEG_INFINITY,
                [Some(at)] => {
                    if last {
                        *at as f64
                    } else {
                        -(*at as f64)
                    }
                }
                _ => {
                    let pairs = (0..at.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
                    pairs
                        .filter(|&(i, j)| at[i].is_some() && at[i] < at[j])
                        .count() as f64
                }
            }
        })
        .collect()
}

fn frequency(view: &View, phrases: &[String]) -> f64 {
    let count = |phrase: &String| -> usize {
        view.passages
            .iter()
            .map(|passage| passage.matches(phrase.as_str()).count())
            .sum()
    };
    phrases.iter().map(count).sum::<usize>() as f64
}

/// Words of a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

/// The passage with the highest BM25 score for the question (Robertson et al. 1994; k1 = 1.2, b = 0.75).
pub fn best_passage(passages: &[&str], question: &str) -> Option<usize> {
    let mut query: Vec<String> = words(question).map(str::to_lowercase).collect();
    query.sort_unstable();
    query.dedup();
    // For each passage its length and how often it has each word of the question.
    let counts: Vec<(usize, Vec<u32>)> = passages
        .iter()
        .map(|passage| {
            let mut found = vec![0; query.len()];
            let mut length = 0;
            for word in words(passage) {
                length += 1;
                if let Some(i) = query.iter().position(|q| q.eq_ignore_ascii_case(word)) {
                    found[i] += 1;
                }
            }
            (length, found)
        })
        .collect();
    let n = counts.len() as f64;
    let mean = counts.iter().map(|(length, _)| length).sum::<usize>() as f64 / n.max(1.0);
    let rarity: Vec<f64> = (0..query.len())
        .map(|i| {
            let holding = counts.iter().filter(|(_, found)| found[i] > 0).count() as f64;
            ((n - holding + 0.5) / (holding + 0.5) + 1.0).ln()
        })
        .collect();
    let score = |(length, found): &(usize, Vec<u32>)| -> f64 {
        let norm = 1.2 * (0.25 + 0.75 * *length as f64 / mean);
        let term = |(&tf, idf): (&u32, &f64)| idf * f64::from(tf) * 2.2 / (f64::from(tf) + norm);
        found.iter().zip(&rarity).map(term).sum()
    };
    let scores: Vec<f64> = counts.iter().map(score).collect();
    (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
}

/// Share of an option's words that the best passage holds; for options of several phrases, those in the option's order too.
fn passage_scores(view: &View) -> Vec<f64> {
    let Some(best) = best_passage(&view.passages, view.question) else {
        return vec![0.0; view.options.len()];
    };
    let passage: Vec<&str> = words(view.passages[best]).collect();
    let near = View {
        passages: vec![view.passages[best]],
        ..view.clone()
    };
    let ordered = order_scores(&near, "", false);
    view.options
        .iter()
        .zip(ordered)
        .map(|(phrases, ordered)| {
            let all: Vec<&str> = phrases.iter().flat_map(|phrase| words(phrase)).collect();
            let held = all.iter().filter(|word| passage.contains(word)).count() as f64;
            let order = if phrases.len() > 1 { ordered } else { 0.0 };
            held / all.len().max(1) as f64 + order
        })
        .collect()
}

/// How many words an option shares with the others, those in the same place counted twice.
fn central_scores(view: &View) -> Vec<f64> {
    let bags: Vec<Vec<&str>> = view
        .shown
        .iter()
        .map(|shown| words(shown).collect())
        .collect();
    let alike = |a: &[&str], b: &[&str]| {
        let in_place = a.iter().zip(b).filter(|(x, y)| x == y).count();
        let shared = a.iter().filter(|word| b.contains(word)).count();
        (in_place + shared) as f64
    };
    (0..bags.len())
        .map(|i| {
            (0..bags.len())
                .filter(|&j| j != i)
                .map(|j| alike(&bags[i], &bags[j]))
                .sum()
        })
        .collect()
}

/// What guessers score on many questions, for the tests of the generators.
#[cfg(test)]
#[derive(Default)]
pub struct Census {
    questions: usize,
    options: usize,
    hits: [f64; Shortcut::ALL.len()],
    positions: Vec<f64>,
}

#[cfg(test)]
impl Census {
    /// Lets every guesser answer one question.
    pub fn add(&mut self, view: &View<'_>, correct: usize) {
        self.questions += 1;
        self.options = view.options.len();
        self.positions.resize(self.options, 0.0);
        self.positions[correct] += 1.0;
        for (hit, shortcut) in self.hits.iter_mut().zip(Shortcut::ALL) {
            *hit += shortcut.right(view, correct);
        }
    }

    /// A line of rates, `!` behind what is not like chance; and how many those are. `free` is shown and not judged.
    pub fn line(&self, free: Option<Shortcut>, judge_positions: bool) -> (String, usize) {
        let n = self.questions as f64;
        let chance = 1.0 / self.options as f64;
        // Within 3.3 standard deviations of a guesser's hits: 99.9 %.
        let like_chance =
            |hits: f64| (hits - n * chance).abs() <= 3.3 * (n * chance * (1.0 - chance)).sqrt();
        let mut line = format!("n {n} chance {chance:.3}:");
        let mut bad = 0;
        for (&hits, shortcut) in self.hits.iter().zip(Shortcut::ALL) {
            let odd = free != Some(shortcut) && !like_chance(hits);
            bad += usize::from(odd);
            let mark = if odd { "!" } else { "" };
            line += &format!(" {shortcut:?} {:.3}{mark}", hits / n);
        }
        for (position, &count) in self.positions.iter().enumerate() {
            if judge_positions && !like_chance(count) {
                bad += 1;
                line += &format!(" position {position} {count}!");
            }
        }
        (line, bad)
    }
}
