//! Families with mixtures of experts, latent attention, sinks and LongRoPE: transformers' logits, and faults that show.

use fathom_engine::fault::{FAULTS, Fault};
use fathom_tests::{CRITERION, Reference, golden, open};

use crate::spellings::all_read_alike;

/// The checkpoint, and its GGUF file where the converter makes one, against transformers.
fn matches(checkpoint: &str) {
    let folder = golden(checkpoint);
    let reference = Reference::read(&folder.join("logits.safetensors"));
    reference.assert_same(&open(&folder));
    if !folder.join("model-bf16.gguf").exists() {
        return;
    }
    // What GGUF does not carry is left out of its own reference.
    let own = folder.join("logits_gguf.safetensors");
    let reference = if own.exists() {
        Reference::read(&own)
    } else {
        reference
    };
    reference.assert_same(&open(&folder.join("model-bf16.gguf")));
}

/// Keys as downloads of transformers 4 have them.
#[test]
fn older_spellings_read_alike() {
    let checkpoints = [
        "mixtral",
        "qwen3_moe",
        "deepseek_v2",
        "deepseek_v2_lite",
        "deepseek_v3",
        "phi3",
        "gpt_oss",
    ];
    checkpoints.into_iter().for_each(all_read_alike);
}

/// Every fault that changes the spec fails the comparison, and where `first` says so, at no position before.
fn faults_show(checkpoint: &str, first: &[(&str, usize)]) {
    let folder = golden(checkpoint);
    let reference = Reference::read(&folder.join("logits.safetensors"));
    let mut shown = Vec::new();
    for fault in FAULTS {
        let model = open(&folder);
        let Some(spec) = fault.apply(&model.spec) else {
            continue;
        };
        let found = reference.compare(&model.with_spec(spec).unwrap());
        let worst = found.iter().map(|c| c.worst()).fold(0.0, f64::max);
        assert!(
            worst > 10.0 * CRITERION,
            "{checkpoint}, {}: {worst:.1e}",
            fault.name
        );
        let at = found.iter().filter_map(|c| c.first_off()).min();
        if let Some((_, expected)) = first.iter().find(|(name, _)| *name == fault.name) {
            assert_eq!(at, Some(*expected), "{checkpoint}, {}", fault.name);
        }
        shown.push(fault.name);
    }
    for (name, _) in first {
        assert!(
            shown.contains(name),
            "{name} changes nothing of {checkpoint}"
        );
    }
}

#[test]
fn mixtral_matches_hf() {
    matches("mixtral");
}

#[test]
fn mixtral_faults_show() {
    faults_show("mixtral", &[("no-window", 12), ("no-expert-sum", 0)]);
}

/// One layer is dense.
#[test]
fn qwen3_moe_matches_hf() {
    matches("qwen3_moe");
}

/// Experts in every layer, as a GGUF file implies.
#[test]
fn qwen3_moe_all_matches_hf() {
    matches("qwen3_moe_all");
}

#[test]
fn qwen3_moe_faults_show() {
    faults_show("qwen3_moe", &[("no-qk-norm", 1), ("no-expert-sum", 0)]);
}

#[test]
fn deepseek_v3_matches_hf() {
    matches("deepseek_v3");
}

#[test]
fn deepseek_v3_faults_show() {
    let first = [
        ("scale-by-head-dim", 1),
        ("no-groups", 0),
        ("no-choice-bias", 0),
        ("choice-bias-in-score", 0),
        ("no-expert-scale", 0),
    ];
    faults_show("deepseek_v3", &first);
}

/// YaRN's two factors apart: `mscale` on cos and sin, `mscale_all_dim` on the scores too.
#[test]
fn deepseek_with_mscale_unlike_mscale_all_dim_matches_hf() {
    for checkpoint in ["deepseek_v3", "deepseek_v2"] {
        let folder = golden(checkpoint);
        for name in ["below", "above"] {
            let scratch = tempfile::tempdir().unwrap();
            let config = folder.join("mscale").join(format!("{name}.json"));
            std::fs::copy(config, scratch.path().join("config.json")).unwrap();
            for file in ["model.safetensors", "tokenizer.json"] {
                std::fs::copy(folder.join(file), scratch.path().join(file)).unwrap();
            }
            let logits = folder.join("mscale").join(format!("{name}.safetensors"));
            let reference = Reference::read(&logits);
            reference.assert_same(&open(scratch.path()));
            // Equal factors are another model.
            let equal = reference.compare(&open(&folder));
            let worst = equal.iter().map(|c| c.worst()).fold(0.0, f64::max);
            assert!(
                worst > 10.0 * CRITERION,
                "{checkpoint}, {name}: {worst:.1e}"
            );
        }
    }
}

#[test]
fn deepseek_v2_matches_hf() {
    matches("deepseek_v2");
}

#[test]
fn deepseek_v2_faults_show() {
    faults_show("deepseek_v2", &[("no-groups", 0), ("expert-sum", 0)]);
}

/// Queries of full rank, no groups.
#[test]
fn deepseek_v2_lite_matches_hf() {
    matches("deepseek_v2_lite");
}

/// Prompts below, at and beyond the length where LongRoPE's list changes, beyond the window, heads rotated in part.
#[test]
fn phi3_matches_hf() {
    matches("phi3");
}

#[test]
fn phi3_faults_show() {
    faults_show("phi3", &[("no-window", 40), ("rope-short-list", 1)]);
    let folder = golden("phi3");
    let reference = Reference::read(&folder.join("logits.safetensors"));
    for (name, long) in [("rope-short-list", true), ("rope-long-list", false)] {
        let model = open(&folder);
        let spec = Fault::by_name(name).unwrap().apply(&model.spec).unwrap();
        let found = reference.compare(&model.with_spec(spec).unwrap());
        for (prompt, c) in reference.prompts.iter().zip(found) {
            // One token has nothing to be turned against.
            let shows = prompt.len() > 1 && (prompt.len() > 32) == long;
            assert_eq!(
                c.first_off().is_some(),
                shows,
                "{name}, {} tokens",
                prompt.len()
            );
        }
    }
}

#[test]
fn gpt_oss_matches_hf() {
    matches("gpt_oss");
}

/// Experts in MXFP4: in safetensors as it ships, and as llama.cpp's converter repacks them.
#[test]
fn gpt_oss_mxfp4_matches_hf() {
    matches("gpt_oss_mxfp4");
}

#[test]
fn gpt_oss_faults_show() {
    let first = [("no-window", 8), ("no-sinks", 0), ("no-expert-bias", 0)];
    faults_show("gpt_oss", &first);
}
