//! A sidecar between a gateway (the test) and applications that do no tracking.

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{any, get, post};
use common::{Fleet, LOOPBACK, options};
use selvedge_entry::{Direction, Outcome};
use selvedge_sidecar::{Sidecar, SidecarError};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind(LOOPBACK).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// An application that shows which headers reach it.
async fn show_headers(headers: HeaderMap) -> axum::Json<Value> {
    let headers = headers.iter();
    axum::Json(
        headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    )
}

#[tokio::test]
async fn the_application_sees_the_identifier_and_no_token() {
    let mut fleet = Fleet::new();
    let application = serve(Router::new().fallback(show_headers)).await;
    let node = fleet.node("content-1", "content").await;
    let sidecar = Sidecar::start(options(application), node).await.unwrap();
    let request = fleet
        .http
        .get(format!("http://{}/x?y=1", sidecar.inbound_addr()))
        .header("selvedge-session", &fleet.token)
        .header("selvedge-client", fleet.client_token())
        .header("selvedge-session-id", "forged")
        .header("cookie", "a=b");
    let answer = request.send().await.unwrap();
    fleet.token = answer.headers()["selvedge-session"]
        .to_str()
        .unwrap()
        .to_owned();
    let seen: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(seen["selvedge-session-id"], fleet.session().to_string());
    assert_eq!(seen["selvedge-client-id"], "05".repeat(16));
    assert_eq!(seen["cookie"], "a=b");
    for secret in ["selvedge-session", "selvedge-client", "selvedge-carried"] {
        assert_eq!(seen[secret], Value::Null);
    }
    let (_, next) = fleet.ask(sidecar.inbound_addr(), "/", None).await;
    for name in ["selvedge-request", "traceparent", "tracestate"] {
        assert!(next[name].is_string(), "{name}: {next}");
        assert_ne!(next[name], seen[name], "{name}");
    }
}

#[tokio::test]
async fn requests_become_actions_of_the_session_in_order() {
    let mut fleet = Fleet::new();
    let echo = Router::new()
        .fallback(|body: Bytes| async { ([("content-type", "application/json")], body) });
    let application = serve(echo).await;
    let node = fleet.node("content-1", "content").await;
    let sidecar = Sidecar::start(options(application), node.clone())
        .await
        .unwrap();
    for n in 0..5 {
        let body = json!({ "n": n });
        let (status, said) = fleet
            .ask(sidecar.inbound_addr(), "/orders", Some(&body))
            .await;
        assert_eq!((status, said), (200, body));
    }
    let history = node.memory().history(fleet.session());
    let entries: Vec<Value> = history.iter().map(|entry| entry.to_json()).collect();
    let last = fleet.ask(sidecar.inbound_addr(), "/", None).await;
    assert_eq!(last.0, 200);
    let history = node.memory().history(fleet.session());
    assert!(history.len() >= entries.len().max(5));
    for (n, entry) in history.iter().take(5).enumerate() {
        assert_eq!(entry.opening.counter, Some(n as u64 + 1));
        let entry = entry.to_json();
        assert_eq!(entry["request"]["body"]["n"], n);
        assert_eq!(entry["response"]["body"]["n"], n);
        assert_eq!(entry["action"], "POST /orders");
    }
}

/// Calls back through the egress address with the header it was given, as an HTTP proxy.
async fn call_through(
    State(egress): State<Arc<Mutex<Option<SocketAddr>>>>,
    headers: HeaderMap,
) -> String {
    let egress = egress
        .lock()
        .unwrap()
        .expect("set before the first request");
    let proxy = reqwest::Proxy::http(format!("http://{egress}")).unwrap();
    let client = reqwest::Client::builder().proxy(proxy).build().unwrap();
    let mut said = Vec::new();
    for url in [
        "http://catalogue/items/kettle",
        "http://catalogue/items/-spoon",
    ] {
        let call = client.get(url);
        let call = call.header("selvedge-request", headers["selvedge-request"].clone());
        said.push(call.send().await.unwrap().status().as_u16());
    }
    format!("{said:?}")
}

