//! B3 headers, for systems that identify requests as Zipkin does (D15): in one header `b3`, or
//! in several that begin with `x-b3-`.
//!
//! They say what `traceparent` says, with three differences. A trace id may have 64 bits: it is
//! read with zeros before it, and written back with 64. The sampling decision may be left open or
//! be "debug". And the interaction before this one (the parent span) may be told, which gives the
//! stack a second id. There is no room for a longer stack or for a depth.
//!
//! Read strictly, as nothing checks these values: where one of them is not of its form, all are
//! refused. Drawn in `docs/formats/carriers.md`.

use super::{Extracted, FLAGS_OF_ROOT};
use crate::w3c::{ids_text, read_ids, trim};
use crate::wire::{HeaderText, hex};
use crate::{Interaction, Origin, RequestIdentifier, TraceParent};

/// All in one header.
pub const B3: &str = "b3";
/// The trace id: our origin.
pub const TRACE_ID: &str = "x-b3-traceid";
/// The span id: our interaction.
pub const SPAN_ID: &str = "x-b3-spanid";
/// The interaction before it.
pub const PARENT_SPAN_ID: &str = "x-b3-parentspanid";
/// The sampling decision.
pub const SAMPLED: &str = "x-b3-sampled";
/// `1`: debug.
pub const FLAGS: &str = "x-b3-flags";

/// The B3 headers of one inbound request, as they came. [`Self::single`] wins where it is whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// `b3`.
    pub single: Option<&'a [u8]>,
    /// `x-b3-traceid`.
    pub trace_id: Option<&'a [u8]>,
    /// `x-b3-spanid`.
    pub span_id: Option<&'a [u8]>,
    /// `x-b3-parentspanid`.
    pub parent_span_id: Option<&'a [u8]>,
    /// `x-b3-sampled`.
    pub sampled: Option<&'a [u8]>,
    /// `x-b3-flags`.
    pub flags: Option<&'a [u8]>,
}

/// The names of all headers of B3.
pub const NAMES: [&str; 6] = [B3, TRACE_ID, SPAN_ID, PARENT_SPAN_ID, SAMPLED, FLAGS];

/// Whether a header of this name is one of B3's.
#[must_use]
pub fn is_name(name: &[u8]) -> bool {
    // Nearly all names end the test at their first letter.
    matches!(name.first(), Some(b'b' | b'B' | b'x' | b'X'))
        && NAMES
            .iter()
            .any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
}

impl<'a> Headers<'a> {
    /// Finds them among all headers of a request. Of several with one name the first counts.
    #[must_use]
    pub fn among(headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut found = Self::default();
        for (name, value) in headers.into_iter().filter(|(name, _)| is_name(name)) {
            let is = |own: &str| name.eq_ignore_ascii_case(own.as_bytes());
            let place = if is(B3) {
                &mut found.single
            } else if is(TRACE_ID) {
                &mut found.trace_id
            } else if is(SPAN_ID) {
                &mut found.span_id
            } else if is(PARENT_SPAN_ID) {
                &mut found.parent_span_id
            } else if is(SAMPLED) {
                &mut found.sampled
            } else {
                &mut found.flags
            };
            place.get_or_insert(value);
        }
        found
    }
}

/// Whether a request is to be recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sampling {
    /// Not decided: the receiver does.
    #[default]
    Deferred,
    /// It is not.
    Denied,
    /// It is.
    Accepted,
    /// It is, and every later sampler shall keep it.
    Debug,
}

/// What B3 headers say beside their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// The sampling decision.
    pub sampling: Sampling,
    /// The trace id came with 64 bits and is written back so.
    pub short_origin: bool,
}

impl Form {
    /// The form of a request whose trace flags are `flags`, where no B3 headers came in.
    #[must_use]
    pub fn of_flags(flags: u8) -> Self {
        Self {
            sampling: if flags & 1 == 1 {
                Sampling::Accepted
            } else {
                Sampling::Denied
            },
            short_origin: false,
        }
    }

    /// Trace flags of the same decision. One left open is ours, and we record. Whether a strange
    /// origin is random is not known.
    fn flags(self) -> u8 {
        u8::from(self.sampling != Sampling::Denied)
    }

    /// Trace flags of a new root under this decision: its origin is our own.
    pub(super) fn flags_of_root(self) -> u8 {
        FLAGS_OF_ROOT & !1 | self.flags()
    }
}

/// What B3 headers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Context {
    /// Trace id, span id and flags.
    pub(super) parent: Option<TraceParent>,
    /// The parent span, if told.
    pub(super) before: Option<Interaction>,
    form: Form,
}

/// Reads the headers, and notes in `out` their form, and whether they were malformed. A malformed
/// `b3` does not keep whole `x-b3-` headers from being read.
pub(super) fn read(headers: Headers<'_>, out: &mut Extracted) -> Context {
    let single = headers.single.map(|value| read_single(trim(value)));
    out.b3_fault = single == Some(None);
    let found = match single.flatten() {
        Some(context) => {
            out.b3_fault |= read_multi(headers) == Some(None);
            context
        }
        None => match read_multi(headers) {
            Some(Some(context)) => context,
            Some(None) => {
                out.b3_fault = true;
                return Context::default();
            }
            None => return Context::default(),
        },
    };
    out.b3 = Some(found.form);
    found
}

