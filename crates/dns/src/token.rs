//! The label that a raced alias points to: it names the site that sent it, and the race.
//!
//! `<site>-<24 characters>`: base32 (RFC 4648's extended hex, lower case) of 16 bits of the epoch of
//! the master's run, 40 bits of the race's number, and a keyed hash over site, race and raced name.
//! Whoever asks for a name under it has seen that answer; nobody else can make one up. Letters and
//! digits only, so that a resolver may mix their case (0x20).

use crate::hash::sip;
use crate::policy::SITE_MAX;

/// Characters that stand for race and hash.
const CHARACTERS: usize = 24;

const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// Bytes of a label at most.
pub(crate) const LABEL_ROOM: usize = SITE_MAX + 1 + CHARACTERS;

/// What a race is called in a label: a short form of the master's epoch, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RaceMark {
    /// The last 16 bits of the epoch.
    pub epoch: u16,
    /// The last 40 bits of the sequence.
    pub sequence: u64,
}

impl RaceMark {
    /// Of an epoch and a sequence.
    #[must_use]
    pub fn new(epoch: u64, sequence: u64) -> Self {
        Self {
            epoch: epoch as u16,
            sequence: sequence & 0xff_ffff_ffff,
        }
    }

    fn bytes(self) -> [u8; 7] {
        let [_, _, _, a, b, c, d, e] = self.sequence.to_be_bytes();
        let [x, y] = self.epoch.to_be_bytes();
        [x, y, a, b, c, d, e]
    }
}

/// Writes a label; `name` is the raced name's key. Says its length.
pub(crate) fn write(
    secret: &[u8; 16],
    site: &str,
    race: RaceMark,
    name: &[u8],
    room: &mut [u8; LABEL_ROOM],
) -> usize {
    let site = &site.as_bytes()[..site.len().min(SITE_MAX)];
    let mut bytes = [0; 15];
    bytes[..7].copy_from_slice(&race.bytes());
    bytes[7..].copy_from_slice(&mac(secret, site, race, name));
    room[..site.len()].copy_from_slice(site);
    room[site.len()] = b'-';
    let characters = &mut room[site.len() + 1..][..CHARACTERS];
    for (five, eight) in bytes.chunks(5).zip(characters.chunks_mut(8)) {
        let five = five
            .iter()
            .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for (place, character) in eight.iter_mut().enumerate() {
            *character = DIGITS[(five >> (35 - 5 * place)) as usize & 31];
        }
    }
    site.len() + 1 + CHARACTERS
}

/// The site and the race of a label in lower case, if it was made with that secret for that name.
pub(crate) fn read<'a>(
    secret: &[u8; 16],
    label: &'a [u8],
    name: &[u8],
) -> Option<(&'a str, RaceMark)> {
    let (site, characters) = label.split_at_checked(label.len().checked_sub(CHARACTERS)?)?;
    let site = site.strip_suffix(b"-")?;
    let mut bytes = [0_u8; 15];
    for (eight, five) in characters.chunks(8).zip(bytes.chunks_mut(5)) {
        let mut bits = 0_u64;
        for character in eight {
            let digit = match character {
                b'0'..=b'9' => character - b'0',
                b'a'..=b'v' => character - b'a' + 10,
                _ => return None,
            };
            bits = bits << 5 | u64::from(digit);
        }
        five.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    let epoch = u16::from_be_bytes([bytes[0], bytes[1]]);
    let sequence = bytes[2..7]
        .iter()
        .fold(0, |n, byte| n << 8 | u64::from(*byte));
    let race = RaceMark { epoch, sequence };
    let right = mac(secret, site, race, name);
    let differing = right
        .iter()
        .zip(&bytes[7..])
        .fold(0, |d, (a, b)| d | (a ^ b));
    let site = str::from_utf8(site).ok()?;
    (differing == 0 && !site.is_empty()).then_some((site, race))
}

fn mac(secret: &[u8; 16], site: &[u8], race: RaceMark, name: &[u8]) -> [u8; 8] {
    sip(secret, &[&[site.len() as u8], site, &race.bytes(), name]).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_names_its_site_and_race_for_one_name() {
        let (secret, name) = ([5; 16], b"\x03www\x07example\x00");
        let race = RaceMark::new(0xffff_abcd, 0x0123_4567_89ab);
        let mut room = [0; LABEL_ROOM];
        let length = write(&secret, "north-2", race, name, &mut room);
        let label = &room[..length];
        assert!(label.starts_with(b"north-2-") && length == 7 + 25);
        assert_eq!(read(&secret, label, name), Some(("north-2", race)));
        assert_eq!(race.sequence, 0x23_4567_89ab);
        assert_eq!(read(&[6; 16], label, name), None);
        assert_eq!(read(&secret, label, b"\x02ww\x07example\x00"), None);
        for at in 0..length {
            let mut other = label.to_vec();
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(read(&secret, &other, name), None, "byte {at}");
        }
        for cut in 0..length {
            assert_eq!(read(&secret, &label[..cut], name), None, "cut at {cut}");
        }
    }
}
