//! DeepSeek V3, V3.1 and R1: sigmoid scores; a learned bias that counts for the choice alone, which is first among groups
//! by the sum of their two best experts; weights divided by their sum and multiplied by `routed_scaling_factor`.
//!
//! Sources: `DeepseekV3ForCausalLM` in transformers; `deepseek2` in llama.cpp with a gating function of 2 (`deepseek_v2.rs`).

use serde_json::json;

use super::families::{GgufSource, HfSource};
use super::{ChoiceBias, GroupScore, Groups, ModelSpec, Moe, Scoring, deepseek};
use crate::Result;

/// From `config.json`.
pub fn from_hf(source: &HfSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    let mut parts = deepseek::from_hf(source)?;
    keys.must_be("scoring_func", &json!("sigmoid"))?;
    keys.must_be("topk_method", &json!("noaux_tc"))?;
    parts.moe = choice(
        parts.moe,
        keys.flag_or("norm_topk_prob", true)?,
        keys.opt_size("n_group")?.unwrap_or(8),
        keys.opt_size("topk_group")?.unwrap_or(4),
    );
    Ok(parts.model("deepseek_v3"))
}

/// From GGUF metadata.
pub fn from_gguf(source: &GgufSource<'_>) -> Result<ModelSpec> {
    let keys = &source.keys;
    let mut parts = deepseek::from_gguf(source)?;
    keys.must_be("expert_gating_func", &json!(2))?;
    let n = keys.opt_size("expert_group_count")?.unwrap_or(1);
    parts.moe = choice(
        parts.moe,
        keys.flag_or("expert_weights_norm", false)?,
        n,
        keys.opt_size("expert_group_used_count")?.unwrap_or(n),
    );
    Ok(parts.model("deepseek_v3"))
}

fn choice(moe: Moe, normalise: bool, n: usize, used: usize) -> Moe {
    Moe {
        scoring: Scoring::Sigmoid,
        normalise,
        choice_bias: ChoiceBias::Choice,
        groups: Some(Groups {
            n,
            used,
            by: GroupScore::TwoBest,
        }),
        ..moe
    }
}
