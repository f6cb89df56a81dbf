//! The text of a request identifier: `1.<widths>.<k>.<depth>.<origin>.<stack>.<check>`.
//!
//! Strict in both directions: an identifier is written in one way, and nothing else is read, so
//! texts can be compared and a damaged one is never taken for another. The check is tried before
//! anything but the version is looked at.

use super::{DEPTH_MAX, IdentifierError, RequestIdentifier, STACK_MAX};
use crate::Origin;
use crate::stack::{self, Stack, StackBytes};
use crate::wire::{HeaderText, base64, check, hex, unhex, varint};

pub(super) fn read(value: &[u8], id: &mut RequestIdentifier) -> Result<(), IdentifierError> {
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
    let fields = body.get(2..).ok_or(IdentifierError::Malformed)?;
    read_fields(fields, id).ok_or(IdentifierError::Malformed)
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
    let (origin, rest) = rest.split_first_chunk::<{ Origin::TEXT_LENGTH }>()?;
    id.origin = Origin::from_bytes(unhex(origin)?)?;
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

fn read_stack(widths: &[u8], text: &[u8], stack: &mut Stack) -> Option<()> {
    if let &[width] = widths {
        return stack::read(text, parse_width(width)?, stack);
    }
    if widths.iter().all(|width| *width == widths[0]) {
        return None;
    }
    let bytes = StackBytes::read(text)?;
    let mut at = 0;
    for &width in widths {
        at = bytes.push(at, parse_width(width)?, stack)?;
    }
    (at == bytes.length()).then_some(())
}

fn parse_width(digit: u8) -> Option<u8> {
    (b'1'..=b'8').contains(&digit).then(|| digit - b'0')
}

pub(super) fn write(id: &RequestIdentifier, out: &mut HeaderText<{ RequestIdentifier::TEXT_MAX }>) {
    let width = id.stack.width();
    if let Some(width) = width
        && id.k < 10
        && id.depth < 32
    {
        let depth = base64::digit(id.depth as u8);
        out.put(&[
            b'1',
            b'.',
            b'0' + width,
            b'.',
            b'0' + id.k,
            b'.',
            depth,
            b'.',
        ]);
    } else {
        put_widths_k_depth(id, out);
    }
    out.put(&hex::<16, { Origin::TEXT_LENGTH }>(id.origin.as_bytes()));
    out.put(b".");
    if let Some(width) = width {
        stack::put_cut(out, &id.stack, width);
    } else {
        stack::put(out, &id.stack);
    }

    let [a, b, c, d] = check::check(out.as_bytes());
    out.put(&[b'.', a, b, c, d]);
}

fn put_widths_k_depth<const N: usize>(id: &RequestIdentifier, out: &mut HeaderText<N>) {
    out.put(b"1.");
    if let Some(width) = id.stack.width() {
        out.put(&[b'0' + width]);
    } else {
        for i in id.stack.iter() {
            out.put(&[b'0' + i.width()]);
        }
    }
    if id.k >= 10 {
        out.put(&[b'.', b'1', b'0' + id.k - 10, b'.']);
    } else {
        out.put(&[b'.', b'0' + id.k, b'.']);
    }
    varint::put_digits(out, id.depth);
    out.put(b".");
}
