//! `fathom quantize` of a folder, against llama.cpp's own converter and against the folder itself.

use std::error::Error;
use std::path::{Path, PathBuf};

use fathom_engine::Model;
use fathom_engine::format::StoredType;
use fathom_engine::format::gguf::{self, Gguf, Metadata, Value};
use fathom_engine::quantize::quantize;
use fathom_engine::tokenizer::Tokenizer;
use fathom_tests::{golden, golden_json, logits_at, std_of};
use serde_json::{Value as Json, json};

type Test = Result<(), Box<dyn Error>>;

/// Every kind of folder, what its configuration must not say for a GGUF file to carry it, and whether llama.cpp's converter
/// made a file of it.
fn folders() -> Vec<(&'static str, Json, bool)> {
    let implied = json!({"attention_chunk_size": 8192, "floor_scale": 8192, "attn_scale": 0.1});
    vec![
        ("cohere2", json!({}), true),
        ("deepseek_v2", json!({}), true),
        ("deepseek_v2_lite", json!({}), true),
        ("deepseek_v3", json!({}), true),
        ("gemma2", json!({"query_pre_attn_scalar": 16}), true),
        ("gemma3", json!({"query_pre_attn_scalar": 16}), true),
        ("gpt_oss", json!({}), true),
        ("gpt_oss_mxfp4", json!({}), false),
        ("llama31", json!({}), true),
        ("llama4_scout", implied, true),
        ("ministral3", json!({}), true),
        ("mistral", json!({"sliding_window": null}), true),
        ("mistral3", json!({}), true),
        ("mixtral", json!({"sliding_window": null}), true),
        ("phi3", json!({}), true),
        (
            "qwen2",
            json!({"use_sliding_window": false, "layer_types": null}),
            true,
        ),
        (
            "qwen3",
            json!({"use_sliding_window": false, "layer_types": null}),
            true,
        ),
        ("qwen3_moe_all", json!({}), true),
        ("fp8", json!({}), false),
        ("fp8_deepseek_v3", json!({}), false),
        ("fp8_phi3", json!({}), false),
        ("fp8_tensor", json!({"sliding_window": null}), false),
        (
            "ct_fp8",
            json!({"use_sliding_window": false, "layer_types": null}),
            false,
        ),
        (
            "ct_int",
            json!({"use_sliding_window": false, "layer_types": null}),
            false,
        ),
    ]
}

/// A copy of a golden folder with an edited configuration.
fn folder(name: &str, edits: &Json, to: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let folder = to.join(name);
    std::fs::create_dir_all(&folder)?;
    for file in ["model.safetensors", "tokenizer.json"] {
        std::fs::copy(golden(&format!("{name}/{file}")), folder.join(file))?;
    }
    let mut config = golden_json(&format!("{name}/config.json"));
    for (key, value) in edits.as_object().into_iter().flatten() {
        let target = match config.get("text_config") {
            Some(text) if text.get(key).is_some() => &mut config["text_config"],
            _ => &mut config,
        };
        target[key] = value.clone();
    }
    std::fs::write(folder.join("config.json"), config.to_string())?;
    Ok(folder)
}

/// Keys that llama.cpp's converter writes and ours does not, or the other way round, of no consequence: what a reader takes
/// where they are absent is what stands in them, or nobody reads them.
const BESIDE: [&str; 9] = [
    "general.size_label",
    "general.name",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.type",
    "vocab_size",
    "attention.key_length",
    "attention.value_length",
    "tokenizer.ggml.add_bos_token",
];

#[test]
fn names_shapes_values_and_metadata_are_those_of_llama_cpps_converter() -> Test {
    let scratch = tempfile::tempdir()?;
    for (name, edits, _) in folders().into_iter().filter(|f| f.2) {
        let source = folder(name, &edits, scratch.path())?;
        let out = scratch.path().join(format!("{name}.gguf"));
        quantize(&source, StoredType::BF16, &out)?;
        let (ours, _) = gguf::open(&out)?;
        let (theirs, _) = gguf::open(&golden(&format!("{name}/model-bf16.gguf")))?;
        let names = |m: &Gguf| m.tensors.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&ours), names(&theirs), "{name}");
        for (tensor, t) in &theirs.tensors {
            let o = &ours.tensors[tensor];
            assert_eq!((o.ty, &o.shape), (t.ty, &t.shape), "{name}: {tensor}");
            assert!(o.data[..] == t.data[..], "{name}: {tensor}: other values");
        }
        // The goldens name another pre-tokenizer than their tokenizer.json has, and BOS from a file of their own.
        let compared = |key: &str| {
            !BESIDE.iter().any(|b| key.ends_with(b))
                && !["tokenizer.ggml.pre", "tokenizer.ggml.add_space_prefix"].contains(&key)
                && !key.ends_with("os_token_id")
        };
        let keys = |m: &Gguf| -> Metadata {
            let all = m.metadata.iter().filter(|(key, _)| compared(key));
            all.map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        };
        assert_eq!(keys(&ours), keys(&theirs), "{name}");
        for key in BESIDE {
            let value = |m: &Gguf| -> Option<Value> {
                let mut all = m.metadata.iter();
                Some(all.find(|(k, _)| k.ends_with(key))?.1.clone())
            };
            if let (Some(ours), Some(theirs)) = (value(&ours), value(&theirs)) {
                assert_eq!(ours, theirs, "{name}: {key}");
            }
        }
    }
    Ok(())
}

