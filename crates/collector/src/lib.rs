//! The collector: receives spans as users of OpenTelemetry and Zipkin send them.
//!
//! Three listeners, because these are the addresses that SDKs are set to: OTLP over gRPC, OTLP
//! over HTTP, Zipkin v2 over HTTP. All do the same: take a request within its limits, undo its
//! compression, read its spans, hand them to a [`SpanSink`], and answer once they are durable
//! there. Single bad spans are refused and counted, and cost their neighbours nothing; a request
//! that cannot be taken is refused with the status that its sender understands.
//!
//! What is in flight is bounded in requests and in bytes; over the bound senders are told to come
//! back ("busy"), which every SDK knows, instead of memory growing.
//!
//! Limits: no TLS and no authentication; it listens on loopback unless told otherwise. Traces
//! only: metrics and logs are answered as unknown.
//!
//! Requirement: E2.

mod collector;
mod counts;
mod decode;
mod fault;
mod flight;
mod grpc;
mod listener;
mod options;
mod otlp;
mod pipeline;
mod sink;
mod traces;
mod web;
mod zipkin;

pub use collector::{Collector, CollectorError};
pub use counts::{Counts, Protocol};
pub use decode::{Encoding, Form, decode, decompress};
pub use fault::Fault;
pub use options::{CollectorOptions, Limits, Listen};
pub use sink::{SinkError, SpanSink};
