//! Call paths and audits, over a real socket.

use selvedge_identity::{AuditKey, Consumer, Holder, KeyRing};
use serde_json::{Value, json};

use super::fleet::{Answer, Fleet, a_visit};
use super::schema::assert_is;
use crate::fixture::{self, Spec};
use crate::{Access, AdminExtras};

/// Lines once all of the visit is here: three requests of one client through three services.
async fn lines(fleet: &Fleet, query: &str) -> Value {
    let whole = |list: &Value| {
        let rows = list["lines"].as_array().expect("lines");
        let calls: u64 = rows.iter().filter_map(|row| row["calls"].as_u64()).sum();
        // Seven calls of the client, four of services.
        calls == 11
            && rows
                .iter()
                .all(|row| row["observed"] == row["calls"] && row["unknown"] == 0)
    };
    fleet.until("/api/v1/audit", whole).await;
    let answer = fleet.get(&format!("/api/v1/audit{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_is("LineList", &answer.json());
    answer.json()
}

fn of<'a>(list: &'a Value, consumer: &str, service: &str) -> &'a Value {
    let rows = list["lines"].as_array().expect("lines");
    let found = rows
        .iter()
        .find(|row| row["consumer"] == consumer && row["service"] == service);
    found.unwrap_or_else(|| panic!("no {consumer} {service} in {list:#}"))
}

fn client(n: u8) -> String {
    format!("client:{}", fixture::client(n))
}

fn ring() -> KeyRing {
    KeyRing::single([9; 32])
}

fn bearer(holder: Holder, ring: &KeyRing) -> String {
    let expires = u64::MAX;
    let key = AuditKey { holder, expires }.sign(ring);
    format!("authorization: Bearer {key}\r\n")
}

fn extras(required: bool) -> AdminExtras {
    AdminExtras {
        access: Access {
            keys: Some(ring()),
            required,
        },
        ..AdminExtras::default()
    }
}

async fn with_keys(required: bool) -> Fleet {
    let mut fleet = Fleet::start().await;
    a_visit(&mut fleet).await;
    lines(&fleet, "").await;
    fleet.close().await;
    fleet.open(extras(required)).await;
    fleet
}

fn code(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.json()["error"]["code"].clone())
}

#[tokio::test]
async fn paths_tell_which_way_requests_went_and_where_they_failed() {
    let mut fleet = Fleet::start().await;
    a_visit(&mut fleet).await;
    lines(&fleet, "").await;
    let list = fleet.get("/api/v1/analysis/paths").await.json();
    assert_is("PathList", &list);
    assert_eq!(list["counted"]["requests"], 3);
    assert_eq!(list["counted"]["complete"], true);
    let rows = list["paths"].as_array().expect("paths");
    assert_eq!(rows.len(), 3);
    let step = |service: u8, action: u8| json!({"service": fixture::service(service), "operation": fixture::action(action)});
    let second = &rows[1];
    assert_eq!(second["path"], json!([step(1, 2), step(2, 2), step(3, 4)]));
    assert_eq!(second["errors"], 1);
    assert_eq!(second["share"], 1.0);
    assert_eq!(second["latency"]["p99"], 1_000_000);
    assert_eq!(second["request_latency"]["p50"], 20_000_000);
    assert_eq!(second["examples"], json!([fixture::origin(2)]));
    assert_eq!(second["error_examples"], json!([fixture::origin(2)]));

    let path = "/api/v1/analysis/paths?service=service-1&operation=GET%20/3";
    let one = fleet.get(path).await.json();
    assert_eq!(one["paths"], json!([rows[2]]));
    let none = fleet
        .get("/api/v1/analysis/paths?service=service-2")
        .await
        .json();
    assert_eq!(none["paths"], json!([]), "service-2 is nobody's root");

    // Pages hold on to what the first one counted.
    let first = fleet.get("/api/v1/analysis/paths?limit=2").await.json();
    assert_eq!(first["paths"], json!(rows[..2]));
    let next = first["next"].as_str().expect("more");
    let path = format!("/api/v1/analysis/paths?limit=2&cursor={next}");
    let last = fleet.get(&path).await.json();
    assert_eq!(last["paths"], json!(rows[2..]));
    assert_eq!(last["next"], Value::Null);
}

