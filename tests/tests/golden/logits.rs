//! Random checkpoints against transformers' logits.

use fathom_tests::{Reference, golden, open};

/// The checkpoint `model` against the reference `logits`.
pub fn matches(model: &str, logits: &str) {
    let worst = Reference::read(&golden(logits)).assert_same(&open(&golden(model)));
    println!("{model}: off by {worst:.1e} standard deviations at most");
}

#[test]
fn llama4_scout_matches_hf() {
    matches("llama4_scout", "llama4_scout/logits.safetensors");
}

#[test]
fn llama4_maverick_matches_hf() {
    matches("llama4_maverick", "llama4_maverick/logits.safetensors");
}

#[test]
fn llama31_matches_hf() {
    matches("llama31", "llama31/logits.safetensors");
}

/// Chunk 8192, floor 8192 and scale 0.1 are implied by a GGUF file.
#[test]
fn llama4_scout_gguf_matches_hf() {
    matches(
        "llama4_scout/model-bf16.gguf",
        "llama4_scout/logits_gguf.safetensors",
    );
}

/// That there is no QK norm is implied by 128 experts.
#[test]
fn llama4_128e_gguf_matches_hf() {
    matches(
        "llama4_128e/model-bf16.gguf",
        "llama4_128e/logits.safetensors",
    );
}

/// The converter permutes the rows of Q and K, and turns the scaling into a tensor of factors.
#[test]
fn llama31_gguf_matches_hf() {
    matches("llama31/model-bf16.gguf", "llama31/logits.safetensors");
}
