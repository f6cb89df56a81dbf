//! The header `traceparent`: `<version>-<trace-id>-<parent-id>-<flags>`.

use std::fmt;

use thiserror::Error;

use super::FLAGS_KNOWN;
use crate::wire::{HeaderText, hex, unhex, unhex_both};
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
        match Self::read(value) {
            Some((parent, _)) => Ok(parent),
            None => Err(TraceParentError),
        }
    }

    /// As [`Self::parse`], and the text of its origin, which is there already.
    #[inline]
    pub(crate) fn read(value: &[u8]) -> Option<(Self, &[u8; Origin::TEXT_LENGTH])> {
        let (known, more) = value.split_first_chunk::<LENGTH>()?;
        if [known[2], known[35], known[52]] != *b"---" {
            return None;
        }
        let [flags] = unhex(&[known[53], known[54]])?;
        let whole = match [known[0], known[1]] {
            [b'0', b'0'] => more.is_empty(),
            [b'f', b'f'] => false,
            later => unhex::<1, 2>(&later).is_some() && matches!(more, [] | [b'-', ..]),
        };
        if !whole {
            return None;
        }
        let text = known[3..35].first_chunk()?;
        let (origin, interaction) = read_ids(text, known[36..52].first_chunk()?)?;
        let parent = Self {
            origin,
            interaction,
            flags: flags & FLAGS_KNOWN,
        };
        Some((parent, text))
    }

    /// Its value in version 00, on the stack.
    #[must_use]
    pub fn text(&self) -> HeaderText<LENGTH> {
        let mut out = HeaderText::new();
        self.put(&mut out);
        out
    }

    /// As [`Self::text`], in the place of another; returns the text of the origin.
    #[inline]
    pub(crate) fn put(&self, out: &mut HeaderText<LENGTH>) -> [u8; Origin::TEXT_LENGTH] {
        let (origin, interaction) = ids_text(self.origin, self.interaction);
        out.clear();
        out.put(b"00-");
        out.put(&origin);
        out.put(b"-");
        out.put(&interaction);
        // Of the flags only the lowest two are ever sent.
        out.put(&[b'-', b'0', b'0' + (self.flags & FLAGS_KNOWN)]);
        origin
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}

/// Bytes of both ids. They are written at once, which takes little longer than one alone.
const IDS: usize = Origin::LENGTH + Interaction::LENGTH;

/// Reads the texts of an origin and of an interaction.
#[inline]
pub(crate) fn read_ids(
    origin: &[u8; Origin::TEXT_LENGTH],
    interaction: &[u8; 16],
) -> Option<(Origin, Interaction)> {
    let (origin, interaction) = unhex_both(origin, interaction)?;
    Some((
        Origin::from_bytes(origin)?,
        Interaction::from_bytes(interaction)?,
    ))
}

/// The texts of both.
#[inline]
pub(crate) fn ids_text(
    origin: Origin,
    interaction: Interaction,
) -> ([u8; Origin::TEXT_LENGTH], [u8; 16]) {
    let mut ids = [0; IDS];
    ids[..Origin::LENGTH].copy_from_slice(origin.as_bytes());
    ids[Origin::LENGTH..].copy_from_slice(interaction.as_bytes());
    let text = hex::<IDS, { IDS * 2 }>(&ids);
    let mut texts = ([0; Origin::TEXT_LENGTH], [0; 16]);
    texts.0.copy_from_slice(&text[..Origin::TEXT_LENGTH]);
    texts.1.copy_from_slice(&text[Origin::TEXT_LENGTH..]);
    texts
}
