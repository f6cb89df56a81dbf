//! Our member of `tracestate`: `sv=1<width><depth><ids><check>`, with no separators.
//!
//! Positional, because every byte is paid for in each call of a fleet, and without `=`, because
//! the SDKs drop all members where one holds a second. All ids have the width of the narrowest:
//! the origin stands in `traceparent`, and so does the request's own id in full. The check covers
//! the origin too, so that a member is never read into another's tree. Drawn in
//! `docs/formats/request-identifier.md`.

use thiserror::Error;

use super::state;
use crate::stack;
use crate::wire::{HeaderText, base64, check, varint};
use crate::{Origin, RequestIdentifier, STACK_MAX};

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

/// Reads the value of a member into `id`, which has the origin of the `traceparent` that it came
/// with, and the least k that its sender may have: the member does not say it. The stack is empty.
/// `origin`: that origin's text. Whatever is read keeps to the grammar of `tracestate`, too.
pub(crate) fn read(
    value: &[u8],
    origin: &[u8; Origin::TEXT_LENGTH],
    id: &mut RequestIdentifier,
) -> Result<(), TraceStateError> {
    use TraceStateError::{Damaged, Malformed};
    if value.len() > VALUE_MAX || value.first() != Some(&b'1') {
        return Err(Malformed);
    }
    let (body, check) = value
        .split_last_chunk::<{ check::LENGTH }>()
        .ok_or(Malformed)?;
    if *check != check::check_with(body, origin) {
        return Err(Damaged);
    }
    read_body(&body[1..], id).ok_or(Malformed)
}

/// Reads `<width><depth><ids>`.
fn read_body(body: &[u8], id: &mut RequestIdentifier) -> Option<()> {
    let (&width, rest) = body.split_first()?;
    let width = (b'1'..=b'8').contains(&width).then(|| width - b'0')?;
    let (depth, digits) = varint::read_digits(rest)?;
    id.depth = depth;
    stack::read(&rest[digits..], width, &mut id.stack)?;
    id.k = id.k.max(id.stack.len() as u8);
    Some(())
}

/// Writes the whole member of an identifier, `sv=` and all. `origin`: its origin's text.
#[inline]
pub(crate) fn put(
    out: &mut HeaderText<MEMBER_MAX>,
    id: &RequestIdentifier,
    origin: &[u8; Origin::TEXT_LENGTH],
) {
    let width = id.stack.narrowest();
    out.put(&[state::KEY[0], state::KEY[1], b'=', b'1', b'0' + width]);
    varint::put_digits(out, id.depth());
    stack::put_cut(out, id.stack(), width);
    out.put(&check::check_with(&out.as_bytes()[3..], origin));
}
