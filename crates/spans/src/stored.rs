//! Spans as the repository keeps them: small, exact, and read without what came before.
//!
//! OTLP repeats every key's tag and has no place for what only Zipkin and Jaeger say, so spans
//! have a form of their own. A batch's resources and scopes are written once, apart ([`Contexts`]);
//! each span names its two by number. One span has one sequence of bytes: equal bytes (and equal
//! contexts) are equal spans, so exact repeats are found without decoding.
//!
//! `docs/formats/repository.md` gives the bytes. Reading may leave out what a call tree does not
//! need ([`Part::Tree`]), so that a trace of a million spans is judged in little memory.
//!
//! Requirements: E2 (nothing of a span is dropped).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use selvedge_entry::{Text, Timestamp};
use selvedge_identity::{Interaction, Origin};
use thiserror::Error;

use crate::observe::details::matters;
use crate::packed::{Reader, put_number, put_optional, put_text};
use crate::{Attributes, Event, Kind, Resource, Scope, Span, SpanLink, Status, StatusCode, Value};

/// Bytes that are not of the form. Nothing of them is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("stored span is damaged: {0}")]
pub struct Damaged(pub(crate) &'static str);

pub(crate) type Read<T> = Result<T, Damaged>;

/// How much of a span to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// What places it in a call tree: no events and links, and of its attributes only those that
    /// [`crate::observe()`] looks at, and one without a name that stands for the rest. The tree
    /// has the same nodes and flags.
    Tree,
}

/// Spans in their stored form.
#[derive(Clone, Debug, Default)]
pub struct StoredSpans {
    /// The resources and scopes that they name ([`Contexts::decode`]).
    pub contexts: Vec<u8>,
    /// The spans, one after the other.
    pub bytes: Vec<u8>,
    /// Where each lies in `bytes`.
    pub spans: Vec<Range<usize>>,
}

impl StoredSpans {
    /// The stored form of spans that need not have anything in common.
    #[must_use]
    pub fn of<'a>(spans: impl IntoIterator<Item = &'a Span>) -> Self {
        let mut stored = Self::default();
        let mut resources = Table::default();
        let mut scopes = Table::default();
        for span in spans {
            let resource = resources.number(&span.resource);
            let scope = scopes.number(&span.scope);
            let from = stored.bytes.len();
            put_number(&mut stored.bytes, resource);
            put_number(&mut stored.bytes, scope);
            put_span(&mut stored.bytes, span);
            stored.spans.push(from..stored.bytes.len());
        }
        let out = &mut stored.contexts;
        put_number(out, resources.all.len() as u64);
        for resource in resources.all {
            put_part(out, |out| put_resource(out, resource));
        }
        put_number(out, scopes.all.len() as u64);
        for scope in scopes.all {
            put_part(out, |out| put_scope(out, scope));
        }
        stored
    }
}

/// Each value once, by its address first: a batch's spans share theirs.
struct Table<'a, T> {
    by_address: HashMap<*const T, u64>,
    by_value: HashMap<&'a T, u64>,
    all: Vec<&'a T>,
}

impl<T> Default for Table<'_, T> {
    fn default() -> Self {
        Self {
            by_address: HashMap::new(),
            by_value: HashMap::new(),
            all: Vec::new(),
        }
    }
}

impl<'a, T: Eq + std::hash::Hash> Table<'a, T> {
    fn number(&mut self, value: &'a Arc<T>) -> u64 {
        let all = &mut self.all;
        let by_value = &mut self.by_value;
        *self
            .by_address
            .entry(Arc::as_ptr(value))
            .or_insert_with(|| {
                *by_value.entry(value).or_insert_with(|| {
                    all.push(value);
                    all.len() as u64 - 1
                })
            })
    }
}

/// The resources and scopes of a batch.
#[derive(Clone, Debug, Default)]
pub struct Contexts {
    bytes: Box<[u8]>,
    resources: Vec<Known>,
    scopes: Vec<(Range<usize>, Arc<Scope>)>,
}

#[derive(Clone, Debug)]
struct Known {
    bytes: Range<usize>,
    resource: Arc<Resource>,
    service: Text,
    host: Text,
}

