//! Where the spans go.

use async_trait::async_trait;
use selvedge_spans::Span;
use thiserror::Error;

/// Keeps spans.
#[async_trait]
pub trait SpanSink: Send + Sync + 'static {
    /// Takes the spans of one request, and returns once they are durable: the sender forgets them
    /// then. The same spans may come again, because an answer can be lost; whoever keeps them
    /// keeps each once. A call that is given up half-way may have kept them or not.
    ///
    /// # Errors
    /// When they are not durable. The sender is told to come again.
    async fn take(&self, spans: Vec<Span>) -> Result<(), SinkError>;
}

/// Why spans were not kept. Sending them again may help.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("spans cannot be stored: {0}")]
pub struct SinkError(pub String);
