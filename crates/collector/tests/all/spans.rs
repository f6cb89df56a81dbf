//! Spans to send, in every form and compression.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

pub(crate) const TRACE: &str = "5b8efff798038103d269b633813fc60c";

/// A good span as OTLP has it in JSON.
pub(crate) fn span(number: u8) -> Value {
    json!({"traceId": TRACE, "spanId": format!("{number:016x}"), "name": format!("good {number}"),
        "kind": 2, "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000"})
}

/// A batch of spans as OTLP has it in JSON.
pub(crate) fn batch(spans: &[Value]) -> Vec<u8> {
    let batch = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeSpans": [{"spans": spans}],
    }]});
    batch.to_string().into_bytes()
}

/// A batch of spans with these ids and names as OTLP has it in protobuf.
pub(crate) fn protobuf(spans: &[(u64, &str)]) -> Vec<u8> {
    let mut scope = Vec::new();
    for (id, name) in spans {
        let mut span = Vec::new();
        field(&mut span, 1, &[7; 16]);
        field(&mut span, 2, &id.to_be_bytes());
        field(&mut span, 5, name.as_bytes());
        field(&mut scope, 2, &span);
    }
    let (mut resource, mut batch) = (Vec::new(), Vec::new());
    field(&mut resource, 2, &scope);
    field(&mut batch, 1, &resource);
    batch
}

/// A list of spans with these ids and names as Zipkin has it in protobuf.
pub(crate) fn zipkin_protobuf(spans: &[(u64, &str)]) -> Vec<u8> {
    let mut list = Vec::new();
    for (id, name) in spans {
        let mut span = Vec::new();
        field(&mut span, 1, &[7; 16]);
        field(&mut span, 3, &id.to_be_bytes());
        field(&mut span, 5, name.as_bytes());
        field(&mut list, 1, &span);
    }
    list
}

/// A field of bytes.
pub(crate) fn field(to: &mut Vec<u8>, number: u8, value: &[u8]) {
    to.push(number << 3 | 2);
    let mut length = value.len();
    while length > 0x7f {
        to.push(length as u8 | 0x80);
        length >>= 7;
    }
    to.push(length as u8);
    to.extend_from_slice(value);
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

pub(crate) fn compressed(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" => gzip(bytes),
        "zstd" => zstd::encode_all(bytes, 1).expect("in memory"),
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(bytes).expect("in memory");
            encoder.finish().expect("in memory")
        }
        _ => bytes.to_vec(),
    }
}
