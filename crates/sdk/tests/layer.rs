//! Services with the layer around them, one request at a time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use futures_util::stream;
use http_body_util::BodyExt;
use selvedge::{Client, Layer, Node, NodeOptions, Peer, Session};
use selvedge_bus::Hub;
use selvedge_entry::{Direction, Entry, Outcome, Record, fold_all};
use selvedge_identity::{
    KeyRing, Position, RequestIdentifier, ServerName, SessionId, SessionToken,
};
use selvedge_journal::{DiskStorage, read_dir};
use selvedge_node::Keep;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

struct Server {
    folder: TempDir,
    node: Node,
    keys: KeyRing,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = KeyRing::single([7; 32]);
        let name = ServerName::new("content-1").unwrap();
        let journal = folder.path().join("content-1");
        let mut options = NodeOptions::new(name, "content", journal, keys.clone());
        options.keep = Keep::json_bodies();
        options.keep.headers = vec!["user-agent".to_owned(), "cookie".to_owned()];
        options.wait.longest = Duration::from_secs(10);
        let node = Node::start(options, Arc::new(Hub::default()))
            .await
            .unwrap();
        Self { folder, node, keys }
    }

    fn token(&self) -> String {
        SessionToken::new(SessionId::from_random([9; 16]), []).sign(&self.keys)
    }

    /// Answers a request of the session, from this host.
    async fn ask(&self, router: Router, mut request: Request) -> Response {
        let token = self.token().parse().unwrap();
        request.headers_mut().insert("selvedge-session", token);
        request.extensions_mut().insert(Peer([127, 0, 0, 1].into()));
        let router = router.layer(Layer::new(self.node.clone()));
        router.oneshot(request).await.unwrap()
    }

    /// The journal's entries; the node is stopped before.
    async fn entries(&self) -> Vec<Entry> {
        self.node.stop().await;
        let folder = self.folder.path().join("content-1");
        let records = read_dir(Arc::new(DiskStorage), &folder).unwrap();
        fold_all(records.map(Result::unwrap).filter_map(|record| {
            let position = Position {
                server: record.server,
                epoch: record.epoch,
                sequence: record.sequence,
            };
            Some((position, Record::decode(&record.payload).ok()?))
        }))
    }

    /// How many records the journal holds, beside the start of its epoch.
    fn records(&self) -> usize {
        let folder = self.folder.path().join("content-1");
        read_dir(Arc::new(DiskStorage), &folder).unwrap().count() - 1
    }
}

fn request(method: &str, path: &str, body: impl Into<Body>) -> Request {
    Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .header("user-agent", "a receiver")
        .header("cookie", "secret")
        .body(body.into())
        .unwrap()
}

#[tokio::test]
async fn a_short_answer_is_kept_whole_and_moves_the_session_on() {
    let server = Server::start().await;
    let echo = Router::new().route(
        "/orders",
        post(|Json(body): Json<Value>| async { Json(body) }),
    );
    let body = json!({ "item": "kettle", "password": "hidden" });
    let asked = request("POST", "/orders?secret=1", body.to_string());
    let answer = server.ask(echo, asked).await;
    let token = answer.headers()["selvedge-session"].as_bytes().to_owned();
    let token = SessionToken::verify(&token, &server.keys).unwrap();
    assert_eq!((token.heads.len(), token.heads[0].counter), (1, 1));
    let said = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(serde_json::from_slice::<Value>(&said).unwrap(), body);

    let entry = server.entries().await[0].to_json();
    assert_eq!(entry["action"], "POST /orders");
    assert_eq!(entry["request"]["user-agent"], "a receiver");
    assert_eq!(entry["request"]["cookie"], Value::Null);
    assert_eq!(entry["request"]["bytes"], body.to_string().len());
    assert_eq!(entry["response"]["bytes"], body.to_string().len());
    for side in ["request", "response"] {
        assert_eq!(entry[side]["body"]["item"], "kettle");
        assert_ne!(entry[side]["body"]["password"], "hidden");
    }
    assert_eq!(
        server.records(),
        2,
        "an opening, and one record for the rest"
    );
}

#[tokio::test]
async fn a_streamed_answer_begins_at_once_and_is_closed_at_its_end() {
    let server = Server::start().await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let streamed = get(|| async move {
        let receiver = receiver.lock().unwrap().take().unwrap();
        let parts = stream::unfold(receiver, |mut receiver| async {
            let part = receiver.recv().await?;
            Some((Ok::<_, Infallible>(part), receiver))
        });
        Response::new(Body::from_stream(Box::pin(parts)))
    });
    let router = Router::new().route("/", streamed);
    let answer = server.ask(router, request("GET", "/", Body::empty())).await;
    assert!(answer.headers().contains_key("selvedge-session"));
    let reading = tokio::spawn(answer.into_body().collect());
    for part in ["first", "second"] {
        sender.send(Bytes::from(part)).await.unwrap();
    }
    drop(sender);
    let said = reading.await.unwrap().unwrap().to_bytes();
    assert_eq!(said, "firstsecond");
    let entries = server.entries().await;
    let closing = entries[0].closing.as_ref().unwrap();
    assert_eq!((closing.response_bytes, closing.outcome), (11, Outcome::Ok));
    assert_eq!(server.records(), 3, "opening, effect, closing");
}

