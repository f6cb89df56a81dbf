//! The propagator with the real SDK, and held to the vectors that all propagators share.

use std::collections::HashMap;

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use opentelemetry_selvedge::SelvedgePropagator;
use serde_json::Value;

type Wire = HashMap<String, String>;

const VECTORS: &str = include_str!("../../../docs/formats/sv-vectors.json");

#[test]
fn a_hop_sends_what_the_vectors_say() {
    let vectors: Value = serde_json::from_str(VECTORS).expect("JSON");
    let hops = vectors["hops"].as_array().expect("a list");
    assert!(hops.len() > 100);
    for hop in hops {
        let size = |name: &str| hop[name].as_u64().expect("a size") as u8;
        let propagator = SelvedgePropagator::new(size("ids"), size("id_bytes"));
        let wire = |side: &str| -> Wire {
            let headers = hop[side].as_object().expect("headers").iter();
            let given = headers.filter_map(|(name, text)| Some((name.clone(), text.as_str()?)));
            given.map(|(name, text)| (name, text.to_owned())).collect()
        };
        let context = propagator.extract_with_context(&Context::new(), &wire("received"));
        let parent = context.span().span_context().clone();
        // What the SDK does: a span of the process takes over the trace state.
        let own = SpanContext::new(
            parent.trace_id(),
            SpanId::from_hex(hop["own"].as_str().expect("an id")).expect("hex"),
            parent.trace_flags(),
            false,
            parent.trace_state().clone(),
        );
        // A context that stands for a local span: remote is what the span context says.
        let mut sent = Wire::new();
        propagator.inject_context(&context.with_remote_span_context(own), &mut sent);
        assert_eq!(sent, wire("sent"), "{hop:#}");
    }
}

/// A process with an SDK of its own handles a request: a SERVER span, one inside, a CLIENT span.
/// Returns what its call sends, and the trace state that its spans export.
fn handle(propagator: &dyn TextMapPropagator, received: &Wire) -> (Wire, Vec<String>) {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let tracer = provider.tracer("test");
    let mut context = propagator.extract_with_context(&Context::new(), received);
    for kind in [SpanKind::Server, SpanKind::Internal, SpanKind::Client] {
        let span = tracer.span_builder("span").with_kind(kind);
        let span = span.start_with_context(&tracer, &context);
        context = context.with_span(span);
    }
    let mut sent = Wire::new();
    propagator.inject_context(&context, &mut sent);
    drop(context);
    let spans = exporter.get_finished_spans().expect("spans");
    let states = spans
        .iter()
        .map(|span| span.span_context.trace_state().header());
    (sent, states.collect())
}

/// The digits of depth and ids, of the default sizes.
fn ids(wire: &Wire) -> String {
    let member = wire["tracestate"].split(',').next().expect("a member");
    let value = member.strip_prefix("sv=14").expect("ours, first");
    value[..value.len() - 4].to_owned()
}

fn parent(wire: &Wire) -> &str {
    wire["traceparent"].split('-').nth(2).expect("a parent-id")
}

#[test]
fn processes_add_their_calls_and_export_what_they_received() {
    let ours = SelvedgePropagator::default();
    let (first, exported) = handle(&ours, &Wire::new());
    assert_eq!(exported, [""; 3]);
    assert!(ids(&first).starts_with('B'), "depth 1: {first:?}");
    let (second, exported) = handle(&ours, &first);
    assert_eq!(exported, [&*first["tracestate"]; 3]);
    assert!(ids(&second).starts_with('C'), "depth 2: {second:?}");
    // Two ids of four bytes, in base64.
    assert_eq!(ids(&second).len(), 1 + 11);
}

#[test]
fn a_hop_that_takes_no_part_is_named_by_the_next() {
    let ours = SelvedgePropagator::default();
    let (first, _) = handle(&ours, &Wire::new());
    let (between, _) = handle(&TraceContextPropagator::new(), &first);
    assert_eq!(between["tracestate"], first["tracestate"]);
    let (third, exported) = handle(&ours, &between);
    let note = format!("svp={},{}", parent(&between), first["tracestate"]);
    assert_eq!(exported, [&*note; 3]);
    assert!(ids(&third).starts_with('D'), "depth 3: {third:?}");
    assert_eq!(ids(&third).len(), 1 + 16, "three ids");
    assert!(!third["tracestate"].contains("svp"));
}

#[test]
fn a_context_passed_through_is_unchanged_and_none_is_not_written() {
    let ours = SelvedgePropagator::default();
    let (first, _) = handle(&ours, &Wire::new());
    let (plain, _) = handle(&TraceContextPropagator::new(), &Wire::new());
    for received in [first, plain] {
        let context = ours.extract_with_context(&Context::new(), &received);
        let mut sent = Wire::new();
        ours.inject_context(&context, &mut sent);
        let mut received = received;
        received.retain(|_, text| !text.is_empty());
        assert_eq!(sent, received);
    }
    let mut sent = Wire::new();
    let bad = Wire::from([("traceparent".to_owned(), "no".to_owned())]);
    ours.inject_context(&ours.extract_with_context(&Context::new(), &bad), &mut sent);
    assert!(sent.is_empty());
    assert_eq!(
        ours.fields().collect::<Vec<_>>(),
        ["traceparent", "tracestate"]
    );
}
