//! The dense families: transformers' logits from both formats, other spellings, and faults that must show.

use fathom_engine::Model;
use fathom_tests::{Reference, golden, logits_at, open};
use serde_json::Value;

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
family!(ministral3, "logits.safetensors");
// What the scores are divided by is not in the file.
family!(gemma2, "logits_gguf.safetensors");
family!(gemma3, "logits_gguf.safetensors");

#[test]
fn spellings_of_dense_families_read_alike() {
    for name in [
        "cohere2",
        "qwen2",
        "qwen3",
        "mistral",
        "ministral3",
        "gemma2",
        "gemma3",
    ] {
        all_read_alike(name);
    }
}

/// Llama 4 counts positions from one where it divides them, and so would step a token early.
#[test]
fn ministral3_does_not_step_where_llama4_does() {
    let mut model = open(&golden("ministral3"));
    let mut spec = model.spec.clone();
    for layer in &mut spec.layers {
        let temperature = layer.attention.temperature.as_mut();
        temperature.expect("one in every layer").offset = 1;
    }
    model = model.with_spec(spec).unwrap();
    let reference = Reference::read(&golden("ministral3/logits.safetensors"));
    let found = reference.compare(&model);
    let first: Vec<_> = found.iter().map(|c| c.first_off()).collect();
    assert_eq!(first, [None, None, Some(15)]);
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

/// A `text_config` that does not say what it is: the model around it does.
#[test]
fn text_config_without_model_type_reads_alike() {
    for (name, outer) in [
        ("llama4_nested", "llama4"),
        ("gemma3_nested", "gemma3"),
        ("mistral3", "mistral3"),
    ] {
        let folder = golden(name);
        let scratch = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, scratch.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        let config = scratch.path().join("config.json");
        let mut json: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
        assert_eq!(json["model_type"], outer);
        let inner = json["text_config"].as_object_mut().unwrap();
        inner
            .remove("model_type")
            .expect("a model_type to leave out");
        std::fs::write(&config, json.to_string()).unwrap();
        let prompt: Vec<u32> = (1..40).collect();
        let (read, expected) = (open(scratch.path()), open(&folder));
        assert!(
            logits_at(&read, &prompt, 0) == logits_at(&expected, &prompt, 0),
            "{name}"
        );
        // With nothing around that says it either, there is one clear error.
        json["model_type"] = "llava".into();
        std::fs::write(&config, json.to_string()).unwrap();
        let error = Model::open(scratch.path(), false).expect_err("an error");
        assert!(
            error.to_string().contains("text_config.model_type"),
            "{error}"
        );
    }
}
