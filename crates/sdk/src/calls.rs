//! The layer around a tower client: a gRPC channel, a hyper client.
//!
//! Each request that goes through it is a call of the exchange that stands in its extensions:
//! it carries the identifier one call deeper, and has an outbound entry, closed at the end of its
//! answer (of a gRPC call by its `grpc-status`, whose trailers come last). A request without an
//! exchange goes out as it came.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use selvedge_entry::Fields;
use selvedge_identity::carrier;
use selvedge_node::{End, Exchange, Gathered, Outbound};

use crate::grpc::{Status, is_grpc};
use crate::record::{gather, kept_headers};
use crate::sending::put_headers;

/// A tower layer for clients. With tonic:
///
/// ```ignore
/// let channel = ServiceBuilder::new().layer(CallLayer::new("catalogue")).service(channel);
/// let mut client = CatalogueClient::new(channel);
/// let mut request = tonic::Request::new(Item { name });
/// request.extensions_mut().insert(session.exchange());
/// let price = client.price(request).await?;
/// ```
#[derive(Clone, Debug)]
pub struct CallLayer {
    peer: Arc<str>,
}

impl CallLayer {
    /// For calls to the service `peer`.
    #[must_use]
    pub fn new(peer: &str) -> Self {
        Self { peer: peer.into() }
    }
}

impl<S> tower::Layer<S> for CallLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls {
            peer: self.peer.clone(),
            inner,
        }
    }
}

/// A client with a [`CallLayer`] around it.
#[derive(Clone, Debug)]
pub struct Calls<S> {
    peer: Arc<str>,
    inner: S,
}

impl<S, B, R> tower::Service<Request<B>> for Calls<S>
where
    S: tower::Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: std::fmt::Display,
    B: Body,
    R: Body<Data = Bytes> + Unpin,
{
    type Response = Response<CallBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = begin(&self.peer, &mut request);
        let sent = self.inner.call(request);
        Box::pin(async move {
            let response = match sent.await {
                Ok(response) => response,
                Err(error) => {
                    if let Some(call) = call {
                        call.close(Some(&error.to_string()));
                    }
                    return Err(error);
                }
            };
            let (parts, body) = response.into_parts();
            let call = call.map(|call| call.answered(&parts));
            Ok(Response::from_parts(parts, CallBody { body, call }))
        })
    }
}

/// The request's exchange makes a call.
fn begin<B: Body>(peer: &str, request: &mut Request<B>) -> Option<Call> {
    let exchange: Exchange = request.extensions_mut().remove()?;
    let grpc = is_grpc(request.headers());
    let uri = request.uri();
    let host = uri.authority().map(http::uri::Authority::as_str);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let method = if grpc { "" } else { request.method().as_str() };
    let outbound = exchange.call(Some(peer), host, method, path);
    put_headers(&outbound, request.headers_mut());
    Some(Call {
        request_bytes: request.body().size_hint().exact().unwrap_or(0),
        exchange,
        outbound,
        grpc,
        grpc_status: None,
        status: 0,
        response: Gathered::default(),
        fields: Fields::new(),
    })
}

/// A call under way.
struct Call {
    exchange: Exchange,
    outbound: Outbound,
    grpc: bool,
    grpc_status: Option<Status>,
    status: u16,
    request_bytes: u64,
    response: Gathered,
    fields: Fields,
}

impl Call {
    fn answered(mut self, parts: &http::response::Parts) -> Self {
        let keep = self.exchange.node().keep();
        self.status = parts.status.as_u16();
        self.response = gather(keep, &parts.headers);
        self.fields = kept_headers(keep, &parts.headers).fields;
        // A gRPC answer from something that does not speak it (a proxy) has no such status.
        self.grpc &= self.status == 200;
        self.grpc_status = Status::read(&parts.headers);
        if let Some(token) = parts.headers.get(carrier::SESSION) {
            self.outbound.answered(token.as_bytes());
        }
        self
    }

    fn close(self, error: Option<&str>) {
        let mut response = self.response.data(self.exchange.node().keep());
        response.fields = self.fields;
        let mut end = End {
            status: self.status,
            error: error.map(str::to_owned),
            request_bytes: self.request_bytes,
            response_bytes: self.response.bytes(),
            response,
            ..End::default()
        };
        if self.grpc && (error.is_none() || self.grpc_status.is_some()) {
            Status::tell(self.grpc_status.as_ref(), &mut end);
        }
        self.outbound.close(end);
    }
}

/// The body of a call's answer. Its end, or its being dropped, closes the call's entry.
pub struct CallBody<R> {
    body: R,
    call: Option<Call>,
}

impl<R> CallBody<R> {
    fn close(&mut self, error: Option<&str>) {
        if let Some(call) = self.call.take() {
            call.close(error);
        }
    }
}

impl<R> Body for CallBody<R>
where
    R: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(call) = &mut self.call {
                    if let Some(data) = frame.data_ref() {
                        call.response.push(data);
                    }
                    if let Some(trailers) = frame.trailers_ref() {
                        call.grpc_status = Status::read(trailers).or(call.grpc_status.take());
                    }
                }
                if frame.is_trailers() || self.body.is_end_stream() {
                    self.close(None);
                }
            }
            Poll::Ready(Some(Err(_))) => self.close(Some("the answer's body failed")),
            Poll::Ready(None) => self.close(None),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<R> Drop for CallBody<R> {
    fn drop(&mut self) {
        // A gRPC answer without a body says in its head how it ended, and is not read further.
        let ended = self
            .call
            .as_ref()
            .is_some_and(|call| call.grpc && call.grpc_status.is_some());
        self.close((!ended).then_some("given up before its answer ended"));
    }
}

impl<R> std::fmt::Debug for CallBody<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallBody")
    }
}
