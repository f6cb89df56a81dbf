//! OTLP as protobuf: an `ExportTraceServiceRequest`, or a `TracesData` of the same encoding.
//!
//! A span is read in one walk over its bytes. Attributes go straight into the form in which they
//! are kept ([`Attributes`]); names that spans share are made once a batch. So a plain span costs
//! one allocation, for its attributes.

use selvedge_entry::Text;

use crate::attributes::{Attributes, put_bool, put_bytes, put_double, put_int, tag};
use crate::intake::{self, Intake, Maker, PARTS_MAX, Refusal, SpanError, check_length};
use crate::names::Names;
use crate::packed::{put_number, put_sized, put_text};
use crate::protobuf::{Broken, Field, Fields};
use crate::span::{Event, Kind, Resource, Scope, Span, SpanLink, Status, StatusCode};
use crate::value::NESTING_MAX;

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
    let mut reader = Reader::default();
    let mut batch = Fields::new(input);
    while let Some((number, field)) = batch.next().map_err(|_| format("broken batch"))? {
        if number == 1 {
            let spans = field.message().map_err(|_| format("broken batch"))?;
            let read = reader.resource_spans(spans);
            read.map_err(|_| format("broken resource or scope"))?;
        }
    }
    Ok(reader.intake)
}

/// What was read of a batch, and memory that its spans use in turn.
#[derive(Default)]
struct Reader {
    intake: Intake,
    names: Names,
    /// Attributes of the span, and of the event or link in it, that is being read.
    outer: Packing,
    inner: Packing,
}

/// Attributes that are being packed.
#[derive(Default)]
struct Packing {
    count: usize,
    bytes: Vec<u8>,
}

