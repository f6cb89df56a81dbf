//! Writes spans as OTLP, in protobuf and in JSON: the readers' counterpart, for tests only.

use selvedge_spans::{Attributes, Event, Kind, Span, SpanLink, StatusCode, Value};
use serde_json::{Map, Value as Json, json};

/// A batch with a resource and a scope for each span.
pub(crate) fn protobuf(spans: &[Span]) -> Vec<u8> {
    let mut out = Vec::new();
    for span in spans {
        message(&mut out, 1, |out| {
            // Behind its scopes, to show that the order of fields does not matter.
            message(out, 2, |out| scope_spans(out, span));
            message(out, 1, |out| {
                attributes(out, 1, &span.resource.attributes);
                number(out, 2, u64::from(span.resource.dropped_attributes));
            });
            text(out, 3, span.resource.schema_url.as_deref().unwrap_or(""));
        });
    }
    out
}

fn scope_spans(out: &mut Vec<u8>, span: &Span) {
    message(out, 2, |out| one(out, span));
    message(out, 1, |out| {
        text(out, 1, &span.scope.name);
        text(out, 2, &span.scope.version);
        attributes(out, 3, &span.scope.attributes);
        number(out, 4, u64::from(span.scope.dropped_attributes));
    });
    text(out, 3, span.scope.schema_url.as_deref().unwrap_or(""));
    // A field of a later release.
    text(out, 900, "unknown");
}

fn one(out: &mut Vec<u8>, span: &Span) {
    bytes(out, 1, span.origin.as_bytes());
    bytes(out, 2, span.id.as_bytes());
    text(out, 3, span.trace_state.as_deref().unwrap_or(""));
    if let Some(parent) = span.parent {
        bytes(out, 4, parent.as_bytes());
    }
    text(out, 5, &span.name);
    number(out, 6, kind(span.kind));
    let (start, end) = times(span);
    fixed64(out, 7, start);
    fixed64(out, 8, end);
    attributes(out, 9, &span.attributes);
    number(out, 10, u64::from(span.dropped_attributes));
    for event in &span.events {
        message(out, 11, |out| {
            fixed64(out, 1, event.at.0 as u64);
            text(out, 2, &event.name);
            attributes(out, 3, &event.attributes);
            number(out, 4, u64::from(event.dropped_attributes));
        });
    }
    number(out, 12, u64::from(span.dropped_events));
    for link in &span.links {
        message(out, 13, |out| {
            bytes(out, 1, link.origin.as_bytes());
            bytes(out, 2, link.id.as_bytes());
            text(out, 3, link.trace_state.as_deref().unwrap_or(""));
            attributes(out, 4, &link.attributes);
            number(out, 5, u64::from(link.dropped_attributes));
            fixed32(out, 6, link.flags);
        });
    }
    number(out, 14, u64::from(span.dropped_links));
    message(out, 15, |out| {
        text(out, 2, span.status.message.as_deref().unwrap_or(""));
        number(out, 3, code(span.status.code));
    });
    fixed32(out, 16, span.flags);
}

fn attributes(out: &mut Vec<u8>, field: u32, all: &Attributes) {
    for (key, value) in all {
        message(out, field, |out| pair(out, key, &value.to_value()));
    }
}

fn pair(out: &mut Vec<u8>, key: &str, value: &Value) {
    text(out, 1, key);
    message(out, 2, |out| any(out, value));
}

fn any(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Empty => {}
        Value::Text(value) => bytes(out, 1, value.as_bytes()),
        Value::Bool(value) => {
            varint(out, 2 << 3);
            varint(out, u64::from(*value));
        }
        Value::Int(value) => {
            varint(out, 3 << 3);
            varint(out, *value as u64);
        }
        Value::Double(bits) => fixed64(out, 4, *bits),
        Value::List(values) => message(out, 5, |out| {
            for value in values {
                message(out, 1, |out| any(out, value));
            }
        }),
        Value::Map(values) => message(out, 6, |out| {
            for (key, value) in values {
                message(out, 1, |out| pair(out, key, value));
            }
        }),
        Value::Bytes(value) => bytes(out, 7, value),
    }
}

pub(crate) fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    write(&mut inner);
    bytes(out, field, &inner);
}

pub(crate) fn text(out: &mut Vec<u8>, field: u32, text: &str) {
    if !text.is_empty() {
        bytes(out, field, text.as_bytes());
    }
}

pub(crate) fn bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    varint(out, u64::from(field << 3 | 2));
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        varint(out, u64::from(field << 3));
        varint(out, value);
    }
}

pub(crate) fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, u64::from(field << 3 | 1));
    out.extend_from_slice(&value.to_le_bytes());
}