/// A stored span, taken apart. Spans whose parts hold the same bytes are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// The number of its resource.
    pub resource: usize,
    /// The number of its scope.
    pub scope: usize,
    /// All else.
    pub own: &'a [u8],
}

impl Contexts {
    /// Reads [`StoredSpans::contexts`].
    ///
    /// # Errors
    /// When they are not of the form.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        let mut contexts = Self {
            bytes: bytes.into(),
            ..Self::default()
        };
        for _ in 0..reader.count()? {
            let part = reader.part()?;
            let mut inner = Reader::new(&bytes[part.clone()]);
            let resource = inner.resource()?;
            inner.end()?;
            let (service, host) = resource.names();
            contexts.resources.push(Known {
                bytes: part,
                resource: Arc::new(resource),
                service,
                host,
            });
        }
        for _ in 0..reader.count()? {
            let part = reader.part()?;
            let mut inner = Reader::new(&bytes[part.clone()]);
            let scope = inner.scope()?;
            inner.end()?;
            contexts.scopes.push((part, Arc::new(scope)));
        }
        reader.end()?;
        Ok(contexts)
    }

    /// The bytes of each resource, by number.
    pub fn resources(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.resources
            .iter()
            .map(|known| &self.bytes[known.bytes.clone()])
    }

    /// The bytes of each scope, by number.
    pub fn scopes(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.scopes
            .iter()
            .map(|(bytes, _)| &self.bytes[bytes.clone()])
    }

    /// Takes a span's bytes apart.
    ///
    /// # Errors
    /// When they name no context of these.
    pub fn parts<'a>(&self, span: &'a [u8]) -> Result<Parts<'a>, Damaged> {
        let mut reader = Reader::new(span);
        let (resource, scope) = self.numbers(&mut reader)?;
        Ok(Parts {
            resource,
            scope,
            own: &span[reader.at..],
        })
    }

    /// Reads a span.
    ///
    /// # Errors
    /// When the bytes are not of the form.
    pub fn span(&self, bytes: &[u8], part: Part) -> Result<Span, Damaged> {
        let mut reader = Reader::new(bytes);
        let (resource, scope) = self.numbers(&mut reader)?;
        let span = reader.span(&self.resources[resource], &self.scopes[scope].1, part)?;
        reader.end()?;
        Ok(span)
    }

    fn numbers(&self, reader: &mut Reader<'_>) -> Read<(usize, usize)> {
        let mut number = |below: usize| {
            let number = usize::try_from(reader.number()?).unwrap_or(usize::MAX);
            match number < below {
                true => Ok(number),
                false => Err(Damaged("context")),
            }
        };
        Ok((number(self.resources.len())?, number(self.scopes.len())?))
    }
}

/// Which parts of a span follow its ids; the rest is as a new span has it.
mod has {
    /// Bits 0 to 2: the kind; 3 and 4: the status code.
    pub(super) const KIND: u64 = 0b111;
    pub(super) const CODE_SHIFT: u32 = 3;
    pub(super) const SHARED: u64 = 1 << 5;
    pub(super) const PARENT: u64 = 1 << 6;
    pub(super) const START: u64 = 1 << 7;
    pub(super) const DURATION: u64 = 1 << 8;
    pub(super) const NAMES: u64 = 1 << 9;
    pub(super) const TRACE_STATE: u64 = 1 << 10;
    pub(super) const FLAGS: u64 = 1 << 11;
    pub(super) const MESSAGE: u64 = 1 << 12;
    pub(super) const DROPPED: u64 = 1 << 13;
    pub(super) const ODD: u64 = 1 << 14;
    pub(super) const EVENTS: u64 = 1 << 15;
    pub(super) const LINKS: u64 = 1 << 16;
    pub(super) const ALL: u64 = (1 << 17) - 1;
}

const KINDS: [Kind; 6] = [
    Kind::Unspecified,
    Kind::Internal,
    Kind::Server,
    Kind::Client,
    Kind::Producer,
    Kind::Consumer,
];
const CODES: [StatusCode; 3] = [StatusCode::Unset, StatusCode::Ok, StatusCode::Error];

