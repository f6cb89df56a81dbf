//! Asking servers' agents over the admin port.

use serde_json::json;

use super::fleet::{Answer, Fleet};
use super::schema::assert_is;

async fn post(fleet: &Fleet, path: &str) -> Answer {
    fleet.ask("POST", path, "content-length: 0\r\n").await
}

const ORIGIN: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn a_server_that_is_asked_looks_through_its_journal_and_the_rest_counts_as_unasked() {
    let mut fleet = Fleet::start().await;
    let at = fleet.join("content-1").await;
    fleet.write(at, &[crate::fixture::Spec::default()]).await;
    let known = |journals: &serde_json::Value| journals["journals"][0]["epochs"][0]["records"] == 4;
    fleet.until("/api/v1/journals", known).await;
    let path = format!("/api/v1/journals/content-1/report?origin={ORIGIN}");
    let answer = post(&fleet, &path).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_is("ReportList", &answer.json());
    let expected = json!({
        "server": "content-1", "records": 0, "new": 0, "looked": 4, "lost": 0, "complete": true, "error": null,
    });
    assert_eq!(answer.json()["reports"], json!([expected]));
    // Everything was here already.
    let journals = fleet.get("/api/v1/journals").await.json();
    assert_is("JournalList", &journals);
    assert_eq!(journals["journals"][0]["epochs"][0]["unasked"], json!([]));
    let agent = json!({"mode": "real-time", "peers": "real-time"});
    assert_eq!(journals["journals"][0]["agent"], agent);
    // A server in real time holds nothing back.
    let answer = post(&fleet, &format!("/api/v1/report?origin={ORIGIN}")).await;
    assert_eq!(answer.json(), json!({"reports": [], "next": null}));
}

#[tokio::test]
async fn a_question_that_cannot_be_asked_is_refused_with_the_reason() {
    let fleet = Fleet::start().await;
    let absent = format!("/api/v1/journals/nobody/report?origin={ORIGIN}");
    for (path, status, code) in [
        ("/api/v1/report", 400, "bad_parameter"),
        ("/api/v1/report?origin=1", 400, "bad_parameter"),
        ("/api/v1/report?from=yesterday", 400, "bad_parameter"),
        ("/api/v1/report?when=now", 400, "unknown_parameter"),
        (
            &format!("/api/v1/report?origin={ORIGIN}&to=2026-11-20T19:05:00Z"),
            400,
            "bad_parameter",
        ),
        (
            &format!("/api/v1/journals/a%20b/report?origin={ORIGIN}"),
            400,
            "bad_parameter",
        ),
        (&absent, 404, "not_found"),
    ] {
        let answer = post(&fleet, path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert_eq!(answer.json()["error"]["code"], code, "{path}");
    }
    let asked = fleet.get("/api/v1/report?session=1").await;
    assert_eq!(asked.status, 405, "by POST only");
}
