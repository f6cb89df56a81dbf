//! Jaeger's JSON: what its query API answers and its page exports.
//!
//! `{"data":[{"traceID","spans":[…],"processes":{…}}]}`. Tags keep their types; some are also what
//! OTLP has a place for, as OpenTelemetry's translator has it: `span.kind`, `error`,
//! `otel.status_code`, `otel.status_description`, `w3c.tracestate`, `otel.scope.name`. What the
//! page adds for itself (depth, children, the parent's whole span) is derived and not read.
//!
//! Exports that people have edited hold ids that are no hex ("G"). They are taken by their bytes
//! and marked `text_id`, because a trace that is shown is of more use than a refusal.

use std::collections::HashMap;

use selvedge_identity::{Interaction, Origin};
use serde_json::Value as Json;

use crate::intake::{self, Intake, Maker, Refusal, SpanError};
use crate::json::{self, Object, count, list, microseconds, number, object, text, whole};
use crate::span::{Event, Kind, Resource, Scope, Span, SpanLink, Status, StatusCode};
use crate::value::Value;
use crate::{Attributes, ValueRef};

/// Reads an export.
///
/// # Errors
/// When it is too long, is no JSON, or has no list of traces. A single span that is not Jaeger's
/// is refused and counted.
pub fn from_json(input: &[u8]) -> Result<Intake, SpanError> {
    let mut intake = Intake::default();
    for value in json::values(input)? {
        batch(&mut intake, &value)?;
    }
    Ok(intake)
}

/// Reads one export.
pub(crate) fn batch(intake: &mut Intake, value: &Json) -> Result<(), SpanError> {
    let format = |fault| SpanError::Format {
        format: "Jaeger JSON",
        fault,
    };
    let traces = value.get("data").and_then(Json::as_array);
    for trace in traces.ok_or(format("data is no list"))? {
        let trace = trace.as_object().ok_or(format("data holds no objects"))?;
        let spans = list(trace, "spans").map_err(|_| format("spans is no list"))?;
        let mut processes = HashMap::new();
        let given = object(trace, "processes").map_err(|_| format("processes is no object"))?;
        for (id, process) in given.into_iter().flatten() {
            let resource = process
                .as_object()
                .ok_or(Refusal::Malformed)
                .and_then(resource);
            let resource = resource.map_err(|_| format("a process is none"))?;
            processes.insert(id.as_str(), Maker::new(resource));
        }
        for span in spans {
            intake.take(read_span(span, &processes));
        }
    }
    Ok(())
}

fn resource(process: &Object) -> Result<Resource, Refusal> {
    let service = text(process, "serviceName")?;
    let mut attributes = Attributes::from([("service.name".into(), service.into())]);
    attributes.append(&tags(process, "tags")?);
    Ok(Resource {
        attributes,
        ..Resource::default()
    })
}

fn read_span(span: &Json, processes: &HashMap<&str, Maker>) -> Result<Span, Refusal> {
    let given = span.as_object().ok_or(Refusal::Malformed)?;
    let trace = text(given, "traceID")?;
    let (origin, short, text_origin) = origin(trace)?;
    let (id, text_id) = interaction(text(given, "spanID")?)?;
    let maker = match object(given, "process")? {
        Some(process) => Maker::new(resource(process)?),
        None => {
            let process = processes.get(text(given, "processID")?);
            process
                .cloned()
                .unwrap_or_else(|| Maker::new(Resource::default()))
        }
    };
    let attributes = tags(given, "tags")?;
    let of = |name: &str| {
        attributes
            .get(name)
            .map(ValueRef::to_text)
            .unwrap_or_default()
    };
    let maker = maker.of_scope(Scope {
        name: of("otel.scope.name"),
        version: of("otel.scope.version"),
        ..Scope::default()
    });
    let mut span = maker.span(origin, id)?;
    span.name = text(given, "operationName")?.into();
    span.kind = Kind::of_name(&of("span.kind"));
    span.flags = count(given, "flags")?;
    let state = of("w3c.tracestate");
    span.trace_state = (!state.is_empty()).then_some(state);
    span.status = status(&attributes);
    span.attributes = attributes;
    if short {
        span.note("short_trace_id");
    }
    if text_id || text_origin {
        span.note("text_id");
    }
    for warning in list(given, "warnings")? {
        let warning = warning.as_str().ok_or(Refusal::Malformed)?;
        span.attributes
            .push(("jaeger.warning".into(), warning.into()));
    }
    span.start = Some(intake::time(microseconds(number(given, "startTime")?))?);
    let duration = microseconds(number(given, "duration")?);
    span.duration_ns = Some(u64::try_from(duration).map_err(|_| Refusal::NegativeDuration)?);
    let start = span.start.map_or(0, |start| i128::from(start.0));
    intake::time(duration.saturating_add(start))?;
    for log in list(given, "logs")? {
        span.events.push(event(log)?);
    }
    references(&mut span, given)?;
    Ok(span)
}

