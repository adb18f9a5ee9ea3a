//! JSON in templates: values of the conversation, and `tojson` as Python's `json.dumps(.., ensure_ascii=False)` writes it
//! (spaces after commas and colons, nothing escaped for HTML).

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// The template's value of a JSON value.
pub(super) fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(b) => Value::from(*b),
        serde_json::Value::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(n), _, _) => Value::from(n),
            (_, Some(n), _) => Value::from(n),
            (_, _, n) => Value::from(n.unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(s) => Value::from(s.as_str()),
        serde_json::Value::Array(list) => list.iter().map(value).collect(),
        serde_json::Value::Object(map) => Value::from_pairs(
            map.iter()
                .map(|(key, item)| (Value::from(key.as_str()), value(item))),
        ),
    }
}

/// The JSON text of a value, on lines indented by `indent` when given.
pub(super) fn python(value: &Value, indent: Option<usize>) -> Result<Value, Error> {
    let mut out = String::new();
    write(value, indent, 0, &mut out)?;
    Ok(Value::from(out))
}

/// Deepest nesting of a value.
const DEPTH: usize = 100;
/// Widest indentation.
const INDENT: usize = 16;

fn write(
    value: &Value,
    indent: Option<usize>,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    let refuse = |why: &str| {
        Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("tojson: {why}"),
        ))
    };
    if depth > DEPTH {
        return refuse("nested too deep");
    }
    let line = |depth: usize, out: &mut String| {
        if let Some(indent) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent.min(INDENT) * depth));
        }
    };
    let separator = if indent.is_some() { "," } else { ", " };
    let (open, close) = match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => ('[', ']'),
        ValueKind::Map => ('{', '}'),
        scalar => {
            match scalar {
                ValueKind::None => out.push_str("null"),
                ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
                ValueKind::Number => out.push_str(&value.to_string()),
                ValueKind::String => text(value.as_str().unwrap_or_default(), out),
                other => return refuse(&format!("{other} is not JSON")),
            }
            return Ok(());
        }
    };
    out.push(open);
    let mut empty = true;
    for item in value.try_iter()? {
        out.push_str(if empty { "" } else { separator });
        empty = false;
        line(depth + 1, out);
        if close == '}' {
            let content = value.get_item(&item)?;
            text(&item.to_string(), out);
            out.push_str(": ");
            write(&content, indent, depth + 1, out)?;
        } else {
            write(&item, indent, depth + 1, out)?;
        }
    }
    if !empty {
        line(depth, out);
    }
    out.push(close);
    Ok(())
}

/// A JSON string; Python escapes the control characters below U+0020, the quote and the backslash, as `serde_json` does.
fn text(s: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(s).to_string());
}
