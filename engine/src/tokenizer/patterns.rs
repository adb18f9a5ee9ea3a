//! Regular expressions of a `tokenizer.json`: refused when they would not fit in memory.

use serde_json::Value;

use crate::{Error, Result};

/// Refuses patterns that would not fit in memory when compiled: counted repetitions of groups multiply.
pub(super) fn check(file: &str, field: &str, value: &Value) -> Result<()> {
    const LONGEST: usize = 1 << 16;
    const MOST: u64 = 1 << 16;
    match value {
        Value::Array(list) => list.iter().try_for_each(|item| check(file, field, item)),
        Value::Object(map) => map.iter().try_for_each(|(key, item)| match item.as_str() {
            Some(pattern) if key == "Regex" => {
                let copies = copies(pattern);
                if pattern.len() > LONGEST || copies > MOST {
                    let found = format!("a pattern of {} bytes, {copies} times", pattern.len());
                    let expected = format!("at most {LONGEST} bytes, {MOST} times");
                    return Err(Error::input(file, field, found, expected));
                }
                Ok(())
            }
            _ => check(file, field, item),
        }),
        _ => Ok(()),
    }
}

/// How often counted repetitions may copy a part of a pattern: those of groups one in the other, and the largest of the rest.
fn copies(pattern: &str) -> u64 {
    let (mut groups, mut largest) = (1u64, 1u64);
    let mut before = "";
    for part in pattern.split('{') {
        let counts = part.split('}').next().unwrap_or_default().split(',');
        let count = counts
            .filter_map(|n| n.trim().parse::<u64>().ok())
            .max()
            .unwrap_or(1)
            .max(1);
        if before.ends_with([')', '}']) {
            groups = groups.saturating_mul(count);
        } else {
            largest = largest.max(count);
        }
        before = part;
    }
    groups.saturating_mul(largest)
}
