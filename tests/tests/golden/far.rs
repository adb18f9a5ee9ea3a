//! Position 10 000 000: against float64, and transformers' float32 product as a variant.

use fathom_engine::spec::RopePrecision;
use fathom_tests::{Comparison, Tensors, golden, logits_at, open, std_of};

#[test]
fn position_ten_million_matches_float64() {
    let file = Tensors::golden("llama4_scout/far.safetensors");
    let (tokens, start) = (file.ids("tokens"), file.positions("start")[0]);
    let truth = file.f32("logits");
    let n_vocab = truth.len() / tokens.len();
    let std = std_of(&truth);

    let model = open(&golden("llama4_scout"));
    let ropes = || {
        model
            .spec
            .layers
            .iter()
            .filter_map(|l| l.attention.rope.as_ref())
    };
    assert!(ropes().count() > 0);
    assert!(
        ropes().all(|r| r.inv_freq == file.f32("inv_freq")),
        "bits of the frequencies"
    );
    let got = logits_at(&model, &tokens, start);
    Comparison::new(&got, &truth, n_vocab, std).assert_same("against float64");

    let product = file.f32("logits_f32_product");
    let spec = fathom_engine::spec::ModelSpec {
        rope_precision: RopePrecision::F32,
        ..model.spec.clone()
    };
    let variant = logits_at(&model.with_spec(spec).unwrap(), &tokens, start);
    Comparison::new(&variant, &product, n_vocab, std).assert_same("against transformers' product");
    let apart = Comparison::new(&variant, &truth, n_vocab, std);
    assert!(
        apart.worst() > 0.1,
        "the two should differ: {}",
        apart.worst()
    );
}
