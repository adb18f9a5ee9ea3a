//! What makes two runs the same run, and the differences in words.

use std::collections::BTreeMap;

use serde_json::Value;

/// Facts by name; any difference refuses to continue a folder.
pub type Identity = BTreeMap<String, Value>;

/// Every difference: `seed: 1 there, 2 here`.
///
/// ```
/// use fathom_harness::run::identity::{Identity, differences};
/// let there = Identity::from([("seed".to_owned(), 1.into())]);
/// let here = Identity::from([("seed".to_owned(), 2.into())]);
/// assert_eq!(differences(&there, &here), ["seed: 1 there, 2 here"]);
/// ```
pub fn differences(there: &Identity, here: &Identity) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = there.keys().chain(here.keys()).collect();
    names
        .into_iter()
        .filter(|name| there.get(*name) != here.get(*name))
        .map(|name| {
            format!(
                "{name}: {} there, {} here",
                short(there.get(name)),
                short(here.get(name))
            )
        })
        .collect()
}

fn short(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => return "none".to_owned(),
        Some(Value::String(s)) => s.clone(),
        Some(v) => v.to_string(),
    };
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}
