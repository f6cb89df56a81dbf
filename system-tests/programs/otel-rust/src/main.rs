//! Makes spans with OpenTelemetry's SDK for Rust, prints each as it made it, and exports all.
//!
//! `otel-rust grpc ENDPOINT TRACES`. Half of the traces are made, then it prints "half" and waits
//! for a line of its standard input; the rest is made, and "rest" is printed before all are
//! flushed. Every other line is a span as JSON. Fails if the SDK says that it could not export
//! everything.

use std::io::stdin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_otlp::{
    Compression, RetryPolicy, SpanExporter, WithExportConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, Span, SpanData,
    SpanProcessor,
};
use serde_json::{Value as Json, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let (endpoint, traces) = (&args[2], args[3].parse::<u32>()?);
    let runtime = tokio::runtime::Runtime::new()?;
    let _within = runtime.enter();
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_compression(Compression::Gzip)
        .with_timeout(Duration::from_secs(60))
        .with_retry_policy(RetryPolicy::recommended().with_max_retries(100))
        .build()?;
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "rust-grpc"),
            KeyValue::new("ratio", 1.0),
        ])
        .build();
    let batch = BatchSpanProcessor::builder(exporter)
        .with_batch_config(
            BatchConfigBuilder::default()
                .with_max_queue_size(100_000)
                .with_scheduled_delay(Duration::from_millis(100))
                .build(),
        )
        .build();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_span_processor(Printer(attributes(
            resource.iter().map(|(key, value)| (key.as_str(), value)),
        )))
        .with_span_processor(batch)
        .build();
    let scope = InstrumentationScope::builder("shop")
        .with_version("1.2.3")
        .build();
    let tracer = provider.tracer_with_scope(scope);
    let mut last = None;
    for number in 0..traces / 2 {
        make(&tracer, number, &mut last);
    }
    println!("half");
    stdin().read_line(&mut String::new())?;
    for number in traces / 2..traces {
        make(&tracer, number, &mut last);
    }
    println!("rest");
    // All that is left is exported now; a flush would wait for five seconds only.
    provider.shutdown_with_timeout(Duration::from_secs(60))?;
    Ok(())
}

/// A trace of a request, a call, and the work that it caused.
fn make(tracer: &SdkTracer, number: u32, last: &mut Option<SpanContext>) {
    let mut root = tracer.span_builder("GET /").with_kind(SpanKind::Server);
    if let Some(last) = last.take() {
        let why = vec![
            KeyValue::new("why", "the request before"),
            KeyValue::new("n", i64::from(number)),
        ];
        root = root.with_links(vec![Link::new(last, why, 0)]);
    }
    let mut root = tracer.build_with_context(root, &Context::new());
    *last = Some(root.span_context().clone());
    let padding = "x".repeat(number as usize % 50);
    root.set_attributes([
        KeyValue::new("text", format!("höchst \u{2603} {padding}")),
        KeyValue::new("int", -(1_i64 << 62) + i64::from(number)),
        KeyValue::new("double", f64::from(number) / 3.0),
        KeyValue::new("whole", 2.0),
        KeyValue::new("bool", number % 2 == 0),
        KeyValue::new("texts", Value::Array(Array::String(texts(&["a", "", "ü"])))),
        KeyValue::new("ints", Value::Array(Array::I64(vec![1, (1 << 53) + 1]))),
        KeyValue::new("doubles", Value::Array(Array::F64(vec![0.1, -1e300]))),
        KeyValue::new("bools", Value::Array(Array::Bool(vec![true, false]))),
    ]);
    let key = KeyValue::new("key", format!("k{number}"));
    root.add_event("cache miss", vec![key, KeyValue::new("size", 7)]);
    root.add_event("retry", Vec::new());
    let context = Context::new().with_span(root);
    let child = |name: &'static str, kind: SpanKind| {
        tracer.build_with_context(tracer.span_builder(name).with_kind(kind), &context)
    };
    let mut call = child("POST /orders", SpanKind::Client);
    call.set_attribute(KeyValue::new("http.response.status_code", 500));
    call.set_status(Status::error(format!("answer {number} was 500")));
    call.end();
    let mut sent = child("publish", SpanKind::Producer);
    sent.set_status(Status::Ok);
    sent.end();
    child("count", SpanKind::Internal).end();
    context.span().end();
}

fn texts(texts: &[&'static str]) -> Vec<StringValue> {
    texts.iter().map(|text| StringValue::from(*text)).collect()
}

/// Prints every span that ends.
#[derive(Debug)]
struct Printer(Json);

impl SpanProcessor for Printer {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        let parent = span.parent_span_id;
        let parent = if parent == opentelemetry::trace::SpanId::INVALID {
            String::new()
        } else {
            parent.to_string()
        };
        let events = span.events.iter().map(|event| {
            json!({"name": event.name, "at": time(event.timestamp), "attributes": pairs(&event.attributes)})
        });
        let links = span.links.iter().map(|link| {
            json!({
                "origin": link.span_context.trace_id().to_string(),
                "id": link.span_context.span_id().to_string(),
                "attributes": pairs(&link.attributes),
            })
        });
        let status = match &span.status {
            Status::Unset => json!(["UNSET", ""]),
            Status::Ok => json!(["OK", ""]),
            Status::Error { description } => json!(["ERROR", description]),
        };
        let scope = &span.instrumentation_scope;
        let line = json!({
            "origin": span.span_context.trace_id().to_string(),
            "id": span.span_context.span_id().to_string(),
            "parent": parent,
            "state": span.span_context.trace_state().header(),
            "name": span.name,
            "kind": format!("{:?}", span.span_kind).to_uppercase(),
            "start": time(span.start_time),
            "end": time(span.end_time),
            "attributes": pairs(&span.attributes),
            "events": events.collect::<Vec<_>>(),
            "links": links.collect::<Vec<_>>(),
            "status": status,
            "scope": [scope.name(), scope.version().unwrap_or("")],
            "resource": self.0,
        });
        println!("{line}");
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn time(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).expect("after 1970");
    since.as_nanos().to_string()
}

fn pairs(given: &[KeyValue]) -> Json {
    attributes(given.iter().map(|pair| (pair.key.as_str(), &pair.value)))
}

fn attributes<'a>(given: impl Iterator<Item = (&'a str, &'a Value)>) -> Json {
    let all = given.map(|(key, each)| (key.to_owned(), value(each)));
    Json::Object(all.collect())
}

/// Types are told apart: a double that is whole is still a double.
fn value(given: &Value) -> Json {
    match given {
        Value::Bool(one) => json!({"bool": one}),
        Value::I64(one) => json!({"int": one.to_string()}),
        Value::F64(one) => json!({"double": one}),
        Value::String(one) => json!({"text": one.as_str()}),
        Value::Array(Array::Bool(all)) => list(all.iter().map(|one| json!({"bool": one}))),
        Value::Array(Array::I64(all)) => list(all.iter().map(|n| json!({"int": n.to_string()}))),
        Value::Array(Array::F64(all)) => list(all.iter().map(|one| json!({"double": one}))),
        Value::Array(Array::String(all)) => {
            list(all.iter().map(|one| json!({"text": one.as_str()})))
        }
        other => panic!("{other:?} was never made here"),
    }
}

fn list(values: impl Iterator<Item = Json>) -> Json {
    json!({"list": values.collect::<Vec<_>>()})
}
