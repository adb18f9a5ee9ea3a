//! Whole suites, and tokenizers as they come with models.

use fathom_engine::tokenizer::Tokenizer;

use super::*;

/// The sweep as the run asks it: every item of the built-in suite, but for one document a cell.
fn sweep_is_exact(encode: &dyn Encode, frame: &Frame, lengths: &[usize]) -> Result<()> {
    let text = format!(
        "format = 1\nname = \"x\"\nlengths = {lengths:?}\ndepths = [0.0, 0.2, 0.5, 0.8, 1.0]\n\
         [[task]]\nkind = \"sweep\"\nquestions = 1\nparameters = {{ distractors = 3 }}\n"
    );
    let suite = crate::suite::Suite::parse(&text, "s", std::path::Path::new(""))?;
    let questions = suite.questions()?;
    let mut layout = Layout::new(encode, frame.clone());
    let mut before: Option<(&str, Prompt)> = None;
    for item in suite.items(&questions) {
        let Context::Length(length) = item.context else {
            continue;
        };
        let Some(question) = questions.iter().find(|q| q.id == item.question) else {
            continue;
        };
        let laid = layout.lay(question, &item)?;
        let Laid::Fits { prompt, .. } = laid else {
            panic!("{}: {laid:?}", item.id)
        };
        assert_eq!(prompt.ids.len(), length);
        for piece in &question.pieces {
            assert_eq!(
                prompt.text.matches(piece.text.as_str()).count(),
                1,
                "{}",
                item.id
            );
        }
        // Depth, by characters of the document: near what the item says.
        let at = prompt.evidence[0].start as f64;
        let end = prompt.text.find(&question.ask).unwrap_or(0) as f64;
        let found =
            (at - question.instruction.len() as f64) / (end - question.instruction.len() as f64);
        let depth = item.depth.unwrap_or(-1.0);
        assert!(
            (found - depth).abs() < 0.02 + 400.0 / length as f64,
            "{found} for {}",
            item.id
        );
        if let Some((group, earlier)) = &before
            && *group == question.group()
        {
            let same = earlier
                .ids
                .iter()
                .zip(&prompt.ids)
                .take_while(|(a, b)| a == b)
                .count();
            assert!(
                same + 400 > earlier.ids.len(),
                "{}: {same} of {}",
                item.id,
                earlier.ids.len()
            );
        }
        before = Some((question.group(), prompt));
    }
    Ok(())
}

#[test]
fn a_sweep_has_its_needles_at_their_depths_and_shares_its_beginnings() -> Result<()> {
    sweep_is_exact(&Toy::new(), &Frame::raw("<s>"), &[1024, 2048, 4096, 8192])
}

#[test]
fn the_default_suite_fits_the_model_that_comes_with_it() -> Result<()> {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets/builtin/tokenizer.json");
    let json = std::fs::read(&path).map_err(|e| Error::read(&path, e))?;
    let tokenizer = Tokenizer::from_hf("tokenizer.json", &json, None)?;
    let mut suite = crate::suite::Suite::load("default")?;
    suite.file.lengths.retain(|l| l.0 <= 4096);
    let questions = suite.questions()?;
    let mut layout = Layout::new(&tokenizer, Frame::raw("<|begin_of_text|>"));
    for item in suite.items(&questions) {
        let Some(question) = questions.iter().find(|q| q.id == item.question) else {
            continue;
        };
        let laid = layout.lay(question, &item)?;
        let Laid::Fits { prompt, .. } = laid else {
            panic!("{}: {laid:?}", item.id)
        };
        if let Context::Length(length) = item.context {
            assert_eq!(prompt.ids.len(), length, "{}", item.id);
        }
    }
    Ok(())
}

/// Tokenizers as they come with models: those of this repository, and those of `FATHOM_TEST_TOKENIZERS` (paths with colons
/// between). A few lengths, every frame and filler; a million tokens.
#[test]
fn tokenizers_of_models_are_hit_exactly() -> Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths = vec![
        root.join("tests/golden/llama31/tokenizer.json"),
        root.join("datasets/builtin/tokenizer.json"),
    ];
    paths.retain(|p| p.exists());
    assert!(!paths.is_empty());
    let named = std::env::var("FATHOM_TEST_TOKENIZERS").unwrap_or_default();
    paths.extend(
        named
            .split(':')
            .filter(|p| !p.is_empty())
            .map(std::path::PathBuf::from),
    );
    for path in &paths {
        let json = std::fs::read(path).map_err(|e| Error::read(path, e))?;
        let tokenizer = Tokenizer::from_hf(&path.display().to_string(), &json, None)?;
        let path = path.display();
        sweep_is_exact(&tokenizer, &Frame::raw(""), &[2048, 4096, 8192])?;
        let question = &needle(1, &fillers()[0]);
        let started = std::time::Instant::now();
        let mut layout = Layout::new(&tokenizer, Frame::raw(""));
        let laid = layout.lay(
            question,
            &item(question, Context::Length(1 << 20), Some(0.5)),
        )?;
        assert!(matches!(laid, Laid::Fits { .. }));
        println!("{path} 1m: {:?}", started.elapsed());
        for i in 0..20 {
            let length = (1 << 16) + 97 * i;
            let laid = layout.lay(
                question,
                &item(question, Context::Length(length), Some(0.1 * i as f64)),
            )?;
            assert!(matches!(laid, Laid::Fits { .. }), "{length}");
        }
        for frame in [
            Frame::raw(""),
            Frame::chat(|u| Ok(format!("<|user|>\n\n{u}<|end|>\n<|assistant|>\n\n")))?,
        ] {
            for filler in fillers() {
                let p = Needle {
                    keys: 4,
                    ..Needle::default()
                };
                for question in &needle::questions("s", "t", &p, &filler, 6, 9) {
                    let mut layout = Layout::new(&tokenizer, frame.clone());
                    for (length, depth) in [
                        (1200, 0.0),
                        (1777, 0.3),
                        (2048, 0.5),
                        (4096, 0.8),
                        (16384, 1.0),
                    ] {
                        let started = std::time::Instant::now();
                        let laid = layout.lay(
                            question,
                            &item(question, Context::Length(length), Some(depth)),
                        )?;
                        let Laid::Fits { prompt, .. } = laid else {
                            panic!("{path} {length} {depth}: {laid:?}")
                        };
                        assert_eq!(prompt.ids.len(), length);
                        assert_eq!(prompt.ids, tokenizer.encode_special(&prompt.text)?);
                        if length > 16000 {
                            println!(
                                "{path} {length}: {:?} {}",
                                started.elapsed(),
                                &prompt.text[prompt.text.len() - 300..]
                            );
                        }
                    }
                }
            }
        }
    }
    Ok(())
}
