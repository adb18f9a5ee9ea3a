//! Layer by layer, with keys and hidden states in a scratch file, gives the bits of tile by tile.

use fathom_engine::{Extend, LayerMajor, Logits, Model, PromptTree, Scratch, SpanId, TreeOptions};
use fathom_tests::{golden, open};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// What happens to a tree: a fork of span `of` at a share of its length, or tokens for a span.
#[derive(Clone, Debug)]
enum Step {
    Fork { of: usize, at: f64 },
    Extend(Vec<(usize, usize)>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fork = (0usize..8, 0f64..=1.0).prop_map(|(of, at)| Step::Fork { of, at });
    let extend = prop::collection::vec((0usize..8, 1usize..150), 1..4).prop_map(Step::Extend);
    prop::collection::vec(prop_oneof![1 => fork, 2 => extend], 2..8)
}

/// Every logit reported on the way.
fn walk(model: &Model, mut tree: PromptTree<'_>, steps: &[Step]) -> Vec<f32> {
    let mut spans = vec![tree.root(0), tree.root(37)];
    let mut out = Vec::new();
    for step in steps {
        match step {
            Step::Fork { of, at } => {
                let i = of % spans.len();
                let start = if i == 1 { 37 } else { 0 };
                let end = tree.end(spans[i]).unwrap();
                // Forks of the second root's descendants may begin later than their root: take what is there.
                let pos = end - ((end - start.min(end)) as f64 * at) as usize;
                if let Ok(fork) = tree.fork(spans[i], pos) {
                    spans.push(fork);
                }
            }
            Step::Extend(parts) => {
                let mut chosen: Vec<(SpanId, Vec<u32>)> = Vec::new();
                for (span, n) in parts {
                    let span = spans[span % spans.len()];
                    if chosen.iter().all(|(s, _)| *s != span) {
                        let n_vocab = model.spec.n_vocab as u32;
                        let ids = (0..*n as u32).map(|i| (i * 7919 + *n as u32) % n_vocab);
                        chosen.push((span, ids.collect()));
                    }
                }
                let batch: Vec<_> = chosen
                    .iter()
                    .map(|(span, tokens)| Extend {
                        span: *span,
                        tokens,
                        logits: match tokens.len() % 3 {
                            0 => Logits::None,
                            1 => Logits::Last,
                            _ => Logits::All,
                        },
                    })
                    .collect();
                tree.extend(&batch, &mut |row| out.extend_from_slice(row.logits))
                    .unwrap();
            }
        }
    }
    out
}

#[test]
fn layer_by_layer_gives_the_same_bits() {
    let dir = std::env::temp_dir();
    // Chunks and experts; full layers; a latent; sinks, windows and experts in MXFP4; frequencies that change with the
    // length, so that a sequence is evaluated again.
    for name in [
        "llama4_scout",
        "llama31",
        "deepseek_v3",
        "gpt_oss_mxfp4",
        "phi3",
    ] {
        let model = open(&golden(name));
        let config = Config {
            cases: 24,
            failure_persistence: None,
            ..Config::default()
        };
        let moved = std::cell::Cell::new(0);
        TestRunner::new(config)
            .run(
                &(steps(), 1usize..200, any::<bool>(), any::<bool>()),
                |(steps, tile, hidden, keys)| {
                    let options = TreeOptions { threads: 2, tile };
                    let scratch = Scratch::new(&dir).unwrap();
                    let budget = |held: bool| if held { u64::MAX } else { 0 };
                    let schedule = LayerMajor::new(scratch.clone(), budget(hidden), budget(keys));
                    let tree = PromptTree::layer_major(&model, options, schedule).unwrap();
                    let found = walk(&model, tree, &steps);
                    let tree = PromptTree::new(&model, TreeOptions::default()).unwrap();
                    prop_assert!(found == walk(&model, tree, &steps), "{}: {:?}", name, steps);
                    prop_assert!(hidden && keys || scratch.moved() > 0 || found.is_empty());
                    moved.set(moved.get().max(scratch.moved()));
                    Ok(())
                },
            )
            .unwrap();
        assert!(moved.get() > 0, "{name}: nothing was ever spilled");
    }
}
