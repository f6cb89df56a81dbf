//! The heads of a token as bytes: compact, because they ride in every request of a visit, and
//! one form only for a set of heads.
//!
//! ```text
//! head     := server counter(u32) random(8 bytes) rest    the first of a server's epoch
//!           | 0 rest                                      same server and epoch as the one before
//! server   := length(1 byte, 1 to 63) name
//! rest     := sequence effect-minus-sequence counter
//! ```
//! Numbers are LEB128 in their shortest form. Heads stand in the order of their positions, each
//! greater than the one before, so those of one server and epoch are neighbours and the short
//! form is found (and then demanded).

use smallvec::SmallVec;

use super::TokenError;
use crate::wire::varint;
use crate::{Epoch, HEADS_MAX, Head, Position, ServerName};

/// Bytes of the longest head.
pub(super) const HEAD_LENGTH_MAX: usize =
    1 + ServerName::LENGTH_MAX + 5 + 8 + 3 * varint::BYTES_MAX;

/// The first byte of a head of the same server and epoch as the one before.
const SAME: u8 = 0;

/// Brings heads into their order, each once, at most [`HEADS_MAX`] (the greatest by ordering id).
/// Of two heads of one position, which differ only where an action's effect was shown before it
/// was complete, the later knowledge is kept.
pub(super) fn normalise(heads: &mut SmallVec<[Head; 1]>) {
    heads.sort_unstable_by(|a, b| {
        let newer = |h: &Head| (h.effect, h.counter);
        a.position.cmp(&b.position).then(newer(b).cmp(&newer(a)))
    });
    heads.dedup_by(|later, earlier| later.position == earlier.position);
    if heads.len() > HEADS_MAX {
        heads.sort_unstable_by(|a, b| {
            let id = |h: &Head| (h.counter, h.position.server.clone());
            id(b).cmp(&id(a)).then_with(|| b.position.cmp(&a.position))
        });
        heads.truncate(HEADS_MAX);
        heads.sort_unstable_by(|a, b| a.position.cmp(&b.position));
    }
}

/// Writes normalised heads. (An effect before the opening, which no journal can have, is written
/// as at the opening.)
pub(super) fn encode(heads: &[Head]) -> Vec<u8> {
    let mut out = Vec::with_capacity(heads.len() * 32);
    let mut before: Option<&Position> = None;
    for head in heads {
        let Position {
            server,
            epoch,
            sequence,
        } = &head.position;
        if before.is_some_and(|b| b.server == *server && b.epoch == *epoch) {
            out.push(SAME);
        } else {
            out.push(server.as_str().len() as u8);
            out.extend_from_slice(server.as_str().as_bytes());
            varint::push_bytes(&mut out, u64::from(epoch.counter));
            out.extend_from_slice(&epoch.random.to_be_bytes());
        }
        varint::push_bytes(&mut out, *sequence);
        varint::push_bytes(&mut out, head.effect.saturating_sub(*sequence));
        varint::push_bytes(&mut out, head.counter);
        before = Some(&head.position);
    }
    out
}

/// Reads heads that fill `bytes`.
pub(super) fn decode(mut bytes: &[u8]) -> Result<SmallVec<[Head; 1]>, TokenError> {
    let mut heads: SmallVec<[Head; 1]> = SmallVec::new();
    while !bytes.is_empty() {
        if heads.len() == HEADS_MAX {
            return Err(TokenError::Oversized);
        }
        let before = heads.last().map(|head| &head.position);
        let head = decode_head(&mut bytes, before).ok_or(TokenError::Malformed)?;
        heads.push(head);
    }
    Ok(heads)
}

/// Reads one head that is followed by nothing but zeros.
pub(super) fn decode_filled(mut bytes: &[u8]) -> Option<Head> {
    let length = bytes.len();
    let head = decode_head(&mut bytes, None)?;
    let read = length - bytes.len();
    let needless = read.next_multiple_of(super::addressed::BLOCK) < length;
    (!needless && bytes.iter().all(|&byte| byte == 0)).then_some(head)
}

fn decode_head(bytes: &mut &[u8], before: Option<&Position>) -> Option<Head> {
    let (&length, rest) = bytes.split_first()?;
    *bytes = rest;
    let (server, epoch) = if length == SAME {
        let before = before?;
        (before.server.clone(), before.epoch)
    } else {
        let name = std::str::from_utf8(take(bytes, usize::from(length))?).ok()?;
        let counter = u32::try_from(varint::read_bytes(bytes)?).ok()?;
        let random = u64::from_be_bytes(*take(bytes, 8)?.first_chunk()?);
        (ServerName::new(name).ok()?, Epoch { counter, random })
    };
    let sequence = varint::read_bytes(bytes)?;
    let effect = sequence.checked_add(varint::read_bytes(bytes)?)?;
    let counter = varint::read_bytes(bytes)?;
    let position = Position {
        server,
        epoch,
        sequence,
    };
    if let Some(before) = before {
        let spelled_out = length != SAME;
        let same = position.server == before.server && position.epoch == before.epoch;
        if position <= *before || (spelled_out && same) {
            return None;
        }
    }
    Some(Head {
        position,
        effect,
        counter,
    })
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}
