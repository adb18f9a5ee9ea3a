//! Soundness, shortcuts and prose of the novels.

use std::collections::HashSet;

use super::super::facts::Query as _;
use super::super::reading::{Size, Split};
use super::super::shortcuts::{Census, Shortcut};
use super::cast::names;
use super::evidence::evidence;
use super::questions::{Params, Task, draw, questions};
use super::templates::Templates;
use super::words::{HAPPENINGS, SECRETS, SOCIETIES, THINGS, TITLES, TRADES};
use super::world::NovelQuery;
use super::{templates_test, templates_train};
use crate::item::{Role, Scorer};
use crate::rng::Rng;

const SIZES: [Size; 3] = [Size::Small, Size::Medium, Size::Large];
const SPLITS: [Split; 2] = [Split::Train, Split::Test];

#[test]
fn every_question_has_one_answer_and_needs_all_of_its_evidence() {
    for task in Task::ALL {
        for size in SIZES {
            for seed in 0..12 {
                let params = Params {
                    task,
                    size,
                    split: SPLITS[seed % 2],
                };
                let mut rng = Rng::of(seed as u64, "test", 0, task.name());
                let (book, topic) = draw(&mut rng, params);
                // What `questions` would reject: a generator that is sound by construction has nothing rejected.
                let mut queries = vec![(book.case.query.clone(), vec![book.case.correct as u32])];
                if task == Task::Claims {
                    let claims = book.case.claims.iter().flatten().zip([0, 1]);
                    queries = claims
                        .map(|((claim, _), truth)| (NovelQuery::Claim(claim.clone()), vec![truth]))
                        .collect();
                }
                for (query, expected) in queries {
                    let expected = match query {
                        NovelQuery::Arc { .. } => query.answer(&book.facts()).unwrap_or_default(),
                        _ => expected,
                    };
                    assert!(expected.len() == 1 || task == Task::Arc);
                    let proof = book.prove(&query, &expected);
                    assert_eq!(
                        proof,
                        Ok(()),
                        "{topic:?} {size:?} {query:?} {:#?}",
                        book.scenes
                    );
                    assert!(!evidence(&query, &book.facts()).is_empty());
                }
            }
        }
    }
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
    for task in [
        Task::LastState,
        Task::ArcOrder,
        Task::Knowledge,
        Task::Claims,
    ] {
        for &size in sizes {
            let mut census = Census::default();
            for index in 0..400 {
                let mut rng = Rng::of(11, task.name(), index, "shortcuts");
                let split = Split::Test;
                let (book, _) = draw(&mut rng, Params { task, size, split });
                let (view, correct) = if task == Task::Claims {
                    book.claims_view()
                } else {
                    book.view()
                };
                census.add(&view, correct);
            }
            // Following one person's passages is a part of reading, not a way around it (METHODOLOGY.md).
            let free = Some(Shortcut::LastNearSubject);
            let (line, odd) = census.line(free, task != Task::Claims);
            report += &format!("{:12}{size:?} {line}\n", task.name());
            bad += odd;
        }
    }
    println!("{report}");
    assert_eq!(bad, 0, "\n{report}");
}

