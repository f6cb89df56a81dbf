//! Request bodies in JSON, refused with a sentence where they are not.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use crate::refusal::Refusal;

/// The longest body taken, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 16 * 1024;

/// A body read as JSON, whatever its content type says: browsers and curl differ there, and the
/// address takes nothing else.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let body = Bytes::from_request(request, state).await.map_err(unread)?;
        match serde_json::from_slice(&body) {
            Ok(value) => Ok(Self(value)),
            Err(error) => Err(Refusal::bad(format!(
                "the body is not the JSON that is expected here: {error}"
            ))),
        }
    }
}

fn unread(rejection: BytesRejection) -> Refusal {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_long",
            format!("the body is longer than {BODY_BYTES_MAX} bytes"),
        ),
        _ => Refusal::bad("the body broke off"),
    }
}
