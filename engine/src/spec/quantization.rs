//! `quantization_config` of `config.json`: how the weights are stored, and what a deployment rounds besides.
//!
//! Weights are read as what they stand for: the tensors' own types and shapes say how (`weights/scaled.rs`), and which
//! modules are left alone. Activations, keys and values are not rounded, whatever the configuration says; [`not_rounded`]
//! is the note of that.

use serde_json::{Map, Value, json};

use super::keys::Keys;
use crate::Result;

/// Names of `quant_method` that are read.
const METHODS: &str = "\"fp8\", \"fbgemm_fp8\", \"compressed-tensors\" or \"mxfp4\"";
/// Formats of compressed-tensors that are read: floats or integers of 8 bits, words of 4 or 8 bits a value.
const FORMATS: [&str; 6] = [
    "dense",
    "float-quantized",
    "int-quantized",
    "mixed-precision",
    "naive-quantized",
    "pack-quantized",
];

/// The object that `quantization_config` stands in: that of the whole model, or `text_config`.
fn holder(config: &Map<String, Value>) -> Option<&Map<String, Value>> {
    let inner = config.get("text_config").and_then(Value::as_object);
    let mut places = [Some(config), inner].into_iter().flatten();
    places.find(|map| map.contains_key("quantization_config"))
}

/// `quantization_config`, where there is one.
fn find(config: &Map<String, Value>) -> Option<&Map<String, Value>> {
    holder(config)?.get("quantization_config")?.as_object()
}

/// Reads `quantization_config`; the unknown keys.
///
/// # Errors
/// A method, a format or a scheme whose weights are not read, and unknown keys (unless `allow_unknown`), named.
pub(super) fn check(
    file: &str,
    config: &Map<String, Value>,
    allow_unknown: bool,
) -> Result<Vec<String>> {
    let Some(holder) = holder(config) else {
        return Ok(Vec::new());
    };
    let Some(map) = Keys::new(file, "", holder).opt_object("quantization_config")? else {
        return Ok(Vec::new());
    };
    let keys = Keys::new(file, "quantization_config.", map);
    keys.irrelevant(&["ignored_layers", "modules_to_not_convert"]);
    let mut unknown = Vec::new();
    match keys.opt_str("quant_method")? {
        Some("fp8") => {
            keys.must_be("expert_dtype", &json!("fp8"))?;
            keys.irrelevant(&[
                "activation_scheme",
                "dequantize",
                "fmt",
                "modules_to_convert",
                "scale_fmt",
                "weight_block_size",
            ]);
        }
        Some("fbgemm_fp8") => keys.irrelevant(&["activation_scale_ub"]),
        Some("mxfp4") => keys.irrelevant(&["dequantize"]),
        Some("compressed-tensors") => unknown = compressed(file, &keys, allow_unknown)?,
        _ => return Err(keys.error("quant_method", METHODS)),
    }
    unknown.extend(keys.finish(allow_unknown)?);
    Ok(unknown)
}

