//! The entry and its parts.

use std::sync::Arc;

use selvedge_identity::{
    ClientId, Head, Interaction, OrderingId, Position, RequestIdentifier, SessionId, TraceParent,
};
use smallvec::SmallVec;

use crate::{StateWrite, Timestamp};

/// Short text that many entries share (service, host, operation): cloning is cheap.
pub type Text = Arc<str>;

/// Small named values, in the order they were given.
pub type Fields = Vec<(Text, Text)>;

/// Which side of a call an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The receiving side.
    Inbound,
    /// The calling side.
    Outbound,
    /// An action inside a server, no call.
    Internal,
}

impl Direction {
    /// `inbound`, `outbound` or `internal`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
            Self::Internal => "internal",
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Outcome {
    /// It did what was asked. (HTTP: a status below 400.)
    Ok,
    /// The asker was told no. (HTTP 4xx.) The server is healthy.
    Refused,
    /// It failed. (HTTP 5xx, a broken connection, a timeout.)
    Error,
    /// Nobody wrote how it ended: the server stopped first, or it is still going on.
    #[default]
    Unknown,
}

impl Outcome {
    /// What an HTTP status says; 0 (none came) is an error.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            1..400 => Self::Ok,
            400..500 => Self::Refused,
            _ => Self::Error,
        }
    }

    /// `ok`, `refused`, `error` or `unknown`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Error => "error",
            Self::Unknown => "unknown",
        }
    }
}

/// What a session's action follows: a head of its request, or its request's action before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Follow {
    /// The followed action's opening.
    pub position: Position,
    /// The sequence of its effect, as far as it was known (else its opening's).
    pub effect: u64,
}

impl From<&Head> for Follow {
    fn from(head: &Head) -> Self {
        Self {
            position: head.position.clone(),
            effect: head.effect,
        }
    }
}

/// What was kept of a request's or an answer's data. By default method and path of a request, and
/// nothing of an answer but what [`Closing`] says; headers, fields and bodies only where asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// Kept headers and fields, by name.
    pub fields: Fields,
    /// The kept body.
    pub body: Option<bytes::Bytes>,
    /// The body was longer than what is kept.
    pub truncated: bool,
}

impl Data {
    /// The name of the field that holds a request's method.
    pub const METHOD: &'static str = "method";
    /// The name of the field that holds a request's path, as it was asked for.
    pub const PATH: &'static str = "path";

    /// The first field of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(key, _)| &**key == name)
            .map(|(_, value)| &**value)
    }

    /// Whether nothing was kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.body.is_none()
    }
}

/// Where an entry stands in a call tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The request identifier: for an inbound entry the one received, for an outbound entry the
    /// one sent.
    pub identifier: RequestIdentifier,
    /// The whole interaction id, where it is known (the stack may hold fewer bytes).
    pub interaction: Option<Interaction>,
    /// The service on the other side: the caller of an inbound, the callee of an outbound entry.
    pub peer: Option<Text>,
    /// The other side's address.
    pub peer_host: Option<Text>,
}

/// A context that is related but not a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The other origin.
    pub origin: selvedge_identity::Origin,
    /// The other interaction.
    pub interaction: Interaction,
}

impl From<TraceParent> for Link {
    fn from(other: TraceParent) -> Self {
        Self {
            origin: other.origin,
            interaction: other.interaction,
        }
    }
}

