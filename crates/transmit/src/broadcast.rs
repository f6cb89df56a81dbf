//! A broadcast: content for everybody, and a sealed head for each session that it addresses.
//!
//! The content is plain: what is broadcast is for all to see. Whom it addresses is not: a session
//! finds its head under an [`address`] that only those can tell who know the session's id, and that
//! is another in every broadcast, by the salt. `docs/formats/broadcast.md` draws the bytes.

use bytes::Bytes;
use selvedge_identity::{ADDRESS_LENGTH, AddressedHead, Head, KeyRing, SessionId, address};
use thiserror::Error;

use crate::read::{array, take};

/// The most bytes of content.
pub const CONTENT_MAX: usize = 256 * 1024;
/// The most bytes of a content type.
pub const CONTENT_TYPE_MAX: usize = 127;
/// The most sessions that one broadcast addresses; for more, broadcast again.
pub const ADDRESSED_MAX: usize = 4096;

/// The version of the form.
const VERSION: u8 = 1;

type Address = [u8; ADDRESS_LENGTH];

/// A broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    salt: [u8; 16],
    content_type: String,
    content: Bytes,
    /// By address, none twice.
    addressed: Vec<(Address, AddressedHead)>,
}

/// What cannot be broadcast.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BroadcastError {
    /// Too much content.
    #[error("content of {0} bytes: a broadcast takes at most {CONTENT_MAX}")]
    Content(usize),
    /// A content type that no header could carry.
    #[error("a content type is 1 to {CONTENT_TYPE_MAX} printable characters, as in text/html")]
    ContentType,
    /// Too many sessions.
    #[error(
        "{0} sessions: a broadcast addresses at most {ADDRESSED_MAX}; broadcast it again to the others"
    )]
    Addressed(usize),
}

impl Broadcast {
    /// The longest, in bytes.
    pub const BYTES_MAX: usize = 1
        + 16
        + 1
        + CONTENT_TYPE_MAX
        + 4
        + CONTENT_MAX
        + 2
        + ADDRESSED_MAX * (ADDRESS_LENGTH + 1 + AddressedHead::BYTES_MAX);

    /// Whether this can be broadcast to so many sessions.
    ///
    /// # Errors
    /// Says what cannot.
    pub fn check(
        content_type: &str,
        content: &[u8],
        addressed: usize,
    ) -> Result<(), BroadcastError> {
        if content.len() > CONTENT_MAX {
            return Err(BroadcastError::Content(content.len()));
        }
        if !is_content_type(content_type.as_bytes()) {
            return Err(BroadcastError::ContentType);
        }
        if addressed > ADDRESSED_MAX {
            return Err(BroadcastError::Addressed(addressed));
        }
        Ok(())
    }

    /// A broadcast that brings each of these sessions its head. `salt`: freshly drawn. Of several
    /// heads of one session the last counts.
    ///
    /// # Errors
    /// See [`Broadcast::check`].
    pub fn new(
        salt: [u8; 16],
        content_type: &str,
        content: Bytes,
        heads: &[(SessionId, Head)],
        keys: &KeyRing,
    ) -> Result<Self, BroadcastError> {
        Self::check(content_type, &content, heads.len())?;
        let sealed = heads.iter().rev().map(|(session, head)| {
            let sealed = AddressedHead::seal(*session, head, keys);
            (address(*session, &salt), sealed)
        });
        let mut addressed: Vec<_> = sealed.collect();
        addressed.sort_by_key(|(address, _)| *address);
        addressed.dedup_by_key(|(address, _)| *address);
        Ok(Self {
            salt,
            content_type: content_type.to_owned(),
            content,
            addressed,
        })
    }

    /// What the content is.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The content.
    #[must_use]
    pub fn content(&self) -> &Bytes {
        &self.content
    }

    /// How many sessions it addresses.
    #[must_use]
    pub fn addressed(&self) -> usize {
        self.addressed.len()
    }

    /// The head that it brings this session.
    #[must_use]
    pub fn head_for(&self, session: SessionId) -> Option<&AddressedHead> {
        let wanted = address(session, &self.salt);
        let at = self
            .addressed
            .binary_search_by_key(&wanted, |(address, _)| *address);
        at.ok().map(|at| &self.addressed[at].1)
    }

    /// The same content in several, each of which addresses at most so many of the sessions.
    ///
    /// # Panics
    /// When that is none.
    #[must_use]
    pub fn split(&self, addressed_max: usize) -> Vec<Self> {
        if self.addressed.len() <= addressed_max {
            return vec![self.clone()];
        }
        let parts = self.addressed.chunks(addressed_max);
        parts
            .map(|addressed| Self {
                addressed: addressed.to_vec(),
                ..self.clone()
            })
            .collect()
    }

    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.salt);
        out.push(self.content_type.len() as u8);
        out.extend_from_slice(self.content_type.as_bytes());
        out.extend_from_slice(&(self.content.len() as u32).to_be_bytes());
        out.extend_from_slice(&self.content);
        out.extend_from_slice(&(self.addressed.len() as u16).to_be_bytes());
        for (address, sealed) in &self.addressed {
            out.extend_from_slice(address);
            out.push(sealed.as_bytes().len() as u8);
            out.extend_from_slice(sealed.as_bytes());
        }
    }

    /// Reads bytes that are a broadcast and nothing more; `None` if they are not the one form of
    /// one. The content shares their memory.
    #[must_use]
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let mut rest = &bytes[..];
        let [VERSION] = array(&mut rest)? else {
            return None;
        };
        let salt = array(&mut rest)?;
        let [length] = array(&mut rest)?;
        let content_type = take(&mut rest, length.into())?;
        if !is_content_type(content_type) {
            return None;
        }
        let length = u32::from_be_bytes(array(&mut rest)?) as usize;
        if length > CONTENT_MAX {
            return None;
        }
        let content = bytes.slice_ref(take(&mut rest, length)?);
        let count = usize::from(u16::from_be_bytes(array(&mut rest)?));
        if count > ADDRESSED_MAX {
            return None;
        }
        let mut addressed: Vec<(Address, AddressedHead)> = Vec::new();
        for _ in 0..count {
            let address: Address = array(&mut rest)?;
            if addressed.last().is_some_and(|(last, _)| *last >= address) {
                return None;
            }
            let [length] = array(&mut rest)?;
            let sealed = AddressedHead::from_bytes(take(&mut rest, length.into())?)?;
            addressed.push((address, sealed));
        }
        rest.is_empty().then(|| Self {
            salt,
            content_type: String::from_utf8_lossy(content_type).into_owned(),
            content,
            addressed,
        })
    }
}

/// Printable ASCII with blanks between, so that it can stand in a header and in a line of text.
fn is_content_type(text: &[u8]) -> bool {
    let printable = text.iter().all(|&b| b == b' ' || b.is_ascii_graphic());
    (1..=CONTENT_TYPE_MAX).contains(&text.len()) && printable && text.trim_ascii() == text
}
