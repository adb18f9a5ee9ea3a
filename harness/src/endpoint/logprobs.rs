//! Log probabilities in their shapes: lists beside each other (OpenAI's completions, vLLM), `content[]` (chat, and
//! llama-server's completions), `prompt_logprobs` (vLLM).

use serde_json::Value;

/// A token as a server tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Piece {
    /// Its text; where its bytes are no text alone, with U+FFFD.
    pub text: String,
    /// Its bytes; of a server that tells only text, those of the text, which then may hold U+FFFD.
    pub bytes: Vec<u8>,
    /// Its id, where the server tells it.
    pub id: Option<u32>,
}

/// A token with its log probability, nats, and the most probable tokens there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Position {
    /// The token.
    pub token: Piece,
    /// `None` where it was not told: a prompt's first, or -9999, which stands for less than a server can say.
    pub logprob: Option<f64>,
    /// As the server tells them, the most probable first; a token that is not there has less than the last one.
    pub top: Vec<(Piece, f64)>,
}

/// Servers write this for minus infinity.
const NEVER: f64 = -9999.0;

/// Reads `logprobs` of a choice, in either shape; nothing where there is none.
///
/// # Errors
/// What is wrong with it.
pub fn read(value: &Value) -> Result<Vec<Position>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Object(fields) => match (fields.get("content"), fields.get("tokens")) {
            (Some(Value::Array(content)), _) => content.iter().map(entry).collect(),
            (_, Some(Value::Array(tokens))) => lists(tokens, value),
            (Some(Value::Null) | None, Some(Value::Null) | None) => Ok(Vec::new()),
            _ => Err("logprobs: expected content or tokens, each a list".to_owned()),
        },
        _ => Err("logprobs: expected an object".to_owned()),
    }
}

/// Reads vLLM's `prompt_logprobs`: null or `{id: {logprob, decoded_token}}` a token of `ids`.
///
/// # Errors
/// What is wrong with it.
pub fn prompt_logprobs(value: &Value, ids: &[u32]) -> Result<Vec<Position>, String> {
    let rows = value
        .as_array()
        .filter(|rows| rows.len() == ids.len())
        .ok_or_else(|| format!("prompt_logprobs: expected a list of {}", ids.len()))?;
    let read = |(i, (row, id)): (usize, (&Value, &u32))| {
        let mut position = Position {
            token: Piece {
                id: Some(*id),
                ..Piece::default()
            },
            ..Position::default()
        };
        for (key, told) in row.as_object().into_iter().flatten() {
            let entry_id: u32 = key
                .parse()
                .map_err(|_| format!("prompt_logprobs[{i}]: expected ids as names"))?;
            let logprob = number(&told["logprob"], "prompt_logprobs")?;
            let mut token = piece(told["decoded_token"].as_str().unwrap_or(""), None);
            token.id = Some(entry_id);
            if entry_id == *id {
                position.token = token.clone();
                position.logprob = logprob;
            }
            position.top.extend(logprob.map(|l| (token, l)));
        }
        sort(&mut position.top);
        Ok(position)
    };
    rows.iter().zip(ids).enumerate().map(read).collect()
}

fn lists(tokens: &[Value], whole: &Value) -> Result<Vec<Position>, String> {
    let list = |name: &str| match &whole[name] {
        Value::Null => Ok(None),
        Value::Array(list) if list.len() == tokens.len() => Ok(Some(list)),
        _ => Err(format!(
            "logprobs.{name}: expected a list of {}",
            tokens.len()
        )),
    };
    let logprobs = list("token_logprobs")?;
    let logprobs = logprobs.ok_or("logprobs.token_logprobs: found nothing, expected a list")?;
    let tops = list("top_logprobs")?;
    let read = |i: usize| {
        let token = tokens[i]
            .as_str()
            .ok_or("logprobs.tokens: expected texts")?;
        let mut top = Vec::new();
        match tops.map(|tops| &tops[i]) {
            None | Some(Value::Null) => {}
            Some(Value::Object(told)) => {
                for (text, logprob) in told {
                    let logprob = number(logprob, "logprobs.top_logprobs")?;
                    top.extend(logprob.map(|l| (piece(text, None), l)));
                }
            }
            Some(_) => return Err("logprobs.top_logprobs: expected objects".to_owned()),
        }
        sort(&mut top);
        Ok(Position {
            token: piece(token, None),
            logprob: number(&logprobs[i], "logprobs.token_logprobs")?,
            top,
        })
    };
    (0..tokens.len()).map(read).collect()
}

fn entry(value: &Value) -> Result<Position, String> {
    let (token, logprob) = one(value)?;
    let mut top = Vec::new();
    match &value["top_logprobs"] {
        Value::Null => {}
        Value::Array(entries) => {
            for value in entries {
                let (token, logprob) = one(value)?;
                top.extend(logprob.map(|l| (token, l)));
            }
        }
        _ => return Err("logprobs.content.top_logprobs: expected a list".to_owned()),
    }
    sort(&mut top);
    Ok(Position {
        token,
        logprob,
        top,
    })
}