#[tokio::test]
async fn an_answer_whose_client_goes_away_is_an_error() {
    let server = Server::start().await;
    let endless = get(|| async { Response::new(Body::from_stream(stream::pending::<Part>())) });
    let router = Router::new().route("/", endless);
    let answer = server.ask(router, request("GET", "/", Body::empty())).await;
    drop(answer);
    let entries = server.entries().await;
    let closing = entries[0].closing.as_ref().unwrap();
    assert_eq!(closing.outcome, Outcome::Error);
    assert!(closing.error.as_ref().unwrap().contains("went away"));
}

type Part = Result<Bytes, Infallible>;

#[tokio::test]
async fn a_request_that_is_given_up_before_its_answer_is_an_error() {
    let server = Server::start().await;
    let (entered, mut has_entered) = tokio::sync::mpsc::channel::<Session>(1);
    let hung = get(|session: Session| async move {
        // Held beyond the request, as a task of the service might.
        entered.send(session).await.unwrap();
        std::future::pending::<()>().await;
    });
    let router = Router::new().route("/", hung);
    let session = {
        let asking = server.ask(router, request("GET", "/", Body::empty()));
        tokio::select! {
            _ = asking => panic!("it hangs"),
            session = has_entered.recv() => session.unwrap(),
        }
    };
    let entries = server.entries().await;
    let closing = entries[0].closing.as_ref().unwrap();
    assert!(closing.error.as_ref().unwrap().contains("given up"));
    drop(session);
}

#[tokio::test]
async fn a_body_that_fails_is_an_error_and_reaches_the_client_as_one() {
    let server = Server::start().await;
    let failing = get(|| async {
        let parts = [Ok(Bytes::from("part")), Err(std::io::Error::other("disk"))];
        Response::new(Body::from_stream(stream::iter(parts)))
    });
    let router = Router::new().route("/", failing);
    let answer = server.ask(router, request("GET", "/", Body::empty())).await;
    assert!(answer.into_body().collect().await.is_err());
    let entries = server.entries().await;
    assert_eq!(entries[0].outcome(), Outcome::Error);
}

#[tokio::test]
async fn a_long_answer_is_counted_and_not_held() {
    let server = Server::start().await;
    let long = get(|| async { vec![b'x'; 3_000_000] });
    let router = Router::new().route("/", long);
    let answer = server.ask(router, request("GET", "/", Body::empty())).await;
    let length = answer.headers().get("content-length").cloned();
    let said = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(said.len(), 3_000_000);
    assert_eq!(length.unwrap(), "3000000");
    let entries = server.entries().await;
    let closing = entries[0].closing.as_ref().unwrap();
    assert_eq!(
        (closing.response_bytes, closing.outcome),
        (3_000_000, Outcome::Ok)
    );
    assert_eq!(closing.response.body, None);
}

#[tokio::test]
async fn a_handlers_state_is_in_its_entry_and_durable_with_the_answer() {
    let server = Server::start().await;
    let handler = post(|session: Session, item: String| async move {
        let cart = session.state::<Vec<String>>("cart");
        let mut items = cart.get().unwrap().unwrap_or_default();
        items.push(item);
        cart.set(&items).unwrap();
        Json(cart.candidates().unwrap().len())
    });
    let router = Router::new().route("/", handler);
    let answer = server
        .ask(router, request("POST", "/", Body::from("tea")))
        .await;
    let token = answer.headers()["selvedge-session"].as_bytes().to_owned();
    let token = SessionToken::verify(&token, &server.keys).unwrap();
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(&body.to_bytes()[..], b"1");
    assert_eq!(server.records(), 2, "it is no record of its own");
    let entries = server.entries().await;
    let written: Vec<_> = entries[0].state().collect();
    assert_eq!(&*written[0].name, "cart");
    assert_eq!(written[0].value.as_deref(), Some(&b"[\"tea\"]"[..]));
    let proven = token.heads[0].effect;
    let durable = entries[0].effect.as_ref().unwrap().0;
    assert!(durable <= proven, "the head stands for the state, too");
}

