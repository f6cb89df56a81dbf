//! Reading spans: OTLP protobuf into spans, beside `prost` with `opentelemetry-proto`, and what
//! happens to spans next: written in their stored form, read from it, placed in their call trees.
//!
//! Input as SDKs send it: batches of 512 spans of one service in traces of some forty spans, ten
//! attributes a span, an event at every eighth, some 345 bytes a span. Rates are of core time, one
//! core, the best round; making the result is timed, dropping it is a column of its own.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use fastrand::Rng;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as ProtoSpan, Status};
use prost::Message;
use rustix::time::{ClockId, clock_gettime};
use selvedge_calltree::{Observation, TreeBuilder};
use selvedge_identity::Origin;
use selvedge_spans::{Contexts, Part, Span, StoredSpans, observe, otlp};

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCHES: usize = 50;
const SPANS: usize = 512;
const TRACE: usize = 40;
const ROUNDS: usize = 10;
/// So many are made before they are dropped.
const TOGETHER: usize = 10;

fn main() {
    let mut random = Rng::with_seed(1);
    let batches: Vec<Vec<u8>> = (0..BATCHES)
        .map(|at| batch(at, &mut random).encode_to_vec())
        .collect();
    let spans = BATCHES * SPANS;
    let bytes: usize = batches.iter().map(Vec::len).sum();
    println!(
        "spans/s of core time (best of {ROUNDS}), {} bytes a span",
        bytes / spans
    );
    println!("{:<44}{:>12}{:>14}", "", "", "dropping");

    let ours = time(&batches, |batch| {
        otlp::from_protobuf(batch).expect("a batch").spans
    });
    let prost = time(&batches, |batch| {
        ExportTraceServiceRequest::decode(&**batch).expect("a batch")
    });
    row("OTLP protobuf read", spans, ours);
    row("the same by prost", spans, prost);

    let read: Vec<Vec<Span>> = batches
        .iter()
        .map(|batch| otlp::from_protobuf(batch).expect("a batch").spans)
        .collect();
    row(
        "written as stored",
        spans,
        time(&read, |spans| StoredSpans::of(spans)),
    );
    let stored: Vec<StoredSpans> = read.iter().map(StoredSpans::of).collect();
    for (name, part) in [("whole", Part::Whole), ("for a tree", Part::Tree)] {
        let load = |stored: &StoredSpans| -> Vec<Span> {
            let contexts = Contexts::decode(&stored.contexts).expect("as written");
            let spans = stored.spans.iter().map(|at| &stored.bytes[at.clone()]);
            spans
                .map(|span| contexts.span(span, part).expect("as written"))
                .collect()
        };
        row(
            &format!("read from the store, {name}"),
            spans,
            time(&stored, load),
        );
    }

    let traces = traces(read);
    let placed = time(&traces, |trace| observe(trace));
    row("placed in their call trees (observe)", spans, placed);
    let observed: Vec<_> = traces.iter().map(|trace| observe(trace).requests).collect();
    let tree = |requests: &BTreeMap<Origin, Vec<Observation>>| -> Vec<TreeBuilder> {
        let tree = |(origin, observations): (&Origin, &Vec<Observation>)| {
            let builder = TreeBuilder::batch(*origin, observations.clone());
            black_box(builder.tree().len());
            builder
        };
        requests.iter().map(tree).collect()
    };
    row("tree of what was observed", spans, time(&observed, tree));

    let rate = |(time, _): (Duration, Duration)| spans as f64 / time.as_secs_f64() / 1e6;
    println!(
        "| reading OTLP protobuf: spans/s | {:.2} M | prost {:.2} M | {:.2} |",
        rate(ours),
        rate(prost),
        rate(ours) / rate(prost)
    );
}

fn row(name: &str, spans: usize, (made, dropped): (Duration, Duration)) {
    let rate = |time: Duration| format!("{:.2} M", spans as f64 / time.as_secs_f64() / 1e6);
    println!("{name:<44}{:>12}{:>14}", rate(made), rate(dropped));
}

