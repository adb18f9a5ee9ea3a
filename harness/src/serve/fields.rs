//! A request's fields: each is used, has no effect, or is refused by name. `null` is as good as absent.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::json::kind;
use crate::serve::error::{ApiError, ApiResult};

/// Fields that have not been looked at.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// The fields of a body.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn parse(body: &[u8]) -> ApiResult<Self> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(other) => Err(ApiError::field("body", kind(&other), "a JSON object")),
            Err(e) => Err(ApiError::field("body", e, "a JSON object")),
        }
    }

    /// A field, unless it is absent or null.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|v| !v.is_null())
    }

    /// A whole number.
    ///
    /// # Errors
    /// When it is something else, or out of range.
    pub fn integer(&mut self, name: &str, range: RangeInclusive<i64>) -> ApiResult<Option<i64>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let read = value.as_i64().filter(|n| range.contains(n));
        read.map(Some).ok_or_else(|| {
            let expected = format!("a whole number, {} to {}", range.start(), range.end());
            ApiError::field(name, show(&value), expected)
        })
    }

    /// A count.
    ///
    /// # Errors
    /// When it is something else, or out of range.
    pub fn count(&mut self, name: &str, range: RangeInclusive<usize>) -> ApiResult<Option<usize>> {
        let limit = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let range = limit(*range.start())..=limit(*range.end());
        let read = self.integer(name, range)?;
        Ok(read.and_then(|n| usize::try_from(n).ok()))
    }

    /// A number.
    ///
    /// # Errors
    /// When it is something else, or out of range.
    pub fn number(&mut self, name: &str, range: RangeInclusive<f64>) -> ApiResult<Option<f32>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let read = value.as_f64().filter(|x| range.contains(x));
        read.map(|x| Some(x as f32)).ok_or_else(|| {
            let expected = format!("a number, {} to {}", range.start(), range.end());
            ApiError::field(name, show(&value), expected)
        })
    }

    /// True or false.
    ///
    /// # Errors
    /// When it is something else.
    pub fn flag(&mut self, name: &str) -> ApiResult<Option<bool>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(b)) => Ok(Some(b)),
            Some(other) => Err(ApiError::field(name, show(&other), "true or false")),
        }
    }

    /// A string.
    ///
    /// # Errors
    /// When it is something else.
    pub fn string(&mut self, name: &str) -> ApiResult<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(ApiError::field(name, show(&other), "a string")),
        }
    }

    /// An object; empty when absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn object(&mut self, name: &str) -> ApiResult<Map<String, Value>> {
        match self.take(name) {
            None => Ok(Map::new()),
            Some(Value::Object(fields)) => Ok(fields),
            Some(other) => Err(ApiError::field(name, show(&other), "an object")),
        }
    }

    /// Fields that change nothing of an answer.
    pub fn ignore(&mut self, names: &[&str]) {
        names.iter().for_each(|name| drop(self.0.remove(*name)));
    }

    /// A field that is accepted only where it changes nothing.
    ///
    /// # Errors
    /// When it has another value.
    pub fn only(&mut self, name: &str, neutral: &[Value]) -> ApiResult<()> {
        let equal = |a: &Value, b: &Value| a == b || (a.is_number() && a.as_f64() == b.as_f64());
        match self.take(name) {
            Some(value) if !neutral.iter().any(|n| equal(&value, n)) => {
                Err(ApiError::unsupported(name))
            }
            _ => Ok(()),
        }
    }

    /// All fields have been looked at.
    ///
    /// # Errors
    /// When one has not.
    pub fn done(self) -> ApiResult<()> {
        match self.0.iter().find(|(_, value)| !value.is_null()) {
            Some((name, _)) => Err(ApiError::unknown_field(name)),
            None => Ok(()),
        }
    }
}

/// Token ids.
///
/// # Errors
/// When one is none of this vocabulary, named by `name` and its place.
pub fn token_ids(name: &str, values: &[Value], n_vocab: usize) -> ApiResult<Vec<u32>> {
    let read = |(i, value): (usize, &Value)| {
        let id = value.as_u64().filter(|id| *id < n_vocab as u64);
        id.and_then(|id| u32::try_from(id).ok()).ok_or_else(|| {
            let expected = format!("a token id, 0 to {}", n_vocab - 1);
            ApiError::field(format!("{name}[{i}]"), show(value), expected)
        })
    };
    values.iter().enumerate().map(read).collect()
}

/// A value in a message: a short one as it stands, of others the kind.
pub fn show(value: &Value) -> String {
    let text = value.to_string();
    if value.is_array() || value.is_object() || text.len() > 40 {
        kind(value).to_owned()
    } else {
        text
    }
}
