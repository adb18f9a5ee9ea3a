//! The same bits for any number of threads, any tile, one piece or many, a tree or a flat sequence.

use fathom_engine::format::StoredType::{self, Q4_0, Q8_0};
use fathom_engine::kernels::Precision;
use fathom_engine::spec::{Mask, ModelSpec};
use fathom_engine::{Extend, Logits, Model, PromptTree, SpanId, TreeOptions};
use fathom_tests::{golden, open};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const FLAT: TreeOptions = TreeOptions {
    threads: 1,
    tile: 4096,
};

/// A golden checkpoint with an edit of its spec.
fn model(name: &str, edit: impl FnOnce(&mut ModelSpec)) -> Model {
    let model = open(&golden(name));
    let mut spec = model.spec.clone();
    edit(&mut spec);
    model.with_spec(spec).unwrap()
}

/// Appends tokens to a span: the logits after each, [n, n_vocab].
fn extend(tree: &mut PromptTree<'_>, span: SpanId, tokens: &[u32]) -> Vec<f32> {
    let mut out = Vec::new();
    let batch = [Extend {
        span,
        tokens,
        logits: Logits::All,
    }];
    tree.extend(&batch, &mut |row| out.extend_from_slice(row.logits))
        .unwrap();
    out
}

/// One sequence in one piece: [n, n_vocab].
fn logits(model: &Model, tokens: &[u32], pos: usize, options: TreeOptions) -> Vec<f32> {
    let mut tree = PromptTree::new(model, options).unwrap();
    let span = tree.root(pos);
    extend(&mut tree, span, tokens)
}

fn tokens(n: usize, seed: u64, n_vocab: usize) -> Vec<u32> {
    let mut state = seed.wrapping_mul(2) | 1;
    let next = |_| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((state >> 33) % n_vocab as u64) as u32
    };
    (0..n).map(next).collect()
}

/// The logits of a sequence that grew to each of `ends` in turn, after its tokens from `from` on. Where the length
/// decides on rotary frequencies, those of a piece are the ones of the sequence as long as it then was.
fn grown(model: &Model, ids: &[u32], from: usize, ends: impl Iterator<Item = usize>) -> Vec<f32> {
    let n_vocab = model.spec.n_vocab;
    let whole = logits(model, ids, 0, FLAT);
    let (mut out, mut at) = (Vec::new(), from);
    for end in ends {
        if model.spec.same_frequencies(end, ids.len()) {
            out.extend_from_slice(&whole[at * n_vocab..end * n_vocab]);
        } else {
            out.extend_from_slice(&logits(model, &ids[..end], 0, FLAT)[at * n_vocab..]);
        }
        at = end;
    }
    out
}

/// LongRoPE's lists change beyond `limit` tokens.
fn long_beyond(spec: &mut ModelSpec, limit: usize) {
    let ropes = spec.layers.iter_mut().map(|l| &mut l.attention.rope);
    let lists = ropes.flatten().filter_map(|rope| rope.long.as_mut());
    lists.for_each(|long| long.0 = limit);
}

/// A golden checkpoint with weights stored as integers, and products in them.
fn in_integers(name: &str, stored: StoredType, precision: Precision) -> Model {
    let model = open(&golden(name));
    let weights = model.weights.rounded(stored).unwrap();
    let model = Model { weights, ..model };
    model.in_precision(precision).unwrap()
}

fn masks(spec: &mut ModelSpec, from: impl Fn(usize) -> Mask) {
    for layer in &mut spec.layers {
        if let Mask::Chunk(n) = layer.mask {
            layer.mask = from(n);
        }
    }
}

