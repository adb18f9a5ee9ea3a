//! Sizes in a stranger's configuration that no model has: an error, at once, that names the key.

use fathom_engine::Model;
use fathom_tests::golden;

#[test]
fn absurd_sizes_are_refused_at_once() {
    let text = std::fs::read_to_string(golden("llama4_scout/config.json")).unwrap();
    let config: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(
        golden("llama4_scout/model.safetensors"),
        folder.path().join("model.safetensors"),
    )
    .unwrap();
    let sizes: Vec<&String> = config
        .iter()
        .filter(|(_, v)| v.is_u64())
        .map(|(k, _)| k)
        .collect();
    assert!(sizes.len() > 12, "{sizes:?}");
    // Tokens and lengths may be anything: nothing is made of that size.
    let free = [
        "attention_chunk_size",
        "bos_token_id",
        "eos_token_id",
        "floor_scale",
        "max_position_embeddings",
    ];
    for key in sizes.into_iter().filter(|k| !free.contains(&k.as_str())) {
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
                "{key} = {value} took {:?}",
                start.elapsed()
            );
            if let Err(error) = result {
                assert!(!error.to_string().contains('\n'), "{error}");
            } else {
                // Read where the list of layers beside it decides.
                let decided = [
                    "no_rope_layer_interval",
                    "interleave_moe_layer_step",
                    "intermediate_size_mlp",
                ];
                assert!(
                    decided.contains(&key.as_str()),
                    "{key} = {value} was accepted"
                );
            }
        }
    }
}
