//! The header `traceparent`: `<version>-<trace-id>-<parent-id>-<flags>`.

use std::fmt;

use arrayvec::ArrayString;
use thiserror::Error;

use super::FLAGS_KNOWN;
use crate::wire::{parse_hex, push_hex};
use crate::{Interaction, Origin};

/// A `traceparent` header: origin, the interaction of this hop, flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace-id.
    pub origin: Origin,
    /// The parent-id: the call that this request is.
    pub interaction: Interaction,
    /// Bit 0 sampled, bit 1 random; the others are 0.
    pub flags: u8,
}

/// A `traceparent` that is not of the form that the specification demands, or holds an id of
/// zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("malformed traceparent")]
pub struct TraceParentError;

/// Characters of version 00, and of what later versions must begin with.
const LENGTH: usize = 55;

impl TraceParent {
    /// Reads a header value, without white space around it. Version 00 must be exact; a later
    /// version may hold more behind a further `-`, which is not looked at.
    ///
    /// # Errors
    /// See [`TraceParentError`].
    pub fn parse(value: &[u8]) -> Result<Self, TraceParentError> {
        Self::read(value).ok_or(TraceParentError)
    }

    fn read(value: &[u8]) -> Option<Self> {
        let (known, more) = value.split_at_checked(LENGTH)?;
        let [version, origin, interaction, flags] =
            [&known[..2], &known[3..35], &known[36..52], &known[53..]];
        if [known[2], known[35], known[52]] != *b"---" {
            return None;
        }
        let version = byte(version)?;
        let whole = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more[0] == b'-',
        };
        whole.then_some(Self {
            origin: Origin::parse(origin).ok()?,
            interaction: Interaction::parse(interaction).ok()?,
            flags: byte(flags)? & FLAGS_KNOWN,
        })
    }

    /// Its value in version 00, on the stack.
    #[must_use]
    pub fn text(&self) -> ArrayString<LENGTH> {
        let mut out = ArrayString::new();
        out.push_str("00-");
        push_hex(&mut out, self.origin.as_bytes());
        out.push('-');
        push_hex(&mut out, self.interaction.as_bytes());
        out.push('-');
        push_hex(&mut out, &[self.flags & FLAGS_KNOWN]);
        out
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}

fn byte(text: &[u8]) -> Option<u8> {
    let mut out = [0];
    parse_hex(text, &mut out)?;
    Some(out[0])
}
