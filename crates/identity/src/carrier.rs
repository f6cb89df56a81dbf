//! How an identifier rides in a request (D5): as HTTP headers; as pairs of a message's or a
//! gRPC call's metadata ([`metadata`]), which have the same names and values; in a SOAP header
//! ([`soap`]); beside it as a message of its own ([`separate`]); or by [`reference`](mod@reference).
//! Wrapped for systems of other forms ([`b3`], D15).
//!
//! It rides twice: in the native header, and in W3C Trace Context (E2), so that services that
//! only speak OpenTelemetry carry it too. What comes in may be damaged, forged, half there or in
//! disagreement; [`extract`] makes of it one identifier to continue, or none, and says what was
//! wrong. It never fails: a request with bad headers is served as a new root.

pub mod b3;
pub mod metadata;
pub mod reference;
pub mod separate;
pub mod soap;

use crate::w3c::{FLAGS_KNOWN, StateText, TraceState, sv, trim};
use crate::wire::HeaderText;
use crate::{
    IdentifierError, Interaction, Origin, RequestIdentifier, STACK_MAX, Shape, StackId,
    TraceParent, TraceStateError,
};

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

impl Extracted {
    /// As new, but for the identifier, which stays as a place to fill in.
    fn clear(&mut self) {
        let Self {
            identifier: _,
            interaction,
            flags,
            link,
            tracestate,
            corrected,
            native_fault,
            sv_fault,
            tracestate_fault,
            traceparent_fault,
            b3,
            b3_fault,
            disagree,
            ignored_hop,
        } = self;
        *interaction = None;
        *flags = 0;
        *link = None;
        *tracestate = None;
        *native_fault = None;
        *sv_fault = None;
        *b3 = None;
        for fault in [
            corrected,
            tracestate_fault,
            traceparent_fault,
            b3_fault,
            disagree,
            ignored_hop,
        ] {
            *fault = false;
        }
    }

    /// The place of the identifier, empty: identifiers are big to move.
    fn place(&mut self, origin: Origin, k: u8) -> &mut RequestIdentifier {
        let place = &mut self.identifier;
        let id = place.get_or_insert_with(|| RequestIdentifier::unfilled(origin, k));
        id.unfill(origin, k);
        id
    }
}

/// The value of a header that may stand in a request once only, of all that came with its name:
/// where there are several, none can be told to be the right one, and what is given is malformed.
#[must_use]
pub fn sole<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let mut values = values.into_iter();
    let first = values.next();
    if values.next().is_some() {
        return Some(b"");
    }
    first
}

/// What the headers of an inbound request say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// One damaged character of the native identifier was repaired ([`extract_correcting`]).
    pub corrected: bool,
    /// The native identifier was refused.
    pub native_fault: Option<IdentifierError>,
    /// The `sv` member was refused.
    pub sv_fault: Option<TraceStateError>,
    /// `tracestate` broke its grammar and was dropped whole (with `sv`).
    pub tracestate_fault: bool,
    /// `traceparent` was there and malformed.
    pub traceparent_fault: bool,
    /// What B3 headers said beside their ids, for [`b3::inject`] to write back the same; `None`
    /// where there were none, or a `traceparent` took their place.
    pub b3: Option<b3::Form>,
    /// B3 headers were there and malformed.
    pub b3_fault: bool,
    /// Native header and `traceparent` disagreed; the native one won.
    pub disagree: bool,
    /// A hop between passed `sv` on without adding itself: `sv`'s newest id is not the parent-id.
    pub ignored_hop: bool,
}

/// Trace flags of our own roots: sampled, and an origin whose low bytes are random.
pub const FLAGS_OF_ROOT: u8 = FLAGS_KNOWN;

/// Reads the headers. `continued`: whether identifiers from this source may be continued (design:
/// by default from private networks and loopback only). From others the native header is not
/// looked at, and `traceparent` becomes a link on a new root.
///
/// - The native header wins if its check holds. Where `traceparent` names the same origin and an
///   interaction that begins as the native one, it gives the whole interaction id, the flags and
///   the other members of `tracestate`. Else the two disagree: `traceparent` becomes a link (its
///   flags and members are still passed on where only the interaction differs).
/// - Without it, `traceparent` with a valid `sv` whose newest id is the parent-id gives the whole
///   stack.
/// - Where `sv`'s newest id is not the parent-id, at least one hop between passed `sv` on without
///   adding itself. Then the identifier is `sv`'s, advanced by the parent-id, as if exactly one
///   hop had done so: the depth is a lower bound, and the two newest ids may not be neighbours
///   (`ignored_hop`).
/// - `traceparent` alone gives a stack of its parent-id at depth 1, also a lower bound.
#[must_use]
#[inline]
pub fn extract(headers: Headers<'_>, continued: bool, shape: Shape) -> Extracted {
    extract_wrapped(headers, b3::Headers::default(), continued, shape)
}