impl Reader {
    /// The resource may lie behind its scopes, so these are read in a second pass.
    fn resource_spans(&mut self, message: Fields<'_>) -> Result<(), Broken> {
        let mut resource = Resource::default();
        let mut fields = message;
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => self.resource(&mut resource, field.message()?)?,
                3 => resource.schema_url = some_text(field)?,
                _ => {}
            }
        }
        let maker = Maker::new(resource);
        let mut fields = message;
        while let Some((number, field)) = fields.next()? {
            if number == 2 {
                self.scope_spans(field.message()?, &maker)?;
            }
        }
        Ok(())
    }

    fn resource(&mut self, resource: &mut Resource, mut fields: Fields<'_>) -> Result<(), Broken> {
        let attributes = self.outer.begin();
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => attributes.add(field)?,
                2 => resource.dropped_attributes = field.count()?,
                _ => {}
            }
        }
        resource.attributes.append(&attributes.end());
        Ok(())
    }

    /// What is said of the scope may lie behind its spans, as its schema does by its number. A walk
    /// ahead for it would fetch a batch's memory twice, so such spans are given their scope later.
    fn scope_spans(&mut self, mut fields: Fields<'_>, maker: &Maker) -> Result<(), Broken> {
        let first = self.intake.spans.len();
        let mut scope = Scope::default();
        let mut known: Option<Maker> = None;
        let mut late = false;
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => self.scope(&mut scope, field.message()?)?,
                2 => {
                    let maker = known.get_or_insert_with(|| maker.of_scope(scope.clone()));
                    let span = field.message().map_err(Refusal::from);
                    let span = span.and_then(|fields| self.span(fields, maker));
                    self.intake.take(span);
                }
                3 => scope.schema_url = some_text(field)?,
                _ => {}
            }
            late |= number != 2 && known.is_some();
        }
        if late {
            self.intake.set_scope(first, &maker.of_scope(scope));
        }
        Ok(())
    }

    fn scope(&mut self, scope: &mut Scope, mut fields: Fields<'_>) -> Result<(), Broken> {
        let attributes = self.outer.begin();
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => scope.name = field.text()?.into(),
                2 => scope.version = field.text()?.into(),
                3 => attributes.add(field)?,
                4 => scope.dropped_attributes = field.count()?,
                _ => {}
            }
        }
        scope.attributes.append(&attributes.end());
        Ok(())
    }

    fn span(&mut self, mut fields: Fields<'_>, maker: &Maker) -> Result<Span, Refusal> {
        let (mut origin, mut id, mut parent): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
        let (mut trace_state, mut name, mut kind) = (None, Text::default(), Kind::default());
        let (mut start, mut end, mut flags) = (0, 0, 0);
        let (mut dropped_attributes, mut dropped_events, mut dropped_links) = (0, 0, 0);
        let (mut events, mut links, mut status) = (Vec::new(), Vec::new(), Status::default());
        self.outer.begin();
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => origin = field.bytes()?,
                2 => id = field.bytes()?,
                3 => trace_state = some_text(field)?,
                4 => parent = field.bytes()?,
                5 => name = self.names.text_of(field.bytes()?)?,
                6 => kind = Kind::of_number(field.number()?),
                7 => start = field.fixed64()?,
                8 => end = field.fixed64()?,
                9 => self.outer.add(field)?,
                10 => dropped_attributes = field.count()?,
                11 => events.push(self.event(field.message()?)?),
                12 => dropped_events = field.count()?,
                13 => links.push(self.link(field.message())),
                14 => dropped_links = field.count()?,
                15 => status = read_status(field.message()?)?,
                16 => flags = field.fixed32()?,
                _ => {}
            }
            // Two bytes of input are enough for one of these.
            if events.len().max(links.len()) > PARTS_MAX {
                return Err(Refusal::TooManyParts);
            }
        }
        let mut span = Span {
            parent: intake::parent(parent)?,
            kind,
            name,
            trace_state,
            flags,
            status,
            attributes: self.outer.end(),
            dropped_attributes,
            events,
            dropped_events,
            dropped_links,
            ..maker.span(intake::origin(origin)?, intake::interaction(id)?)?
        };
        links.into_iter().try_for_each(|link| span.add_link(link))?;
        intake::set_times(&mut span, start, end)?;
        Ok(span)
    }

    fn event(&mut self, mut fields: Fields<'_>) -> Result<Event, Refusal> {
        let (mut at, mut name, mut dropped_attributes) = (0, Text::default(), 0);
        let attributes = self.inner.begin();
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => at = field.fixed64()?,
                2 => name = self.names.text_of(field.bytes()?)?,
                3 => attributes.add(field)?,
                4 => dropped_attributes = field.count()?,
                _ => {}
            }
        }
        Ok(Event {
            at: intake::time(at)?,
            name,
            attributes: attributes.end(),
            dropped_attributes,
        })
    }

    fn link(&mut self, fields: Result<Fields<'_>, Broken>) -> Result<SpanLink, Refusal> {
        let mut fields = fields?;
        let (mut origin, mut id): (&[u8], &[u8]) = (&[], &[]);
        let (mut trace_state, mut dropped_attributes, mut flags) = (None, 0, 0);
        let attributes = self.inner.begin();
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => origin = field.bytes()?,
                2 => id = field.bytes()?,
                3 => trace_state = some_text(field)?,
                4 => attributes.add(field)?,
                5 => dropped_attributes = field.count()?,
                6 => flags = field.fixed32()?,
                _ => {}
            }
        }
        Ok(SpanLink {
            origin: intake::origin(origin)?,
            id: intake::interaction(id)?,
            trace_state,
            attributes: attributes.end(),
            dropped_attributes,
            flags,
        })
    }
}

impl Packing {
    /// Forgets what is in it.
    fn begin(&mut self) -> &mut Self {
        self.count = 0;
        self.bytes.clear();
        self
    }

    /// Adds a `KeyValue`.
    fn add(&mut self, field: Field<'_>) -> Result<(), Broken> {
        self.count += 1;
        let pair = field.bytes()?;
        match plain_pair(pair) {
            Some((key, text)) if is_text(key) && is_text(text) => {
                self.bytes.reserve(pair.len());
                put_sized(&mut self.bytes, key);
                self.bytes.push(tag::TEXT);
                put_sized(&mut self.bytes, text);
                Ok(())
            }
            _ => put_pair(&mut self.bytes, pair, 0),
        }
    }