fn fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    varint(out, u64::from(field << 3 | 5));
    out.extend_from_slice(&value.to_le_bytes());
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn kind(kind: Kind) -> u64 {
    match kind {
        Kind::Unspecified => 0,
        Kind::Internal => 1,
        Kind::Server => 2,
        Kind::Client => 3,
        Kind::Producer => 4,
        Kind::Consumer => 5,
    }
}

fn code(code: StatusCode) -> u64 {
    match code {
        StatusCode::Unset => 0,
        StatusCode::Ok => 1,
        StatusCode::Error => 2,
    }
}

/// Start and end; 0 where they are not known.
fn times(span: &Span) -> (u64, u64) {
    let start = span.start.map_or(0, |start| start.0 as u64);
    (
        start,
        span.duration_ns.map_or(0, |duration| start + duration),
    )
}

/// The same as JSON.
pub(crate) fn json(spans: &[Span]) -> Vec<u8> {
    let all: Vec<Json> = spans.iter().map(resource_spans_json).collect();
    json!({ "resourceSpans": all }).to_string().into_bytes()
}

fn resource_spans_json(span: &Span) -> Json {
    let (start, end) = times(span);
    json!({
        "schemaUrl": span.resource.schema_url.as_deref(),
        "resource": {
            "attributes": attributes_json(&span.resource.attributes.to_vec()),
            "droppedAttributesCount": span.resource.dropped_attributes,
        },
        "scopeSpans": [{
            "schemaUrl": span.scope.schema_url.as_deref(),
            "scope": {
                "name": &*span.scope.name,
                "version": &*span.scope.version,
                "attributes": attributes_json(&span.scope.attributes.to_vec()),
                "droppedAttributesCount": span.scope.dropped_attributes,
            },
            "spans": [{
                "traceId": span.origin.to_string().to_uppercase(),
                "spanId": span.id.to_string(),
                "parentSpanId": span.parent.map_or(String::new(), |id| id.to_string()),
                "traceState": span.trace_state.as_deref(),
                "flags": span.flags,
                "name": &*span.name,
                "kind": kind(span.kind),
                "startTimeUnixNano": start.to_string(),
                "endTimeUnixNano": end,
                "attributes": attributes_json(&span.attributes.to_vec()),
                "droppedAttributesCount": span.dropped_attributes,
                "events": span.events.iter().map(event_json).collect::<Vec<_>>(),
                "droppedEventsCount": span.dropped_events,
                "links": span.links.iter().map(link_json).collect::<Vec<_>>(),
                "droppedLinksCount": span.dropped_links,
                "status": {"code": code(span.status.code), "message": span.status.message.as_deref()},
            }],
        }],
    })
}

fn event_json(event: &Event) -> Json {
    json!({
        "timeUnixNano": event.at.0.to_string(),
        "name": &*event.name,
        "attributes": attributes_json(&event.attributes.to_vec()),
        "droppedAttributesCount": event.dropped_attributes,
    })
}

fn link_json(link: &SpanLink) -> Json {
    json!({
        "traceId": link.origin.to_string(),
        "spanId": link.id.to_string(),
        "traceState": link.trace_state.as_deref(),
        "attributes": attributes_json(&link.attributes.to_vec()),
        "droppedAttributesCount": link.dropped_attributes,
        "flags": link.flags,
    })
}

fn attributes_json(all: &[(selvedge_entry::Text, Value)]) -> Vec<Json> {
    all.iter()
        .map(|(key, value)| json!({"key": &**key, "value": any_json(value)}))
        .collect()
}

fn any_json(value: &Value) -> Json {
    let (name, value) = match value {
        Value::Empty => return Json::Object(Map::new()),
        Value::Text(value) => ("stringValue", json!(&**value)),
        Value::Bool(value) => ("boolValue", json!(value)),
        Value::Int(value) => ("intValue", json!(value.to_string())),
        Value::Double(bits) => {
            let number = f64::from_bits(*bits);
            let text = match () {
                () if number.is_nan() => "NaN",
                () if number == f64::INFINITY => "Infinity",
                () if number == f64::NEG_INFINITY => "-Infinity",
                () => "",
            };
            let value = if text.is_empty() {
                json!(number)
            } else {
                json!(text)
            };
            ("doubleValue", value)
        }
        Value::Bytes(value) => ("bytesValue", json!(base64(value))),
        Value::List(values) => {
            let values: Vec<Json> = values.iter().map(any_json).collect();
            ("arrayValue", json!({ "values": values }))
        }
        Value::Map(values) => ("kvlistValue", json!({"values": attributes_json(values)})),
    };
    json!({ name: value })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit) & 63) as usize;
            out.push(if digit <= group.len() {
                DIGITS[value] as char
            } else {
                '='
            });
        }
    }
    out
}
