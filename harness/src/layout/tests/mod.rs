//! Property tests of the layout, with a tokenizer whose tokens depend on their neighbours as those of real ones do.

use fathom_engine::Result as EngineResult;
use proptest::prelude::*;

use super::*;
use crate::filler::NOISE;
use crate::item::{Magic, Scorer, Shared};
use crate::tasks::needle::{self, Needle};

/// Byte-level, greedy by longest match within a word with its leading space; every digit a token; line ends join.
pub struct Toy {
    vocab: Vec<&'static str>,
}

impl Toy {
    pub fn new() -> Self {
        let vocab = " the, of, a, and, was, in, to, The, it, magic, special, One, number, numbers, for, is,\n\n,\n,ing,ed,er,\
                     es,on,an,re,th, th, s, w, b, c,ou,st,ar,le,.\n,?\n,<s>,<end>, mentioned, provided, text,The, What,What,\
                     en,ro,or,al,it,is,om,ck,ch,sh,ea,ai,ee,oo,ll,ss,tt, h, m, f, p, d, l, g, k, r, y, n, t, o";
        let mut vocab: Vec<&str> = vocab.split(',').collect();
        vocab.sort_by_key(|t| std::cmp::Reverse(t.len()));
        Self { vocab }
    }

    fn special(token: &str) -> bool {
        token == "<s>" || token == "<end>"
    }
}

