//! Requests to one upstream over kept-alive HTTP/1 connections.
//!
//! A server may close an unused connection at the very moment we send on it. Then the request
//! goes out once more on a fresh connection, if that can do no harm: no byte of an answer came,
//! none of the body was consumed, and the method is safe or nothing was sent. Anything more than
//! that is the caller's decision ([`SendError`] tells what is known).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use thiserror::Error;

use crate::Refusal;
use crate::body::{Body, BodyError};
use crate::head::{RequestHead, Response};
use crate::limits::ClientLimits;
use crate::pool::Pool;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// No connection was made; nothing was sent.
    #[error("cannot connect to {address}: {kind}")]
    Connect {
        /// Where to.
        address: String,
        /// Why not.
        kind: io::ErrorKind,
    },
    /// The connection closed, or broke, before a byte of an answer.
    #[error("connection closed before the answer: {kind}")]
    Closed {
        /// How.
        kind: io::ErrorKind,
        /// Whether the upstream may have got any of the request.
        sent: bool,
    },
    /// It broke within the answer's head.
    #[error("connection broke within the answer's head: {0}")]
    Broke(io::ErrorKind),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The answer breaks HTTP.
    #[error("malformed answer: {0}")]
    Malformed(Refusal),
    /// The request's own body failed: the client's fault, not the upstream's.
    #[error("request body: {0}")]
    RequestBody(BodyError),
}

impl SendError {
    /// Whether the upstream certainly did not get the request.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Closed { sent: false, .. }
        )
    }

    /// Whether no byte of an answer came, so that asking again elsewhere is possible for a
    /// request that may be repeated.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Closed { .. } | Self::Timeout
        )
    }

    /// Whether the client is at fault, not the upstream.
    #[must_use]
    pub fn is_clients(&self) -> bool {
        matches!(self, Self::RequestBody(_))
    }
}

/// The connections to one upstream. Cloning is cheap and shares them.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Arc<Pool>,
}
impl Client {
    /// Connections to `address` (`host:port`); none is made yet.
    #[must_use]
    pub fn new(address: impl Into<String>, limits: ClientLimits) -> Self {
        Self {
            pool: Arc::new(Pool::new(address.into(), limits)),
        }
    }

    /// `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.pool.address
    }

    /// How many connections were made so far.
    #[must_use]
    pub fn connects(&self) -> usize {
        self.pool.connects.load(Relaxed)
    }

    /// Closes the connections that are not in use.
    pub fn close_idle(&self) {
        self.pool.close_idle();
    }

    /// Sends a request and waits for its answer's head; the answer's body is read from the
    /// connection as it is asked for. Interim answers (1xx) are skipped. Trailers are dropped.
    ///
    /// After an error `body` tells by [`Body::is_untouched`] whether it can be sent elsewhere; a
    /// body that lies in memory always can.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, head: &RequestHead, body: &mut Body) -> Result<Response, SendError> {
        // A request that must not be repeated only takes a connection that was in use a moment
        // ago, which no server closes for being unused.
        if let Some(connection) = self.pool.take(head.is_safe()) {
            match self.pool.exchange(connection, head, body).await {
                // Its idle time was up; its fellows' may be too.
                Err(SendError::Closed { sent, .. })
                    if (head.is_safe() || !sent) && body.is_untouched() =>
                {
                    self.close_idle();
                }
                result => return result,
            }
        }
        let connection = self.pool.connect().await?;
        self.pool.exchange(connection, head, body).await
    }
}
