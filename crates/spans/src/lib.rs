//! Spans of services that speak OpenTelemetry, Zipkin or Jaeger, and the call trees they make.
//!
//! Their users have no journals: they send or export spans. This crate reads them ([`otlp`],
//! [`zipkin`], [`jaeger`], or [`read`] for a file of unknown form) into one model that drops
//! nothing ([`Span`]), refuses single bad spans with a counted reason and keeps the rest
//! ([`Intake`]), and says where each stands in its call tree ([`observe()`]), so that the same trees
//! are built from spans as from journals.
//!
//! Pure: no I/O, no clock. Memory is bounded by the input: a reader takes at most
//! [`INPUT_BYTES_MAX`] bytes and may need some thirty times as much for hostile input.
//!
//! Requirements: E2, D8; bad input as counted partial success.

mod attributes;
mod file;
mod intake;
pub mod jaeger;
mod json;
mod names;
mod observe;
pub mod otlp;
mod packed;
mod pieces;
mod protobuf;
mod span;
mod stored;
mod value;
pub mod zipkin;

pub use attributes::{Attributes, AttributesIter, ValueRef};
pub use file::read;
pub use intake::{INPUT_BYTES_MAX, Intake, PARTS_MAX, Refusal, SpanError, TEXT_BYTES_MAX};
pub use observe::{Observed, observe};
pub use pieces::{Piece, PieceError, PieceSizes, Pieces};
pub use span::{Event, Kind, Resource, Scope, Span, SpanLink, Status, StatusCode};
pub use stored::{Contexts, Damaged, Part, Parts, StoredSpans};
pub use value::Value;
