//! Spans from files, and spans given back.

use serde_json::{Value, json};

use super::fleet::{Answer, Fleet};
use super::schema::assert_is;
use crate::IMPORT_BYTES_MAX;

const TRACE: &str = "5b8efff798038103d269b633813fc60c";
const JSON: &str = "application/json";

async fn import(fleet: &Fleet, kind: &str, body: &str) -> Answer {
    let length = body.len();
    let sent = format!("content-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}");
    fleet.ask("POST", "/api/v1/import", &sent).await
}

fn batch() -> Value {
    let span = |id: &str, parent: &str, name: &str| {
        json!({"traceId": TRACE, "spanId": id, "parentSpanId": parent, "name": name, "kind": 2,
            "startTimeUnixNano": "1544712660000000001", "endTimeUnixNano": "1544712661000000002",
            "traceState": "a=b", "status": {"code": 2, "message": "why"},
            "attributes": [{"key": "double", "value": {"doubleValue": 0.1}}]})
    };
    json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "web"}}]},
        "scopeSpans": [{"scope": {"name": "s", "version": "1"}, "spans": [
            span("00000000000000a1", "", "GET /"), span("0000000000000000", "", "no id")]}],
    }]})
}

#[tokio::test]
async fn an_import_says_what_became_of_it_and_its_spans_are_given_back_as_they_were() {
    let fleet = Fleet::start().await;
    let first = import(&fleet, JSON, &batch().to_string()).await;
    assert_eq!(first.status, 200, "{}", first.body);
    assert_is("Imported", &first.json());
    let expected = |new: u64, repeated: u64| json!({"new": new, "repeated": repeated, "refused": {"zero_id": 1}, "origins": [TRACE]});
    assert_eq!(first.json(), expected(1, 0));
    let again = import(
        &fleet,
        "application/x-ndjson; charset=utf-8",
        &batch().to_string(),
    )
    .await;
    assert_eq!(again.json(), expected(0, 1));

    let spans = fleet.get(&format!("/api/v1/requests/{TRACE}/spans")).await;
    assert_is("Traces", &spans.json());
    let resource = &spans.json()["resourceSpans"][0];
    let given = &batch()["resourceSpans"][0];
    assert_eq!(
        resource["resource"]["attributes"],
        given["resource"]["attributes"]
    );
    let (scope, given) = (&resource["scopeSpans"][0], &given["scopeSpans"][0]);
    assert_eq!(scope["scope"]["version"], "1");
    let (span, given) = (&scope["spans"][0], &given["spans"][0]);
    for part in [
        "traceId",
        "spanId",
        "name",
        "kind",
        "startTimeUnixNano",
        "endTimeUnixNano",
        "traceState",
        "status",
        "attributes",
    ] {
        assert_eq!(span[part], given[part], "{part}");
    }
    // What is given back is taken as the same.
    let returned = import(&fleet, JSON, &spans.body).await;
    assert_eq!(returned.json()["repeated"], 1);
    let absent = fleet
        .get(&format!("/api/v1/requests/{}/spans", "1".repeat(32)))
        .await;
    assert_eq!(
        (absent.status, &absent.json()["error"]["code"]),
        (404, &json!("not_found"))
    );
}

#[tokio::test]
async fn what_cannot_be_imported_is_refused_with_the_reason() {
    let fleet = Fleet::start().await;
    let batch = batch().to_string();
    // What a page's form could send without being asked for leave.
    for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let answer = import(&fleet, kind, &batch).await;
        assert_eq!(answer.status, 415, "{kind}");
        assert_is("Error", &answer.json());
    }
    for body in ["", "not spans", "{\"resourceSpans\": 7}", "{}"] {
        let answer = import(&fleet, JSON, body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.json()["error"]["code"], "bad_spans");
    }
    let length = IMPORT_BYTES_MAX + 1;
    let sent = format!("content-type: {JSON}\r\ncontent-length: {length}\r\n\r\n{{");
    let answer = fleet.ask("POST", "/api/v1/import", &sent).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (413, &json!("too_large"))
    );
    let answer = fleet
        .ask("POST", "/api/v1/import?x=1", "content-length: 0\r\n")
        .await;
    assert_eq!(answer.json()["error"]["code"], "unknown_parameter");
    assert_eq!(fleet.get("/api/v1/import").await.status, 405);
}
