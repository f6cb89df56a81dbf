//! Who visits: the client's id, and the token `<client>.<key id><mac>` that proves that this
//! fleet gave it. Drawn in `docs/formats/session-token.md`.

use thiserror::Error;

use crate::KeyRing;
use crate::key::{MacError, purpose};
use crate::token::{push_signature, split_signature};
use crate::wire::bytes_id;

bytes_id! {
    /// A client's id (A7): 16 random bytes, shown as 32 lower-case hex digits. It outlives the
    /// session. Browsers carry it in a cookie, programs in the header `selvedge-client`, both as
    /// `<client>.<key id><mac>`. Never all zero.
    pub struct ClientId([u8; 16]) = "client id";
}

/// Why a client token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClientTokenError {
    /// Not of the form `<client>.<key id><mac>`.
    #[error("malformed client token")]
    Malformed,
    /// No key of that id in the ring.
    #[error("client token made with an unknown key")]
    UnknownKey,
    /// The MAC does not hold.
    #[error("forged client token")]
    Forged,
}

impl ClientId {
    /// The token that proves the id was made by this fleet.
    #[must_use]
    pub fn sign(&self, keys: &KeyRing) -> String {
        let mut out = String::with_capacity(56);
        out.push_str(&self.text());
        out.push('.');
        push_signature(&mut out, keys, purpose::CLIENT);
        out
    }

    /// Reads a client token, without white space around it.
    ///
    /// # Errors
    /// See [`ClientTokenError`]; nothing of a refused token may be trusted.
    pub fn verify(token: &[u8], keys: &KeyRing) -> Result<Self, ClientTokenError> {
        let (signed, signature) = split_signature(token).ok_or(ClientTokenError::Malformed)?;
        let client = signed
            .strip_suffix(&[b'.', signature.key.character()])
            .and_then(|text| Self::parse(text).ok())
            .ok_or(ClientTokenError::Malformed)?;
        keys.verify_mac(purpose::CLIENT, signature.key, signed, &signature.mac)
            .map_err(|error| match error {
                MacError::UnknownKey => ClientTokenError::UnknownKey,
                MacError::Forged => ClientTokenError::Forged,
            })?;
        Ok(client)
    }
}