#[tokio::test]
async fn every_call_is_charged_to_the_client_and_to_the_service_that_made_it() {
    let mut fleet = Fleet::start().await;
    a_visit(&mut fleet).await;
    let list = lines(&fleet, "").await;
    let (whose, calls) = (client(1), |row: &Value| row["calls"].as_u64());
    for (service, count) in [("service-1", 3), ("service-2", 3), ("service-3", 1)] {
        let row = of(&list, &whose, service);
        assert_eq!(calls(row), Some(count), "{row}");
        assert_eq!(row["work"], 7 * count);
        assert_eq!(
            (&row["request_bytes"], &row["response_bytes"]),
            (&json!(count), &json!(2 * count))
        );
        assert_eq!(
            (&row["calls_min"], &row["calls_max"]),
            (&json!(count), &json!(count))
        );
    }
    assert_eq!(calls(of(&list, "service:service-1", "service-2")), Some(3));
    let failed = of(&list, "service:service-2", "service-3");
    assert_eq!((calls(failed), &failed["errors"]), (Some(1), &json!(1)));
    assert_eq!(of(&list, "service:service-1", "service-2")["refused"], 1);

    // Each line opens into the requests that prove it.
    for row in list["lines"].as_array().expect("lines") {
        let trees = row["trees"].as_str().expect("a link");
        let mut requests = Vec::new();
        let mut path = format!("{trees}&limit=1");
        loop {
            let page = fleet.get(&path).await.json();
            assert_is("ChargedList", &page);
            requests.extend(page["requests"].as_array().cloned().expect("requests"));
            let Some(next) = page["next"].as_str() else {
                break;
            };
            path = format!("{trees}&limit=1&cursor={next}");
        }
        for sum in [
            "requests",
            "calls",
            "errors",
            "work",
            "request_bytes",
            "observed",
        ] {
            let added: u64 = requests.iter().filter_map(|one| one[sum].as_u64()).sum();
            assert_eq!(row[sum], added, "{sum} of {row}");
        }
    }
}

#[tokio::test]
async fn lines_come_by_page_by_period_and_by_name() {
    let mut fleet = Fleet::start().await;
    a_visit(&mut fleet).await;
    let all = lines(&fleet, "?period=hour").await;
    let rows = all["lines"].as_array().expect("lines");
    assert_eq!(rows[0]["from"], "1970-01-01T00:00:00.000000000Z");
    let mut paged = Vec::new();
    let mut path = "/api/v1/audit?period=hour&limit=2".to_owned();
    loop {
        let page = fleet.get(&path).await.json();
        paged.extend(page["lines"].as_array().cloned().expect("lines"));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
        path = format!("/api/v1/audit?period=hour&limit=2&cursor={next}");
    }
    assert_eq!(&paged, rows);
    let list = lines(&fleet, "?consumer=service:service-2&service=service-3").await;
    assert_eq!(list["lines"].as_array().map(Vec::len), Some(1));
    let list = lines(&fleet, &format!("?consumer={}", fixture::client(2))).await;
    assert_eq!(list["lines"], json!([]));
    for query in ["consumer=client:x", "period=week", "cursor=x", "from=x"] {
        let answer = fleet.get(&format!("/api/v1/audit?{query}")).await;
        assert_eq!(code(&answer), (400, json!("bad_parameter")), "{query}");
    }
    let answer = fleet.get("/api/v1/audit/requests").await;
    assert_eq!(code(&answer), (400, json!("bad_parameter")), "whose?");
}

#[tokio::test]
async fn a_consumers_key_opens_its_own_lines_and_trees_and_nothing_else() {
    let mut fleet = with_keys(false).await;
    let gateway = fleet.join("gateway-2").await;
    let other = Spec {
        origin: Some(9),
        client: Some(2),
        stack: vec![9],
        ..Spec::default()
    };
    fleet.write(gateway, &[other]).await;
    let there = |list: &Value| list["lines"].to_string().contains(&client(2));
    fleet.until("/api/v1/audit", there).await;

    let own = Holder::Consumer(Consumer::Client(fixture::client(1)));
    let key = bearer(own, &ring());
    let queries = [
        "",
        "?service=service-2",
        "?period=day",
        &format!("?consumer={}", client(1)),
    ];
    for query in queries {
        let answer = fleet
            .ask("GET", &format!("/api/v1/audit{query}"), &key)
            .await;
        assert_eq!(answer.status, 200, "{query}");
        let list = answer.json();
        let rows = list["lines"].as_array().expect("lines");
        assert!(
            !rows.is_empty() && rows.iter().all(|row| row["consumer"] == client(1)),
            "{list:#}"
        );
    }
    for path in ["/api/v1/audit", "/api/v1/audit/requests"] {
        let path = format!("{path}?consumer={}", client(2));
        assert_eq!(
            code(&fleet.ask("GET", &path, &key).await),
            (403, json!("forbidden"))
        );
    }
    let list = fleet
        .ask("GET", "/api/v1/audit/requests", &key)
        .await
        .json();
    assert_eq!(list["requests"].as_array().map(Vec::len), Some(3));

    let tree = format!("/api/v1/requests/{}", fixture::origin(2));
    let whole = fleet.get(&tree).await;
    assert!(whole.body.contains("it broke") && whole.body.contains("10.0.0.1"));
    let seen = fleet.ask("GET", &tree, &key).await;
    assert_is("Tree", &seen.json());
    assert_eq!(seen.json()["nodes"].as_array().map(Vec::len), Some(3));
    assert!(!seen.body.contains("it broke") && !seen.body.contains("10.0.0.1"));
    let other = format!("/api/v1/requests/{}", fixture::origin(9));
    assert_eq!(
        code(&fleet.ask("GET", &other, &key).await),
        (404, json!("not_found"))
    );

    for path in [
        "/api/v1/requests",
        &format!("{tree}/diagnosis"),
        "/api/v1/sessions",
        "/api/v1/services",
        "/api/v1/analysis/paths",
        "/api/v1/nothing",
    ] {
        assert_eq!(
            code(&fleet.ask("GET", path, &key).await),
            (403, json!("forbidden")),
            "{path}"
        );
    }
    let posted = fleet.ask("POST", "/api/v1/report", &key).await;
    assert_eq!(code(&posted), (403, json!("forbidden")));
}

