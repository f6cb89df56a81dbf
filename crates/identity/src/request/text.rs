//! The text of a request identifier: `1.<widths>.<k>.<depth>.<origin>.<stack>.<check>`.
//!
//! Strict in both directions: an identifier is written in one way, and nothing else is read, so
//! texts can be compared and a damaged one is never taken for another. The check is tried before
//! anything but the version is looked at.

use arrayvec::ArrayString;

use super::{DEPTH_MAX, IdentifierError, RequestIdentifier, STACK_MAX};
use crate::interaction::Stack;
use crate::wire::{base64, check, parse_hex, varint, write_hex};
use crate::{Origin, StackId};

/// Bytes of the longest stack, and room to read or write its last id as eight whole bytes.
const STACK_ROOM: usize = STACK_MAX * 8 + 8;

/// The characters of an origin.
const ORIGIN_LENGTH: usize = Origin::LENGTH * 2;

pub(super) fn parse(value: &[u8]) -> Result<RequestIdentifier, IdentifierError> {
    if value.len() > RequestIdentifier::TEXT_MAX {
        return Err(IdentifierError::Oversized);
    }
    if !value.starts_with(b"1.") {
        return Err(if names_a_version(value) {
            IdentifierError::UnknownVersion
        } else {
            IdentifierError::Malformed
        });
    }
    let (body, end) = value
        .split_last_chunk::<{ check::LENGTH + 1 }>()
        .ok_or(IdentifierError::Malformed)?;
    if end[0] != b'.' {
        return Err(IdentifierError::Malformed);
    }
    if end[1..] != check::check(body) {
        return Err(IdentifierError::Damaged);
    }
    // Filled in place: a stack is big, and each move of it costs as much as the rest.
    let mut id = RequestIdentifier {
        origin: Origin::from_random([0; Origin::LENGTH]),
        depth: 0,
        k: 1,
        stack: Stack::new(),
    };
    match body
        .get(2..)
        .and_then(|fields| read_fields(fields, &mut id))
    {
        Some(()) => Ok(id),
        None => Err(IdentifierError::Malformed),
    }
}

/// Whether the text begins as an identifier of another version: a number and a dot.
fn names_a_version(value: &[u8]) -> bool {
    let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
    digits > 0 && value.get(digits) == Some(&b'.')
}

/// Reads `<widths>.<k>.<depth>.<origin>.<stack>` into `id`, whose stack is empty.
fn read_fields(fields: &[u8], id: &mut RequestIdentifier) -> Option<()> {
    let (widths, rest) = split_at_dot(fields, STACK_MAX)?;
    let (k, rest) = split_at_dot(rest, 2)?;
    id.k = parse_k(k)?;
    let (depth, digits) = varint::read_digits(rest)?;
    id.depth = depth;
    let rest = rest[digits..].strip_prefix(b".")?;
    let (origin, rest) = rest.split_at_checked(ORIGIN_LENGTH)?;
    id.origin = parse_origin(origin)?;
    read_stack(widths, rest.strip_prefix(b".")?, &mut id.stack)?;
    (id.stack.len() <= usize::from(id.k) && depth <= DEPTH_MAX).then_some(())
}

/// The 1 to `length_max` bytes before the first dot, and what follows it.
fn split_at_dot(text: &[u8], length_max: usize) -> Option<(&[u8], &[u8])> {
    let at = text.iter().take(length_max + 1).position(|&b| b == b'.')?;
    (at > 0).then(|| (&text[..at], &text[at + 1..]))
}

/// 1 to 16, without leading zeros.
fn parse_k(text: &[u8]) -> Option<u8> {
    let k = match *text {
        [ones @ b'1'..=b'9'] => ones - b'0',
        [b'1', ones @ b'0'..=b'6'] => 10 + ones - b'0',
        _ => return None,
    };
    (usize::from(k) <= STACK_MAX).then_some(k)
}

fn parse_origin(text: &[u8]) -> Option<Origin> {
    let mut bytes = [0; Origin::LENGTH];
    parse_hex(text, &mut bytes)?;
    Origin::from_bytes(bytes)
}

fn read_stack(widths: &[u8], text: &[u8], stack: &mut Stack) -> Option<()> {
    let mut bytes = [0; STACK_ROOM];
    // The room for a last whole id is not for the text: a longer one is refused here.
    let length = base64::read(text, &mut bytes[..STACK_MAX * 8])?;
    if let &[width] = widths {
        let width = parse_width(width)?;
        if length == 0 || length % usize::from(width) != 0 {
            return None;
        }
        let count = length / usize::from(width);
        if count > STACK_MAX {
            return None;
        }
        for index in 0..count {
            stack.push(read_id(&bytes, index * usize::from(width), width)?);
        }
        return Some(());
    }
    if widths.iter().all(|width| *width == widths[0]) {
        return None;
    }
    let mut at = 0;
    for &width in widths {
        let width = parse_width(width)?;
        stack.push(read_id(&bytes, at, width)?);
        at += usize::from(width);
    }
    (at == length).then_some(())
}

fn parse_width(digit: u8) -> Option<u8> {
    (b'1'..=b'8').contains(&digit).then(|| digit - b'0')
}

fn read_id(bytes: &[u8; STACK_ROOM], at: usize, width: u8) -> Option<StackId> {
    let padded = bytes.get(at..)?.first_chunk()?;
    Some(StackId::from_padded(*padded, width))
}

pub(super) fn encode(id: &RequestIdentifier) -> ArrayString<{ RequestIdentifier::TEXT_MAX }> {
    let mut out = Out {
        bytes: [0; RequestIdentifier::TEXT_MAX],
        length: 0,
    };
    out.put(b"1.");
    let first = id.stack[0].width();
    if id.stack.iter().all(|i| i.width() == first) {
        out.put(&[b'0' + first]);
    } else {
        for i in &id.stack {
            out.put(&[b'0' + i.width()]);
        }
    }
    if id.k >= 10 {
        out.put(&[b'.', b'1', b'0' + id.k - 10, b'.']);
    } else {
        out.put(&[b'.', b'0' + id.k, b'.']);
    }
    out.write(|room| varint::write_digits(room, id.depth));
    out.put(b".");
    out.write(|room| write_hex(room, id.origin.as_bytes()));
    out.put(b".");

    let mut bytes = [0; STACK_ROOM];
    let mut length = 0;
    for i in &id.stack {
        bytes[length..length + 8].copy_from_slice(&i.padded());
        length += usize::from(i.width());
    }
    out.write(|room| base64::write(room, &bytes[..length]));

    let check = check::check(&out.bytes[..out.length]);
    out.put(b".");
    out.put(&check);

    let mut text = ArrayString::new();
    if let Ok(valid) = std::str::from_utf8(&out.bytes[..out.length]) {
        text.push_str(valid);
    }
    text
}

/// A text under construction. It holds ASCII only, and the longest identifier is shorter than it.
/// Aligned, because the test for UTF-8 goes by words only then.
#[repr(align(16))]
struct Out {
    bytes: [u8; RequestIdentifier::TEXT_MAX],
    length: usize,
}

impl Out {
    fn put(&mut self, part: &[u8]) {
        self.bytes[self.length..self.length + part.len()].copy_from_slice(part);
        self.length += part.len();
    }

    fn write(&mut self, part: impl FnOnce(&mut [u8]) -> usize) {
        self.length += part(&mut self.bytes[self.length..]);
    }
}
