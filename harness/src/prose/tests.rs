//! Tests of the prose: it is varied, clean, and says nothing that a question could ask for.

use std::collections::{HashMap, HashSet};

use super::*;

fn sentences(seed: u64, n: usize) -> Vec<String> {
    let mut prose = Prose::new(seed);
    let mut out = Vec::new();
    while out.len() < n {
        out.extend(prose.next_paragraph());
    }
    out
}

#[test]
fn a_page_to_look_at() {
    let mut prose = Prose::new(11);
    let page: Vec<String> = (0..18).map(|_| prose.next_paragraph().join(" ")).collect();
    println!("{}", page.join("\n\n"));
}

#[test]
fn there_are_many_frames_and_topics() {
    assert!(GRAMMAR.topics.len() >= 12);
    let frames: usize = GRAMMAR.topics.iter().map(|t| t.frames.len()).sum();
    assert!(frames >= 150, "{frames}");
    for topic in &GRAMMAR.topics {
        assert!(
            topic.frames.iter().filter(|f| f.opening).count() >= 4,
            "{:?}",
            topic.frames[0]
        );
        assert!(
            topic.frames[..=topic.last_opening]
                .iter()
                .all(|f| f.opening),
            "{:?}",
            topic.frames[0]
        );
    }
}

#[test]
fn every_frame_fills_all_its_slots() {
    let grammar = &*GRAMMAR;
    let mut rng = Rng::new(1);
    for topic in &grammar.topics {
        for frame in &topic.frames {
            for _ in 0..20 {
                let mut scene = Scene::next(grammar, topic, None, &mut rng);
                let s = grammar.render(frame, &mut scene, &mut rng);
                assert!(!s.contains(['{', '}', '[', ']', '|', '@', '+']), "{s}");
                assert!(s.ends_with(['.', '"']), "{s}");
            }
        }
    }
}

#[test]
fn text_is_clean() {
    for s in sentences(3, 6000) {
        assert!(
            !s.contains("  ") && !s.starts_with(' ') && !s.ends_with(' '),
            "{s}"
        );
        assert!(
            s.is_ascii() && !s.contains(|c: char| c.is_ascii_digit()),
            "{s}"
        );
        assert!(!s.to_lowercase().contains("magic"), "{s}");
        assert!(
            s.trim_start_matches('"')
                .starts_with(|c: char| c.is_uppercase()),
            "{s}"
        );
        let words: Vec<&str> = s.split(' ').collect();
        for pair in words.windows(2) {
            assert_ne!(pair[0].to_lowercase(), pair[1].to_lowercase(), "{s}");
            let vowel = pair[1].starts_with(['a', 'e', 'i', 'o', 'u'])
                && !pair[1].starts_with("uni")
                && pair[1] != "one"
                || pair[1].starts_with("hour");
            match pair[0].to_lowercase().as_str() {
                "a" => assert!(!vowel, "{s}"),
                "an" => assert!(vowel, "{s}"),
                _ => {}
            }
        }
    }
}

#[test]
fn nothing_is_said_twice() {
    let all = sentences(5, 60_000);
    let distinct: HashSet<&str> = all.iter().map(String::as_str).collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn words_and_phrases_vary() {
    let text = sentences(9, 4000).join(" ");
    let words: Vec<&str> = text.split(' ').collect();
    let share = |n: usize| {
        let all: Vec<&[&str]> = words.windows(n).collect();
        all.iter().collect::<HashSet<_>>().len() as f64 / all.len() as f64
    };
    let distinct: HashSet<&&str> = words.iter().collect();
    println!(
        "{} words, {} distinct, 2: {:.3} 4: {:.3} 8: {:.3}",
        words.len(),
        distinct.len(),
        share(2),
        share(4),
        share(8)
    );
    assert!(distinct.len() > 1800);
    assert!(
        share(4) > 0.35 && share(8) > 0.8,
        "{} {}",
        share(4),
        share(8)
    );
    // No single opening dominates.
    let mut openings: HashMap<String, usize> = HashMap::new();
    for s in sentences(9, 4000) {
        *openings
            .entry(s.split(' ').take(3).collect::<Vec<_>>().join(" "))
            .or_default() += 1;
    }
    let most = openings.values().max().copied().unwrap_or(0);
    assert!(most < 120, "{most}");
}

#[test]
fn streams_differ_by_seed_only() {
    assert_eq!(sentences(1, 200), sentences(1, 200));
    // Frames without slots are the same in all streams; whole paragraphs are not.
    let paragraphs = |seed| {
        let mut prose = Prose::new(seed);
        (0..400)
            .map(|_| prose.next_paragraph())
            .collect::<HashSet<_>>()
    };
    assert!(paragraphs(1).is_disjoint(&paragraphs(2)));
}
