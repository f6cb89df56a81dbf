//! OTLP as protobuf: an `ExportTraceServiceRequest`, or a `TracesData` of the same encoding.

use selvedge_entry::Text;

use crate::Attributes;
use crate::intake::{self, Intake, Maker, Refusal, SpanError, check_length};
use crate::protobuf::{Broken, Field, Fields};
use crate::span::{Event, Kind, Resource, Scope, Span, SpanLink, Status, StatusCode};
use crate::value::{NESTING_MAX, Value};

impl From<Broken> for Refusal {
    fn from(_: Broken) -> Self {
        Self::Malformed
    }
}

fn format(fault: &'static str) -> SpanError {
    SpanError::Format {
        format: "OTLP protobuf",
        fault,
    }
}

/// Reads a batch.
///
/// # Errors
/// When it is too long, or its outer messages (down to the scopes) break the encoding. A single
/// span that does is refused and counted.
pub fn from_protobuf(input: &[u8]) -> Result<Intake, SpanError> {
    check_length(input)?;
    let mut intake = Intake::default();
    let mut batch = Fields::new(input);
    while let Some((number, field)) = batch.next().map_err(|_| format("broken batch"))? {
        if number == 1 {
            let spans = field.message().map_err(|_| format("broken batch"))?;
            resource_spans(&mut intake, spans).map_err(|_| format("broken resource or scope"))?;
        }
    }
    Ok(intake)
}

/// The resource may lie behind its scopes, so these are read in a second pass.
fn resource_spans(intake: &mut Intake, message: Fields<'_>) -> Result<(), Broken> {
    let mut resource = Resource::default();
    let mut fields = message;
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => read_resource(&mut resource, field.message()?)?,
            3 => resource.schema_url = some_text(field)?,
            _ => {}
        }
    }
    let maker = Maker::new(resource);
    let mut fields = message;
    while let Some((number, field)) = fields.next()? {
        if number == 2 {
            scope_spans(intake, field.message()?, &maker)?;
        }
    }
    Ok(())
}

fn read_resource(resource: &mut Resource, mut fields: Fields<'_>) -> Result<(), Broken> {
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => resource.attributes.push(key_value(field, 0)?),
            2 => resource.dropped_attributes = field.count()?,
            _ => {}
        }
    }
    Ok(())
}

fn scope_spans(intake: &mut Intake, message: Fields<'_>, maker: &Maker) -> Result<(), Broken> {
    let mut scope = Scope::default();
    let mut fields = message;
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => read_scope(&mut scope, field.message()?)?,
            3 => scope.schema_url = some_text(field)?,
            _ => {}
        }
    }
    let maker = maker.of_scope(scope);
    let mut fields = message;
    while let Some((number, field)) = fields.next()? {
        if number == 2 {
            let span = field.message().map_err(Refusal::from);
            intake.take(span.and_then(|fields| read_span(fields, &maker)));
        }
    }
    Ok(())
}

fn read_scope(scope: &mut Scope, mut fields: Fields<'_>) -> Result<(), Broken> {
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => scope.name = field.text()?.into(),
            2 => scope.version = field.text()?.into(),
            3 => scope.attributes.push(key_value(field, 0)?),
            4 => scope.dropped_attributes = field.count()?,
            _ => {}
        }
    }
    Ok(())
}

fn read_span(message: Fields<'_>, maker: &Maker) -> Result<Span, Refusal> {
    // The ids first: without them nothing else is worth keeping.
    let (mut origin, mut id): (&[u8], &[u8]) = (&[], &[]);
    let mut fields = message;
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => origin = field.bytes()?,
            2 => id = field.bytes()?,
            _ => {}
        }
    }
    let (origin, id) = (intake::origin(origin)?, intake::interaction(id)?);
    let mut span = maker.span(origin, id)?;
    let (mut start, mut end) = (0, 0);
    let mut fields = message;
    while let Some((number, field)) = fields.next()? {
        match number {
            3 => span.trace_state = some_text(field)?,
            4 => span.parent = intake::parent(field.bytes()?)?,
            5 => span.name = field.text()?.into(),
            6 => span.kind = Kind::of_number(field.number()?),
            7 => start = field.fixed64()?,
            8 => end = field.fixed64()?,
            9 => span.attributes.push(key_value(field, 0)?),
            10 => span.dropped_attributes = field.count()?,
            11 => span.events.push(event(field.message()?)?),
            12 => span.dropped_events = field.count()?,
            13 => span.add_link(link(field.message()?))?,
            14 => span.dropped_links = field.count()?,
            15 => span.status = status(field.message()?)?,
            16 => span.flags = field.fixed32()?,
            _ => {}
        }
    }
    intake::set_times(&mut span, start, end)?;
    Ok(span)
}

