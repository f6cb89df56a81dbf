//! Who consumes services, and the key with which a consumer reads its own audit (D14).
//!
//! A key is `<holder>.<expiry>.<key id><mac>`, signed by the fleet's ring under a purpose of its
//! own, so that the repository needs no table of keys. Drawn in `docs/formats/audit-key.md`.
//!
//! Limits: a key cannot be called back by itself; it ends at its expiry, or with the ring's key
//! that signed it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::key::{MAC_LENGTH, MacError, purpose};
use crate::token::{push_signature, split_signature};
use crate::wire::{base64, serde_as_text};
use crate::{ClientId, KeyRing, ParseIdError};

/// Who consumed a service.
///
/// Its text is `client:<32 hex digits>`, `service:<name>` or `unknown`. A text without a kind is
/// read too: 32 hex digits as a client, anything else as a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Consumer {
    /// The client whose request caused the calls.
    Client(ClientId),
    /// The service that made the calls.
    Service(Arc<str>),
    /// Whoever sent requests that name no client.
    Unknown,
}

impl Consumer {
    /// The longest name of a service, in bytes.
    pub const NAME_MAX: usize = 1024;
}

impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => write!(f, "client:{client}"),
            Self::Service(name) => write!(f, "service:{name}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl FromStr for Consumer {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        if text == "unknown" {
            return Ok(Self::Unknown);
        }
        if let Some(client) = text.strip_prefix("client:") {
            return client.parse().map(Self::Client);
        }
        let name = text.strip_prefix("service:").unwrap_or(text);
        if name.len() == text.len()
            && let Ok(client) = text.parse()
        {
            return Ok(Self::Client(client));
        }
        if name.is_empty() || name.len() > Self::NAME_MAX {
            return Err(ParseIdError::new("consumer"));
        }
        Ok(Self::Service(name.into()))
    }
}

serde_as_text!(Consumer);

/// Whom a key is made for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Reads everything.
    Operator,
    /// Reads its own audit only.
    Consumer(Consumer),
}

/// What a valid key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditKey {
    /// Whom it was made for.
    pub holder: Holder,
    /// The first second since the Unix epoch at which it is worth nothing.
    pub expires: u64,
}

/// Why a key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AuditKeyError {
    /// Not of the form `<holder>.<expiry>.<key id><mac>`.
    #[error("malformed audit key")]
    Malformed,
    /// No key of that id in the ring.
    #[error("audit key made with a key that this fleet does not have")]
    UnknownKey,
    /// The MAC does not hold.
    #[error("forged audit key")]
    Forged,
    /// Its time is over.
    #[error("audit key has expired; ask the operator for a new one")]
    Expired,
}

/// The longest text of a holder, in bytes.
const HOLDER_MAX: usize = "service:".len() + Consumer::NAME_MAX;

impl AuditKey {
    /// The longest key, in bytes.
    pub const TEXT_MAX: usize =
        base64::encoded_length(HOLDER_MAX) + 20 + base64::encoded_length(MAC_LENGTH) + 3;

    /// Writes the key, signed with the ring's first key. One for [`Consumer::Unknown`], or for a
    /// service whose name is over [`Consumer::NAME_MAX`], is refused when it is read.
    #[must_use]
    pub fn sign(&self, keys: &KeyRing) -> String {
        let holder = match &self.holder {
            Holder::Operator => "operator".to_owned(),
            Holder::Consumer(consumer) => consumer.to_string(),
        };
        let mut out = String::new();
        base64::push(&mut out, holder.as_bytes());
        out.push_str(&format!(".{}.", self.expires));
        push_signature(&mut out, keys, purpose::AUDIT);
        out
    }

    /// Reads a key, without white space around it, at a time in seconds since the Unix epoch.
    ///
    /// # Errors
    /// See [`AuditKeyError`]; nothing of a refused key may be trusted.
    pub fn verify(text: &[u8], keys: &KeyRing, now: u64) -> Result<Self, AuditKeyError> {
        if text.len() > Self::TEXT_MAX {
            return Err(AuditKeyError::Malformed);
        }
        let (signed, signature) = split_signature(text).ok_or(AuditKeyError::Malformed)?;
        keys.verify_mac(purpose::AUDIT, signature.key, signed, &signature.mac)
            .map_err(|error| match error {
                MacError::UnknownKey => AuditKeyError::UnknownKey,
                MacError::Forged => AuditKeyError::Forged,
            })?;
        let claims = signed
            .strip_suffix(&[b'.', signature.key.character()])
            .ok_or(AuditKeyError::Malformed)?;
        let key = Self::parse(claims).ok_or(AuditKeyError::Malformed)?;
        if now >= key.expires {
            return Err(AuditKeyError::Expired);
        }
        Ok(key)
    }

