//! The wire encoding of records: protobuf's, by hand.
//!
//! A message is a list of fields, each a key (`number << 3 | wire type`) and a value. A reader
//! skips the numbers that it does not know, so the format can grow. By hand, because a record is
//! written and read for every request and the generated code would build its own copy of the
//! entry first. Wire types: 0 varint, 1 eight bytes little-endian, 2 length and bytes, 5 four
//! bytes (only ever skipped).

use crate::RecordError;

/// A text that names something (service, host, action, a field's name), in bytes.
pub(crate) const NAME_MAX: usize = 1 << 10;
/// A text that tells something (a field's value, an error), in bytes.
pub(crate) const VALUE_MAX: usize = 64 << 10;
/// A kept body, in bytes.
pub(crate) const BODY_MAX: usize = 16 << 20;
/// Elements of a list.
pub(crate) const LIST_MAX: usize = 4096;

pub(crate) const VARINT: u8 = 0;
pub(crate) const FIXED64: u8 = 1;
pub(crate) const LENGTH: u8 = 2;
const FIXED32: u8 = 5;

/// Appends a number, seven bits a byte, lowest first.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_length(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[inline]
fn put_key(out: &mut Vec<u8>, number: u32, wire: u8) {
    put_varint(out, u64::from(number << 3 | u32::from(wire)));
}

#[inline]
pub(crate) fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    put_key(out, number, VARINT);
    put_varint(out, value);
}

/// A number that is left out when 0.
#[inline]
pub(crate) fn put_count(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_number(out, number, value);
    }
}

#[inline]
pub(crate) fn put_fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    put_key(out, number, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

#[inline]
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_key(out, number, LENGTH);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A text, cut to at most `max` bytes (between characters), so that what is written can be read.
#[inline]
pub(crate) fn put_text(out: &mut Vec<u8>, number: u32, text: &str, max: usize) {
    put_bytes(out, number, cut(text, max).as_bytes());
}

fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A message of its own as a field. Its length stands before it but is known after it, so room is
/// left for the length of a message of `expected` bytes; a wrong guess costs one move.
pub(crate) fn put_message(
    out: &mut Vec<u8>,
    number: u32,
    expected: usize,
    write: impl FnOnce(&mut Vec<u8>),
) {
    put_key(out, number, LENGTH);
    let at = out.len();
    let room = varint_length(expected as u64);
    out.extend_from_slice(&[0; 10][..room]);
    write(out);
    let length = (out.len() - at - room) as u64;
    let needed = varint_length(length);
    if needed > room {
        let end = out.len();
        out.extend_from_slice(&[0; 10][..needed - room]);
        out.copy_within(at + room..end, at + needed);
    } else if needed < room {
        out.drain(at + needed..at + room);
    }
    let mut rest = length;
    for byte in &mut out[at..at + needed] {
        *byte = rest as u8 | 0x80;
        rest >>= 7;
    }
    out[at + needed - 1] &= 0x7f;
}

/// Reads a message's fields in the order they lie.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

/// One field's value as it lies in a message.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Number(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// Four bytes: no field of ours.
    Other,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The bytes not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, RecordError> {
        match self.rest {
            // Nearly all keys and lengths.
            [byte @ ..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, RecordError> {
        let mut value = 0;
        for (n, byte) in self.rest.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if n == 9 && *byte > 1 {
                return Err(RecordError::Bad("number"));
            }
            value |= bits << (7 * n);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[n + 1..];
                return Ok(value);
            }
        }
        Err(RecordError::Truncated)
    }

    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(RecordError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next field: its number and value. `None` at the message's end.
    #[inline(always)]
    pub(crate) fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, RecordError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3)
            .ok()
            .filter(|number| (1..1 << 29).contains(number))
            .ok_or(RecordError::Bad("field number"))?;
        let value = match (key & 7) as u8 {
            VARINT => Value::Number(self.varint()?),
            FIXED64 => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(self.take(8)?);
                Value::Fixed64(u64::from_le_bytes(bytes))
            }
            LENGTH => {
                let length = usize::try_from(self.varint()?).map_err(|_| RecordError::Truncated)?;
                Value::Bytes(self.take(length)?)
            }
            FIXED32 => {
                self.take(4)?;
                Value::Other
            }
            _ => return Err(RecordError::Bad("wire type")),
        };
        Ok(Some((number, value)))
    }
}

impl<'a> Value<'a> {
    #[inline]
    pub(crate) fn number(self, what: &'static str) -> Result<u64, RecordError> {
        match self {
            Self::Number(value) => Ok(value),
            _ => Err(RecordError::Bad(what)),
        }
    }

    #[inline]
    pub(crate) fn fixed64(self, what: &'static str) -> Result<u64, RecordError> {
        match self {
            Self::Fixed64(value) => Ok(value),
            _ => Err(RecordError::Bad(what)),
        }
    }

    /// At most `max` bytes.
    #[inline]
    pub(crate) fn bytes(self, max: usize, what: &'static str) -> Result<&'a [u8], RecordError> {
        match self {
            Self::Bytes(bytes) if bytes.len() <= max => Ok(bytes),
            _ => Err(RecordError::Bad(what)),
        }
    }

    /// Exactly `N` bytes.
    #[inline]
    pub(crate) fn array<const N: usize>(self, what: &'static str) -> Result<[u8; N], RecordError> {
        self.bytes(N, what)?
            .try_into()
            .map_err(|_| RecordError::Bad(what))
    }

    /// UTF-8 of at most `max` bytes.
    #[inline]
    pub(crate) fn text(self, max: usize, what: &'static str) -> Result<&'a str, RecordError> {
        std::str::from_utf8(self.bytes(max, what)?).map_err(|_| RecordError::Bad(what))
    }

    /// A message of its own.
    #[inline]
    pub(crate) fn message(self, what: &'static str) -> Result<Reader<'a>, RecordError> {
        self.bytes(usize::MAX, what).map(Reader::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_survive_at_every_width() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1, !0 >> shift] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                assert_eq!(out.len(), varint_length(value));
                assert_eq!(Reader::new(&out).varint(), Ok(value));
            }
        }
    }

    #[test]
    fn varints_over_64_bits_or_without_end_are_refused() {
        assert_eq!(
            Reader::new(&[0xff; 10]).varint(),
            Err(RecordError::Bad("number"))
        );
        assert_eq!(
            Reader::new(&[0xff; 9]).varint(),
            Err(RecordError::Truncated)
        );
    }

    #[test]
    fn a_wrongly_guessed_length_is_mended() {
        for length in [0, 1, 127, 128, 129, 16_383, 16_384] {
            for expected in [0, 127, 128, 20_000] {
                let mut out = vec![7];
                put_message(&mut out, 3, expected, |out| {
                    out.extend((0..length).map(|n| n as u8));
                });
                let mut plain = vec![7];
                let body: Vec<u8> = (0..length).map(|n| n as u8).collect();
                put_bytes(&mut plain, 3, &body);
                assert_eq!(out, plain);
            }
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("a\u{e9}b", 2), "a");
        assert_eq!(cut("a\u{e9}b", 3), "a\u{e9}");
        assert_eq!(cut("ab", 2), "ab");
    }
}
