//! An identifier in the metadata of a message or of a gRPC call (D5): pairs of a key and a value,
//! as Kafka records, NATS messages, AMQP properties and gRPC metadata have them.
//!
//! Keys and values are those of the HTTP headers; all are ASCII, so gRPC carries them as ordinary
//! (not `-bin`) metadata. Keys are written in lower case, as gRPC demands, and read in any, as
//! some clients of NATS change it.

use super::reference::REFERENCE;
use super::{CALLER, CARRIED, REQUEST, TRACEPARENT, TRACESTATE};
use super::{Extracted, Headers, Injected, b3};
use crate::Shape;

/// Bytes of `tracestate` that are read, over all pairs of that key. What is longer is dropped
/// whole, as one that breaks the grammar.
pub const TRACESTATE_MAX: usize = 8192;

/// Our pairs among those of a message or a call, as they came.
#[derive(Clone, Debug, Default)]
pub struct Pairs<'a> {
    request: Option<&'a [u8]>,
    traceparent: Option<&'a [u8]>,
    tracestate: Option<Vec<u8>>,
    /// B3's.
    pub b3: b3::Headers<'a>,
    /// [`super::CARRIED`].
    pub carried: Option<&'a [u8]>,
    /// [`super::CALLER`].
    pub caller: Option<&'a [u8]>,
    /// [`super::reference::REFERENCE`].
    pub reference: Option<&'a [u8]>,
    /// `tracestate` was longer than [`TRACESTATE_MAX`] and is dropped whole.
    pub oversized: bool,
}

impl<'a> Pairs<'a> {
    /// Finds them. Pairs of other keys are passed over. Of several with one key the last counts:
    /// who passes a message on adds his behind what was there. Only several `tracestate` are one
    /// list.
    #[must_use]
    pub fn read(pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut found = Self::default();
        for (key, value) in pairs {
            let is = |name: &str| key.eq_ignore_ascii_case(name);
            let place = if is(TRACESTATE) {
                found.add_state(value);
                continue;
            } else if is(REQUEST) {
                &mut found.request
            } else if is(TRACEPARENT) {
                &mut found.traceparent
            } else if is(CARRIED) {
                &mut found.carried
            } else if is(CALLER) {
                &mut found.caller
            } else if is(REFERENCE) {
                &mut found.reference
            } else if is(b3::B3) {
                &mut found.b3.single
            } else if is(b3::TRACE_ID) {
                &mut found.b3.trace_id
            } else if is(b3::SPAN_ID) {
                &mut found.b3.span_id
            } else if is(b3::PARENT_SPAN_ID) {
                &mut found.b3.parent_span_id
            } else if is(b3::SAMPLED) {
                &mut found.b3.sampled
            } else if is(b3::FLAGS) {
                &mut found.b3.flags
            } else {
                continue;
            };
            *place = Some(value);
        }
        found.oversized = found
            .tracestate
            .take_if(|state| state.len() > TRACESTATE_MAX)
            .is_some();
        found
    }

    /// The identifying ones, as headers.
    #[must_use]
    pub fn headers(&self) -> Headers<'_> {
        Headers {
            request: self.request,
            traceparent: self.traceparent,
            tracestate: self.tracestate.as_deref(),
        }
    }

    fn add_state(&mut self, value: &[u8]) {
        let states = self.tracestate.get_or_insert_default();
        if states.len() <= TRACESTATE_MAX {
            if !states.is_empty() {
                states.push(b',');
            }
            // One byte over the limit is enough to tell.
            let room = (TRACESTATE_MAX + 1).saturating_sub(states.len());
            states.extend_from_slice(&value[..value.len().min(room)]);
        }
    }
}

/// Reads the pairs, B3's among them, as [`super::extract_wrapped`] reads headers. See
/// [`Pairs::read`] for which count.
#[must_use]
pub fn extract<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    continued: bool,
    shape: Shape,
) -> Extracted {
    let pairs = Pairs::read(pairs);
    let mut out = super::extract_wrapped(pairs.headers(), pairs.b3, continued, shape);
    out.tracestate_fault |= pairs.oversized;
    out
}

/// Gives each pair to `write`, which must put it in place of any with its key.
pub fn inject(injected: &Injected, mut write: impl FnMut(&'static str, &str)) {
    write(REQUEST, &injected.request);
    write(TRACEPARENT, &injected.traceparent);
    write(TRACESTATE, &injected.tracestate);
}

/// As [`inject`], for B3 in several headers.
pub fn inject_b3(injected: &b3::Injected, mut write: impl FnMut(&'static str, &str)) {
    write(b3::TRACE_ID, &injected.trace_id);
    write(b3::SPAN_ID, &injected.span_id);
    if let Some(parent) = &injected.parent_span_id {
        write(b3::PARENT_SPAN_ID, parent);
    }
    if let Some(sampled) = injected.sampled {
        write(b3::SAMPLED, sampled);
    }
    if let Some(flags) = injected.flags {
        write(b3::FLAGS, flags);
    }
}