/// The best round's time of making all and of dropping all. What is made is dropped before the
/// next is made, so that memory is used again as in a running server.
fn time<A, T>(from: &[A], make: impl Fn(&A) -> T) -> (Duration, Duration) {
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let (mut making, mut dropping) = (Duration::ZERO, Duration::ZERO);
        for from in from.chunks(TOGETHER) {
            let start = core_time();
            let made: Vec<T> = from.iter().map(&make).collect();
            making += core_time() - start;
            let start = core_time();
            drop(black_box(made));
            dropping += core_time() - start;
        }
        best = (best.0.min(making), best.1.min(dropping));
    }
    best
}

/// The spans of each trace together, as they are observed.
fn traces(read: Vec<Vec<Span>>) -> Vec<Vec<Span>> {
    let mut all: Vec<Span> = read.into_iter().flatten().collect();
    all.sort_by_key(|span| span.origin);
    all.chunk_by(|a, b| a.origin == b.origin)
        .map(<[Span]>::to_vec)
        .collect()
}

/// A batch of one service. Traces pass through ten services, so they are spread over ten batches.
fn batch(number: usize, random: &mut Rng) -> ExportTraceServiceRequest {
    let service = number % 10;
    let spans = (0..SPANS)
        .map(|at| span(number / 10 * SPANS * 10 / TRACE, at * 10 + service, random))
        .collect();
    let resource = [
        ("service.name", format!("service-{service}")),
        ("service.version", "1.4.2".into()),
        ("host.name", format!("host-{service}")),
        ("telemetry.sdk.language", "java".into()),
        ("telemetry.sdk.name", "opentelemetry".into()),
        ("telemetry.sdk.version", "1.42.0".into()),
    ];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: resource
                    .iter()
                    .map(|(key, value)| text(key, value))
                    .collect(),
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "io.opentelemetry.http".into(),
                    version: "2.8.0".into(),
                    ..InstrumentationScope::default()
                }),
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

/// The `at`th of all spans: traces have [`TRACE`] spans, each two of which are a call's sides.
fn span(first: usize, at: usize, random: &mut Rng) -> ProtoSpan {
    let trace = (first + at / TRACE + 1) as u128;
    let place = (at % TRACE) as u64;
    let id = |place: u64| ((trace as u64) << 16 | (place + 1)).to_be_bytes().to_vec();
    // A receiving side hangs on the sending side before it, that on a receiving side further up.
    let parent = match place {
        0 => Vec::new(),
        place if place.is_multiple_of(2) => id(place - 1),
        place => id(place / 4 * 2),
    };
    let start = 1_700_000_000_000_000_000 + at as u64 * 10_000;
    let failed = random.usize(..50) == 0;
    let routes = [
        "/orders",
        "/orders/{id}",
        "/catalogue",
        "/stock/{item}",
        "/payments",
    ];
    let route = routes[random.usize(..routes.len())];
    let attributes = vec![
        text("http.request.method", ["GET", "POST"][random.usize(..2)]),
        text("http.route", route),
        text("url.path", &format!("{route}/{}", random.usize(..100_000))),
        text("url.scheme", "http"),
        text("server.address", "10.1.17.3"),
        number("server.port", 8080),
        number("http.response.status_code", if failed { 500 } else { 200 }),
        text("network.protocol.version", "1.1"),
        number("thread.id", random.usize(..64) as i64),
        text("thread.name", &format!("worker-{}", random.usize(..64))),
    ];
    let event = |_| Event {
        time_unix_nano: start + 1000,
        name: "cache miss".into(),
        attributes: vec![text("cache.key", &format!("item-{}", random.usize(..1000)))],
        ..Event::default()
    };
    ProtoSpan {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: id(place),
        parent_span_id: parent,
        flags: 0x101,
        name: format!("GET {route}"),
        kind: if place.is_multiple_of(2) { 2 } else { 3 },
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_000_000,
        attributes,
        events: (0..usize::from(at.is_multiple_of(8))).map(event).collect(),
        status: failed.then(|| Status {
            message: "it broke".into(),
            code: 2,
        }),
        ..ProtoSpan::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, any_value::Value::StringValue(value.into()))
}

fn number(key: &str, value: i64) -> KeyValue {
    pair(key, any_value::Value::IntValue(value))
}

fn pair(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// Time this thread has spent on a core: a busy machine does not count.
fn core_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
