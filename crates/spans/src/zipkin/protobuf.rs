//! Zipkin v2 as protobuf: `ListOfSpans` of `zipkin.proto` 1.0.
//!
//! Proto3 writes no zeros: a time of 0 is a time that was not given.

use core::net::{Ipv4Addr, Ipv6Addr};

use selvedge_entry::Text;

use super::{Endpoint, Given, merged};
use crate::Attributes;
use crate::intake::{self, Intake, PARTS_MAX, Refusal, SpanError, check_length};
use crate::json::microseconds;
use crate::protobuf::{Broken, Field, Fields};
use crate::span::{Kind, Span};
use crate::value::Value;

/// Reads a list of spans.
///
/// # Errors
/// When it is too long, or the list itself breaks the encoding. A single span that does is refused
/// and counted.
pub fn from_protobuf(input: &[u8]) -> Result<Intake, SpanError> {
    check_length(input)?;
    let broken = |_| SpanError::Format {
        format: "Zipkin v2 protobuf",
        fault: "broken list of spans",
    };
    let mut intake = Intake::default();
    let mut list = Fields::new(input);
    while let Some((number, field)) = list.next().map_err(broken)? {
        if number == 1 {
            let span = field.message().map_err(Refusal::from);
            intake.take(span.and_then(read_span));
        }
    }
    intake.spans = merged(intake.spans);
    Ok(intake)
}

fn read_span(fields: Fields<'_>) -> Result<Span, Refusal> {
    let (mut trace, mut id, mut parent): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
    let mut ids = fields;
    while let Some((number, field)) = ids.next()? {
        match number {
            1 => trace = field.bytes()?,
            2 => parent = field.bytes()?,
            3 => id = field.bytes()?,
            _ => {}
        }
    }
    let short = trace.len() == 8;
    let mut long = [0; 16];
    if short {
        long[8..].copy_from_slice(trace);
        trace = &long;
    }
    let mut given = Given {
        origin: intake::origin(trace)?,
        short,
        id: intake::interaction(id)?,
        parent: intake::parent(parent)?,
        kind: Kind::default(),
        name: Text::default(),
        start: None,
        duration: None,
        local: Endpoint::default(),
        remote: Endpoint::default(),
        annotations: Vec::new(),
        tags: Attributes::new(),
        debug: false,
        shared: false,
    };
    let mut fields = fields;
    while let Some((number, field)) = fields.next()? {
        match number {
            4 => given.kind = kind(field.number()?),
            5 => given.name = field.text()?.into(),
            6 => given.start = time(field.fixed64()?),
            7 => given.duration = time(field.number()?),
            8 => given.local = endpoint(field.message()?)?,
            9 => given.remote = endpoint(field.message()?)?,
            10 => given.annotations.push(annotation(field.message()?)?),
            11 => given.tags.push(tag(field.message()?)?),
            12 => given.debug = field.number()? != 0,
            13 => given.shared = field.number()? != 0,
            _ => {}
        }
        if given.tags.len().max(given.annotations.len()) > PARTS_MAX {
            return Err(Refusal::TooManyParts);
        }
    }
    given.into_span()
}

/// Zipkin's numbers are not OTLP's.
fn kind(number: u64) -> Kind {
    match number {
        1 => Kind::Client,
        2 => Kind::Server,
        3 => Kind::Producer,
        4 => Kind::Consumer,
        _ => Kind::Unspecified,
    }
}

fn time(microseconds_given: u64) -> Option<i128> {
    (microseconds_given != 0).then(|| microseconds(microseconds_given.into()))
}

fn endpoint(mut fields: Fields<'_>) -> Result<Endpoint, Refusal> {
    let mut endpoint = Endpoint::default();
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => endpoint.service = field.text()?.into(),
            2 => endpoint.ipv4 = address(field, |bytes: [u8; 4]| Ipv4Addr::from(bytes))?,
            3 => endpoint.ipv6 = address(field, |bytes: [u8; 16]| Ipv6Addr::from(bytes))?,
            // An int32; a negative one is written with 64 bits.
            4 => endpoint.port = i64::from(field.number()? as u32 as i32),
            _ => {}
        }
    }
    Ok(endpoint)
}

fn address<const N: usize, A: ToString>(
    field: Field<'_>,
    of: impl Fn([u8; N]) -> A,
) -> Result<Text, Refusal> {
    match field.bytes()? {
        [] => Ok(Text::default()),
        bytes => {
            let bytes = bytes.try_into().map_err(|_| Refusal::Malformed)?;
            Ok(of(bytes).to_string().into())
        }
    }
}

fn annotation(mut fields: Fields<'_>) -> Result<(i128, Text), Broken> {
    let (mut at, mut value) = (0, Text::default());
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => at = microseconds(field.fixed64()?.into()),
            2 => value = field.text()?.into(),
            _ => {}
        }
    }
    Ok((at, value))
}

/// An entry of a map.
fn tag(mut fields: Fields<'_>) -> Result<(Text, Value), Broken> {
    let (mut key, mut value) = (Text::default(), Text::default());
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => key = field.text()?.into(),
            2 => value = field.text()?.into(),
            _ => {}
        }
    }
    Ok((key, Value::Text(value)))
}
