//! What records are made of: positions, calls, data, fields, codes (docs/formats/entry.md).
//!
//! As in `codec`, each part has a `put_` and a `read_` side by side.

use bytes::Bytes;
use selvedge_identity::{
    Epoch, Interaction, Origin, Position, RequestIdentifier, ServerName, StackId,
};

use crate::share;
use crate::wire::{
    BODY_MAX, LIST_MAX, NAME_MAX, Reader, VALUE_MAX, Value, put_bytes, put_count, put_fixed64,
    put_message, put_number, put_text, put_varint,
};
use crate::{Call, Data, Direction, Fields, Follow, Link, Outcome, RecordError, Text};

type Result<T> = std::result::Result<T, RecordError>;

/// Bodies from this size on share the record's memory; shorter ones are copied, so that an entry
/// that is kept for long does not hold a whole batch of records.
const SHARE_MIN: usize = 4096;

mod follow {
    pub(super) const SERVER: u32 = 1;
    pub(super) const EPOCH_COUNTER: u32 = 2;
    pub(super) const EPOCH_RANDOM: u32 = 3;
    pub(super) const SEQUENCE: u32 = 4;
    /// Only in a [`crate::Follow`], and how much greater than the sequence.
    pub(super) const EFFECT: u32 = 5;
}

pub(crate) fn put_position(out: &mut Vec<u8>, position: &Position) {
    use self::follow as f;
    put_text(out, f::SERVER, position.server.as_str(), NAME_MAX);
    put_number(out, f::EPOCH_COUNTER, u64::from(position.epoch.counter));
    put_fixed64(out, f::EPOCH_RANDOM, position.epoch.random);
    put_number(out, f::SEQUENCE, position.sequence);
}

pub(crate) fn put_follow(out: &mut Vec<u8>, follow: &Follow) {
    put_position(out, &follow.position);
    // Wraps, so that whatever stands in the entry comes back as it was.
    let later = follow.effect.wrapping_sub(follow.position.sequence);
    put_count(out, follow::EFFECT, later);
}

pub(crate) fn read_follow(message: Reader<'_>) -> Result<Follow> {
    let (position, later) = read_position(message)?;
    Ok(Follow {
        effect: position.sequence.wrapping_add(later),
        position,
    })
}

pub(crate) fn read_position(mut message: Reader<'_>) -> Result<(Position, u64)> {
    use self::follow as f;
    let (mut server, mut counter, mut random, mut sequence) = (None, None, None, None);
    let mut later = 0;
    while let Some((number, value)) = message.field()? {
        match number {
            f::SERVER => {
                let name = value.text(ServerName::LENGTH_MAX, "server")?;
                server = Some(share::server(name).map_err(|_| RecordError::Bad("server"))?);
            }
            f::EPOCH_COUNTER => {
                let number = value.number("epoch")?;
                counter = Some(u32::try_from(number).map_err(|_| RecordError::Bad("epoch"))?);
            }
            f::EPOCH_RANDOM => random = Some(value.fixed64("epoch")?),
            f::SEQUENCE => sequence = Some(value.number("sequence")?),
            f::EFFECT => later = value.number("effect")?,
            _ => {}
        }
    }
    let position = Position {
        server: some(server, "server")?,
        epoch: Epoch {
            counter: some(counter, "epoch")?,
            random: some(random, "epoch")?,
        },
        sequence: some(sequence, "sequence")?,
    };
    Ok((position, later))
}

mod call {
    pub(super) const IDENTIFIER: u32 = 1;
    pub(super) const INTERACTION: u32 = 2;
    pub(super) const PEER: u32 = 3;
    pub(super) const PEER_HOST: u32 = 4;
}

pub(crate) fn put_call(out: &mut Vec<u8>, call: &Call) {
    use self::call as f;
    put_message(out, f::IDENTIFIER, 64, |out| {
        put_identifier(out, &call.identifier);
    });
    if let Some(interaction) = &call.interaction {
        put_bytes(out, f::INTERACTION, interaction.as_bytes());
    }
    if let Some(peer) = &call.peer {
        put_text(out, f::PEER, peer, NAME_MAX);
    }
    if let Some(host) = &call.peer_host {
        put_text(out, f::PEER_HOST, host, NAME_MAX);
    }
}

