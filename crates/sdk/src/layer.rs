//! The layer before a service: takes each request, answers for it, closes its entry.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Extensions, HeaderValue, Request, Response};
use http_body::Body;
use selvedge_identity::carrier;
use selvedge_node::{End, Exchange, Node};

use crate::inbound;
use crate::record::{RequestBody, gather};
use crate::reply::{Ended, ReplyBody};

/// A tower layer that makes every request of the service behind it part of its session and of its
/// call tree.
///
/// It puts the [`crate::Exchange`] into the request's extensions. Put it outside of everything
/// that should count as the service's work. Cloning is cheap.
#[derive(Clone)]
pub struct Layer {
    node: Node,
    peer: PeerOf,
}

/// Finds in a request's extensions where it came from.
type PeerOf = fn(&Extensions) -> Option<IpAddr>;

/// The address that a request came from, where the server puts it into the request's extensions
/// (with axum, its `ConnectInfo<SocketAddr>` does as well). Without either no source is trusted,
/// and an inbound request identifier becomes a link instead of being continued.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

impl Layer {
    /// A layer that writes into this node's journal.
    #[must_use]
    pub fn new(node: Node) -> Self {
        Self { node, peer }
    }

    /// Finds the peer's address in a request's extensions by this, where neither [`Peer`] nor
    /// axum's connect info is there. With tonic:
    /// `|e| Some(e.get::<TcpConnectInfo>()?.remote_addr()?.ip())`.
    #[must_use]
    pub fn peer_by(mut self, peer: PeerOf) -> Self {
        self.peer = peer;
        self
    }
}

impl<S> tower::Layer<S> for Layer {
    type Service = Tracked<S>;

    fn layer(&self, inner: S) -> Tracked<S> {
        Tracked {
            node: self.node.clone(),
            peer: self.peer,
            inner,
        }
    }
}

/// A service with a [`Layer`] around it.
#[derive(Clone)]
pub struct Tracked<S> {
    node: Node,
    peer: PeerOf,
    inner: S,
}

impl<S, B, R> tower::Service<Request<B>> for Tracked<S>
where
    S: tower::Service<Request<RequestBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    R: Body<Data = Bytes> + Send + Unpin + 'static,
    R::Error: Send,
{
    type Response = Response<ReplyBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The clone that was made ready goes with the request, a fresh one stays.
        let fresh = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, fresh);
        Box::pin(handle(self.node.clone(), self.peer, ready, request))
    }
}

async fn handle<S, B, R>(
    node: Node,
    peer_of: PeerOf,
    mut service: S,
    request: Request<B>,
) -> Result<Response<ReplyBody<R>>, S::Error>
where
    S: tower::Service<Request<RequestBody<B>>, Response = Response<R>>,
    B: Body<Data = Bytes> + Unpin,
    R: Body<Data = Bytes> + Unpin,
{
    let (mut parts, body) = request.into_parts();
    let from = peer(&parts.extensions).or_else(|| peer_of(&parts.extensions));
    let exchange = inbound::take(&node, &parts, from).await;
    let given_up = GivenUp(Some(exchange.clone()));
    let received = Arc::new(Mutex::new(gather(node.keep(), &parts.headers)));
    parts.extensions.insert(exchange.clone());
    let request = Request::from_parts(parts, RequestBody::new(body, received.clone()));
    let response = match service.call(request).await {
        Ok(response) => response,
        Err(error) => {
            exchange.close(End {
                error: Some("the service failed without an answer".to_owned()),
                ..End::default()
            });
            return Err(error);
        }
    };
    let (mut parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    let mut body = ReplyBody::new(
        body,
        Ended::new(exchange.clone(), received, &parts, node.keep()),
    );
    // An answer that is all there already is one record, and its body is durable with it: the
    // session's next request finds it wherever it goes. Any other answer begins at once.
    let answer = match poll_fn(|cx| Poll::Ready(body.gather(cx))).await {
        Some(end) => exchange.finish(end).await,
        None => exchange.answer(status).await,
    };
    given_up.forget();
    if let Some(token) = answer.session
        && let Ok(token) = HeaderValue::try_from(token)
    {
        parts.headers.insert(carrier::SESSION, token);
    }
    Ok(Response::from_parts(parts, body))
}

/// Closes a request that is dropped before its answer: code of the service may hold its exchange
/// for longer.
struct GivenUp(Option<Exchange>);

impl GivenUp {
    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        if let Some(exchange) = self.0.take() {
            exchange.close(End {
                error: Some("given up before its answer".to_owned()),
                ..End::default()
            });
        }
    }
}

fn peer(extensions: &Extensions) -> Option<IpAddr> {
    if let Some(Peer(address)) = extensions.get() {
        return Some(*address);
    }
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(address)) =
        extensions.get::<axum::extract::ConnectInfo<std::net::SocketAddr>>()
    {
        return Some(address.ip());
    }
    None
}