/// The parent is the first `CHILD_OF` within the trace, or else the first `FOLLOWS_FROM`; all
/// other references are links.
fn references(span: &mut Span, given: &Object) -> Result<(), Refusal> {
    if let Some(id) = given.get("parentSpanID").and_then(Json::as_str) {
        span.parent = json::parent(id)?;
    }
    let references = list(given, "references")?;
    let mut parsed = Vec::with_capacity(references.len());
    for reference in references {
        let reference = reference.as_object().ok_or(Refusal::Malformed)?;
        let kind = text(reference, "refType")?;
        match (
            origin(text(reference, "traceID")?),
            interaction(text(reference, "spanID")?),
        ) {
            (Ok((origin, ..)), Ok((id, _))) => parsed.push((kind, origin, id)),
            // A reference to nothing is how some exports write "no parent".
            _ => span.note("bad_link"),
        }
    }
    if span.parent.is_none() {
        let within = |wanted: &'static str| {
            let mut all = parsed.iter();
            let origin = span.origin;
            all.position(move |(kind, other, _)| *kind == wanted && *other == origin)
        };
        if let Some(at) = within("CHILD_OF").or(within("FOLLOWS_FROM")) {
            span.parent = Some(parsed.remove(at).2);
        }
    }
    for (kind, origin, id) in parsed {
        if origin == span.origin && Some(id) == span.parent {
            continue;
        }
        span.links.push(SpanLink {
            origin,
            id,
            trace_state: None,
            attributes: Attributes::from([("jaeger.reference".into(), kind.into())]),
            dropped_attributes: 0,
            flags: 0,
        });
    }
    Ok(())
}

fn event(log: &Json) -> Result<Event, Refusal> {
    let log = log.as_object().ok_or(Refusal::Malformed)?;
    let attributes = tags(log, "fields")?;
    let name = attributes.get("event").or(attributes.get("message"));
    Ok(Event {
        at: intake::time(microseconds(number(log, "timestamp")?))?,
        name: name.map(ValueRef::to_text).unwrap_or_default(),
        attributes,
        dropped_attributes: 0,
    })
}

fn status(attributes: &Attributes) -> Status {
    let of = |name: &str| {
        attributes
            .get(name)
            .map(ValueRef::to_text)
            .unwrap_or_default()
    };
    let message = of("otel.status_description");
    let code = match (&*of("otel.status_code"), &*of("error")) {
        ("ERROR", _) | (_, "true") => StatusCode::Error,
        ("OK", _) => StatusCode::Ok,
        _ => StatusCode::Unset,
    };
    Status {
        code,
        message: (!message.is_empty()).then_some(message),
    }
}

/// `[{"key","type","value"}]`.
fn tags(of: &Object, name: &str) -> Result<Attributes, Refusal> {
    let all = list(of, name)?.iter().map(|tag| {
        let tag = tag.as_object().ok_or(Refusal::Malformed)?;
        let value = match tag.get("value") {
            None | Some(Json::Null) => Value::Empty,
            Some(Json::Bool(value)) => Value::Bool(*value),
            Some(Json::String(text)) => Value::from(text.as_str()),
            Some(Json::Number(given)) => {
                let float = text(tag, "type")? == "float64";
                let int = whole(&Json::Number(given.clone())).filter(|_| !float);
                match int.and_then(|number| i64::try_from(number).ok()) {
                    Some(number) => Value::Int(number),
                    None => Value::double(given.as_f64().ok_or(Refusal::Malformed)?),
                }
            }
            Some(other) => Value::Text(other.to_string().into()),
        };
        Ok((text(tag, "key")?.into(), value))
    });
    all.collect()
}

/// A trace id; whether it is short; whether it is no hex.
fn origin(text: &str) -> Result<(Origin, bool, bool), Refusal> {
    match json::origin(text) {
        Ok((origin, short)) => Ok((origin, short, false)),
        Err(Refusal::BadId) => Ok((intake::origin(&as_bytes::<16>(text)?)?, false, true)),
        Err(other) => Err(other),
    }
}

/// A span id, and whether it is no hex.
fn interaction(text: &str) -> Result<(Interaction, bool), Refusal> {
    match json::interaction(text) {
        Ok(id) => Ok((id, false)),
        Err(Refusal::BadId) => Ok((intake::interaction(&as_bytes::<8>(text)?)?, true)),
        Err(other) => Err(other),
    }
}

/// The text's own bytes in front, so that they never equal a short hex id's.
fn as_bytes<const N: usize>(text: &str) -> Result<[u8; N], Refusal> {
    let graphic = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.len() > N || !graphic {
        return Err(Refusal::BadId);
    }
    let mut bytes = [0; N];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    Ok(bytes)
}