pub(crate) fn read_call(mut message: Reader<'_>) -> Result<Call> {
    use self::call as f;
    let mut identifier = None;
    let (mut interaction, mut peer, mut peer_host) = (None, None, None);
    while let Some((number, value)) = message.field()? {
        match number {
            f::IDENTIFIER => identifier = Some(read_identifier(value)?),
            f::INTERACTION => {
                let id = Interaction::from_bytes(value.array("interaction")?);
                interaction = Some(some(id, "interaction")?);
            }
            f::PEER => peer = Some(name(value, "peer")?),
            f::PEER_HOST => peer_host = Some(name(value, "peer's host")?),
            _ => {}
        }
    }
    Ok(Call {
        identifier: some(identifier, "identifier")?,
        interaction,
        peer,
        peer_host,
    })
}

/// Origin (16 bytes), depth (varint), k - 1 and the stack's length - 1 (four bits each), the ids'
/// common width (one byte) or 0 and a byte for each id's, the ids.
fn put_identifier(out: &mut Vec<u8>, identifier: &RequestIdentifier) {
    let stack = identifier.stack();
    out.extend_from_slice(identifier.origin().as_bytes());
    put_varint(out, u64::from(identifier.depth()));
    out.push((identifier.k() - 1) << 4 | (stack.len() - 1) as u8);
    let width = stack[0].width();
    if stack.iter().all(|id| id.width() == width) {
        out.push(width);
    } else {
        out.push(0);
        out.extend(stack.iter().map(StackId::width));
    }
    for id in stack {
        out.extend_from_slice(id.as_bytes());
    }
}

fn read_identifier(value: Value<'_>) -> Result<RequestIdentifier> {
    const BAD: RecordError = RecordError::Bad("identifier");
    let mut reader = value.message("identifier")?;
    let mut origin = [0; 16];
    origin.copy_from_slice(reader.take(16)?);
    let origin = Origin::from_bytes(origin).ok_or(BAD)?;
    let depth = u32::try_from(reader.varint()?).map_err(|_| BAD)?;
    let [counts, common] = reader.take(2)? else {
        return Err(BAD);
    };
    let (k, length) = ((counts >> 4) + 1, usize::from(counts & 15) + 1);
    let widths = if *common == 0 {
        Some(reader.take(length)?)
    } else {
        None
    };
    let mut stack = [None; 16];
    for (n, slot) in stack[..length].iter_mut().enumerate() {
        let width = widths.map_or(*common, |widths| widths[n]);
        *slot = StackId::new(reader.take(usize::from(width))?);
    }
    if !reader.rest().is_empty() {
        return Err(BAD);
    }
    let first = stack[0].ok_or(BAD)?;
    let mut ids = [first; 16];
    for (id, slot) in ids.iter_mut().zip(&stack[..length]) {
        *id = slot.ok_or(BAD)?;
    }
    RequestIdentifier::from_parts(origin, depth, k, &ids[..length]).ok_or(BAD)
}

mod data {
    pub(super) const FIELD: u32 = 1;
    pub(super) const BODY: u32 = 2;
    pub(super) const TRUNCATED: u32 = 3;
}

/// Left out when nothing was kept.
pub(crate) fn put_data(out: &mut Vec<u8>, number: u32, data: &Data) {
    use self::data as f;
    if data.is_empty() && !data.truncated {
        return;
    }
    let body = data.body.as_deref();
    let kept = body.map(|body| &body[..body.len().min(BODY_MAX)]);
    put_message(out, number, 64 + kept.map_or(0, <[u8]>::len), |out| {
        put_fields(out, f::FIELD, &data.fields);
        if let Some(kept) = kept {
            put_bytes(out, f::BODY, kept);
        }
        let cut = body.is_some_and(|body| body.len() > BODY_MAX);
        put_count(out, f::TRUNCATED, u64::from(data.truncated || cut));
    });
}

