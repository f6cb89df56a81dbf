//! Bad input to the receivers of a running Selvedge: what is bad is refused and counted by reason,
//! what is good beside it is kept, and the process stays as small as it was.

use std::io::Write as _;
use std::process::{Command, Stdio};

use selvedge_system_tests::Up;
use serde_json::{Value, json};

const TRACE: &str = "5b8efff798038103d269b633813fc60c";

fn span(id: &str, parent: &str, kind: u8, name: &str) -> Value {
    json!({"traceId": TRACE, "spanId": id, "parentSpanId": parent, "kind": kind, "name": name,
        "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000"})
}

fn with(mut span: Value, name: &str, value: Value) -> Value {
    span[name] = value;
    span
}

fn batch(service: &str, spans: &[Value]) -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
        "scopeSpans": [{"spans": spans}],
    }]})
}

/// Posts with curl, whose habits are not ours: `Expect: 100-continue`, sending on while it reads.
fn post(url: &str, headers: &[&str], body: &[u8]) -> (u16, String) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--max-time", "60", "--data-binary", "@-"]);
    curl.args(["--write-out", "\n%{http_code}"]);
    for header in headers {
        curl.args(["--header", header]);
    }
    let mut child = curl
        .arg(url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl runs");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(body)
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("text");
    let (body, status) = text.rsplit_once('\n').expect("a status");
    (status.parse().expect("a number"), body.to_owned())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .arg("--best")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip runs");
    let mut input = child.stdin.take().expect("piped");
    std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes).expect("it reads"));
        child.wait_with_output().expect("it ends").stdout
    })
}

