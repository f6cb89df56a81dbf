//! What a tree's node shows of a span.

use std::sync::Arc;

use selvedge_calltree::{Details, Handle, Moment, Observation, Place};
use selvedge_entry::{Direction, Link, Outcome, Text};

use crate::{Event, Kind, Span, StatusCode, ValueRef};

const PEERS: [&str; 4] = [
    "peer.service",
    "db.system.name",
    "db.system",
    "messaging.system",
];
const PEER_HOSTS: [&str; 4] = [
    "server.address",
    "net.peer.name",
    "net.peer.ip",
    "peer.address",
];
const STATUSES: [&str; 2] = ["http.response.status_code", "http.status_code"];

/// Whether a span's place in a tree or what is said of its call depends on this attribute.
pub(crate) fn matters(name: &str) -> bool {
    [&PEERS[..], &PEER_HOSTS, &STATUSES]
        .iter()
        .any(|names| names.contains(&name))
}

/// The observation of a span that stands at `place`.
pub(super) fn observation(
    span: &Span,
    handle: Handle,
    place: Place,
    direction: Direction,
    ignored_hop: bool,
    mut flags: Vec<Text>,
) -> Observation {
    let status = http_status(span);
    flags.extend(span.odd.iter().cloned());
    let details = Details {
        // One without a name stands for those that were not read.
        attributes: span
            .attributes
            .iter()
            .filter(|(key, _)| !key.is_empty())
            .map(|(key, value)| (key.into(), value.to_text()))
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
        moments: span.events.iter().map(moment).collect(),
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
        peer: span.attribute(&PEERS),
        peer_host: span.attribute(&PEER_HOSTS),
        generated: None,
        at: span.start.unwrap_or_default(),
        head_ns: None,
        duration_ns: span.duration_ns,
        work: None,
        error: failed.then(|| error(span)).flatten(),
        details: (details != Details::default()).then(|| Arc::new(details)),
    }
}

fn moment(event: &Event) -> Moment {
    let attributes = event.attributes.iter();
    Moment {
        at: event.at,
        name: event.name.clone(),
        attributes: attributes
            .map(|(key, value)| (key.into(), value.to_text()))
            .collect(),
    }
}

pub(crate) fn http_status(span: &Span) -> u16 {
    let status = span.attribute(&STATUSES);
    let status = status.and_then(|text| text.parse().ok());
    status
        .filter(|status| (100..600).contains(status))
        .unwrap_or(0)
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
