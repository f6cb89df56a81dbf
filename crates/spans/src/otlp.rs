//! OTLP: OpenTelemetry's own protocol, as protobuf and as JSON.
//!
//! A batch is resources, in them scopes, in them spans; a file of the Collector's exporter is many
//! such batches, one a line. Field numbers and names are those of `opentelemetry-proto`, release
//! 1.x; what a later release adds is skipped.

mod json;
mod protobuf;
mod write;

pub use json::from_json;
pub use protobuf::from_protobuf;
pub use write::to_json;

pub(crate) use json::batch as json_batch;