#[tokio::test]
async fn a_services_key_shows_the_calls_it_made_and_handled() {
    let fleet = with_keys(false).await;
    let key = bearer(
        Holder::Consumer(Consumer::Service("service-2".into())),
        &ring(),
    );
    let list = fleet.ask("GET", "/api/v1/audit", &key).await.json();
    let rows = list["lines"].as_array().expect("lines");
    assert_eq!(rows.len(), 1, "{list:#}");
    assert_eq!(rows[0]["service"], "service-3");
    let tree = format!("/api/v1/requests/{}", fixture::origin(2));
    let tree = fleet.ask("GET", &tree, &key).await.json();
    let services: Vec<&Value> = tree["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|n| &n["service"])
        .collect();
    assert_eq!(
        services,
        ["service-2", "service-3"],
        "its caller is not its business"
    );
    assert_eq!(tree["nodes"][0]["parent"], Value::Null);
}

#[tokio::test]
async fn a_key_that_is_worth_nothing_opens_nothing() {
    let fleet = with_keys(false).await;
    let forged = bearer(Holder::Operator, &KeyRing::single([1; 32]));
    let expired = AuditKey {
        holder: Holder::Operator,
        expires: 1,
    };
    let expired = format!("authorization: Bearer {}\r\n", expired.sign(&ring()));
    let good = bearer(Holder::Operator, &ring());
    let refused = [
        forged,
        expired,
        "authorization: Bearer \r\n".to_owned(),
        "authorization: bearer operator\r\n".to_owned(),
        format!("{good}{good}"),
    ];
    for headers in refused {
        let answer = fleet.ask("GET", "/api/v1/audit", &headers).await;
        assert_eq!(code(&answer), (401, json!("unauthorized")), "{headers}");
        assert!(
            answer.head.contains("www-authenticate: bearer"),
            "{}",
            answer.head
        );
    }
    assert_eq!(fleet.ask("GET", "/api/v1/audit", &good).await.status, 200);
    let basic = "authorization: Basic b3BlcmF0b3I6eA==\r\n";
    assert_eq!(
        fleet.ask("GET", "/api/v1/audit", basic).await.status,
        200,
        "a proxy's"
    );
}

#[tokio::test]
async fn where_keys_are_required_nothing_is_told_without_one() {
    let fleet = with_keys(true).await;
    for path in [
        "/api/v1/audit",
        "/api/v1/requests",
        "/api/v1/sessions",
        "/api/v1/nothing",
    ] {
        assert_eq!(
            code(&fleet.get(path).await),
            (401, json!("unauthorized")),
            "{path}"
        );
    }
    assert_eq!(
        fleet
            .ask("POST", "/api/v1/import", "content-length: 0\r\n")
            .await
            .status,
        401
    );
    for path in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/",
        "/api/v1/openapi.json",
    ] {
        assert_eq!(fleet.get(path).await.status, 200, "{path}");
    }
    let key = bearer(Holder::Operator, &ring());
    assert_eq!(fleet.ask("GET", "/api/v1/requests", &key).await.status, 200);
}

#[tokio::test]
async fn a_repository_without_keys_believes_none() {
    let fleet = Fleet::start().await;
    let key = bearer(Holder::Operator, &ring());
    let answer = fleet.ask("GET", "/api/v1/audit", &key).await;
    assert_eq!(code(&answer), (401, json!("unauthorized")));
}