fn event(mut fields: Fields<'_>) -> Result<Event, Refusal> {
    let (mut at, mut name, mut attributes) = (0, Text::default(), Attributes::new());
    let mut dropped_attributes = 0;
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => at = field.fixed64()?,
            2 => name = field.text()?.into(),
            3 => attributes.push(key_value(field, 0)?),
            4 => dropped_attributes = field.count()?,
            _ => {}
        }
    }
    Ok(Event {
        at: intake::time(at)?,
        name,
        attributes,
        dropped_attributes,
    })
}

fn link(mut fields: Fields<'_>) -> Result<SpanLink, Refusal> {
    let (mut origin, mut id): (&[u8], &[u8]) = (&[], &[]);
    let (mut trace_state, mut attributes) = (None, Attributes::new());
    let (mut dropped_attributes, mut flags) = (0, 0);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => origin = field.bytes()?,
            2 => id = field.bytes()?,
            3 => trace_state = some_text(field)?,
            4 => attributes.push(key_value(field, 0)?),
            5 => dropped_attributes = field.count()?,
            6 => flags = field.fixed32()?,
            _ => {}
        }
    }
    Ok(SpanLink {
        origin: intake::origin(origin)?,
        id: intake::interaction(id)?,
        trace_state,
        attributes,
        dropped_attributes,
        flags,
    })
}

fn status(mut fields: Fields<'_>) -> Result<Status, Broken> {
    let mut status = Status::default();
    while let Some((number, field)) = fields.next()? {
        match number {
            2 => status.message = some_text(field)?,
            3 => {
                status.code = match field.number()? {
                    1 => StatusCode::Ok,
                    2 => StatusCode::Error,
                    _ => StatusCode::Unset,
                }
            }
            _ => {}
        }
    }
    Ok(status)
}

fn key_value(field: Field<'_>, nesting: usize) -> Result<(Text, Value), Broken> {
    let mut fields = field.message()?;
    let (mut key, mut value) = (Text::default(), Value::Empty);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => key = field.text()?.into(),
            2 => value = any_value(field.message()?, nesting)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn any_value(mut fields: Fields<'_>, nesting: usize) -> Result<Value, Broken> {
    if nesting == NESTING_MAX {
        return Err(Broken);
    }
    let mut value = Value::Empty;
    while let Some((number, field)) = fields.next()? {
        value = match number {
            1 => {
                let bytes = field.bytes()?;
                match std::str::from_utf8(bytes) {
                    Ok(text) => Value::from(text),
                    Err(_) => Value::Bytes(bytes.into()),
                }
            }
            2 => Value::Bool(field.number()? != 0),
            3 => Value::Int(field.number()? as i64),
            4 => Value::Double(field.fixed64()?),
            5 => {
                let (mut list, mut values) = (field.message()?, Vec::new());
                while let Some((number, field)) = list.next()? {
                    if number == 1 {
                        values.push(any_value(field.message()?, nesting + 1)?);
                    }
                }
                Value::List(values)
            }
            6 => {
                let (mut map, mut values) = (field.message()?, Vec::new());
                while let Some((number, field)) = map.next()? {
                    if number == 1 {
                        values.push(key_value(field, nesting + 1)?);
                    }
                }
                Value::Map(values)
            }
            7 => Value::Bytes(field.bytes()?.into()),
            _ => continue,
        };
    }
    Ok(value)
}

/// A text that may be left out; empty is left out.
fn some_text(field: Field<'_>) -> Result<Option<Text>, Broken> {
    let text = field.text()?;
    Ok((!text.is_empty()).then(|| text.into()))
}