#[tokio::test]
async fn handlers_record_actions_and_attributes_and_see_the_history() {
    let server = Server::start().await;
    let handler = get(|session: Session| async move {
        session.attribute("basket", "b1");
        let mut pack = session.action("pack");
        pack.attribute("boxes", "2");
        pack.finish();
        session.action("bill").fail("no paper");
        session.history().actions().len().to_string()
    });
    let router = Router::new().route("/", handler);
    let answer = server.ask(router, request("GET", "/", Body::empty())).await;
    let token = answer.headers()["selvedge-session"].as_bytes().to_owned();
    let token = SessionToken::verify(&token, &server.keys).unwrap();
    assert_eq!((token.heads.len(), token.heads[0].counter), (1, 3));
    drop(answer);
    let entries = server.entries().await;
    let actions: Vec<&str> = entries.iter().map(|entry| &*entry.opening.action).collect();
    assert_eq!(actions, ["GET /", "pack", "bill"]);
    let outcomes: Vec<Outcome> = entries.iter().map(Entry::outcome).collect();
    assert_eq!(outcomes, [Outcome::Ok, Outcome::Ok, Outcome::Error]);
    assert_eq!(entries[0].attributes()["basket"], "b1");
}

#[tokio::test]
async fn without_the_layer_the_extractor_says_so() {
    let router: Router = Router::new().route("/", get(|_: Session| async { "never" }));
    let answer = router
        .oneshot(request("GET", "/", Body::empty()))
        .await
        .unwrap();
    assert_eq!(answer.status(), 500);
    let said = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(said, "this service lacks its selvedge layer");
}

/// A service that answers with the identifier it was sent; where it listens.
async fn callee() -> std::net::SocketAddr {
    let echo = |request: Request| async move {
        let headers = request.headers();
        assert!(!headers.contains_key("selvedge-session"));
        assert!(headers.contains_key("selvedge-carried"));
        assert_eq!(headers["selvedge-caller"], "content");
        headers["selvedge-request"].to_str().unwrap().to_owned()
    };
    let router = Router::new()
        .route("/echo", get(echo).post(echo))
        .route("/long", get(|| async { vec![b'x'; 2_000_000] }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn calls_carry_the_identifier_one_call_deeper_and_have_entries() {
    let server = Server::start().await;
    let address = callee().await;
    let handler = get(
        move |session: Session, Extension(client): Extension<Client>| async move {
            let url = format!("http://{address}/echo?q=1");
            let got = client.get(&session, "echo", &url).await.unwrap();
            assert_eq!(got.status(), 200);
            let got = got.text().await.unwrap();
            let body = json!({ "n": 1 });
            let reply = client
                .post_json(&session, "echo", &url, &body)
                .await
                .unwrap();
            // Only its status is wanted: the body is not read.
            assert_eq!(reply.status(), 200);
            drop(reply);
            let url = format!("http://{address}/long");
            let mut long = client.get(&session, "echo", &url).await.unwrap();
            assert!(
                long.bytes()
                    .await
                    .unwrap_err()
                    .to_string()
                    .contains("longer")
            );
            let refused = client.get(&session, "gone", "http://127.0.0.1:1/").await;
            assert!(refused.err().unwrap().is_connect());
            let bad = client.get(&session, "bad", "not a url").await;
            assert!(bad.err().unwrap().to_string().contains("not a URL"));
            got
        },
    );
    let router = Router::new()
        .route("/", handler)
        .layer(Extension(Client::new().unwrap()));
    let answer = server.ask(router, request("GET", "/", Body::empty())).await;
    let said = answer.into_body().collect().await.unwrap().to_bytes();
    let sent = RequestIdentifier::parse(&said).unwrap();

    let entries = server.entries().await;
    let own = entries[0].opening.call.as_ref().unwrap().identifier.clone();
    let calls: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.opening.direction == Direction::Outbound)
        .collect();
    let actions: Vec<&str> = calls.iter().map(|call| &*call.opening.action).collect();
    assert_eq!(actions, ["GET /echo", "POST /echo", "GET /long", "GET /"]);
    assert_eq!(calls[0].opening.call.as_ref().unwrap().identifier, sent);
    for call in &calls {
        let identifier = &call.opening.call.as_ref().unwrap().identifier;
        assert_eq!(
            (identifier.origin(), identifier.depth()),
            (own.origin(), own.depth() + 1)
        );
    }
    let outcomes: Vec<Outcome> = calls.iter().map(|call| call.outcome()).collect();
    assert_eq!(
        outcomes,
        [Outcome::Ok, Outcome::Ok, Outcome::Error, Outcome::Error]
    );
    let posted = calls[1].closing.as_ref().unwrap();
    assert_eq!(posted.request.body.as_deref(), Some(&br#"{"n":1}"#[..]));
    assert!(calls[3].closing.as_ref().unwrap().error.is_some());
}

#[tokio::test]
async fn work_that_no_request_caused_is_a_root_of_its_own() {
    let server = Server::start().await;
    let report = selvedge::begin(&server.node, "nightly-report");
    assert_eq!((report.identifier().depth(), report.session()), (0, None));
    report.close(selvedge::End::status(200));
    let entries = server.entries().await;
    assert_eq!(&*entries[0].opening.action, "RUN nightly-report");
    assert!(entries[0].opening.flags.is_empty());
}
