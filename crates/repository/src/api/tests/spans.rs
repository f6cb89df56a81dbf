//! What the API answers of services that have no journal, alone and beside those that have one.

use std::sync::Arc;

use selvedge_entry::{Direction, Timestamp};
use selvedge_identity::carrier::inject_trace_context;
use selvedge_identity::{Interaction, Origin, RequestIdentifier, StackId};
use selvedge_spans::{Event, Kind, Resource, Span, SpanLink, StatusCode, Value};
use serde_json::{Value as Json, json};

use super::fleet::Fleet;
use super::schema::assert_is;
use crate::fixture::{self, Spec};
use crate::{AdminExtras, TakenSpans};

fn id(n: u8) -> Interaction {
    Interaction::from_random([n; 8])
}

/// A span of 100 ns; it begins `at` nanoseconds after 1970.
fn span(origin: Origin, n: u8, parent: Option<u8>, service: &str, kind: Kind, at: i64) -> Span {
    let mut resource = Resource::default();
    let mut put = |name: &str, value: &str| resource.attributes.push((name.into(), value.into()));
    put("service.name", service);
    put("service.version", "2.0");
    put("host.name", &format!("host-of-{service}"));
    put("region", "north");
    let mut span = Span::new(origin, id(n), Arc::new(resource), Arc::default());
    span.parent = parent.map(id);
    span.kind = kind;
    span.name = format!("work of {service}").into();
    span.start = Some(Timestamp(at));
    span.duration_ns = Some(100);
    span
}

/// A web service calls a shop, which fails.
fn order() -> Vec<Span> {
    let origin = fixture::origin(1);
    let root = span(origin, 1, None, "web", Kind::Server, 1_000);
    let call = span(origin, 2, Some(1), "web", Kind::Client, 1_010);
    let mut served = span(origin, 3, Some(2), "shop", Kind::Server, 1_020);
    served.duration_ns = Some(50);
    served.status.code = StatusCode::Error;
    served.status.message = Some("out of stock".into());
    served.attributes.push(("item".into(), Value::Int(7)));
    served.events.push(Event {
        at: Timestamp(1_030),
        name: "looked".into(),
        attributes: [("shelf".into(), Value::from("b"))].into_iter().collect(),
        dropped_attributes: 0,
    });
    served.links.push(SpanLink {
        origin: fixture::origin(9),
        id: id(9),
        trace_state: None,
        attributes: selvedge_spans::Attributes::default(),
        dropped_attributes: 0,
        flags: 0,
    });
    let mut inside = span(origin, 4, Some(3), "shop", Kind::Internal, 1_025);
    inside.name = "look".into();
    inside.attributes.push(("depth".into(), "deep".into()));
    vec![root, call, served, inside]
}

fn rows(list: &Json) -> Vec<&str> {
    let rows = list["requests"].as_array().expect("requests");
    rows.iter()
        .map(|row| row["origin"].as_str().expect("an origin"))
        .collect()
}

