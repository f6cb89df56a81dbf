//! The header `traceparent`: `<version>-<trace-id>-<parent-id>-<flags>`.

use std::fmt;

use thiserror::Error;

use super::FLAGS_KNOWN;
use crate::wire::{HeaderText, hex, unhex};
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
        let (known, more) = value.split_first_chunk::<LENGTH>()?;
        let (version, known) = known.split_first_chunk::<2>()?;
        let (&[b'-'], known) = known.split_first_chunk()? else {
            return None;
        };
        let (origin, known) = known.split_first_chunk::<32>()?;
        let (&[b'-'], known) = known.split_first_chunk()? else {
            return None;
        };
        let (interaction, known) = known.split_first_chunk::<16>()?;
        let &[b'-', high, low] = known else {
            return None;
        };
        let whole = match unhex::<1, 2>(version)?[0] {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more[0] == b'-',
        };
        whole.then_some(Self {
            origin: Origin::from_bytes(unhex(origin)?)?,
            interaction: Interaction::from_bytes(unhex(interaction)?)?,
            flags: unhex::<1, 2>(&[high, low])?[0] & FLAGS_KNOWN,
        })
    }

    /// Its value in version 00, on the stack.
    #[must_use]
    pub fn text(&self) -> HeaderText<LENGTH> {
        let origin = hex(self.origin.as_bytes());
        Self::text_of(&origin, self.interaction, self.flags)
    }

    /// As [`Self::text`], of an origin that is text already.
    #[inline]
    pub(crate) fn text_of(
        origin: &[u8; 32],
        interaction: Interaction,
        flags: u8,
    ) -> HeaderText<LENGTH> {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..35].copy_from_slice(origin);
        text[36..52].copy_from_slice(&hex::<8, 16>(interaction.as_bytes()));
        // Of the flags only the lowest two are ever sent.
        text[54] = b'0' + (flags & FLAGS_KNOWN);
        let mut out = HeaderText::new();
        out.put(&text);
        out
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}
