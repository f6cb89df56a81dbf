//! Spans that were posted stand beside the program's own requests: found by what is broken in them,
//! shown with all they say, counted in the metrics, and the same over a kill.

use selvedge_system_tests::{Query, Up};
use serde_json::{Value, json};

const BROKEN: &str = "5b8efff798038103d269b633813fc60c";
const WHOLE: &str = "5b8efff798038103d269b633813fc60d";

fn span(origin: &str, id: &str, parent: &str, kind: u8) -> Value {
    json!({
        "traceId": origin, "spanId": id, "parentSpanId": parent, "kind": kind, "name": "GET /film",
        "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000",
        "attributes": [{"key": "film", "value": {"intValue": "7"}}],
        "events": [{"timeUnixNano": "1544712660500000000", "name": "found"}],
    })
}

fn batch(spans: &[Value]) -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "films"}}]},
        "scopeSpans": [{"spans": spans}],
    }]})
}

async fn post(up: &Up, body: &Value) {
    let url = format!("{}/v1/traces", up.server().url("otlp_http"));
    let request = reqwest::Client::new().post(url).json(body);
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
}

/// The row of an origin in a search, if it is there.
async fn found(query: &Query, search: &str, origin: &str) -> Option<Value> {
    let (status, list) = query.get(&format!("/api/v1/requests?{search}")).await;
    assert_eq!(status, 200, "{search}: {list}");
    let rows = list["requests"].as_array().expect("requests");
    rows.iter().find(|row| row["origin"] == origin).cloned()
}

async fn check(up: &Up) {
    let query = up.query();
    let row = found(&query, "flag=missing_root", BROKEN).await;
    let row = row.expect("the broken one is found by its flag");
    assert_eq!(row["service"], "films");
    assert!(found(&query, "flag=missing_root", WHOLE).await.is_none());
    let row = found(&query, "attribute=film:7&error=false", WHOLE).await;
    assert_eq!(row.expect("found by its attribute")["flags"], json!([]));
    let tree = query.tree(WHOLE, 1).await;
    assert_eq!(tree["complete"], true);
    assert_eq!(tree["nodes"][0]["attributes"], json!({"film": "7"}));
    assert_eq!(tree["nodes"][0]["events"][0]["name"], "found");
}

async fn metrics(up: &Up) -> String {
    let url = format!("{}/metrics", up.admin());
    let answer = reqwest::get(url).await.expect("an answer");
    answer.text().await.expect("text")
}

#[tokio::test]
async fn spans_are_searched_shown_and_counted_beside_our_own_requests() {
    let mut up = Up::start(&[]);
    let order = reqwest::Client::new()
        .post(format!("{}/orders", up.gateway()))
        .json(&json!({"item": "mug", "quantity": 1}));
    assert!(order.send().await.expect("an answer").status().is_success());
    let spans = batch(&[
        span(BROKEN, "00000000000000a2", "00000000000000a1", 2),
        span(WHOLE, "00000000000000b1", "", 2),
    ]);
    post(&up, &spans).await;
    check(&up).await;
    // The order's own requests are in the same list.
    let ours = |list: &Value| {
        list["requests"]
            .as_array()
            .is_some_and(|rows| rows.len() >= 3)
    };
    up.query().until("/api/v1/requests", ours).await;
    up.server_mut().kill();
    up.restart();
    check(&up).await;
    post(&up, &spans).await;
    let text = metrics(&up).await;
    assert!(text.contains("selvedge_repository_spans 2\n"), "{text}");
    assert!(
        text.contains("selvedge_repository_repeated_spans_total 2\n"),
        "{text}"
    );
    // Judged once they have been quiet.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while !metrics(&up)
        .await
        .contains("flagged_requests{flag=\"missing_root\"} 1\n")
    {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{}",
            metrics(&up).await
        );
        tokio::task::yield_now().await;
    }
}
