//! Spans as OTLP's JSON, which [`super::from_json`] and every other reader of OTLP take.
//!
//! Spans of one resource stand together, and of one scope in it, as far as they lie side by side.
//! Limits: what only Zipkin says has no place in OTLP and is left out (`shared`; a duration
//! without a start), and so is what was odd about a span when it was read.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::span::{Event, Kind, Resource, Scope, Span, SpanLink, StatusCode};
use crate::{Attributes, Value};

/// A batch of these spans.
#[must_use]
pub fn to_json(spans: &[Span]) -> Json {
    let resources = spans.chunk_by(|a, b| same(&a.resource, &b.resource));
    let resources: Vec<Json> = resources.map(resource_spans).collect();
    json!({"resourceSpans": resources})
}

fn same<T: PartialEq>(a: &Arc<T>, b: &Arc<T>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

fn resource_spans(spans: &[Span]) -> Json {
    let Resource {
        attributes: all,
        dropped_attributes,
        schema_url,
    } = &*spans[0].resource;
    let scopes = spans.chunk_by(|a, b| same(&a.scope, &b.scope));
    let mut out = json!({
        "resource": {"attributes": attributes(all), "droppedAttributesCount": dropped_attributes},
        "scopeSpans": scopes.map(scope_spans).collect::<Vec<_>>(),
    });
    if let Some(schema) = schema_url {
        out["schemaUrl"] = json!(&**schema);
    }
    out
}

fn scope_spans(spans: &[Span]) -> Json {
    let Scope {
        name,
        version,
        attributes: all,
        dropped_attributes,
        schema_url,
    } = &*spans[0].scope;
    let mut out = json!({
        "scope": {
            "name": &**name, "version": &**version, "attributes": attributes(all),
            "droppedAttributesCount": dropped_attributes,
        },
        "spans": spans.iter().map(span).collect::<Vec<_>>(),
    });
    if let Some(schema) = schema_url {
        out["schemaUrl"] = json!(&**schema);
    }
    out
}

fn span(span: &Span) -> Json {
    let mut out = json!({
        "traceId": span.origin.to_string(),
        "spanId": span.id.to_string(),
        "name": &*span.name,
        "kind": kind(span.kind),
        "flags": span.flags,
        "attributes": attributes(&span.attributes),
        "droppedAttributesCount": span.dropped_attributes,
        "events": span.events.iter().map(event).collect::<Vec<_>>(),
        "droppedEventsCount": span.dropped_events,
        "links": span.links.iter().map(link).collect::<Vec<_>>(),
        "droppedLinksCount": span.dropped_links,
    });
    if let Some(parent) = span.parent {
        out["parentSpanId"] = json!(parent.to_string());
    }
    if let Some(state) = &span.trace_state {
        out["traceState"] = json!(&**state);
    }
    if let Some(start) = span.start {
        out["startTimeUnixNano"] = json!(start.0.to_string());
        if let Some(duration) = span.duration_ns {
            let end = start.0.saturating_add_unsigned(duration);
            out["endTimeUnixNano"] = json!(end.to_string());
        }
    }
    let code = match span.status.code {
        StatusCode::Unset => 0,
        StatusCode::Ok => 1,
        StatusCode::Error => 2,
    };
    out["status"] = json!({"code": code});
    if let Some(message) = &span.status.message {
        out["status"]["message"] = json!(&**message);
    }
    out
}

fn kind(kind: Kind) -> u8 {
    match kind {
        Kind::Unspecified => 0,
        Kind::Internal => 1,
        Kind::Server => 2,
        Kind::Client => 3,
        Kind::Producer => 4,
        Kind::Consumer => 5,
    }
}

fn event(event: &Event) -> Json {
    json!({
        "timeUnixNano": event.at.0.to_string(),
        "name": &*event.name,
        "attributes": attributes(&event.attributes),
        "droppedAttributesCount": event.dropped_attributes,
    })
}

fn link(link: &SpanLink) -> Json {
    let mut out = json!({
        "traceId": link.origin.to_string(),
        "spanId": link.id.to_string(),
        "attributes": attributes(&link.attributes),
        "droppedAttributesCount": link.dropped_attributes,
        "flags": link.flags,
    });
    if let Some(state) = &link.trace_state {
        out["traceState"] = json!(&**state);
    }
    out
}

fn attributes(all: &Attributes) -> Json {
    let all = all.iter();
    all.map(|(key, value)| pair(key, &value.to_value()))
        .collect()
}

fn pair(key: &str, value: &Value) -> Json {
    json!({"key": key, "value": any(value)})
}

fn any(value: &Value) -> Json {
    match value {
        Value::Empty => json!({}),
        Value::Text(text) => json!({"stringValue": &**text}),
        Value::Bool(value) => json!({"boolValue": value}),
        Value::Int(value) => json!({"intValue": value.to_string()}),
        Value::Double(bits) => json!({"doubleValue": double(f64::from_bits(*bits))}),
        Value::Bytes(bytes) => json!({"bytesValue": base64(bytes)}),
        Value::List(values) => {
            let values: Vec<Json> = values.iter().map(any).collect();
            json!({"arrayValue": {"values": values}})
        }
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| pair(key, value));
            json!({"kvlistValue": {"values": pairs.collect::<Vec<_>>()}})
        }
    }
}

/// Protobuf's JSON writes what is not finite as text.
fn double(value: f64) -> Json {
    match value {
        _ if value.is_finite() => json!(value),
        _ if value.is_nan() => json!("NaN"),
        _ if value > 0.0 => json!("Infinity"),
        _ => json!("-Infinity"),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut bits = 0_u32;
        for n in 0..3 {
            bits = bits << 8 | u32::from(group.get(n).copied().unwrap_or(0));
        }
        for n in 0..4 {
            let digit = bits >> (18 - 6 * n) & 0x3f;
            let char = if n > group.len() {
                '='
            } else {
                DIGITS[digit as usize] as char
            };
            out.push(char);
        }
    }
    out
}