fn put_span(out: &mut Vec<u8>, span: &Span) {
    out.extend_from_slice(span.origin.as_bytes());
    out.extend_from_slice(span.id.as_bytes());
    let (service, host) = span.resource.names();
    let named = span.service != service || span.host != host;
    let dropped = [
        span.dropped_attributes,
        span.dropped_events,
        span.dropped_links,
    ];
    let mut bits = span.kind as u64 | (span.status.code as u64) << has::CODE_SHIFT;
    let mut bit = |on: bool, bit: u64| bits |= if on { bit } else { 0 };
    bit(span.shared, has::SHARED);
    bit(span.parent.is_some(), has::PARENT);
    bit(span.start.is_some(), has::START);
    bit(span.duration_ns.is_some(), has::DURATION);
    bit(named, has::NAMES);
    bit(span.trace_state.is_some(), has::TRACE_STATE);
    bit(span.flags != 0, has::FLAGS);
    bit(span.status.message.is_some(), has::MESSAGE);
    bit(dropped != [0; 3], has::DROPPED);
    bit(!span.odd.is_empty(), has::ODD);
    bit(!span.events.is_empty(), has::EVENTS);
    bit(!span.links.is_empty(), has::LINKS);
    put_number(out, bits);
    if let Some(parent) = span.parent {
        out.extend_from_slice(parent.as_bytes());
    }
    if let Some(start) = span.start {
        out.extend_from_slice(&start.0.to_le_bytes());
    }
    if let Some(duration) = span.duration_ns {
        put_number(out, duration);
    }
    if named {
        put_text(out, &span.service);
        put_text(out, &span.host);
    }
    put_text(out, &span.name);
    if let Some(state) = &span.trace_state {
        put_text(out, state);
    }
    if span.flags != 0 {
        put_number(out, span.flags.into());
    }
    if let Some(message) = &span.status.message {
        put_text(out, message);
    }
    if dropped != [0; 3] {
        dropped
            .iter()
            .for_each(|&count| put_number(out, count.into()));
    }
    if !span.odd.is_empty() {
        put_number(out, span.odd.len() as u64);
        span.odd.iter().for_each(|odd| put_text(out, odd));
    }
    put_attributes(out, &span.attributes);
    if !span.events.is_empty() {
        put_number(out, span.events.len() as u64);
        for event in &span.events {
            out.extend_from_slice(&event.at.0.to_le_bytes());
            put_text(out, &event.name);
            put_attributes(out, &event.attributes);
            put_number(out, event.dropped_attributes.into());
        }
    }
    if !span.links.is_empty() {
        put_number(out, span.links.len() as u64);
        for link in &span.links {
            out.extend_from_slice(link.origin.as_bytes());
            out.extend_from_slice(link.id.as_bytes());
            put_optional(out, link.trace_state.as_ref());
            put_attributes(out, &link.attributes);
            put_number(out, link.dropped_attributes.into());
            put_number(out, link.flags.into());
        }
    }
}

fn put_resource(out: &mut Vec<u8>, resource: &Resource) {
    put_attributes(out, &resource.attributes);
    put_number(out, resource.dropped_attributes.into());
    put_optional(out, resource.schema_url.as_ref());
}

fn put_scope(out: &mut Vec<u8>, scope: &Scope) {
    put_text(out, &scope.name);
    put_text(out, &scope.version);
    put_attributes(out, &scope.attributes);
    put_number(out, scope.dropped_attributes.into());
    put_optional(out, scope.schema_url.as_ref());
}

fn put_attributes(out: &mut Vec<u8>, attributes: &Attributes) {
    put_number(out, attributes.len() as u64);
    out.extend_from_slice(attributes.packed());
}

/// FNV-1a, by eight bytes at a time: it tells apart what an accident made alike, and no more.
fn digest(bytes: &[u8]) -> u64 {
    bytes
        .chunks(8)
        .fold(0xcbf2_9ce4_8422_2325, |digest, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let mixed = (digest ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3);
            mixed ^ mixed >> 29
        })
}

fn put_part(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let mut part = Vec::new();
    put(&mut part);
    put_number(out, part.len() as u64);
    out.extend_from_slice(&part);
}