/// What is known when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Which side.
    pub direction: Direction,
    /// The visit it belongs to.
    pub session: Option<SessionId>,
    /// Who visits (A7).
    pub client: Option<ClientId>,
    /// The counter of its ordering id, if it is an action of its session; the ordering id's
    /// server is the journal's.
    pub counter: Option<u64>,
    /// What it follows in its session.
    pub after: SmallVec<[Follow; 1]>,
    /// What the server waited for in vain before it went on (E6): a subset of `after` and of what
    /// that follows.
    pub unseen: Vec<Position>,
    /// Its place in the call tree; an internal action has its request's.
    pub call: Option<Call>,
    /// The service that handled it.
    pub service: Text,
    /// That service's version (A5).
    pub version: Text,
    /// The host it ran on.
    pub host: Text,
    /// What was done: `POST /orders`, or the name an internal action was given.
    pub action: Text,
    /// When the request was made ready, for an outbound call that waited before it was sent.
    pub generated: Option<Timestamp>,
    /// When it was received (inbound), sent (outbound) or begun (internal), on this host's clock.
    pub at: Timestamp,
    /// Method, path and what else was kept of the request.
    pub request: Data,
    /// Related contexts.
    pub links: Vec<Link>,
    /// What was odd: counted reasons such as `forged_token`, `damaged_identifier`.
    pub flags: Vec<Text>,
    /// Small attributes.
    pub attributes: Fields,
}

impl Opening {
    /// One of which nothing more is known: of no visit and no call, with nothing kept.
    #[must_use]
    pub fn new(
        direction: Direction,
        service: impl Into<Text>,
        action: impl Into<Text>,
        at: Timestamp,
    ) -> Self {
        Self {
            direction,
            session: None,
            client: None,
            counter: None,
            after: SmallVec::new(),
            unseen: Vec::new(),
            call: None,
            service: service.into(),
            version: Text::default(),
            host: Text::default(),
            action: action.into(),
            generated: None,
            at,
            request: Data::default(),
            links: Vec::new(),
            flags: Vec::new(),
            attributes: Fields::new(),
        }
    }
}

/// Known once the answer's head is: durable before the answer's first byte. By default nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Nanoseconds from [`Opening::at`] to the answer's head.
    pub after_ns: u64,
    /// HTTP status, 0 where there is none.
    pub status: u16,
    /// How it went, as far as the head tells.
    pub outcome: Outcome,
    /// Attributes that were added meanwhile.
    pub attributes: Fields,
    /// What it wrote of its session's state meanwhile.
    pub state: Vec<StateWrite>,
}

/// Known at the end. By default nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closing {
    /// Nanoseconds from [`Opening::at`] to the end.
    pub duration_ns: u64,
    /// HTTP status, 0 where there is none.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed, in a sentence.
    pub error: Option<Text>,
    /// The quantum of work it cost (D6), in units of the service's own (by default microseconds
    /// of its time).
    pub work: u64,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// What was kept of the request's body.
    pub request: Data,
    /// What was kept of the answer.
    pub response: Data,
    /// Attributes that were added meanwhile.
    pub attributes: Fields,
    /// What it wrote of its session's state since the effect.
    pub state: Vec<StateWrite>,
}

/// An entry as its records tell it so far: a fold over them in any order, with repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its opening's position.
    pub position: Position,
    /// What was known at the start.
    pub opening: Opening,
    /// The effect record's sequence, and the effect. A whole record and a closing without an
    /// effect record count as the effect.
    pub effect: Option<(u64, Effect)>,
    /// The end; `None` reads "outcome unknown".
    pub closing: Option<Closing>,
}

impl Entry {
    /// Its ordering id, if it is an action of its session.
    #[must_use]
    pub fn ordering(&self) -> Option<OrderingId> {
        self.opening.counter.map(|counter| OrderingId {
            counter,
            server: self.position.server.clone(),
        })
    }

    /// Its status: the answer's, 0 where there was none (yet).
    #[must_use]
    pub fn status(&self) -> u16 {
        match (&self.closing, &self.effect) {
            (Some(closing), _) => closing.status,
            (None, Some((_, effect))) => effect.status,
            (None, None) => 0,
        }
    }

    /// What it wrote of its session's state, in order.
    pub fn state(&self) -> impl Iterator<Item = &StateWrite> {
        let effect = self.effect.iter().flat_map(|(_, effect)| &effect.state);
        let closing = self.closing.iter().flat_map(|closing| &closing.state);
        effect.chain(closing)
    }

    /// How it ended, as far as is known.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match (&self.closing, &self.effect) {
            (Some(closing), _) => closing.outcome,
            (None, _) => Outcome::Unknown,
        }
    }
}
