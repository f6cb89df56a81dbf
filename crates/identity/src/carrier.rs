//! How an identifier rides in a request (D5): as HTTP headers.

/// Header of the request identifier.
pub const REQUEST: &str = "selvedge-request";
/// Header of the session token, in requests from the gateway and in answers.
pub const SESSION: &str = "selvedge-session";
/// Header of the session token where the session is carried but not advanced: calls that a
/// content server makes while it handles a request.
pub const CARRIED: &str = "selvedge-carried";
/// Header of the signed client id.
pub const CLIENT: &str = "selvedge-client";
/// Header by which a caller names its service.
pub const CALLER: &str = "selvedge-caller";
/// W3C Trace Context.
pub const TRACEPARENT: &str = "traceparent";
/// W3C Trace Context.
pub const TRACESTATE: &str = "tracestate";

use crate::{IdentifierError, Interaction, RequestIdentifier, Shape, TraceParent, TraceStateError};

/// The identifying headers of one inbound request, as they came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// `selvedge-request`.
    pub request: Option<&'a [u8]>,
    /// `traceparent`.
    pub traceparent: Option<&'a [u8]>,
    /// `tracestate`; several header lines are joined by commas by the caller.
    pub tracestate: Option<&'a [u8]>,
}

/// What the headers of an inbound request say.
#[derive(Clone, Debug, Default)]
pub struct Extracted {
    /// The identifier to continue; `None`: this request is a new root.
    pub identifier: Option<RequestIdentifier>,
    /// The whole id of this interaction, where a header told all 8 bytes of it.
    pub interaction: Option<Interaction>,
    /// Trace flags to pass on (bit 0 sampled, bit 1 random); 3 for our own roots.
    pub flags: u8,
    /// A context from a source that is not to be continued (or that disagrees with the native
    /// one): it becomes a link on the entry.
    pub link: Option<TraceParent>,
    /// The other members of `tracestate`, to be passed on behind ours.
    pub tracestate: Option<String>,
    /// The native identifier was refused.
    pub native_fault: Option<IdentifierError>,
    /// The `sv` member was refused.
    pub sv_fault: Option<TraceStateError>,
    /// `traceparent` was there and malformed.
    pub traceparent_fault: bool,
    /// Native header and `traceparent` disagreed; the native one won.
    pub disagree: bool,
    /// A hop between passed `sv` on without adding itself: `sv`'s newest id is not the parent-id.
    pub ignored_hop: bool,
}

/// Reads the headers. `continued`: whether a `traceparent` from this source may be continued
/// (design: by default from private networks and loopback only).
#[must_use]
pub fn extract(headers: Headers<'_>, continued: bool, shape: Shape) -> Extracted {
    let _ = (headers, continued, shape);
    todo!("identity helper")
}

/// The header values of an outbound request.
#[derive(Clone, Debug)]
pub struct Injected {
    /// `selvedge-request`.
    pub request: arrayvec::ArrayString<{ RequestIdentifier::TEXT_MAX }>,
    /// `traceparent`.
    pub traceparent: arrayvec::ArrayString<55>,
    /// `tracestate`: our member first, then the others that came (at most 32 members).
    pub tracestate: String,
}

/// Writes the headers of an outbound request whose identifier is `identifier` and whose whole
/// interaction id is `interaction`.
#[must_use]
pub fn inject(
    identifier: &RequestIdentifier,
    interaction: Interaction,
    flags: u8,
    tracestate: Option<&str>,
) -> Injected {
    let _ = (identifier, interaction, flags, tracestate);
    todo!("identity helper")
}
