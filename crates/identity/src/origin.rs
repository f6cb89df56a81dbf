//! The id that a root request and all calls it causes share.

use crate::wire::bytes_id;

bytes_id! {
    /// An origin: 16 bytes, shown as 32 lower-case hex digits; equal to the W3C trace-id. Never
    /// all zero.
    pub struct Origin([u8; 16]) = "origin";
}

impl Origin {
    /// Characters of its text.
    pub(crate) const TEXT_LENGTH: usize = Self::LENGTH * 2;

    /// One to be overwritten.
    pub(crate) const PLACEHOLDER: Self = Self([1; 16]);

    /// Makes an origin: 48 bits of milliseconds since the Unix epoch, then 80 random bits. It
    /// carries no UUID version bits, which would break samplers that read its low half as a
    /// ratio.
    #[must_use]
    pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&unix_ms.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        if bytes == [0; 16] {
            bytes[15] = 1;
        }
        Self(bytes)
    }
}