/// `<trace>-<span>[-<sampling>][-<parent>]`, or the sampling alone.
fn read_single(value: &[u8]) -> Option<Context> {
    if let &[sampling] = value {
        return context(None, None, sampling_of(sampling)?);
    }
    let trace_length = if value.get(16) == Some(&b'-') { 16 } else { 32 };
    let (trace_id, rest) = value.split_at_checked(trace_length)?;
    let (span_id, rest) = rest.strip_prefix(b"-")?.split_at_checked(16)?;
    let (sampling, parent) = match rest {
        [] => (Sampling::Deferred, None),
        [b'-', sampling] => (sampling_of(*sampling)?, None),
        [b'-', sampling, b'-', parent @ ..] => (sampling_of(*sampling)?, Some(parent)),
        // Some tracers leave out an open decision before the parent.
        [b'-', parent @ ..] => (Sampling::Deferred, Some(parent)),
        _ => return None,
    };
    context(Some((trace_id, span_id)), parent, sampling)
}

fn sampling_of(character: u8) -> Option<Sampling> {
    match character {
        b'0' => Some(Sampling::Denied),
        b'1' => Some(Sampling::Accepted),
        b'd' => Some(Sampling::Debug),
        _ => None,
    }
}

/// Reads the `x-b3-` headers: `None` if there are none, `Some(None)` if they are malformed.
fn read_multi(headers: Headers<'_>) -> Option<Option<Context>> {
    let [trace_id, span_id, parent, sampled, flags] = [
        headers.trace_id,
        headers.span_id,
        headers.parent_span_id,
        headers.sampled,
        headers.flags,
    ]
    .map(|value| value.map(trim));
    trace_id.or(span_id).or(parent).or(sampled).or(flags)?;
    let ids = match (trace_id, span_id) {
        (Some(trace_id), Some(span_id)) => Some((trace_id, span_id)),
        (None, None) if parent.is_none() => None,
        _ => return Some(None),
    };
    // B3 asks to ignore any other value of the flags.
    let sampling = if flags == Some(b"1") {
        Sampling::Debug
    } else {
        match sampled {
            None => Sampling::Deferred,
            // Words: of tracers from before B3 was written down.
            Some(b"1" | b"true") => Sampling::Accepted,
            Some(b"0" | b"false") => Sampling::Denied,
            Some(_) => return Some(None),
        }
    };
    Some(context(ids, parent, sampling))
}

fn context(
    ids: Option<(&[u8], &[u8])>,
    before: Option<&[u8]>,
    sampling: Sampling,
) -> Option<Context> {
    let mut form = Form {
        sampling,
        short_origin: false,
    };
    let Some((trace_id, span_id)) = ids else {
        return Some(Context {
            form,
            ..Context::default()
        });
    };
    form.short_origin = trace_id.len() == 16;
    let (origin, interaction) = read_padded(trace_id, span_id)?;
    let before = before.map(Interaction::parse).transpose().ok()?;
    Some(Context {
        parent: Some(TraceParent {
            origin,
            interaction,
            flags: form.flags(),
        }),
        // Some tracers name a root as its own parent.
        before: before.filter(|before| *before != interaction),
        form,
    })
}

/// A trace id of 128 bits, or of 64 with zeros before it; and a span id.
fn read_padded(trace_id: &[u8], span_id: &[u8]) -> Option<(Origin, Interaction)> {
    let mut origin = [b'0'; Origin::TEXT_LENGTH];
    match trace_id.len() {
        16 => origin[16..].copy_from_slice(trace_id),
        Origin::TEXT_LENGTH => origin.copy_from_slice(trace_id),
        _ => return None,
    }
    read_ids(&origin, span_id.try_into().ok()?)
}

/// The B3 header values of an outbound request; write [`Self::single`] or the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected {
    /// `b3`.
    pub single: HeaderText<68>,
    /// `x-b3-traceid`.
    pub trace_id: HeaderText<32>,
    /// `x-b3-spanid`.
    pub span_id: HeaderText<16>,
    /// `x-b3-parentspanid`.
    pub parent_span_id: Option<HeaderText<16>>,
    /// `x-b3-sampled`; with debug only [`Self::flags`] is written.
    pub sampled: Option<&'static str>,
    /// `x-b3-flags`.
    pub flags: Option<&'static str>,
}

/// Writes the B3 headers of an outbound request whose identifier is `identifier` and whose whole
/// interaction id is `interaction`. `before`: the interaction that it is made for, where its whole
/// id is known. `form`: what came in ([`Extracted::b3`]), else [`Form::of_flags`]. An origin that
/// does not fit in 64 bits is written with 128 whatever the form says.
#[must_use]
pub fn inject(
    identifier: &RequestIdentifier,
    interaction: Interaction,
    before: Option<Interaction>,
    form: Form,
) -> Injected {
    let (origin, span_id) = ids_text(identifier.origin(), interaction);
    let trace_id = match origin.split_last_chunk::<16>() {
        Some((zeros, short)) if form.short_origin && zeros == [b'0'; 16] => &short[..],
        _ => &origin,
    };
    let parent_span_id = before.map(|before| hex::<8, 16>(before.as_bytes()));
    let (letter, sampled, flags) = match form.sampling {
        Sampling::Deferred => (None, None, None),
        Sampling::Denied => (Some(b'0'), Some("0"), None),
        Sampling::Accepted => (Some(b'1'), Some("1"), None),
        Sampling::Debug => (Some(b'd'), None, Some("1")),
    };
    let mut single = HeaderText::new();
    single.put(trace_id);
    single.put(b"-");
    single.put(&span_id);
    if let Some(letter) = letter {
        single.put(&[b'-', letter]);
        // Only behind a decision: the form has no place for it elsewhere.
        if let Some(before) = &parent_span_id {
            single.put(b"-");
            single.put(before);
        }
    }
    Injected {
        single,
        trace_id: HeaderText::of(trace_id),
        span_id: HeaderText::of(&span_id),
        parent_span_id: parent_span_id.map(|before| HeaderText::of(&before)),
        sampled,
        flags,
    }
}
