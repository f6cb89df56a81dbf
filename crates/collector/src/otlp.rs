//! The messages that answer OTLP: what was taken only in part, and why nothing was.
//!
//! `ExportTraceServiceResponse { partial_success = 1: { rejected_spans = 1, error_message = 2 } }`
//! and `google.rpc.Status { code = 1, message = 2, details = 3: Any }`: few enough to be written
//! by hand.

use serde_json::json;

use crate::Fault;
use crate::pipeline::Taken;

/// The answer to a request that was taken, if only in part, as protobuf.
pub(crate) fn response_protobuf(taken: &Taken) -> Vec<u8> {
    let mut response = Vec::new();
    if let Some((rejected, message)) = taken.complaint() {
        let mut partial = Vec::new();
        number(&mut partial, 1, rejected);
        bytes(&mut partial, 2, message.as_bytes());
        bytes(&mut response, 1, &partial);
    }
    response
}

/// The same as JSON.
pub(crate) fn response_json(taken: &Taken) -> Vec<u8> {
    let response = match taken.complaint() {
        None => json!({}),
        // 64-bit numbers are text in protobuf's JSON.
        Some((rejected, message)) => json!({"partialSuccess": {
            "rejectedSpans": rejected.to_string(), "errorMessage": message,
        }}),
    };
    response.to_string().into_bytes()
}

/// A `Status` as protobuf; where the sender may come again, with a `RetryInfo` that says when.
pub(crate) fn status_protobuf(fault: &Fault) -> Vec<u8> {
    let mut status = Vec::new();
    number(&mut status, 1, fault.code() as u64);
    bytes(&mut status, 2, fault.to_string().as_bytes());
    if let Some(seconds) = fault.retry_after_s() {
        let (mut delay, mut info, mut any) = (Vec::new(), Vec::new(), Vec::new());
        number(&mut delay, 1, u64::from(seconds));
        bytes(&mut info, 1, &delay);
        bytes(&mut any, 1, b"type.googleapis.com/google.rpc.RetryInfo");
        bytes(&mut any, 2, &info);
        bytes(&mut status, 3, &any);
    }
    status
}

/// A `Status` as JSON.
pub(crate) fn status_json(fault: &Fault) -> Vec<u8> {
    let status = json!({"code": fault.code() as u64, "message": fault.to_string()});
    status.to_string().into_bytes()
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn number(to: &mut Vec<u8>, field: u64, value: u64) {
    varint(to, field << 3);
    varint(to, value);
}

fn bytes(to: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(to, field << 3 | 2);
    varint(to, value.len() as u64);
    to.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use selvedge_spans::Refusal;

    use super::*;

    #[test]
    fn what_was_refused_is_said_by_reason() {
        assert_eq!(response_protobuf(&Taken::default()), b"");
        assert_eq!(response_json(&Taken::default()), b"{}");
        let taken = Taken {
            spans: 1,
            refused: [(Refusal::ZeroId, 300)].into(),
        };
        let message = b"spans refused: zero_id 300";
        let mut expected = vec![0x0a, 31, 0x08, 0xac, 0x02, 0x12, 26];
        expected.extend_from_slice(message);
        assert_eq!(response_protobuf(&taken), expected);
        assert_eq!(
            response_json(&taken),
            br#"{"partialSuccess":{"errorMessage":"spans refused: zero_id 300","rejectedSpans":"300"}}"#
        );
    }

    #[test]
    fn a_status_says_when_to_come_again() {
        let message = Fault::Busy.to_string();
        let mut expected = vec![0x08, 14, 0x12, message.len() as u8];
        expected.extend_from_slice(message.as_bytes());
        expected.extend_from_slice(b"\x1a\x30\x0a\x28type.googleapis.com/google.rpc.RetryInfo");
        expected.extend_from_slice(b"\x12\x04\x0a\x02\x08\x01");
        assert_eq!(status_protobuf(&Fault::Busy), expected);
    }
}
