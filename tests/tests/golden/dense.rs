//! The dense families: transformers' logits from both formats, other spellings, and faults that must show.

use fathom_tests::{Reference, golden, logits_at, open};

use crate::faults::every_fault_shows_where_it_must;
use crate::logits::matches;
use crate::spellings::all_read_alike;

/// What every family must pass; `gguf` is the reference of what the GGUF file implies.
macro_rules! family {
    ($name:ident, $gguf:literal) => {
        mod $name {
            use super::*;

            const NAME: &str = stringify!($name);

            #[test]
            fn matches_hf() {
                matches(NAME, &format!("{NAME}/logits.safetensors"));
            }

            #[test]
            fn gguf_matches_hf() {
                matches(
                    &format!("{NAME}/model-bf16.gguf"),
                    &format!("{NAME}/{}", $gguf),
                );
            }

            #[test]
            fn faults_show_where_they_must() {
                every_fault_shows_where_it_must(NAME);
            }
        }
    };
}

family!(cohere2, "logits.safetensors");
// The windows of the later layers are not in the file.
family!(qwen2, "logits_gguf.safetensors");
family!(qwen3, "logits.safetensors");
// The window is not in the file.
family!(mistral, "logits_gguf.safetensors");
family!(mistral3, "logits.safetensors");
// What the scores are divided by is not in the file.
family!(gemma2, "logits_gguf.safetensors");
family!(gemma3, "logits_gguf.safetensors");

#[test]
fn spellings_of_dense_families_read_alike() {
    for name in ["cohere2", "qwen2", "qwen3", "mistral", "gemma2", "gemma3"] {
        all_read_alike(name);
    }
}

/// `text_config` without what equals its class's defaults, prefixes, a vision tower beside it, older keys.
#[test]
fn gemma3_nested_download_reads_alike() {
    let reference = Reference::read(&golden("gemma3/logits.safetensors"));
    let (flat, nested) = (open(&golden("gemma3")), open(&golden("gemma3_nested")));
    for prompt in &reference.prompts {
        assert!(logits_at(&nested, prompt, 0) == logits_at(&flat, prompt, 0));
    }
}
