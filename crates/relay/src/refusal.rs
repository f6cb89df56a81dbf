//! Why a request is answered by the relay itself and its connection closed.

use thiserror::Error;

/// A request that is not passed on. The connection is closed after it: where one request ended
/// can no longer be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Refusal {
    /// The answer's status.
    pub status: u16,
    /// What was wrong, in a few words; fixed, so it can label a counter.
    pub reason: &'static str,
}

impl Refusal {
    pub(crate) const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }

    pub(crate) const fn bad(reason: &'static str) -> Self {
        Self::new(400, reason)
    }
}

/// The standard phrase of a status.
#[must_use]
pub fn phrase(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("")
}
