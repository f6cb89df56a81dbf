//! What the API says when it cannot answer. The one place that maps errors to statuses.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::store::StoreError;

/// An answer that says why there is none: `{"error":{"code","message"}}`.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    /// A parameter has a value that it cannot have.
    pub(crate) fn bad_parameter(name: &str, expected: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "bad_parameter",
            message: format!("parameter `{name}` must be {expected}"),
        }
    }

    /// A parameter that may stand once stands twice.
    pub(crate) fn repeated_parameter(name: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "repeated_parameter",
            message: format!("parameter `{name}` may stand only once"),
        }
    }

    /// No such parameter here.
    pub(crate) fn unknown_parameter(name: &str, known: &[&str]) -> Self {
        let known = match known {
            [] => "this takes none".to_owned(),
            known => format!("known are {}", known.join(", ")),
        };
        let shown: String = name.chars().take(64).collect();
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "unknown_parameter",
            message: format!("unknown parameter `{shown}`; {known}"),
        }
    }

    /// Nothing of that id, or at that path.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: "not_found",
            message: message.into(),
        }
    }

    /// What was sent is not taken; the message says what would be.
    pub(crate) fn refused(status: StatusCode, code: &'static str, message: String) -> Self {
        Self {
            status,
            code,
            message,
        }
    }

    /// The path knows other methods.
    pub(crate) fn method_not_allowed() -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: "method_not_allowed",
            message: "the query API only answers GET".to_owned(),
        }
    }

    /// A key is missing or worth nothing.
    pub(crate) fn unauthorized(message: &str) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            code: "unauthorized",
            message: message.to_owned(),
        }
    }

    /// The key is another's.
    pub(crate) fn forbidden(message: &str) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            code: "forbidden",
            message: message.to_owned(),
        }
    }

    /// Ours.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "query failed");
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "internal",
            message: error.to_string(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal(&error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code, "message": self.message}});
        (self.status, Json(body)).into_response()
    }
}