/// Masks as they are in the checkpoint, as windows, and with chunks that are no divisor of a cache block.
fn variants() -> Vec<(&'static str, Model)> {
    vec![
        ("scout", model("llama4_scout", |_| {})),
        ("maverick", model("llama4_maverick", |_| {})),
        ("llama", model("llama31", |_| {})),
        ("windows", model("llama4_scout", |s| masks(s, Mask::Window))),
        ("latent", model("deepseek_v3", |_| {})),
        ("int16", in_integers("llama4_scout", Q8_0, Precision::Int16)),
        (
            "latent in int16",
            in_integers("deepseek_v3", Q8_0, Precision::Int16),
        ),
        ("int8", in_integers("llama4_scout", Q4_0, Precision::Int8)),
        (
            "LongRoPE within windows",
            model("phi3", |s| long_beyond(s, 140)),
        ),
        (
            "LongRoPE",
            model("phi3", |s| {
                long_beyond(s, 140);
                s.layers.iter_mut().for_each(|l| l.mask = Mask::Full);
            }),
        ),
        (
            "chunks of 48",
            model("llama4_scout", |s| masks(s, |_| Mask::Chunk(48))),
        ),
        (
            "windows of 90",
            model("llama4_scout", |s| masks(s, |_| Mask::Window(90))),
        ),
    ]
}

/// Chunk, window and cache-block edges, one less and one more.
fn edge() -> impl Strategy<Value = usize> {
    let edges = prop::sample::select(vec![16usize, 32, 48, 64, 90, 96, 128, 144, 180, 192, 256]);
    (edges, 0usize..3).prop_map(|(edge, off)| edge + off - 1)
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    })
}