pub(crate) fn read_data(mut message: Reader<'_>, record: &Bytes) -> Result<Data> {
    use self::data as f;
    let mut data = Data::default();
    while let Some((number, value)) = message.field()? {
        match number {
            f::FIELD => read_field(&mut data.fields, value, "field")?,
            f::BODY => {
                let body = value.bytes(BODY_MAX, "body")?;
                data.body = Some(if body.len() < SHARE_MIN {
                    Bytes::copy_from_slice(body)
                } else {
                    record.slice_ref(body)
                });
            }
            f::TRUNCATED => data.truncated = value.number("truncated")? != 0,
            _ => {}
        }
    }
    Ok(data)
}

const FIELD_NAME: u32 = 1;
const FIELD_VALUE: u32 = 2;

pub(crate) fn put_fields(out: &mut Vec<u8>, number: u32, fields: &Fields) {
    for (name, value) in fields.iter().take(LIST_MAX) {
        put_message(out, number, name.len() + value.len() + 4, |out| {
            put_text(out, FIELD_NAME, name, NAME_MAX);
            put_text(out, FIELD_VALUE, value, VALUE_MAX);
        });
    }
}

pub(crate) fn read_field(fields: &mut Fields, value: Value<'_>, what: &'static str) -> Result<()> {
    room(fields.len(), what)?;
    let mut message = value.message(what)?;
    let (mut key, mut text) = (None, None);
    while let Some((number, value)) = message.field()? {
        match number {
            FIELD_NAME => key = Some(value.text(NAME_MAX, what)?),
            FIELD_VALUE => text = Some(value.text(VALUE_MAX, what)?),
            _ => {}
        }
    }
    fields.push((
        share::text(some(key, what)?),
        share::text(some(text, what)?),
    ));
    Ok(())
}

pub(crate) fn read_link(value: Value<'_>) -> Result<Link> {
    let bytes: [u8; 24] = value.array("link")?;
    let (mut origin, mut interaction) = ([0; 16], [0; 8]);
    origin.copy_from_slice(&bytes[..16]);
    interaction.copy_from_slice(&bytes[16..]);
    Ok(Link {
        origin: some(Origin::from_bytes(origin), "link")?,
        interaction: some(Interaction::from_bytes(interaction), "link")?,
    })
}

pub(crate) fn direction_code(direction: Direction) -> u64 {
    match direction {
        Direction::Inbound => 0,
        Direction::Outbound => 1,
        Direction::Internal => 2,
    }
}

pub(crate) fn read_direction(value: Value<'_>) -> Result<Direction> {
    match value.number("direction")? {
        0 => Ok(Direction::Inbound),
        1 => Ok(Direction::Outbound),
        2 => Ok(Direction::Internal),
        _ => Err(RecordError::Bad("direction")),
    }
}

pub(crate) fn outcome_code(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Unknown => 0,
        Outcome::Ok => 1,
        Outcome::Refused => 2,
        Outcome::Error => 3,
    }
}

pub(crate) fn read_outcome(value: Value<'_>) -> Result<Outcome> {
    match value.number("outcome")? {
        0 => Ok(Outcome::Unknown),
        1 => Ok(Outcome::Ok),
        2 => Ok(Outcome::Refused),
        3 => Ok(Outcome::Error),
        _ => Err(RecordError::Bad("outcome")),
    }
}

pub(crate) fn read_status(value: Value<'_>) -> Result<u16> {
    u16::try_from(value.number("status")?).map_err(|_| RecordError::Bad("status"))
}

pub(crate) fn name(value: Value<'_>, what: &'static str) -> Result<Text> {
    value.text(NAME_MAX, what).map(share::text)
}

/// Refuses one element more than a list may hold.
pub(crate) fn room(length: usize, what: &'static str) -> Result<()> {
    if length < LIST_MAX {
        Ok(())
    } else {
        Err(RecordError::Bad(what))
    }
}

pub(crate) fn some<T>(value: Option<T>, what: &'static str) -> Result<T> {
    value.ok_or(RecordError::Bad(what))
}
