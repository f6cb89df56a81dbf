//! The way in: from the gateway to the application and back.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use selvedge_entry::Data;
use selvedge_identity::carrier::{self, b3};
use selvedge_node::{End, Exchange, Gathered, Inbound, Node, Wrap};
use selvedge_relay::{
    Body, BodyEnd, BodyError, Client, Handler, Length, Observer, Refusal, Request, RequestHead,
    Response, SendError,
};

use crate::counts::{Counters, count};
use crate::live::{Live, Ticket};
use crate::message::{gather, joined, kept_fields, refusal};
use crate::soap::{self, SoapOptions};

/// The session's id, for the application's information.
const SESSION_ID: &str = "selvedge-session-id";
/// The client's id, for the application's information.
const CLIENT_ID: &str = "selvedge-client-id";

/// Takes the gateway's requests.
pub(crate) struct Front {
    pub(crate) node: Node,
    pub(crate) application: Client,
    /// What comes before every path at the application.
    pub(crate) prefix: String,
    pub(crate) live: Arc<Live>,
    pub(crate) soap: SoapOptions,
    pub(crate) counters: Arc<Counters>,
}

impl Handler for Front {
    async fn handle(&self, request: Request) -> Response {
        count(&self.counters.requests);
        let Request {
            mut head,
            mut body,
            peer,
            ..
        } = request;
        let mut envelope = None;
        let mut readable = true;
        if self.soap.serves(head.path()) {
            envelope = match soap::envelope(&head, &mut body, self.soap.envelope_bytes_max).await {
                Ok(envelope) => envelope,
                Err(why) => return refusal(why.status, "bad_envelope", why.reason),
            };
            if let Some(envelope) = &envelope {
                readable = soap::to_header(envelope, &mut head);
            }
        }
        let exchange = take(&self.node, &head, peer.ip()).await;
        if !readable {
            exchange.flag("refused_soap_header");
        }
        let passing = Passing {
            _ticket: self.live.begin(&exchange),
            exchange,
            received: Passed::default(),
        };
        passing.received.set(gather(self.node.keep(), &head.fields));
        mark(&mut head, &passing.exchange);
        if let Some(envelope) = envelope {
            body = soap::marked(envelope, head.fields.get(carrier::REQUEST));
        }
        if !self.prefix.is_empty() {
            let target = format!("{}{}", self.prefix, head.target());
            if let Err(refused) = head.set_target(&target) {
                return passing.failed(refused.status, refused.reason).await;
            }
        }
        let mut body = body.observed(Box::new(passing.received.clone()));
        match self.application.send(&head, &mut body).await {
            Ok(response) => passing.answered(response).await,
            Err(error) => {
                if !error.is_clients() {
                    count(&self.counters.upstream_failures);
                    tracing::warn!(application = self.application.address(), %error, "no answer");
                }
                passing.failed(status_of(&error), &error.to_string()).await
            }
        }
    }

    fn refused(&self, refusal: Refusal, peer: SocketAddr) {
        count(&self.counters.refused);
        tracing::debug!(%peer, %refusal, "request refused");
    }
}

async fn take(node: &Node, head: &RequestHead, peer: IpAddr) -> Exchange {
    let fields = &head.fields;
    let tracestate = joined(fields, carrier::TRACESTATE);
    node.take(Inbound {
        sessions: fields.get_all(carrier::SESSION).collect(),
        carried: fields.get(carrier::CARRIED),
        client: fields.get(carrier::CLIENT),
        headers: carrier::Headers {
            request: fields.get(carrier::REQUEST),
            traceparent: carrier::sole(fields.get_all(carrier::TRACEPARENT)),
            tracestate: tracestate.as_deref(),
        },
        b3: b3::Headers::among(fields.iter()),
        caller: fields
            .get(carrier::CALLER)
            .and_then(|name| str::from_utf8(name).ok()),
        method: head.method(),
        path: head.target(),
        peer: Some(peer),
        received: node.now(),
        request: kept_fields(node.keep(), fields),
        ..Inbound::default()
    })
    .await
}

/// Replaces the identifying fields by what the application is to see. Tokens stay here: what the
/// application does not have it cannot leak.
fn mark(head: &mut RequestHead, exchange: &Exchange) {
    let own = [
        carrier::SESSION,
        carrier::CARRIED,
        carrier::CLIENT,
        carrier::CALLER,
        SESSION_ID,
        CLIENT_ID,
    ];
    let fields = &mut head.fields;
    fields.retain(|name, _| !own.iter().any(|own| selvedge_relay::is(name, own)));
    fields.set(carrier::REQUEST, exchange.identifier().encode().as_bytes());
    if let Some(session) = exchange.session() {
        fields.append(SESSION_ID, session.text().as_bytes());
    }
    if let Some(client) = exchange.client() {
        fields.append(CLIENT_ID, client.text().as_bytes());
    }
    // W3C context of another request, or none, gives place to this one's, for applications that
    // speak OpenTelemetry. B3 likewise, in the forms that it came in and those configured.
    let origin = exchange.identifier().origin().text();
    let continues = fields
        .get(carrier::TRACEPARENT)
        .is_some_and(|value| value.get(3..35) == Some(origin.as_bytes()));
    let spoken = Wrap::of(&b3::Headers::among(fields.iter()));
    fields.retain(|name, _| !b3::is_name(name));
    let Some((context, wrapped)) = exchange.trace_context(spoken) else {
        return;
    };
    if !continues {
        fields.set(carrier::TRACEPARENT, context.traceparent.as_bytes());
        fields.set(carrier::TRACESTATE, context.tracestate.as_bytes());
    }
    wrapped.write(|name, value| {
        fields.set(name, value);
    });
}