async fn count(up: &Up, name: &str) -> u64 {
    let url = format!("{}/metrics", up.admin());
    let text = reqwest::get(url)
        .await
        .expect("an answer")
        .text()
        .await
        .expect("text");
    let name = format!("selvedge_collector_{name} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    value.map_or(0, |value| value.parse().expect("a number"))
}

#[tokio::test]
async fn bad_spans_are_counted_by_reason_and_their_neighbours_are_in_the_tree() {
    let up = Up::start(&["--servers", "1"]);
    let url = format!("{}/v1/traces", up.server().url("otlp_http"));
    let json = "content-type: application/json";
    let (root, call) = ("00000000000000a1", "00000000000000a2");
    let whole = "w".repeat(65_536);
    let web = batch(
        "web",
        &[
            with(
                span(root, "", 2, "GET /"),
                "attributes",
                json!([{"key": "whole", "value": {"stringValue": whole}}]),
            ),
            span(call, root, 3, "POST /orders"),
            with(
                span("00000000000000b1", root, 1, "zero"),
                "spanId",
                json!("0000000000000000"),
            ),
            with(
                span("00000000000000b2", root, 1, "zero"),
                "traceId",
                json!("0".repeat(32)),
            ),
            span("00000000000000b3", "00000000000000b3", 1, "its own parent"),
            with(
                span("00000000000000b4", root, 1, "old"),
                "startTimeUnixNano",
                json!("-1"),
            ),
            with(
                span("00000000000000b5", root, 1, "late"),
                "endTimeUnixNano",
                json!("7258118400000000001"),
            ),
            with(
                span("00000000000000b6", root, 1, "backwards"),
                "endTimeUnixNano",
                json!("1544712659000000000"),
            ),
            with(
                span("00000000000000b7", root, 1, "long"),
                "name",
                json!("l".repeat(65_537)),
            ),
        ],
    );
    let (status, body) = post(&url, &[json], web.to_string().as_bytes());
    assert_eq!(status, 200, "{body}");
    let told: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(told["partialSuccess"]["rejectedSpans"], "7");
    for (reason, expected) in [
        ("zero_id", 2),
        ("self_parent", 1),
        ("time_out_of_range", 2),
        ("negative_duration", 1),
        ("oversized_text", 1),
    ] {
        let name = format!("refused_spans_total{{protocol=\"otlp_http\",reason=\"{reason}\"}}");
        assert_eq!(count(&up, &name).await, expected, "{reason}");
    }

    // The same once more, a twin that contradicts, and two spans that call each other.
    let (status, _) = post(&url, &[json], web.to_string().as_bytes());
    assert_eq!(status, 200);
    let shop = batch(
        "shop",
        &[
            span("00000000000000a3", call, 2, "POST /orders"),
            span("00000000000000a3", call, 2, "POST /something-else"),
            span("00000000000000c1", "00000000000000c2", 2, "round"),
            span("00000000000000c2", "00000000000000c1", 2, "and round"),
        ],
    );
    let (status, body) = post(&url, &[json], shop.to_string().as_bytes());
    assert_eq!((status, body.as_str()), (200, "{}"));

    let path = format!("/api/v1/requests/{TRACE}/spans");
    let (_, kept) = up.query().get(&path).await;
    let mut names = Vec::new();
    for resource in kept["resourceSpans"].as_array().expect("a list") {
        for span in resource["scopeSpans"][0]["spans"]
            .as_array()
            .expect("a list")
        {
            names.push(span["name"].as_str().expect("a name").to_owned());
        }
    }
    names.sort();
    let expected = [
        "GET /",
        "POST /orders",
        "POST /orders",
        "POST /something-else",
        "and round",
        "round",
    ];
    assert_eq!(names, expected);
    let (_, tree) = up.query().get(&format!("/api/v1/requests/{TRACE}")).await;
    let nodes = tree["nodes"].as_array().expect("nodes");
    let top = nodes
        .iter()
        .find(|node| node["operation"] == "GET /")
        .expect("the root");
    assert_eq!(top["attributes"]["whole"], json!(whole));
    let order = nodes
        .iter()
        .find(|node| node["id"] == call)
        .expect("the call");
    assert_eq!(order["parent"], top["id"]);
    // Nothing of a cycle is lost, and nothing hangs below itself.
    assert!(
        nodes.iter().any(|node| node["operation"] == "round"),
        "{tree:#}"
    );
    assert!(
        nodes.iter().any(|node| node["operation"] == "and round"),
        "{tree:#}"
    );
}

#[tokio::test]
async fn bombs_and_broken_requests_are_refused_and_leave_no_trace_in_memory() {
    let up = Up::start(&["--servers", "1"]);
    let traces = format!("{}/v1/traces", up.server().url("otlp_http"));
    let zipkin = format!("{}/api/v2/spans", up.server().url("zipkin"));
    let (json, gzipped) = ("content-type: application/json", "content-encoding: gzip");
    let good = batch("web", &[span("00000000000000a1", "", 2, "GET /")]).to_string();
    assert_eq!(post(&traces, &[json], good.as_bytes()).0, 200);
    let before = up.server().resident_bytes();
    // A gigabyte, in a megabyte.
    let bomb = gzip(&vec![b' '; 64 << 20]).repeat(16);
    assert!(bomb.len() < 2 << 20);
    for url in [&traces, &zipkin] {
        for _ in 0..3 {
            assert_eq!(post(url, &[json, gzipped], &bomb).0, 413, "{url}");
        }
    }
    let cut = gzip(good.as_bytes());
    assert_eq!(
        post(&traces, &[json, gzipped], &cut[..cut.len() / 2]).0,
        400
    );
    // Longer than may be, sent as it is: announced, and not.
    let long = vec![b' '; 40 << 20];
    assert_eq!(post(&traces, &[json], &long).0, 413);
    let chunked = "transfer-encoding: chunked";
    assert_eq!(post(&traces, &[json, chunked], &long).0, 413);
    assert_eq!(
        post(&traces, &["content-type: text/html"], good.as_bytes()).0,
        415
    );
    assert_eq!(post(&zipkin, &[json], b"{}").0, 400);
    for (protocol, reason, expected) in [
        ("otlp_http", "too_large", 5),
        ("zipkin", "too_large", 3),
        ("otlp_http", "compression", 1),
        ("otlp_http", "content_type", 1),
        ("zipkin", "malformed", 1),
    ] {
        let name = format!("refused_requests_total{{protocol=\"{protocol}\",reason=\"{reason}\"}}");
        assert_eq!(count(&up, &name).await, expected, "{protocol} {reason}");
    }
    assert_eq!(count(&up, "spans_total{protocol=\"otlp_http\"}").await, 1);
    // A bomb costs what one request may, whatever it holds, and gives it back.
    let grown = up.server().resident_bytes().saturating_sub(before);
    assert!(grown < 256 << 20, "{grown} bytes");
    assert_eq!(post(&traces, &[json], good.as_bytes()).0, 200);
}