    fn parse(claims: &[u8]) -> Option<Self> {
        let claims = std::str::from_utf8(claims).ok()?;
        let (holder, expires) = claims.split_once('.')?;
        let mut bytes = [0; HOLDER_MAX];
        let length = base64::read(holder.as_bytes(), &mut bytes)?;
        let holder = match std::str::from_utf8(&bytes[..length]).ok()? {
            "operator" => Holder::Operator,
            "unknown" => return None,
            text => {
                let consumer: Consumer = text.parse().ok()?;
                // A key names its kind: it is never guessed.
                (consumer.to_string() == text).then_some(Holder::Consumer(consumer))?
            }
        };
        let number: u64 = expires.parse().ok()?;
        (number.to_string() == expires).then_some(Self {
            holder,
            expires: number,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> KeyRing {
        KeyRing::single([7; 32])
    }

    fn holders() -> [Holder; 3] {
        let client = ClientId::from_random([0xab; 16]);
        [
            Holder::Operator,
            Holder::Consumer(Consumer::Client(client)),
            Holder::Consumer(Consumer::Service("the: odd. one".into())),
        ]
    }

    #[test]
    fn a_key_reads_back_as_signed_until_it_expires() {
        for holder in holders() {
            let key = AuditKey {
                holder,
                expires: 1000,
            };
            let text = key.sign(&ring());
            assert_eq!(AuditKey::verify(text.as_bytes(), &ring(), 999), Ok(key));
            let late = AuditKey::verify(text.as_bytes(), &ring(), 1000);
            assert_eq!(late, Err(AuditKeyError::Expired));
            let other = AuditKey::verify(text.as_bytes(), &KeyRing::single([8; 32]), 0);
            assert_eq!(other, Err(AuditKeyError::Forged));
        }
    }

    #[test]
    fn a_key_changed_at_any_byte_is_refused() {
        for holder in holders() {
            let expires = u64::MAX;
            let text = AuditKey { holder, expires }.sign(&ring());
            for at in 0..text.len() {
                for byte in [b'.', b'A', b'9', 0x80] {
                    let mut changed = text.clone().into_bytes();
                    if changed[at] == byte {
                        continue;
                    }
                    changed[at] = byte;
                    assert!(AuditKey::verify(&changed, &ring(), 0).is_err());
                }
                assert!(AuditKey::verify(&text.as_bytes()[..at], &ring(), 0).is_err());
            }
        }
    }

    #[test]
    fn the_example_of_the_format_is_right() {
        let page = include_str!("../../../docs/formats/audit-key.md");
        let secret = "A 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let ring = KeyRing::parse(secret).expect("a key");
        let key = AuditKey {
            holder: Holder::Consumer(Consumer::Service("shop".into())),
            expires: 1_795_132_800,
        };
        let text = format!("authorization: Bearer {}\n", key.sign(&ring));
        assert!(page.contains(&text), "the page should show {text}");
    }

    #[test]
    fn another_purposes_token_is_no_key() {
        let client = ClientId::from_random([1; 16]).sign(&ring());
        let refused = AuditKey::verify(client.as_bytes(), &ring(), 0);
        assert_eq!(refused, Err(AuditKeyError::Forged));
    }

    #[test]
    fn the_longest_names_key_is_not_too_long() {
        let name = "x".repeat(Consumer::NAME_MAX);
        let key = AuditKey {
            holder: Holder::Consumer(Consumer::Service(name.into())),
            expires: u64::MAX,
        };
        let text = key.sign(&ring());
        assert_eq!(AuditKey::verify(text.as_bytes(), &ring(), 0), Ok(key));
    }

    #[test]
    fn consumers_are_read_with_and_without_their_kind() {
        let hex = "ab".repeat(16);
        let client = Consumer::Client(hex.parse().expect("an id"));
        for (text, consumer) in [
            (hex.as_str(), client.clone()),
            (&format!("client:{hex}"), client),
            (
                &format!("service:{hex}"),
                Consumer::Service(hex.as_str().into()),
            ),
            ("shop", Consumer::Service("shop".into())),
            ("unknown", Consumer::Unknown),
            ("service:unknown", Consumer::Service("unknown".into())),
        ] {
            assert_eq!(text.parse(), Ok(consumer.clone()), "{text}");
            assert_eq!(consumer.to_string().parse(), Ok(consumer), "{text}");
        }
        for text in ["", "client:", "client:shop", "service:"] {
            assert!(text.parse::<Consumer>().is_err(), "{text}");
        }
    }
}