async fn found(fleet: &Fleet, query: &str) -> Vec<String> {
    let answer = fleet.get(&format!("/api/v1/requests?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    assert_is("RequestList", &answer.json());
    rows(&answer.json())
        .into_iter()
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_trace_of_spans_alone_is_listed_found_and_shown_like_any_request() {
    let mut fleet = Fleet::start().await;
    let taken = fleet.take_spans(order()).await;
    assert_eq!(
        taken,
        TakenSpans {
            new: 4,
            repeated: 0
        }
    );
    for restart in [false, true] {
        if restart {
            fleet.close().await;
            fleet.open(AdminExtras::default()).await;
            let again = fleet.take_spans(order()).await;
            assert_eq!(
                again,
                TakenSpans {
                    new: 0,
                    repeated: 4
                }
            );
        }
        let origin = fixture::origin(1).to_string();
        let list = fleet.get("/api/v1/requests").await.json();
        assert_eq!(
            list["requests"],
            json!([{
                "origin": origin, "service": "web", "operation": "work of web",
                "start": "1970-01-01T00:00:00.000001000Z", "duration": 100, "error": false,
                "nodes": 2, "flags": ["error"],
            }])
        );
        for query in [
            "service=shop",
            "operation=work%20of%20shop",
            "min_duration=100ns",
            "service=shop&max_duration=50ns",
            "service=shop&error=true",
            "error=false",
            "attribute=item:7",
            "attribute=region:north",
            "attribute=depth:deep",
            "flag=error",
            "from=1970-01-01T00:00:00.000001Z&to=1970-01-01T00:00:00.000002Z",
        ] {
            let origins = found(&fleet, query).await;
            assert_eq!(origins, std::slice::from_ref(&origin), "{query}");
        }
        for query in [
            "service=none",
            "min_duration=101ns",
            "error=true",
            "attribute=item:8",
            "attribute=item:7&service=web",
            "flag=inferred",
            "to=1970-01-01T00:00:00.000001Z",
        ] {
            assert!(found(&fleet, query).await.is_empty(), "{query}");
        }
        let tree = fleet
            .get(&format!("/api/v1/requests/{origin}"))
            .await
            .json();
        assert_is("Tree", &tree);
        assert_eq!(tree["complete"], true);
        let shop = &tree["nodes"][1];
        assert_eq!(shop["service"], "shop");
        assert_eq!(shop["evidence"], "observed");
        assert_eq!(shop["error"], "out of stock");
        assert_eq!(shop["attributes"], json!({"item": "7"}));
        assert_eq!(
            shop["events"],
            json!([{
                "at_raw": "1970-01-01T00:00:00.000001030Z", "name": "looked",
                "attributes": {"shelf": "b"},
            }])
        );
        assert_eq!(shop["actions"][0]["operation"], "look");
        assert_eq!(shop["actions"][0]["attributes"], json!({"depth": "deep"}));
        assert_eq!(tree["links"][0]["interaction"], id(9).to_string());
        let services = fleet.get("/api/v1/services").await.json();
        assert_eq!(
            services["services"][0],
            json!({
                "service": "shop", "operations": ["look", "work of shop"], "versions": ["2.0"],
                "hosts": ["host-of-shop"], "entries": 2, "errors": 1,
                "last": "1970-01-01T00:00:00.000001025Z",
            })
        );
        let dependencies = fleet.get("/api/v1/dependencies").await.json();
        let edge = &dependencies["dependencies"][0];
        assert_eq!(
            (&edge["caller"], &edge["callee"]),
            (&json!("web"), &json!("shop"))
        );
        assert_eq!((&edge["calls"], &edge["errors"]), (&json!(1), &json!(1)));
        let path = format!("/api/v1/requests/{origin}/diagnosis");
        let diagnosis = fleet.get(&path).await.json();
        assert_eq!(diagnosis["sources"][0]["service"], "shop");
    }
    fleet.close().await;
}

#[tokio::test]
async fn pages_go_on_over_requests_of_both_kinds() {
    let mut fleet = Fleet::start().await;
    let server = fleet.join("content-1").await;
    let entries: Vec<Spec> = (1..=3)
        .map(|n| Spec {
            origin: Some(n),
            at: 1_000 * i64::from(n),
            ..Spec::default()
        })
        .collect();
    fleet.write(server, &entries).await;
    let spans = (1..=3).map(|n| {
        let at = 1_500 + 1_000 * i64::from(n);
        span(fixture::origin(n + 10), n, None, "web", Kind::Server, at)
    });
    fleet.take_spans(spans.collect()).await;
    let all = |list: &Json| rows(list).len() == 6;
    fleet.until("/api/v1/requests", all).await;
    let mut origins = Vec::new();
    let mut next = String::new();
    loop {
        let list = fleet
            .get(&format!("/api/v1/requests?limit=2{next}"))
            .await
            .json();
        origins.extend(rows(&list).into_iter().map(str::to_owned));
        match list["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    let expected = [13, 12, 3, 11, 2, 1].map(|n| fixture::origin(n).to_string());
    assert_eq!(origins, expected);
    fleet.close().await;
}

/// A service that speaks OpenTelemetry only is called by one that keeps a journal: the span says
/// which call it received, and its trace state says where that call stands.
#[tokio::test]
async fn spans_and_entries_of_one_request_make_one_tree() {
    let mut fleet = Fleet::start().await;
    let gateway = fleet.join("gateway").await;
    let root = Spec {
        stack: vec![1],
        at: 1_000,
        ..Spec::default()
    };
    let call = Spec {
        direction: Direction::Outbound,
        depth: 1,
        stack: vec![1, 2],
        at: 1_010,
        ..root.clone()
    };
    fleet.write(gateway, &[root, call]).await;
    let origin = fixture::origin(1);
    let stack = [1, 2].map(|n| StackId::new(&[n; 4]).expect("an id"));
    let identifier = RequestIdentifier::from_parts(origin, 1, 6, &stack).expect("an identifier");
    let sent = inject_trace_context(&identifier, id(2), 1, None);
    let mut served = span(origin, 3, Some(2), "shop", Kind::Server, 1_020);
    served.trace_state = Some(sent.tracestate.as_str().into());
    fleet.take_spans(vec![served]).await;
    let whole = |tree: &Json| {
        tree["nodes"]
            .as_array()
            .is_some_and(|nodes| nodes.len() == 2)
    };
    let path = format!("/api/v1/requests/{origin}");
    let tree = fleet
        .until(&path, |tree| whole(tree) && tree["complete"] == true)
        .await;
    assert_eq!(tree["nodes"][1]["service"], "shop");
    assert_eq!(tree["nodes"][1]["evidence"], "observed");
    assert_eq!(tree["nodes"][1]["parent"], tree["nodes"][0]["id"]);
    let row = &fleet.get("/api/v1/requests").await.json()["requests"][0];
    assert_eq!(row["nodes"], 2);
    assert_eq!(row["service"], fixture::service(1));
    assert_eq!(found(&fleet, "service=shop").await, [origin.to_string()]);
    fleet.close().await;
}

fn metric(text: &str, name: &str) -> Option<f64> {
    let rest = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("selvedge_repository_{name}")))?;
    rest.trim().parse().ok()
}

#[tokio::test]
async fn broken_requests_are_counted_by_flag_and_hosts_by_what_was_reconstructed() {
    let mut fleet = Fleet::start().await;
    let server = fleet.join("content-1").await;
    // The service between the root and the third one kept no log.
    let root = Spec {
        stack: vec![1],
        ..Spec::default()
    };
    let deep = Spec {
        depth: 2,
        stack: vec![1, 2, 3],
        service: 3,
        at: 50,
        ..root.clone()
    };
    let whole = Spec {
        origin: Some(2),
        ..root.clone()
    };
    fleet.write(server, &[root, deep, whole]).await;
    let orphan = span(fixture::origin(3), 2, Some(1), "web", Kind::Server, 1_000);
    fleet.take_spans(vec![orphan]).await;
    let told = |text: &str| {
        metric(text, "undecided_requests") == Some(0.0)
            // An orphan's root is inferred, too.
            && metric(text, "flagged_requests{flag=\"inferred\"}") == Some(2.0)
            && metric(text, "flagged_requests{flag=\"missing_root\"}") == Some(1.0)
    };
    let text = fleet.text_until("/metrics", told).await;
    let host = |name: &str| metric(&text, &format!("{name}{{host=\"10.0.0.1\"}}"));
    assert_eq!(host("host_calls"), Some(1.0));
    assert_eq!(host("host_calls_reconstructed"), Some(1.0));
    assert_eq!(host("host_calls_reconstructed_share"), Some(1.0));
    let unknown = metric(&text, "host_calls_reconstructed{host=\"unknown\"}");
    assert_eq!(unknown, Some(1.0), "{text}");
    let [broken, orphaned] = [1, 3].map(|n| fixture::origin(n).to_string());
    let inferred = found(&fleet, "flag=inferred").await;
    assert_eq!(inferred, [orphaned.clone(), broken]);
    // What was lost comes after all.
    let late = Spec {
        depth: 1,
        stack: vec![1, 2],
        service: 2,
        ..Spec::default()
    };
    fleet.write(server, &[late]).await;
    let mended = |text: &str| metric(text, "flagged_requests{flag=\"inferred\"}") == Some(1.0);
    let text = fleet.text_until("/metrics", mended).await;
    assert!(
        !text.contains("host_calls_reconstructed{host=\"10.0.0.1\"}"),
        "{text}"
    );
    assert_eq!(found(&fleet, "flag=inferred").await, [orphaned]);
    // Judged anew by who starts anew.
    fleet.close().await;
    fleet.open(AdminExtras::default()).await;
    let the_same = |text: &str| {
        metric(text, "undecided_requests") == Some(0.0)
            && metric(text, "flagged_requests{flag=\"missing_root\"}") == Some(1.0)
    };
    fleet.text_until("/metrics", the_same).await;
    fleet.close().await;
}

#[tokio::test]
async fn large_and_deep_traces_are_taken_searched_and_shown() {
    let mut fleet = Fleet::start().await;
    let wide: u32 = 20_000;
    let deep: u32 = 10_000;
    let long_id = |n: u32| Interaction::from_random((u64::from(n) + 1).to_be_bytes());
    let shaped = |origin: Origin, count: u32, parent: fn(u32) -> u32| -> Vec<Span> {
        let model = span(origin, 1, None, "web", Kind::Server, 1_000);
        let spans = (0..count).map(|n| Span {
            id: long_id(n),
            parent: (n > 0).then(|| long_id(parent(n))),
            ..model.clone()
        });
        spans.collect()
    };
    let origins = [fixture::origin(1), fixture::origin(2)];
    fleet
        .take_spans(shaped(origins[0], wide, |n| (n - 1) / 100))
        .await;
    fleet.take_spans(shaped(origins[1], deep, |n| n - 1)).await;
    for (origin, count) in origins.into_iter().zip([wide, deep]) {
        let path = format!("/api/v1/requests/{origin}");
        let answer = fleet.get(&path).await;
        assert!(answer.head.contains("transfer-encoding: chunked"));
        let tree = answer.json();
        assert_eq!(tree["nodes"].as_array().map(Vec::len), Some(count as usize));
        assert_eq!(tree["complete"], true);
    }
    let list = fleet.get("/api/v1/requests?service=web").await.json();
    let nodes = [&list["requests"][0]["nodes"], &list["requests"][1]["nodes"]];
    assert_eq!(nodes, [&json!(deep), &json!(wide)]);
    fleet.close().await;
}
