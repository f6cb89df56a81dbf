//! A call that goes out over something else than HTTP: a message, a line of some protocol, an
//! envelope (D5).
//!
//! The identifier is the same as in HTTP headers; what differs is where it rides. A [`Sending`] is
//! one interaction whatever its carrier: it has an outbound entry, and gives its identifier in
//! the form that the channel has room for. Each retry is a sending of its own.

use http::{HeaderMap, HeaderName, HeaderValue};
use selvedge_entry::Text;
use selvedge_identity::RequestIdentifier;
use selvedge_identity::carrier::soap::{self, SoapError};
use selvedge_identity::carrier::{self, b3, separate::Separate};
use selvedge_node::{End, Exchange, Node, Outbound, OutboundHeaders};

/// The method that entries of sent messages have: `SEND orders.new`.
const SEND: &str = "SEND";

/// Keys and values to attach to a message, each in the place of any with its key.
pub type Pairs = Vec<(&'static str, String)>;

/// Calls of a request over channels of any kind.
pub trait Channels {
    /// A message to a topic, a subject or a queue. Who receives it is not known to its sender:
    /// its entry names the topic, and the tree every receiver.
    fn message(&self, topic: &str) -> Sending;

    /// A call to the service `peer`, at `host` where that is known. Its entry's operation is
    /// `method` and `path`; either may be empty.
    fn sending(&self, peer: &str, host: Option<&str>, method: &str, path: &str) -> Sending;
}

impl Channels for Exchange {
    fn message(&self, topic: &str) -> Sending {
        Sending::of(self, self.call(None, None, SEND, topic))
    }

    fn sending(&self, peer: &str, host: Option<&str>, method: &str, path: &str) -> Sending {
        Sending::of(self, self.call(Some(peer), host, method, path))
    }
}

/// A call on its way out. It ends with [`Sending::accepted`], [`Sending::failed`] or
/// [`Sending::close`]; dropped, it is written as given up.
#[must_use = "a sending that is dropped is written as given up"]
pub struct Sending {
    outbound: Outbound,
    #[cfg_attr(
        not(feature = "client"),
        expect(dead_code, reason = "only references draw random bytes")
    )]
    node: Node,
    /// Signing is not for free, and asked for by every form.
    headers: OutboundHeaders,
}

impl Sending {
    fn of(exchange: &Exchange, outbound: Outbound) -> Self {
        Self {
            node: exchange.node().clone(),
            headers: outbound.headers(true),
            outbound,
        }
    }

    /// The identifier that it carries.
    #[must_use]
    pub fn identifier(&self) -> &RequestIdentifier {
        self.outbound.identifier()
    }

    /// Everything that a channel with metadata carries: the identifier natively and as W3C Trace
    /// Context, the caller's name, and the session, where there is one, signed. Whoever can read
    /// the channel can carry the session on; leave [`carrier::CARRIED`] out where that matters.
    #[must_use]
    pub fn pairs(&self) -> Pairs {
        let headers = &self.headers;
        let mut pairs = vec![
            (carrier::REQUEST, headers.request.to_string()),
            (carrier::TRACEPARENT, headers.traceparent.to_string()),
            (carrier::TRACESTATE, headers.tracestate.to_string()),
            (carrier::CALLER, headers.caller.to_string()),
        ];
        let carried = headers.carried.clone();
        pairs.extend(carried.map(|carried| (carrier::CARRIED, carried)));
        headers
            .wrapped
            .write(|key, value| pairs.push((key, value.to_owned())));
        pairs
    }

    /// Only W3C Trace Context, for those who pass nothing else on; its `sv` member has the stack.
    #[must_use]
    pub fn trace_context(&self) -> Pairs {
        let own = [carrier::TRACEPARENT, carrier::TRACESTATE];
        let mut pairs = self.pairs();
        pairs.retain(|(key, _)| own.contains(key));
        pairs
    }

    /// The envelope with the identifier in its SOAP header; all else stays as it is.
    ///
    /// # Errors
    /// See [`SoapError`]. The envelope can be sent as it was: its receiver is then a new root.
    pub fn soap(&self, envelope: &[u8]) -> Result<Vec<u8>, SoapError> {
        soap::write(envelope, self.identifier())
    }

    /// The identifier as a message of its own, for a request that `about` names at both sides;
    /// `None` unless that has 1 to 192 bytes. To be sent beside the request, before it or after.
    #[must_use]
    pub fn separate(&self, about: &[u8]) -> Option<String> {
        Separate::new(about, self.identifier().clone()).map(|message| message.encode())
    }

    /// It is sent now, having waited since it was made (D6).
    pub fn sent(&self) {
        self.outbound.sent();
    }

    /// The other side's `selvedge-session`, if its answer has one: actions that its code recorded
    /// are the request's, too.
    pub fn answered(&self, session: &[u8]) {
        self.outbound.answered(session);
    }

    /// Fresh random bytes, as for a token.
    #[cfg(feature = "client")]
    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        self.node.random()
    }

    /// It was taken: by the broker, or by the callee.
    pub fn accepted(self) {
        self.close(End::status(200));
    }

    /// It failed, for this reason.
    pub fn failed(self, reason: &str) {
        self.close(End {
            error: Some(reason.to_owned()),
            ..End::default()
        });
    }

    /// It ended so.
    pub fn close(self, end: End) {
        self.outbound.close(end);
    }
}

/// Replaces the identifying headers by this call's own.
pub(crate) fn put_headers(outbound: &Outbound, headers: &mut HeaderMap) {
    let own = outbound.headers(true);
    for (name, value) in [
        (carrier::REQUEST, Some(own.request.as_str())),
        (carrier::TRACEPARENT, Some(own.traceparent.as_str())),
        (carrier::TRACESTATE, Some(own.tracestate.as_str())),
        (carrier::CALLER, Some(text(&own.caller))),
        (carrier::CARRIED, own.carried.as_deref()),
        // The session is carried, never advanced, by a deeper call.
        (carrier::SESSION, None),
    ] {
        let name = HeaderName::from_static(name);
        match value.and_then(|value| HeaderValue::from_str(value).ok()) {
            Some(value) => headers.insert(name, value),
            None => headers.remove(name),
        };
    }
    for name in b3::NAMES {
        headers.remove(name);
    }
    own.wrapped.write(|name, value| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    });
}

fn text(text: &Text) -> &str {
    text
}