impl Reader<'_> {
    fn origin(&mut self) -> Read<Origin> {
        Origin::from_bytes(self.array()?).ok_or(Damaged("zero id"))
    }

    fn id(&mut self) -> Read<Interaction> {
        Interaction::from_bytes(self.array()?).ok_or(Damaged("zero id"))
    }

    fn time(&mut self) -> Read<Timestamp> {
        Ok(Timestamp(i64::from_le_bytes(self.array()?)))
    }

    fn resource(&mut self) -> Read<Resource> {
        Ok(Resource {
            attributes: self.attributes()?,
            dropped_attributes: self.small()?,
            schema_url: self.optional()?,
        })
    }

    fn scope(&mut self) -> Read<Scope> {
        Ok(Scope {
            name: self.text()?,
            version: self.text()?,
            attributes: self.attributes()?,
            dropped_attributes: self.small()?,
            schema_url: self.optional()?,
        })
    }

    fn span(&mut self, known: &Known, scope: &Arc<Scope>, part: Part) -> Read<Span> {
        let origin = self.origin()?;
        let id = self.id()?;
        let bits = self.number()?;
        if bits & !has::ALL != 0 {
            return Err(Damaged("bits"));
        }
        let has = |bit: u64| bits & bit != 0;
        let kind = KINDS.get((bits & has::KIND) as usize);
        let code = CODES.get((bits >> has::CODE_SHIFT & 0b11) as usize);
        let parent = has(has::PARENT).then(|| self.id()).transpose()?;
        let start = has(has::START).then(|| self.time()).transpose()?;
        let duration_ns = has(has::DURATION).then(|| self.number()).transpose()?;
        let (service, host) = match has(has::NAMES) {
            true => (self.text()?, self.text()?),
            false => (known.service.clone(), known.host.clone()),
        };
        let name = self.text()?;
        let trace_state = has(has::TRACE_STATE).then(|| self.text()).transpose()?;
        let flags = if has(has::FLAGS) { self.small()? } else { 0 };
        let message = has(has::MESSAGE).then(|| self.text()).transpose()?;
        let mut dropped = [0; 3];
        if has(has::DROPPED) {
            for count in &mut dropped {
                *count = self.small()?;
            }
        }
        let mut odd = Vec::new();
        if has(has::ODD) {
            for _ in 0..self.count()? {
                odd.push(self.text()?);
            }
        }
        let mut span = Span {
            origin,
            id,
            kind: *kind.ok_or(Damaged("kind"))?,
            service,
            host,
            parent,
            shared: has(has::SHARED),
            start,
            duration_ns,
            name,
            trace_state,
            flags,
            status: Status {
                code: *code.ok_or(Damaged("status"))?,
                message,
            },
            attributes: Attributes::new(),
            dropped_attributes: dropped[0],
            events: Vec::new(),
            dropped_events: dropped[1],
            links: Vec::new(),
            dropped_links: dropped[2],
            resource: known.resource.clone(),
            scope: scope.clone(),
            odd,
        };
        if part == Part::Tree {
            let rest = &self.bytes[self.at..];
            span.attributes = self.some_attributes(matters)?;
            // Twins that differ in what is left out stay apart.
            span.attributes
                .push((Text::default(), Value::Int(digest(rest) as i64)));
            self.at = self.bytes.len();
            return Ok(span);
        }
        span.attributes = self.attributes()?;
        if has(has::EVENTS) {
            for _ in 0..self.count()? {
                let event = self.event()?;
                span.events.push(event);
            }
        }
        if has(has::LINKS) {
            for _ in 0..self.count()? {
                let link = self.link()?;
                span.links.push(link);
            }
        }
        Ok(span)
    }

    fn event(&mut self) -> Read<Event> {
        Ok(Event {
            at: self.time()?,
            name: self.text()?,
            attributes: self.attributes()?,
            dropped_attributes: self.small()?,
        })
    }

    fn link(&mut self) -> Read<SpanLink> {
        Ok(SpanLink {
            origin: self.origin()?,
            id: self.id()?,
            trace_state: self.optional()?,
            attributes: self.attributes()?,
            dropped_attributes: self.small()?,
            flags: self.small()?,
        })
    }
}
