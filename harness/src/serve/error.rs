//! Errors as OpenAI's clients read them: `{"error": {"message", "type", "param", "code"}}`.

use std::fmt::Display;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::serve::job::Failure;

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
}

/// Result of a handler.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// 400: a field holds something that cannot be used.
    pub fn field(param: impl Display, found: impl Display, expected: impl Display) -> Self {
        let message = format!("'{param}': found {found}, expected {expected}");
        Self::new(StatusCode::BAD_REQUEST, message).of(param)
    }

    /// 400: an option that is known and not offered.
    pub fn unsupported(param: impl Display) -> Self {
        let message = format!("'{param}' is not supported here and would change the result");
        let mut error = Self::new(StatusCode::BAD_REQUEST, message).of(param);
        error.code = Some("unsupported_parameter");
        error
    }

    /// 400: a field that nobody knows.
    pub fn unknown_field(param: &str) -> Self {
        let message = format!("Unrecognized request argument supplied: {param}");
        Self::new(StatusCode::BAD_REQUEST, message).of(param)
    }

    /// 400: prompt and answer are longer than the context.
    pub fn context(param: &str, limit: usize, prompt: usize, answer: usize) -> Self {
        let message = format!(
            "This model's maximum context length is {limit} tokens. However, you requested {} tokens ({prompt} in \
             the prompt, {answer} for the completion)",
            prompt.saturating_add(answer)
        );
        let mut error = Self::new(StatusCode::BAD_REQUEST, message).of(param);
        error.code = Some("context_length_exceeded");
        error
    }

    /// 404: another model.
    pub fn model(found: &str, served: &str) -> Self {
        let message = format!("The model `{found}` does not exist; this server has `{served}`");
        let mut error = Self::new(StatusCode::NOT_FOUND, message).of("model");
        error.code = Some("model_not_found");
        error
    }

    /// An error of this status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let (kind, code) = match status {
            StatusCode::TOO_MANY_REQUESTS => ("rate_limit_error", Some("queue_full")),
            StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => {
                ("timeout_error", Some("timeout"))
            }
            status if status.is_server_error() => ("server_error", None),
            _ => ("invalid_request_error", None),
        };
        Self {
            status,
            kind,
            code,
            param: None,
            message: message.into(),
        }
    }

    fn of(mut self, param: impl Display) -> Self {
        self.param = Some(param.to_string());
        self
    }

    /// The body.
    pub fn body(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }})
    }
}

impl From<&Failure> for ApiError {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::TooLate => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "the time that this server grants a request is over",
            ),
            Failure::Stopping => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the server is being stopped",
            ),
            Failure::Engine(why) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, why.clone()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json_response(&self.body());
        *response.status_mut() = self.status;
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// 200 with a JSON body.
pub fn json_response(value: &Value) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], value.to_string()).into_response()
}
