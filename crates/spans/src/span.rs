//! The span: one operation, as tracing systems record it.
//!
//! Everything that a span of OTLP says has a place of its own. What only Zipkin or Jaeger say is
//! kept as attributes, by the names that OpenTelemetry's own translators use.

use std::sync::Arc;

use selvedge_entry::{Outcome, Text, Timestamp};
use selvedge_identity::{Interaction, Origin};

use crate::observe::details;
use crate::{Attributes, Refusal};

/// What part a span plays in a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Not said.
    #[default]
    Unspecified,
    /// Work inside a service.
    Internal,
    /// Answering a call.
    Server,
    /// Making a call.
    Client,
    /// Sending a message.
    Producer,
    /// Handling a message.
    Consumer,
}

impl Kind {
    /// By OTLP's number; unknown numbers are unspecified.
    pub(crate) fn of_number(number: u64) -> Self {
        match number {
            1 => Self::Internal,
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            _ => Self::Unspecified,
        }
    }

    /// By name, in any case, with or without OTLP's prefix.
    pub(crate) fn of_name(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        match name.strip_prefix("span_kind_").unwrap_or(&name) {
            "internal" => Self::Internal,
            "server" => Self::Server,
            "client" => Self::Client,
            "producer" => Self::Producer,
            "consumer" => Self::Consumer,
            _ => Self::Unspecified,
        }
    }

    /// It receives a call or a message.
    #[must_use]
    pub fn receives(self) -> bool {
        matches!(self, Self::Server | Self::Consumer)
    }

    /// It makes a call or sends a message.
    #[must_use]
    pub fn sends(self) -> bool {
        matches!(self, Self::Client | Self::Producer)
    }
}

/// Whether it went well, as its service says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusCode {
    /// Not said.
    #[default]
    Unset,
    /// Well.
    Ok,
    /// It failed.
    Error,
}

/// A span's status.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status {
    /// How it went.
    pub code: StatusCode,
    /// Why it failed; may be empty.
    pub message: Option<Text>,
}

/// Something that happened at one moment of a span.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    pub name: Text,
    /// Details.
    pub attributes: Attributes,
    /// How many attributes its SDK dropped.
    pub dropped_attributes: u32,
}

/// A related span, of this or another trace; never a second parent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanLink {
    /// The other trace.
    pub origin: Origin,
    /// The other span.
    pub id: Interaction,
    /// Its trace state.
    pub trace_state: Option<Text>,
    /// Details.
    pub attributes: Attributes,
    /// How many attributes its SDK dropped.
    pub dropped_attributes: u32,
    /// W3C trace flags and more.
    pub flags: u32,
}

/// What produced spans: a process, a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// Its attributes, `service.name` among them.
    pub attributes: Attributes,
    /// How many attributes its SDK dropped.
    pub dropped_attributes: u32,
    /// The schema of the attributes.
    pub schema_url: Option<Text>,
}

impl Resource {
    /// The version of its service, if it says one.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.attributes.get("service.version")?.as_str()
    }

    /// Its service and its host.
    pub(crate) fn names(&self) -> (Text, Text) {
        const HOSTS: [&str; 7] = [
            "host.name",
            "hostname",
            "k8s.pod.name",
            "container.id",
            "service.instance.id",
            "net.host.ip",
            "ip",
        ];
        let text = |name: &str| self.attributes.get(name)?.as_str();
        let service: Text = text("service.name").unwrap_or_default().into();
        let host = HOSTS
            .iter()
            .filter_map(|name| text(name))
            .find(|host| !["", "localhost", "127.0.0.1", "::1"].contains(host));
        let host = host.map_or_else(|| service.clone(), Text::from);
        (service, host)
    }
}

/// The library that recorded spans.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// Its name; may be empty.
    pub name: Text,
    /// Its version; may be empty.
    pub version: Text,
    /// Its attributes.
    pub attributes: Attributes,
    /// How many attributes its SDK dropped.
    pub dropped_attributes: u32,
    /// The schema of its spans' attributes.
    pub schema_url: Option<Text>,
}

/// A span. Ordered by trace, then by span id: a trace's spans sort into one block.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The trace. One of 64 bits is extended by zeros in front, and `odd` says so.
    pub origin: Origin,
    /// Its own id. Not unique in a Zipkin trace: see `shared`.
    pub id: Interaction,
    /// What part it plays.
    pub kind: Kind,
    /// The service that recorded it; empty where none is named.
    pub service: Text,
    /// The host it ran on, as its resource names it; else its service, whose spans are then taken
    /// to share one clock.
    pub host: Text,
    /// The span it was made in.
    pub parent: Option<Interaction>,
    /// Zipkin: its id is the caller's span's too.
    pub shared: bool,
    /// When it began, on its host's clock.
    pub start: Option<Timestamp>,
    /// Nanoseconds from its start to its end; `None`: it is not known to have ended.
    pub duration_ns: Option<u64>,
    /// What was done.
    pub name: Text,
    /// W3C `tracestate`, as it came to the span's process.
    pub trace_state: Option<Text>,
    /// W3C trace flags and more.
    pub flags: u32,
    /// How it went.
    pub status: Status,
    /// Details.
    pub attributes: Attributes,
    /// How many attributes its SDK dropped.
    pub dropped_attributes: u32,
    /// What happened meanwhile.
    pub events: Vec<Event>,
    /// How many events its SDK dropped.
    pub dropped_events: u32,
    /// Related spans.
    pub links: Vec<SpanLink>,
    /// How many links its SDK dropped.
    pub dropped_links: u32,
    /// What produced it.
    pub resource: Arc<Resource>,
    /// What recorded it.
    pub scope: Arc<Scope>,
    /// What was odd about it when it was read, such as `short_trace_id`.
    pub odd: Vec<Text>,
}

impl Span {
    /// A span that says nothing but who it is.
    #[must_use]
    pub fn new(
        origin: Origin,
        id: Interaction,
        resource: Arc<Resource>,
        scope: Arc<Scope>,
    ) -> Self {
        let names = resource.names();
        Self::named(origin, id, names, resource, scope)
    }

    /// The same, of a resource whose service and host are known.
    pub(crate) fn named(
        origin: Origin,
        id: Interaction,
        (service, host): (Text, Text),
        resource: Arc<Resource>,
        scope: Arc<Scope>,
    ) -> Self {
        Self {
            origin,
            id,
            kind: Kind::default(),
            service,
            host,
            parent: None,
            shared: false,
            start: None,
            duration_ns: None,
            name: Text::default(),
            trace_state: None,
            flags: 0,
            status: Status::default(),
            attributes: Attributes::new(),
            dropped_attributes: 0,
            events: Vec::new(),
            dropped_events: 0,
            links: Vec::new(),
            dropped_links: 0,
            resource,
            scope,
            odd: Vec::new(),
        }
    }

    /// How its call ended, as a call tree counts it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        details::outcome(self, details::http_status(self))
    }

    /// Adds a link. One whose ids are wrong costs only itself, and `odd` says so.
    pub(crate) fn add_link(&mut self, link: Result<SpanLink, Refusal>) -> Result<(), Refusal> {
        match link {
            Ok(link) => self.links.push(link),
            Err(Refusal::ZeroId | Refusal::BadId) => {
                self.dropped_links = self.dropped_links.saturating_add(1);
                self.note("bad_link");
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// Notes what is odd about it, once.
    pub(crate) fn note(&mut self, what: &str) {
        if !self.odd.iter().any(|known| &**known == what) {
            self.odd.push(what.into());
        }
    }
}
