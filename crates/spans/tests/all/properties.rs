//! Whatever comes, readers do not panic; and whatever a span says is read as it was written.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use selvedge_entry::{Text, Timestamp};
use selvedge_identity::{Interaction, Origin};
use selvedge_spans::{
    Attributes, Event, Kind, Resource, Scope, Span, SpanLink, Status, StatusCode, Value, jaeger,
    observe, otlp, read, zipkin,
};

use crate::encode;

fn text() -> impl Strategy<Value = Text> {
    "[a-z\u{e9}\u{0}]{0,6}".prop_map(Text::from)
}

fn some_text() -> impl Strategy<Value = Option<Text>> {
    proptest::option::of("[a-z=]{1,6}".prop_map(Text::from))
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Empty),
        text().prop_map(Value::Text),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>()
            .prop_filter("a number", |n| !n.is_nan())
            .prop_map(Value::double),
        Just(Value::double(f64::NEG_INFINITY)),
        vec(any::<u8>(), 0..6).prop_map(|bytes| Value::Bytes(bytes.into())),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::List),
            vec((text(), inner), 0..3).prop_map(Value::Map),
        ]
    })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    vec((text(), value()), 0..3).prop_map(Attributes::from)
}

fn origin() -> impl Strategy<Value = Origin> {
    (1..4_u8).prop_map(|n| Origin::from_random([n; 16]))
}

fn id() -> impl Strategy<Value = Interaction> {
    (1..30_u8).prop_map(|n| Interaction::from_random([0, 0, 0, 0, 0, 0, 0, n]))
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Unspecified),
        Just(Kind::Internal),
        Just(Kind::Server),
        Just(Kind::Client),
        Just(Kind::Producer),
        Just(Kind::Consumer),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    (0..1_i64 << 60, text(), attributes(), 0..9_u32).prop_map(
        |(at, name, attributes, dropped_attributes)| Event {
            at: Timestamp(at),
            name,
            attributes,
            dropped_attributes,
        },
    )
}

fn link() -> impl Strategy<Value = SpanLink> {
    (origin(), id(), some_text(), attributes(), any::<u32>()).prop_map(
        |(origin, id, trace_state, attributes, flags)| SpanLink {
            origin,
            id,
            trace_state,
            attributes,
            dropped_attributes: 2,
            flags,
        },
    )
}

fn resource() -> impl Strategy<Value = (Resource, Scope)> {
    let service = prop_oneof![Just(""), Just("a"), Just("b"), Just("c")];
    (service, attributes(), text(), some_text()).prop_map(|(service, more, name, url)| {
        let mut attributes = Attributes::from([("service.name".into(), service.into())]);
        attributes.append(&more);
        let resource = Resource {
            attributes,
            dropped_attributes: 1,
            schema_url: url.clone(),
        };
        let scope = Scope {
            name: name.clone(),
            version: name,
            attributes: more,
            dropped_attributes: 3,
            schema_url: url,
        };
        (resource, scope)
    })
}

pub(crate) fn span() -> impl Strategy<Value = Span> {
    let status = prop_oneof![
        Just(StatusCode::Unset),
        Just(StatusCode::Ok),
        Just(StatusCode::Error)
    ];
    let who = (
        origin(),
        id(),
        proptest::option::of(id()),
        kind(),
        resource(),
    );
    let when = proptest::option::of((1..1_i64 << 60, proptest::option::of(0..1_u64 << 60)));
    let what = (
        text(),
        some_text(),
        attributes(),
        status,
        some_text(),
        any::<u32>(),
    );
    (who, when, what, vec(event(), 0..3), vec(link(), 0..3)).prop_map(
        |((origin, id, parent, kind, (resource, scope)), when, what, events, links)| {
            let mut span = Span::new(origin, id, Arc::new(resource), Arc::new(scope));
            span.parent = parent.filter(|parent| *parent != id);
            span.kind = kind;
            span.start = when.map(|(start, _)| Timestamp(start));
            span.duration_ns = when.and_then(|(_, duration)| duration);
            let (name, trace_state, attributes, code, message, flags) = what;
            span.name = name;
            span.trace_state = trace_state;
            span.attributes = attributes;
            span.status = Status { code, message };
            span.flags = flags;
            span.dropped_attributes = flags / 2;
            span.dropped_events = flags / 3;
            span.dropped_links = flags / 4;
            span.events = events;
            span.links = links;
            span
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_a_span_says_survives_protobuf_and_json(spans in vec(span(), 0..4)) {
        let protobuf = otlp::from_protobuf(&encode::protobuf(&spans)).expect("readable");
        prop_assert_eq!(&protobuf.spans, &spans);
        prop_assert_eq!(protobuf.refused(), 0);
        let json = otlp::from_json(&encode::json(&spans)).expect("readable");
        prop_assert_eq!(&json.spans, &spans);
        prop_assert_eq!(read(&encode::json(&spans)).expect("known"), json);
        let written = otlp::to_json(&spans).to_string();
        let written = otlp::from_json(written.as_bytes()).expect("readable");
        prop_assert_eq!(written.spans, spans);
    }

    #[test]
    fn a_damaged_batch_is_an_error_or_counted_but_no_panic(
        spans in vec(span(), 1..3), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = encode::protobuf(&spans);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(intake) = otlp::from_protobuf(&bytes) {
            let _ = observe(&intake.spans);
        }
        let _ = otlp::from_protobuf(&bytes[..at]);
        let mut bytes = encode::json(&spans);
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = read(&bytes);
    }

    #[test]
    fn any_bytes_and_any_json_are_met_without_panic(
        bytes in vec(any::<u8>(), 0..64),
        json in r#"(\[|\{|"traceId":"[0-9a-f]{16}",|"id":"1",|"parentId":"[01]",|"timestamp":-?[0-9]{1,25},|"tags":\{"a":"b"\},|"kind":"CLIENT"|"data":|\]|\}|,){0,24}"#,
    ) {
        for input in [&bytes[..], json.as_bytes()] {
            let _ = read(input);
            let _ = otlp::from_protobuf(input);
            let _ = zipkin::from_json(input);
            let _ = jaeger::from_json(input);
        }
    }

    #[test]
    fn order_and_repeats_change_nothing(
        spans in vec(span(), 1..40), seed in any::<u64>(),
    ) {
        // One trace, few ids: twins, cycles, shared ids and orphans come by themselves.
        let origin = Origin::from_random([7; 16]);
        let mut spans: Vec<Span> = spans.into_iter().map(|span| Span { origin, ..span }).collect();
        let first = observe(&spans);
        let repeated: Vec<Span> = spans.iter().step_by(2).cloned().collect();
        spans.extend(repeated.iter().cloned());
        let mut state = seed | 1;
        for at in (1..spans.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            spans.swap(at, (state >> 33) as usize % (at + 1));
        }
        let second = observe(&spans);
        prop_assert_eq!(&first.requests, &second.requests);
        prop_assert_eq!(second.repeats, first.repeats + repeated.len() as u64);
        prop_assert_eq!((first.conflicts, first.cycles), (second.conflicts, second.cycles));
        // Every span is in the tree: nothing is refused for its depth or lost as a repeat.
        let mut builder = selvedge_calltree::TreeBuilder::new(origin);
        let observations = first.requests[&origin].clone();
        let count = observations.len();
        builder.extend(observations);
        prop_assert_eq!((builder.len(), builder.refused()), (count, 0));
    }
}
