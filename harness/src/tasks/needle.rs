//! **needle**: one or several statements of no importance stand in a long text, and one is asked for some of them.
//!
//! Statements, instruction, question and answer prefix are those of RULER (NVIDIA/RULER, `niah.py`, `constants.py`;
//! arXiv:2404.06654). Differences, on purpose: where one needle is asked for, its depth is an axis and not drawn; other
//! needles and several answers stand at depths drawn from RULER's forty; an answer's tokens are not part of the length;
//! words of a key are separated by a space.

use serde::{Deserialize, Serialize};

use crate::item::{Filler, Magic, Piece, Place, Question, Role, Scorer};
use crate::rng::{Rng, derive};
use crate::tasks::magic::{Keys, Maker};

/// Parameters of the task.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Needle {
    /// Needles of different keys, those asked for among them (RULER `num_needle_k`).
    pub keys: usize,
    /// Values of each key (RULER `num_needle_v`).
    pub values: usize,
    /// Keys that are asked for (RULER `num_needle_q`).
    pub queries: usize,
    /// What keys are.
    pub key: Magic,
    /// What values are.
    pub value: Magic,
    /// Which words keys are made of.
    pub words: Keys,
    /// How the question is put.
    pub wording: Wording,
    /// Options when scored by log-likelihood, the right one included.
    pub options: usize,
    /// Tokens an answer may have (RULER: 128).
    pub max_tokens: usize,
}

impl Default for Needle {
    fn default() -> Self {
        Self {
            keys: 1,
            values: 1,
            queries: 1,
            key: Magic::Word,
            value: Magic::Number,
            words: Keys::All,
            wording: Wording::Ruler,
            options: 8,
            max_tokens: 128,
        }
    }
}

impl Needle {
    /// Whether the numbers go together; else field, found and expected.
    pub(crate) fn check(&self) -> std::result::Result<(), (&'static str, String, &'static str)> {
        let most = 4096;
        for (field, n) in [
            ("keys", self.keys),
            ("values", self.values),
            ("queries", self.queries),
        ] {
            if n == 0 || n > most {
                return Err((field, n.to_string(), "1 to 4096"));
            }
        }
        // Half of the held-out keys are ever asked for: some 4 200.
        if self.keys.max(self.queries) > 2000 && self.words == Keys::Heldout {
            return Err(("keys", self.keys.to_string(), "at most 2000 held-out keys"));
        }
        if !(2..=1000).contains(&self.options) {
            return Err(("options", self.options.to_string(), "2 to 1000"));
        }
        Ok(())
    }
}

/// How a question is put. Questions for several values always have RULER's wording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wording {
    /// RULER's.
    #[default]
    Ruler,
    /// `Tell me the special magic number for ..`
    Tell,
    /// `Which special magic number was given for .. in the text above?`
    Given,
    /// `Look up ..`
    LookUp,
    /// One of the three above but RULER's, drawn for each question: the built-in model was trained on none of them.
    Heldout,
}

/// Share of the filler before a needle that has no depth of its own: one of forty (RULER's `DEPTHS`).
pub fn drawn_share(rng: &mut Rng) -> f64 {
    rng.below(40) as f64 / 39.0
}

/// `One of the special magic numbers for able angle is: 1234567.`
pub fn statement(value_kind: Magic, key: &str, value: &str) -> String {
    format!(
        "One of the special magic {}s for {key} is: {value}.",
        value_kind.name()
    )
}

/// Instruction, question and answer prefix for one value of one key.
pub fn ask_one(
    wording: Wording,
    kind: Magic,
    key: &str,
    rng: &mut Rng,
) -> (String, String, String) {
    let kind = kind.name();
    let instruction = format!(
        "A special magic {kind} is hidden within the following text. Make sure to memorize it. \
         I will quiz you about the {kind} afterwards."
    );
    let wording = match wording {
        Wording::Heldout => *rng.choose(&[Wording::Tell, Wording::Given, Wording::LookUp]),
        other => other,
    };
    let (ask, prefix) = match wording {
        Wording::Ruler | Wording::Heldout => (
            format!("What is the special magic {kind} for {key} mentioned in the provided text?"),
            format!("The special magic {kind} for {key} mentioned in the provided text is"),
        ),
        Wording::Tell => (
            format!("Tell me the special magic {kind} for {key}."),
            format!("The special magic {kind} is"),
        ),
        Wording::Given => (
            format!("Which special magic {kind} was given for {key} in the text above?"),
            format!("The {kind} for {key} was"),
        ),
        Wording::LookUp => (
            format!("Look up {key}."),
            format!("Its special magic {kind}:"),
        ),
    };
    (instruction, ask, prefix)
}

