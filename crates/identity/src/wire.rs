//! Text and number forms that the identifiers share: hex, URL-safe base64 without padding,
//! numbers of variable length, the check, and serde as text.

pub(crate) mod base64;
pub(crate) mod check;
mod hex;
#[cfg(target_arch = "x86_64")]
pub(crate) mod sse;
mod text;
pub(crate) mod varint;

use thiserror::Error;

pub(crate) use hex::{hex, hex_u64, parse_hex, parse_hex_u64, unhex, unhex_both};
pub use text::HeaderText;

/// A text that is not the identifier it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a valid {what}")]
pub struct ParseIdError {
    what: &'static str,
}

impl ParseIdError {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what }
    }
}

/// Serialises a type by its `Display` and deserialises it by its `FromStr`.
macro_rules! serde_as_text {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;

/// Defines an identifier of fixed bytes that is shown in lower-case hex and is never all zero.
macro_rules! bytes_id {
    ($(#[$meta:meta])* pub struct $name:ident([u8; $length:literal]) = $what:literal;) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $length]);

        impl $name {
            /// How many bytes it has.
            pub const LENGTH: usize = $length;

            /// Wraps the bytes; `None` if all are zero.
            #[must_use]
            pub fn from_bytes(bytes: [u8; $length]) -> Option<Self> {
                (bytes != [0; $length]).then_some(Self(bytes))
            }

            /// Wraps freshly drawn random bytes. (All zero becomes one: the draw cannot fail.)
            #[must_use]
            pub fn from_random(mut bytes: [u8; $length]) -> Self {
                if bytes == [0; $length] {
                    bytes[$length - 1] = 1;
                }
                Self(bytes)
            }

            /// Its bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }

            /// Its text, on the stack.
            #[must_use]
            pub fn text(&self) -> arrayvec::ArrayString<{ $length * 2 }> {
                let text: [u8; $length * 2] = crate::wire::hex(&self.0);
                // ASCII: the fallback is never taken.
                arrayvec::ArrayString::from_byte_string(&text).unwrap_or_default()
            }

            /// Reads its text.
            ///
            /// # Errors
            /// Unless it is lower-case hex of the right length and not all zero.
            pub fn parse(text: &[u8]) -> Result<Self, crate::ParseIdError> {
                crate::wire::parse_hex::<$length, { $length * 2 }>(text)
                    .and_then(Self::from_bytes)
                    .ok_or(crate::ParseIdError::new($what))
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::ParseIdError;

            fn from_str(text: &str) -> Result<Self, crate::ParseIdError> {
                Self::parse(text.as_bytes())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.text())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.text())
            }
        }

        crate::wire::serde_as_text!($name);
    };
}
pub(crate) use bytes_id;
