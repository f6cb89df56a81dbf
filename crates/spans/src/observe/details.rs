//! What a tree's node shows of a span.

use std::ops::Range;
use std::sync::Arc;

use selvedge_calltree::{Details, Handle, Moment, Observation, Place};
use selvedge_entry::{Direction, Link, Outcome, Text};

use crate::names::Names;
use crate::{Event, Kind, Span, StatusCode, ValueRef};

/// What a tree looks at among the attributes: of each kind the first in this order that is there.
const LOOKED_AT: usize = 10;
const PEERS: Range<usize> = 0..4;
const PEER_HOSTS: Range<usize> = 4..8;
const STATUSES: Range<usize> = 8..LOOKED_AT;

fn looked_at(name: &str) -> Option<usize> {
    Some(match name {
        "peer.service" => 0,
        "db.system.name" => 1,
        "db.system" => 2,
        "messaging.system" => 3,
        "server.address" => 4,
        "net.peer.name" => 5,
        "net.peer.ip" => 6,
        "peer.address" => 7,
        "http.response.status_code" => 8,
        "http.status_code" => 9,
        _ => return None,
    })
}

/// Whether a span's place in a tree or what is said of its call depends on this attribute.
pub(crate) fn matters(name: &str) -> bool {
    looked_at(name).is_some()
}

/// What is there of it, found in one walk.
struct Looked<'a>([Option<ValueRef<'a>>; LOOKED_AT]);

impl<'a> Looked<'a> {
    fn of(span: &'a Span) -> Self {
        let mut looked = [None; LOOKED_AT];
        for (name, value) in &span.attributes {
            if let Some(at) = looked_at(name) {
                looked[at].get_or_insert(value);
            }
        }
        Self(looked)
    }

    fn first(&self, of: Range<usize>) -> Option<ValueRef<'a>> {
        self.0[of].iter().copied().flatten().next()
    }

    fn http_status(&self) -> u16 {
        let status = self
            .first(STATUSES)
            .and_then(|status| match status.as_int() {
                Some(number) => u16::try_from(number).ok(),
                None => status.to_text().parse().ok(),
            });
        status
            .filter(|status| (100..600).contains(status))
            .unwrap_or(0)
    }
}

/// The observation of a span that stands at `place`.
pub(super) fn observation(
    span: &Span,
    handle: Handle,
    place: Place,
    direction: Direction,
    ignored_hop: bool,
    mut flags: Vec<Text>,
    names: &mut Names,
) -> Observation {
    let looked = Looked::of(span);
    let status = looked.http_status();
    let mut named = |of: Range<usize>| {
        let text = looked.first(of).map(|value| names.value(value));
        text.filter(|text| !text.is_empty())
    };
    let (peer, peer_host) = (named(PEERS), named(PEER_HOSTS));
    flags.extend(span.odd.iter().cloned());
    let details = Details {
        // One without a name stands for those that were not read.
        attributes: span
            .attributes
            .iter()
            .filter(|(key, _)| !key.is_empty())
            .map(|(key, value)| (names.text(key), names.value(value)))
            .collect(),
        links: span
            .links
            .iter()
            .map(|link| Link {
                origin: link.origin,
                interaction: link.id,
            })
            .collect(),
        flags,
        moments: span
            .events
            .iter()
            .map(|event| moment(event, names))
            .collect(),
    };
    let failed = span.status.code == StatusCode::Error;
    Observation {
        handle,
        place,
        direction,
        ignored_hop,
        one_way: matches!(span.kind, Kind::Producer | Kind::Consumer),
        outcome: outcome(span, status),
        status,
        service: span.service.clone(),
        host: span.host.clone(),
        action: span.name.clone(),
        peer,
        peer_host,
        generated: None,
        at: span.start.unwrap_or_default(),
        head_ns: None,
        duration_ns: span.duration_ns,
        work: None,
        error: failed.then(|| error(span)).flatten(),
        details: (details != Details::default()).then(|| Arc::new(details)),
    }
}

fn moment(event: &Event, names: &mut Names) -> Moment {
    let attributes = event.attributes.iter();
    Moment {
        at: event.at,
        name: event.name.clone(),
        attributes: attributes
            .map(|(key, value)| (names.text(key), names.value(value)))
            .collect(),
    }
}

pub(crate) fn http_status(span: &Span) -> u16 {
    Looked::of(span).http_status()
}

/// A status of HTTP tells who is at fault; else what the span says counts.
pub(crate) fn outcome(span: &Span, status: u16) -> Outcome {
    match (span.status.code, status) {
        (StatusCode::Error, 400..500) => Outcome::Refused,
        (StatusCode::Error, _) => Outcome::Error,
        _ if span.duration_ns.is_none() => Outcome::Unknown,
        (StatusCode::Ok, _) | (_, 0) => Outcome::Ok,
        (StatusCode::Unset, status) => Outcome::of_status(status),
    }
}

/// The status's message, or the last exception's.
fn error(span: &Span) -> Option<Text> {
    let exception = || {
        let mut exceptions = span.events.iter().rev();
        let exception = exceptions.find(|event| &*event.name == "exception")?;
        let named = |name: &str| exception.attributes.get(name);
        let message = named("exception.message").or_else(|| named("exception.type"));
        message
            .map(ValueRef::to_text)
            .filter(|text| !text.is_empty())
    };
    span.status.message.clone().or_else(exception)
}