/// A body that is counted while it passes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passed(Arc<Mutex<Gathered>>);

impl Passed {
    pub(crate) fn set(&self, gathered: Gathered) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = gathered;
    }

    pub(crate) fn get(&self) -> Gathered {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn push(&self, part: &[u8]) {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.push(part);
    }
}

impl Observer for Passed {
    fn data(&mut self, part: &Bytes) {
        self.push(part);
    }

    fn end(self: Box<Self>, _: BodyEnd<'_>) {}
}

/// A request on its way through. Dropped before its answer has ended, it is closed as failed: its
/// exchange stays findable for late calls, so it would not close itself.
struct Passing {
    exchange: Exchange,
    _ticket: Ticket,
    received: Passed,
}

impl Drop for Passing {
    fn drop(&mut self) {
        // Does nothing where the end was written.
        self.exchange.close(End {
            error: Some("given up before its answer".to_owned()),
            ..End::default()
        });
    }
}

impl Passing {
    /// The application answered.
    async fn answered(self, response: Response) -> Response {
        let Response {
            mut head,
            mut body,
            tunnel,
        } = response;
        let keep = self.exchange.node().keep();
        let mut sent = gather(keep, &head.fields);
        let fields = kept_fields(keep, &head.fields);
        // An answer that is here already, or is short and kept, is written before it goes on:
        // one record, and the session's next request finds its body wherever it goes.
        let short = match body.length() {
            Length::Known(length) => {
                let content_type = head.fields.get("content-type");
                let content_type = content_type.and_then(|value| str::from_utf8(value).ok());
                length <= keep.body_bytes_max as u64 && keep.wants_body(content_type)
            }
            Length::Unknown => false,
        };
        let whole = match body.whole() {
            None if short => match body.collect(keep.body_bytes_max).await {
                Ok(whole) => Some(whole),
                Err(error) => return self.failed(502, &error.to_string()).await,
            },
            whole => whole,
        };
        head.fields.remove(carrier::SESSION);
        let answer = if let Some(whole) = whole {
            sent.push(&whole);
            let end = end(
                &self.received,
                &sent,
                fields,
                &self.exchange,
                head.status,
                None,
            );
            body = Body::full(whole);
            self.exchange.finish(end).await
        } else {
            let answer = self.exchange.answer(head.status).await;
            body = body.observed(Box::new(Closing {
                passing: self,
                status: head.status,
                sent,
                fields,
            }));
            answer
        };
        if let Some(token) = answer.session {
            head.fields.append(carrier::SESSION, token);
        }
        Response { head, body, tunnel }
    }

    /// There is no answer: ours says so.
    async fn failed(self, status: u16, why: &str) -> Response {
        let mut response = refusal(status, "application_failed", why);
        let sent = Gathered::default();
        let end = end(
            &self.received,
            &sent,
            Data::default(),
            &self.exchange,
            status,
            Some(why.to_owned()),
        );
        let answer = self.exchange.finish(end).await;
        if let Some(token) = answer.session {
            response.head.fields.append(carrier::SESSION, token);
        }
        response
    }
}

fn end(
    received: &Passed,
    sent: &Gathered,
    fields: Data,
    exchange: &Exchange,
    status: u16,
    error: Option<String>,
) -> End {
    let keep = exchange.node().keep();
    let received = received.get();
    End {
        status,
        error,
        request_bytes: received.bytes(),
        response_bytes: sent.bytes(),
        request: received.data(keep),
        response: Data {
            fields: fields.fields,
            ..sent.data(keep)
        },
        work: None,
    }
}

/// Closes the request's entry at the end of an answer that is streamed.
struct Closing {
    passing: Passing,
    status: u16,
    sent: Gathered,
    fields: Data,
}

impl Observer for Closing {
    fn data(&mut self, part: &Bytes) {
        self.sent.push(part);
    }

    fn end(self: Box<Self>, how: BodyEnd<'_>) {
        let error = match how {
            BodyEnd::Complete => None,
            BodyEnd::Failed(error) => Some(error.to_string()),
            BodyEnd::Abandoned => Some("the client went away before the answer's end".to_owned()),
        };
        let Self {
            passing,
            status,
            sent,
            fields,
        } = *self;
        let exchange = &passing.exchange;
        exchange.close(end(
            &passing.received,
            &sent,
            fields,
            exchange,
            status,
            error,
        ));
    }
}

/// The status that tells the client why there is no answer.
pub(crate) fn status_of(error: &SendError) -> u16 {
    match error {
        SendError::Timeout => 504,
        SendError::RequestBody(BodyError::TooLarge) => 413,
        SendError::RequestBody(BodyError::Timeout) => 408,
        SendError::RequestBody(_) => 400,
        _ => 502,
    }
}
