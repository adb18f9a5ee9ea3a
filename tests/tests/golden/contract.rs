//! `fathom logits record` writes what its contract says.

use std::process::ExitCode;

use fathom_tests::{Comparison, Reference, Tensors, golden};

fn record(model: &str, tokens: &std::path::Path, out: &std::path::Path) {
    let args = [
        "fathom".into(),
        "logits".into(),
        "record".into(),
        "--model".into(),
        golden(model).into_os_string(),
        "--tokens".into(),
        tokens.into(),
        "--out".into(),
        out.into(),
    ];
    assert_eq!(fathom_harness::cli::main(args), ExitCode::SUCCESS);
}

/// An array of arrays: positions start at 0 in each, and offsets say where each begins.
#[test]
fn logits_record_of_arrays_matches_hf() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("logits.safetensors");
    record("llama4_scout", &golden("llama4_scout/tokens.json"), &out);
    let (got, expected) = (
        Reference::read(&out),
        Reference::read(&golden("llama4_scout/logits.safetensors")),
    );
    assert_eq!(got.prompts, expected.prompts);
    assert_eq!(got.n_vocab, expected.n_vocab);
    for (got, expected_logits) in got.logits.iter().zip(&expected.logits) {
        Comparison::new(got, expected_logits, expected.n_vocab, expected.std).assert_same("record");
    }
}

/// An array of ids.
#[test]
fn logits_record_of_one_array_matches_hf() {
    let scratch = tempfile::tempdir().unwrap();
    let (tokens, out) = (
        scratch.path().join("tokens.json"),
        scratch.path().join("logits.safetensors"),
    );
    let expected = Reference::read(&golden("llama31/logits.safetensors"));
    let (prompt, logits) = (&expected.prompts[4], &expected.logits[4]);
    std::fs::write(&tokens, serde_json::to_vec(prompt).unwrap()).unwrap();
    record("llama31/model-bf16.gguf", &tokens, &out);
    let file = Tensors::read(&out);
    assert_eq!(&file.ids("tokens"), prompt);
    Comparison::new(&file.f32("logits"), logits, expected.n_vocab, expected.std)
        .assert_same("record");
}
