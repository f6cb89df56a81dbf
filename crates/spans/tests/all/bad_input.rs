//! One bad span is counted by its reason and costs its neighbours nothing.

use std::sync::Arc;

use selvedge_calltree::TreeBuilder;
use selvedge_identity::{Interaction, Origin};
use selvedge_spans::{
    PARTS_MAX, Refusal, Span, SpanError, TEXT_BYTES_MAX, Value, jaeger, observe, otlp, read, zipkin,
};
use serde_json::{Value as Json, json};

use crate::encode;

const TRACE: &str = "5b8efff798038103d269b633813fc60c";

fn good() -> Json {
    json!({"traceId": TRACE, "spanId": "00000000000000aa", "name": "good",
        "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000"})
}

/// What becomes of a span that differs from a good one, beside a good one.
fn refusal(change: Json) -> Option<Refusal> {
    let mut bad = good();
    for (name, value) in change.as_object().expect("an object") {
        bad[name] = value.clone();
    }
    let batch = json!({"resourceSpans": [{"scopeSpans": [{"spans": [bad, good()]}]}]});
    let intake = otlp::from_json(batch.to_string().as_bytes()).expect("readable");
    assert_eq!(intake.spans.len() as u64 + intake.refused(), 2);
    assert_eq!(&*intake.spans[intake.spans.len() - 1].name, "good");
    intake.refused.keys().next().copied()
}

#[test]
fn bad_spans_are_refused_by_reason_and_the_rest_is_kept() {
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    let exact = "x".repeat(TEXT_BYTES_MAX);
    let text = |text: &str| json!({"attributes": [{"key": "k", "value": {"stringValue": text}}]});
    let many: Vec<Json> = (0..=PARTS_MAX).map(|_| json!({"key": "k"})).collect();
    let mut deep = json!({"stringValue": "x"});
    for _ in 0..20 {
        deep = json!({"arrayValue": {"values": [deep]}});
    }
    for (change, expected) in [
        (json!({}), None),
        (
            json!({"traceId": "00000000000000000000000000000000"}),
            Some(Refusal::ZeroId),
        ),
        (json!({"spanId": "0000000000000000"}), Some(Refusal::ZeroId)),
        (json!({"spanId": ""}), Some(Refusal::ZeroId)),
        (json!({"spanId": "aa"}), Some(Refusal::BadId)),
        (
            json!({"traceId": "not hex, but of the right length"}),
            Some(Refusal::BadId),
        ),
        (json!({"parentSpanId": "0000000000000000"}), None),
        (
            json!({"parentSpanId": "00000000000000AA"}),
            Some(Refusal::SelfParent),
        ),
        (
            json!({"startTimeUnixNano": "-1"}),
            Some(Refusal::TimeOutOfRange),
        ),
        (
            json!({"endTimeUnixNano": "7258118400000000001"}),
            Some(Refusal::TimeOutOfRange),
        ),
        (
            json!({"endTimeUnixNano": "18446744073709551616"}),
            Some(Refusal::TimeOutOfRange),
        ),
        (
            json!({"endTimeUnixNano": 1e300}),
            Some(Refusal::TimeOutOfRange),
        ),
        (
            json!({"endTimeUnixNano": 1}),
            Some(Refusal::NegativeDuration),
        ),
        (json!({"endTimeUnixNano": "soon"}), Some(Refusal::Malformed)),
        (json!({"name": 7}), Some(Refusal::Malformed)),
        (json!({"name": long}), Some(Refusal::OversizedText)),
        (text(&long), Some(Refusal::OversizedText)),
        (text(&exact), None),
        (json!({"attributes": many}), Some(Refusal::TooManyParts)),
        (
            json!({"attributes": [{"key": "k", "value": deep}]}),
            Some(Refusal::Malformed),
        ),
    ] {
        let what = change.to_string().chars().take(80).collect::<String>();
        assert_eq!(refusal(change), expected, "{what}");
    }
}

#[test]
fn an_attribute_of_65536_bytes_is_kept_whole() {
    let origin = Origin::from_random([1; 16]);
    let mut span = Span::new(
        origin,
        Interaction::from_random([2; 8]),
        Arc::default(),
        Arc::default(),
    );
    span.attributes = [("k".into(), Value::Text("y".repeat(65_536).into()))].into();
    let mut longer = span.clone();
    longer.attributes = [("k".into(), Value::Text("y".repeat(65_537).into()))].into();
    let intake = otlp::from_protobuf(&encode::protobuf(&[longer, span.clone()])).expect("readable");
    assert_eq!(intake.spans, [span]);
    assert_eq!(intake.refused[&Refusal::OversizedText], 1);
}

