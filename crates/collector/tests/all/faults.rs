//! Requests that are refused as a whole: the right status, a count by reason, and nothing kept.

use selvedge_collector::{Collector, CollectorOptions, Limits, Listen, Protocol};

use crate::spans::{batch, compressed, protobuf, span};
use crate::wire::{Running, framed, head, raw};

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// Headers, body, the status that answers them, and the reason that is counted.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [u8], u16, &'a str);

/// Checks that the request was counted once, and nothing was kept.
fn assert_refused(running: &Running, protocol: &str, reason: &str) {
    let name = format!("refused_requests_total{{protocol=\"{protocol}\",reason=\"{reason}\"}}");
    assert_eq!(running.count(&name), 1, "{reason}");
    assert!(running.sink.spans().is_empty(), "{reason}");
}

#[tokio::test]
async fn a_bad_request_over_http_gets_the_status_that_says_why() {
    let good = batch(&[span(1)]);
    let gzip = compressed("gzip", &good);
    let zstd = compressed("zstd", &good);
    let cases: &[Case] = &[
        (
            &[("content-type", "text/plain")],
            &good,
            415,
            "content_type",
        ),
        (&[], &good, 415, "content_type"),
        (&[JSON, ("content-encoding", "br")], &good, 415, "encoding"),
        (
            &[
                JSON,
                ("content-encoding", "gzip"),
                ("content-encoding", "gzip"),
            ],
            &gzip,
            415,
            "encoding",
        ),
        (&[JSON], b"{\"resourceSpans\": [", 400, "malformed"),
        (&[JSON], b"[]", 400, "malformed"),
        (&[PROTOBUF], b"\x0a\x05abc", 400, "malformed"),
        (
            &[JSON, ("content-encoding", "gzip")],
            &gzip[..gzip.len() - 9],
            400,
            "compression",
        ),
        (
            &[JSON, ("content-encoding", "gzip")],
            &good,
            400,
            "compression",
        ),
        (
            &[JSON, ("content-encoding", "zstd")],
            &zstd[..zstd.len() - 1],
            400,
            "compression",
        ),
        (
            &[JSON, ("content-encoding", "deflate")],
            &gzip,
            400,
            "compression",
        ),
    ];
    for (headers, body, status, reason) in cases {
        let running = Running::start().await;
        let got = running.traces(headers, body).await;
        assert_eq!(got.status, *status, "{reason}: {got:?}");
        if headers.contains(&PROTOBUF) {
            // A `Status` with its code, in the encoding of the request.
            assert_eq!(got.headers["content-type"], PROTOBUF.1);
            assert_eq!(got.body[..2], [0x08, 3]);
        } else {
            assert_eq!(got.headers["content-type"], JSON.1);
            assert!(got.json()["code"].is_u64() && got.json()["message"].is_string());
        }
        assert_refused(&running, "otlp_http", reason);
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_told_so() {
    let running = Running::start().await;
    let address = running.address(Protocol::OtlpHttp);
    let get = head("GET", "/v1/traces", &[]) + "\r\n";
    let got = raw(address, get.as_bytes()).await;
    assert_eq!((got.status, got.headers["allow"].as_str()), (405, "POST"));
    let got = crate::wire::post(address, "/v1/metrics", &[JSON], b"{}").await;
    assert_eq!(got.status, 404);
    let address = running.address(Protocol::Zipkin);
    let got = crate::wire::post(address, "/api/v1/spans", &[JSON], b"[]").await;
    assert_eq!(got.status, 404);
    let got = running
        .zipkin(&[("content-type", "application/x-thrift")], b"")
        .await;
    assert_eq!(got.status, 415);
    let got = running.zipkin(&[JSON], b"{}").await;
    assert_eq!(got.status, 400);
    assert_refused(&running, "zipkin", "malformed");
}

#[tokio::test]
async fn a_bad_call_over_grpc_gets_the_code_that_says_why() {
    let good = protobuf(&[(1, "one")]);
    let gzip = compressed("gzip", &good);
    let cases = [
        (Some("br"), framed(true, &good), 12, "encoding"),
        (
            Some("gzip"),
            framed(true, &gzip[..gzip.len() - 9]),
            3,
            "compression",
        ),
        (Some("gzip"), framed(true, &good), 3, "compression"),
        (None, framed(true, &gzip), 3, "frame"),
        (None, framed(false, b"\x0a\x05abc"), 3, "malformed"),
        (None, framed(false, &good).slice(..9), 3, "frame"),
    ];
    for (encoding, body, code, reason) in cases {
        let running = Running::start().await;
        let called = running.grpc(encoding, body).await;
        assert_eq!((called.status, called.code), (200, code), "{reason}");
        assert!(called.headers.contains_key("grpc-message"), "{reason}");
        assert_refused(&running, "otlp_grpc", reason);
    }
    let running = Running::start().await;
    let path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    let called = running
        .call(path, "application/grpc", None, framed(false, b""))
        .await;
    assert_eq!((called.status, called.code), (200, 12));
    let called = running
        .call("/", "application/json", None, framed(false, b""))
        .await;
    assert_eq!(called.status, 415);
}

#[tokio::test]
async fn a_bomb_is_refused_once_it_is_too_large_and_not_later() {
    let running = Running::start().await;
    // A hundred times the bound, in a few tenths of a megabyte.
    let zeros = vec![b' '; 32 << 20];
    for encoding in ["gzip", "zstd"] {
        let member = compressed(encoding, &zeros);
        let bomb = member.repeat(100);
        assert!(bomb.len() < 8 << 20);
        let header = ("content-encoding", encoding);
        let got = running.traces(&[JSON, header], &bomb).await;
        assert_eq!(got.status, 413, "{encoding}");
        let message = got.json()["message"].to_string();
        assert!(message.contains("without compression"), "{message}");
        let called = running.grpc(Some(encoding), framed(true, &bomb)).await;
        assert_eq!(called.code, 8, "{encoding}");
    }
    let name = "refused_requests_total{protocol=\"otlp_grpc\",reason=\"too_large\"}";
    assert_eq!(running.count(name), 2);
    assert!(running.sink.spans().is_empty());
}

#[tokio::test]
async fn a_request_over_the_bound_is_told_so_even_while_it_still_sends() {
    let running = Running::limited(Limits {
        request_bytes_max: 1000,
        ..Limits::default()
    })
    .await;
    // Far more than the system's buffers hold between the two.
    let long = vec![b' '; 20 << 20];
    let got = running.traces(&[JSON], &long).await;
    assert_eq!(got.status, 413);
    assert_refused(&running, "otlp_http", "too_large");
    // Without a length that was announced.
    let address = running.address(Protocol::Zipkin);
    let mut chunked = head(
        "POST",
        "/api/v2/spans",
        &[JSON, ("transfer-encoding", "chunked")],
    );
    chunked += "\r\n7d0\r\n";
    chunked += &" ".repeat(2000);
    chunked += "\r\n0\r\n\r\n";
    assert_eq!(raw(address, chunked.as_bytes()).await.status, 413);
    assert_refused(&running, "zipkin", "too_large");
    let called = running.grpc(None, framed(false, &long[..2000])).await;
    assert_eq!(called.code, 8);
    // One byte less than too much is not too much.
    let mut body = batch(&[]);
    body.resize(1000, b' ');
    assert_eq!(running.traces(&[JSON], &body).await.status, 200);
    body.push(b' ');
    assert_eq!(running.traces(&[JSON], &body).await.status, 413);
}

#[tokio::test]
async fn scripts_of_pages_that_are_not_configured_may_not_send() {
    let running = Running::with(|options| {
        options.cors_origins = vec!["https://shop.example".to_owned()];
    })
    .await;
    let body = batch(&[span(1)]);
    let got = running
        .traces(&[JSON, ("origin", "https://evil.example")], &body)
        .await;
    assert_eq!(got.status, 403);
    assert_refused(&running, "otlp_http", "origin");
    let shop = ("origin", "https://shop.example");
    let address = running.address(Protocol::OtlpHttp);
    let wish = (
        "access-control-request-headers",
        "content-type,content-encoding",
    );
    let ask = head("OPTIONS", "/v1/traces", &[shop, wish]) + "\r\n";
    let got = raw(address, ask.as_bytes()).await;
    assert_eq!(got.status, 204);
    assert_eq!(got.headers["access-control-allow-origin"], shop.1);
    assert_eq!(got.headers["access-control-allow-headers"], wish.1);
    let got = running.traces(&[JSON, shop], &body).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.headers["access-control-allow-origin"], shop.1);
    let got = running.zipkin(&[JSON, ("origin", "null")], b"[]").await;
    assert_eq!(got.status, 403);
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_the_remedy() {
    let running = Running::start().await;
    let taken = running.address(Protocol::OtlpHttp);
    let options = CollectorOptions {
        otlp_grpc: Listen::Off,
        otlp_http: Listen::At(taken),
        zipkin: Listen::Off,
        ..CollectorOptions::default()
    };
    let error = Collector::start(options, running.sink.clone()).await;
    let said = error.err().expect("refused").to_string();
    assert!(said.contains(&taken.to_string()), "{said}");
    assert!(
        said.contains("collector.otlp_http") && said.contains("\"off\""),
        "{said}"
    );
}

#[tokio::test]
async fn where_all_is_off_nothing_listens() {
    let running = Running::with(|options| {
        options.otlp_grpc = Listen::Off;
        options.otlp_http = Listen::Off;
        options.zipkin = Listen::Off;
    })
    .await;
    assert!(running.collector.addresses().is_empty());
    running.collector.stop().await;
}
