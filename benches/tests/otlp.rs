//! What we read of OTLP protobuf against what `prost` reads of the same bytes by
//! `opentelemetry-proto`'s definitions: every field of generated batches, nested values too.
//!
//! Here and not beside the reader, because only this crate depends on that peer.

use std::hash::{BuildHasher, RandomState};

use fastrand::Rng;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Proto, Status};
use prost::Message;
use selvedge_spans::{Attributes, Kind, Span, StatusCode, Value, otlp};

#[test]
fn every_field_that_prost_reads_is_read_alike() {
    let state = RandomState::new();
    let mut spans = 0;
    for seed in (0..100).chain((0..100).map(|at| state.hash_one(at))) {
        let bytes = batch(&mut Random(Rng::with_seed(seed))).encode_to_vec();
        let theirs = ExportTraceServiceRequest::decode(&*bytes).expect("as written");
        let ours = otlp::from_protobuf(&bytes).expect("a batch");
        assert_eq!(ours.refused(), 0, "seed {seed}: {:?}", ours.refused);
        let mut read = ours.spans.iter();
        for of_resource in &theirs.resource_spans {
            for of_scope in &of_resource.scope_spans {
                for proto in &of_scope.spans {
                    let span = read.next().expect("as many");
                    same_context(span, of_resource, of_scope);
                    same(span, proto);
                    spans += 1;
                }
            }
        }
        assert!(read.next().is_none(), "seed {seed}: more than there are");
    }
    assert!(spans > 1000, "{spans}");
}

fn same_context(span: &Span, of_resource: &ResourceSpans, of_scope: &ScopeSpans) {
    let resource = of_resource.resource.clone().unwrap_or_default();
    let scope = of_scope.scope.clone().unwrap_or_default();
    assert_eq!(span.resource.attributes, attributes(&resource.attributes));
    assert_eq!(
        span.resource.dropped_attributes,
        resource.dropped_attributes_count
    );
    assert_eq!(text(&span.resource.schema_url), of_resource.schema_url);
    assert_eq!(
        (&*span.scope.name, &*span.scope.version),
        (&*scope.name, &*scope.version)
    );
    assert_eq!(span.scope.attributes, attributes(&scope.attributes));
    assert_eq!(
        span.scope.dropped_attributes,
        scope.dropped_attributes_count
    );
    assert_eq!(text(&span.scope.schema_url), of_scope.schema_url);
}

fn same(span: &Span, proto: &Proto) {
    let start = span.start.map_or(0, |start| start.0 as u64);
    let end = span.duration_ns.map_or(0, |duration| start + duration);
    let kind = match span.kind {
        Kind::Unspecified => 0,
        Kind::Internal => 1,
        Kind::Server => 2,
        Kind::Client => 3,
        Kind::Producer => 4,
        Kind::Consumer => 5,
    };
    assert_eq!(span.origin.as_bytes()[..], proto.trace_id);
    assert_eq!(span.id.as_bytes()[..], proto.span_id);
    let parent = span
        .parent
        .map_or(Vec::new(), |parent| parent.as_bytes().to_vec());
    assert_eq!(parent, proto.parent_span_id);
    assert_eq!(text(&span.trace_state), proto.trace_state);
    assert_eq!((&*span.name, kind), (&*proto.name, proto.kind));
    assert_eq!(
        (start, end),
        (proto.start_time_unix_nano, proto.end_time_unix_nano)
    );
    assert_eq!(span.attributes, attributes(&proto.attributes));
    let dropped = [
        span.dropped_attributes,
        span.dropped_events,
        span.dropped_links,
    ];
    let theirs = [
        proto.dropped_attributes_count,
        proto.dropped_events_count,
        proto.dropped_links_count,
    ];
    assert_eq!(dropped, theirs);
    assert_eq!(span.flags, proto.flags);
    let status = proto.status.clone().unwrap_or_default();
    let code = match span.status.code {
        StatusCode::Unset => 0,
        StatusCode::Ok => 1,
        StatusCode::Error => 2,
    };
    assert_eq!(
        (text(&span.status.message), code),
        (status.message, status.code)
    );
    assert_eq!(span.events.len(), proto.events.len());
    for (event, proto) in span.events.iter().zip(&proto.events) {
        assert_eq!(
            (event.at.0 as u64, &*event.name),
            (proto.time_unix_nano, &*proto.name)
        );
        assert_eq!(event.attributes, attributes(&proto.attributes));
        assert_eq!(event.dropped_attributes, proto.dropped_attributes_count);
    }
    assert_eq!(span.links.len(), proto.links.len());
    for (link, proto) in span.links.iter().zip(&proto.links) {
        assert_eq!(link.origin.as_bytes()[..], proto.trace_id);
        assert_eq!(link.id.as_bytes()[..], proto.span_id);
        assert_eq!(text(&link.trace_state), proto.trace_state);
        assert_eq!(link.attributes, attributes(&proto.attributes));
        assert_eq!(
            (link.dropped_attributes, link.flags),
            (proto.dropped_attributes_count, proto.flags)
        );
    }
}

fn text(given: &Option<selvedge_entry::Text>) -> String {
    given.as_deref().unwrap_or("").to_owned()
}

fn attributes(pairs: &[KeyValue]) -> Attributes {
    pairs.iter().map(pair).collect()
}

