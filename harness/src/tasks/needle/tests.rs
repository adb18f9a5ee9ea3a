//! RULER's wording, and what must not work does not.

use super::*;
use crate::item::Context;
use crate::layout::{Encode, Frame, Laid, Layout};

/// Words are tokens: enough to lay out a document.
struct Words;

impl Encode for Words {
    fn encode(&self, text: &str) -> fathom_engine::Result<Vec<u32>> {
        Ok(text
            .split_inclusive([' ', '\n'])
            .map(|w| w.len() as u32)
            .collect())
    }

    fn has_special(&self, _: &str) -> fathom_engine::Result<bool> {
        Ok(false)
    }

    fn decode(&self, _: &[u32]) -> String {
        String::new()
    }
}

fn make(p: &Needle, n: usize) -> Vec<Question> {
    questions("s", "t", p, &Filler::Prose { seed: 0 }, n, 42)
}

#[test]
fn wording_is_rulers() {
    // niah.py: a single needle's template loses its plurals.
    let mut rng = Rng::new(1);
    let (instruction, ask, prefix) = ask_one(Wording::Ruler, Magic::Number, "able angle", &mut rng);
    assert_eq!(
        format!("{instruction}\n..\n{ask} {prefix}"),
        "A special magic number is hidden within the following text. Make sure to memorize it. I will quiz you about the \
         number afterwards.\n..\nWhat is the special magic number for able angle mentioned in the provided text? The special \
         magic number for able angle mentioned in the provided text is"
    );
    let (instruction, ask, prefix) = ask_all(Magic::Uuid, &["a b", "c d", "e f"]);
    assert_eq!(
        format!("{instruction}\n..\n{ask} {prefix}"),
        "Some special magic uuids are hidden within the following text. Make sure to memorize it. I will quiz you about the \
         uuids afterwards.\n..\nWhat are all the special magic uuids for a b, c d, and e f mentioned in the provided text? The \
         special magic uuids for a b, c d, and e f mentioned in the provided text are"
    );
    assert_eq!(
        statement(Magic::Word, "a b", "c d"),
        "One of the special magic words for a b is: c d."
    );
}

#[test]
fn counts_are_rulers() {
    for (keys, values, queries) in [(1, 1, 1), (4, 1, 1), (1, 4, 1), (4, 1, 4), (16, 1, 1)] {
        for question in make(
            &Needle {
                keys,
                values,
                queries,
                ..Needle::default()
            },
            20,
        ) {
            assert_eq!(question.pieces.len(), keys * values);
            let evidence: Vec<&Piece> = question
                .pieces
                .iter()
                .filter(|p| p.role == Role::Evidence)
                .collect();
            assert_eq!(evidence.len(), queries * values);
            let Scorer::ContainsAll {
                references,
                distractors,
            } = &question.scorer
            else {
                panic!("another scorer")
            };
            assert_eq!(references.len(), queries * values);
            assert!(
                references
                    .iter()
                    .all(|r| evidence.iter().any(|e| e.text.contains(r.as_str())))
            );
            assert!(distractors.iter().all(|d| !references.contains(d)));
            assert_eq!(distractors.is_empty(), queries * values > 1);
        }
    }
}

/// How often a rule that does not read the question finds the value.
fn rate(p: &Needle, n: usize, rule: impl Fn(&[&str]) -> usize) -> f64 {
    let mut right = 0;
    let mut layout = Layout::new(&Words, Frame::raw(""));
    let depths = [0.0, 0.25, 0.5, 0.75, 1.0];
    let made = make(p, n);
    for (i, question) in made.iter().enumerate() {
        let item = crate::item::Item {
            id: String::new(),
            question: question.id.clone(),
            context: Context::Length(1500),
            depth: Some(depths[i % depths.len()]),
            repeat: 0,
        };
        let Ok(Laid::Fits { prompt, .. }) = layout.lay(question, &item) else {
            panic!("does not fit")
        };
        let values: Vec<&str> = prompt
            .text
            .split(" is: ")
            .skip(1)
            .map(|rest| rest.split('.').next().unwrap_or(""))
            .collect();
        let Scorer::ContainsAll { references, .. } = &question.scorer else {
            panic!("another scorer")
        };
        right += usize::from(references[0] == values[rule(&values)]);
    }
    right as f64 / n as f64
}

#[test]
fn what_must_not_work_does_not() {
    let p = Needle {
        keys: 8,
        ..Needle::default()
    };
    let n = 400;
    // The last and the first needle, the largest and the most frequent value: at chance, 1/8 (three deviations: 0.05),
    // but that depths 0 and 1 put the needle first and last there, in a fifth of the items each.
    let ends = 0.2 + 0.8 / 8.0;
    let last = rate(&p, n, |v| v.len() - 1);
    let first = rate(&p, n, |_| 0);
    assert!(
        last < ends + 0.08 && first < ends + 0.08,
        "last {last} first {first}"
    );
    let largest = rate(&p, n, |v| (0..v.len()).max_by_key(|&i| v[i]).unwrap_or(0));
    assert!((largest - 0.125).abs() < 0.05, "largest {largest}");
    let frequent = rate(&p, n, |v| {
        (0..v.len())
            .rev()
            .max_by_key(|&i| v.iter().filter(|x| **x == v[i]).count())
            .unwrap_or(0)
    });
    assert!(frequent < ends + 0.08, "most frequent {frequent}");
    // At inner depths alone, order says nothing.
    let middle = rate(&p, n, |v| v.len() / 2);
    assert!(middle < 0.3, "middle {middle}");
}

#[test]
fn options_do_not_give_the_answer_away() {
    let mut shortest = 0;
    let mut smallest = 0;
    let made = make(
        &Needle {
            keys: 4,
            value: Magic::Word,
            ..Needle::default()
        },
        400,
    );
    for question in &made {
        let Some((all, correct)) = crate::score::options(&question.scorer, &question.id) else {
            panic!("no options")
        };
        assert_eq!(all.len(), 8);
        let best = (0..all.len()).min_by_key(|&i| all[i].len());
        shortest += usize::from(best == Some(correct));
        smallest += usize::from((0..all.len()).min_by_key(|&i| &all[i]) == Some(correct));
    }
    for right in [shortest, smallest] {
        assert!((right as f64 / 400.0 - 0.125).abs() < 0.06, "{right}");
    }
}
