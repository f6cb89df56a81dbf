//! The check of an identifier: 24 bits of CRC-32C, written as four base64 characters.
//!
//! CRC-32C because every machine of the last decade computes it in hardware; 24 bits because
//! they are exactly four characters. Its lower 24 bits still tell every damage of one byte, at
//! every distance that an identifier has (a test tries them all), and of other damages all but
//! one in 2^24. It is a check against damage, not against malice.

use super::base64;
#[cfg(target_arch = "x86_64")]
use super::sse;
use crate::Origin;

/// How many characters it takes.
pub(crate) const LENGTH: usize = 4;

/// The text of an origin.
pub(super) type OriginText = [u8; Origin::TEXT_LENGTH];

/// The check of a text.
#[inline]
pub(crate) fn check(body: &[u8]) -> [u8; LENGTH] {
    base64::quad(crc32c(body, None))
}

/// The check of a text and of an origin's behind it.
#[inline]
pub(crate) fn check_with(body: &[u8], origin: &OriginText) -> [u8; LENGTH] {
    base64::quad(crc32c(body, Some(origin)))
}

#[inline]
fn crc32c(body: &[u8], origin: Option<&OriginText>) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(sse) = sse::sse() {
        return sse::crc32c(sse, body, origin);
    }
    crc32c_by_library(body, origin)
}

// (A call of its own, as all that is seldom done: so what is often done needs less room on the
// stack.)
#[inline(never)]
fn crc32c_by_library(body: &[u8], origin: Option<&OriginText>) -> u32 {
    let crc = crc32c::crc32c(body);
    origin.map_or(crc, |origin| crc32c::crc32c_append(crc, origin))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_of_any_length_are_checked_as_the_library_does(
            text in prop::collection::vec(any::<u8>(), 0..=300),
            origin: OriginText,
            start in 0..8_usize,
        ) {
            // Where it lies in memory must not matter.
            let text = &text[start.min(text.len())..];
            prop_assert_eq!(crc32c(text, None), crc32c::crc32c(text));
            let both = [text, &origin].concat();
            prop_assert_eq!(crc32c(text, Some(&origin)), crc32c::crc32c(&both));
        }
    }

    /// CRCs are linear: whether a damage shows depends on the damage and on how many bytes
    /// follow, not on the text. So 255 damages at 256 distances are all there are.
    #[test]
    fn every_damage_of_one_byte_shows_at_every_distance() {
        let text = [0_u8; 256];
        let whole = crc32c::crc32c(&text);
        for at in 0..text.len() {
            for damage in 1..=255 {
                let mut damaged = text;
                damaged[at] = damage;
                let difference = crc32c::crc32c(&damaged) ^ whole;
                assert_ne!(difference & 0x00ff_ffff, 0, "byte {at}, damage {damage}");
            }
        }
    }
}
