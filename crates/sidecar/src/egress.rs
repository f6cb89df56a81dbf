//! The way out: the application's calls to other services.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use selvedge_entry::Data;
use selvedge_identity::carrier::{self, Extracted, b3};
use selvedge_identity::{Interaction, RequestIdentifier};
use selvedge_node::{End, Gathered, Node, Outbound, Wrap};
use selvedge_relay::{Body, BodyEnd, Handler, Observer, Refusal, Request, RequestHead, Response};

use crate::counts::{Counters, count};
use crate::inbound::{Passed, status_of};
use crate::live::Live;
use crate::local_api::{LocalApi, PREFIX};
use crate::message::{gather, joined, kept_fields, refusal};
use crate::soap::{self, SoapOptions};
use crate::target::{Target, Targets};

/// Names the callee where neither its URL nor `Host` does.
const TARGET: &str = "selvedge-target";

/// Takes the application's calls.
pub(crate) struct Egress {
    pub(crate) node: Node,
    pub(crate) targets: Targets,
    pub(crate) live: Arc<Live>,
    pub(crate) local: LocalApi,
    pub(crate) soap: SoapOptions,
    pub(crate) counters: Arc<Counters>,
    /// Where it listens, once it does.
    pub(crate) own: OnceLock<SocketAddr>,
}

impl Handler for Egress {
    async fn handle(&self, mut request: Request) -> Response {
        let target = match self.target(&mut request.head) {
            Ok(Some(target)) => target,
            Ok(None) => {
                count(&self.counters.questions);
                return self.local.answer(request, &self.targets).await;
            }
            Err(why) => return refusal(400, "bad_target", &why),
        };
        self.call(request, &target).await
    }

    fn refused(&self, refusal: Refusal, peer: SocketAddr) {
        count(&self.counters.refused);
        tracing::debug!(%peer, %refusal, "call refused");
    }
}

impl Egress {
    /// Where the call goes; `None`: it is a question to this sidecar.
    fn target(&self, head: &mut RequestHead) -> Result<Option<Target>, String> {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        if let Some(url) = head.fields.get(TARGET).map(text) {
            head.fields.remove(TARGET);
            let target = Target::parse(None, &url);
            let target = target.map_err(|reason| format!("{TARGET} is {url:?}: {reason}"))?;
            return Ok(Some(target));
        }
        let host = head.fields.get("host").map(text).unwrap_or_default();
        if let Some(target) = self.targets.route(&host) {
            return Ok(Some(target.clone()));
        }
        if head.path().starts_with(PREFIX) {
            return Ok(None);
        }
        let target = Target::of_authority(None, &host, "")
            .map_err(|reason| format!("the host is {host:?}: {reason}"))?;
        if self.is_own(&target.address) {
            return Err(format!(
                "the call names no service: use one of the routes as its host, or {TARGET}"
            ));
        }
        Ok(Some(target))
    }

