//! **sweep**: a map of depth and length at the price of one prefill for many cells.
//!
//! A document is laid out once, and the question is forked off it at every length: an item of length `n` is a beginning
//! of the document, with its question, of exactly `n` tokens together. A cell (length, depth) has a needle of its own,
//! at that depth of that length; so needles are read at every length from documents that share their beginnings, and a
//! model evaluates each document once (its items are one cluster).
//!
//! A question must see as many distractors at 1k as at 32k, or the map would show their number. So a document has
//! `distractors + 1` needles, all of them before the shortest length at which it is asked, and is asked at that length and
//! longer ones only; the places of the other cells' needles stay inert (filler). Each cell belongs to the documents of
//! the shortest length that has its needle safely before its end. A document with fewer cells than needles is filled up
//! with needles that are never asked for, at drawn depths.
//!
//! This is another task than needle: questions of a document are not independent, and distractors stand nearer together.

use serde::{Deserialize, Serialize};

use crate::item::{Filler, Magic, Piece, Place, Question, Role, Scorer, Shared};
use crate::rng::{Rng, derive};
use crate::tasks::magic::{Keys, Maker};
use crate::tasks::needle::{Wording, ask_one, seeded, statement};

/// Parameters of the task.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sweep {
    /// Other needles that every question sees.
    pub distractors: usize,
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
    /// Tokens an answer may have.
    pub max_tokens: usize,
}

impl Default for Sweep {
    fn default() -> Self {
        Self {
            distractors: 7,
            key: Magic::Word,
            value: Magic::Number,
            words: Keys::All,
            wording: Wording::Ruler,
            options: 8,
            max_tokens: 32,
        }
    }
}

impl Sweep {
    /// Whether the numbers go together; else field, found and expected.
    pub(crate) fn check(&self) -> std::result::Result<(), (&'static str, String, &'static str)> {
        if self.distractors > 1000 {
            return Err(("distractors", self.distractors.to_string(), "at most 1000"));
        }
        if !(2..=1000).contains(&self.options) {
            return Err(("options", self.options.to_string(), "2 to 1000"));
        }
        Ok(())
    }
}

/// The cells of the map.
#[derive(Clone, Debug)]
pub struct Grid {
    /// Lengths in tokens, ascending.
    pub lengths: Vec<usize>,
    /// Depths in 0..=1.
    pub depths: Vec<f64>,
}

/// A needle's place, at a length and a depth.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cell {
    length: usize,
    depth: f64,
}

impl Cell {
    /// Tokens before it, roughly: the template and the question are not counted here.
    fn tokens(self) -> f64 {
        self.length as f64 * self.depth
    }
}

/// Share of a length before which a needle of a longer length must stand to be asked for there.
const SAFE: f64 = 0.75;

impl Grid {
    /// The cells by the shortest length at which their documents are asked, in groups of at most `most`.
    fn groups(&self, most: usize) -> Vec<(usize, Vec<Cell>)> {
        let mut groups = Vec::new();
        for (i, &from) in self.lengths.iter().enumerate() {
            let mut cells: Vec<Cell> = Vec::new();
            for &length in &self.lengths[i..] {
                for &depth in &self.depths {
                    let cell = Cell { length, depth };
                    let shorter = self.lengths[..i]
                        .iter()
                        .any(|&l| cell.tokens() <= SAFE * l as f64);
                    let here = length == from || cell.tokens() <= SAFE * from as f64;
                    if here && !shorter {
                        cells.push(cell);
                    }
                }
            }
            cells.sort_by(|a, b| a.tokens().total_cmp(&b.tokens()));
            let n = cells.len().div_ceil(most.max(1)).max(1);
            // Every n-th: the needles of a group are spread over all depths.
            for k in 0..n {
                let group: Vec<Cell> = cells.iter().copied().skip(k).step_by(n).collect();
                if !group.is_empty() {
                    groups.push((from, group));
                }
            }
        }
        groups
    }
}

/// Questions of every cell, from `documents` documents for each.
pub fn questions(
    suite: &str,
    task: &str,
    parameters: &Sweep,
    grid: &Grid,
    filler: &Filler,
    documents: usize,
    seed: u64,
) -> Vec<Question> {
    let name = format!("{suite}/{task}");
    let mut all = Vec::new();
    for (g, (from, cells)) in grid
        .groups(parameters.distractors + 1)
        .into_iter()
        .enumerate()
    {
        for d in 0..documents {
            let document = Document {
                suite,
                task,
                name: &name,
                index: (g as u64) << 32 | d as u64,
                seed,
            };
            all.extend(document.questions(
                &format!("{name}/{g:02}-{d:03}"),
                parameters,
                from,
                &cells,
                filler,
            ));
        }
    }
    all
}

/// One document.
struct Document<'a> {
    suite: &'a str,
    task: &'a str,
    name: &'a str,
    index: u64,
    seed: u64,
}

