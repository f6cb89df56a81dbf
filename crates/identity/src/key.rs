//! The keys that a fleet shares, and the codes (MACs) made with them.
//!
//! One ring of keys for a fleet: the first signs, all verify, so that keys can be changed under
//! traffic (add the new one behind the old, spread it, put it first, drop the old later). A key
//! never makes a code itself: for each [`purpose`] a key of its own is derived from it, so that a
//! code made for one purpose is worth nothing for another. Codes are BLAKE3 keyed hashes cut to
//! 16 bytes and compared in constant time.

mod file;
pub mod purpose;

use std::fmt;

use thiserror::Error;

use crate::wire::base64;

/// Bytes of a message authentication code.
pub const MAC_LENGTH: usize = 16;

/// The most keys in a ring: as many as there are key ids.
pub const KEYS_MAX: usize = 64;

/// Names a key in a ring: one character of the URL-safe base64 alphabet, 0 to 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u8);

impl KeyId {
    /// The id of that number; `None` over 63.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (usize::from(number) < KEYS_MAX).then_some(Self(number))
    }

    /// The id of that character; `None` if it is none of the URL-safe base64 alphabet.
    #[must_use]
    pub fn from_character(character: u8) -> Option<Self> {
        base64::digit_value(character).map(Self)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its character, in ASCII.
    #[must_use]
    pub fn character(self) -> u8 {
        base64::digit(self.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", char::from(self.character()))
    }
}

/// A secret of 32 bytes. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Key {
    secret: [u8; 32],
    session: [u8; 32],
    client: [u8; 32],
}

impl Key {
    /// Wraps 32 random bytes.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            session: blake3::derive_key(purpose::SESSION, &secret),
            client: blake3::derive_key(purpose::CLIENT, &secret),
        }
    }

    /// The key for one purpose; those of the tokens, needed for every request, are kept.
    fn derive(&self, purpose: &str) -> [u8; 32] {
        match purpose {
            purpose::SESSION => self.session,
            purpose::CLIENT => self.client,
            other => blake3::derive_key(other, &self.secret),
        }
    }

    fn mac(&self, purpose: &str, message: &[u8]) -> [u8; MAC_LENGTH] {
        let hash = blake3::keyed_hash(&self.derive(purpose), message);
        let mut mac = [0; MAC_LENGTH];
        mac.copy_from_slice(&hash.as_bytes()[..MAC_LENGTH]);
        mac
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq::constant_time_eq_32(&self.secret, &other.secret)
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(secret)")
    }
}

/// The keys of a fleet: one signs, all verify, so that keys can be changed under traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRing {
    /// Never empty; no id twice.
    keys: Vec<(KeyId, Key)>,
}

/// Why a ring of keys could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyRingError {
    /// There must be one to sign with.
    #[error("no key: write at least one line `<key id> <64 hex digits>`")]
    Empty,
    /// Two keys under one id.
    #[error("key id {0} stands twice: give each key an id of its own")]
    Twice(KeyId),
    /// A line of a key file that is neither a key nor a comment.
    #[error(
        "line {line}: not a key: write `<key id> <64 hex digits>`, the id one of A-Z a-z 0-9 - _"
    )]
    Line {
        /// Its number, from 1.
        line: usize,
    },
    /// A line of a key file with an id that another line has.
    #[error("line {line}: key id {id} stands twice: give each key an id of its own")]
    LineTwice {
        /// Its number, from 1.
        line: usize,
        /// The id.
        id: KeyId,
    },
}

/// Why a message authentication code was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MacError {
    /// No key of that id in the ring.
    #[error("made with an unknown key")]
    UnknownKey,
    /// It does not belong to the message.
    #[error("forged")]
    Forged,
}

impl KeyRing {
    /// A ring of one key, with the id 0. `secret` is freshly drawn from the system's random
    /// source, or the fleet's own.
    #[must_use]
    pub fn single(secret: [u8; 32]) -> Self {
        Self {
            keys: vec![(KeyId(0), Key::new(secret))],
        }
    }

    /// A ring of several keys, of which the first signs.
    ///
    /// # Errors
    /// When there is none, or an id stands twice.
    pub fn new(keys: Vec<(KeyId, Key)>) -> Result<Self, KeyRingError> {
        if keys.is_empty() {
            return Err(KeyRingError::Empty);
        }
        for (at, (id, _)) in keys.iter().enumerate() {
            if keys[..at].iter().any(|(earlier, _)| earlier == id) {
                return Err(KeyRingError::Twice(*id));
            }
        }
        Ok(Self { keys })
    }

    /// The id of the key that signs.
    #[must_use]
    pub fn signer(&self) -> KeyId {
        self.keys[0].0
    }

    /// The message authentication code of `message`, made with the ring's first key, and the id
    /// of that key. `purpose`: see [`purpose`].
    #[must_use]
    pub fn mac(&self, purpose: &str, message: &[u8]) -> (KeyId, [u8; MAC_LENGTH]) {
        let (id, key) = &self.keys[0];
        (*id, key.mac(purpose, message))
    }

    /// Checks a code that [`Self::mac`] made, here or at another server of the fleet, in a time
    /// that does not depend on where it is wrong.
    ///
    /// # Errors
    /// See [`MacError`].
    pub fn verify_mac(
        &self,
        purpose: &str,
        key: KeyId,
        message: &[u8],
        mac: &[u8; MAC_LENGTH],
    ) -> Result<(), MacError> {
        let (_, key) = self
            .keys
            .iter()
            .find(|(id, _)| *id == key)
            .ok_or(MacError::UnknownKey)?;
        if constant_time_eq::constant_time_eq_16(&key.mac(purpose, message), mac) {
            Ok(())
        } else {
            Err(MacError::Forged)
        }
    }

    /// A secret of 32 bytes for one purpose and one key, for a protocol that makes its own codes;
    /// `None` if the ring has no such key. Different purposes' secrets tell nothing of each other
    /// or of the key.
    #[must_use]
    pub fn derive(&self, purpose: &str, key: KeyId) -> Option<[u8; 32]> {
        let (_, key) = self.keys.iter().find(|(id, _)| *id == key)?;
        Some(key.derive(purpose))
    }
}
