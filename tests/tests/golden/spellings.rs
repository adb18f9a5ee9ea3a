//! One set of weights, its configuration in the spellings that real files have: the same bits.

use std::fs;

use fathom_tests::{Reference, golden, logits_at, open};

pub fn all_read_alike(checkpoint: &str) {
    let folder = golden(checkpoint);
    let reference = Reference::read(&folder.join("logits.safetensors"));
    let prompt = reference.prompts.last().expect("prompts");
    let expected = logits_at(&open(&folder), prompt, 0);
    let mut n = 0;
    for entry in fs::read_dir(folder.join("spellings")).unwrap() {
        let config = entry.unwrap().path();
        let scratch = tempfile::tempdir().unwrap();
        fs::copy(&config, scratch.path().join("config.json")).unwrap();
        for file in ["model.safetensors", "tokenizer.json"] {
            fs::copy(folder.join(file), scratch.path().join(file)).unwrap();
        }
        let got = logits_at(&open(scratch.path()), prompt, 0);
        assert!(got == expected, "{}", config.display());
        n += 1;
    }
    assert!(n > 0);
}

#[test]
fn llama4_scout_spellings_read_alike() {
    all_read_alike("llama4_scout");
}

#[test]
fn llama31_spellings_read_alike() {
    all_read_alike("llama31");
}

/// `text_config`, prefixes, a vision tower beside it, two shards, older keys.
#[test]
fn llama4_nested_download_reads_alike() {
    let reference = Reference::read(&golden("llama4_scout/logits.safetensors"));
    let (flat, nested) = (
        open(&golden("llama4_scout")),
        open(&golden("llama4_nested")),
    );
    for prompt in &reference.prompts {
        assert!(logits_at(&nested, prompt, 0) == logits_at(&flat, prompt, 0));
    }
    reference.assert_same(&nested);
}
