//! The life of a request in the gateway, in one place:
//! session and client → entry → upstream, again elsewhere if it may be → answer → the entry's end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use selvedge_identity::carrier::{self, b3};
use selvedge_node::{End, Exchange, Inbound, Node, Outbound};
use selvedge_relay::{
    Body, BodyEnd, BodyError, Handler, Length, Observer, Refusal, Request, RequestHead, Response,
    SendError, phrase,
};
use smallvec::SmallVec;

use crate::broadcast::Ring;
use crate::channel::Channel;
use crate::log_server::{LogServer, Visit};
use crate::metrics::Metrics;
use crate::options::GatewayOptions;
use crate::upstream::{InFlight, Upstream, Upstreams, Went};

/// Answers requests by passing them on.
pub(crate) struct Forward {
    pub(crate) node: Node,
    pub(crate) options: GatewayOptions,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) log_server: Arc<LogServer>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) ring: Arc<Ring>,
    pub(crate) channel: Arc<Channel>,
}

impl Handler for Forward {
    async fn handle(&self, mut request: Request) -> Response {
        if self.ring.serves(request.head.path()) {
            return self.broadcasts(&request.head);
        }
        if let Some(file) = self.channel.file(request.head.path()) {
            return self.channel.answer(&request.head, file).await;
        }
        self.metrics.requests.fetch_add(1, Relaxed);
        let counted = Counted::new(&self.metrics);
        let visit = self.log_server.admit(&request.head.fields);
        let exchange = self.enter(&request, &visit);
        visit.mark_request(&mut request.head.fields);
        self.mark_forwarded(&mut request);
        let sent = Arc::new(AtomicU64::new(0));
        let mut body = count_body(std::mem::take(&mut request.body), &sent);

        let mut response = match self
            .send(&mut request.head, &mut body, &exchange, &sent)
            .await
        {
            Ok((response, mut watch)) => {
                watch.exchange = Some(exchange);
                watch.counted = Some(counted);
                let Response { head, body, tunnel } = response;
                let body = body.observed(Box::new(watch));
                Response { head, body, tunnel }
            }
            Err(Failure { status, error }) => {
                self.metrics.own_answers.count(status);
                tracing::debug!(status, %error, "request failed");
                exchange.close(End {
                    status,
                    error: Some(error),
                    request_bytes: sent.load(Relaxed),
                    ..End::default()
                });
                Response::text(status, &format!("{status} {}\n", phrase(status)))
            }
        };
        visit.mark_answer(&mut response.head.fields);
        response
    }

    fn refused(&self, refusal: Refusal, peer: SocketAddr) {
        self.metrics.refused.count(refusal.reason);
        tracing::debug!(%peer, status = refusal.status, reason = refusal.reason, "refused");
    }
}

/// Why there is no answer of an upstream's.
struct Failure {
    status: u16,
    error: String,
}

impl Forward {
    /// Streams broadcasts, and takes the heads that came with them.
    fn broadcasts(&self, head: &RequestHead) -> Response {
        let fields = &head.fields;
        match head.method() {
            "GET" => {
                let last = fields.get("last-event-id");
                let last = last.and_then(|id| str::from_utf8(id).ok());
                self.ring.stream(self.log_server.session(fields), last)
            }
            "POST" => self.log_server.unite(fields),
            _ => {
                let text = "broadcasts are streamed by GET; their heads are posted\n";
                let mut response = Response::text(405, text);
                response.head.fields.append("allow", "GET, POST");
                response
            }
        }
    }

    /// Opens the gateway's own entry: the root of the call tree, or the next level of one that a
    /// trusted client began.
    fn enter(&self, request: &Request, visit: &Visit) -> Exchange {
        let fields = &request.head.fields;
        let states: SmallVec<[&[u8]; 1]> = fields.get_all(carrier::TRACESTATE).collect();
        let joined;
        let tracestate = match states.as_slice() {
            [] => None,
            [one] => Some(*one),
            several => {
                joined = several.join(&b","[..]);
                Some(joined.as_slice())
            }
        };
        let peer = request.peer.ip();
        let caller = fields
            .get(carrier::CALLER)
            .filter(|_| self.node.trusts(Some(peer)))
            .and_then(|caller| str::from_utf8(caller).ok());
        let inbound = Inbound {
            headers: carrier::Headers {
                request: fields.get(carrier::REQUEST),
                traceparent: carrier::sole(fields.get_all(carrier::TRACEPARENT)),
                tracestate,
            },
            b3: b3::Headers::among(fields.iter()),
            caller,
            method: request.head.method(),
            path: request.head.target(),
            peer: Some(peer),
            received: self.node.now(),
            ..Inbound::default()
        };
        let exchange = self
            .node
            .enter(&inbound, Some(visit.session), Some(visit.client));
        for flag in &visit.flags {
            exchange.flag(flag);
        }
        exchange
    }

    fn mark_forwarded(&self, request: &mut Request) {
        if !self.options.forwarded {
            return;
        }
        let peer = request.peer.ip().to_canonical();
        let fields = &mut request.head.fields;
        // What a stranger claims about where a request came from is worth nothing.
        if !self.node.trusts(Some(peer)) {
            for name in [
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded-proto",
                "forwarded",
            ] {
                fields.remove(name);
            }
        }
        fields.append("x-forwarded-for", peer.to_string());
        if !fields.has("x-forwarded-proto") {
            fields.append("x-forwarded-proto", "http");
        }
        if !fields.has("x-forwarded-host")
            && let Some(host) = fields.get("host").map(<[u8]>::to_vec)
        {
            fields.append("x-forwarded-host", host);
        }
    }