#[tokio::test]
async fn a_copied_header_makes_the_applications_calls_part_of_the_tree() {
    let mut fleet = Fleet::new();
    let catalogue = fleet.node("catalogue-1", "catalogue").await;
    let service = selvedge_example_shop::start_catalogue(LOOPBACK, catalogue.clone()).await;
    let service = service.unwrap();
    let egress = Arc::new(Mutex::new(None));
    let router = Router::new()
        .fallback(any(call_through))
        .with_state(egress.clone());
    let application = serve(router).await;
    let node = fleet.node("content-1", "content").await;
    let mut options = options(application);
    let url = format!("http://{}", service.address());
    options.routes.insert("catalogue".into(), url);
    let sidecar = Sidecar::start(options, node.clone()).await.unwrap();
    *egress.lock().unwrap() = Some(sidecar.egress_addr());
    let (_, said) = fleet.ask(sidecar.inbound_addr(), "/", None).await;
    assert_eq!(said, json!([200, 404]));
    assert_eq!(sidecar.counts().calls, 2);

    let content = fleet.journal(&node).await;
    let inbound = content
        .iter()
        .find(|entry| entry.opening.direction == Direction::Inbound)
        .unwrap();
    let inbound = inbound.opening.call.as_ref().unwrap();
    let received = fleet.journal(&catalogue).await;
    let calls = content
        .iter()
        .filter(|entry| entry.opening.direction == Direction::Outbound);
    let outcomes = [Outcome::Ok, Outcome::Refused];
    for ((call, received), outcome) in calls.zip(&received).zip(outcomes) {
        let sent = call.opening.call.as_ref().unwrap();
        assert_eq!(sent.identifier.origin(), inbound.identifier.origin());
        assert_eq!(sent.identifier.depth(), inbound.identifier.depth() + 1);
        assert_eq!(sent.peer.as_deref(), Some("catalogue"));
        assert_eq!(call.outcome(), outcome);
        assert!(call.closing.as_ref().unwrap().response_bytes > 0);
        let got = received.opening.call.as_ref().unwrap();
        assert_eq!(got.identifier, sent.identifier);
        assert_eq!(got.peer.as_deref(), Some("content"));
        assert_eq!(received.opening.session, Some(fleet.session()));
        assert_eq!(received.opening.counter, None);
    }
    assert_eq!(received.len(), 2);
}

#[tokio::test]
async fn calls_of_unknown_requests_are_relayed_one_call_deeper_and_counted() {
    let fleet = Fleet::new();
    let other = serve(Router::new().fallback(show_headers)).await;
    let node = fleet.node("content-1", "content").await;
    let sidecar = Sidecar::start(options(other), node.clone()).await.unwrap();
    let root = selvedge_identity::RequestIdentifier::root(
        "0af7651916cd43dd8448eb211c80319c".parse().unwrap(),
        "b7ad6b7169203331".parse().unwrap(),
        node.shape(),
    );
    let egress = format!("http://{}/", sidecar.egress_addr());
    let call = fleet.http.get(&egress);
    let call = call.header("selvedge-target", format!("http://{other}"));
    let answer = call
        .header("selvedge-request", root.encode().as_str())
        .header("selvedge-session", "not to be passed on")
        .send()
        .await
        .unwrap();
    let seen: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let sent = seen["selvedge-request"].as_str().unwrap();
    let sent = selvedge_identity::RequestIdentifier::parse(sent.as_bytes()).unwrap();
    assert_eq!((sent.origin(), sent.depth()), (root.origin(), 1));
    assert_eq!(seen["selvedge-session"], Value::Null);
    assert_eq!(seen["selvedge-target"], Value::Null);
    assert_eq!(seen["host"], other.to_string());

    let unmarked = fleet.http.get(&egress);
    let unmarked = unmarked.header("selvedge-target", format!("http://{other}"));
    assert_eq!(unmarked.send().await.unwrap().status(), 200);
    let counts = sidecar.counts();
    assert_eq!(
        (counts.calls, counts.calls_unattached, counts.calls_unmarked),
        (0, 1, 1)
    );
}

#[tokio::test]
async fn calls_that_name_no_service_are_refused_with_a_sentence() {
    let fleet = Fleet::new();
    let node = fleet.node("content-1", "content").await;
    let sidecar = Sidecar::start(options(LOOPBACK_CLOSED), node)
        .await
        .unwrap();
    let egress = format!("http://{}/items", sidecar.egress_addr());
    let none = fleet.http.get(&egress).send().await.unwrap();
    assert_eq!(none.status(), 400);
    assert!(none.text().await.unwrap().contains("selvedge-target"));
    let bad = fleet
        .http
        .get(&egress)
        .header("selvedge-target", "https://x");
    let bad = bad.send().await.unwrap();
    assert_eq!(bad.status(), 400);
    assert!(bad.text().await.unwrap().contains("only http"));
    let dead = fleet.http.get(&egress);
    let dead = dead.header("selvedge-target", "http://127.0.0.1:1");
    assert_eq!(dead.send().await.unwrap().status(), 502);
}

