//! Zipkin v2 as JSON: ids in hex, times in microseconds.

use serde_json::Value as Json;

use super::{Endpoint, Given, merged};
use crate::Attributes;
use crate::intake::{Intake, Refusal, SpanError};
use crate::json::{self, Object, flag, list, microseconds, number, object, text};
use crate::span::{Kind, Span};
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
    let time = |name: &str| match given.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(_) => number(given, name).map(|time| Some(microseconds(time))),
    };
    let mut annotations = Vec::new();
    for annotation in list(given, "annotations")? {
        let annotation = annotation.as_object().ok_or(Refusal::Malformed)?;
        let at = microseconds(number(annotation, "timestamp")?);
        annotations.push((at, text(annotation, "value")?.into()));
    }
    let tags = object(given, "tags")?.into_iter().flatten();
    let tags: Attributes = tags
        .map(|(key, value)| (key.as_str().into(), tag(value)))
        .collect();
    Given {
        origin,
        short,
        id,
        parent: json::parent(text(given, "parentId")?)?,
        kind: Kind::of_name(text(given, "kind")?),
        name: text(given, "name")?.into(),
        start: time("timestamp")?,
        duration: time("duration")?,
        local: endpoint(given, "localEndpoint")?,
        remote: endpoint(given, "remoteEndpoint")?,
        annotations,
        tags,
        debug: flag(given, "debug"),
        shared: flag(given, "shared"),
    }
    .into_span()
}

/// Values of tags are text; others are kept as their JSON.
fn tag(value: &Json) -> Value {
    match value {
        Json::String(text) => Value::from(text.as_str()),
        Json::Null => Value::Empty,
        other => Value::Text(other.to_string().into()),
    }
}

fn endpoint(of: &Object, name: &str) -> Result<Endpoint, Refusal> {
    let Some(given) = object(of, name)? else {
        return Ok(Endpoint::default());
    };
    Ok(Endpoint {
        service: text(given, "serviceName")?.into(),
        ipv4: text(given, "ipv4")?.into(),
        ipv6: text(given, "ipv6")?.into(),
        port: i64::try_from(number(given, "port")?).map_err(|_| Refusal::Malformed)?,
    })
}