impl Document<'_> {
    fn rng(&self, purpose: &str) -> Rng {
        Rng::of(self.seed, self.name, self.index, purpose)
    }

    fn questions(
        &self,
        id: &str,
        p: &Sweep,
        from: usize,
        cells: &[Cell],
        filler: &Filler,
    ) -> Vec<Question> {
        // Needles that nobody asks for, where a cell is missing.
        let mut depths = self.rng("inert");
        let mut needles: Vec<(Cell, bool)> = cells.iter().map(|&c| (c, true)).collect();
        while needles.len() < p.distractors + 1 {
            needles.push((
                Cell {
                    length: from,
                    depth: depths.uniform(),
                },
                false,
            ));
        }
        needles.sort_by(|a, b| a.0.tokens().total_cmp(&b.0.tokens()));

        let mut maker = Maker::new(self.rng("needles"), p.words, true);
        let facts: Vec<(String, String)> = needles
            .iter()
            .map(|_| (maker.key(p.key), maker.value(p.value)))
            .collect();
        // The same wording for the whole document, so that all asks have nearly the same length.
        let asks: Vec<(String, String, String)> = facts
            .iter()
            .map(|(key, _)| ask_one(p.wording, p.value, key, &mut self.rng("wording")))
            .collect();
        let reserve = asks
            .iter()
            .map(|(_, ask, prefix)| format!("{ask} {prefix}"))
            .max_by_key(String::len)
            .unwrap_or_default();

        let mut questions = Vec::new();
        for (asked, (_, is_asked)) in needles.iter().enumerate() {
            if !is_asked {
                continue;
            }
            let pieces =
                needles
                    .iter()
                    .zip(&facts)
                    .enumerate()
                    .map(|(i, ((cell, _), (key, value)))| Piece {
                        text: statement(p.value, key, value),
                        role: if i == asked {
                            Role::Evidence
                        } else {
                            Role::Distractor
                        },
                        place: Place::Cell {
                            length: cell.length,
                            depth: cell.depth,
                        },
                    });
            let (instruction, ask, answer_prefix) = asks[asked].clone();
            let cell = needles[asked].0;
            questions.push(Question {
                id: format!("{id}/{}-{}", cell.length, cell.depth),
                suite: self.suite.to_owned(),
                task: self.task.to_owned(),
                cluster: id.to_owned(),
                instruction,
                pieces: pieces.collect(),
                filler: seeded(filler, derive(self.seed, self.name, self.index, "filler")),
                ask,
                answer_prefix,
                scorer: Scorer::ContainsAll {
                    references: vec![facts[asked].1.clone()],
                    distractors: self.wrong(p, asked, &facts, &mut maker),
                },
                max_tokens: p.max_tokens,
                shared: Some(Shared {
                    reserve: reserve.clone(),
                }),
            });
        }
        questions
    }

    /// The other needles' values first, then values that stand nowhere.
    fn wrong(
        &self,
        p: &Sweep,
        asked: usize,
        facts: &[(String, String)],
        maker: &mut Maker,
    ) -> Vec<String> {
        let mut wrong: Vec<String> = facts
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != asked)
            .map(|(_, (_, value))| value.clone())
            .collect();
        self.rng(&format!("options {asked}")).shuffle(&mut wrong);
        let n = p.options.saturating_sub(1);
        wrong.truncate(n);
        while wrong.len() < n {
            wrong.push(maker.value(p.value));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn grid() -> Grid {
        Grid {
            lengths: vec![1024, 2048, 4096, 8192, 16384, 32768],
            depths: (0..=10).map(|d| f64::from(d) / 10.0).collect(),
        }
    }

    fn make(documents: usize) -> Vec<Question> {
        questions(
            "s",
            "sweep",
            &Sweep::default(),
            &grid(),
            &Filler::Prose { seed: 0 },
            documents,
            42,
        )
    }

    fn cell(question: &Question) -> (usize, String) {
        let evidence: Vec<&Piece> = question
            .pieces
            .iter()
            .filter(|p| p.role == Role::Evidence)
            .collect();
        assert_eq!(evidence.len(), 1);
        match evidence[0].place {
            Place::Cell { length, depth } => (length, depth.to_string()),
            _ => panic!("not a cell"),
        }
    }

    #[test]
    fn every_cell_is_asked_once_in_each_round_of_documents() {
        let mut cells: BTreeMap<(usize, String), usize> = BTreeMap::new();
        for question in make(3) {
            *cells.entry(cell(&question)).or_default() += 1;
        }
        assert_eq!(cells.len(), 66);
        assert!(cells.values().all(|&n| n == 3), "{cells:?}");
    }

    #[test]
    fn every_question_sees_the_same_number_of_distractors() {
        for question in make(2) {
            let (length, _) = cell(&question);
            assert_eq!(question.pieces.len(), 8);
            for piece in &question.pieces {
                let Place::Cell { length: own, depth } = piece.place else {
                    panic!("not a cell")
                };
                assert!(
                    own as f64 * depth <= length as f64,
                    "{own} {depth} at {length}"
                );
            }
        }
    }

    #[test]
    fn documents_are_far_fewer_than_questions() {
        let all = make(1);
        let documents: BTreeSet<&str> = all.iter().map(|q| q.cluster.as_str()).collect();
        assert!(
            documents.len() * 5 <= all.len(),
            "{} documents, {} questions",
            documents.len(),
            all.len()
        );
        // All questions of a document have the same pieces but for their roles.
        for pair in all.windows(2).filter(|p| p[0].cluster == p[1].cluster) {
            assert!(
                pair[0]
                    .pieces
                    .iter()
                    .zip(&pair[1].pieces)
                    .all(|(a, b)| a.text == b.text && a.place == b.place)
            );
            assert_eq!(
                (&pair[0].filler, &pair[0].shared),
                (&pair[1].filler, &pair[1].shared)
            );
        }
    }
}
