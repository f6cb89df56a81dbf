//! Zipkin's users: what their clients send is received on Zipkin's port, as JSON and as protobuf.

use selvedge_system_tests::Up;
use serde_json::{Value, json};

use crate::otlp;

async fn post(up: &Up, kind: &str, body: Vec<u8>) {
    let url = format!("{}/api/v2/spans", up.server().url("zipkin"));
    let request = reqwest::Client::new()
        .post(url)
        .header("content-type", kind);
    let answer = request.body(body).send().await.expect("an answer");
    assert_eq!(answer.status(), 202);
}

/// A call whose two sides share one id, as Zipkin's clients (Brave) have it; the receiver's side
/// comes as protobuf.
#[tokio::test]
async fn two_sides_that_share_an_id_are_one_call() {
    let up = Up::start(&["--servers", "1"]);
    let side = |id: &str, parent: Option<&str>, kind: &str, service: &str, name: &str| {
        let mut span = json!({"traceId": "463ac35c9f6413ad", "id": id, "kind": kind, "name": name,
            "timestamp": 1_544_712_660_000_000_u64, "duration": 1000,
            "localEndpoint": {"serviceName": service}});
        if let Some(parent) = parent {
            span["parentId"] = json!(parent);
        }
        span
    };
    let (root, call) = ("00000000000000a1", "00000000000000a2");
    let sender = json!([
        side(root, None, "SERVER", "web", "get /"),
        side(call, Some(root), "CLIENT", "web", "post /orders"),
    ]);
    post(&up, "application/json", sender.to_string().into_bytes()).await;
    // trace id, parent, id, SERVER, name, timestamp, duration 900, {service name}, shared
    let mut receiver = vec![0x0a, 0x08, 0x46, 0x3a, 0xc3, 0x5c, 0x9f, 0x64, 0x13, 0xad];
    receiver.extend([
        0x12, 0x08, 0, 0, 0, 0, 0, 0, 0, 0xa1, 0x1a, 0x08, 0, 0, 0, 0, 0, 0, 0, 0xa2,
    ]);
    receiver.extend([0x20, 0x02, 0x2a, 0x06]);
    receiver.extend(b"orders");
    receiver.push(0x31);
    receiver.extend(1_544_712_660_000_050_u64.to_le_bytes());
    receiver.extend([0x38, 0x84, 0x07, 0x42, 0x06, 0x0a, 0x04]);
    receiver.extend(b"shop");
    receiver.extend([0x68, 0x01]);
    let mut list = vec![0x0a, receiver.len() as u8];
    list.extend(receiver);
    post(&up, "application/x-protobuf", list).await;

    let origin = "0000000000000000463ac35c9f6413ad";
    let (status, tree) = up.query().get(&format!("/api/v1/requests/{origin}")).await;
    assert_eq!((status, &tree["complete"]), (200, &json!(true)), "{tree:#}");
    let nodes = tree["nodes"].as_array().expect("nodes").iter();
    let told: Vec<Value> = nodes
        .map(|node| {
            json!([
                node["id"],
                node["parent"],
                node["service"],
                node["depth"],
                node["evidence"]
            ])
        })
        .collect();
    assert_eq!(
        told,
        [
            json!([root, null, "web", 0, "observed"]),
            json!([call, root, "shop", 1, "observed"]),
        ]
    );
}

/// The exporter that OpenTelemetry has for Zipkin's users.
#[tokio::test]
async fn every_span_of_a_real_exporter_arrives_once() {
    otlp::arrives_as_zipkin().await;
}