impl Encode for Toy {
    fn encode(&self, text: &str) -> EngineResult<Vec<u32>> {
        let mut ids = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            match self.vocab.iter().position(|t| rest.starts_with(t)) {
                Some(i) => {
                    ids.push(256 + i as u32);
                    rest = &rest[self.vocab[i].len()..];
                }
                None => {
                    let c = rest.chars().next().map_or(1, char::len_utf8);
                    ids.extend(rest[..c].bytes().map(u32::from));
                    rest = &rest[c..];
                }
            }
        }
        Ok(ids)
    }

    fn has_special(&self, text: &str) -> EngineResult<bool> {
        Ok(self
            .vocab
            .iter()
            .any(|t| Self::special(t) && text.contains(t)))
    }

    fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        for &id in ids {
            match u8::try_from(id) {
                Ok(b) => bytes.push(b),
                Err(_) => bytes.extend_from_slice(self.vocab[id as usize - 256].as_bytes()),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn frames() -> Vec<Frame> {
    let chat = Frame::chat(|u| {
        Ok(format!(
            "<s>system\nYou help.<end>\n<s>user\n\n{u}<end>\n<s>assistant\n\n"
        ))
    });
    vec![
        Frame::raw(""),
        Frame::raw("<s>"),
        chat.unwrap_or_else(|_| Frame::raw("")),
    ]
}

fn item(question: &Question, context: Context, depth: Option<f64>) -> Item {
    Item {
        id: "x".into(),
        question: question.id.clone(),
        context,
        depth,
        repeat: 0,
    }
}

fn fillers() -> Vec<Filler> {
    vec![
        Filler::Prose { seed: 5 },
        Filler::Noise,
        Filler::Needles {
            seed: 6,
            template: "One of the special magic numbers for {key} is: {value}.".into(),
            key: Magic::Word,
            value: Magic::Number,
        },
    ]
}

/// A question for one of `keys` needles.
fn needle(keys: usize, filler: &Filler) -> Question {
    let needle = Needle {
        keys,
        ..Needle::default()
    };
    needle::questions("s", "t", &needle, filler, 1, 3).remove(0)
}

fn fits(laid: Laid) -> Option<Prompt> {
    match laid {
        Laid::Fits { prompt, .. } => Some(prompt),
        Laid::Skip(_) => None,
    }
}

fn check(question: &Question, prompt: &Prompt, length: usize, toy: &Toy) {
    assert_eq!(prompt.ids.len(), length);
    assert_eq!(prompt.ids, toy.encode(&prompt.text).unwrap_or_default());
    assert_eq!(toy.decode(&prompt.ids), prompt.text);
    let evidence: Vec<&str> = question
        .pieces
        .iter()
        .filter(|p| p.role == Role::Evidence)
        .map(|p| p.text.trim())
        .collect();
    let mut found: Vec<&str> = prompt
        .evidence
        .iter()
        .map(|r| &prompt.text[r.clone()])
        .collect();
    found.sort_unstable();
    let mut sorted = evidence.clone();
    sorted.sort_unstable();
    assert_eq!(found, sorted);
    for piece in &question.pieces {
        assert_eq!(
            prompt.text.matches(piece.text.trim()).count(),
            1,
            "{}",
            piece.text
        );
    }
    assert!(!prompt.text.contains("  "), "{}", prompt.text);
}

/// Tokens of the question without any filler.
fn bare(question: &Question, depth: f64, toy: &Toy, frame: &Frame) -> Result<usize> {
    let mut layout = Layout::new(toy, frame.clone());
    match layout.lay(question, &item(question, Context::Length(1), Some(depth)))? {
        Laid::Skip(reason) => Ok(reason
            .split(' ')
            .nth(4)
            .and_then(|n| n.parse().ok())
            .unwrap_or(0)),
        Laid::Fits { .. } => Ok(0),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn every_length_is_hit_exactly(
        length in 64usize..4096,
        depth in 0f64..=1.0,
        keys in 1usize..6,
        filler in 0usize..3,
        frame in 0usize..3,
        seed in 0u64..1000,
    ) {
        let toy = Toy::new();
        let needle = Needle { keys, ..Needle::default() };
        let question = &needle::questions("s", "t", &needle, &fillers()[filler], 1, seed)[0];
        let mut layout = Layout::new(&toy, frames()[frame].clone());
        match layout.lay(question, &item(question, Context::Length(length), Some(depth)))? {
            Laid::Fits { prompt, .. } => check(question, &prompt, length, &toy),
            Laid::Skip(reason) => {
                // One or two tokens more than the bare question needs cannot always be had: a full stop and a line
                // end are one token, a word between them makes them three.
                let needed = bare(question, depth, &toy, &frames()[frame])?;
                prop_assert!(length < needed + 3, "{reason} at {length}, bare {needed}");
            }
        }
    }
}

#[test]
fn a_needle_stands_at_its_depth() -> Result<()> {
    let toy = Toy::new();
    let question = &needle(8, &fillers()[0]);
    let mut layout = Layout::new(&toy, Frame::raw(""));
    for length in [1024, 2048, 8192] {
        for depth in [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0] {
            let laid = layout.lay(
                question,
                &item(question, Context::Length(length), Some(depth)),
            )?;
            let Some(prompt) = fits(laid) else {
                panic!("does not fit")
            };
            let at = prompt.evidence[0].start;
            let start = question.instruction.len();
            let end = prompt.text.find(&question.ask).unwrap_or(0);
            let found = (at - start) as f64 / (end - start) as f64;
            // Other needles are part of the document, but not of the share: a few per cent.
            assert!(
                (found - depth).abs() < 0.03 + 700.0 / (4 * length) as f64,
                "{found} for {depth} at {length}"
            );
        }
    }
    Ok(())
}

#[test]
fn controls_have_the_evidence_or_nothing() -> Result<()> {
    let toy = Toy::new();
    let question = &needle(4, &fillers()[0]);
    let mut layout = Layout::new(&toy, Frame::raw("<s>"));
    let evidence = question
        .pieces
        .iter()
        .find(|p| p.role == Role::Evidence)
        .map_or("", |p| &p.text);
    let short = fits(layout.lay(question, &item(question, Context::Short, None))?);
    let expected = format!(
        "<s>{}\n{evidence}\n{} {}",
        question.instruction, question.ask, question.answer_prefix
    );
    assert_eq!(short.map(|p| p.text), Some(expected));
    let none = fits(layout.lay(question, &item(question, Context::None, None))?);
    assert_eq!(
        none.map(|p| p.text),
        Some(format!("<s>{} {}", question.ask, question.answer_prefix))
    );
    Ok(())
}

#[test]
fn what_does_not_fit_says_what_it_needs() -> Result<()> {
    let toy = Toy::new();
    let question = &needle(8, &fillers()[0]);
    let mut layout = Layout::new(&toy, Frame::raw(""));
    match layout.lay(question, &item(question, Context::Length(100), Some(0.5)))? {
        Laid::Skip(reason) => {
            let needed: usize = reason
                .split(' ')
                .nth(4)
                .and_then(|n| n.parse().ok())
                .unwrap_or(0);
            assert!(needed > 100, "{reason}");
            // And with exactly that many it fits.
            let laid = layout.lay(
                question,
                &item(question, Context::Length(needed), Some(0.5)),
            )?;
            assert!(fits(laid).is_some_and(|p| p.ids.len() == needed));
        }
        Laid::Fits { .. } => panic!("100 tokens cannot hold eight needles"),
    }
    let bare = Question {
        filler: Filler::None,
        ..question.clone()
    };
    assert!(fits(layout.lay(&bare, &item(&bare, Context::Length(5000), None))?).is_none());
    Ok(())
}

#[test]
fn a_shared_document_is_the_same_at_every_length() -> Result<()> {
    let toy = Toy::new();
    let question = &mut needle(3, &fillers()[0]);
    question.shared = Some(Shared {
        reserve: format!("{} {}", question.ask, question.answer_prefix),
    });
    for (piece, depth) in question.pieces.iter_mut().zip([0.1, 0.5, 0.9]) {
        piece.place = Place::Cell { length: 512, depth };
    }
    let mut layout = Layout::new(&toy, Frame::raw("<s>"));
    let mut prompts = Vec::new();
    for length in [512, 777, 1024, 4096] {
        let Some(prompt) =
            fits(layout.lay(question, &item(question, Context::Length(length), None))?)
        else {
            panic!("does not fit {length}")
        };
        check(question, &prompt, length, &toy);
        prompts.push(prompt);
    }
    for pair in prompts.windows(2) {
        let same = pair[0]
            .ids
            .iter()
            .zip(&pair[1].ids)
            .take_while(|(a, b)| a == b)
            .count();
        let tail = toy
            .encode(&format!("\n{} {}", question.ask, question.answer_prefix))?
            .len();
        assert!(
            same + tail + SLACK + 60 >= pair[0].ids.len(),
            "{same} of {}",
            pair[0].ids.len()
        );
    }
    assert!(fits(layout.lay(question, &item(question, Context::Length(300), None))?).is_none());
    Ok(())
}

#[test]
fn options_continue_the_prompt() -> Result<()> {
    let toy = Toy::new();
    let question = &needle(1, &fillers()[0]);
    let mut layout = Layout::new(&toy, Frame::raw("<s>"));
    let Some(prompt) =
        fits(layout.lay(question, &item(question, Context::Length(300), Some(0.5)))?)
    else {
        panic!("does not fit")
    };
    let options = layout.options(&prompt, &["1234567".into(), "the end".into()])?;
    assert_eq!(options[1].text, " the end");
    for option in options {
        let mut ids = prompt.ids.clone();
        ids.extend(&option.ids);
        assert_eq!(ids, toy.encode(&format!("{}{}", prompt.text, option.text))?);
    }
    Ok(())
}

#[test]
fn a_text_of_ones_own_is_cut_at_words_and_never_into_special_tokens() -> Result<()> {
    let file =
        tempfile::NamedTempFile::new().map_err(|e| Error::read(std::path::Path::new("temp"), e))?;
    let text = "Call me <s> Ishmael. Some years ago, never mind how long precisely, I thought I would sail about a little.\n\n\
                It is a way I have of driving off the spleen! Whenever I find myself growing grim about the mouth, I go to sea.";
    std::fs::write(file.path(), text).map_err(|e| Error::read(file.path(), e))?;
    let filler = Filler::Text {
        path: file.path().display().to_string(),
        seed: 0,
    };
    let toy = Toy::new();
    let question = &needle(1, &filler);
    let mut layout = Layout::new(&toy, Frame::raw(""));
    for length in 200..500 {
        let laid = layout.lay(
            question,
            &item(question, Context::Length(length), Some(0.3)),
        )?;
        let Laid::Fits { prompt, marks } = laid else {
            panic!("{length}: {laid:?}")
        };
        assert_eq!(prompt.ids.len(), length);
        assert!(!prompt.text.contains("<s>"));
        if length > 450 {
            assert_eq!(marks, ["filler-repeats"]);
        }
    }
    Ok(())
}

#[test]
fn noise_is_whole_sentences() -> Result<()> {
    let toy = Toy::new();
    let question = &needle(1, &Filler::Noise);
    let mut layout = Layout::new(&toy, Frame::raw(""));
    let laid = layout.lay(question, &item(question, Context::Length(1500), Some(0.3)))?;
    let Some(prompt) = fits(laid) else {
        panic!("does not fit")
    };
    let whole = NOISE
        .iter()
        .map(|s| prompt.text.matches(s).count())
        .sum::<usize>();
    assert!(whole > 80);
    assert!(matches!(question.scorer, Scorer::ContainsAll { .. }));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_document_of_ones_own_is_cut_around_its_evidence(length in 90usize..1500, sentences in 1usize..60, at in 0usize..60) {
        let mut prose = crate::prose::Prose::new(sentences as u64);
        let mut text: Vec<String> = std::iter::repeat_with(|| prose.next_paragraph()).flatten().take(sentences).collect();
        let at = at % sentences;
        text.insert(at, "<<The seal was under the third stone.>>".to_owned());
        let suite = format!(
            "format = 1\nname = \"x\"\nlengths = [64]\n[[task]]\nkind = \"own\"\n\
             parameters.documents = [{{ name = \"a\", text = '''{}''' }}]\n\
             parameters.questions = [{{ ask = \"Where was the seal?\", answers = [\"stone\"] }}]\n",
            text.join(" ")
        );
        let question = &crate::suite::Suite::parse(&suite, "s", std::path::Path::new(""))?.questions()?[0];
        let toy = Toy::new();
        let mut layout = Layout::new(&toy, Frame::raw(""));
        let laid = layout.lay(question, &item(question, Context::Length(length), None))?;
        let Laid::Fits { prompt, .. } = laid else { panic!("{laid:?}") };
        check(question, &prompt, length, &toy);
        // What stands next to the evidence in the document stands next to it in the prompt, if anything does.
        let start = prompt.evidence[0].start;
        if at > 0 && start > 200 {
            let before = prompt.text[..start].trim_end();
            prop_assert!(text[at - 1].ends_with(&before[before.len() - 10..]) || !before.ends_with(['.', '"']), "{before}");
        }
    }
}
