//! OTLP as JSON: lower-camel names, ids in hex, 64-bit numbers as text or as numbers.

use selvedge_entry::Text;
use serde_json::Value as Json;

use crate::Attributes;
use crate::intake::{self, Intake, Maker, Refusal, SpanError};
use crate::json::{self, Object, count, list, number, object, some_text, text};
use crate::span::{Event, Kind, Resource, Scope, Span, SpanLink, Status, StatusCode};
use crate::value::{NESTING_MAX, Value};

fn format(fault: &'static str) -> SpanError {
    SpanError::Format {
        format: "OTLP JSON",
        fault,
    }
}

/// Reads a batch, or several one after the other.
///
/// # Errors
/// When it is too long, is not JSON, or its outer objects (down to the scopes) are not OTLP's. A
/// single span that is not is refused and counted.
pub fn from_json(input: &[u8]) -> Result<Intake, SpanError> {
    let mut intake = Intake::default();
    for value in json::values(input)? {
        batch(&mut intake, &value)?;
    }
    Ok(intake)
}

/// Reads one batch.
pub(crate) fn batch(intake: &mut Intake, value: &Json) -> Result<(), SpanError> {
    let batch = value.as_object().ok_or(format("a batch is an object"))?;
    let all = list(batch, "resourceSpans").map_err(|_| format("resourceSpans is no list"))?;
    for spans in all {
        let spans = spans
            .as_object()
            .ok_or(format("resourceSpans holds no objects"))?;
        resource_spans(intake, spans).map_err(|_| format("bad resource or scope"))?;
    }
    Ok(())
}

fn resource_spans(intake: &mut Intake, spans: &Object) -> Result<(), Refusal> {
    let mut resource = Resource {
        schema_url: some_text(spans, "schemaUrl")?,
        ..Resource::default()
    };
    if let Some(given) = object(spans, "resource")? {
        resource.attributes = attributes(given)?;
        resource.dropped_attributes = count(given, "droppedAttributesCount")?;
    }
    let maker = Maker::new(resource);
    for spans in list(spans, "scopeSpans")? {
        let spans = spans.as_object().ok_or(Refusal::Malformed)?;
        let mut scope = Scope {
            schema_url: some_text(spans, "schemaUrl")?,
            ..Scope::default()
        };
        if let Some(given) = object(spans, "scope")? {
            scope.name = text(given, "name")?.into();
            scope.version = text(given, "version")?.into();
            scope.attributes = attributes(given)?;
            scope.dropped_attributes = count(given, "droppedAttributesCount")?;
        }
        let maker = maker.of_scope(scope);
        for span in list(spans, "spans")? {
            intake.take(read_span(span, &maker));
        }
    }
    Ok(())
}

fn read_span(span: &Json, maker: &Maker) -> Result<Span, Refusal> {
    let given = span.as_object().ok_or(Refusal::Malformed)?;
    let origin = exact::<16>(text(given, "traceId")?)?;
    let id = exact::<8>(text(given, "spanId")?)?;
    let (origin, id) = (intake::origin(&origin)?, intake::interaction(&id)?);
    let mut span = maker.span(origin, id)?;
    span.parent = match text(given, "parentSpanId")? {
        "" => None,
        parent => intake::parent(&exact::<8>(parent)?)?,
    };
    span.name = text(given, "name")?.into();
    span.kind = match given.get("kind") {
        Some(Json::String(name)) => Kind::of_name(name),
        _ => Kind::of_number(u64::from(count(given, "kind")?)),
    };
    span.trace_state = some_text(given, "traceState")?;
    span.flags = count(given, "flags")?;
    span.attributes = attributes(given)?;
    span.dropped_attributes = count(given, "droppedAttributesCount")?;
    for each in list(given, "events")? {
        span.events.push(event(each)?);
    }
    span.dropped_events = count(given, "droppedEventsCount")?;
    span.dropped_links = count(given, "droppedLinksCount")?;
    for each in list(given, "links")? {
        span.add_link(link(each))?;
    }
    if let Some(status) = object(given, "status")? {
        span.status = Status {
            code: status_code(status)?,
            message: some_text(status, "message")?,
        };
    }
    let start = nanoseconds(given, "startTimeUnixNano")?;
    let end = nanoseconds(given, "endTimeUnixNano")?;
    intake::set_times(&mut span, start, end)?;
    Ok(span)
}

fn status_code(status: &Object) -> Result<StatusCode, Refusal> {
    Ok(match status.get("code") {
        Some(Json::String(name)) if name == "STATUS_CODE_OK" => StatusCode::Ok,
        Some(Json::String(name)) if name == "STATUS_CODE_ERROR" => StatusCode::Error,
        Some(Json::String(name)) if name == "STATUS_CODE_UNSET" => StatusCode::Unset,
        _ => match number(status, "code")? {
            1 => StatusCode::Ok,
            2 => StatusCode::Error,
            _ => StatusCode::Unset,
        },
    })
}

