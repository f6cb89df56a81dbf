//! The check of an identifier: 24 bits of CRC-32C, written as four base64 characters.
//!
//! CRC-32C because every machine of the last decade computes it in hardware; 24 bits because
//! they are exactly four characters. Its lower 24 bits still tell every damage of one byte, at
//! every distance that an identifier has (a test tries them all), and of other damages all but
//! one in 2^24. It is a check against damage, not against malice.

use super::base64;

/// How many characters it takes.
pub(crate) const LENGTH: usize = 4;

/// The check of a text.
pub(crate) fn check(body: &[u8]) -> [u8; LENGTH] {
    base64::quad(crc32c::crc32c(body))
}

#[cfg(test)]
mod tests {
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