/// The same for several values.
fn ask_all(kind: Magic, keys: &[&str]) -> (String, String, String) {
    let kind = kind.name();
    let keys = match keys {
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{}, and {last}", first.join(", ")),
        [] => String::new(),
    };
    (
        format!(
            "Some special magic {kind}s are hidden within the following text. Make sure to memorize it. \
             I will quiz you about the {kind}s afterwards."
        ),
        format!(
            "What are all the special magic {kind}s for {keys} mentioned in the provided text?"
        ),
        format!("The special magic {kind}s for {keys} mentioned in the provided text are"),
    )
}

/// `n` questions. Question `i` is the same whatever `n` is.
pub fn questions(
    suite: &str,
    task: &str,
    parameters: &Needle,
    filler: &Filler,
    n: usize,
    seed: u64,
) -> Vec<Question> {
    (0..n)
        .map(|i| question(suite, task, parameters, filler, i, seed))
        .collect()
}

fn question(
    suite: &str,
    task: &str,
    p: &Needle,
    filler: &Filler,
    index: usize,
    seed: u64,
) -> Question {
    let name = format!("{suite}/{task}");
    let rng = |purpose| Rng::of(seed, &name, index as u64, purpose);
    let mut maker = Maker::new(rng("needles"), p.words, true);
    let keys: Vec<String> = (0..p.keys.max(p.queries))
        .map(|_| maker.key(p.key))
        .collect();
    let values: Vec<Vec<String>> = keys
        .iter()
        .map(|_| (0..p.values).map(|_| maker.value(p.value)).collect())
        .collect();

    // Which keys are asked for does not depend on the order in which they were drawn or stand.
    let asked = rng("asked").sample(keys.len(), p.queries);
    let single = p.queries * p.values == 1;
    let mut places = rng("places");
    let mut pieces = Vec::new();
    for (k, key) in keys.iter().enumerate() {
        for value in &values[k] {
            let role = if asked.contains(&k) {
                Role::Evidence
            } else {
                Role::Distractor
            };
            let share = drawn_share(&mut places);
            let place = if single && role == Role::Evidence {
                Place::Depth
            } else {
                Place::Share(share)
            };
            pieces.push(Piece {
                text: statement(p.value, key, value),
                role,
                place,
            });
        }
    }
    by_share(&mut pieces);

    let asked_keys: Vec<&str> = asked.iter().map(|&k| keys[k].as_str()).collect();
    let (instruction, ask, answer_prefix) = if single {
        ask_one(p.wording, p.value, asked_keys[0], &mut rng("wording"))
    } else {
        ask_all(p.value, &asked_keys)
    };
    let references: Vec<String> = asked.iter().flat_map(|&k| values[k].clone()).collect();
    let distractors = if single {
        distractors(p, &keys, &values, &asked, &mut maker, &mut rng("options"))
    } else {
        vec![]
    };
    let id = format!("{name}/{index:04}");
    Question {
        cluster: id.clone(),
        id,
        suite: suite.to_owned(),
        task: task.to_owned(),
        instruction,
        pieces,
        filler: seeded(filler, derive(seed, &name, index as u64, "filler")),
        ask,
        answer_prefix,
        scorer: Scorer::ContainsAll {
            references,
            distractors,
        },
        max_tokens: p.max_tokens,
        shared: None,
    }
}

/// Wrong values to choose from: those of the other needles first, then values that stand nowhere.
fn distractors(
    p: &Needle,
    keys: &[String],
    values: &[Vec<String>],
    asked: &[usize],
    maker: &mut Maker,
    rng: &mut Rng,
) -> Vec<String> {
    let mut wrong: Vec<String> = (0..keys.len())
        .filter(|k| !asked.contains(k))
        .flat_map(|k| values[k].clone())
        .collect();
    rng.shuffle(&mut wrong);
    let n = p.options.saturating_sub(1);
    wrong.truncate(n);
    while wrong.len() < n {
        wrong.push(maker.value(p.value));
    }
    wrong
}

/// In document order: the pieces with a fixed share by that, those at the item's depth first.
pub fn by_share(pieces: &mut [Piece]) {
    let share = |piece: &Piece| match piece.place {
        Place::Share(share) => share,
        _ => -1.0,
    };
    pieces.sort_by(|a, b| share(a).total_cmp(&share(b)));
}

/// A filler with this question's own seed.
pub fn seeded(filler: &Filler, new: u64) -> Filler {
    let mut filler = filler.clone();
    match &mut filler {
        Filler::Prose { seed } | Filler::Text { seed, .. } | Filler::Needles { seed, .. } => {
            *seed = new
        }
        Filler::Noise | Filler::None | Filler::Document { .. } => {}
    }
    filler
}

#[cfg(test)]
mod tests;
