//! What is taken, and how it is answered.

use bytes::Bytes;
use selvedge_collector::Protocol;
use serde_json::json;

use crate::spans::{TRACE, batch, compressed, protobuf, span, zipkin_protobuf};
use crate::wire::{Running, framed};

const ENCODINGS: [&str; 4] = ["identity", "gzip", "zstd", "deflate"];

#[tokio::test]
async fn every_form_is_taken_in_every_compression() {
    let running = Running::start().await;
    let zipkin_json = json!([{"traceId": TRACE, "id": "1", "name": "one"}]).to_string();
    for encoding in ENCODINGS {
        let header = ("content-encoding", encoding);
        let sent = compressed(encoding, &protobuf(&[(1, "one")]));
        let kind = ("content-type", "application/x-protobuf");
        let got = running.traces(&[kind, header], &sent).await;
        assert_eq!((got.status, &got.body[..]), (200, &b""[..]), "{encoding}");
        assert_eq!(got.headers["content-type"], "application/x-protobuf");

        let sent = compressed(encoding, &batch(&[span(1)]));
        let kind = ("content-type", "application/json; charset=utf-8");
        let got = running.traces(&[kind, header], &sent).await;
        assert_eq!((got.status, &got.body[..]), (200, &b"{}"[..]), "{encoding}");
        assert_eq!(got.headers["content-type"], "application/json");

        let sent = compressed(encoding, &zipkin_protobuf(&[(1, "one")]));
        let kind = ("content-type", "application/x-protobuf");
        let got = running.zipkin(&[kind, header], &sent).await;
        assert_eq!((got.status, &got.body[..]), (202, &b""[..]), "{encoding}");

        let sent = compressed(encoding, zipkin_json.as_bytes());
        let kind = ("content-type", "application/json");
        let got = running.zipkin(&[kind, header], &sent).await;
        assert_eq!((got.status, &got.body[..]), (202, &b""[..]), "{encoding}");

        let sent = compressed(encoding, &protobuf(&[(1, "one")]));
        let sent = framed(encoding != "identity", &sent);
        let called = running.grpc(Some(encoding), sent).await;
        assert_eq!((called.status, called.code), (200, 0), "{encoding}");
        assert_eq!(called.body, framed(false, b""));
        assert_eq!(called.headers["content-type"], "application/grpc");
    }
    assert_eq!(running.sink.spans().len(), 5 * ENCODINGS.len());
    for (protocol, forms) in [("otlp_grpc", 1), ("otlp_http", 2), ("zipkin", 2)] {
        let all = forms * ENCODINGS.len() as u64;
        let label = format!("{{protocol=\"{protocol}\"}}");
        assert_eq!(running.count(&format!("spans_total{label}")), all);
        assert_eq!(running.count(&format!("requests_total{label}")), all);
    }
}

#[tokio::test]
async fn bad_spans_are_refused_by_reason_and_the_rest_of_the_batch_is_kept() {
    let running = Running::start().await;
    let bad = |name: &str, value: serde_json::Value| {
        let mut span = span(9);
        span[name] = value;
        span
    };
    let kept = "x".repeat(65_536);
    let mut large = span(2);
    large["attributes"] = json!([{"key": "k", "value": {"stringValue": kept}}]);
    let spans = [
        span(1),
        bad("traceId", json!("0".repeat(32))),
        bad("spanId", json!("0".repeat(16))),
        bad("parentSpanId", json!(format!("{:016x}", 9))),
        bad("startTimeUnixNano", json!("-1")),
        bad("endTimeUnixNano", json!("7258118400000000001")),
        bad("endTimeUnixNano", json!("1544712659000000000")),
        bad("name", json!("x".repeat(65_537))),
        bad("name", json!(7)),
        large,
    ];
    let kind = ("content-type", "application/json");
    let got = running.traces(&[kind], &batch(&spans)).await;
    assert_eq!(got.status, 200);
    let reasons = "spans refused: zero_id 2, self_parent 1, time_out_of_range 2, negative_duration 1, \
                   oversized_text 1, malformed 1";
    assert_eq!(
        got.json(),
        json!({"partialSuccess": {"rejectedSpans": "8", "errorMessage": reasons}})
    );
    assert_eq!(running.sink.names(), ["good 1", "good 2"]);
    let attribute = running.sink.spans()[1]
        .attributes
        .iter()
        .next()
        .expect("one")
        .1
        .to_text();
    assert_eq!(&*attribute, kept);
    let refused = |reason: &str| {
        running.count(&format!(
            "refused_spans_total{{protocol=\"otlp_http\",reason=\"{reason}\"}}"
        ))
    };
    assert_eq!(refused("zero_id"), 2);
    assert_eq!(refused("self_parent"), 1);
    assert_eq!(refused("time_out_of_range"), 2);
    assert_eq!(refused("negative_duration"), 1);
    assert_eq!(running.count("spans_total{protocol=\"otlp_http\"}"), 2);

    let called = running
        .grpc(None, framed(false, &protobuf(&[(0, "bad"), (3, "good 3")])))
        .await;
    assert_eq!(called.code, 0);
    let message = b"\x0a\x1b\x08\x01\x12\x17spans refused: zero_id 1";
    // The message's own length stands in it twice.
    let told = called
        .body
        .windows(24)
        .any(|part| part == &message[message.len() - 24..]);
    assert!(told, "{:?}", called.body);
    let list = zipkin_protobuf(&[(0, "bad"), (4, "good 4")]);
    let got = running
        .zipkin(&[("content-type", "application/x-protobuf")], &list)
        .await;
    assert_eq!(got.status, 202);
    assert_eq!(
        running.sink.names(),
        ["good 1", "good 2", "good 3", "good 4"]
    );
    assert_eq!(
        running.count("refused_spans_total{protocol=\"zipkin\",reason=\"zero_id\"}"),
        1
    );
}

