//! A model larger than the memory it may use: the same answers as in memory, and the promise kept.

use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};

const DIM: usize = 512;
const LAYERS: usize = 12;
const EXPERTS: usize = 8;
const HIDDEN: usize = 1024;
const VOCAB: usize = 2048;

/// A random Llama 4 of 350 MB whose layers have 30 MB, in `dir`; nothing can compress its weights.
fn make_checkpoint(dir: &Path) -> std::io::Result<()> {
    let config = json!({
        "architectures": ["Llama4ForCausalLM"], "model_type": "llama4_text", "hidden_size": DIM, "intermediate_size": HIDDEN,
        "intermediate_size_mlp": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 8, "num_key_value_heads": 2,
        "head_dim": 64, "vocab_size": VOCAB, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 5e5,
        "num_local_experts": EXPERTS, "num_experts_per_tok": 1, "interleave_moe_layer_step": 1, "use_qk_norm": true,
        "no_rope_layers": (0..LAYERS).map(|i| usize::from((i + 1) % 4 > 0)).collect::<Vec<_>>(),
        "attention_chunk_size": 96, "attn_temperature_tuning": true, "floor_scale": 64, "attn_scale": 0.1,
        "tie_word_embeddings": false, "bos_token_id": 0, "eos_token_id": 1,
    });
    std::fs::write(dir.join("config.json"), config.to_string())?;
    let builtin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets/builtin");
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(builtin.join(name), dir.join(name))?;
    }

    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("model.embed_tokens.weight".into(), vec![VOCAB, DIM]),
        ("model.norm.weight".into(), vec![DIM]),
        ("lm_head.weight".into(), vec![VOCAB, DIM]),
    ];
    for layer in 0..LAYERS {
        for (name, shape) in [
            ("input_layernorm.weight", vec![DIM]),
            ("post_attention_layernorm.weight", vec![DIM]),
            ("self_attn.q_proj.weight", vec![512, DIM]),
            ("self_attn.k_proj.weight", vec![128, DIM]),
            ("self_attn.v_proj.weight", vec![128, DIM]),
            ("self_attn.o_proj.weight", vec![DIM, 512]),
            ("feed_forward.router.weight", vec![EXPERTS, DIM]),
            (
                "feed_forward.experts.gate_up_proj",
                vec![EXPERTS, DIM, 2 * HIDDEN],
            ),
            ("feed_forward.experts.down_proj", vec![EXPERTS, HIDDEN, DIM]),
            (
                "feed_forward.shared_expert.gate_proj.weight",
                vec![HIDDEN, DIM],
            ),
            (
                "feed_forward.shared_expert.up_proj.weight",
                vec![HIDDEN, DIM],
            ),
            (
                "feed_forward.shared_expert.down_proj.weight",
                vec![DIM, HIDDEN],
            ),
        ] {
            shapes.push((format!("model.layers.{layer}.{name}"), shape));
        }
    }
    let mut header = Map::new();
    let mut end = 0;
    for (name, shape) in &shapes {
        let start = end;
        end += 2 * shape.iter().product::<usize>();
        let entry = json!({ "dtype": "BF16", "shape": shape, "data_offsets": [start, end] });
        header.insert(name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string();
    header += &" ".repeat((8 - header.len() % 8) % 8);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    let mut state = 1u64;
    for (_, shape) in &shapes {
        for _ in 0..shape.iter().product::<usize>() {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let random = (state >> 40) as u16;
            // bfloat16: norms near 1, matrices of either sign with a magnitude of 1/128 to 1/32.
            let bits = if shape.len() == 1 {
                0x3F80
            } else {
                (random & 0x80FF) + 0x3C00
            };
            bytes.extend(bits.to_le_bytes());
        }
    }
    std::fs::write(dir.join("model.safetensors"), bytes)
}

const SUITE: &str = r#"
format = 1
name = "larger"
lengths = [256, 700]
depths = [0.5]
[[task]]
kind = "needle"
name = "text"
questions = 2
method = "generate"
parameters = { max-tokens = 3 }
[[task]]
kind = "sweep"
name = "options"
questions = 1
method = "likelihood"
parameters = { distractors = 3, options = 4, max-tokens = 3 }
"#;

#[test]
fn a_model_larger_than_memory_gives_the_same_answers_and_keeps_the_promise()
-> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("model"))?;
    make_checkpoint(&at("model"))?;
    std::fs::write(at("suite.toml"), SUITE)?;
    let run = |out: &str, memory: &str| -> Result<Value, Box<dyn std::error::Error>> {
        let output = Command::new(env!("CARGO_BIN_EXE_fathom"))
            .args(["run", "--no-speed", "--memory", memory, "--model"])
            .arg(at("model"))
            .arg("--suite")
            .arg(at("suite.toml"))
            .arg("--out")
            .arg(at(out))
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        Ok(serde_json::from_str(&std::fs::read_to_string(
            at(out).join("manifest.json"),
        )?)?)
    };
    let answers = |out: &str| -> Result<Vec<Value>, Box<dyn std::error::Error>> {
        let text = std::fs::read_to_string(at(out).join("answers.jsonl"))?;
        let mut answers = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<Vec<Value>, _>>()?;
        for answer in &mut answers {
            for time in ["prefill_s", "decode_s"] {
                answer[time] = Value::Null;
            }
        }
        answers.sort_by_key(|a| a["item"].to_string());
        Ok(answers)
    };

    let limit = 300_000_000;
    run("whole", "8GB")?;
    let manifest = run("layers", &limit.to_string())?;
    assert!(!answers("whole")?.is_empty());
    assert_eq!(answers("whole")?, answers("layers")?);
    let environment = &manifest["environment"];
    let peak = environment["peak_memory"].as_u64().unwrap_or(0);
    assert!(peak > 0 && peak <= limit, "{environment}");
    // The prompts, what leaves shared ones, and every further token of the longest answer.
    let passes = environment["passes_over_weights"].as_u64().unwrap_or(0);
    assert!((2..=4).contains(&passes), "{environment}");

    // Where not even a layer fits, the table says what needs what.
    let refused = Command::new(env!("CARGO_BIN_EXE_fathom"))
        .args(["run", "--plan", "--memory", "150MB", "--model"])
        .arg(at("model"))
        .output()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(
        said.contains("weights of layer") && said.contains("150 MB"),
        "{said}"
    );
    Ok(())
}