/// The keys of compressed-tensors, those of its groups included; the groups' unknown ones.
fn compressed(file: &str, keys: &Keys<'_>, allow_unknown: bool) -> Result<Vec<String>> {
    keys.irrelevant(&[
        "global_compression_ratio",
        "ignore",
        "kv_cache_scheme",
        "quantization_status",
        "version",
    ]);
    let format = |keys: &Keys<'_>| match keys.opt_str("format")? {
        Some(format) if !FORMATS.contains(&format) => {
            Err(keys.error("format", &format!("one of {}", FORMATS.join(", "))))
        }
        _ => Ok(()),
    };
    format(keys)?;
    let sparse = keys.opt_object("sparsity_config")?;
    if sparse.is_some_and(|s| s.get("format").is_some_and(|f| f != "dense")) {
        return Err(keys.error("sparsity_config", "weights that are stored in full"));
    }
    if keys.get("moe_sparsity_config").is_some() {
        return Err(keys.error("moe_sparsity_config", "null: all experts"));
    }
    let transforms = keys.opt_object("transform_config")?;
    let transforms = transforms.and_then(|t| t.get("config_groups")?.as_object());
    if transforms.is_some_and(|t| !t.is_empty()) {
        return Err(keys.error("transform_config", "no transforms of the weights"));
    }
    let mut unknown = Vec::new();
    for (name, group) in keys.opt_object("config_groups")?.into_iter().flatten() {
        let prefix = format!("quantization_config.config_groups.{name}.");
        let Some(group) = group.as_object() else {
            return Err(keys.error("config_groups", "objects"));
        };
        let group = Keys::new(file, &prefix, group);
        group.irrelevant(&["input_activations", "output_activations", "targets"]);
        format(&group)?;
        if let Some(weights) = group.opt_object("weights")? {
            let weights = Keys::new(file, &format!("{prefix}weights."), weights);
            if !weights.flag_or("symmetric", true)? {
                return Err(weights.error("symmetric", "true: zero points are not read"));
            }
            let order = weights.get("actorder");
            if order.is_some_and(|o| o != "weight" && o != "static" && o != false) {
                let expected = "null or \"weight\": groups that lie side by side";
                return Err(weights.error("actorder", expected));
            }
            // The tensors have them all over again.
            weights.irrelevant(&[
                "block_structure",
                "dynamic",
                "group_size",
                "num_bits",
                "observer",
                "observer_kwargs",
                "scale_dtype",
                "strategy",
                "type",
                "zp_dtype",
            ]);
            unknown.extend(weights.finish(allow_unknown)?);
        }
        unknown.extend(group.finish(allow_unknown)?);
    }
    Ok(unknown)
}

/// Rows and columns that share a factor, as the configuration has it: `weight_block_size` of FP8, `block_structure` of
/// compressed-tensors. `None` where there is no such key; null where the key is.
pub(crate) fn block_size(config: &Map<String, Value>) -> Option<&Value> {
    let map = find(config)?;
    let groups = map.get("config_groups").and_then(Value::as_object);
    let mut blocks = groups.into_iter().flat_map(Map::values).filter_map(|g| {
        let block = g.get("weights")?.get("block_structure")?;
        (!block.is_null()).then_some(block)
    });
    map.get("weight_block_size").or_else(|| blocks.next())
}

/// What a deployment of these weights rounds and this engine does not, for people; `None` where it is nothing.
///
/// ```
/// use fathom_engine::spec::not_rounded;
/// let config = serde_json::json!({"quantization_config": {"quant_method": "fp8", "activation_scheme": "static"}});
/// let note = not_rounded(config.as_object().unwrap()).unwrap();
/// assert_eq!(note, "fp8 (static scales): weights as stored; activations are not rounded here");
/// ```
pub fn not_rounded(config: &Map<String, Value>) -> Option<String> {
    let map = find(config)?;
    let method = map.get("quant_method")?.as_str()?;
    let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).map(str::to_owned);
    let (mut parts, mut what) = (Vec::new(), vec!["activations"]);
    match method {
        "fp8" => {
            let scheme = map.get("activation_scheme").and_then(Value::as_str);
            parts.push(format!("{} scales", scheme.unwrap_or("dynamic")));
        }
        "fbgemm_fp8" => parts.push("dynamic scales".to_owned()),
        "compressed-tensors" => {
            let groups = map.get("config_groups").and_then(Value::as_object);
            for group in groups.into_iter().flat_map(Map::values) {
                let Some(a) = group.get("input_activations").filter(|a| !a.is_null()) else {
                    continue;
                };
                let dynamic = a.get("dynamic").is_some_and(|d| d != false);
                let bits = a.get("num_bits").and_then(Value::as_u64).unwrap_or(8);
                parts.push(format!(
                    "{} of {bits} bits, {} scales",
                    text(a, "type").unwrap_or_else(|| "numbers".into()),
                    if dynamic { "dynamic" } else { "static" }
                ));
            }
            if parts.is_empty() {
                what.clear();
            }
            if map.get("kv_cache_scheme").is_some_and(|k| !k.is_null()) {
                what.extend(["keys", "values"]);
            }
        }
        _ => return None,
    }
    if what.is_empty() {
        return None;
    }
    parts.sort_unstable();
    parts.dedup();
    let parts = match parts.is_empty() {
        true => String::new(),
        false => format!(" ({})", parts.join("; ")),
    };
    let what = what.join(", ");
    Some(format!(
        "{method}{parts}: weights as stored; {what} are not rounded here"
    ))
}
