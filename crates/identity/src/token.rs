//! The session token: `<session>.<heads>.<key id><mac>`.
//!
//! A client that comes back must be able to prove which session it is in and what it has seen,
//! and no client may claim another's. So the fleet signs what each answer showed: the session and
//! its heads. The token holds no secret and needs no table at any server. Its form is drawn in
//! `docs/formats/session-token.md`; a token has one text only.
//!
//! What comes in is a stranger's: its size is looked at first, its MAC second, its heads last.

mod addressed;
mod heads;
mod union;

use smallvec::SmallVec;
use thiserror::Error;

pub use addressed::{ADDRESS_LENGTH, AddressedHead, address};
pub use union::{TOKENS_MAX, Union};

use crate::key::{KeyId, MAC_LENGTH, MacError, purpose};
use crate::wire::base64;
use crate::{HEADS_MAX, Head, KeyRing, SessionId};

/// What a valid token says: a session and what the client knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionToken {
    /// The session.
    pub session: SessionId,
    /// Its heads: usually one, at most [`HEADS_MAX`]; none in a fresh session. Those of a verified
    /// or united token stand by position, none twice.
    pub heads: SmallVec<[Head; 1]>,
}

/// Why a session token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Not of the form.
    #[error("malformed session token")]
    Malformed,
    /// More bytes, heads or tokens than allowed.
    #[error("oversized session token")]
    Oversized,
    /// No key of that id.
    #[error("session token made with an unknown key")]
    UnknownKey,
    /// The MAC does not hold.
    #[error("forged session token")]
    Forged,
}

/// Characters of the session and its dot.
const SESSION_LENGTH: usize = SessionId::LENGTH * 2 + 1;

/// Characters of the dot, the key id and the MAC.
const SIGNATURE_LENGTH: usize = 2 + base64::encoded_length(MAC_LENGTH);

impl SessionToken {
    /// The longest token, in bytes: [`HEADS_MAX`] heads with the longest names and numbers.
    pub const TEXT_MAX: usize = SESSION_LENGTH
        + base64::encoded_length(HEADS_MAX * heads::HEAD_LENGTH_MAX)
        + SIGNATURE_LENGTH;

    /// A token of these heads: brought into order, none twice, of more than [`HEADS_MAX`] the
    /// greatest by ordering id.
    #[must_use]
    pub fn new(session: SessionId, heads: impl IntoIterator<Item = Head>) -> Self {
        let mut heads = heads.into_iter().collect();
        heads::normalise(&mut heads);
        Self { session, heads }
    }

    /// Writes the token, signed with the ring's first key. Heads in any order, repeated or over
    /// [`HEADS_MAX`] are written as [`Self::new`] keeps them.
    #[must_use]
    pub fn sign(&self, keys: &KeyRing) -> String {
        let mut heads = self.heads.clone();
        heads::normalise(&mut heads);
        let bytes = heads::encode(&heads);

        let length = SESSION_LENGTH + base64::encoded_length(bytes.len()) + SIGNATURE_LENGTH;
        let mut out = String::with_capacity(length);
        out.push_str(&self.session.text());
        out.push('.');
        base64::push(&mut out, &bytes);
        out.push('.');
        push_signature(&mut out, keys, purpose::SESSION);
        out
    }

    /// Reads one token, without white space around it.
    ///
    /// # Errors
    /// See [`TokenError`]; nothing of a refused token may be trusted.
    pub fn verify(token: &[u8], keys: &KeyRing) -> Result<Self, TokenError> {
        if token.len() > Self::TEXT_MAX {
            return Err(TokenError::Oversized);
        }
        let (signed, signature) = split_signature(token).ok_or(TokenError::Malformed)?;
        let (session, heads) = signed
            .split_at_checked(SESSION_LENGTH)
            .and_then(|(session, heads)| {
                let session = session.strip_suffix(b".")?;
                Some((
                    session,
                    heads.strip_suffix(&[b'.', signature.key.character()])?,
                ))
            })
            .ok_or(TokenError::Malformed)?;
        let session = SessionId::parse(session).map_err(|_| TokenError::Malformed)?;
        if heads.contains(&b'.') {
            return Err(TokenError::Malformed);
        }
        keys.verify_mac(purpose::SESSION, signature.key, signed, &signature.mac)
            .map_err(|error| match error {
                MacError::UnknownKey => TokenError::UnknownKey,
                MacError::Forged => TokenError::Forged,
            })?;

        let mut bytes = [0; HEADS_MAX * heads::HEAD_LENGTH_MAX];
        let length = base64::read(heads, &mut bytes).ok_or(TokenError::Malformed)?;
        Ok(Self {
            session,
            heads: heads::decode(&bytes[..length])?,
        })
    }
}

/// The end of a token: which key signed all before it, and the code.
pub(crate) struct Signature {
    pub(crate) key: KeyId,
    pub(crate) mac: [u8; MAC_LENGTH],
}

/// Appends the signer's id, then the code of all that the text holds up to and with the id.
pub(crate) fn push_signature(out: &mut String, keys: &KeyRing, purpose: &str) {
    out.push(char::from(keys.signer().character()));
    let (_, mac) = keys.mac(purpose, out.as_bytes());
    base64::push(out, &mac);
}

/// Takes a token apart into what is signed (up to and with the key id) and the signature.
pub(crate) fn split_signature(token: &[u8]) -> Option<(&[u8], Signature)> {
    let (signed, mac_text) = token.split_last_chunk::<{ base64::encoded_length(MAC_LENGTH) }>()?;
    let mut mac = [0; MAC_LENGTH];
    base64::read(mac_text, &mut mac)?;
    let key = KeyId::from_character(*signed.last()?)?;
    Some((signed, Signature { key, mac }))
}