    /// Sends the request to one upstream after another until one answers or it may not be sent
    /// again. Each attempt is an interaction of its own.
    async fn send(
        &self,
        head: &mut RequestHead,
        body: &mut Body,
        exchange: &Exchange,
        sent: &Arc<AtomicU64>,
    ) -> Result<(Response, Watch), Failure> {
        let mut tried: SmallVec<[Arc<Upstream>; 2]> = SmallVec::new();
        let mut failure = Failure {
            status: 503,
            error: "no server to ask".to_owned(),
        };
        while let Some(flight) = self.upstreams.pick(&tried) {
            if !tried.is_empty() {
                self.metrics.retries.fetch_add(1, Relaxed);
            }
            let outbound = self.call(head, exchange, &flight);
            let error = match flight.upstream.client.send(head, body).await {
                Ok(response) => {
                    let status = response.head.status;
                    flight.upstream.count(status);
                    self.upstreams.learn(&flight, Went::Answered(status));
                    let watch = Watch {
                        upstreams: Arc::clone(&self.upstreams),
                        flight,
                        outbound: Some(outbound),
                        exchange: None,
                        counted: None,
                        status,
                        sent: Arc::clone(sent),
                        received: 0,
                    };
                    return Ok((response, watch));
                }
                Err(error) => error,
            };
            outbound.close(End {
                error: Some(error.to_string()),
                request_bytes: sent.load(Relaxed),
                ..End::default()
            });
            if error.is_clients() {
                self.upstreams.learn(&flight, Went::Unknown);
            } else {
                flight.upstream.count(0);
                self.upstreams.learn(&flight, Went::Failed);
            }
            failure = Failure {
                status: status_of(&error),
                error: format!("{}: {error}", flight.upstream.name),
            };
            tracing::debug!(upstream = %flight.upstream.name, %error, "attempt failed");
            if !may_repeat(head, body, &error) || tried.len() >= self.options.retries_max as usize {
                break;
            }
            flight.upstream.retried();
            tried.push(Arc::clone(&flight.upstream));
        }
        Err(failure)
    }

    /// Opens the entry of one attempt and gives the request its identifiers.
    fn call(&self, head: &mut RequestHead, exchange: &Exchange, flight: &InFlight) -> Outbound {
        let upstream = &flight.upstream;
        let address = upstream.client.address();
        let outbound = exchange.call(
            Some(&upstream.name),
            Some(address),
            head.method(),
            head.target(),
        );
        let headers = outbound.headers(false);
        let fields = &mut head.fields;
        fields.set(carrier::REQUEST, headers.request.as_bytes());
        fields.set(carrier::TRACEPARENT, headers.traceparent.as_bytes());
        fields.remove(carrier::TRACESTATE);
        if !headers.tracestate.is_empty() {
            fields.append(carrier::TRACESTATE, &headers.tracestate);
        }
        headers.wrapped.write(|name, value| {
            fields.set(name, value);
        });
        fields.set(carrier::CALLER, headers.caller.as_bytes());
        if !fields.has("host") {
            fields.append("host", address);
        }
        outbound
    }
}

/// Whether a failed request may go to another server: all of it is still at hand, and either it
/// was certainly not sent, or nothing of an answer came and its method is safe. A timeout is not
/// repeated: what takes too long here takes too long there, and the client has waited enough.
fn may_repeat(head: &RequestHead, body: &Body, error: &SendError) -> bool {
    let unanswered = matches!(error, SendError::Closed { .. });
    body.is_untouched() && (error.is_unsent() || (unanswered && head.is_safe()))
}

fn status_of(error: &SendError) -> u16 {
    match error {
        SendError::RequestBody(BodyError::TooLarge) => 413,
        SendError::RequestBody(BodyError::Timeout) => 408,
        SendError::RequestBody(_) => 400,
        SendError::Timeout => 504,
        _ => 502,
    }
}

/// Counts a request's body as it is sent.
fn count_body(body: Body, sent: &Arc<AtomicU64>) -> Body {
    struct Count(Arc<AtomicU64>);
    impl Observer for Count {
        fn data(&mut self, part: &Bytes) {
            self.0.fetch_add(part.len() as u64, Relaxed);
        }
        fn end(self: Box<Self>, _end: BodyEnd<'_>) {}
    }
    match body.length() {
        Length::Known(0) => body,
        _ => body.observed(Box::new(Count(Arc::clone(sent)))),
    }
}

/// Watches the answer's body, and writes both entries' ends when it ends.
struct Watch {
    upstreams: Arc<Upstreams>,
    flight: InFlight,
    outbound: Option<Outbound>,
    exchange: Option<Exchange>,
    counted: Option<Counted>,
    status: u16,
    sent: Arc<AtomicU64>,
    received: u64,
}

impl Observer for Watch {
    fn data(&mut self, part: &Bytes) {
        self.received += part.len() as u64;
    }

    fn end(mut self: Box<Self>, end: BodyEnd<'_>) {
        let error = match end {
            BodyEnd::Complete => None,
            BodyEnd::Failed(error) => {
                self.upstreams.learn(&self.flight, Went::Broke);
                Some(error.to_string())
            }
            BodyEnd::Abandoned => Some("the client went away".to_owned()),
        };
        let end = || End {
            status: self.status,
            error: error.clone(),
            request_bytes: self.sent.load(Relaxed),
            response_bytes: self.received,
            ..End::default()
        };
        if let Some(outbound) = self.outbound.take() {
            outbound.close(end());
        }
        if let Some(exchange) = self.exchange.take() {
            exchange.close(end());
        }
    }
}

/// A request that is being handled.
struct Counted(Arc<Metrics>);

impl Counted {
    fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.in_flight.fetch_add(1, Relaxed);
        Self(Arc::clone(metrics))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