/// As [`extract`], where B3 headers may have come too (D15). They are read only where there is no
/// valid `traceparent`, and then stand in its place, so that one who speaks both is not taken for
/// two. They have no `sv` member: without the native header the stack is their span id, and
/// before it the parent span's where it is told; the depth is 1, a lower bound.
#[must_use]
#[inline]
pub fn extract_wrapped(
    headers: Headers<'_>,
    b3: b3::Headers<'_>,
    continued: bool,
    shape: Shape,
) -> Extracted {
    let mut out = Extracted::default();
    extract_by(&mut out, headers, b3, continued, shape, |value, id| {
        id.parse_to(value).map(|()| false)
    });
    out
}

/// As [`extract_wrapped`], into the place of another.
pub fn extract_to(
    out: &mut Extracted,
    headers: Headers<'_>,
    b3: b3::Headers<'_>,
    continued: bool,
    shape: Shape,
) {
    out.clear();
    extract_by(out, headers, b3, continued, shape, |value, id| {
        id.parse_to(value).map(|()| false)
    });
}

/// As [`extract_wrapped`], with error correction of the native header: see
/// [`RequestIdentifier::parse_correcting`].
#[must_use]
pub fn extract_correcting(
    headers: Headers<'_>,
    b3: b3::Headers<'_>,
    continued: bool,
    shape: Shape,
) -> Extracted {
    let mut out = Extracted::default();
    extract_by(&mut out, headers, b3, continued, shape, |value, id| {
        let corrected;
        (*id, corrected) = RequestIdentifier::parse_correcting(value)?;
        Ok(corrected)
    });
    out
}

/// Fills `out`, which is as new: in its place, for all of it is big to move.
fn extract_by(
    out: &mut Extracted,
    headers: Headers<'_>,
    b3: b3::Headers<'_>,
    continued: bool,
    shape: Shape,
    read: impl Fn(&[u8], &mut RequestIdentifier) -> Result<bool, IdentifierError>,
) {
    out.flags = FLAGS_OF_ROOT;
    let traceparent = headers
        .traceparent
        .and_then(|value| TraceParent::read(trim(value)));
    out.traceparent_fault = headers.traceparent.is_some() && traceparent.is_none();
    let wrapped;
    let (parent, before) = match &traceparent {
        Some((parent, _)) => (Some(parent), None),
        None => {
            wrapped = b3::read(b3, out);
            (wrapped.parent.as_ref(), wrapped.before)
        }
    };
    if !continued {
        out.link = parent.copied();
        out.b3 = None;
        out.identifier = None;
        return;
    }

    let mut native = false;
    if let Some(value) = headers.request {
        match read(trim(value), out.place(Origin::PLACEHOLDER, 1)) {
            Ok(corrected) => {
                out.corrected = corrected;
                native = true;
            }
            Err(fault) => {
                out.native_fault = Some(fault);
            }
        }
    }
    // The specification: without a valid traceparent, tracestate is not looked at.
    let state = traceparent.and_then(|(_, origin)| Some((headers.tracestate?, origin)));

    match (native, parent) {
        (true, parent) => continue_native(out, parent, state.map(|(list, _)| list)),
        (false, Some(parent)) => continue_parent(out, parent, before, state, shape),
        (false, None) => {
            out.flags = out.b3.map_or(FLAGS_OF_ROOT, b3::Form::flags_of_root);
            out.identifier = None;
        }
    }
}

/// Reads a `tracestate`, and notes whether it broke the grammar.
fn read_state<'a>(out: &mut Extracted, list: &'a [u8]) -> TraceState<'a> {
    let state = TraceState::parse(list);
    out.tracestate_fault = state.is_none();
    state.unwrap_or_default()
}

/// The native identifier is there and whole. `list`: the `tracestate`.
fn continue_native(out: &mut Extracted, parent: Option<&TraceParent>, list: Option<&[u8]>) {
    let state = list.map_or_else(TraceState::default, |list| read_state(out, list));
    let Some(native) = &out.identifier else {
        return;
    };
    let own = native.own();
    let same_origin = parent.filter(|p| p.origin == native.origin());
    if let Some(parent) = same_origin {
        out.flags = parent.flags;
        out.tracestate = state.passed_on();
    }
    let same = same_origin.filter(|p| own.matches(&p.interaction.into()));
    out.interaction = match same {
        Some(parent) => Some(parent.interaction),
        None => own.whole(),
    };
    if same.is_none() {
        out.disagree = parent.is_some();
        out.link = parent.copied();
    }
}