fn one(value: &Value) -> Result<(Piece, Option<f64>), String> {
    let text = value["token"].as_str();
    let text = text.ok_or("logprobs.content.token: expected a text")?;
    let bytes = match &value["bytes"] {
        Value::Array(bytes) => Some(
            bytes
                .iter()
                .map(|b| b.as_u64().and_then(|b| u8::try_from(b).ok()))
                .collect::<Option<Vec<u8>>>()
                .ok_or("logprobs.content.bytes: expected numbers, 0 to 255")?,
        ),
        _ => None,
    };
    let mut token = piece(text, bytes);
    // llama-server tells ids.
    let id = value["id"].as_u64().and_then(|id| u32::try_from(id).ok());
    token.id = token.id.or(id);
    Ok((
        token,
        number(&value["logprob"], "logprobs.content.logprob")?,
    ))
}

/// A token from its text, where `token_id:7` (vLLM) and `bytes:\xe2\x80` (OpenAI) are spellings.
fn piece(text: &str, bytes: Option<Vec<u8>>) -> Piece {
    if let Some(id) = text.strip_prefix("token_id:").and_then(|t| t.parse().ok()) {
        let bytes = bytes.unwrap_or_default();
        return Piece {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            bytes,
            id: Some(id),
        };
    }
    let spelled = || text.strip_prefix("bytes:").and_then(spelled_bytes);
    match bytes.or_else(spelled) {
        Some(bytes) => Piece {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            bytes,
            id: None,
        },
        None => Piece {
            text: text.to_owned(),
            bytes: text.as_bytes().to_vec(),
            id: None,
        },
    }
}

/// `\xe2\x80`, and characters that stand for themselves.
fn spelled_bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(hex) = rest.strip_prefix("\\x").and_then(|r| r.get(..2)) {
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = rest.get(4..)?;
        } else {
            let n = first.len_utf8();
            bytes.extend_from_slice(&rest.as_bytes()[..n]);
            rest = &rest[n..];
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

/// A log probability; rounding above 0 is 0.
fn number(value: &Value, field: &str) -> Result<Option<f64>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Number(n) => match n.as_f64() {
            Some(x) if x <= NEVER => Ok(None),
            Some(x) if x <= 1e-3 => Ok(Some(x.min(0.0))),
            _ => Err(format!("{field}: found {n}, expected at most 0")),
        },
        other => {
            let found = crate::json::kind(other);
            Err(format!("{field}: found {found}, expected a number"))
        }
    }
}

fn sort(top: &mut [(Piece, f64)]) {
    top.sort_by(|a, b| b.1.total_cmp(&a.1));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_shapes_tell_the_same() -> Result<(), String> {
        let lists = read(&json!({
            "tokens": ["a", "bytes:\\xe2\\x80"], "token_logprobs": [null, -0.5], "text_offset": [0, 1],
            "top_logprobs": [null, {"b": -2.0, "bytes:\\xe2\\x80": -0.5}],
        }))?;
        let content = read(&json!({"content": [
            {"token": "a", "logprob": null, "bytes": [97]},
            {"token": "\u{fffd}", "logprob": -0.5, "bytes": [226, 128], "top_logprobs": [
                {"token": "\u{fffd}", "logprob": -0.5, "bytes": [226, 128]},
                {"token": "b", "logprob": -2.0, "bytes": [98]},
                {"token": "c", "logprob": -9999.0, "bytes": [99]},
            ]},
        ]}))?;
        assert_eq!(lists, content);
        assert_eq!(lists[0].logprob, None);
        assert_eq!(lists[1].token.bytes, [0xe2, 0x80]);
        assert_eq!(lists[1].top.len(), 2);
        Ok(())
    }

    #[test]
    fn ids_are_read_where_they_are_told() -> Result<(), String> {
        let told = read(&json!({"tokens": ["token_id:7"], "token_logprobs": [-1.0]}))?;
        assert_eq!(told[0].token.id, Some(7));
        let told = read(&json!({"content": [{"token": " x", "id": 9, "logprob": -1.0}]}))?;
        assert_eq!(
            (told[0].token.id, &*told[0].token.bytes),
            (Some(9), &b" x"[..])
        );
        let rows =
            json!([null, {"5": {"logprob": -1.5, "decoded_token": "e"}, "4": {"logprob": -0.5}}]);
        let told = prompt_logprobs(&rows, &[3, 5])?;
        assert_eq!((told[0].logprob, told[1].logprob), (None, Some(-1.5)));
        assert_eq!(told[1].top[0].0.id, Some(4));
        assert!(prompt_logprobs(&rows, &[3]).is_err());
        Ok(())
    }

    #[test]
    fn what_is_no_log_probability_is_refused() {
        for bad in [
            json!({"tokens": ["a", "b"], "token_logprobs": [-1.0]}),
            json!({"tokens": ["a"], "token_logprobs": [0.5]}),
            json!({"tokens": ["a"], "token_logprobs": ["NaN"]}),
            json!({"tokens": [1], "token_logprobs": [-1.0]}),
            json!({"content": [{"token": "a", "logprob": -1.0, "bytes": [256]}]}),
            json!({"content": 3}),
            json!([]),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