#[test]
fn threads_tiles_and_pieces_do_not_change_a_bit() {
    for (name, model) in variants() {
        let ids = tokens(300, 1, model.spec.n_vocab);
        let expected = logits(&model, &ids, 0, FLAT);
        for options in [
            TreeOptions {
                threads: 2,
                tile: 512,
            },
            TreeOptions {
                threads: 2,
                tile: 1,
            },
            TreeOptions {
                threads: 1,
                tile: 7,
            },
            TreeOptions {
                threads: 2,
                tile: 64,
            },
        ] {
            assert!(
                logits(&model, &ids, 0, options) == expected,
                "{name} with {options:?}"
            );
        }
        runner(8)
            .run(&prop::collection::vec(1usize..80, 1..12), |pieces| {
                let mut tree = PromptTree::new(&model, TreeOptions::default()).unwrap();
                let span = tree.root(0);
                let (mut found, mut ends) = (Vec::new(), vec![0]);
                for n in pieces.iter().copied().chain([300]) {
                    let at = ends[ends.len() - 1];
                    let end = (at + n).min(ids.len());
                    found.extend(extend(&mut tree, span, &ids[at..end]));
                    ends.push(end);
                }
                let expected = grown(&model, &ids, 0, ends[1..].iter().copied());
                prop_assert!(found == expected, "{} in pieces {:?}", name, pieces);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn late_forks_equal_flat_sequences() {
    for (name, model) in variants() {
        let n_vocab = model.spec.n_vocab;
        let ids = tokens(300, 2, n_vocab);
        let flat = |parts: &[&[u32]]| logits(&model, &parts.concat(), 0, FLAT);
        runner(24)
            .run(
                &(edge(), edge(), any::<bool>(), 1usize..100),
                |(first, second, pinned, n)| {
                    let mut tree = PromptTree::new(
                        &model,
                        TreeOptions {
                            threads: 2,
                            tile: 50,
                        },
                    )
                    .unwrap();
                    let root = tree.root(0);
                    if pinned {
                        tree.pin(root, first).unwrap();
                    }
                    extend(&mut tree, root, &ids);
                    let worked = tree.tokens_worked();
                    let child = tree.fork(root, first).unwrap();
                    prop_assert!(
                        !pinned || tree.tokens_worked() == worked,
                        "{}: a pinned fork recomputed",
                        name
                    );
                    let own = tokens(n, 3, n_vocab);
                    let found = extend(&mut tree, child, &own);
                    let expected = flat(&[&ids[..first], &own]);
                    prop_assert!(
                        found == expected[first * n_vocab..],
                        "{}: fork at {}",
                        name,
                        first
                    );
                    // A fork of the fork, in its own tokens or in what it shares; then the trunk goes on.
                    let second = second.min(first + n);
                    let base = [&ids[..first], &own].concat();
                    let grandchild = tree.fork(child, second).unwrap();
                    tree.drop_span(child);
                    let more = tokens(70, 4, n_vocab);
                    let found = extend(&mut tree, grandchild, &more);
                    let expected = flat(&[&base[..second], &more]);
                    prop_assert!(
                        found == expected[second * n_vocab..],
                        "{}: {}, then {}",
                        name,
                        first,
                        second
                    );
                    let found = extend(&mut tree, root, &more);
                    let expected = flat(&[&ids, &more]);
                    prop_assert!(
                        found == expected[ids.len() * n_vocab..],
                        "{}: the trunk after forks",
                        name
                    );
                    Ok(())
                },
            )
            .unwrap();
    }
}

#[test]
fn batched_answers_equal_single_ones() {
    for (name, model) in variants() {
        let n_vocab = model.spec.n_vocab;
        let ids = tokens(130, 5, n_vocab);
        let mut tree = PromptTree::new(&model, TreeOptions::default()).unwrap();
        let root = tree.root(0);
        extend(&mut tree, root, &ids);
        let forks: Vec<_> = (0..5)
            .map(|_| tree.fork(root, ids.len()).unwrap())
            .collect();
        let answers: Vec<_> = (0..5)
            .map(|i| tokens(20 + i, 6 + i as u64, n_vocab))
            .collect();
        let mut found = vec![Vec::new(); 5];
        for step in 0..24 {
            let batch: Vec<_> = answers
                .iter()
                .zip(&forks)
                .filter_map(|(a, f)| {
                    Some(Extend {
                        span: *f,
                        tokens: a.get(step..step + 1)?,
                        logits: Logits::Last,
                    })
                })
                .collect();
            tree.extend(&batch, &mut |row| {
                let i = forks.iter().position(|f| *f == row.span).unwrap();
                found[i].extend_from_slice(row.logits);
            })
            .unwrap();
        }
        for (answer, found) in answers.iter().zip(&found) {
            let whole = [ids.as_slice(), answer].concat();
            let expected = grown(&model, &whole, ids.len(), ids.len() + 1..=whole.len());
            assert!(*found == expected, "{name}");
        }
    }
}

#[test]
fn chunked_layers_keep_no_more_than_they_need() {
    let model = model("llama4_scout", |_| {});
    let ids = tokens(4000, 7, model.spec.n_vocab);
    let mut tree = PromptTree::new(&model, TreeOptions::default()).unwrap();
    let root = tree.root(0);
    let batch = [Extend {
        span: root,
        tokens: &ids,
        logits: Logits::None,
    }];
    tree.extend(&batch, &mut |_| {}).unwrap();
    assert!(
        tree.bytes() <= model.cache_bytes(4000),
        "{} bytes held",
        tree.bytes()
    );
}

/// The last layer computes what is wanted only: the same logits, whatever else is asked for.
#[test]
fn what_is_not_wanted_changes_nothing() {
    let parallel = ("parallel residual", model("cohere2", |_| {}));
    for (name, model) in variants().into_iter().chain([parallel]) {
        let (n_vocab, options) = (model.spec.n_vocab, TreeOptions { tile: 40, ..FLAT });
        let ids = tokens(130, 5, n_vocab);
        let whole = grown(&model, &ids, 0, [100, 130].into_iter());
        for (wanted, first) in [
            (Logits::Last, 129),
            (Logits::From(25), 125),
            (Logits::From(0), 100),
        ] {
            let mut tree = PromptTree::new(&model, options).unwrap();
            let (span, mut got) = (tree.root(0), Vec::new());
            for (tokens, logits) in [(&ids[..100], Logits::None), (&ids[100..], wanted)] {
                let batch = [Extend {
                    span,
                    tokens,
                    logits,
                }];
                tree.extend(&batch, &mut |row| got.push((row.pos, row.logits.to_vec())))
                    .unwrap();
            }
            let positions: Vec<_> = got.iter().map(|(pos, _)| *pos).collect();
            assert_eq!(positions, (first..130).collect::<Vec<_>>(), "{name}");
            let got: Vec<f32> = got.into_iter().flat_map(|(_, logits)| logits).collect();
            assert!(got == whole[first * n_vocab..], "{name}: {wanted:?}");
        }
    }
}
