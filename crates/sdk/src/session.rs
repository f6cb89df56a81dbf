//! The request's session as an argument of an axum handler.

use std::ops::Deref;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use crate::Exchange;

/// An axum extractor: the request as its session's and its call tree's part. It dereferences to
/// [`Exchange`].
#[derive(Clone)]
pub struct Session(pub Exchange);

/// There is no [`crate::Layer`] around the router: answered with 500, as it is the program's
/// fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this service lacks its selvedge layer")]
pub struct NoSession;

impl Deref for Session {
    type Target = Exchange;

    fn deref(&self) -> &Exchange {
        &self.0
    }
}

impl IntoResponse for NoSession {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = NoSession;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoSession> {
        parts.extensions.get().cloned().map(Self).ok_or(NoSession)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> Result<Option<Self>, std::convert::Infallible> {
        Ok(parts.extensions.get().cloned().map(Self))
    }
}