/// Nothing listens on port 1.
const LOOPBACK_CLOSED: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

#[tokio::test]
async fn an_application_that_is_down_is_502_and_the_session_goes_on() {
    let mut fleet = Fleet::new();
    let node = fleet.node("content-1", "content").await;
    let sidecar = Sidecar::start(options(LOOPBACK_CLOSED), node.clone())
        .await
        .unwrap();
    for _ in 0..2 {
        let (status, said) = fleet.ask(sidecar.inbound_addr(), "/", None).await;
        assert_eq!(status, 502);
        assert_eq!(said["error"]["code"], "application_failed");
    }
    let entries = fleet.journal(&node).await;
    assert_eq!(entries.len(), 2);
    assert!(
        entries
            .iter()
            .all(|entry| entry.outcome() == Outcome::Error)
    );
    assert_eq!(entries[1].opening.after[0].position, entries[0].position);
}

#[tokio::test]
async fn bodies_stream_both_ways_and_are_counted() {
    let mut fleet = Fleet::new();
    // Answers with the first part before the second has come: it must not be gathered.
    let (first, second) = (oneshot::channel::<()>(), oneshot::channel::<()>());
    let gates = Arc::new(Mutex::new(Some((first.0, second.1))));
    let application = Router::new().route(
        "/stream",
        post(move |request: Request| async move {
            let (seen_first, send_second) = gates.lock().unwrap().take().unwrap();
            let (sender, receiver) = mpsc::channel::<Result<Bytes, Infallible>>(1);
            tokio::spawn(async move {
                let mut body = request.into_body().into_data_stream();
                let mut length = 0;
                while let Some(part) = next_part(&mut body).await {
                    length += part.unwrap().len();
                }
                sender.send(Ok(Bytes::from("first"))).await.unwrap();
                seen_first.send(()).unwrap();
                send_second.await.unwrap();
                sender
                    .send(Ok(Bytes::from(format!(" {length}"))))
                    .await
                    .unwrap();
            });
            Response::new(Body::from_stream(Channel(receiver)))
        }),
    );
    let application = serve(application).await;
    let node = fleet.node("content-1", "content").await;
    let sidecar = Sidecar::start(options(application), node.clone())
        .await
        .unwrap();
    let url = format!("http://{}/stream", sidecar.inbound_addr());
    let request = fleet.http.post(url).body(vec![b'x'; 3_000_000]);
    let request = request.header("selvedge-session", &fleet.token);
    let mut answer = request.send().await.unwrap();
    fleet.token = answer.headers()["selvedge-session"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "first");
    first.1.await.unwrap();
    second.0.send(()).unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), " 3000000");
    assert_eq!(answer.chunk().await.unwrap(), None);
    // The connection is given back once the entry is closed.
    sidecar.stop().await;
    let entries = fleet.journal(&node).await;
    let closing = entries[0].closing.as_ref().unwrap();
    assert_eq!(
        (closing.request_bytes, closing.response_bytes),
        (3_000_000, 13)
    );
    assert_eq!(entries[0].outcome(), Outcome::Ok);
}

struct Channel(mpsc::Receiver<Result<Bytes, Infallible>>);

impl futures_util::Stream for Channel {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

async fn next_part<S: futures_util::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|cx| std::pin::Pin::new(&mut *stream).poll_next(cx)).await
}