fn sentences(t: &'static Templates) -> Vec<&'static str> {
    [
        t.home,
        t.home_declined,
        t.trade,
        t.trade_declined,
        t.society,
        t.society_declined,
        t.holder,
        t.holder_declined,
        t.found_out,
        t.told,
        t.not_told,
        t.meeting,
        t.home_cause,
        t.trade_cause,
        t.society_cause,
        t.aside,
    ]
    .into_iter()
    .chain(t.when)
    .chain(t.season)
    .flatten()
    .copied()
    .collect()
}

#[test]
fn splits_share_no_names_and_no_sentences() {
    let sentences = |t| sentences(t).into_iter().collect::<HashSet<_>>();
    let (train, test) = (
        sentences(&templates_train::TRAIN),
        sentences(&templates_test::TEST),
    );
    let neutral = ["that spring", "that summer", "that autumn", "that winter"];
    assert!(
        train.intersection(&test).all(|s| neutral.contains(s)),
        "{:?}",
        train.intersection(&test)
    );
    let all = |split| {
        let n = names(split);
        [n.women, n.men, n.surnames, n.places]
            .concat()
            .into_iter()
            .collect::<HashSet<_>>()
    };
    let (train, test) = (all(Split::Train), all(Split::Test));
    assert!(train.is_disjoint(&test), "{:?}", train.intersection(&test));
    for split in SPLITS {
        let n = names(split);
        assert!(n.women.len() + n.men.len() >= 60 && n.surnames.len() >= 40);
        assert_eq!(
            all(split).len(),
            n.women.len() + n.men.len() + n.surnames.len() + n.places.len(),
            "a name twice"
        );
    }
}

#[test]
fn nothing_but_the_facts_mentions_a_value() {
    // Sentences, secrets and happenings must not speak of trades, societies, things or places; and the filler knows
    // none of the people and places.
    let fixed = SECRETS
        .iter()
        .flat_map(|s| [s.topic, s.truth])
        .chain(HAPPENINGS.iter().flat_map(|h| [h.name, h.scene]));
    let text: Vec<&str> = sentences(&templates_train::TRAIN)
        .into_iter()
        .chain(sentences(&templates_test::TEST))
        .chain(fixed)
        .chain(TITLES.iter().flat_map(|t| t.iter().copied()))
        .collect();
    let values: Vec<&str> = TRADES
        .iter()
        .flat_map(|t| t.words.iter().copied().chain([t.noun]))
        .chain(SOCIETIES.iter().copied())
        .chain(THINGS.iter().copied())
        .chain(SPLITS.iter().flat_map(|&s| names(s).places.iter().copied()))
        .collect();
    for value in &values {
        for sentence in &text {
            assert!(!sentence.contains(value), "{value}: {sentence}");
        }
    }
    let filler = include_str!("../../prose/words.txt");
    let known: HashSet<&str> = filler.split([',', '\n', ':']).map(str::trim).collect();
    for split in SPLITS {
        let n = names(split);
        for name in [n.women, n.men, n.surnames, n.places].concat() {
            assert!(!known.contains(name), "{name} is in the filler");
        }
    }
}

#[test]
fn prose_is_whole_and_varied() {
    for task in Task::ALL {
        for size in SIZES {
            for question in questions(
                Params {
                    task,
                    size,
                    split: SPLITS[size as usize % 2],
                },
                3,
                8,
            ) {
                let texts: Vec<&str> = question.pieces.iter().map(|p| p.text.trim()).collect();
                let text = texts.join("\n\n");
                for wrong in [
                    "{", "}", "  ", " a a", " a e", " a i", " a o", " a u", " an b", "..", " .",
                    " ,", "'s's",
                ] {
                    assert!(!text.contains(wrong), "{wrong:?} in\n{text}");
                }
                assert!(texts.windows(2).all(|two| two[0] != two[1]), "{text}");
                assert!(text.starts_with("Chapter One: "));
                let words = text.split_whitespace().count();
                let range = match size {
                    Size::Small => 150..450,
                    Size::Medium => 600..1_500,
                    Size::Large => 1_500..4_500,
                };
                assert!(range.contains(&words), "{task:?} {size:?}: {words} words");
            }
        }
    }
}

#[test]
fn an_arc_is_told_by_its_own_phrases_only() {
    for seed in 0..40 {
        for size in SIZES {
            let params = Params {
                task: Task::Arc,
                size,
                split: SPLITS[seed % 2],
            };
            for question in questions(params, seed as u64, 1) {
                let Scorer::Arc { events, never } = &question.scorer else {
                    panic!("{:?}", question.scorer)
                };
                assert!((3..=6).contains(&events.len()) && !never.is_empty());
                let evidence: Vec<String> = question
                    .pieces
                    .iter()
                    .filter(|piece| piece.role == Role::Evidence)
                    .map(|piece| piece.text.to_lowercase())
                    .collect();
                assert_eq!(evidence.len(), events.len());
                for (event, passage) in events.iter().zip(&evidence) {
                    assert!(
                        event
                            .iter()
                            .any(|phrase| passage.contains(&phrase.to_lowercase())),
                        "{event:?}: {passage}"
                    );
                }
                for phrase in never.iter().map(|p| p.to_lowercase()) {
                    assert!(
                        evidence.iter().all(|passage| !passage.contains(&phrase)),
                        "{phrase}"
                    );
                    assert!(
                        events
                            .iter()
                            .flatten()
                            .all(|event| !event.to_lowercase().contains(&phrase))
                    );
                }
            }
        }
    }
}

#[test]
fn claims_come_in_pairs_that_differ_minimally() {
    let questions = questions(
        Params {
            task: Task::Claims,
            size: Size::Small,
            split: Split::Test,
        },
        5,
        30,
    );
    assert_eq!(questions.len(), 60);
    for pair in questions.chunks(2) {
        let [
            Scorer::Claim {
                truth: true,
                pair: a,
            },
            Scorer::Claim {
                truth: false,
                pair: b,
            },
        ] = [&pair[0].scorer, &pair[1].scorer]
        else {
            panic!("{pair:?}")
        };
        assert_eq!(a, b);
        assert_eq!(pair[0].filler, pair[1].filler);
        assert!(
            pair[0]
                .pieces
                .iter()
                .zip(&pair[1].pieces)
                .all(|(p, q)| p.text == q.text && p.place == q.place)
        );
        assert_ne!(pair[0].ask, pair[1].ask);
    }
}

#[test]
fn a_question_does_not_depend_on_how_many_are_drawn() {
    let params = Params {
        task: Task::Knowledge,
        size: Size::Small,
        split: Split::Test,
    };
    let text =
        |questions: &[crate::item::Question]| serde_json::to_string(questions).unwrap_or_default();
    assert_eq!(
        text(&questions(params, 9, 5)[..2]),
        text(&questions(params, 9, 2))
    );
    assert_ne!(
        text(&questions(params, 9, 1)),
        text(&questions(params, 10, 1))
    );
}
