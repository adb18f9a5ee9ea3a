//! Sizes in a stranger's configuration that no model has: an error, at once, that names the key.

use fathom_engine::Model;
use fathom_tests::golden;

/// Every whole number of a checkpoint's configuration but the `free` ones in turn; `decided` ones are read only where
/// no list of layers beside them decides.
fn absurd_sizes_are_refused_at_once(checkpoint: &str, free: &[&str], decided: &[&str]) {
    let text = std::fs::read_to_string(golden(checkpoint).join("config.json")).unwrap();
    let config: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(
        golden(checkpoint).join("model.safetensors"),
        folder.path().join("model.safetensors"),
    )
    .unwrap();
    let sizes: Vec<&String> = config
        .iter()
        .filter(|(_, v)| v.is_u64())
        .map(|(k, _)| k)
        .collect();
    assert!(sizes.len() > 8, "{sizes:?}");
    // Tokens and lengths may be anything: nothing is made of that size.
    let always = ["bos_token_id", "eos_token_id", "max_position_embeddings"];
    let free = |k: &&String| always.iter().chain(free).any(|f| f == k);
    for key in sizes.into_iter().filter(|k| !free(k)) {
        for value in [0u64, 1 << 31, 1 << 62] {
            let mut edited = config.clone();
            edited.insert(key.clone(), value.into());
            std::fs::write(
                folder.path().join("config.json"),
                serde_json::to_vec(&edited).unwrap(),
            )
            .unwrap();
            let start = std::time::Instant::now();
            let result = Model::open(folder.path(), false);
            assert!(
                start.elapsed().as_secs() < 20,
                "{checkpoint}: {key} = {value} took {:?}",
                start.elapsed()
            );
            if let Err(error) = result {
                assert!(!error.to_string().contains('\n'), "{error}");
            } else {
                assert!(
                    decided.contains(&key.as_str()),
                    "{checkpoint}: {key} = {value} was accepted"
                );
            }
        }
    }
}

#[test]
fn absurd_sizes_of_llama4_are_refused_at_once() {
    absurd_sizes_are_refused_at_once(
        "llama4_scout",
        &["attention_chunk_size", "floor_scale"],
        &[
            "no_rope_layer_interval",
            "interleave_moe_layer_step",
            "intermediate_size_mlp",
        ],
    );
}

#[test]
fn absurd_sizes_of_the_dense_families_are_refused_at_once() {
    for checkpoint in ["cohere2", "gemma2", "gemma3", "mistral", "qwen2", "qwen3"] {
        absurd_sizes_are_refused_at_once(
            checkpoint,
            &["sliding_window", "query_pre_attn_scalar"],
            &["max_window_layers", "_sliding_window_pattern"],
        );
    }
}

#[test]
fn absurd_sizes_of_mixtures_and_phi3_are_refused_at_once() {
    let checkpoints = [
        "mixtral",
        "qwen3_moe",
        "deepseek_v2",
        "deepseek_v3",
        "phi3",
        "gpt_oss",
    ];
    for checkpoint in checkpoints {
        let latent = checkpoint.starts_with("deepseek");
        let unread = [
            "head_dim",
            "num_key_value_heads",
            "qk_head_dim",
            "num_nextn_predict_layers",
        ];
        let mut free = vec![
            "sliding_window",
            "original_max_position_embeddings",
            "pretraining_tp",
        ];
        free.extend(unread.iter().filter(|_| latent));
        absurd_sizes_are_refused_at_once(checkpoint, &free, &[]);
    }
}