fn event(event: &Json) -> Result<Event, Refusal> {
    let event = event.as_object().ok_or(Refusal::Malformed)?;
    Ok(Event {
        at: intake::time(nanoseconds(event, "timeUnixNano")?)?,
        name: text(event, "name")?.into(),
        attributes: attributes(event)?,
        dropped_attributes: count(event, "droppedAttributesCount")?,
    })
}

fn link(link: &Json) -> Result<SpanLink, Refusal> {
    let link = link.as_object().ok_or(Refusal::Malformed)?;
    Ok(SpanLink {
        origin: intake::origin(&exact::<16>(text(link, "traceId")?)?)?,
        id: intake::interaction(&exact::<8>(text(link, "spanId")?)?)?,
        trace_state: some_text(link, "traceState")?,
        attributes: attributes(link)?,
        dropped_attributes: count(link, "droppedAttributesCount")?,
        flags: count(link, "flags")?,
    })
}

/// A time; 0 where it is absent.
fn nanoseconds(object: &Object, name: &str) -> Result<u64, Refusal> {
    u64::try_from(number(object, name)?).map_err(|_| Refusal::TimeOutOfRange)
}

/// Hex of exactly `N` bytes.
fn exact<const N: usize>(text: &str) -> Result<[u8; N], Refusal> {
    let (bytes, digits) = json::hex::<N>(text)?;
    if digits != 2 * N {
        return Err(Refusal::BadId);
    }
    Ok(bytes)
}

fn attributes(of: &Object) -> Result<Attributes, Refusal> {
    let all = list(of, "attributes")?.iter();
    all.map(|pair| key_value(pair, 0)).collect()
}

fn key_value(pair: &Json, nesting: usize) -> Result<(Text, Value), Refusal> {
    let pair = pair.as_object().ok_or(Refusal::Malformed)?;
    let value = match object(pair, "value")? {
        None => Value::Empty,
        Some(value) => any_value(value, nesting)?,
    };
    Ok((text(pair, "key")?.into(), value))
}

fn any_value(value: &Object, nesting: usize) -> Result<Value, Refusal> {
    if nesting == NESTING_MAX {
        return Err(Refusal::Malformed);
    }
    let Some((name, given)) = value.iter().next() else {
        return Ok(Value::Empty);
    };
    let values = || match given {
        Json::Object(inner) => list(inner, "values"),
        _ => Err(Refusal::Malformed),
    };
    Ok(match (name.as_str(), given) {
        ("stringValue", Json::String(text)) => Value::from(text.as_str()),
        ("boolValue", Json::Bool(value)) => Value::Bool(*value),
        ("intValue", given) => {
            let number = json::whole(given).and_then(|number| i64::try_from(number).ok());
            Value::Int(number.ok_or(Refusal::Malformed)?)
        }
        ("doubleValue", given) => Value::double(double(given).ok_or(Refusal::Malformed)?),
        ("bytesValue", Json::String(text)) => {
            Value::Bytes(base64(text.as_bytes()).ok_or(Refusal::Malformed)?.into())
        }
        ("arrayValue", _) => {
            let inner = values()?.iter().map(|value| {
                let value = value.as_object().ok_or(Refusal::Malformed)?;
                any_value(value, nesting + 1)
            });
            Value::List(inner.collect::<Result<_, _>>()?)
        }
        ("kvlistValue", _) => {
            let inner = values()?.iter().map(|pair| key_value(pair, nesting + 1));
            Value::Map(inner.collect::<Result<_, _>>()?)
        }
        _ => return Err(Refusal::Malformed),
    })
}

/// Protobuf's JSON writes what is not finite as text.
fn double(value: &Json) -> Option<f64> {
    match value {
        Json::String(text) if text == "Infinity" => Some(f64::INFINITY),
        Json::String(text) if text == "-Infinity" => Some(f64::NEG_INFINITY),
        Json::String(text) if text == "NaN" => Some(f64::NAN),
        Json::String(text) => text.parse().ok(),
        other => other.as_f64(),
    }
}

/// Base64 of either alphabet, with or without padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|&b| b != b'=').map_or(0, |at| at + 1);
    let (digits, padding) = text.split_at(end);
    if padding.len() > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - group.len());
        out.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_in_both_alphabets() {
        assert_eq!(base64(b"-_8="), Some(vec![0xfb, 0xff]));
        assert_eq!(base64(b"+/8"), Some(vec![0xfb, 0xff]));
        assert_eq!(base64(b"Zm9v"), Some(b"foo".to_vec()));
        assert_eq!(base64(b""), Some(vec![]));
        assert_eq!(base64(b"Z"), None);
        assert_eq!(base64(b"Z*=="), None);
    }
}