    fn is_own(&self, address: &str) -> bool {
        let Some(own) = self.own.get() else {
            return false;
        };
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let host = host.trim_matches(['[', ']']);
        let loopback = host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|host| host.is_loopback());
        loopback && port == own.port().to_string()
    }

    async fn call(&self, request: Request, target: &Target) -> Response {
        let Request {
            mut head, mut body, ..
        } = request;
        let envelope = match self.envelope(&mut head, &mut body, target).await {
            Ok(envelope) => envelope,
            Err(refused) => return refused,
        };
        let outbound = self.mark(&mut head, target);
        if let Some(envelope) = envelope {
            body = soap::marked(envelope, head.fields.get(carrier::REQUEST));
        }
        let path = format!("{}{}", target.prefix, head.target());
        if let Err(refused) = head.set_target(&path) {
            return refusal(refused.status, "bad_target", refused.reason);
        }
        head.fields.set("host", &target.address);
        let keep = self.node.keep();
        let sent = Passed::default();
        sent.set(gather(keep, &head.fields));
        let mut body = body.observed(Box::new(sent.clone()));
        let client = self.targets.client(target);
        let mut response = match client.send(&head, &mut body).await {
            Ok(response) => response,
            Err(error) => {
                count(&self.counters.call_failures);
                let why = format!("{} did not answer: {error}", target.peer);
                if let Some(outbound) = outbound {
                    let end = Ended::new(self.node.clone(), sent, 0);
                    outbound.close(end.end(Some(error.to_string())));
                }
                return refusal(status_of(&error), "call_failed", &why);
            }
        };
        let Some(outbound) = outbound else {
            return response;
        };
        let fields = &mut response.head.fields;
        if let Some(token) = fields.get(carrier::SESSION) {
            outbound.answered(token);
        }
        fields.remove(carrier::SESSION);
        let mut ended = Ended::new(self.node.clone(), sent, response.head.status);
        ended.received = gather(keep, fields);
        ended.fields = kept_fields(keep, fields);
        response.body = response
            .body
            .observed(Box::new(Closing { outbound, ended }));
        response
    }

    /// The envelope of a call over SOAP: the block that the application copied into it names the
    /// request, unless a header does.
    async fn envelope(
        &self,
        head: &mut RequestHead,
        body: &mut Body,
        target: &Target,
    ) -> Result<Option<Bytes>, Response> {
        if !self.soap.calls(&target.peer) {
            return Ok(None);
        }
        let envelope = soap::envelope(head, body, self.soap.envelope_bytes_max).await;
        let envelope = envelope.map_err(|why| refusal(why.status, "bad_envelope", why.reason))?;
        if let Some(envelope) = &envelope {
            soap::to_header(envelope, head);
        }
        Ok(envelope)
    }

    /// Puts the call's own identifier on it, and begins its entry where its request is known.
    fn mark(&self, head: &mut RequestHead, target: &Target) -> Option<Outbound> {
        let spoken = Wrap::of(&b3::Headers::among(head.fields.iter()));
        let value = head.fields.get(carrier::REQUEST);
        let native = value.and_then(|value| RequestIdentifier::parse(value).ok());
        let mut said = None;
        let found = match &native {
            Some(parent) => self.live.find(parent),
            None => {
                let said = said.insert(self.read_wrapped(head));
                let caller = said.identifier.as_ref();
                caller.and_then(|caller| self.live.find_caller(caller))
            }
        };
        let Some(exchange) = found else {
            let Some(parent) = native else {
                count(&self.counters.calls_unmarked);
                return None;
            };
            count(&self.counters.calls_unattached);
            let own = Interaction::from_random(self.node.random());
            let injected = carrier::inject(&self.node.advance(&parent, own), own, 3, None);
            let fields = &mut head.fields;
            fields.retain(|name, _| !is_identifying(name));
            fields.append(carrier::REQUEST, injected.request.as_bytes());
            fields.append(carrier::TRACEPARENT, injected.traceparent.as_bytes());
            fields.append(carrier::TRACESTATE, injected.tracestate.as_bytes());
            fields.append(carrier::CALLER, self.node.service());
            return None;
        };
        count(&self.counters.calls);
        // Who speaks W3C or B3 has given the call an id: a span of its own. Who copied what it was
        // given has given none.
        let given = said.as_ref().and_then(|said| said.interaction);
        let given = given.filter(|given| Some(*given) != exchange.interaction());
        let interaction = given.unwrap_or_else(|| Interaction::from_random(self.node.random()));
        let mut outbound = exchange.call_as(
            interaction,
            Some(&target.peer),
            Some(&target.address),
            head.method(),
            &format!("{}{}", target.prefix, head.target()),
        );
        if let Some(said) = said.filter(|_| given.is_some()) {
            outbound = outbound.passing_on(said.flags, said.tracestate);
        }
        let own = outbound.headers_as(true, spoken);
        let fields = &mut head.fields;
        fields.retain(|name, _| !is_identifying(name));
        fields.append(carrier::REQUEST, own.request.as_bytes());
        fields.append(carrier::TRACEPARENT, own.traceparent.as_bytes());
        fields.append(carrier::TRACESTATE, own.tracestate.as_bytes());
        fields.append(carrier::CALLER, own.caller.as_bytes());
        own.wrapped.write(|name, value| {
            fields.append(name, value);
        });
        if let Some(carried) = own.carried {
            fields.append(carrier::CARRIED, carried);
        }
        Some(outbound)
    }

    /// What a call says of itself by an application that speaks only W3C Trace Context or B3 (D15).
    fn read_wrapped(&self, head: &RequestHead) -> Extracted {
        let fields = &head.fields;
        let tracestate = joined(fields, carrier::TRACESTATE);
        let headers = carrier::Headers {
            request: None,
            traceparent: carrier::sole(fields.get_all(carrier::TRACEPARENT)),
            tracestate: tracestate.as_deref(),
        };
        let b3 = b3::Headers::among(fields.iter());
        carrier::extract_wrapped(headers, b3, true, self.node.shape())
    }
}

/// Fields that only the sidecar sets.
fn is_identifying(name: &[u8]) -> bool {
    let ours = [
        carrier::REQUEST,
        carrier::TRACEPARENT,
        carrier::TRACESTATE,
        carrier::SESSION,
        carrier::CARRIED,
        carrier::CLIENT,
        carrier::CALLER,
    ];
    b3::is_name(name) || ours.iter().any(|own| selvedge_relay::is(name, own))
}

/// What the end of a call needs.
struct Ended {
    node: Node,
    sent: Passed,
    status: u16,
    received: Gathered,
    fields: Data,
}

impl Ended {
    fn new(node: Node, sent: Passed, status: u16) -> Self {
        Self {
            node,
            sent,
            status,
            received: Gathered::default(),
            fields: Data::default(),
        }
    }

    fn end(self, error: Option<String>) -> End {
        let keep = self.node.keep();
        let sent = self.sent.get();
        End {
            status: self.status,
            error,
            request_bytes: sent.bytes(),
            response_bytes: self.received.bytes(),
            request: sent.data(keep),
            response: Data {
                fields: self.fields.fields,
                ..self.received.data(keep)
            },
            work: None,
        }
    }
}

/// Closes the call's entry at the end of its answer.
struct Closing {
    outbound: Outbound,
    ended: Ended,
}

impl Observer for Closing {
    fn data(&mut self, part: &Bytes) {
        self.ended.received.push(part);
    }

    fn end(self: Box<Self>, how: BodyEnd<'_>) {
        let error = match how {
            BodyEnd::Complete => None,
            BodyEnd::Failed(error) => Some(error.to_string()),
            BodyEnd::Abandoned => {
                Some("the application went away before the answer's end".to_owned())
            }
        };
        let Self { outbound, ended } = *self;
        outbound.close(ended.end(error));
    }
}
