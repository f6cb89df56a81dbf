//! Our member of `tracestate`: `sv=1<width><depth><ids><check>`, with no separators.
//!
//! Positional, because every byte is paid for in each call of a fleet, and without `=`, because
//! the SDKs drop all members where one holds a second. All ids have the width of the narrowest:
//! the origin stands in `traceparent`, and so does the request's own id in full. The check covers
//! the origin too, so that a member is never read into another's tree. Drawn in
//! `docs/formats/request-identifier.md`.

use arrayvec::ArrayString;
use thiserror::Error;

use super::state;
use crate::interaction::Stack;
use crate::wire::{base64, check, varint, write_hex};
use crate::{Origin, RequestIdentifier, STACK_MAX, StackId};

/// Why an `sv` member was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TraceStateError {
    /// Not of the form.
    #[error("malformed sv member")]
    Malformed,
    /// The check does not hold.
    #[error("damaged sv member")]
    Damaged,
}

/// Characters of the longest value: version, width, depth, sixteen ids of eight bytes, check.
const VALUE_MAX: usize =
    2 + varint::DIGITS_MAX + base64::encoded_length(STACK_MAX * 8) + check::LENGTH;

/// Characters of the longest member, with its key.
pub(crate) const MEMBER_MAX: usize = VALUE_MAX + 3;

/// What a member says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sv {
    pub(crate) depth: u32,
    /// Never empty.
    pub(crate) stack: Stack,
}

/// Reads the value of a member that came with a `traceparent` of this origin.
pub(crate) fn parse(value: &[u8], origin: Origin) -> Result<Sv, TraceStateError> {
    use TraceStateError::{Damaged, Malformed};
    if value.len() > VALUE_MAX || value.first() != Some(&b'1') {
        return Err(Malformed);
    }
    let (body, check) = value
        .split_last_chunk::<{ check::LENGTH }>()
        .ok_or(Malformed)?;
    if *check != check_of(body, origin) {
        return Err(Damaged);
    }
    parse_body(&body[1..]).ok_or(Malformed)
}

/// Reads `<width><depth><ids>`.
fn parse_body(body: &[u8]) -> Option<Sv> {
    let (&width, rest) = body.split_first()?;
    let width = (b'1'..=b'8').contains(&width).then(|| width - b'0')?;
    let (depth, digits) = varint::read_digits(rest)?;
    let mut bytes = [0; STACK_MAX * 8];
    let length = base64::read(&rest[digits..], &mut bytes)?;
    let ids = bytes[..length].chunks_exact(usize::from(width));
    if length == 0 || !ids.remainder().is_empty() || ids.len() > STACK_MAX {
        return None;
    }
    let stack = ids.map(StackId::new).collect::<Option<Stack>>()?;
    Some(Sv { depth, stack })
}

/// The whole member of an identifier, `sv=` and all.
pub(crate) fn encode(id: &RequestIdentifier) -> ArrayString<MEMBER_MAX> {
    let width = id.stack().iter().map(StackId::width).min().unwrap_or(1);
    let mut text = [0; MEMBER_MAX];
    text[..2].copy_from_slice(state::KEY);
    text[2..5].copy_from_slice(&[b'=', b'1', b'0' + width]);
    let mut length = 5;
    length += varint::write_digits(&mut text[length..], id.depth());

    let mut bytes = [0; STACK_MAX * 8];
    let ids = bytes.chunks_exact_mut(usize::from(width));
    for (id, out) in id.stack().iter().zip(ids) {
        out.copy_from_slice(&id.as_bytes()[..usize::from(width)]);
    }
    let ids = &bytes[..id.stack().len() * usize::from(width)];
    length += base64::write(&mut text[length..], ids);

    let check = check_of(&text[3..length], id.origin());
    text[length..length + check::LENGTH].copy_from_slice(&check);
    length += check::LENGTH;
    // ASCII, and no longer than the string: neither fallback is ever taken.
    let text = std::str::from_utf8(&text[..length]).unwrap_or_default();
    ArrayString::from(text).unwrap_or_default()
}

fn check_of(body: &[u8], origin: Origin) -> [u8; check::LENGTH] {
    let mut hex = [0; Origin::LENGTH * 2];
    write_hex(&mut hex, origin.as_bytes());
    check::check_both(body, &hex)
}