#[tokio::test]
async fn the_local_api_tells_the_history_and_takes_actions_and_attributes() {
    let mut fleet = Fleet::new();
    let egress = Arc::new(Mutex::new(None::<SocketAddr>));
    let api = egress.clone();
    let handler = move |headers: HeaderMap| async move {
        let egress = api.lock().unwrap().unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let base = format!("http://{egress}/selvedge/v1");
        let own = headers["selvedge-request"].to_str().unwrap().to_owned();
        let tell = |path: &str, body: Value| {
            let request = http.post(format!("{base}/{path}")).body(body.to_string());
            request.header("selvedge-request", &own).send()
        };
        let action = json!({ "name": "pack", "attributes": { "boxes": "2" } });
        assert_eq!(tell("action", action).await.unwrap().status(), 201);
        let told = tell("attributes", json!({ "basket": "b1" })).await.unwrap();
        assert_eq!(told.status(), StatusCode::NO_CONTENT);
        for bad in [json!({}), json!({ "name": "" }), json!([])] {
            assert_eq!(tell("action", bad).await.unwrap().status(), 400);
        }
        assert_eq!(tell("nothing", json!({})).await.unwrap().status(), 404);
        let unknown = http.get(format!("{base}/session/history"));
        assert_eq!(unknown.send().await.unwrap().status(), 400);
        let history = http.get(format!("{base}/session/history?request={own}"));
        let history = history.send().await.unwrap().bytes().await.unwrap();
        ([("content-type", "application/json")], history)
    };
    let application = serve(Router::new().route("/", get(handler))).await;
    let node = fleet.node("content-1", "content").await;
    let sidecar = Sidecar::start(options(application), node).await.unwrap();
    *egress.lock().unwrap() = Some(sidecar.egress_addr());
    fleet.ask(sidecar.inbound_addr(), "/", None).await;
    let (_, history) = fleet.ask(sidecar.inbound_addr(), "/", None).await;
    assert_eq!(history["session"], fleet.session().to_string());
    let entries = history["entries"].as_array().unwrap();
    assert_eq!(entries[0]["action"], "GET /");
    assert_eq!(entries[0]["attributes"]["basket"], "b1");
    assert_eq!(entries[1]["action"], "pack");
    assert_eq!(entries[1]["attributes"]["boxes"], "2");
    assert_eq!(entries[1]["ordering"], json!([2, "content-1"]));
}

#[tokio::test]
async fn a_request_that_a_stopping_sidecar_gives_up_is_an_error() {
    let fleet = Fleet::new();
    let (entered, mut has_entered) = mpsc::channel::<()>(1);
    let hung = get(|| async move {
        entered.send(()).await.unwrap();
        std::future::pending::<()>().await;
    });
    let application = serve(Router::new().route("/", hung)).await;
    let node = fleet.node("content-1", "content").await;
    let sidecar = Sidecar::start(options(application), node.clone())
        .await
        .unwrap();
    let request = fleet
        .http
        .get(format!("http://{}/", sidecar.inbound_addr()))
        .header("selvedge-session", &fleet.token);
    let asking = tokio::spawn(request.send());
    has_entered.recv().await.unwrap();
    drop(sidecar);
    assert!(asking.await.unwrap().is_err());
    let entries = fleet.journal(&node).await;
    let closing = entries[0].closing.as_ref().unwrap();
    assert!(closing.error.as_ref().unwrap().contains("given up"));
}

