//! What the API refuses, and how it says so.

use std::sync::Arc;

use super::fleet::Fleet;
use super::schema::assert_is;
use crate::AdminExtras;

#[tokio::test]
async fn what_cannot_be_asked_is_refused_by_name() {
    let fleet = Fleet::start().await;
    for (path, code, named) in [
        ("/api/v1/requests?servce=x", "unknown_parameter", "`servce`"),
        ("/api/v1/requests?limit=0", "bad_parameter", "`limit`"),
        ("/api/v1/requests?limit=1001", "bad_parameter", "`limit`"),
        ("/api/v1/requests?limit=ten", "bad_parameter", "`limit`"),
        (
            "/api/v1/requests?min_duration=fast",
            "bad_parameter",
            "`min_duration`",
        ),
        (
            "/api/v1/requests?max_duration=-1s",
            "bad_parameter",
            "`max_duration`",
        ),
        ("/api/v1/requests?error=maybe", "bad_parameter", "`error`"),
        (
            "/api/v1/requests?attribute=colour",
            "bad_parameter",
            "`attribute`",
        ),
        (
            "/api/v1/requests?session=1234",
            "bad_parameter",
            "`session`",
        ),
        ("/api/v1/requests?client=XYZ", "bad_parameter", "`client`"),
        ("/api/v1/requests?from=yesterday", "bad_parameter", "`from`"),
        ("/api/v1/requests?cursor=zzz", "bad_parameter", "`cursor`"),
        (
            "/api/v1/requests?service=a&service=b",
            "repeated_parameter",
            "`service`",
        ),
        (
            "/api/v1/sessions?service=a",
            "unknown_parameter",
            "`service`",
        ),
        (
            "/api/v1/sessions?to=2026-13-01T00:00:00Z",
            "bad_parameter",
            "`to`",
        ),
        ("/api/v1/services?x=1", "unknown_parameter", "`x`"),
        (
            "/api/v1/dependencies?limit=1",
            "unknown_parameter",
            "`limit`",
        ),
        ("/api/v1/dependencies?from=today", "bad_parameter", "`from`"),
        (
            "/api/v1/requests/NOPE/diagnosis",
            "bad_parameter",
            "`origin`",
        ),
        ("/api/v1/journals?limit=1", "unknown_parameter", "`limit`"),
        ("/api/v1/requests/NOPE", "bad_parameter", "`origin`"),
        ("/api/v1/requests/%ff%fe", "bad_parameter", "`origin`"),
        (
            "/api/v1/requests/00000000000000000000000000000000",
            "bad_parameter",
            "`origin`",
        ),
        (
            "/api/v1/requests/0af7651916cd43dd8448eb211c80319c?depth=1",
            "unknown_parameter",
            "`depth`",
        ),
        ("/api/v1/sessions/1", "bad_parameter", "`id`"),
    ] {
        let answer = fleet.get(path).await;
        assert_eq!(answer.status, 400, "{path}");
        let error = answer.json();
        assert_is("Error", &error);
        assert_eq!(error["error"]["code"], code, "{path}");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(named), "{path}: {message}");
    }
}

#[tokio::test]
async fn what_is_not_here_is_not_found() {
    let fleet = Fleet::start().await;
    for path in [
        "/api/v1/requests/0af7651916cd43dd8448eb211c80319c",
        "/api/v1/sessions/0af7651916cd43dd8448eb211c80319c",
        "/api/v1/nothing",
        "/etc/passwd",
        "/../../etc/passwd",
    ] {
        let answer = fleet.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_is("Error", &answer.json());
        assert_eq!(answer.json()["error"]["code"], "not_found");
    }
    for (method, path) in [
        ("POST", "/api/v1/requests"),
        ("DELETE", "/"),
        ("PUT", "/metrics"),
    ] {
        let answer = fleet.ask(method, path, "content-length: 0\r\n").await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_is("Error", &answer.json());
    }
    let head = "x".repeat(64 << 10);
    assert_eq!(
        fleet
            .ask("GET", "/", &format!("x: {head}\r\n"))
            .await
            .status,
        431
    );
}

#[tokio::test]
async fn the_page_is_served_with_a_policy_and_asked_for_once() {
    let fleet = Fleet::start().await;
    for (path, kind) in [
        ("/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/app.css", "text/css"),
    ] {
        let answer = fleet.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer.head.contains(&format!("content-type: {kind}")),
            "{}",
            answer.head
        );
        assert!(
            answer
                .head
                .contains("content-security-policy: default-src 'none'")
        );
        assert!(answer.head.contains("x-content-type-options: nosniff"));
        let tag = answer
            .head
            .lines()
            .find_map(|line| line.strip_prefix("etag: "))
            .unwrap();
        let again = fleet
            .ask("GET", path, &format!("if-none-match: {tag}\r\n"))
            .await;
        assert_eq!((again.status, again.body.as_str()), (304, ""));
    }
}

#[tokio::test]
async fn metrics_and_health_hold_what_other_parts_give() {
    let mut fleet = Fleet::start().await;
    assert_eq!(fleet.get("/healthz").await.body, "ok\n");
    assert_eq!(fleet.get("/readyz").await.status, 200);
    fleet.close().await;
    let extras = AdminExtras {
        metrics: Some(Arc::new(|| {
            Box::pin(async { "# TYPE a counter\na_total 1\n# EOF\n".to_owned() })
        })),
        ready: Some(Arc::new(|| Err("a server starts".to_owned()))),
        routes: Some(axum::Router::new().route("/more", axum::routing::get(|| async { "more" }))),
        ..AdminExtras::default()
    };
    fleet.open(extras).await;
    let metrics = fleet.get("/metrics").await;
    assert!(
        metrics
            .head
            .contains("content-type: application/openmetrics-text")
    );
    assert!(
        metrics.body.contains("\nselvedge_repository_entries 0\n"),
        "{}",
        metrics.body
    );
    assert!(
        metrics
            .body
            .ends_with("# TYPE a counter\na_total 1\n# EOF\n"),
        "{}",
        metrics.body
    );
    assert_eq!(metrics.body.matches("# EOF").count(), 1);
    let ready = fleet.get("/readyz").await;
    assert_eq!(
        (ready.status, ready.body.as_str()),
        (503, "a server starts\n")
    );
    assert_eq!(fleet.get("/more").await.body, "more");
}
