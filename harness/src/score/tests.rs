//! Known vectors; what must not score does not.

use proptest::prelude::*;

use super::*;
use crate::record::OptionScore;
use crate::rng::Rng;

fn all(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

#[test]
fn contains_matches_ruler() {
    // Worked out with string_match_all and string_match_part of scripts/eval/synthetic/constants.py.
    let cases: [(&str, &[&str], f64, bool); 7] = [
        (" 1234567, 7654321.", &["1234567", "7654321"], 1.0, true),
        (
            "1234567",
            &["1234567", "7654321", "1111111", "2222222"],
            0.25,
            true,
        ),
        ("ABLE angle", &["able Angle"], 1.0, true),
        ("12345678", &["1234567"], 1.0, true),
        ("123 4567", &["1234567"], 0.0, false),
        ("", &["x"], 0.0, false),
        ("the value is é", &["É"], 1.0, true),
    ];
    for (answer, references, share, any) in cases {
        assert_eq!(contains_all(answer, &all(references)), share, "{answer}");
        assert_eq!(contains_any(answer, &all(references)), any, "{answer}");
    }
}

#[test]
fn exact_forgives_only_the_ends_and_the_case() {
    assert!(exact(" \"Oak.\"\n", &all(&["oak"])));
    assert!(!exact("the oak", &all(&["oak"])));
}

#[test]
fn letters_are_read_as_a_person_reads_them() {
    let options = all(&["the ash tree", "the oak", "the old oak", "an elm"]);
    let cases = [
        ("The correct answer is (B)", Some(1)),
        ("**The correct answer is (C)**.", Some(2)),
        ("The correct answer is D", Some(3)),
        ("First (A) seems right. The correct answer is (B).", Some(1)),
        ("B", Some(1)),
        ("b.", Some(1)),
        ("(d)", Some(3)),
        ("C) because it says so", Some(2)),
        ("A: the ash tree", Some(0)),
        ("I think that the answer is C", Some(2)),
        ("The answer is B, no, the answer is C.", Some(2)),
        ("Answer: a", Some(0)),
        ("Option D", Some(3)),
        ("It must be (A) or, better, (B)", Some(1)),
        ("It was the old oak.", Some(2)),
        ("It was the oak.", Some(1)),
        ("An elm", Some(3)),
        ("After all, nobody knows", None),
        ("A ship came in", None),
        ("Because of the rain", None),
        ("I don't know", None),
        ("The answer is a matter of taste", None),
        ("The answer is (E)", None),
        ("The ash tree or an elm", None),
        ("E", None),
        ("", None),
        ("Ärger", None),
    ];
    for (answer, expected) in cases {
        assert_eq!(letter(answer, &options), expected, "{answer}");
    }
}

#[test]
fn claims_are_read() {
    for (answer, expected) in [
        ("True", Some(true)),
        ("FALSE.", Some(false)),
        ("True or false? False", Some(false)),
        ("The claim is not true", Some(false)),
        ("Yes, it is", Some(true)),
        ("Nobody knows", None),
        ("", None),
    ] {
        assert_eq!(claim(answer), expected, "{answer}");
    }
}

#[test]
fn tau_and_ndcg_have_known_values() {
    let right = all(&["a", "b", "c", "d"]);
    let order = |s: &str| -> Vec<String> { s.chars().map(|c| c.to_string()).collect() };
    for (given, tau) in [
        ("abcd", 1.0),
        ("dcba", -1.0),
        ("bacd", 2.0 / 3.0),
        ("ab", 1.0 / 6.0),
        ("", 0.0),
        ("dabc", 0.0),
    ] {
        assert!(
            (kendall_tau(&order(given), &right) - tau).abs() < 1e-12,
            "{given}"
        );
    }
    assert_eq!(ndcg(&right, &right, 10), 1.0);
    // (1/log2 2 + 2/log2 3 + 3/log2 4 + 4/log2 5) / (4/log2 2 + 3/log2 3 + 2/log2 4 + 1/log2 5)
    assert!(
        (ndcg(&order("dcba"), &right, 10) - 0.748_903_0).abs() < 1e-6,
        "{}",
        ndcg(&order("dcba"), &right, 10)
    );
    assert_eq!(ndcg(&[], &right, 10), 0.0);
    assert_eq!(
        judge(
            &Scorer::Ranking {
                order: right.clone()
            },
            "d > c > b > a"
        )
        .score,
        0.0
    );
    assert_eq!(
        parse_order("Paper b is best, then a.\nd, c", &right),
        order("badc")
    );
    assert_eq!(
        parse_order("Reasons: a, b\n**b > a > d > c**", &right),
        order("badc")
    );
    assert_eq!(
        parse_order("It is a matter of taste: B, C", &all(&["A", "B", "C"])),
        all(&["B", "C"])
    );
}

#[test]
fn an_arc_rewards_neither_everything_nor_any_order() {
    let events = vec![
        all(&["left home", "went away"]),
        all(&["became a cook"]),
        all(&["came back"]),
    ];
    let never = all(&["went to sea", "married"]);
    let score = |text: &str| arc(text, &events, &never).score;
    assert_eq!(score("She went away, became a cook and came back."), 1.0);
    assert_eq!(score("She came back, became a cook and left home."), 0.0);
    let two = score("She left home and came back");
    assert!((two - 0.8).abs() < 1e-9, "{two}");
    let everything = score("left home, became a cook, came back, went to sea, married");
    assert!((everything - 0.75).abs() < 1e-9, "{everything}");
    assert_eq!(score(""), 0.0);
    assert_eq!(score("She married."), 0.0);
}

#[test]
fn options_hide_the_right_one_anywhere() {
    let mut places = [0usize; 4];
    for i in 0..400 {
        let scorer = Scorer::ContainsAll {
            references: all(&["x"]),
            distractors: all(&["1", "2", "3"]),
        };
        let Some((all, correct)) = options(&scorer, &format!("q/{i}")) else {
            panic!("no options")
        };
        assert_eq!(all[correct], "x");
        places[correct] += 1;
    }
    assert!(places.iter().all(|&n| n > 60), "{places:?}");
    let truth = Scorer::Claim {
        truth: false,
        pair: "p".into(),
    };
    assert_eq!(options(&truth, "q"), Some((all(&["true", "false"]), 1)));
    assert_eq!(
        options(
            &Scorer::ContainsAny {
                references: all(&["x"])
            },
            "q"
        ),
        None
    );
}

#[test]
fn the_likeliest_option_wins_and_ties_share() {
    let option = |logprob, tokens| OptionScore {
        text: String::new(),
        logprob,
        tokens,
    };
    let j = likeliest(&[option(-3.0, 1), option(-4.0, 4), option(-9.0, 9)], 0);
    assert_eq!(j.score, 1.0);
    assert_eq!(j.detail, "per_token=0.0000 margin=1.0000");
    assert_eq!(likeliest(&[option(-3.0, 1), option(-3.0, 1)], 1).score, 0.5);
    assert_eq!(
        likeliest(&[option(f64::NAN, 1), option(-3.0, 1)], 0).score,
        0.0
    );
    assert_eq!(likeliest(&[], 0).score, 0.0);
}

#[test]
fn defects_are_named_and_answers_are_not() {
    assert_eq!(defect("\u{fffd}\u{fffd}a\u{fffd}"), Some("not-text"));
    assert_eq!(defect("!!!!!!!!!!!!!!!!"), Some("not-text"));
    assert_eq!(defect(&"a".repeat(100)), Some("loop"));
    assert_eq!(defect(&"and so it goes on and ".repeat(8)), Some("loop"));
    let fine = "The letter from Elmstead arrived on Friday, five days after it had been written, and she read the whole \
                of it twice, the second time aloud to her mother, who said nothing at all about the matter.";
    for answer in [
        fine,
        "1234567",
        "1111111, 2222222, 3333333",
        "(B)",
        "...",
        "好的，我知道了",
    ] {
        assert_eq!(defect(answer), None, "{answer}");
    }
}

#[test]
fn guesses_score_what_chance_says() {
    let mut rng = Rng::new(1);
    let n = 4000;
    let labels = all(&["a", "b", "c", "d"]);
    let ranking = Scorer::Ranking {
        order: labels.clone(),
    };
    let mean = (0..n)
        .map(|_| {
            let mut guess = labels.clone();
            rng.shuffle(&mut guess);
            judge(&ranking, &guess.join(" > ")).score
        })
        .sum::<f64>()
        / f64::from(n);
    assert!((mean - chance(&ranking)).abs() < 0.02, "{mean}");
    let choice = Scorer::Choice {
        options: labels.clone(),
        correct: 2,
    };
    let mean = (0..n)
        .map(|_| judge(&choice, ["A", "B", "C", "D"][rng.below(4)]).score)
        .sum::<f64>()
        / f64::from(n);
    assert!((mean - chance(&choice)).abs() < 0.03, "{mean}");
}

proptest! {
    #[test]
    fn no_answer_breaks_a_scorer(answer in "\\PC{0,200}|[A-D() .*>a-z\n]{0,80}") {
        let options = all(&["the oak", "B", "é", ""]);
        for scorer in [
            Scorer::ContainsAll { references: vec![], distractors: vec![] },
            Scorer::ContainsAny { references: all(&["é"]) },
            Scorer::Exact { references: all(&[""]) },
            Scorer::Choice { options: options.clone(), correct: 1 },
            Scorer::Claim { truth: true, pair: "p".into() },
            Scorer::Ranking { order: all(&["a", "b", "c"]) },
            Scorer::Arc { events: vec![all(&["a"]), vec![]], never: all(&["b"]) },
        ] {
            let score = judge(&scorer, &answer).score;
            prop_assert!((0.0..=1.0).contains(&score), "{scorer:?} {score}");
        }
        defect(&answer);
    }
}

/// A row of an item with this scorer that ended so.
fn row_of(
    scorer: Scorer,
    options: &[&str],
    answer: crate::record::Answer,
) -> crate::record::ScoreRow {
    use crate::item::{Context, Filler, Item, Prompt, Question};
    use crate::record::{ItemRecord, PromptOption};
    let question = Question {
        id: "s/t/0001".into(),
        suite: "s".into(),
        task: "t".into(),
        cluster: "c".into(),
        instruction: String::new(),
        pieces: Vec::new(),
        filler: Filler::None,
        ask: String::new(),
        answer_prefix: String::new(),
        scorer,
        max_tokens: 8,
        shared: None,
    };
    let record = ItemRecord {
        item: Item {
            id: "s/t/0001@64#2".into(),
            question: question.id.clone(),
            context: Context::Length(64),
            depth: None,
            repeat: 1,
        },
        question,
        prompt: Prompt {
            ids: vec![],
            text: String::new(),
            evidence: vec![],
            about: None,
        },
        group: String::new(),
        options: options
            .iter()
            .map(|o| PromptOption {
                text: (*o).to_owned(),
                ids: vec![1],
            })
            .collect(),
        marks: vec![],
        skip: String::new(),
    };
    row(&record, &answer)
}

fn answer(status: crate::record::Status, text: &str, logprobs: &[f64]) -> crate::record::Answer {
    crate::record::Answer {
        item: "s/t/0001@64#2".into(),
        status,
        reason: String::new(),
        text: text.into(),
        thought: String::new(),
        ids: if text.is_empty() { vec![] } else { vec![1] },
        logprobs: vec![],
        options: logprobs
            .iter()
            .map(|&logprob| OptionScore {
                text: String::new(),
                logprob,
                tokens: 1,
            })
            .collect(),
        prompt_tokens: 64,
        prefill_s: None,
        decode_s: None,
        logits_hash: String::new(),
        usage: None,
    }
}

#[test]
fn every_status_keeps_its_place_in_the_count() {
    use crate::record::Status::{Failed, Refused, Scored, Skipped, Truncated};
    let scorer = || Scorer::ContainsAny {
        references: all(&["oak"]),
    };
    for (status, score) in [
        (Scored, Some(1.0)),
        (Truncated, Some(0.0)),
        (Refused, Some(0.0)),
        (Failed, None),
        (Skipped, None),
    ] {
        let row = row_of(scorer(), &[], answer(status, "oak", &[]));
        assert_eq!(
            (row.score, row.status, row.context.as_str()),
            (score, status, "64"),
            "{status:?}"
        );
    }
    assert_eq!(
        row_of(scorer(), &[], answer(Scored, "", &[])).defect,
        "empty"
    );
}

#[test]
fn claims_name_their_pair_at_this_length() {
    use crate::record::Status::Scored;
    let scorer = || Scorer::Claim {
        truth: false,
        pair: "s/t/0001".into(),
    };
    let row = row_of(scorer(), &[], answer(Scored, " false.", &[]));
    assert_eq!(
        (row.score, row.chance, row.detail.as_str()),
        (Some(1.0), 0.5, "pair=s/t/0001@64#1")
    );
    let row = row_of(
        scorer(),
        &["true", "false"],
        answer(Scored, "", &[-2.0, -1.0]),
    );
    assert_eq!((row.score, row.method.as_str()), (Some(1.0), "likelihood"));
    assert!(
        row.detail.ends_with(" pair=s/t/0001@64#1"),
        "{}",
        row.detail
    );
    assert_eq!(
        crate::stats::detail(&row.detail, "pair"),
        Some("s/t/0001@64#1")
    );
    assert_eq!(row.defect, "");
}
