//! Zipkin v2: spans as JSON (a list, or a list of such lists) or as protobuf (a `ListOfSpans`).
//!
//! Three habits of Zipkin's are taken care of here. A 64-bit trace id is extended by zeros and
//! marked. A span may come in parts (its start now, its tags later): parts of one span are merged
//! where they do not contradict each other. And the two sides of a call may share one id: the
//! receiving side is marked `shared`, also where its sender forgot to say so.
//!
//! What has no place in OTLP's model becomes attributes by the names of OpenTelemetry's
//! translator: `peer.service`, `net.peer.ip`, `net.host.ip`, `zipkin.debug`.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use selvedge_entry::Text;
use selvedge_identity::{Interaction, Origin};

use crate::intake::{self, Maker, PARTS_MAX, Refusal};
use crate::span::{Event, Kind, Resource, Span, Status, StatusCode};
use crate::value::Value;
use crate::{Attributes, ValueRef};

mod json;
mod protobuf;

pub use json::from_json;
pub use protobuf::from_protobuf;

pub(crate) use json::batch;

/// A span as Zipkin has it, in whichever form it came.
struct Given {
    origin: Origin,
    /// Whether its trace id has 64 bits or fewer.
    short: bool,
    id: Interaction,
    parent: Option<Interaction>,
    kind: Kind,
    name: Text,
    /// When it began, in nanoseconds since 1970.
    start: Option<i128>,
    /// How long it took, in nanoseconds.
    duration: Option<i128>,
    local: Endpoint,
    remote: Endpoint,
    /// When, in nanoseconds since 1970, and what.
    annotations: Vec<(i128, Text)>,
    tags: Attributes,
    debug: bool,
    shared: bool,
}

/// Who one side of a call is; what is not known is empty.
#[derive(Default)]
struct Endpoint {
    service: Text,
    ipv4: Text,
    ipv6: Text,
    port: i64,
}

impl Given {
    fn into_span(self) -> Result<Span, Refusal> {
        let mut resource = Resource::default();
        let attributes = &mut resource.attributes;
        self.local.add_to(attributes, "service.name", "net.host");
        let mut span = Maker::new(resource).span(self.origin, self.id)?;
        span.parent = self.parent;
        span.name = self.name;
        span.kind = self.kind;
        span.shared = self.shared;
        if self.short {
            span.note("short_trace_id");
        }
        span.start = self.start.map(intake::time).transpose()?;
        if let Some(duration) = self.duration {
            let ns = u64::try_from(duration).map_err(|_| Refusal::NegativeDuration)?;
            span.duration_ns = Some(ns);
            let start = span.start.map_or(0, |start| start.0);
            intake::time(duration.saturating_add(start.into()))?;
        }
        span.attributes = self.tags;
        let attributes = &mut span.attributes;
        self.remote.add_to(attributes, "peer.service", "net.peer");
        if self.debug {
            attributes.push(("zipkin.debug".into(), Value::Bool(true)));
        }
        for (at, name) in self.annotations {
            span.events.push(Event {
                at: intake::time(at)?,
                name,
                attributes: Attributes::new(),
                dropped_attributes: 0,
            });
        }
        // In Zipkin a tag `error` of any value means that it failed; "false" is what people write.
        if let Some(error) = span.attributes.get("error").map(ValueRef::to_text)
            && &*error != "false"
        {
            span.status = Status {
                code: StatusCode::Error,
                message: (!matches!(&*error, "" | "true")).then_some(error),
            };
        }
        Ok(span)
    }
}

impl Endpoint {
    fn add_to(self, to: &mut Attributes, service: &str, prefix: &str) {
        let mut put = |name: String, value: &Text| {
            let known = to.get(&name).is_some();
            if !value.is_empty() && !known {
                to.push((name.into(), Value::Text(value.clone())));
            }
        };
        put(service.to_owned(), &self.service);
        put(format!("{prefix}.ip"), &self.ipv4);
        // Both may be there; the second name is ours.
        put(format!("{prefix}.ip"), &self.ipv6);
        if !self.ipv4.is_empty() {
            put(format!("{prefix}.ipv6"), &self.ipv6);
        }
        if self.port != 0 {
            to.push((format!("{prefix}.port").into(), Value::Int(self.port)));
        }
    }
}

