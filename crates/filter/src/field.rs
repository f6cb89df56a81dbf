//! The fields of an entry, by name.

use std::borrow::Cow;
use std::fmt;

use selvedge_entry::{Data, Entry, Fields, Outcome};
use serde_json::Value;

/// How much of an entry must be there before a question can be decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// What is known at its start.
    #[default]
    Opening,
    /// Its status, and what its code had added by then: known before the answer's first byte.
    Effect,
    /// Its end: duration, work, error, bytes, the answer's data.
    Closing,
}

impl Needs {
    /// Whether this entry has come so far.
    #[must_use]
    pub fn met_by(self, entry: &Entry) -> bool {
        match self {
            Self::Opening => true,
            Self::Effect => entry.effect.is_some() || entry.closing.is_some(),
            Self::Closing => entry.closing.is_some(),
        }
    }
}

/// A field of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// `service`: the service that handled it.
    Service,
    /// `version`: that service's version.
    Version,
    /// `host`: the host it ran on.
    Host,
    /// `server`: whose journal it stands in.
    Server,
    /// `direction`: `inbound`, `outbound` or `internal`.
    Direction,
    /// `action`: what was done, for one `POST /orders`.
    Action,
    /// `method`: the request's method.
    Method,
    /// `path`: the request's path, without its query.
    Path,
    /// `caller`: the service on the other side of an inbound entry.
    Caller,
    /// `callee`: the service on the other side of an outbound entry.
    Callee,
    /// `session`: the visit.
    Session,
    /// `client`: who visits.
    Client,
    /// `origin`: the root request.
    Origin,
    /// `depth`: calls between it and the root.
    Depth,
    /// `status`: the answer's HTTP status; 0 where none came.
    Status,
    /// `outcome`: `ok`, `refused` or `error`.
    Outcome,
    /// `duration`: nanoseconds; literals may have a unit (`250ms`).
    Duration,
    /// `work`: the quantum of work, in the service's own units.
    Work,
    /// `error`: why it failed.
    Error,
    /// `flag`: any of its flags.
    Flag,
    /// `attribute.NAME`.
    Attribute(Box<str>),
    /// `request.NAME`: a kept field of the request, else a member of its kept JSON body (of a body
    /// in a body: `request.a.b`).
    Request(Box<str>),
    /// `response.NAME`, likewise.
    Response(Box<str>),
}

/// The names of all fields that have no name of their own within.
const PLAIN: [(&str, Field); 20] = [
    ("service", Field::Service),
    ("version", Field::Version),
    ("host", Field::Host),
    ("server", Field::Server),
    ("direction", Field::Direction),
    ("action", Field::Action),
    ("method", Field::Method),
    ("path", Field::Path),
    ("caller", Field::Caller),
    ("callee", Field::Callee),
    ("session", Field::Session),
    ("client", Field::Client),
    ("origin", Field::Origin),
    ("depth", Field::Depth),
    ("status", Field::Status),
    ("outcome", Field::Outcome),
    ("duration", Field::Duration),
    ("work", Field::Work),
    ("error", Field::Error),
    ("flag", Field::Flag),
];

