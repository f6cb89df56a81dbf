//! Correction of one damaged character, by choice (D1).
//!
//! The check tells that a text is damaged; where one character is, it nearly always tells which:
//! of the some six thousand texts that differ from the one received in one character, only the
//! right one agrees with its check. All are tried, by the CRC's linearity rather than one by one:
//! what a damage does to the check depends on the damage and its distance from the end alone.
//!
//! The price is trust: a text with two or more damaged characters, which the plain check lets
//! through once in 2^24, is now taken for another identifier about once in three thousand times.
//! So it is off unless asked for, and two candidates are as bad as none.

use super::{IdentifierError, RequestIdentifier};
use crate::wire::{base64, check};

/// Reads a text of which at most one character is damaged, and says whether one was.
pub(super) fn parse(value: &[u8]) -> Result<(RequestIdentifier, bool), IdentifierError> {
    match RequestIdentifier::parse(value) {
        Ok(identifier) => Ok((identifier, false)),
        Err(IdentifierError::Oversized) => Err(IdentifierError::Oversized),
        Err(fault) => only_candidate(value).map(|id| (id, true)).ok_or(fault),
    }
}

/// The one identifier whose text differs from `value` in one character; `None` if there are
/// several.
fn only_candidate(value: &[u8]) -> Option<RequestIdentifier> {
    let (body, end) = value.split_last_chunk::<{ check::LENGTH + 1 }>()?;
    let mut candidates = Candidates {
        text: value.to_vec(),
        found: None,
        several: false,
    };

    let right = check::check(body);
    let wrong_at = |at: usize| {
        if at == 0 {
            end[0] != b'.'
        } else {
            end[at] != right[at - 1]
        }
    };
    let mut wrong = (0..end.len()).filter(|&at| wrong_at(at));
    if let (Some(at), None) = (wrong.next(), wrong.next()) {
        let character = if at == 0 { b'.' } else { right[at - 1] };
        candidates.try_with(body.len() + at, character);
    }

    if let Some(received) = check_bits(&end[1..]) {
        let syndrome = received ^ check_bits(&right)?;
        // What the damage of each single bit does to the CRC, at this distance from the end.
        let mut bits: [u32; 8] = std::array::from_fn(|bit| zero_byte(1 << bit));
        for at in (0..body.len()).rev() {
            for &character in CHARACTERS {
                let damage = body[at] ^ character;
                let effect = (0..8)
                    .filter(|bit| damage >> bit & 1 == 1)
                    .fold(0, |sum, bit| sum ^ bits[bit]);
                if damage != 0 && effect & CHECK_MASK == syndrome {
                    candidates.try_with(at, character);
                }
            }
            bits = bits.map(zero_byte);
        }
    }
    candidates.found.filter(|_| !candidates.several)
}

/// The texts that may have been sent.
struct Candidates {
    text: Vec<u8>,
    found: Option<RequestIdentifier>,
    several: bool,
}

impl Candidates {
    fn try_with(&mut self, at: usize, character: u8) {
        let received = std::mem::replace(&mut self.text[at], character);
        if let Ok(identifier) = RequestIdentifier::parse(&self.text) {
            self.several |= self.found.is_some();
            self.found = Some(identifier);
        }
        self.text[at] = received;
    }
}

/// What the text of an identifier is made of.
const CHARACTERS: &[u8] = b".-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";

/// The bits of the CRC that are written.
const CHECK_MASK: u32 = 0x00ff_ffff;

/// The polynomial of CRC-32C, lowest bit first.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// A CRC register after one more byte of zero.
fn zero_byte(mut register: u32) -> u32 {
    for _ in 0..8 {
        let carry = register & 1;
        register = (register >> 1) ^ (POLYNOMIAL * carry);
    }
    register
}

fn check_bits(text: &[u8]) -> Option<u32> {
    let mut bytes = [0; 4];
    base64::read(text, &mut bytes[1..])?;
    Some(u32::from_be_bytes(bytes))
}
