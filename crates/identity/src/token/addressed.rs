//! A head that travels in a broadcast, to be used by one session only.
//!
//! An answer's head is in a token that nobody but its client sees. A broadcast is seen by all, and
//! may bring each of many sessions a head of its own. So the head is *sealed* under the fleet's
//! keys: others neither read it nor can tell whose it is, and it counts only in a request that also
//! bears a valid token of the session that it was sealed for ([`SessionToken::unite`] sees to that).
//! Alone, or beside another session's token, it is worth nothing.
//!
//! The client can read nothing of it either, and need not: it finds its own among many by the
//! [`address`] that its session has in that broadcast, and sends it on as it is. Sent twice it is
//! what a token sent twice is: a fork.
//!
//! Sealed is: authenticated first, then hidden under a stream made from the code (SIV, the form of
//! RFC 5297, with BLAKE3's keyed hash as both functions), so no nonce can be used twice.
//! `docs/formats/session-token.md` draws it.
//!
//! [`SessionToken::unite`]: crate::SessionToken::unite

use super::{TokenError, heads};
use crate::key::{MacError, purpose};
use crate::wire::base64;
use crate::{Head, KeyId, KeyRing, MAC_LENGTH, SessionId};

/// What a sealed head begins with where tokens stand.
const MARK: u8 = b'~';

/// A head is filled up with zeros to a multiple of this, so that its length tells little.
pub(super) const BLOCK: usize = 32;

/// Bytes of the key id and the code.
const BEFORE: usize = 1 + MAC_LENGTH;

/// Bytes of the longest head, filled up.
const PLAIN_MAX: usize = heads::HEAD_LENGTH_MAX.next_multiple_of(BLOCK);

/// Bytes of a session's address in a broadcast.
pub const ADDRESS_LENGTH: usize = 8;

/// The address that a session has in the broadcast of this salt: who knows the session's id finds
/// it, for everybody else addresses of different broadcasts have nothing in common.
#[must_use]
pub fn address(session: SessionId, salt: &[u8; 16]) -> [u8; ADDRESS_LENGTH] {
    let key = blake3::derive_key(purpose::ADDRESS, session.as_bytes());
    let hash = blake3::keyed_hash(&key, salt);
    let mut address = [0; ADDRESS_LENGTH];
    address.copy_from_slice(&hash.as_bytes()[..ADDRESS_LENGTH]);
    address
}

/// A sealed head. What it says, only the fleet can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressedHead {
    /// Key id, code, hidden head.
    bytes: Box<[u8]>,
}

impl AddressedHead {
    /// The longest, in bytes.
    pub const BYTES_MAX: usize = BEFORE + PLAIN_MAX;

    /// The longest text.
    pub const TEXT_MAX: usize = 2 + base64::encoded_length(Self::BYTES_MAX - 1);

    /// Seals `head` for `session`, under the ring's first key.
    #[must_use]
    pub fn seal(session: SessionId, head: &Head, keys: &KeyRing) -> Self {
        let mut plain = heads::encode(std::slice::from_ref(head));
        plain.resize(plain.len().next_multiple_of(BLOCK), 0);
        let (key, code) = keys.mac(purpose::ADDRESSED, &message(session, &plain));
        if let Some(stream) = keys.derive(purpose::ADDRESSED_STREAM, key) {
            hide(&stream, &code, &mut plain);
        }
        let bytes = [&[key.number()][..], &code, &plain].concat();
        Self {
            bytes: bytes.into(),
        }
    }

    /// Opens it for a request that bears a valid token of `session`.
    ///
    /// # Errors
    /// [`TokenError::Forged`] if it was not sealed for that session, or changed since; see
    /// [`TokenError`].
    pub fn open(&self, session: SessionId, keys: &KeyRing) -> Result<Head, TokenError> {
        let (before, hidden) = self.bytes.split_at(BEFORE);
        let key = KeyId::new(before[0]).ok_or(TokenError::Malformed)?;
        let mut code = [0; MAC_LENGTH];
        code.copy_from_slice(&before[1..]);
        let stream = keys.derive(purpose::ADDRESSED_STREAM, key);
        let stream = stream.ok_or(TokenError::UnknownKey)?;
        let mut plain = [0; PLAIN_MAX];
        let plain = &mut plain[..hidden.len()];
        plain.copy_from_slice(hidden);
        hide(&stream, &code, plain);
        keys.verify_mac(purpose::ADDRESSED, key, &message(session, plain), &code)
            .map_err(|error| match error {
                MacError::UnknownKey => TokenError::UnknownKey,
                MacError::Forged => TokenError::Forged,
            })?;
        heads::decode_filled(plain).ok_or(TokenError::Malformed)
    }

    /// Its bytes, as a broadcast holds them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes the bytes out of a broadcast; `None` if they have a length that no sealed head has,
    /// or name no key.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let hidden = bytes.len().checked_sub(BEFORE)?;
        let fits = hidden > 0 && hidden.is_multiple_of(BLOCK) && hidden <= PLAIN_MAX;
        KeyId::new(*bytes.first()?)?;
        fits.then(|| Self {
            bytes: bytes.into(),
        })
    }

    /// Its text, as a value of `selvedge-session`.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::with_capacity(Self::TEXT_MAX);
        out.push(char::from(MARK));
        out.push(char::from(base64::digit(self.bytes[0])));
        base64::push(&mut out, &self.bytes[1..]);
        out
    }

    /// Whether a text is meant as a sealed head, and not as a token.
    #[must_use]
    pub fn is_meant(text: &[u8]) -> bool {
        text.first() == Some(&MARK)
    }

    /// Reads a text, without white space around it.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &[u8]) -> Result<Self, TokenError> {
        if text.len() > Self::TEXT_MAX {
            return Err(TokenError::Oversized);
        }
        let mut bytes = [0; Self::BYTES_MAX];
        let mut read = || {
            let [MARK, key, rest @ ..] = text else {
                return None;
            };
            bytes[0] = base64::digit_value(*key)?;
            let length = base64::read(rest, &mut bytes[1..])?;
            Self::from_bytes(&bytes[..1 + length])
        };
        read().ok_or(TokenError::Malformed)
    }
}

/// What the code is of.
fn message(session: SessionId, plain: &[u8]) -> Vec<u8> {
    [session.as_bytes(), plain].concat()
}

/// Hides, or shows again, what the code is of.
fn hide(key: &[u8; 32], code: &[u8; MAC_LENGTH], bytes: &mut [u8]) {
    let mut stream = [0; PLAIN_MAX];
    let stream = &mut stream[..bytes.len()];
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(code).finalize_xof().fill(stream);
    for (byte, stream) in bytes.iter_mut().zip(stream) {
        *byte ^= *stream;
    }
}