/// A `tracestate`, and the text of the origin of the `traceparent` that it came with.
type State<'a> = (&'a [u8], &'a [u8; Origin::TEXT_LENGTH]);

/// Only Trace Context or B3 is there. `before`: the interaction before the parent's, which B3 may
/// tell.
fn continue_parent(
    out: &mut Extracted,
    parent: &TraceParent,
    before: Option<Interaction>,
    state: Option<State<'_>>,
    shape: Shape,
) {
    out.flags = parent.flags;
    out.interaction = Some(parent.interaction);
    let k = shape.k.clamp(1, STACK_MAX as u8);
    if let Some((list, origin)) = state {
        // Nearly always our member stands alone. Then the grammar needs no look: whatever is
        // read as our member keeps to it.
        if let Some(alone) = list.strip_prefix(b"sv=")
            && sv::read(alone, origin, out.place(parent.origin, k)).is_ok()
        {
            return continue_sv(out, parent, shape);
        }
        if continue_member(out, parent, (list, origin), shape) {
            return;
        }
    }
    let id = out.place(parent.origin, k);
    id.depth = 1;
    if let Some(before) = before.filter(|_| k > 1) {
        id.stack.push(StackId::of(before, shape.width));
    }
    id.stack.push(StackId::of(parent.interaction, shape.width));
}

/// Continues by our member of any `tracestate`; `false` where it has none to continue by.
#[inline(never)]
fn continue_member(
    out: &mut Extracted,
    parent: &TraceParent,
    (list, origin): State<'_>,
    shape: Shape,
) -> bool {
    let state = read_state(out, list);
    out.tracestate = state.passed_on();
    let Some(value) = state.sv else {
        return false;
    };
    let read = sv::read(value, origin, out.place(parent.origin, shape.k));
    out.sv_fault = read.err();
    if read.is_ok() {
        continue_sv(out, parent, shape);
    }
    read.is_ok()
}

/// `out` has the identifier of an `sv` member that came beside `parent`.
#[inline]
fn continue_sv(out: &mut Extracted, parent: &TraceParent, shape: Shape) {
    let Some(id) = &mut out.identifier else {
        return;
    };
    out.ignored_hop = !id.own().matches(&parent.interaction.into());
    if out.ignored_hop {
        advance_in_place(id, parent.interaction, shape);
    }
}

#[inline(never)]
fn advance_in_place(id: &mut RequestIdentifier, own: Interaction, shape: Shape) {
    *id = id.advance(own, shape);
}

/// The header values of an outbound request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected {
    /// `selvedge-request`.
    pub request: HeaderText<{ RequestIdentifier::TEXT_MAX }>,
    /// `traceparent`.
    pub traceparent: HeaderText<55>,
    /// `tracestate`: our member first, then the others that came (at most 32 members).
    pub tracestate: StateText,
}

/// Writes the headers of an outbound request whose identifier is `identifier` and whose whole
/// interaction id is `interaction`, of which the identifier's own id is a prefix. `tracestate`:
/// the other members, as [`extract`] gave them. Allocates only where there are such.
#[must_use]
#[inline]
pub fn inject(
    identifier: &RequestIdentifier,
    interaction: Interaction,
    flags: u8,
    tracestate: Option<&str>,
) -> Injected {
    let TraceContext {
        traceparent,
        tracestate,
    } = inject_trace_context(identifier, interaction, flags, tracestate);
    Injected {
        request: identifier.encode(),
        traceparent,
        tracestate,
    }
}

/// W3C Trace Context of an outbound request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// `traceparent`.
    pub traceparent: HeaderText<55>,
    /// `tracestate`: our member first, then the others that came (at most 32 members).
    pub tracestate: StateText,
}

/// As [`inject`], Trace Context alone: for a receiver that reads no more.
#[must_use]
#[inline]
pub fn inject_trace_context(
    identifier: &RequestIdentifier,
    interaction: Interaction,
    flags: u8,
    tracestate: Option<&str>,
) -> TraceContext {
    let mut out = TraceContext::default();
    inject_trace_context_to(&mut out, identifier, interaction, flags, tracestate);
    out
}

/// As [`inject_trace_context`], into the place of another.
pub fn inject_trace_context_to(
    out: &mut TraceContext,
    identifier: &RequestIdentifier,
    interaction: Interaction,
    flags: u8,
    tracestate: Option<&str>,
) {
    let parent = TraceParent {
        origin: identifier.origin(),
        interaction,
        flags,
    };
    let origin = parent.put(&mut out.traceparent);
    out.tracestate.put(identifier, &origin, tracestate);
}
