//! An identifier in the metadata of a message or of a gRPC call (D5): pairs of a key and a value,
//! as Kafka records, NATS messages, AMQP properties and gRPC metadata have them.
//!
//! Keys and values are those of the HTTP headers; all are ASCII, so gRPC carries them as ordinary
//! (not `-bin`) metadata. Keys are written in lower case, as gRPC demands, and read in any, as
//! some clients of NATS change it.

use super::{Extracted, Headers, Injected, b3};
use super::{REQUEST, TRACEPARENT, TRACESTATE};
use crate::Shape;

/// Bytes of `tracestate` that are read, over all pairs of that key. What is longer is dropped
/// whole, as one that breaks the grammar.
pub const TRACESTATE_MAX: usize = 8192;

/// Reads the pairs, B3's among them, as [`super::extract_wrapped`] reads headers. Pairs of other
/// keys are passed over. Of several with one key the last counts: who passes a message on adds
/// his behind what was there. Only several `tracestate` are one list.
#[must_use]
pub fn extract<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    continued: bool,
    shape: Shape,
) -> Extracted {
    let mut headers = Headers::default();
    let mut wrapped = b3::Headers::default();
    let mut states: Option<Vec<u8>> = None;
    for (key, value) in pairs {
        let is = |name: &str| key.eq_ignore_ascii_case(name);
        let place = if is(TRACESTATE) {
            let states = states.get_or_insert_default();
            if states.len() <= TRACESTATE_MAX {
                if !states.is_empty() {
                    states.push(b',');
                }
                // One byte over the limit is enough to tell.
                let room = (TRACESTATE_MAX + 1).saturating_sub(states.len());
                states.extend_from_slice(&value[..value.len().min(room)]);
            }
            continue;
        } else if is(REQUEST) {
            &mut headers.request
        } else if is(TRACEPARENT) {
            &mut headers.traceparent
        } else if is(b3::B3) {
            &mut wrapped.single
        } else if is(b3::TRACE_ID) {
            &mut wrapped.trace_id
        } else if is(b3::SPAN_ID) {
            &mut wrapped.span_id
        } else if is(b3::PARENT_SPAN_ID) {
            &mut wrapped.parent_span_id
        } else if is(b3::SAMPLED) {
            &mut wrapped.sampled
        } else if is(b3::FLAGS) {
            &mut wrapped.flags
        } else {
            continue;
        };
        *place = Some(value);
    }
    let oversized = states.as_ref().is_some_and(|s| s.len() > TRACESTATE_MAX);
    let states = states.filter(|_| !oversized);
    let headers = Headers {
        tracestate: states.as_deref(),
        ..headers
    };
    let mut out = super::extract_wrapped(headers, wrapped, continued, shape);
    out.tracestate_fault |= oversized;
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
