//! A request that came in over something else than HTTP: a message, a line of some protocol, an
//! envelope (D5).
//!
//! Whatever its carrier, it becomes an exchange as a request of a [`crate::Layer`] does: with an
//! inbound entry, calls and actions of its own. Its code says how it ended, with
//! [`Exchange::finish`] (which waits until that is durable) or [`Exchange::close`]. It carries its
//! session and never advances it: only what its code records as actions stands in the visit.

use std::net::IpAddr;

use selvedge_identity::RequestIdentifier;
use selvedge_identity::carrier::metadata::Pairs;
use selvedge_identity::carrier::{Headers, soap};
use selvedge_node::{Exchange, Inbound, Node};

/// The method that entries of received messages have: `RECEIVE orders.new`.
const RECEIVE: &str = "RECEIVE";

/// A request as it came. Without an identifier that may be continued it is a new root.
#[derive(Clone, Debug, Default)]
#[must_use = "a request is nothing until a node takes it"]
pub struct Arrival<'a> {
    method: &'a str,
    path: &'a str,
    pairs: Pairs<'a>,
    identifier: Option<String>,
    peer: Option<IpAddr>,
    vouched: bool,
    flags: Vec<&'static str>,
}

impl<'a> Arrival<'a> {
    /// A request whose entry's operation is `method` and `path`; either may be empty.
    pub fn new(method: &'a str, path: &'a str) -> Self {
        Self {
            method,
            path,
            ..Self::default()
        }
    }

    /// A message of this topic, subject or queue.
    pub fn message(topic: &'a str) -> Self {
        Self::new(RECEIVE, topic)
    }

    /// The address it came from, a broker's for a message. The identifiers of sources that the
    /// node does not trust become links.
    pub fn from(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Continue its identifiers wherever it came from: for channels that only this fleet can
    /// write to.
    pub fn vouched(mut self) -> Self {
        self.vouched = true;
        self
    }

    /// The metadata that came with it; pairs of other keys are passed over.
    pub fn pairs(mut self, pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        self.pairs = Pairs::read(pairs);
        if self.pairs.oversized {
            self.flags.push("oversized_tracestate");
        }
        self
    }

    /// The identifier that was found for it: beside it ([`crate::Beside`]) or by its reference
    /// ([`crate::References`]). It takes the place of one in its pairs.
    pub fn identifier(mut self, identifier: Option<&RequestIdentifier>) -> Self {
        self.identifier = identifier.map(|identifier| identifier.encode().to_string());
        self
    }

    /// The SOAP envelope that it is: the identifier in its header counts. One that cannot be read
    /// is flagged, and served as one without.
    pub fn soap(mut self, envelope: &[u8]) -> Self {
        match soap::read(envelope) {
            Ok(block) => {
                let text = block.and_then(|block| str::from_utf8(block).ok());
                self.identifier = text.map(str::to_owned);
            }
            Err(_) => self.flags.push("refused_soap_header"),
        }
        self
    }

    /// The node takes it.
    pub async fn take(self, node: &Node) -> Exchange {
        let headers = self.pairs.headers();
        let own = self.identifier.as_deref().map(str::as_bytes);
        let inbound = Inbound {
            carried: self.pairs.carried,
            headers: Headers {
                request: own.or(headers.request),
                ..headers
            },
            b3: self.pairs.b3,
            caller: self.pairs.caller.and_then(|name| str::from_utf8(name).ok()),
            method: self.method,
            path: self.path,
            peer: self.peer,
            vouched: self.vouched,
            received: node.now(),
            ..Inbound::default()
        };
        let exchange = node.take(inbound).await;
        for flag in self.flags {
            exchange.flag(flag);
        }
        exchange
    }
}