impl Field {
    /// The field of this name; `None` if there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if let Some((_, field)) = PLAIN.iter().find(|(plain, _)| *plain == name) {
            return Some(field.clone());
        }
        let (kind, rest) = name.split_once('.')?;
        let rest = Some(rest).filter(|rest| !rest.is_empty())?;
        match kind {
            "attribute" => Some(Self::Attribute(rest.into())),
            "request" => Some(Self::Request(rest.into())),
            "response" => Some(Self::Response(rest.into())),
            _ => None,
        }
    }

    /// The names that [`Self::named`] knows, for messages.
    #[must_use]
    pub fn names() -> String {
        let mut names: Vec<&str> = PLAIN.iter().map(|(name, _)| *name).collect();
        names.extend(["attribute.NAME", "request.NAME", "response.NAME"]);
        names.join(", ")
    }

    /// How much of an entry must be there.
    #[must_use]
    pub fn needs(&self) -> Needs {
        match self {
            Self::Status | Self::Outcome | Self::Attribute(_) => Needs::Effect,
            // The body may come after the opening, but stands in no record before the closing.
            Self::Request(name) if [Data::METHOD, Data::PATH].contains(&&**name) => Needs::Opening,
            Self::Duration | Self::Work | Self::Error | Self::Request(_) | Self::Response(_) => {
                Needs::Closing
            }
            _ => Needs::Opening,
        }
    }

    /// Whether its values are numbers of our own making.
    #[must_use]
    pub fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Depth | Self::Status | Self::Duration | Self::Work
        )
    }

    /// Whether its values may be numbers: those of our own making, and what users keep.
    #[must_use]
    pub fn may_be_number(&self) -> bool {
        let kept = matches!(
            self,
            Self::Version | Self::Attribute(_) | Self::Request(_) | Self::Response(_)
        );
        kept || self.is_number()
    }

    /// All values that it can have, where they are few.
    #[must_use]
    pub fn values(&self) -> Option<[&'static str; 3]> {
        match self {
            Self::Direction => Some(["inbound", "outbound", "internal"]),
            Self::Outcome => Some(["ok", "refused", "error"]),
            _ => None,
        }
    }

    /// Its value as text; `None` where the entry has none. Of several flags the first.
    #[must_use]
    pub fn of<'a>(&self, entry: &'a Entry) -> Option<Cow<'a, str>> {
        let opening = &entry.opening;
        let peer = |direction| {
            (opening.direction == direction)
                .then(|| opening.call.as_ref()?.peer.as_deref())
                .flatten()
        };
        Some(Cow::Borrowed(match self {
            Self::Service => &opening.service,
            Self::Version => &opening.version,
            Self::Host => &opening.host,
            Self::Server => entry.position.server.as_str(),
            Self::Direction => opening.direction.as_str(),
            Self::Action => &opening.action,
            Self::Method => opening.request.field(Data::METHOD)?,
            Self::Path => {
                let path = opening.request.field(Data::PATH)?;
                path.split_once('?').map_or(path, |(path, _)| path)
            }
            Self::Caller => peer(selvedge_entry::Direction::Inbound)?,
            Self::Callee => peer(selvedge_entry::Direction::Outbound)?,
            Self::Session => return Some(Cow::Owned(opening.session?.to_string())),
            Self::Client => return Some(Cow::Owned(opening.client.as_ref()?.to_string())),
            Self::Origin => {
                let origin = opening.call.as_ref()?.identifier.origin();
                return Some(Cow::Owned(origin.to_string()));
            }
            Self::Depth | Self::Status | Self::Duration | Self::Work => {
                return Some(Cow::Owned(self.integer(entry)?.to_string()));
            }
            Self::Outcome => outcome(entry)?.as_str(),
            Self::Error => entry.closing.as_ref()?.error.as_deref()?,
            Self::Flag => opening.flags.first()?,
            Self::Attribute(name) => attribute(entry, name)?,
            Self::Request(name) => {
                let late = entry.closing.as_ref().map(|closing| &closing.request);
                return kept(&opening.request, name)
                    .or_else(|| late.and_then(|data| kept(data, name)));
            }
            Self::Response(name) => {
                return kept(&entry.closing.as_ref()?.response, name);
            }
        }))
    }

    /// Its value as a number; `None` where it has none, or one that is no number.
    #[must_use]
    pub fn number(&self, entry: &Entry) -> Option<f64> {
        match self {
            Self::Depth | Self::Status | Self::Duration | Self::Work => {
                self.integer(entry).map(|number| number as f64)
            }
            _ => {
                let number = self.of(entry)?.trim().parse::<f64>().ok()?;
                number.is_finite().then_some(number)
            }
        }
    }

    /// Whether any of its values (only flags can be several) meets a condition.
    pub(crate) fn any(&self, entry: &Entry, meets: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Flag => entry.opening.flags.iter().any(|flag| meets(flag)),
            _ => self.of(entry).is_some_and(|value| meets(&value)),
        }
    }

    fn integer(&self, entry: &Entry) -> Option<u64> {
        match self {
            Self::Depth => Some(entry.opening.call.as_ref()?.identifier.depth().into()),
            Self::Status => outcome(entry).map(|_| entry.status().into()),
            Self::Duration => Some(entry.closing.as_ref()?.duration_ns),
            Self::Work => Some(entry.closing.as_ref()?.work),
            _ => None,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(name) => write!(f, "attribute.{name}"),
            Self::Request(name) => write!(f, "request.{name}"),
            Self::Response(name) => write!(f, "response.{name}"),
            plain => {
                let name = PLAIN.iter().find(|(_, field)| field == plain);
                f.write_str(name.map_or("", |(name, _)| name))
            }
        }
    }
}

/// How it went, as soon as its head is known.
fn outcome(entry: &Entry) -> Option<Outcome> {
    match (&entry.closing, &entry.effect) {
        (Some(closing), _) => Some(closing.outcome),
        (None, Some((_, effect))) => Some(effect.outcome),
        (None, None) => None,
    }
}

fn attribute<'a>(entry: &'a Entry, name: &str) -> Option<&'a str> {
    let find = |fields: &'a Fields| {
        let field = fields.iter().find(|(key, _)| &**key == name);
        field.map(|(_, value)| &**value)
    };
    let effect = entry.effect.as_ref().map(|(_, effect)| &effect.attributes);
    let closing = entry.closing.as_ref().map(|closing| &closing.attributes);
    find(&entry.opening.attributes)
        .or_else(|| effect.and_then(find))
        .or_else(|| closing.and_then(find))
}

fn kept<'a>(data: &'a Data, name: &str) -> Option<Cow<'a, str>> {
    if let Some(field) = data.field(name) {
        return Some(Cow::Borrowed(field));
    }
    // A body that was cut is no JSON.
    let body = data.body.as_ref().filter(|_| !data.truncated)?;
    if body
        .first()
        .is_none_or(|first| !b"{ \t\r\n".contains(first))
    {
        return None;
    }
    let body: Value = serde_json::from_slice(body).ok()?;
    let mut value = &body;
    for part in name.split('.') {
        value = value.get(part)?;
    }
    match value {
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        Value::String(text) => Some(Cow::Owned(text.clone())),
        plain => Some(Cow::Owned(plain.to_string())),
    }
}
