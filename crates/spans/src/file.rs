//! A file of spans whose form nobody names.
//!
//! JSON says by its outermost value what it is. OTLP protobuf has no mark of its own, but its first
//! bytes are never the beginning of such JSON ([`is_protobuf`]).

use serde_json::Value as Json;

use crate::intake::{Intake, SpanError};
use crate::{jaeger, json, otlp, zipkin};

/// Reads spans in any of the known forms.
///
/// # Errors
/// See [`SpanError`].
pub fn read(input: &[u8]) -> Result<Intake, SpanError> {
    if is_protobuf(input) == Some(true) {
        return otlp::from_protobuf(input);
    }
    let values = json::values(input)?;
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

/// Whether what begins so is OTLP protobuf, and not JSON; `None` where more of it must be seen.
///
/// A batch begins with its first field's key and a length; JSON may begin with the same bytes, as
/// the key is a line end and the length may be a bracket. But behind its bracket JSON has a text
/// (in which there are no control characters), another bracket or the end; a batch has the key of
/// a field there, perhaps behind keys and lengths that JSON reads as spaces.
pub(crate) fn is_protobuf(start: &[u8]) -> Option<bool> {
    const KEY: u8 = 0x0a;
    let is_space = |byte: &u8| b" \t\r\n".contains(byte);
    if *start.first()? != KEY {
        return Some(false);
    }
    let mut bytes = start.iter().copied();
    let bracket = bytes.find(|byte| !is_space(byte))?;
    if !b"{[".contains(&bracket) {
        return Some(true);
    }
    let behind = bytes.find(|byte| !is_space(byte))?;
    Some(match (bracket, behind) {
        (b'{', b'"') => bytes.next()? < b' ',
        (b'{', b'}') | (b'[', b'{' | b'[' | b']') => false,
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_protobuf_are_told_apart_by_their_first_bytes() {
        for json in [
            "{\"resourceSpans\":[]}",
            "\n{\"resourceSpans\":[]}",
            "\n \n[\n {\"id\"",
            "\n{}",
            "\n[]",
            "[",
        ] {
            assert_eq!(is_protobuf(json.as_bytes()), Some(false), "{json:?}");
        }
        // A batch of 123 bytes, of 91, and ones whose every length is a space or a quote.
        for batch in [
            &b"\n{\n\x20\n\x1e\n\x0cservice.name"[..],
            b"\n{\n\"\n\x20\n\x0cservice.name",
            b"\n{\x12",
            b"\n[\n\x14\n",
            b"\n \n\x10\n",
            b"\n\x00",
        ] {
            assert_eq!(is_protobuf(batch), Some(true), "{batch:?}");
        }
        for open in ["", "\n", "\n \t", "\n{ ", "\n{\""] {
            assert_eq!(is_protobuf(open.as_bytes()), None, "{open:?}");
        }
    }
}
