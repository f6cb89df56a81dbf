//! The receiver against a gateway that only remembers what it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use selvedge_receiver::{BrowseError, BrowseOptions, Step, browse};
use serde_json::{Value, json};
use tokio::sync::Barrier;

/// Gives each answer the token `s1.<n>` and remembers the tokens that each request carried.
#[derive(Default)]
struct Gateway {
    carried: Mutex<Vec<Vec<String>>>,
    clients: Mutex<Vec<Option<String>>>,
}

impl Gateway {
    fn take(&self, headers: &HeaderMap) -> [(&'static str, String); 2] {
        let tokens = headers.get_all("selvedge-session").iter();
        let tokens = tokens.map(|token| token.to_str().unwrap().to_owned());
        let client = headers.get("selvedge-client");
        let client = client.map(|client| client.to_str().unwrap().to_owned());
        let mut carried = self.carried.lock().unwrap();
        carried.push(tokens.collect());
        self.clients.lock().unwrap().push(client);
        [
            ("selvedge-session", format!("s1.{}", carried.len())),
            ("selvedge-client", "c1.k".to_owned()),
        ]
    }
}

async fn answer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let headers = gateway.take(request.headers());
    let body = match (request.method().as_str(), request.uri().path()) {
        ("GET", "/orders") => json!({"orders": [{"id": "o1"}], "server": "content-2"}),
        ("POST", "/orders") => {
            json!({"order": {"id": "o1", "item": "kettle", "quantity": 1, "total_cents": 1990},
                   "server": "content-1"})
        }
        ("GET", "/channel") => json!({"items": [{"id": "kettle"}], "votes": {"red": 2},
                                      "now": {"content": "news"}, "server": "content-3"}),
        ("POST", "/vote") => {
            let body = json!({"error": {"code": "closed", "message": "the vote is closed"}});
            return (StatusCode::CONFLICT, headers, Json(body)).into_response();
        }
        _ => json!({"server": "content-1"}),
    };
    (headers, Json(body)).into_response()
}

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn gateway() -> (Arc<Gateway>, BrowseOptions) {
    let gateway = Arc::new(Gateway::default());
    let router = Router::new().fallback(answer).with_state(gateway.clone());
    let address = serve(router).await;
    (gateway, BrowseOptions::new(format!("http://{address}")))
}

fn lines(out: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(out).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_walk_carries_each_answers_token_to_the_next_request() {
    let (gateway, options) = gateway().await;
    let mut out = Vec::new();
    let summary = browse(options, &mut out).await.unwrap();
    let carried = gateway.carried.lock().unwrap();
    assert_eq!(carried[0], Vec::<String>::new());
    for (n, tokens) in carried.iter().enumerate().skip(1) {
        assert_eq!(tokens, &[format!("s1.{n}")]);
    }
    assert_eq!(
        gateway.clients.lock().unwrap()[1..],
        vec![Some("c1.k".to_owned()); 5]
    );
    assert_eq!(summary.session.as_deref(), Some("s1"));
    assert_eq!((summary.sent, summary.answered, summary.refused), (6, 5, 1));
    assert_eq!((summary.failed, summary.orders_unseen), (0, 0));
    assert_eq!(summary.servers["content-3"], 2);
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("order o1: 1 kettle, 1990 cents"), "{text}");
    assert!(text.contains("the vote is closed"), "{text}");
}

#[tokio::test]
async fn the_session_survives_a_restart_of_the_program() {
    let (gateway, mut options) = gateway().await;
    let folder = tempfile::tempdir().unwrap();
    options.state = Some(folder.path().join("state.json"));
    options.walk = vec![Step::Page];
    browse(options.clone(), &mut Vec::new()).await.unwrap();
    let mut out = Vec::new();
    browse(options, &mut out).await.unwrap();
    assert_eq!(gateway.carried.lock().unwrap()[1], ["s1.1"]);
    assert_eq!(gateway.clients.lock().unwrap()[1].as_deref(), Some("c1.k"));
    assert!(
        String::from_utf8(out)
            .unwrap()
            .contains("going on with session s1")
    );
}

#[tokio::test]
async fn json_lines_tell_sends_and_receipts_in_the_order_they_were_seen() {
    let (_, mut options) = gateway().await;
    options.json = true;
    options.rounds = 20;
    options.in_flight = 4;
    options.delay_max = Duration::from_micros(300);
    let mut out = Vec::new();
    browse(options, &mut out).await.unwrap();
    let lines = lines(&out);
    let events: Vec<&Value> = lines.iter().filter(|line| line["event"] != "end").collect();
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event["at"], n + 1);
    }
    let mut in_flight = 0_i32;
    for event in events {
        match event["event"].as_str().unwrap() {
            "sent" => in_flight += 1,
            "received" => in_flight -= 1,
            other => assert_eq!(other, "done"),
        }
        assert!((0..=4).contains(&in_flight));
    }
    assert_eq!(lines.last().unwrap()["sent"], 120);
}

#[tokio::test]
async fn requests_in_flight_together_carry_the_same_token_and_their_answers_stand_side_by_side() {
    let gateway = Arc::new(Gateway::default());
    let barrier = Arc::new(Barrier::new(3));
    // The page of the first request opens the session; then three at a time are held together.
    let held = {
        let (gateway, barrier) = (gateway.clone(), barrier.clone());
        get(move |headers: HeaderMap| async move {
            barrier.wait().await;
            let headers = gateway.take(&headers);
            barrier.wait().await;
            (headers, "{}")
        })
    };
    let first = {
        let gateway = gateway.clone();
        get(move |headers: HeaderMap| async move { (gateway.take(&headers), "page") })
    };
    let router = Router::new().route("/", first).route("/channel", held);
    let address = serve(router).await;
    let mut options = BrowseOptions::new(format!("http://{address}"));
    options.walk = [Step::Page]
        .into_iter()
        .chain([const { Step::Channel }; 3])
        .collect();
    options.in_flight = 3;
    browse(options, &mut Vec::new()).await.unwrap();
    let carried = gateway.carried.lock().unwrap();
    assert_eq!(carried[1..], [["s1.1"], ["s1.1"], ["s1.1"]]);
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_counted_and_said() {
    let (_, mut options) = gateway().await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    options.gateway = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    options.walk = vec![Step::Page];
    let mut out = Vec::new();
    let summary = browse(options, &mut out).await.unwrap();
    assert_eq!((summary.sent, summary.failed), (1, 1));
    assert!(
        String::from_utf8(out)
            .unwrap()
            .to_lowercase()
            .contains("refused")
    );
}

#[tokio::test]
async fn a_confirmed_order_that_the_list_lacks_is_counted() {
    let order = json!({"order": {"id": "o9"}});
    let router = Router::new().route(
        "/orders",
        get(|| async { Json(json!({"orders": []})) }).post(|| async { Json(order) }),
    );
    let address = serve(router).await;
    let mut options = BrowseOptions::new(format!("http://{address}"));
    options.walk = ["orders", "order", "orders"]
        .map(|step| step.parse().unwrap())
        .into();
    let summary = browse(options, &mut Vec::new()).await.unwrap();
    assert_eq!(summary.orders_unseen, 1);
}

#[tokio::test]
async fn a_url_that_is_no_gateway_is_refused_with_a_sentence() {
    for url in ["", "127.0.0.1:8080", "https://example.net"] {
        let error = browse(BrowseOptions::new(url), &mut Vec::new())
            .await
            .unwrap_err();
        assert!(matches!(error, BrowseError::Gateway { .. }));
        assert!(error.to_string().contains("http://127.0.0.1:8080"));
    }
}
