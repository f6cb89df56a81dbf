//! Zipkin v2 JSON: a list of spans, or a list of such lists.
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
use serde_json::Value as Json;

use crate::intake::{self, Intake, Maker, PARTS_MAX, Refusal, SpanError};
use crate::json::{self, Object, flag, list, microseconds, number, object, text};
use crate::span::{Attributes, Event, Kind, Resource, Span, Status, StatusCode, find};
use crate::value::Value;

/// Reads a list of spans, or of lists of spans.
///
/// # Errors
/// When it is too long, or is no JSON list. A single span that is not Zipkin's is refused and
/// counted.
pub fn from_json(input: &[u8]) -> Result<Intake, SpanError> {
    let mut intake = Intake::default();
    for value in json::values(input)? {
        batch(&mut intake, &value)?;
    }
    Ok(intake)
}

/// Reads one list.
pub(crate) fn batch(intake: &mut Intake, value: &Json) -> Result<(), SpanError> {
    let all = value.as_array().ok_or(SpanError::Format {
        format: "Zipkin v2 JSON",
        fault: "not a list",
    })?;
    let mut batch = Intake::default();
    for value in all {
        match value {
            Json::Array(trace) => trace.iter().for_each(|span| batch.take(read_span(span))),
            span => batch.take(read_span(span)),
        }
    }
    batch.spans = merged(batch.spans);
    intake.append(batch);
    Ok(())
}

fn read_span(span: &Json) -> Result<Span, Refusal> {
    let given = span.as_object().ok_or(Refusal::Malformed)?;
    let (origin, short) = json::origin(text(given, "traceId")?)?;
    let id = json::interaction(text(given, "id")?)?;
    let mut resource = Resource::default();
    if let Some(local) = object(given, "localEndpoint")? {
        endpoint(&mut resource.attributes, local, "service.name", "net.host")?;
    }
    let mut span = Maker::new(resource).span(origin, id)?;
    span.parent = json::parent(text(given, "parentId")?)?;
    span.name = text(given, "name")?.into();
    span.kind = Kind::of_name(text(given, "kind")?);
    span.shared = flag(given, "shared");
    if short {
        span.note("short_trace_id");
    }
    if given.get("timestamp").is_some_and(|time| !time.is_null()) {
        let start = microseconds(number(given, "timestamp")?);
        span.start = Some(intake::time(start)?);
    }
    if given.get("duration").is_some_and(|time| !time.is_null()) {
        let duration = microseconds(number(given, "duration")?);
        span.duration_ns = Some(u64::try_from(duration).map_err(|_| Refusal::NegativeDuration)?);
        let end = span.start.map_or(0, |start| start.0).into();
        intake::time(duration.saturating_add(end))?;
    }
    if let Some(tags) = object(given, "tags")? {
        for (key, value) in tags {
            span.attributes.push((key.as_str().into(), tag(value)));
        }
    }
    if let Some(remote) = object(given, "remoteEndpoint")? {
        endpoint(&mut span.attributes, remote, "peer.service", "net.peer")?;
    }
    if flag(given, "debug") {
        span.attributes
            .push(("zipkin.debug".into(), Value::Bool(true)));
    }
    for annotation in list(given, "annotations")? {
        let annotation = annotation.as_object().ok_or(Refusal::Malformed)?;
        span.events.push(Event {
            at: intake::time(microseconds(number(annotation, "timestamp")?))?,
            name: text(annotation, "value")?.into(),
            attributes: Attributes::new(),
            dropped_attributes: 0,
        });
    }
    // In Zipkin a tag `error` of any value means that it failed; "false" is what people write.
    if let Some(error) = find(&span.attributes, "error").map(Value::to_text)
        && &*error != "false"
    {
        span.status = Status {
            code: StatusCode::Error,
            message: (!matches!(&*error, "" | "true")).then_some(error),
        };
    }
    Ok(span)
}

/// Values of tags are text; others are kept as their JSON.
fn tag(value: &Json) -> Value {
    match value {
        Json::String(text) => Value::from(text.as_str()),
        Json::Null => Value::Empty,
        other => Value::Text(other.to_string().into()),
    }
}

fn endpoint(
    to: &mut Attributes,
    from: &Object,
    service: &str,
    prefix: &str,
) -> Result<(), Refusal> {
    let mut put = |name: String, value: &str| {
        let known = to.iter().any(|(key, _)| **key == *name);
        if !value.is_empty() && !known {
            to.push((name.into(), value.into()));
        }
    };
    put(service.to_owned(), text(from, "serviceName")?);
    let (v4, v6) = (text(from, "ipv4")?, text(from, "ipv6")?);
    put(format!("{prefix}.ip"), v4);
    // Both may be there; the second name is ours.
    put(format!("{prefix}.ip"), v6);
    put(
        format!("{prefix}.ipv6"),
        if v4.is_empty() { "" } else { v6 },
    );
    let port = number(from, "port")?;
    if port != 0 {
        let port = i64::try_from(port).map_err(|_| Refusal::Malformed)?;
        to.push((format!("{prefix}.port").into(), Value::Int(port)));
    }
    Ok(())
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
    add_new(&mut into.attributes, part.attributes);
    add_new(&mut into.events, part.events);
    if into.status.code == StatusCode::Unset {
        into.status = part.status;
    }
    for what in part.odd {
        into.note(&what);
    }
}
