//! An identifier as a message of its own (D5), for a request that has no room for it: the message
//! names the request it belongs to and goes beside it, on the same channel or another.
//!
//! What names the request is up to both sides: a message id, a correlation id, `topic/3/512`; we
//! only carry its bytes. The receiver holds what came first until the other comes, in a
//! [`super::reference::Store`] keyed by them. Drawn in `docs/formats/carriers.md`.

use thiserror::Error;

use crate::wire::{base64, check};
use crate::{IdentifierError, RequestIdentifier};

/// Bytes that may name a request.
pub const ABOUT_MAX: usize = 192;

/// Bytes of the longest message.
pub const TEXT_MAX: usize = PREFIX.len()
    + base64::encoded_length(ABOUT_MAX)
    + 1
    + RequestIdentifier::TEXT_MAX
    + 1
    + check::LENGTH;

const PREFIX: &str = "selvedge-request-of:1.";

/// Why a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SeparateError {
    /// Not of the form, or names no request.
    #[error("malformed identifier message")]
    Malformed,
    /// Longer than [`TEXT_MAX`].
    #[error("oversized identifier message")]
    Oversized,
    /// The message's check does not hold.
    #[error("damaged identifier message")]
    Damaged,
    /// What it carries is no identifier.
    #[error("identifier message: {0}")]
    Identifier(#[from] IdentifierError),
}

/// An identifier and the request that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Separate {
    about: Vec<u8>,
    identifier: RequestIdentifier,
}

impl Separate {
    /// The message about a request; `None` unless 1 to [`ABOUT_MAX`] bytes name it.
    #[must_use]
    pub fn new(about: &[u8], identifier: RequestIdentifier) -> Option<Self> {
        (1..=ABOUT_MAX).contains(&about.len()).then(|| Self {
            about: about.to_vec(),
            identifier,
        })
    }

    /// What names the request.
    #[must_use]
    pub fn about(&self) -> &[u8] {
        &self.about
    }

    /// The request's identifier.
    #[must_use]
    pub fn identifier(&self) -> &RequestIdentifier {
        &self.identifier
    }

    /// The message: ASCII without white space.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(TEXT_MAX);
        text.push_str(PREFIX);
        base64::push(&mut text, &self.about);
        text.push('.');
        text.push_str(&self.identifier.encode());
        let check = check::check(text.as_bytes());
        text.push('.');
        text.extend(check.map(char::from));
        text
    }

    /// Reads a message. A line end behind it (LF or CR LF) does not matter; a message has no
    /// other form but one.
    ///
    /// # Errors
    /// See [`SeparateError`].
    pub fn parse(message: &[u8]) -> Result<Self, SeparateError> {
        use SeparateError::{Damaged, Malformed, Oversized};
        let message = message.strip_suffix(b"\n").unwrap_or(message);
        let message = message.strip_suffix(b"\r").unwrap_or(message);
        if message.len() > TEXT_MAX {
            return Err(Oversized);
        }
        let inner = message.strip_prefix(PREFIX.as_bytes()).ok_or(Malformed)?;
        let (covered, end) = message
            .split_last_chunk::<{ check::LENGTH + 1 }>()
            .filter(|(covered, _)| covered.len() > PREFIX.len())
            .ok_or(Malformed)?;
        if end[0] != b'.' {
            return Err(Malformed);
        }
        if end[1..] != check::check(covered) {
            return Err(Damaged);
        }
        let inner = &inner[..covered.len() - PREFIX.len()];
        let dot = inner.iter().position(|&b| b == b'.').ok_or(Malformed)?;
        let mut about = [0; ABOUT_MAX];
        let length = base64::read(&inner[..dot], &mut about).ok_or(Malformed)?;
        let identifier = RequestIdentifier::parse(&inner[dot + 1..])?;
        Self::new(&about[..length], identifier).ok_or(Malformed)
    }
}