/// Spans of one id that are looked at for parts of each other, and parts that one span may come in:
/// more is somebody's malice, and stays as it came.
const SIDES_MAX: usize = 64;
const PARTS_OF_ONE: u32 = 64;

/// Merges parts of one span, and marks receiving sides that share their caller's id.
fn merged(spans: Vec<Span>) -> Vec<Span> {
    let mut groups: HashMap<_, Vec<usize>> = HashMap::with_capacity(spans.len());
    let mut kept: Vec<Span> = Vec::with_capacity(spans.len());
    let mut parts: Vec<u32> = Vec::with_capacity(spans.len());
    for span in spans {
        let group = groups.entry((span.origin, span.id)).or_default();
        let mut near = group.iter().copied().take(SIDES_MAX);
        match near.find(|&at| parts[at] < PARTS_OF_ONE && are_parts(&kept[at], &span)) {
            Some(at) => {
                merge(&mut kept[at], span);
                parts[at] += 1;
            }
            None => {
                group.push(kept.len());
                kept.push(span);
                parts.push(1);
            }
        }
    }
    for group in groups.values().filter(|group| group.len() > 1) {
        if group.iter().any(|&at| kept[at].kind.sends()) {
            for &at in group {
                kept[at].shared |= kept[at].kind.receives();
            }
        }
    }
    kept
}

/// One id, one service, one side, and nothing that they say differently.
fn are_parts(a: &Span, b: &Span) -> bool {
    fn agree<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
        a.is_none() || b.is_none() || a == b
    }
    let kind = |span: &Span| (span.kind != Kind::Unspecified).then_some(span.kind);
    let service = |span: &Span| (!span.service.is_empty()).then(|| span.service.clone());
    let later = a.start.is_none() || b.start.is_none();
    let small = a.attributes.len() + b.attributes.len() <= PARTS_MAX
        && a.events.len() + b.events.len() <= PARTS_MAX;
    later
        && small
        && agree(kind(a), kind(b))
        && agree(service(a), service(b))
        && agree(a.duration_ns, b.duration_ns)
        && agree(a.parent, b.parent)
}

/// Adds what is not there yet.
fn add_new<T: Eq + Hash>(to: &mut Vec<T>, from: Vec<T>) {
    let known: HashSet<&T> = to.iter().collect();
    let new = from.into_iter().filter(|one| !known.contains(one));
    let new: Vec<T> = new.collect();
    to.extend(new);
}

fn merge(into: &mut Span, part: Span) {
    if into.kind == Kind::Unspecified {
        into.kind = part.kind;
    }
    let unnamed = |name: &Text| name.is_empty() || &**name == "unknown";
    if unnamed(&into.name) || into.start.is_none() && !unnamed(&part.name) {
        into.name = part.name;
    }
    if into.service.is_empty() || into.resource.attributes.len() < part.resource.attributes.len() {
        into.service = part.service;
        into.host = part.host;
        into.resource = part.resource;
    }
    into.shared |= part.shared;
    into.parent = into.parent.or(part.parent);
    into.start = into.start.or(part.start);
    into.duration_ns = into.duration_ns.or(part.duration_ns);
    let known: HashSet<_> = into.attributes.iter().collect();
    let part_attributes = part.attributes.iter();
    let new = part_attributes.filter(|one| !known.contains(one));
    let new: Vec<_> = new
        .map(|(name, value)| (name.into(), value.to_value()))
        .collect();
    into.attributes.extend(new);
    add_new(&mut into.events, part.events);
    if into.status.code == StatusCode::Unset {
        into.status = part.status;
    }
    for what in part.odd {
        into.note(&what);
    }
}