#[tokio::test]
async fn finished_requests_stay_known_up_to_a_bound() {
    let mut fleet = Fleet::new();
    let application = serve(Router::new().fallback(show_headers)).await;
    let node = fleet.node("content-1", "content").await;
    let mut options = options(application);
    options.finished_max = 2;
    let sidecar = Sidecar::start(options, node).await.unwrap();
    let mut requests = Vec::new();
    for _ in 0..3 {
        let (_, seen) = fleet.ask(sidecar.inbound_addr(), "/", None).await;
        requests.push(seen["selvedge-request"].as_str().unwrap().to_owned());
    }
    for (request, status) in requests.iter().zip([404, 200, 200]) {
        let url = format!(
            "http://{}/selvedge/v1/session/history",
            sidecar.egress_addr()
        );
        let asked = fleet.http.get(url).header("selvedge-request", request);
        assert_eq!(asked.send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_with_a_sentence() {
    let fleet = Fleet::new();
    let node = fleet.node("content-1", "content").await;
    let start = |change: fn(&mut selvedge_sidecar::SidecarOptions)| {
        let mut options = options(LOOPBACK_CLOSED);
        change(&mut options);
        let node = node.clone();
        async move { Sidecar::start(options, node).await.err().unwrap() }
    };
    let open = start(|options| options.egress = "0.0.0.0:0".parse().unwrap()).await;
    assert!(matches!(open, SidecarError::EgressOpen(_)));
    let upstream = start(|options| options.upstream = "ftp://x".to_owned()).await;
    assert!(upstream.to_string().contains("upstream is \"ftp://x\""));
    let route = start(|options| {
        options
            .routes
            .insert("stock".to_owned(), "stock".to_owned());
    });
    assert!(route.await.to_string().contains("the route stock"));
    let taken = tokio::net::TcpListener::bind(LOOPBACK).await.unwrap();
    let mut options = options(LOOPBACK_CLOSED);
    options.listen = taken.local_addr().unwrap();
    let taken = Sidecar::start(options, node).await.err().unwrap();
    assert!(taken.to_string().contains("for requests"), "{taken}");
}

/// An application that passes questions on to its sidecar's local API and shows the answers:
/// `{"method","path","body"}` → `{"status","body"}`.
async fn asks_its_sidecar(
    State(egress): State<Arc<Mutex<Option<SocketAddr>>>>,
    headers: HeaderMap,
    axum::Json(ask): axum::Json<Value>,
) -> axum::Json<Value> {
    let egress = egress.lock().unwrap().expect("known by now");
    let path = ask["path"].as_str().unwrap();
    let method = ask["method"].as_str().unwrap().parse().unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{egress}/selvedge/v1/session/{path}");
    let mut question = http.request(method, url);
    if let Some(request) = headers.get("selvedge-request") {
        question = question.header("selvedge-request", request);
    }
    if let Some(body) = ask["body"].as_str() {
        question = question.body(body.to_owned());
    }
    let answer = question.send().await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.bytes().await.unwrap();
    axum::Json(json!({ "status": status, "body": serde_json::from_slice::<Value>(&body).ok() }))
}

#[tokio::test]
async fn an_application_reads_and_writes_state_and_history_over_http() {
    let mut fleet = Fleet::new();
    let mut fronts = Vec::new();
    for name in ["content-1", "content-2"] {
        let egress = Arc::new(Mutex::new(None));
        let router = Router::new().fallback(post(asks_its_sidecar));
        let application = serve(router.with_state(egress.clone())).await;
        let node = fleet.node(name, "content").await;
        let sidecar = Sidecar::start(options(application), node).await.unwrap();
        *egress.lock().unwrap() = Some(sidecar.egress_addr());
        fronts.push(sidecar);
    }
    let fronts = &fronts;
    let mut ask = async |server: usize, method: &str, path: &str, body: Option<&str>| {
        let ask = json!({ "method": method, "path": path, "body": body });
        let to = fronts[server].inbound_addr();
        let (_, said) = fleet.ask(to, "/", Some(&ask)).await;
        (said["status"].as_u64().unwrap(), said["body"].clone())
    };
    let none = json!({ "name": "cart", "value": null, "candidates": [] });
    assert_eq!(ask(0, "GET", "state/cart", None).await, (200, none));
    let put = ask(0, "PUT", "state/cart", Some("{\"tea\":1}")).await;
    assert_eq!(put, (204, Value::Null));
    let (_, read) = ask(1, "GET", "state/cart", None).await;
    assert_eq!(read["value"], json!({ "tea": 1 }));
    assert_eq!(read["candidates"][0]["ordering"], json!([2, "content-1"]));
    assert_eq!(read["candidates"].as_array().unwrap().len(), 1);
    assert_eq!(ask(1, "PUT", "state/note", Some("7")).await.0, 204);
    let (_, all) = ask(0, "GET", "state", None).await;
    let values = all["states"].as_array().unwrap().iter();
    let values: Vec<_> = values.map(|one| (&one["name"], &one["value"])).collect();
    let (cart, note) = (json!("cart"), json!("note"));
    assert_eq!(values, [(&cart, &json!({ "tea": 1 })), (&note, &json!(7))]);
    assert_eq!(ask(0, "DELETE", "state/cart", None).await.0, 204);
    assert_eq!(
        ask(1, "GET", "state/cart", None).await.1["value"],
        Value::Null
    );

    let (_, history) = ask(0, "GET", "history", None).await;
    let entries = history["entries"].as_array().unwrap();
    assert!(
        entries.len() >= 7,
        "all before, and the request itself once it is durable"
    );
    assert!(
        entries
            .iter()
            .all(|one| one["concurrent_with"] == json!([]))
    );
    assert_eq!(entries[1]["state"][0]["value"], json!({ "tea": 1 }), "kept");

    let long = format!("\"{}\"", "x".repeat(16 << 10));
    for (method, path, body, status) in [
        ("PUT", "state/cart", "{", 400),
        ("PUT", "state/cart", &*long, 413),
        ("PUT", "state/a%20b", "1", 400),
        ("GET", "state/a/b", "", 400),
        ("POST", "state/cart", "1", 405),
        ("PUT", "state", "1", 405),
    ] {
        let (said, error) = ask(0, method, path, Some(body)).await;
        assert_eq!(said, status, "{method} {path}: {error}");
        assert!(error["error"]["message"].is_string(), "{error}");
    }
}
