//! The engine as a backend: an answer depends on its request alone, whatever it is evaluated with.

use std::path::Path;

use fathom_engine::{Extend, Logits, Model, PromptTree, TreeOptions};
use fathom_harness::Result;
use fathom_harness::backend::local::Local;
use fathom_harness::backend::sample::{argmax, logprob};
use fathom_harness::backend::{Backend, Event, Generate, ModelCard, Outcome, Reply, Request};
use fathom_harness::opened::{Opened, TemplateArgs};
use fathom_harness::record::PromptOption;

fn scout() -> Result<Model> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/llama4_scout");
    Ok(Model::open(&path, false)?)
}

fn local(threads: usize) -> Result<Local> {
    let opened = Opened::new(scout()?, &TemplateArgs::default())?;
    Ok(Local::new(
        opened.model,
        opened.tokenizer,
        vec![3],
        ModelCard::default(),
        threads,
    ))
}

fn generate(seed: u64, temperature: f32) -> Option<Generate> {
    Some(Generate {
        max_tokens: 9,
        thought_budget: 20,
        thinking: false,
        one_line: false,
        temperature,
        top_p: 0.95,
        seed,
    })
}

/// Questions that leave one document at several places, some twice, and others that share nothing.
fn group() -> Vec<Request> {
    let document: Vec<u32> = (0..700u32).map(|i| 10 + i * i % 200).collect();
    let option = |ids: &[u32]| PromptOption {
        text: format!("{ids:?}"),
        ids: ids.to_vec(),
    };
    let mut group = Vec::new();
    for (i, at) in [64usize, 65, 300, 300, 517, 700].into_iter().enumerate() {
        group.push(Request {
            ids: [&document[..at], &[20, 21, 22 + i as u32 / 2]].concat(),
            generate: generate(i as u64, if i % 2 == 0 { 0.0 } else { 0.9 }),
            options: vec![option(&[5]), option(&[6, 7, 8]), option(&[6, 7])],
            ..Request::default()
        });
    }
    for i in 0..4u32 {
        group.push(Request {
            ids: (0..12 + i).map(|n| 30 + (n * (7 + i)) % 100).collect(),
            generate: if i == 1 { None } else { generate(9, 0.0) },
            options: if i == 0 {
                vec![]
            } else {
                vec![option(&[1, 2])]
            },
            ..Request::default()
        });
    }
    group
}

fn evaluate(backend: &mut Local, group: &[Request]) -> Result<Vec<Reply>> {
    let mut replies = vec![None; group.len()];
    backend.evaluate(group, &mut |event| {
        if let Event::Done(i, Outcome::Reply(reply)) = event {
            assert!(replies[i].is_none(), "two answers to request {i}");
            replies[i] = Some(Reply {
                prefill_s: None,
                decode_s: None,
                ..reply
            });
        }
        Ok(())
    })?;
    Ok(replies.into_iter().flatten().collect())
}

#[test]
fn a_group_gives_the_bits_of_each_request_alone() -> Result<()> {
    let group = group();
    let together = evaluate(&mut local(2)?, &group)?;
    assert_eq!(together.len(), group.len());
    let mut one = local(1)?;
    for (request, reply) in group.iter().zip(&together) {
        let alone = evaluate(&mut one, std::slice::from_ref(request))?;
        assert_eq!(format!("{:?}", alone[0]), format!("{reply:?}"));
    }
    Ok(())
}

#[test]
fn answers_and_options_are_those_of_the_plain_logits() -> Result<()> {
    let model = scout()?;
    let request = &group()[4];
    let reply = &evaluate(&mut local(1)?, std::slice::from_ref(request))?[0];
    // The last row of logits of a sequence, evaluated from its start.
    let after = |ids: &[u32]| -> Result<Vec<f32>> {
        let mut tree = PromptTree::new(&model, TreeOptions::default())?;
        let span = tree.root(0);
        let mut last = Vec::new();
        tree.extend(
            &[Extend {
                span,
                tokens: ids,
                logits: Logits::Last,
            }],
            &mut |row| {
                last = row.logits.to_vec();
            },
        )?;
        Ok(last)
    };
    let mut ids = request.ids.clone();
    for (id, p) in reply.ids.iter().zip(&reply.logprobs) {
        let logits = after(&ids)?;
        assert_eq!((*id, *p), (argmax(&logits), logprob(&logits, *id) as f32));
        ids.push(*id);
    }
    for (option, score) in request.options.iter().zip(&reply.options) {
        let mut ids = request.ids.clone();
        let mut sum = 0.0;
        for id in &option.ids {
            sum += logprob(&after(&ids)?, *id);
            ids.push(*id);
        }
        assert!(
            (sum - score.logprob).abs() < 1e-9,
            "{sum} {}",
            score.logprob
        );
        assert_eq!(score.tokens, option.ids.len());
    }
    Ok(())
}

#[test]
fn a_listener_can_stop_the_work() -> Result<()> {
    let stopped = local(1)?.evaluate(&group(), &mut |_| Err(fathom_harness::Error::Interrupted));
    assert!(matches!(stopped, Err(fathom_harness::Error::Interrupted)));
    Ok(())
}

#[test]
fn the_fingerprint_is_of_the_model_and_not_of_the_machine() -> Result<()> {
    let print = local(1)?.fingerprint()?;
    assert_eq!(print.len(), 16);
    assert_eq!(print, local(2)?.fingerprint()?);
    let model = scout()?;
    let fault = fathom_engine::fault::Fault::by_name("no-temperature");
    let spec = fault
        .and_then(|f| f.apply(&model.spec))
        .unwrap_or_else(|| model.spec.clone());
    let opened = Opened::new(model.with_spec(spec)?, &TemplateArgs::default())?;
    let mut faulty = Local::new(
        opened.model,
        opened.tokenizer,
        vec![],
        ModelCard::default(),
        1,
    );
    assert_ne!(print, faulty.fingerprint()?);
    Ok(())
}

#[test]
fn speed_is_measured_and_estimated() -> Result<()> {
    let mut backend = local(1)?.measured()?;
    let sample = backend.measure(600, 4, &mut |_| Ok(()))?;
    assert!(sample.prefill_s > 0.0 && sample.decode_s > 0.0 && sample.cache_bytes > 0);
    assert!(backend.seconds(0, 600, 0) > 0.0);
    assert!(backend.seconds(0, 1200, 0) > 1.9 * backend.seconds(0, 600, 0));
    assert!(backend.bytes_needed(1000) > backend.model().weight_bytes());
    Ok(())
}