#[tokio::test]
async fn no_answer_comes_before_the_spans_are_durable() {
    let running = Running::start().await;
    let hold = running.sink.gate.acquire().await.expect("open");
    let json = [("content-type", "application/json")];
    let body = batch(&[span(1)]);
    let post = running.traces(&json, &body);
    let call = running.grpc(None, framed(false, &protobuf(&[(2, "good 2")])));
    let zipkin = zipkin_protobuf(&[(3, "good 3")]);
    let protobuf = [("content-type", "application/x-protobuf")];
    let list = running.zipkin(&protobuf, &zipkin);
    let released = async {
        // All three are in the sink, which keeps nothing yet.
        drop(running.sink.arrived.acquire_many(3).await.expect("open"));
        assert_eq!(running.sink.names(), [""; 0]);
        drop(hold);
    };
    let check = |names: Vec<String>, own: &str| assert!(names.iter().any(|name| name == own));
    tokio::join!(
        async {
            assert_eq!(post.await.status, 200);
            check(running.sink.names(), "good 1");
        },
        async {
            assert_eq!(call.await.code, 0);
            check(running.sink.names(), "good 2");
        },
        async {
            assert_eq!(list.await.status, 202);
            check(running.sink.names(), "good 3");
        },
        released,
    );
}

#[tokio::test]
async fn a_request_of_ten_megabytes_is_taken_by_every_protocol() {
    let running = Running::start().await;
    let long = "x".repeat(50_000);
    let spans: Vec<(u64, &str)> = (1..=200).map(|id| (id, long.as_str())).collect();
    let body = protobuf(&spans);
    assert!(body.len() >= 10_000_000);
    let kind = ("content-type", "application/x-protobuf");
    assert_eq!(running.traces(&[kind], &body).await.status, 200);
    assert_eq!(running.grpc(None, framed(false, &body)).await.code, 0);
    let list = zipkin_protobuf(&spans);
    assert_eq!(running.zipkin(&[kind], &list).await.status, 202);
    assert_eq!(running.sink.spans().len(), 600);
}

#[tokio::test]
async fn requests_without_spans_are_fine() {
    let running = Running::start().await;
    let json = ("content-type", "application/json");
    assert_eq!(running.traces(&[json], b"{}").await.status, 200);
    let protobuf = ("content-type", "application/x-protobuf");
    assert_eq!(running.traces(&[protobuf], b"").await.status, 200);
    assert_eq!(running.zipkin(&[json], b"[]").await.status, 202);
    assert_eq!(running.grpc(None, framed(false, b"")).await.code, 0);
    assert_eq!(running.grpc(None, Bytes::new()).await.code, 3);
    assert_eq!(running.sink.arrived.available_permits(), 0);
}

#[tokio::test]
async fn what_is_in_flight_is_finished_when_it_stops() {
    let running = Running::start().await;
    let hold = running.sink.gate.acquire().await.expect("open");
    let address = running.address(Protocol::OtlpHttp);
    let sent = tokio::spawn(async move {
        let kind = [("content-type", "application/json")];
        crate::wire::post(address, "/v1/traces", &kind, &batch(&[span(1)])).await
    });
    drop(running.sink.arrived.acquire().await.expect("open"));
    let stopping = tokio::spawn(running.collector.stop());
    // It listens no more while it waits for what is in flight.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    drop(hold);
    assert_eq!(sent.await.expect("no panic").status, 200);
    stopping.await.expect("no panic");
    assert_eq!(running.sink.names(), ["good 1"]);
}
