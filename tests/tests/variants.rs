//! Faults with a value: more of the same fault does more, and what is done to some layers leaves the others.

use fathom_engine::Model;
use fathom_engine::variant::Variant;
use fathom_tests::{golden, log_softmax, logits_at, open};

const TOKENS: usize = 96;

/// Log probabilities after every token, one row a token.
fn log_probabilities(model: &Model) -> Vec<Vec<f64>> {
    let n_vocab = model.spec.n_vocab;
    let tokens: Vec<u32> = (0..TOKENS)
        .map(|i| ((i * 37 + 11) % n_vocab) as u32)
        .collect();
    let logits = logits_at(model, &tokens, 0);
    logits.chunks_exact(n_vocab).map(log_softmax).collect()
}

fn with(model: &Model, variant: &str) -> Model {
    let faulty = Variant::parse(variant).unwrap().model(model).unwrap();
    faulty.unwrap_or_else(|| panic!("{variant} changes nothing of {}", model.name))
}

/// Mean KL divergence of a variant, nats.
fn divergence(model: &Model, variant: &str) -> f64 {
    let (p, q) = (
        log_probabilities(model),
        log_probabilities(&with(model, variant)),
    );
    let kl = p.iter().zip(&q).map(|(p, q)| -> f64 {
        let terms = p.iter().zip(q).map(|(p, q)| p.exp() * (p - q));
        terms.sum()
    });
    kl.sum::<f64>() / TOKENS as f64
}

#[test]
fn every_variant_that_applies_changes_the_logits() {
    for checkpoint in ["llama4_scout", "gemma3", "deepseek_v3"] {
        let model = open(&golden(checkpoint));
        let sound = log_probabilities(&model);
        let mut applied = 0;
        for variant in Variant::all().iter().filter(|v| v.value().is_some()) {
            let faulty = variant.model(&model).unwrap();
            let told = variant.spec(&model.spec).is_some() || variant.rounds_weights(&model);
            assert_eq!(faulty.is_some(), told, "{checkpoint}, {variant}");
            let Some(faulty) = faulty else { continue };
            assert_ne!(log_probabilities(&faulty), sound, "{checkpoint}, {variant}");
            applied += 1;
        }
        assert!(applied >= 10, "{checkpoint}: {applied} variants apply");
    }
}

#[test]
fn fewer_bits_change_more() {
    let model = open(&golden("llama31"));
    for values in [
        &["kv-cache=bf16", "kv-cache=fp8", "kv-cache=q4_0"][..],
        &["kv-cache=q8_0", "kv-cache=q5_1", "kv-cache=q4_0"],
        &["weights=q8_0", "weights=q5_0", "weights=q4_0"],
        &["rope-scale=0.9", "rope-scale=0.5"],
    ] {
        let found: Vec<f64> = values.iter().map(|v| divergence(&model, v)).collect();
        assert!(found[0] > 0.0, "{values:?}: {found:?}");
        assert!(
            found.is_sorted_by(|a, b| 1.5 * a < *b),
            "{values:?}: {found:?}"
        );
    }
}

#[test]
fn a_range_of_layers_is_all_that_changes() {
    let model = open(&golden("llama31"));
    let last = model.spec.layers.len() - 1;
    let some = with(&model, &format!("kv-cache=q4_0@{last}-{last}"));
    assert_ne!(some.spec.layers[last], model.spec.layers[last]);
    assert_eq!(some.spec.layers[..last], model.spec.layers[..last]);
    let all = divergence(&model, "kv-cache=q4_0");
    let some = divergence(&model, &format!("kv-cache=q4_0@{last}-{last}"));
    assert!(0.0 < some && some < all, "{some} of {all}");
}
