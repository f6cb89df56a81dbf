//! Why a request is refused as a whole, and what its sender is told. This is the one place that
//! maps faults to the statuses of HTTP and gRPC (OTLP specification 1.x, "Failures").

use http::StatusCode;
use selvedge_spans::SpanError;
use thiserror::Error;

use crate::SinkError;

/// Why nothing of a request was taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// Another path or gRPC method.
    #[error("nothing is received at {0}")]
    Path(String),
    /// Another method than POST.
    #[error("spans are sent by POST")]
    Method,
    /// A script of a web page that is not configured.
    #[error("pages of {0} may not send spans; add it to collector.cors_origins")]
    Origin(String),
    /// A content type that is not read here.
    #[error("content type {given:?} is not read here; send {known}")]
    ContentType {
        /// What was sent.
        given: String,
        /// What could be.
        known: &'static str,
    },
    /// A compression that is not read here.
    #[error("compression {0:?} is not read here; send gzip, zstd, deflate or none")]
    Encoding(String),
    /// More bytes than a request may have.
    #[error("the request is longer than {bytes_max} bytes{what}; send smaller batches")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
        /// Of what, where it is not the request as sent.
        what: &'static str,
    },
    /// Its compression is broken or cut off.
    #[error("the request's {0} is broken or cut off")]
    Compression(&'static str),
    /// Its frame is not gRPC's.
    #[error("not a gRPC request: {0}")]
    Frame(&'static str),
    /// It ended before its announced length.
    #[error("the request ended early")]
    Cut,
    /// Nothing of it could be read.
    #[error("the request is {0}")]
    Spans(#[from] SpanError),
    /// It took too long to arrive.
    #[error("the request took longer than {0} ms to arrive")]
    Slow(u64),
    /// As much is in flight as is allowed.
    #[error("too much is in flight; come again")]
    Busy,
    /// The spans are not durable.
    #[error(transparent)]
    Storage(#[from] SinkError),
    /// A defect of ours.
    #[error("the request could not be handled: {0}")]
    Internal(String),
}

/// gRPC's status codes, those that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}

impl Fault {
    /// Its name in counts.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Path(_) => "path",
            Self::Method => "method",
            Self::Origin(_) => "origin",
            Self::ContentType { .. } => "content_type",
            Self::Encoding(_) => "encoding",
            Self::TooLarge { .. } => "too_large",
            Self::Compression(_) => "compression",
            Self::Frame(_) => "frame",
            Self::Cut => "cut",
            Self::Spans(_) => "malformed",
            Self::Slow(_) => "slow",
            Self::Busy => "busy",
            Self::Storage(_) => "storage",
            Self::Internal(_) => "internal",
        }
    }

    /// The status over HTTP.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Path(_) => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Origin(_) => StatusCode::FORBIDDEN,
            Self::ContentType { .. } | Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Compression(_) | Self::Frame(_) | Self::Cut | Self::Spans(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            // Not 429: not every SDK comes again after that one.
            Self::Busy | Self::Storage(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The status over gRPC.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Path(_) | Self::Method | Self::Encoding(_) => Code::Unimplemented,
            Self::Origin(_) => Code::PermissionDenied,
            Self::ContentType { .. }
            | Self::Compression(_)
            | Self::Frame(_)
            | Self::Cut
            | Self::Spans(_) => Code::InvalidArgument,
            Self::TooLarge { .. } => Code::ResourceExhausted,
            Self::Slow(_) => Code::DeadlineExceeded,
            Self::Busy | Self::Storage(_) => Code::Unavailable,
            Self::Internal(_) => Code::Internal,
        }
    }

    /// Seconds after which the same request may be sent again; `None`: that would not help.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u32> {
        matches!(self, Self::Busy | Self::Storage(_)).then_some(1)
    }
}
