//! W3C Trace Context: `traceparent`, `tracestate`, and our member `sv` of the latter (E2).
//!
//! The same identifier as in the native header, in a form that services which only speak
//! OpenTelemetry pass on unchanged: `traceparent` says the origin and this request's own
//! interaction, `sv` says depth and stack.

mod parent;
mod state;
pub(crate) mod sv;

pub use parent::{TraceParent, TraceParentError};
pub(crate) use parent::{ids_text, read_ids};
pub use state::{StateText, TraceState};
pub use sv::TraceStateError;

/// The bits of the trace flags that we know: 0 sampled, 1 random. Others are not passed on, as
/// the specification asks.
pub(crate) const FLAGS_KNOWN: u8 = 0b11;

/// The same text without the optional white space of HTTP (space, tab) around it.
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
