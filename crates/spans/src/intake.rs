//! What a reader hands back: the good spans, and why the others were refused.
//!
//! One bad span never costs its neighbours: it is refused with a reason that is counted, as OTLP's
//! partial success asks. Only an input that cannot be taken apart at all is an error.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvedge_entry::{Text, Timestamp};
use selvedge_identity::{Interaction, Origin};
use thiserror::Error;

use crate::{Attributes, Resource, Scope, Span};

/// The longest input that is read at once, in bytes.
pub const INPUT_BYTES_MAX: usize = 256 << 20;

/// The longest text in a span (an attribute's value, a name), in bytes; it is kept whole.
pub const TEXT_BYTES_MAX: usize = 64 << 10;

/// The most attributes, events or links that a span has.
pub const PARTS_MAX: usize = 4096;

/// 2200-01-01, in nanoseconds since the Unix epoch.
const TIME_MAX: i64 = 7_258_118_400 * 1_000_000_000;

/// Why a span was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Its trace id or its own id is missing or zero.
    ZeroId,
    /// An id is not of its form.
    BadId,
    /// It names itself as its parent.
    SelfParent,
    /// It began or ended before 1970 or after 2200.
    TimeOutOfRange,
    /// It ended before it began.
    NegativeDuration,
    /// A text in it is longer than [`TEXT_BYTES_MAX`].
    OversizedText,
    /// It has more than [`PARTS_MAX`] attributes, events or links.
    TooManyParts,
    /// It cannot be read: a part of the wrong type, a name that is not UTF-8, values nested too
    /// deep.
    Malformed,
}

impl Refusal {
    /// Its name in counts, as in `zero_id`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ZeroId => "zero_id",
            Self::BadId => "bad_id",
            Self::SelfParent => "self_parent",
            Self::TimeOutOfRange => "time_out_of_range",
            Self::NegativeDuration => "negative_duration",
            Self::OversizedText => "oversized_text",
            Self::TooManyParts => "too_many_parts",
            Self::Malformed => "malformed",
        }
    }
}

/// Why nothing of an input could be read. Sending it again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpanError {
    /// Longer than [`INPUT_BYTES_MAX`].
    #[error("{0} bytes of spans at once; send at most {INPUT_BYTES_MAX}")]
    TooLarge(usize),
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// Not of the format.
    #[error("not {format}: {fault}")]
    Format {
        /// The format that was expected.
        format: &'static str,
        /// What is wrong, and where.
        fault: &'static str,
    },
    /// Of no format known here.
    #[error("neither OTLP (JSON or protobuf), nor Zipkin v2 JSON, nor Jaeger JSON")]
    Unknown,
}

/// Spans that were read, and how many were refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intake {
    /// The good ones, in the order they lay.
    pub spans: Vec<Span>,
    /// How many were refused, by reason.
    pub refused: BTreeMap<Refusal, u64>,
}

impl Intake {
    /// How many were refused in all.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Adds another's spans and counts.
    pub fn append(&mut self, other: Self) {
        self.spans.extend(other.spans);
        for (reason, count) in other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
    }

    /// Gives the spans from number `first` on the scope of a maker.
    pub(crate) fn set_scope(&mut self, first: usize, maker: &Maker) {
        if let Err(reason) = maker.fit {
            let refused = self.spans.drain(first..).count() as u64;
            *self.refused.entry(reason).or_default() += refused;
        }
        for span in &mut self.spans[first..] {
            span.scope = maker.scope.clone();
        }
    }

    /// Takes a span that was read, if nothing about it is wrong.
    pub(crate) fn take(&mut self, read: Result<Span, Refusal>) {
        match read.and_then(checked) {
            Ok(span) => self.spans.push(span),
            Err(reason) => *self.refused.entry(reason).or_default() += 1,
        }
    }
}

/// # Errors
/// When the input is too long.
pub(crate) fn check_length(input: &[u8]) -> Result<(), SpanError> {
    if input.len() > INPUT_BYTES_MAX {
        return Err(SpanError::TooLarge(input.len()));
    }
    Ok(())
}

/// What holds for a span of every format.
fn checked(span: Span) -> Result<Span, Refusal> {
    if span.parent == Some(span.id) {
        return Err(Refusal::SelfParent);
    }
    let parts = [span.attributes.len(), span.events.len(), span.links.len()];
    let inner = span.events.iter().map(|event| event.attributes.len());
    let linked = span.links.iter().map(|link| link.attributes.len());
    if parts
        .into_iter()
        .chain(inner)
        .chain(linked)
        .any(|n| n > PARTS_MAX)
    {
        return Err(Refusal::TooManyParts);
    }
    if longest(&span) > TEXT_BYTES_MAX {
        return Err(Refusal::OversizedText);
    }
    Ok(span)
}