fn pair(pair: &KeyValue) -> (selvedge_entry::Text, Value) {
    (pair.key.as_str().into(), value(pair.value.as_ref()))
}

fn value(given: Option<&AnyValue>) -> Value {
    use any_value::Value as Given;
    match given.and_then(|given| given.value.as_ref()) {
        None => Value::Empty,
        Some(Given::StringValue(text)) => Value::from(text.as_str()),
        Some(Given::BoolValue(value)) => Value::Bool(*value),
        Some(Given::IntValue(value)) => Value::Int(*value),
        Some(Given::DoubleValue(value)) => Value::double(*value),
        Some(Given::BytesValue(bytes)) => Value::Bytes(bytes.as_slice().into()),
        Some(Given::ArrayValue(list)) => {
            Value::List(list.values.iter().map(|one| value(Some(one))).collect())
        }
        Some(Given::KvlistValue(map)) => Value::Map(map.values.iter().map(pair).collect()),
        Some(other) => panic!("not generated: {other:?}"),
    }
}

fn batch(random: &mut Random) -> ExportTraceServiceRequest {
    let scope_spans = |random: &mut Random| ScopeSpans {
        scope: random.some(|random| InstrumentationScope {
            name: random.text(),
            version: random.text(),
            attributes: random.pairs(),
            dropped_attributes_count: random.below(5) as u32,
        }),
        spans: random.many(9, span),
        schema_url: random.text(),
    };
    let resource_spans = |random: &mut Random| ResourceSpans {
        resource: random.some(|random| Resource {
            attributes: random.pairs(),
            dropped_attributes_count: random.below(5) as u32,
            ..Resource::default()
        }),
        scope_spans: random.many(4, scope_spans),
        schema_url: random.text(),
    };
    ExportTraceServiceRequest {
        resource_spans: random.many(4, resource_spans),
    }
}

fn span(random: &mut Random) -> Proto {
    let start = 1 + random.0.u64(..1 << 60);
    let event = |random: &mut Random| Event {
        time_unix_nano: random.0.u64(..1 << 60),
        name: random.text(),
        attributes: random.pairs(),
        dropped_attributes_count: random.0.u32(..),
    };
    let link = |random: &mut Random| Link {
        trace_id: random.id(16),
        span_id: random.id(8),
        trace_state: random.text(),
        attributes: random.pairs(),
        dropped_attributes_count: random.0.u32(..),
        flags: random.0.u32(..),
    };
    Proto {
        trace_id: random.id(16),
        span_id: random.id(8),
        trace_state: random.text(),
        parent_span_id: random.some(|random| random.id(8)).unwrap_or_default(),
        flags: random.0.u32(..),
        name: random.text(),
        kind: random.below(6) as i32,
        start_time_unix_nano: start,
        end_time_unix_nano: random
            .some(|random| start + random.0.u64(..1 << 40))
            .unwrap_or(0),
        attributes: random.pairs(),
        dropped_attributes_count: random.0.u32(..),
        events: random.many(3, event),
        dropped_events_count: random.below(300) as u32,
        links: random.many(3, link),
        dropped_links_count: random.below(3) as u32,
        status: random.some(|random| Status {
            message: random.text(),
            code: random.below(3) as i32,
        }),
    }
}

/// What is made of repeatable random numbers.
struct Random(Rng);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0.usize(..n)
    }

    fn some<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(4) > 0).then(|| make(self))
    }

    fn many<T>(&mut self, below: usize, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(below)).map(|_| make(self)).collect()
    }

    fn id(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| 1 + self.below(255) as u8).collect()
    }

    /// Of lengths on both sides of what one byte of a length can say, ASCII or not.
    fn text(&mut self) -> String {
        let length = [0, 1, 3, 8, 9, 17, 126, 127, 128, 300][self.below(10)];
        let letters = ["a", "/", "z", "\u{e9}", "\u{1f9f5}"];
        let letters = &letters[..if self.below(3) == 0 { 5 } else { 3 }];
        (0..length)
            .map(|_| letters[self.below(letters.len())])
            .collect()
    }

    fn pairs(&mut self) -> Vec<KeyValue> {
        self.many(6, |random| random.pair(0))
    }

    fn pair(&mut self, nesting: usize) -> KeyValue {
        KeyValue {
            key: self.text(),
            value: self.some(|random| random.value(nesting)),
            ..KeyValue::default()
        }
    }

    fn value(&mut self, nesting: usize) -> AnyValue {
        use any_value::Value as Given;
        let kinds = if nesting < 3 { 9 } else { 7 };
        let value = match self.below(kinds) {
            0 => None,
            1 | 2 => Some(Given::StringValue(self.text())),
            3 => Some(Given::BoolValue(self.below(2) == 0)),
            4 => Some(Given::IntValue(self.0.i64(..) >> self.below(64))),
            5 => Some(Given::DoubleValue(self.0.i32(..) as f64 / 7.0)),
            6 => Some(Given::BytesValue(self.text().into_bytes())),
            7 => Some(Given::ArrayValue(ArrayValue {
                values: self.many(4, |random| random.value(nesting + 1)),
            })),
            _ => Some(Given::KvlistValue(KeyValueList {
                values: self.many(4, |random| random.pair(nesting + 1)),
            })),
        };
        AnyValue { value }
    }
}
