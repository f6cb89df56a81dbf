//! What is in flight is bounded, and senders that are slow or leave hold nothing for long.

use selvedge_collector::{Limits, Protocol};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::spans::{batch, protobuf, span};
use crate::wire::{Running, framed, head, read};

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn over_the_bound_senders_are_told_to_come_again_and_then_taken() {
    let running = Running::limited(Limits {
        requests_max: 1,
        ..Limits::default()
    })
    .await;
    let hold = running.sink.gate.acquire().await.expect("open");
    let body = batch(&[span(1)]);
    let first = running.traces(&[JSON], &body);
    let others = async {
        drop(running.sink.arrived.acquire().await.expect("open"));
        let got = running.traces(&[JSON], &batch(&[span(2)])).await;
        assert_eq!(
            (got.status, got.headers["retry-after"].as_str()),
            (503, "1")
        );
        let called = running
            .grpc(None, framed(false, &protobuf(&[(3, "good 3")])))
            .await;
        assert_eq!(called.code, 14);
        // What the SDKs read when to come again from.
        assert!(called.headers.contains_key("grpc-status-details-bin"));
        let got = running.zipkin(&[JSON], b"[]").await;
        assert_eq!(got.status, 503);
        drop(hold);
    };
    let (first, ()) = tokio::join!(first, others);
    assert_eq!(first.status, 200);
    let got = running.traces(&[JSON], &batch(&[span(2)])).await;
    assert_eq!(got.status, 200);
    assert_eq!(running.sink.names(), ["good 1", "good 2"]);
    for protocol in ["otlp_http", "otlp_grpc", "zipkin"] {
        let name = format!("refused_requests_total{{protocol=\"{protocol}\",reason=\"busy\"}}");
        assert_eq!(running.count(&name), 1);
    }
}

#[tokio::test]
async fn bytes_in_flight_are_bounded_too() {
    let body = batch(&[span(1)]);
    let running = Running::limited(Limits {
        // Enough for one such request and its spans, not for two.
        bytes_in_flight_max: 4 * body.len(),
        ..Limits::default()
    })
    .await;
    let mut long = body.clone();
    long.resize(5 * body.len(), b' ');
    assert_eq!(running.traces(&[JSON], &long).await.status, 503);
    assert_eq!(running.traces(&[JSON], &body).await.status, 200);
    assert_eq!(running.sink.names(), ["good 1"]);
}

#[tokio::test]
async fn what_is_not_durable_is_not_acknowledged() {
    let running = Running::start().await;
    running.sink.fail(true);
    let got = running.traces(&[JSON], &batch(&[span(1)])).await;
    assert_eq!(
        (got.status, got.headers["retry-after"].as_str()),
        (503, "1")
    );
    assert!(
        got.json()["message"]
            .to_string()
            .contains("the disk is full")
    );
    let called = running
        .grpc(None, framed(false, &protobuf(&[(1, "good 1")])))
        .await;
    assert_eq!(called.code, 14);
    assert_eq!(running.count("spans_total{protocol=\"otlp_http\"}"), 0);
    let name = "refused_requests_total{protocol=\"otlp_http\",reason=\"storage\"}";
    assert_eq!(running.count(name), 1);
    running.sink.fail(false);
    let got = running.traces(&[JSON], &batch(&[span(1)])).await;
    assert_eq!(got.status, 200);
}

#[tokio::test]
async fn a_sink_that_never_ends_is_given_up() {
    let running = Running::limited(Limits {
        store_timeout_ms: 50,
        ..Limits::default()
    })
    .await;
    let _hold = running.sink.gate.acquire().await.expect("open");
    let got = running.traces(&[JSON], &batch(&[span(1)])).await;
    assert_eq!(got.status, 503);
    assert!(got.json()["message"].to_string().contains("50 ms"));
}

#[tokio::test]
async fn a_slow_sender_is_told_so_and_makes_room() {
    let running = Running::limited(Limits {
        request_timeout_ms: 100,
        requests_max: 1,
        ..Limits::default()
    })
    .await;
    let address = running.address(Protocol::OtlpHttp);
    let mut slow = TcpStream::connect(address).await.expect("it listens");
    let half = head("POST", "/v1/traces", &[JSON]) + "content-length: 100\r\n\r\n{";
    slow.write_all(half.as_bytes()).await.expect("it reads");
    let got = read(&mut slow).await;
    assert_eq!(got.status, 408);
    let name = "refused_requests_total{protocol=\"otlp_http\",reason=\"slow\"}";
    assert_eq!(running.count(name), 1);
    let got = running.traces(&[JSON], &batch(&[span(1)])).await;
    assert_eq!(got.status, 200);
}

#[tokio::test]
async fn a_sender_that_leaves_half_way_makes_room() {
    let running = Running::limited(Limits {
        requests_max: 1,
        ..Limits::default()
    })
    .await;
    let address = running.address(Protocol::OtlpHttp);
    for _ in 0..10 {
        let mut leaving = TcpStream::connect(address).await.expect("it listens");
        let half = head("POST", "/v1/traces", &[JSON]) + "content-length: 100\r\n\r\n{";
        leaving.write_all(half.as_bytes()).await.expect("it reads");
    }
    // Until the last of them is noticed to be gone, there is no room.
    let body = batch(&[span(1)]);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while running.traces(&[JSON], &body).await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline, "the room is lost");
    }
    assert_eq!(running.sink.names(), ["good 1"]);
}
