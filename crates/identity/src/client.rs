//! Who visits.

use thiserror::Error;

use crate::KeyRing;
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
        let _ = keys;
        todo!("identity helper")
    }

    /// Reads a client token.
    ///
    /// # Errors
    /// See [`ClientTokenError`]; nothing of a refused token may be trusted.
    pub fn verify(token: &[u8], keys: &KeyRing) -> Result<Self, ClientTokenError> {
        let _ = (token, keys);
        todo!("identity helper")
    }
}
