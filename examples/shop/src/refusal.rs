//! Answers that say no: a status and a sentence.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request gets nothing, as `{"error":{"code","message"}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    /// 400: the request is not what this address takes.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 404: there is no such item.
    pub(crate) fn no_item(id: &str) -> Self {
        let shown: String = id.chars().take(64).collect();
        let message = format!("there is no item {shown:?} in the catalogue");
        Self::new(StatusCode::NOT_FOUND, "unknown_item", message)
    }

    /// 502: a service that was needed did not do its part.
    pub(crate) fn upstream(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "service_failed", message)
    }
}

impl From<selvedge::CallError> for Refusal {
    fn from(error: selvedge::CallError) -> Self {
        Self::upstream(error.to_string())
    }
}

impl From<selvedge::BroadcastError> for Refusal {
    fn from(error: selvedge::BroadcastError) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, "not_broadcast", error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.message } });
        (self.status, Json(body)).into_response()
    }
}
