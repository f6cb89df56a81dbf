//! gRPC calls, message by message: the outcome comes last, and every way to end has its entry.

mod common;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use common::Server;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use selvedge::{CallLayer, Layer, Peer};
use selvedge_entry::{Entry, Outcome};
use tower::{Layer as _, ServiceExt, service_fn};

/// A body of these frames; then it ends, or never does.
struct Frames {
    frames: VecDeque<Frame<Bytes>>,
    endless: bool,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None if self.endless => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

fn status(code: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", HeaderValue::from_static(code));
    headers.insert("grpc-message", HeaderValue::from_static("because%21"));
    headers
}

/// An answer with this in its head, these messages, and these trailers.
fn answer(
    head: Option<&'static str>,
    messages: usize,
    trailers: Option<&'static str>,
) -> Response<Frames> {
    let mut frames: VecDeque<_> = (0..messages)
        .map(|_| Frame::data(Bytes::from_static(b"\0\0\0\0\x01x")))
        .collect();
    frames.extend(trailers.map(|code| Frame::trailers(status(code))));
    let mut response = Response::new(Frames {
        frames,
        endless: false,
    });
    if let Some(code) = head {
        *response.headers_mut() = status(code);
    }
    let grpc = HeaderValue::from_static("application/grpc+proto");
    response.headers_mut().insert("content-type", grpc);
    response
}

fn request() -> Request<Empty<Bytes>> {
    let request = Request::builder()
        .method("POST")
        .uri("http://prices:50051/shop.Prices/Price")
        .header("content-type", "application/grpc")
        .extension(Peer([127, 0, 0, 1].into()));
    request.body(Empty::new()).unwrap()
}

/// The ways to end, and what entries say of each.
type Way = (
    Option<&'static str>,
    usize,
    Option<&'static str>,
    Outcome,
    u16,
    Option<&'static str>,
);
const WAYS: [Way; 7] = [
    (None, 1, Some("0"), Outcome::Ok, 200, None),
    (None, 3, Some("0"), Outcome::Ok, 200, None),
    (Some("5"), 0, None, Outcome::Refused, 404, None),
    (
        Some("14"),
        0,
        None,
        Outcome::Error,
        503,
        Some("UNAVAILABLE: because!"),
    ),
    (
        None,
        2,
        Some("15"),
        Outcome::Error,
        500,
        Some("DATA_LOSS: because!"),
    ),
    (
        None,
        0,
        Some("77"),
        Outcome::Error,
        500,
        Some("code 77: because!"),
    ),
    (
        None,
        1,
        None,
        Outcome::Error,
        500,
        Some("the answer ended without a grpc-status"),
    ),
];

fn check(entry: &Entry, way: &Way) {
    let closing = entry.closing.as_ref().unwrap();
    assert_eq!(&*entry.opening.action, "shop.Prices/Price");
    assert_eq!((closing.outcome, closing.status), (way.3, way.4), "{way:?}");
    assert_eq!(closing.error.as_deref(), way.5, "{way:?}");
    assert_eq!(closing.response_bytes, 6 * way.1 as u64, "{way:?}");
    if let Some(code) = way.0.or(way.2) {
        assert_eq!(closing.response.field("grpc-status"), Some(code));
    }
}

#[tokio::test]
async fn the_servers_entry_has_the_outcome_of_the_trailers() {
    let server = Server::start("prices").await;
    for (head, messages, trailers, ..) in WAYS {
        let service =
            service_fn(
                move |_| async move { Ok::<_, Infallible>(answer(head, messages, trailers)) },
            );
        let answered = Layer::new(server.node.clone())
            .layer(service)
            .oneshot(request());
        let answered = answered.await.unwrap();
        assert_eq!(answered.status(), 200);
        // All of it passes unchanged.
        let body = answered.into_body().collect().await.unwrap();
        let passed = body
            .trailers()
            .and_then(|trailers| trailers.get("grpc-status"));
        assert_eq!(
            passed.map(HeaderValue::as_bytes),
            trailers.map(str::as_bytes)
        );
        assert_eq!(body.to_bytes().len(), 6 * messages);
    }
    let entries = server.entries().await;
    assert_eq!(entries.len(), WAYS.len());
    entries
        .iter()
        .zip(&WAYS)
        .for_each(|(entry, way)| check(entry, way));
}

#[tokio::test]
async fn the_clients_entry_has_the_outcome_of_the_trailers() {
    let server = Server::start("desk").await;
    let exchange = selvedge::begin(&server.node, "test");
    for (head, messages, trailers, ..) in WAYS {
        let own = exchange.clone();
        let callee = service_fn(move |request: Request<Empty<Bytes>>| {
            let value = request.headers()["selvedge-request"].as_bytes();
            let sent = selvedge_identity::RequestIdentifier::parse(value).unwrap();
            assert_eq!(sent.depth(), own.identifier().depth() + 1);
            assert_eq!(request.headers()["selvedge-caller"], "desk");
            async move { Ok::<_, Infallible>(answer(head, messages, trailers)) }
        });
        let mut request = request();
        request.extensions_mut().insert(exchange.clone());
        let answered = CallLayer::new("prices").layer(callee).oneshot(request);
        let body = answered.await.unwrap().into_body();
        if head.is_none() {
            body.collect().await.unwrap();
        }
        // An answer whose head says how it ended is not read by anybody.
    }
    let entries = server.entries().await;
    let calls: Vec<&Entry> = entries
        .iter()
        .filter(|e| &*e.opening.action != "RUN test")
        .collect();
    assert_eq!(calls.len(), WAYS.len());
    calls
        .iter()
        .zip(&WAYS)
        .for_each(|(entry, way)| check(entry, way));
    let peer = &calls[0].opening.call.as_ref().unwrap();
    assert_eq!(peer.peer.as_deref(), Some("prices"));
    assert_eq!(peer.peer_host.as_deref(), Some("prices:50051"));
}

#[tokio::test]
async fn a_call_that_is_given_up_or_cannot_be_made_is_an_error() {
    let server = Server::start("desk").await;
    let exchange = selvedge::begin(&server.node, "test");
    let endless = service_fn(|_: Request<Empty<Bytes>>| async {
        let mut answer = answer(None, 1, None);
        answer.body_mut().endless = true;
        Ok::<_, std::io::Error>(answer)
    });
    let broken = service_fn(|_: Request<Empty<Bytes>>| async {
        Err::<Response<Frames>, _>(std::io::Error::other("no route"))
    });
    let mut asked = request();
    asked.extensions_mut().insert(exchange.clone());
    let answered = CallLayer::new("prices").layer(endless).oneshot(asked).await;
    let mut body = answered.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    let mut asked = request();
    asked.extensions_mut().insert(exchange.clone());
    let refused = CallLayer::new("prices").layer(broken).oneshot(asked).await;
    assert!(refused.is_err());
    let entries = server.entries().await;
    let errors: Vec<_> = entries
        .iter()
        .filter(|e| &*e.opening.action != "RUN test")
        .map(|e| {
            e.closing
                .as_ref()
                .unwrap()
                .error
                .as_deref()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(errors, ["given up before its answer ended", "no route"]);
}

#[tokio::test]
async fn a_request_of_no_exchange_goes_out_as_it_came() {
    let callee = service_fn(|request: Request<Empty<Bytes>>| async move {
        assert!(!request.headers().contains_key("selvedge-request"));
        Ok::<_, Infallible>(answer(None, 1, Some("0")))
    });
    let answered = CallLayer::new("prices").layer(callee).oneshot(request());
    let body = answered.await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
}
