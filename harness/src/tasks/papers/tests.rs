//! Soundness, shortcuts and prose of the papers.

use super::super::facts::possible;
use super::super::reading::{Size, Split};
use super::super::shortcuts::{Census, best_passage};
use super::questions::{Asked, Params, Task, draw, questions};
use super::words::{Sentences, TEST, TRAIN};
use super::world::{Relation, evidence};
use crate::item::{Role, Scorer};
use crate::rng::Rng;

const SIZES: [Size; 3] = [Size::Small, Size::Medium, Size::Large];

#[test]
fn every_question_has_one_answer_and_needs_all_of_its_evidence() {
    let mut refused = 0;
    for task in Task::ALL {
        for size in SIZES {
            for seed in 0..12 {
                let split = [Split::Train, Split::Test][seed as usize % 2];
                let mut rng = Rng::of(seed, "test", 0, task.name());
                let Asked {
                    case, collection, ..
                } = draw(&mut rng, Params { task, size, split });
                let needed = evidence(&case.query, &collection.facts, collection.passages.len());
                let all = possible(&case.query, &collection.facts, None);
                assert_eq!(
                    all.into_iter().collect::<Vec<_>>(),
                    std::slice::from_ref(&case.expected)
                );
                refused += usize::from(
                    super::super::facts::prove(
                        &case.query,
                        &collection.facts,
                        &needed,
                        &case.expected,
                    )
                    .is_err(),
                );
                let least = if task == Task::Rank {
                    3 * case.plan.papers.len() - 1
                } else {
                    1
                };
                assert!(needed.len() >= least, "{case:?} {needed:?}");
            }
        }
    }
    assert_eq!(refused, 0, "of 108 refused by the proof");
}

#[test]
fn shortcuts_are_right_as_often_as_chance() {
    measure_shortcuts(&[Size::Small, Size::Medium]);
}

#[test]
fn shortcuts_are_right_as_often_as_chance_in_large_documents() {
    measure_shortcuts(&[Size::Large]);
}

fn measure_shortcuts(sizes: &[Size]) {
    let mut report = String::new();
    let mut bad = 0;
    for task in [Task::Contradict, Task::Replicate] {
        for &size in sizes {
            let mut census = Census::default();
            for index in 0..400 {
                let mut rng = Rng::of(12, task.name(), index, "shortcuts");
                let split = Split::Test;
                let asked = draw(&mut rng, Params { task, size, split });
                let (view, correct) = asked.view();
                census.add(&view, correct);
            }
            let (line, odd) = census.line(None, true);
            report += &format!("{:12}{size:?} {line}\n", task.name());
            bad += odd;
        }
    }
    println!("{report}");
    assert_eq!(bad, 0, "\n{report}");
}

/// Kendall's tau between an order and the right one.
fn tau(order: &[u32], right: &[u32]) -> f64 {
    let place = |order: &[u32], p: u32| order.iter().position(|&q| q == p);
    let mut sum = 0.0;
    let mut pairs = 0.0;
    for i in 0..right.len() {
        for j in 0..i {
            pairs += 1.0;
            sum += if place(order, right[j]) < place(order, right[i]) {
                1.0
            } else {
                -1.0
            };
        }
    }
    sum / pairs
}