#[test]
fn a_broken_span_in_protobuf_costs_only_itself() {
    let origin = Origin::from_random([1; 16]);
    let span = Span::new(
        origin,
        Interaction::from_random([2; 8]),
        Arc::default(),
        Arc::default(),
    );
    let good = encode::protobuf(std::slice::from_ref(&span));
    let mut broken = Vec::new();
    encode::bytes(&mut broken, 1, origin.as_bytes());
    encode::bytes(&mut broken, 2, span.id.as_bytes());
    // The name is no UTF-8; then the start has the wrong wire type.
    for (field, value) in [(5, &b"\xff\xfe"[..]), (7, &b"text"[..])] {
        let mut one = broken.clone();
        encode::bytes(&mut one, field, value);
        let mut scope = Vec::new();
        encode::bytes(&mut scope, 2, &one);
        let mut resource = Vec::new();
        encode::bytes(&mut resource, 2, &scope);
        let mut batch = good.clone();
        encode::bytes(&mut batch, 1, &resource);
        let intake = otlp::from_protobuf(&batch).expect("readable");
        assert_eq!(intake.spans, std::slice::from_ref(&span));
        assert_eq!(intake.refused[&Refusal::Malformed], 1);
    }
    let cut = &good[..good.len() - 1];
    assert!(matches!(
        otlp::from_protobuf(cut),
        Err(SpanError::Format { .. })
    ));
}

#[test]
fn very_many_empty_events_or_links_are_refused_as_too_many() {
    for field in [11, 13] {
        let mut span = Vec::new();
        encode::bytes(&mut span, 1, &[1; 16]);
        encode::bytes(&mut span, 2, &[2; 8]);
        for _ in 0..=PARTS_MAX {
            encode::bytes(&mut span, field, b"");
        }
        let mut scope = Vec::new();
        encode::bytes(&mut scope, 2, &span);
        let mut resource = Vec::new();
        encode::bytes(&mut resource, 2, &scope);
        let mut batch = Vec::new();
        encode::bytes(&mut batch, 1, &resource);
        let intake = otlp::from_protobuf(&batch).expect("readable");
        assert_eq!(intake.refused[&Refusal::TooManyParts], 1);
    }
}

#[test]
fn a_text_value_that_is_no_utf8_is_kept_as_bytes() {
    let mut value = Vec::new();
    encode::bytes(&mut value, 1, b"\xff");
    let mut pair = Vec::new();
    encode::bytes(&mut pair, 1, b"k");
    encode::bytes(&mut pair, 2, &value);
    let mut span = Vec::new();
    encode::bytes(&mut span, 1, &[1; 16]);
    encode::bytes(&mut span, 2, &[2; 8]);
    encode::fixed64(&mut span, 7, 5);
    encode::bytes(&mut span, 9, &pair);
    let mut scope = Vec::new();
    encode::bytes(&mut scope, 2, &span);
    let mut resource = Vec::new();
    encode::bytes(&mut resource, 2, &scope);
    let mut batch = Vec::new();
    encode::bytes(&mut batch, 1, &resource);
    let intake = otlp::from_protobuf(&batch).expect("readable");
    let bytes = Value::Bytes([0xff].into());
    assert_eq!(intake.spans[0].attributes, [("k".into(), bytes)].into());
}

#[test]
fn a_link_to_nothing_costs_only_itself() {
    let mut span = good();
    span["links"] =
        json!([{"traceId": TRACE, "spanId": ""}, {"traceId": TRACE, "spanId": "00000000000000bb"}]);
    let batch = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]});
    let intake = otlp::from_json(batch.to_string().as_bytes()).expect("readable");
    let span = &intake.spans[0];
    assert_eq!((span.links.len(), span.dropped_links), (1, 1));
    assert!(span.odd.iter().any(|odd| &**odd == "bad_link"));
}

#[test]
fn zipkin_spans_are_refused_by_reason() {
    let spans = json!([
        {"traceId": "1", "id": "2", "timestamp": 5, "duration": 1, "name": "good"},
        {"traceId": "0", "id": "2"},
        {"traceId": "1", "id": ""},
        {"traceId": "1", "id": "12345678901234567"},
        {"traceId": "1", "id": "3", "parentId": "0000000000000003"},
        {"traceId": "1", "id": "4", "timestamp": 5, "duration": -1},
        {"traceId": "1", "id": "5", "timestamp": -5},
        {"traceId": "1", "id": "6", "timestamp": 9_000_000_000_000_000_000_u64},
        7,
    ]);
    let intake = zipkin::from_json(spans.to_string().as_bytes()).expect("readable");
    assert_eq!(intake.spans.len(), 1);
    let refused: Vec<_> = intake.refused.into_iter().collect();
    assert_eq!(
        refused,
        [
            (Refusal::ZeroId, 2),
            (Refusal::BadId, 1),
            (Refusal::SelfParent, 1),
            (Refusal::TimeOutOfRange, 2),
            (Refusal::NegativeDuration, 1),
            (Refusal::Malformed, 1),
        ]
    );
}

