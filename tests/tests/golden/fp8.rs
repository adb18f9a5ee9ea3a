//! Weights whose scales are tensors of their own, against torch and transformers.

use fathom_engine::format::{Bytes, StoredType, safetensors};
use fathom_engine::kernels::unpack_row;
use fathom_engine::model::Model;
use fathom_engine::weights::scaled::mxfp4;
use fathom_tests::{Reference, golden, open};

/// By blocks that do not divide the shapes, by row, and by tensor.
#[test]
fn fp8_matches_hf_on_the_same_values() {
    matches("fp8");
}

/// Keys' and values' up-projections of a latent, cut out of one matrix inside of its blocks.
#[test]
fn fp8_deepseek_v3_matches_hf_on_the_same_values() {
    matches("fp8_deepseek_v3");
}

/// Fused q, k, v and gate, up.
#[test]
fn fp8_phi3_matches_hf_on_the_same_values() {
    matches("fp8_phi3");
}

/// Stacked experts, input-major, with a factor an output.
#[test]
fn fp8_llama4_matches_hf_on_the_same_values() {
    matches("fp8_llama4");
}

fn matches(name: &str) {
    let folder = golden(name);
    Reference::read(&folder.join("logits.safetensors")).assert_same(&open(&folder));
}

/// One byte of a scale changed is another model: the test above can fail.
#[test]
fn a_scale_that_is_missing_or_wrong_is_named() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    for name in ["config.json", "tokenizer.json"] {
        std::fs::copy(golden("fp8").join(name), folder.path().join(name))?;
    }
    let weights = std::fs::read(golden("fp8/model.safetensors"))?;
    let renamed = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = weights
            .windows(from.len())
            .position(|w| w == from.as_bytes())
            .ok_or("no such text")?;
        let mut weights = weights.clone();
        weights[at..at + to.len()].copy_from_slice(to.as_bytes());
        std::fs::write(folder.path().join("model.safetensors"), weights)?;
        let error = Model::open(folder.path(), false).err().ok_or("opened")?;
        Ok::<_, Box<dyn std::error::Error>>(error.to_string())
    };
    let scale = "layers.0.mlp.down_proj.weight_scale_inv";
    let error = renamed(scale, "layers.0.mlp.down_proj.weight_scale_xxx")?;
    assert!(error.contains(scale), "{error}");
    let error = renamed("\"shape\":[3,3]", "\"shape\":[9,1]")?;
    assert!(
        error.contains("weight_scale_inv") && error.contains("[9, 1]"),
        "{error}"
    );
    Ok(())
}

#[test]
fn floats_of_eight_bits_match_torch() -> Result<(), Box<dyn std::error::Error>> {
    let golden = read()?;
    let every: Vec<u8> = (0..=255).collect();
    for ty in [
        StoredType::F8_E4M3,
        StoredType::F8_E5M2,
        StoredType::F8_E8M0,
    ] {
        let (mut found, mut expected) = ([0.0; 256], [0.0; 256]);
        ty.unpack(&every, &mut found);
        let golden = &golden.tensors[ty.name()];
        golden.ty.unpack(&golden.data, &mut expected);
        for (f, e) in found.iter().zip(&expected) {
            assert!(
                f.to_bits() == e.to_bits() || f.is_nan() && e.is_nan(),
                "{ty}: {f} {e}"
            );
        }
    }
    Ok(())
}

#[test]
fn mxfp4_matches_transformers() -> Result<(), Box<dyn std::error::Error>> {
    let golden = read()?;
    let tensor = |name: &str| Ok(&golden.tensors[name]);
    let experts = mxfp4("values", "experts", [2, 6, 96], tensor)?;
    let mut expected = vec![0.0; 2 * 6 * 96];
    let values = &golden.tensors["experts_values"];
    values.ty.unpack(&values.data, &mut expected);
    let mut found = [0.0; 96];
    for (expert, expected) in experts.iter().zip(expected.chunks_exact(6 * 96)) {
        for (row, expected) in expected.chunks_exact(96).enumerate() {
            unpack_row(&expert.view(), row, &mut found);
            assert_eq!(found, expected);
            // Rows that alternate: gate and up.
            unpack_row(&expert.every(2, row % 2).view(), row / 2, &mut found);
            assert_eq!(found, expected);
        }
    }
    let error = mxfp4("values", "experts", [2, 6, 64], tensor)
        .err()
        .ok_or("read")?;
    assert!(error.to_string().contains("experts_blocks"), "{error}");
    Ok(())
}

fn read() -> fathom_engine::Result<safetensors::Safetensors> {
    let path = golden("fp8/values.safetensors");
    safetensors::read(&path.display().to_string(), &Bytes::map(&path)?)
}