/// The same bits, but where rows are reordered, and the sums over a head with them.
#[test]
fn a_file_computes_what_its_folder_does() -> Test {
    let scratch = tempfile::tempdir()?;
    let tokens: Vec<u32> = (0..90).map(|i| (i * 37 + 5) % 260).collect();
    for (name, edits, _) in folders() {
        let source = folder(name, &edits, scratch.path())?;
        let out = scratch.path().join(format!("{name}.gguf"));
        quantize(&source, StoredType::F32, &out)?;
        let (folder, file) = (Model::open(&source, false)?, Model::open(&out, false)?);
        let (a, b) = (logits_at(&folder, &tokens, 0), logits_at(&file, &tokens, 0));
        let reordered = matches!(
            name,
            "llama31" | "fp8" | "ministral3" | "mistral" | "mistral3" | "fp8_tensor" | "mixtral"
        );
        if !reordered {
            assert!(a == b, "{name}: other bits");
            continue;
        }
        let differences = a.iter().zip(&b).map(|(a, b)| (a - b).abs());
        let worst = differences.fold(0.0, f32::max);
        assert!(f64::from(worst) < 1e-5 * std_of(&a), "{name}: {worst:e}");
    }
    Ok(())
}

#[test]
fn what_gguf_has_no_place_for_is_an_error_that_names_it() -> Test {
    let scratch = tempfile::tempdir()?;
    let out = scratch.path().join("out.gguf");
    let cases = [
        ("llama4_scout", json!({}), "layer 0: mask", "Chunk(16)"),
        (
            "llama4_maverick",
            json!({"attention_chunk_size": 8192}),
            "layer 0: norm on queries",
            "None",
        ),
        ("mistral", json!({}), "layer 0: mask", "Window(12)"),
        (
            "gemma2",
            json!({}),
            "layer 0: factor on the scores",
            "2.04124e-1",
        ),
        ("qwen3_moe", json!({}), "layer", "expected"),
        (
            "llama31",
            json!({"attention_bias": true}),
            "q_proj.bias",
            "no such tensor",
        ),
    ];
    for (name, edits, field, found) in cases {
        let source = folder(name, &edits, scratch.path())?;
        let error = quantize(&source, StoredType::F32, &out)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(field) && error.contains(found),
            "{name}: {error}"
        );
        assert!(!out.exists());
    }
    Ok(())
}

/// Each kind of tokenizer that families ship, in the folder of a model: the ids of a nasty text, line by line.
#[test]
fn tokenizers_give_the_same_ids_from_the_file() -> Test {
    let text = std::fs::read_to_string(golden("nasty.txt"))?;
    for (name, pre) in [
        ("cohere", "smollm"),
        ("gemma", "default"),
        ("mistral", "default"),
        ("qwen2", "qwen2"),
        ("tekken", "tekken"),
    ] {
        let json = std::fs::read(golden(&format!("tokenizers/{name}.json")))?;
        let config = serde_json::Map::new();
        let keys = Tokenizer::to_gguf(name, &json, None, &config, 600)?;
        let metadata: Metadata = keys.into_iter().collect();
        assert_eq!(metadata["tokenizer.ggml.pre"], Value::Str(pre.into()));
        let (here, there) = (
            Tokenizer::from_hf(name, &json, None)?,
            Tokenizer::from_gguf(name, &metadata)?,
        );
        let mut same = 0;
        for line in text.lines() {
            same += usize::from(here.encode(line)? == there.encode(line)?);
        }
        // What differs is llama.cpp's own reading of a name (capitals in words that are not ASCII, normal forms).
        let n = text.lines().count();
        println!("{name}: {same} of {n}");
        assert!(same * 10 >= n * 9, "{name}: {same} of {n} lines");
    }
    let mut json: Json = serde_json::from_slice(&std::fs::read(golden("tokenizers/qwen2.json"))?)?;
    json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\w+".into();
    let json = json.to_string();
    let error = Tokenizer::to_gguf("x", json.as_bytes(), None, &serde_json::Map::new(), 600);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("pre_tokenizer") && error.contains(r"\w+"),
        "{error}"
    );
    Ok(())
}
