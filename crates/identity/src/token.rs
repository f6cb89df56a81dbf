//! The session token: `<session>.<heads>.<key id><mac>`.

use smallvec::SmallVec;
use thiserror::Error;

use crate::{Head, KeyRing, SessionId};

/// What a valid token says: a session and what the client knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionToken {
    /// The session.
    pub session: SessionId,
    /// Its heads: usually one, at most [`crate::HEADS_MAX`]; none in a fresh session.
    pub heads: SmallVec<[Head; 1]>,
}

/// Why a session token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Not of the form.
    #[error("malformed session token")]
    Malformed,
    /// More bytes or heads than allowed.
    #[error("oversized session token")]
    Oversized,
    /// No key of that id.
    #[error("session token made with an unknown key")]
    UnknownKey,
    /// The MAC does not hold.
    #[error("forged session token")]
    Forged,
}

/// The tokens of one request, united.
#[derive(Clone, Debug, Default)]
pub struct Union {
    /// The session they agree on, if any was valid.
    pub token: Option<SessionToken>,
    /// Every token that was refused, and why.
    pub refused: SmallVec<[TokenError; 1]>,
    /// How many valid tokens were of another session than the one that won.
    pub other_sessions: usize,
}

impl SessionToken {
    /// Writes the token, signed with the ring's first key.
    #[must_use]
    pub fn sign(&self, keys: &KeyRing) -> String {
        let _ = keys;
        todo!("identity helper")
    }

    /// Reads one token.
    ///
    /// # Errors
    /// See [`TokenError`]; nothing of a refused token may be trusted.
    pub fn verify(token: &[u8], keys: &KeyRing) -> Result<Self, TokenError> {
        let _ = (token, keys);
        todo!("identity helper")
    }
}