#[test]
fn no_part_of_the_numbers_ranks_the_papers() {
    let mut report = String::new();
    let mut bad = 0;
    for size in SIZES {
        let runs = 400;
        let mut sums = [0.0; 7];
        let mut papers = 0.0;
        for index in 0..runs {
            let mut rng = Rng::of(13, "rank", index, "shortcuts");
            let asked = draw(
                &mut rng,
                Params {
                    task: Task::Rank,
                    size,
                    split: Split::Test,
                },
            );
            let n = asked.case.plan.papers.len() as u32;
            papers = f64::from(n);
            let said = |p: u32, relation: Relation| {
                let all = &asked.case.plan.papers[p as usize];
                all.iter()
                    .find(|(r, _)| *r == relation)
                    .map_or(0, |(_, o)| i64::from(*o))
            };
            let by = |key: &dyn Fn(u32) -> i64| {
                let mut order: Vec<u32> = (0..n).collect();
                order.sort_by_key(|&p| -key(p));
                order
            };
            let (base, cut, later) = (Relation::Base, Relation::Cut, Relation::LaterCut);
            let passages: Vec<&str> = asked
                .collection
                .passages
                .iter()
                .map(String::as_str)
                .collect();
            let last = |p: u32| {
                let label = super::collection::label(asked.case.plan.layout, p);
                passages
                    .iter()
                    .rposition(|text| text.starts_with(&label))
                    .map_or(0, |at| at as i64)
            };
            let best = best_passage(&passages, &asked.question).unwrap_or(0);
            let orders = [
                by(&|_| 0),
                by(&last),
                by(&|p| said(p, base)),
                by(&|p| -said(p, cut)),
                by(&|p| -said(p, later)),
                by(&|p| said(p, base) - said(p, cut)),
                by(&|p| {
                    i64::from(
                        passages[best]
                            .starts_with(&super::collection::label(asked.case.plan.layout, p)),
                    )
                }),
            ];
            for (sum, order) in sums.iter_mut().zip(orders) {
                *sum += tau(&order, &asked.case.expected);
            }
        }
        // The variance of tau of a random order (Kendall 1938).
        let deviation =
            (2.0 * (2.0 * papers + 5.0) / (9.0 * papers * (papers - 1.0)) / runs as f64).sqrt();
        report += &format!("rank {size:?} n {runs} (3.3 sd {:.3}):", 3.3 * deviation);
        let names = [
            "first mention",
            "last mention",
            "base",
            "cut",
            "later cut",
            "without later cut",
            "best passage",
        ];
        for (sum, name) in sums.iter().zip(names) {
            let mean = sum / runs as f64;
            let mark = if mean.abs() <= 3.3 * deviation {
                ""
            } else {
                "!"
            };
            bad += mark.len();
            report += &format!(" {name} {mean:+.3}{mark}");
        }
        report += "\n";
    }
    println!("{report}");
    assert_eq!(bad, 0, "\n{report}");
}

#[test]
fn splits_share_no_sentences_and_prose_is_whole() {
    let all = |s: &'static Sentences| {
        let lists = [
            s.abstracts,
            s.groups,
            s.enrolled,
            s.excluded,
            s.withdrawn,
            s.results,
            s.reversed,
            s.harmless,
            s.protocol,
            s.repeats,
            s.audit,
            s.review,
            s.data_note,
            s.discussion,
        ];
        lists.concat()
    };
    assert!(
        all(&TRAIN)
            .iter()
            .all(|sentence| !all(&TEST).contains(sentence))
    );
    for task in Task::ALL {
        for size in SIZES {
            let split = if size == Size::Medium {
                Split::Train
            } else {
                Split::Test
            };
            for question in questions(Params { task, size, split }, 4, 4) {
                let texts: Vec<&str> = question
                    .pieces
                    .iter()
                    .map(|piece| piece.text.trim())
                    .collect();
                let text = texts.join("\n\n");
                for wrong in ["{", "}", "  ", "..", " ."] {
                    assert!(!text.contains(wrong), "{wrong:?} in\n{text}");
                }
                let words = text.split_whitespace().count();
                assert!(
                    (150..2_500).contains(&words),
                    "{task:?} {size:?}: {words} words"
                );
                assert!(
                    question
                        .pieces
                        .iter()
                        .any(|piece| piece.role == Role::Evidence)
                );
                match &question.scorer {
                    Scorer::Ranking { order } => {
                        assert!(order.iter().all(|label| label.len() == 1))
                    }
                    Scorer::Choice { options, correct } => {
                        assert!(*correct < options.len() && options.len() == 4)
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}
