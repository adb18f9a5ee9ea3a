//! FP8 and packed integers as Meta, Mistral and llm-compressor ship them, against transformers on the values that the
//! libraries' own code unpacks (`make_compressed.py`).

use std::path::Path;

use fathom_engine::Model;
use fathom_engine::spec::not_rounded;
use fathom_tests::{Reference, golden, golden_json, open};
use serde_json::{Value, json};

fn matches(name: &str) {
    let folder = golden(name);
    let off = Reference::read(&folder.join("logits.safetensors")).assert_same(&open(&folder));
    println!("{name}: off by {off:.1e} standard deviations at most");
}

/// Matrices by row; stacked experts with factors [n, 1, outputs] and [n, outputs, 1].
#[test]
fn llama4_by_fbgemm_matches_hf_on_the_same_values() {
    matches("fbgemm_llama4");
}

/// By row, by tensor with static scales of activations, and in blocks that do not divide the shapes.
#[test]
fn compressed_tensors_fp8_matches_hf_on_the_same_values() {
    matches("ct_fp8");
}

/// Words of 4 and 8 bits a value, by group and by row, and int8.
#[test]
fn compressed_tensors_integers_match_hf_on_the_same_values() {
    matches("ct_int");
}

/// Llama 4's experts taken apart.
#[test]
fn compressed_tensors_experts_match_hf_on_the_same_values() {
    matches("ct_llama4");
}

/// `weight_block_size` is null: one factor a matrix.
#[test]
fn fp8_by_tensor_matches_hf_on_the_same_values() {
    matches("fp8_tensor");
}

#[test]
fn what_is_not_rounded_is_said() {
    let note = |name: &str| {
        let config = golden_json(&format!("{name}/config.json"));
        not_rounded(config.as_object().unwrap())
    };
    let rest = "weights as stored; activations are not rounded here";
    for (name, parts) in [
        ("fbgemm_llama4", "fbgemm_fp8 (dynamic scales)"),
        (
            "ct_fp8",
            "compressed-tensors (float of 8 bits, dynamic scales; float of 8 bits, static scales)",
        ),
        (
            "ct_int",
            "compressed-tensors (int of 8 bits, dynamic scales)",
        ),
        ("fp8_tensor", "fp8 (static scales)"),
    ] {
        assert_eq!(note(name), Some(format!("{parts}: {rest}")), "{name}");
    }
    assert_eq!(note("gpt_oss_mxfp4"), None);
    assert_eq!(note("llama31"), None);
}

/// The error of opening a checkpoint with its configuration edited, and with names of tensors replaced by others as long.
fn error(
    name: &str,
    edit: impl FnOnce(&mut Value),
    names: &[(&str, &str)],
) -> Result<String, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mut config = golden_json(&format!("{name}/config.json"));
    edit(&mut config);
    let write =
        |file: &str, bytes: &[u8]| std::fs::write(Path::new(folder.path()).join(file), bytes);
    write("config.json", config.to_string().as_bytes())?;
    write(
        "tokenizer.json",
        &std::fs::read(golden(name).join("tokenizer.json"))?,
    )?;
    let mut weights = std::fs::read(golden(name).join("model.safetensors"))?;
    for (from, to) in names {
        assert_eq!(from.len(), to.len());
        let mut windows = weights.windows(from.len());
        let at = windows
            .position(|w| w == from.as_bytes())
            .ok_or("no such text")?;
        weights[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    write("model.safetensors", &weights)?;
    let error = Model::open(folder.path(), false).err().ok_or("opened")?;
    Ok(error.to_string())
}

#[test]
fn what_would_mean_other_weights_is_named() -> Result<(), Box<dyn std::error::Error>> {
    let weights = "/quantization_config/config_groups/group_0/weights";
    let set = |path: &'static str, value: Value| {
        move |config: &mut Value| *config.pointer_mut(path).expect(path) = value
    };
    let with = |key: &'static str, value: Value| {
        move |config: &mut Value| {
            let weights = config.pointer_mut(weights).expect(weights);
            weights[key] = value;
        }
    };
    for (error, named) in [
        (
            error("ct_int", with("symmetric", json!(false)), &[])?,
            "weights.symmetric",
        ),
        (
            error("ct_int", with("actorder", json!("group")), &[])?,
            "weights.actorder",
        ),
        (
            error("ct_int", with("surprise", json!(1)), &[])?,
            "weights.surprise",
        ),
        (
            error(
                "ct_int",
                set("/quantization_config/format", json!("marlin-24")),
                &[],
            )?,
            "marlin-24",
        ),
        (
            error(
                "ct_int",
                set("/quantization_config/quant_method", json!("awq")),
                &[],
            )?,
            "compressed-tensors",
        ),
        // A tensor of another layer, renamed: zero points beside a matrix of the first.
        (
            error(
                "ct_int",
                |_| (),
                &[(
                    "layers.3.self_attn.o_proj.weight_scale",
                    "layers.0.mlp.up_proj.weight_zero_point",
                )],
            )?,
            "layers.0.mlp.up_proj.weight_zero_point",
        ),
        (
            error(
                "ct_int",
                |_| (),
                &[("\"shape\":[32,3]", "\"shape\":[3,32]")],
            )?,
            "layers.1.mlp.down_proj.weight_scale",
        ),
        (
            error(
                "fp8_tensor",
                set("/quantization_config/weight_block_size", json!([16, 16])),
                &[],
            )?,
            "weight_scale_inv",
        ),
        (
            error(
                "fbgemm_llama4",
                |_| (),
                &[("experts.down_proj_scale", "experts.down_proj_scalf")],
            )?,
            "experts.down_proj_scale",
        ),
    ] {
        assert!(error.contains(named), "{error}: names {named}");
    }
    Ok(())
}
