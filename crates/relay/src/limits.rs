//! What a peer may cost: every size and every wait has a bound, and all are configurable.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The most fields that a head can have, whatever is configured: the parser's table has so many
/// places.
pub const FIELDS_MAX: usize = 256;

/// Limits of the inbound side. Sizes in bytes, times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections open at once; one more is answered 503 and closed.
    pub connections_max: usize,
    /// Request line and fields together; more is answered 431.
    pub head_bytes_max: usize,
    /// Fields of a head, at most [`FIELDS_MAX`]; more is answered 431.
    pub head_fields_max: usize,
    /// The request target; more is answered 414.
    pub target_bytes_max: usize,
    /// A request's body; more is answered 413.
    pub body_bytes_max: u64,
    /// From a request's first byte to the end of its head; later is answered 408.
    pub head_timeout_ms: u64,
    /// Between two requests of a connection; then it is closed without a word.
    pub idle_timeout_ms: u64,
    /// Between two parts of a request's body.
    pub body_timeout_ms: u64,
    /// Until a part of an answer is taken by the client.
    pub write_timeout_ms: u64,
    /// HTTP/2: requests in flight on one connection.
    pub streams_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            head_bytes_max: 32 * 1024,
            head_fields_max: 128,
            target_bytes_max: 8 * 1024,
            body_bytes_max: 16 << 30,
            head_timeout_ms: 10_000,
            idle_timeout_ms: 75_000,
            body_timeout_ms: 30_000,
            write_timeout_ms: 30_000,
            streams_max: 128,
        }
    }
}

/// Limits of the side towards an upstream. Sizes in bytes, times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientLimits {
    /// Until a connection is made.
    pub connect_timeout_ms: u64,
    /// From the request's last byte to the end of the answer's head.
    pub answer_timeout_ms: u64,
    /// Between two parts of the answer's body, and until a part of the request is taken.
    pub body_timeout_ms: u64,
    /// Status line and fields of an answer together.
    pub head_bytes_max: usize,
    /// How long an unused connection is kept. Below the keep-alive time of common servers (5 s),
    /// so that they seldom close one under a request.
    pub idle_timeout_ms: u64,
    /// Unused connections kept to one upstream.
    pub idle_max: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 3_000,
            answer_timeout_ms: 60_000,
            body_timeout_ms: 60_000,
            head_bytes_max: 64 * 1024,
            idle_timeout_ms: 4_000,
            idle_max: 1_024,
        }
    }
}

pub(crate) fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
