//! A file of spans whose form nobody names.
//!
//! JSON says by its outermost value what it is. Everything else is tried as OTLP protobuf, which
//! must then parse to its end: protobuf has no mark of its own.

use serde_json::Value as Json;

use crate::intake::{Intake, SpanError};
use crate::{jaeger, json, otlp, zipkin};

/// Reads spans in any of the known forms.
///
/// # Errors
/// See [`SpanError`].
pub fn read(input: &[u8]) -> Result<Intake, SpanError> {
    let values = match json::values(input) {
        Ok(values) => values,
        Err(SpanError::Json(fault)) => {
            // A protobuf batch begins with its first field's key, which JSON reads as a space.
            let batch = (input.first() == Some(&0x0a)).then(|| otlp::from_protobuf(input));
            return match batch {
                Some(Ok(intake)) => Ok(intake),
                _ => Err(SpanError::Json(fault)),
            };
        }
        Err(other) => return Err(other),
    };
    let mut intake = Intake::default();
    if values.is_empty() {
        return Err(SpanError::Unknown);
    }
    for value in values {
        match &value {
            Json::Array(_) => zipkin::batch(&mut intake, &value)?,
            Json::Object(batch) if batch.contains_key("resourceSpans") => {
                otlp::json_batch(&mut intake, &value)?;
            }
            Json::Object(batch) if batch.contains_key("data") => {
                jaeger::batch(&mut intake, &value)?;
            }
            _ => return Err(SpanError::Unknown),
        }
    }
    Ok(intake)
}