fn longest(span: &Span) -> usize {
    let events = span
        .events
        .iter()
        .map(|event| event.name.len().max(of(&event.attributes)));
    let links = span
        .links
        .iter()
        .map(|link| optional(&link.trace_state).max(of(&link.attributes)));
    [
        span.name.len(),
        optional(&span.trace_state),
        optional(&span.status.message),
        of(&span.attributes),
    ]
    .into_iter()
    .chain(events)
    .chain(links)
    .max()
    .unwrap_or(0)
}

fn of(attributes: &Attributes) -> usize {
    attributes.longest(TEXT_BYTES_MAX)
}

fn optional(text: &Option<Text>) -> usize {
    text.as_ref().map_or(0, |text| text.len())
}

/// Makes the spans of one resource and scope. These are looked through once, however many spans
/// they have.
#[derive(Clone)]
pub(crate) struct Maker {
    resource: Arc<Resource>,
    scope: Arc<Scope>,
    service: Text,
    host: Text,
    /// Whether resource and scope are within their bounds.
    fit: Result<(), Refusal>,
}

impl Maker {
    pub(crate) fn new(resource: Resource) -> Self {
        let (service, host) = resource.names();
        let longest = of(&resource.attributes).max(optional(&resource.schema_url));
        Self {
            fit: fits(resource.attributes.len(), longest),
            resource: Arc::new(resource),
            scope: Arc::default(),
            service,
            host,
        }
    }

    /// The same resource's, of this scope.
    pub(crate) fn of_scope(&self, scope: Scope) -> Self {
        let texts = [
            of(&scope.attributes),
            scope.name.len(),
            scope.version.len(),
            optional(&scope.schema_url),
        ];
        let longest = texts.into_iter().max().unwrap_or(0);
        Self {
            fit: self.fit.and(fits(scope.attributes.len(), longest)),
            scope: Arc::new(scope),
            ..self.clone()
        }
    }

    pub(crate) fn span(&self, origin: Origin, id: Interaction) -> Result<Span, Refusal> {
        self.fit?;
        let names = (self.service.clone(), self.host.clone());
        let (resource, scope) = (self.resource.clone(), self.scope.clone());
        Ok(Span::named(origin, id, names, resource, scope))
    }
}

fn fits(parts: usize, longest: usize) -> Result<(), Refusal> {
    match () {
        () if parts > PARTS_MAX => Err(Refusal::TooManyParts),
        () if longest > TEXT_BYTES_MAX => Err(Refusal::OversizedText),
        () => Ok(()),
    }
}

/// A trace id of 16 bytes.
pub(crate) fn origin(bytes: &[u8]) -> Result<Origin, Refusal> {
    match bytes {
        [] => Err(Refusal::ZeroId),
        _ => {
            Origin::from_bytes(bytes.try_into().map_err(|_| Refusal::BadId)?).ok_or(Refusal::ZeroId)
        }
    }
}

/// A span id of 8 bytes.
pub(crate) fn interaction(bytes: &[u8]) -> Result<Interaction, Refusal> {
    match bytes {
        [] => Err(Refusal::ZeroId),
        _ => Interaction::from_bytes(bytes.try_into().map_err(|_| Refusal::BadId)?)
            .ok_or(Refusal::ZeroId),
    }
}

/// A parent's id: none where it is empty or zero.
pub(crate) fn parent(bytes: &[u8]) -> Result<Option<Interaction>, Refusal> {
    match interaction(bytes) {
        Ok(id) => Ok(Some(id)),
        Err(Refusal::ZeroId) => Ok(None),
        Err(other) => Err(other),
    }
}

/// A time within 1970 and 2200.
pub(crate) fn time(ns: impl TryInto<i64>) -> Result<Timestamp, Refusal> {
    let ns = ns.try_into().map_err(|_| Refusal::TimeOutOfRange)?;
    if !(0..=TIME_MAX).contains(&ns) {
        return Err(Refusal::TimeOutOfRange);
    }
    Ok(Timestamp(ns))
}

/// Sets start and duration from a start and an end in nanoseconds, where 0 is "not known".
pub(crate) fn set_times(span: &mut Span, start: u64, end: u64) -> Result<(), Refusal> {
    let from = time(start)?;
    time(end)?;
    if start == 0 {
        return Ok(());
    }
    span.start = Some(from);
    if end != 0 {
        let duration = end.checked_sub(start).ok_or(Refusal::NegativeDuration)?;
        span.duration_ns = Some(duration);
    }
    Ok(())
}