    fn end(&self) -> Attributes {
        Attributes::from_packed(self.count, self.bytes.as_slice().into())
    }
}

fn read_status(mut fields: Fields<'_>) -> Result<Status, Broken> {
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

/// Nearly all attributes: a key and a text, in this order, both shorter than 128 bytes.
#[inline]
fn plain_pair(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x0a, length @ 0..0x80, rest @ ..] = pair else {
        return None;
    };
    let (key, value) = rest.split_at_checked(usize::from(*length))?;
    match value {
        [0x12, outer @ 0..0x80, 0x0a, inner @ 0..0x80, text @ ..]
            if text.len() == usize::from(*inner) && text.len() + 2 == usize::from(*outer) =>
        {
            Some((key, text))
        }
        _ => None,
    }
}

/// Whether bytes are UTF-8: quick where they are ASCII.
#[inline]
fn is_text(bytes: &[u8]) -> bool {
    let word = |part: &[u8; 8]| u64::from_le_bytes(*part);
    let high = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(first), Some(last)) => {
            let (between, _) = bytes.as_chunks::<8>();
            let all = between.iter().fold(0, |all, part| all | word(part));
            word(first) | word(last) | all
        }
        _ => bytes.iter().fold(0, |all, byte| all | u64::from(*byte)),
    };
    high & 0x8080_8080_8080_8080 == 0 || std::str::from_utf8(bytes).is_ok()
}

/// A `KeyValue`, its key in front whichever lies there. As everywhere in protobuf, the last of
/// several counts.
fn put_pair(out: &mut Vec<u8>, pair: &[u8], nesting: usize) -> Result<(), Broken> {
    let mut fields = Fields::new(pair);
    let (mut key, mut value) = ("", None);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => key = field.text()?,
            2 => value = Some(field.message()?),
            _ => {}
        }
    }
    put_text(out, key);
    match value {
        Some(value) => put_any(out, value, nesting),
        None => {
            out.push(tag::EMPTY);
            Ok(())
        }
    }
}

/// An `AnyValue`.
fn put_any(out: &mut Vec<u8>, mut fields: Fields<'_>, nesting: usize) -> Result<(), Broken> {
    if nesting == NESTING_MAX {
        return Err(Broken);
    }
    let from = out.len();
    while let Some((number, field)) = fields.next()? {
        if (1..=7).contains(&number) {
            out.truncate(from);
        }
        match number {
            1 => {
                let bytes = field.bytes()?;
                match std::str::from_utf8(bytes) {
                    Ok(text) => {
                        out.push(tag::TEXT);
                        put_text(out, text);
                    }
                    Err(_) => put_bytes(out, bytes),
                }
            }
            2 => put_bool(out, field.number()? != 0),
            3 => put_int(out, field.number()? as i64),
            4 => put_double(out, field.fixed64()?),
            5 => {
                let list = field.message()?;
                out.push(tag::LIST);
                put_number(out, elements(list)?);
                let mut list = list;
                while let Some((number, field)) = list.next()? {
                    if number == 1 {
                        put_any(out, field.message()?, nesting + 1)?;
                    }
                }
            }
            6 => {
                let map = field.message()?;
                out.push(tag::MAP);
                put_number(out, elements(map)?);
                let mut map = map;
                while let Some((number, field)) = map.next()? {
                    if number == 1 {
                        put_pair(out, field.bytes()?, nesting + 1)?;
                    }
                }
            }
            7 => put_bytes(out, field.bytes()?),
            _ => {}
        }
    }
    if out.len() == from {
        out.push(tag::EMPTY);
    }
    Ok(())
}

/// How many elements a list or a map has.
fn elements(mut fields: Fields<'_>) -> Result<u64, Broken> {
    let mut count = 0;
    while let Some((number, _)) = fields.next()? {
        count += u64::from(number == 1);
    }
    Ok(count)
}

/// A text that may be left out; empty is left out.
fn some_text(field: Field<'_>) -> Result<Option<Text>, Broken> {
    let text = field.text()?;
    Ok((!text.is_empty()).then(|| text.into()))
}
