//! DeepSeek V2, V2 Lite (queries of full rank) and V2.5: softmax over all experts, the choice first among groups by their
//! best expert (`group_limited_greedy`) or among all (`greedy`), weights not divided by their sum.
//!
//! Sources: `DeepseekV2ForCausalLM` in transformers; `deepseek2` in llama.cpp, whose files do not carry `topk_method`: more
//! than one group means that groups are chosen first. A gating function of 2 (sigmoid) makes a V3.

use serde_json::{Value, json};

use super::families::{GgufSource, HfSource};
use super::{GroupScore, Groups, ModelSpec, deepseek, deepseek_v3};
use crate::Result;

/// From `config.json`.
pub fn from_hf(source: &HfSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    let mut parts = deepseek::from_hf(source)?;
    keys.must_be("scoring_func", &json!("softmax"))?;
    // Where it is true, transformers and the model's own code disagree.
    keys.must_be("norm_topk_prob", &json!(false))?;
    let groups = [keys.opt_size("n_group")?, keys.opt_size("topk_group")?];
    parts.moe.groups = match keys.opt_str("topk_method")?.unwrap_or("greedy") {
        "greedy" => None,
        "group_limited_greedy" => match groups {
            [Some(n), Some(used)] => Some(by_best(n, used)),
            _ => return Err(keys.error("n_group", "groups, and topk_group of them used")),
        },
        _ => return Err(keys.error("topk_method", "greedy or group_limited_greedy")),
    };
    Ok(parts.model("deepseek_v2"))
}

/// From GGUF metadata.
pub fn from_gguf(source: &GgufSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    match keys.get("expert_gating_func").map(Value::as_u64) {
        None | Some(Some(1)) => {}
        Some(Some(2)) => return deepseek_v3::from_gguf(source),
        _ => return Err(keys.error("expert_gating_func", "1 (softmax) or 2 (sigmoid)")),
    }
    let mut parts = deepseek::from_gguf(source)?;
    keys.must_be("expert_weights_norm", &json!(false))?;
    let n = keys.opt_size("expert_group_count")?.unwrap_or(1);
    let used = keys.opt_size("expert_group_used_count")?.unwrap_or(n);
    parts.moe.groups = (n > 1).then(|| by_best(n, used));
    Ok(parts.model("deepseek_v2"))
}

fn by_best(n: usize, used: usize) -> Groups {
    Groups {
        n,
        used,
        by: GroupScore::Best,
    }
}
