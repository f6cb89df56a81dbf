//! The header `traceparent`: `<version>-<trace-id>-<parent-id>-<flags>`.

use std::fmt;

use thiserror::Error;

use super::FLAGS_KNOWN;
use crate::wire::{HeaderText, hex, unhex, unhex_pair};
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

    #[inline]
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let (known, more) = value.split_first_chunk::<LENGTH>()?;
        if [known[2], known[35], known[52]] != *b"---" {
            return None;
        }
        let [version, flags] = unhex_pair([known[0], known[1]])
            .zip(unhex_pair([known[53], known[54]]))
            .map(<[u8; 2]>::from)?;
        let whole = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more[0] == b'-',
        };
        if !whole {
            return None;
        }
        Some(Self {
            origin: Origin::from_bytes(unhex(known[3..35].first_chunk::<32>()?)?)?,
            interaction: Interaction::from_bytes(unhex(known[36..52].first_chunk::<16>()?)?)?,
            flags: flags & FLAGS_KNOWN,
        })
    }

    /// Its value in version 00, on the stack.
    #[must_use]
    pub fn text(&self) -> HeaderText<LENGTH> {
        let mut out = HeaderText::new();
        let origin = hex(self.origin.as_bytes());
        Self::put(&mut out, &origin, self.interaction, self.flags);
        out
    }

    /// As [`Self::text`], in the place of another, of an origin that is text already.
    #[inline]
    pub(crate) fn put(
        out: &mut HeaderText<LENGTH>,
        origin: &[u8; 32],
        interaction: Interaction,
        flags: u8,
    ) {
        out.clear();
        out.put(b"00-");
        out.put(origin);
        out.put(b"-");
        out.put(&hex::<8, 16>(interaction.as_bytes()));
        // Of the flags only the lowest two are ever sent.
        out.put(&[b'-', b'0', b'0' + (flags & FLAGS_KNOWN)]);
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}
