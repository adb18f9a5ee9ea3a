//! `/tokenize` and `/detokenize`, in the shapes of vLLM (`prompt` or `messages`) and of llama-server (`content`).

use serde_json::{Value, json};

use crate::serve::chat;
use crate::serve::error::{ApiError, ApiResult};
use crate::serve::fields::{Fields, show, token_ids};
use crate::serve::http::App;
use crate::serve::logprobs::token_text;

/// Ids of a text or of a conversation.
///
/// # Errors
/// What is wrong with the request, by field.
pub fn tokenize(app: &App, body: &[u8]) -> ApiResult<Value> {
    let mut fields = Fields::parse(body)?;
    app.check_model(&mut fields)?;
    let texts = fields.flag("return_token_strs")?.unwrap_or(false);
    let ids = if let Some(text) = fields.string("prompt")? {
        let add_bos = fields.flag("add_special_tokens")?.unwrap_or(true);
        app.encode("prompt", &text, add_bos)?
    } else if let Some(text) = fields.string("content")? {
        let add_bos = fields.flag("add_special")?.unwrap_or(false);
        fields.only("with_pieces", &[json!(false)])?;
        app.encode("content", &text, add_bos)?
    } else {
        fields.only("add_special_tokens", &[json!(false)])?;
        chat::prompt(app, &mut fields)?
    };
    // Text that looks like a special token is text.
    fields.only("parse_special", &[json!(false)])?;
    fields.done()?;
    let mut reply = json!({
        "count": ids.len(),
        "max_model_len": app.limits.context,
        "tokens": ids,
    });
    if texts {
        let texts = ids.iter().map(|id| token_text(&app.opened.tokenizer, *id));
        reply["token_strs"] = texts.collect();
    }
    Ok(reply)
}

/// The text of ids.
///
/// # Errors
/// What is wrong with the request, by field.
pub fn detokenize(app: &App, body: &[u8]) -> ApiResult<Value> {
    let mut fields = Fields::parse(body)?;
    app.check_model(&mut fields)?;
    let expected = "a list of token ids";
    let ids = match fields.take("tokens") {
        Some(Value::Array(ids)) => token_ids("tokens", &ids, app.opened.model.spec.n_vocab)?,
        Some(other) => return Err(ApiError::field("tokens", show(&other), expected)),
        None => return Err(ApiError::field("tokens", "nothing", expected)),
    };
    fields.done()?;
    let text = app.opened.tokenizer.decode(&ids);
    Ok(json!({"prompt": text, "content": text}))
}