#[test]
fn jaeger_tags_become_what_otlp_has_a_place_for() {
    let export = json!({"data": [{"processes": {"p": {"serviceName": "shop", "tags": [
            {"key": "hostname", "type": "string", "value": "h1"}]}},
        "spans": [{"traceID": "ab", "spanID": "cd", "operationName": "op", "processID": "p",
            "references": [{"refType": "CHILD_OF", "traceID": "ab", "spanID": "ef"},
                {"refType": "FOLLOWS_FROM", "traceID": "99", "spanID": "1"}],
            "startTime": 10, "duration": 4, "flags": 1, "warnings": ["odd"],
            "tags": [{"key": "span.kind", "type": "string", "value": "server"},
                {"key": "error", "type": "bool", "value": true},
                {"key": "n", "type": "int64", "value": 7},
                {"key": "f", "type": "float64", "value": 1},
                {"key": "w3c.tracestate", "type": "string", "value": "a=b"}],
            "logs": [{"timestamp": 11, "fields": [{"key": "event", "type": "string", "value": "e"}]}]}]}]});
    let intake = jaeger::from_json(export.to_string().as_bytes()).expect("readable");
    let span = &intake.spans[0];
    assert_eq!(&*span.service, "shop");
    assert_eq!(&*span.host, "h1");
    assert!(span.kind.receives());
    assert_eq!(
        span.parent.map(|id| id.to_string()).as_deref(),
        Some("00000000000000ef")
    );
    assert_eq!(span.links.len(), 1);
    assert_eq!(span.start.map(|start| start.0), Some(10_000));
    assert_eq!(span.duration_ns, Some(4_000));
    assert_eq!(span.trace_state.as_deref(), Some("a=b"));
    assert_eq!(&*span.events[0].name, "e");
    let attributes = span.attributes.to_vec();
    assert_eq!(attributes[2].1, Value::Int(7));
    assert_eq!(attributes[3].1, Value::double(1.0));
    assert_eq!(attributes[5], ("jaeger.warning".into(), "odd".into()));
}

#[test]
fn what_is_no_span_file_is_said_so() {
    assert_eq!(read(b""), Err(SpanError::Unknown));
    assert_eq!(read(b"{}"), Err(SpanError::Unknown));
    assert!(matches!(read(b"\x00\x01"), Err(SpanError::Json(_))));
    assert!(matches!(read(b"[1, 2"), Err(SpanError::Json(_))));
    assert!(matches!(
        read(br#"{"data": 7}"#),
        Err(SpanError::Format { .. })
    ));
    assert!(matches!(
        read(br#"{"resourceSpans": 7}"#),
        Err(SpanError::Format { .. })
    ));
}

/// A million comparisons would not be felt, a thousand million would: this test would then stand
/// out by its time.
#[test]
fn very_many_spans_of_one_id_cost_no_quadratic_work() {
    let count = 30_000;
    let mut spans = Vec::new();
    for n in 0..count {
        let service = format!("s{}", n % 1000);
        let kind = if n % 2 == 0 { "SERVER" } else { "CONSUMER" };
        spans.push(
            json!({"traceId": "1", "id": "2", "kind": kind, "timestamp": n + 1,
            "localEndpoint": {"serviceName": service}}),
        );
        spans.push(
            json!({"traceId": "1", "id": format!("{:x}", n + 3), "parentId": "2",
            "kind": "CLIENT", "timestamp": 1, "localEndpoint": {"serviceName": service}}),
        );
    }
    let input = Json::Array(spans).to_string();
    let intake = zipkin::from_json(input.as_bytes()).expect("readable");
    assert_eq!(intake.spans.len(), 2 * count);
    let observed = observe(&intake.spans);
    let (origin, observations) = observed.requests.into_iter().next().expect("a trace");
    let builder = TreeBuilder::batch(origin, observations);
    assert_eq!(builder.len(), 2 * count);
    assert_eq!(builder.tree().len(), count + 1);
}
