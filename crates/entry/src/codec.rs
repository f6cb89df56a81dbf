//! The parts of records, to and from their wire form (docs/formats/entry.md).
//!
//! Each part has a `put_` and a `read_` side by side, and the field numbers stand once, in the
//! module of its name. What is longer than a limit of `wire` is cut when written (a body is then
//! marked `truncated`) and refused when read, so a record of ours can always be read back. A
//! field that comes twice counts the last time, except in lists.

use bytes::Bytes;
use selvedge_identity::{
    ClientId, Epoch, Interaction, Origin, Position, RequestIdentifier, ServerName, SessionId,
    StackId,
};

use crate::share;
use crate::wire::{
    BODY_MAX, LIST_MAX, NAME_MAX, Reader, VALUE_MAX, Value, put_bytes, put_count, put_fixed64,
    put_message, put_number, put_text, put_varint,
};
use crate::{
    Call, Closing, Data, Direction, Effect, Fields, Follow, Link, Opening, Outcome, RecordError,
    Text, Timestamp,
};

type Result<T> = std::result::Result<T, RecordError>;

/// Bodies from this size on share the record's memory; shorter ones are copied, so that an entry
/// that is kept for long does not hold a whole batch of records.
const SHARE_MIN: usize = 4096;

mod opening {
    pub(super) const DIRECTION: u32 = 1;
    pub(super) const AT: u32 = 2;
    pub(super) const SESSION: u32 = 3;
    pub(super) const CLIENT: u32 = 4;
    pub(super) const COUNTER: u32 = 5;
    pub(super) const AFTER: u32 = 6;
    pub(super) const UNSEEN: u32 = 7;
    pub(super) const CALL: u32 = 8;
    pub(super) const SERVICE: u32 = 9;
    pub(super) const VERSION: u32 = 10;
    pub(super) const HOST: u32 = 11;
    pub(super) const ACTION: u32 = 12;
    pub(super) const GENERATED: u32 = 13;
    pub(super) const REQUEST: u32 = 14;
    pub(super) const LINK: u32 = 15;
    pub(super) const FLAG: u32 = 16;
    pub(super) const ATTRIBUTE: u32 = 17;
}

pub(crate) fn put_opening(out: &mut Vec<u8>, opening: &Opening) {
    use self::opening as f;
    put_number(out, f::DIRECTION, direction_code(opening.direction));
    put_fixed64(out, f::AT, opening.at.0 as u64);
    if let Some(session) = &opening.session {
        put_bytes(out, f::SESSION, session.as_bytes());
    }
    if let Some(client) = &opening.client {
        put_bytes(out, f::CLIENT, client.as_bytes());
    }
    if let Some(counter) = opening.counter {
        put_number(out, f::COUNTER, counter);
    }
    for follow in opening.after.iter().take(LIST_MAX) {
        put_message(out, f::AFTER, 32, |out| put_follow(out, follow));
    }
    for position in opening.unseen.iter().take(LIST_MAX) {
        put_message(out, f::UNSEEN, 32, |out| put_position(out, position));
    }
    if let Some(call) = &opening.call {
        put_message(out, f::CALL, 64, |out| put_call(out, call));
    }
    put_text(out, f::SERVICE, &opening.service, NAME_MAX);
    put_text(out, f::VERSION, &opening.version, NAME_MAX);
    put_text(out, f::HOST, &opening.host, NAME_MAX);
    put_text(out, f::ACTION, &opening.action, NAME_MAX);
    if let Some(generated) = opening.generated {
        put_fixed64(out, f::GENERATED, generated.0 as u64);
    }
    put_data(out, f::REQUEST, &opening.request);
    for link in opening.links.iter().take(LIST_MAX) {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(link.origin.as_bytes());
        bytes[16..].copy_from_slice(link.interaction.as_bytes());
        put_bytes(out, f::LINK, &bytes);
    }
    for flag in opening.flags.iter().take(LIST_MAX) {
        put_text(out, f::FLAG, flag, NAME_MAX);
    }
    put_fields(out, f::ATTRIBUTE, &opening.attributes);
}

pub(crate) fn read_opening(mut message: Reader<'_>, record: &Bytes) -> Result<Opening> {
    use self::opening as f;
    let (mut direction, mut at) = (None, None);
    let (mut service, mut version, mut host, mut action) = (None, None, None, None);
    let mut opening = Opening {
        direction: Direction::Inbound,
        session: None,
        client: None,
        counter: None,
        after: smallvec::SmallVec::new(),
        unseen: Vec::new(),
        call: None,
        service: Text::default(),
        version: Text::default(),
        host: Text::default(),
        action: Text::default(),
        generated: None,
        at: Timestamp::default(),
        request: Data::default(),
        links: Vec::new(),
        flags: Vec::new(),
        attributes: Vec::new(),
    };
    while let Some((number, value)) = message.field()? {
        match number {
            f::DIRECTION => direction = Some(read_direction(value)?),
            f::AT => at = Some(Timestamp(value.fixed64("time")? as i64)),
            f::SESSION => {
                let bytes = value.array("session")?;
                opening.session = Some(some(SessionId::from_bytes(bytes), "session")?);
            }
            f::CLIENT => {
                let bytes = value.array("client")?;
                opening.client = Some(some(ClientId::from_bytes(bytes), "client")?);
            }
            f::COUNTER => opening.counter = Some(value.number("counter")?),
            f::AFTER => {
                room(opening.after.len(), "after")?;
                opening.after.push(read_follow(value.message("after")?)?);
            }
            f::UNSEEN => {
                room(opening.unseen.len(), "unseen")?;
                opening
                    .unseen
                    .push(read_position(value.message("unseen")?)?.0);
            }
            f::CALL => opening.call = Some(read_call(value.message("call")?)?),
            f::SERVICE => service = Some(name(value, "service")?),
            f::VERSION => version = Some(name(value, "version")?),
            f::HOST => host = Some(name(value, "host")?),
            f::ACTION => action = Some(name(value, "action")?),
            f::GENERATED => {
                opening.generated = Some(Timestamp(value.fixed64("time of making")? as i64));
            }
            f::REQUEST => opening.request = read_data(value.message("request")?, record)?,
            f::LINK => {
                room(opening.links.len(), "links")?;
                opening.links.push(read_link(value)?);
            }
            f::FLAG => {
                room(opening.flags.len(), "flags")?;
                opening.flags.push(name(value, "flag")?);
            }
            f::ATTRIBUTE => read_field(&mut opening.attributes, value, "attribute")?,
            _ => {}
        }
    }
    opening.direction = some(direction, "direction")?;
    opening.at = some(at, "time")?;
    opening.service = some(service, "service")?;
    opening.version = some(version, "version")?;
    opening.host = some(host, "host")?;
    opening.action = some(action, "action")?;
    Ok(opening)
}

mod effect {
    pub(super) const OPENING: u32 = 1;
    pub(super) const AFTER_NS: u32 = 2;
    pub(super) const STATUS: u32 = 3;
    pub(super) const OUTCOME: u32 = 4;
    pub(super) const ATTRIBUTE: u32 = 5;
}

pub(crate) fn put_effect(out: &mut Vec<u8>, opening: u64, effect: &Effect) {
    use self::effect as f;
    put_number(out, f::OPENING, opening);
    put_count(out, f::AFTER_NS, effect.after_ns);
    put_count(out, f::STATUS, u64::from(effect.status));
    put_number(out, f::OUTCOME, outcome_code(effect.outcome));
    put_fields(out, f::ATTRIBUTE, &effect.attributes);
}

pub(crate) fn read_effect(mut message: Reader<'_>) -> Result<(u64, Effect)> {
    use self::effect as f;
    let (mut opening, mut outcome) = (None, None);
    let mut effect = Effect {
        after_ns: 0,
        status: 0,
        outcome: Outcome::Unknown,
        attributes: Vec::new(),
    };
    while let Some((number, value)) = message.field()? {
        match number {
            f::OPENING => opening = Some(value.number("opening")?),
            f::AFTER_NS => effect.after_ns = value.number("time to the answer")?,
            f::STATUS => effect.status = read_status(value)?,
            f::OUTCOME => outcome = Some(read_outcome(value)?),
            f::ATTRIBUTE => read_field(&mut effect.attributes, value, "attribute")?,
            _ => {}
        }
    }
    effect.outcome = some(outcome, "outcome")?;
    Ok((some(opening, "opening")?, effect))
}

mod closing {
    pub(super) const OPENING: u32 = 1;
    pub(super) const DURATION_NS: u32 = 2;
    pub(super) const STATUS: u32 = 3;
    pub(super) const OUTCOME: u32 = 4;
    pub(super) const ERROR: u32 = 5;
    pub(super) const WORK: u32 = 6;
    pub(super) const REQUEST_BYTES: u32 = 7;
    pub(super) const RESPONSE_BYTES: u32 = 8;
    pub(super) const REQUEST: u32 = 9;
    pub(super) const RESPONSE: u32 = 10;
    pub(super) const ATTRIBUTE: u32 = 11;
}

/// `opening` is `None` inside a whole record.
pub(crate) fn put_closing(out: &mut Vec<u8>, opening: Option<u64>, closing: &Closing) {
    use self::closing as f;
    if let Some(opening) = opening {
        put_number(out, f::OPENING, opening);
    }
    put_count(out, f::DURATION_NS, closing.duration_ns);
    put_count(out, f::STATUS, u64::from(closing.status));
    put_number(out, f::OUTCOME, outcome_code(closing.outcome));
    if let Some(error) = &closing.error {
        put_text(out, f::ERROR, error, VALUE_MAX);
    }
    put_count(out, f::WORK, closing.work);
    put_count(out, f::REQUEST_BYTES, closing.request_bytes);
    put_count(out, f::RESPONSE_BYTES, closing.response_bytes);
    put_data(out, f::REQUEST, &closing.request);
    put_data(out, f::RESPONSE, &closing.response);
    put_fields(out, f::ATTRIBUTE, &closing.attributes);
}

pub(crate) fn read_closing(
    mut message: Reader<'_>,
    record: &Bytes,
) -> Result<(Option<u64>, Closing)> {
    use self::closing as f;
    let (mut opening, mut outcome) = (None, None);
    let mut closing = Closing {
        duration_ns: 0,
        status: 0,
        outcome: Outcome::Unknown,
        error: None,
        work: 0,
        request_bytes: 0,
        response_bytes: 0,
        request: Data::default(),
        response: Data::default(),
        attributes: Vec::new(),
    };
    while let Some((number, value)) = message.field()? {
        match number {
            f::OPENING => opening = Some(value.number("opening")?),
            f::DURATION_NS => closing.duration_ns = value.number("duration")?,
            f::STATUS => closing.status = read_status(value)?,
            f::OUTCOME => outcome = Some(read_outcome(value)?),
            f::ERROR => closing.error = Some(value.text(VALUE_MAX, "error")?.into()),
            f::WORK => closing.work = value.number("work")?,
            f::REQUEST_BYTES => closing.request_bytes = value.number("request bytes")?,
            f::RESPONSE_BYTES => closing.response_bytes = value.number("response bytes")?,
            f::REQUEST => closing.request = read_data(value.message("request")?, record)?,
            f::RESPONSE => closing.response = read_data(value.message("response")?, record)?,
            f::ATTRIBUTE => read_field(&mut closing.attributes, value, "attribute")?,
            _ => {}
        }
    }
    closing.outcome = some(outcome, "outcome")?;
    Ok((opening, closing))
}

mod follow {
    pub(super) const SERVER: u32 = 1;
    pub(super) const EPOCH_COUNTER: u32 = 2;
    pub(super) const EPOCH_RANDOM: u32 = 3;
    pub(super) const SEQUENCE: u32 = 4;
    /// Only in a [`crate::Follow`], and how much greater than the sequence.
    pub(super) const EFFECT: u32 = 5;
}

fn put_position(out: &mut Vec<u8>, position: &Position) {
    use self::follow as f;
    put_text(out, f::SERVER, position.server.as_str(), NAME_MAX);
    put_number(out, f::EPOCH_COUNTER, u64::from(position.epoch.counter));
    put_fixed64(out, f::EPOCH_RANDOM, position.epoch.random);
    put_number(out, f::SEQUENCE, position.sequence);
}

fn put_follow(out: &mut Vec<u8>, follow: &Follow) {
    put_position(out, &follow.position);
    // Wraps, so that whatever stands in the entry comes back as it was.
    let later = follow.effect.wrapping_sub(follow.position.sequence);
    put_count(out, follow::EFFECT, later);
}

fn read_follow(message: Reader<'_>) -> Result<Follow> {
    let (position, later) = read_position(message)?;
    Ok(Follow {
        effect: position.sequence.wrapping_add(later),
        position,
    })
}

fn read_position(mut message: Reader<'_>) -> Result<(Position, u64)> {
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

fn put_call(out: &mut Vec<u8>, call: &Call) {
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

fn read_call(mut message: Reader<'_>) -> Result<Call> {
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
fn put_data(out: &mut Vec<u8>, number: u32, data: &Data) {
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

fn read_data(mut message: Reader<'_>, record: &Bytes) -> Result<Data> {
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

fn put_fields(out: &mut Vec<u8>, number: u32, fields: &Fields) {
    for (name, value) in fields.iter().take(LIST_MAX) {
        put_message(out, number, name.len() + value.len() + 4, |out| {
            put_text(out, FIELD_NAME, name, NAME_MAX);
            put_text(out, FIELD_VALUE, value, VALUE_MAX);
        });
    }
}

fn read_field(fields: &mut Fields, value: Value<'_>, what: &'static str) -> Result<()> {
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

fn read_link(value: Value<'_>) -> Result<Link> {
    let bytes: [u8; 24] = value.array("link")?;
    let (mut origin, mut interaction) = ([0; 16], [0; 8]);
    origin.copy_from_slice(&bytes[..16]);
    interaction.copy_from_slice(&bytes[16..]);
    Ok(Link {
        origin: some(Origin::from_bytes(origin), "link")?,
        interaction: some(Interaction::from_bytes(interaction), "link")?,
    })
}

fn direction_code(direction: Direction) -> u64 {
    match direction {
        Direction::Inbound => 0,
        Direction::Outbound => 1,
        Direction::Internal => 2,
    }
}

fn read_direction(value: Value<'_>) -> Result<Direction> {
    match value.number("direction")? {
        0 => Ok(Direction::Inbound),
        1 => Ok(Direction::Outbound),
        2 => Ok(Direction::Internal),
        _ => Err(RecordError::Bad("direction")),
    }
}

fn outcome_code(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Unknown => 0,
        Outcome::Ok => 1,
        Outcome::Refused => 2,
        Outcome::Error => 3,
    }
}

fn read_outcome(value: Value<'_>) -> Result<Outcome> {
    match value.number("outcome")? {
        0 => Ok(Outcome::Unknown),
        1 => Ok(Outcome::Ok),
        2 => Ok(Outcome::Refused),
        3 => Ok(Outcome::Error),
        _ => Err(RecordError::Bad("outcome")),
    }
}

fn read_status(value: Value<'_>) -> Result<u16> {
    u16::try_from(value.number("status")?).map_err(|_| RecordError::Bad("status"))
}

fn name(value: Value<'_>, what: &'static str) -> Result<Text> {
    value.text(NAME_MAX, what).map(share::text)
}

/// Refuses one element more than a list may hold.
fn room(length: usize, what: &'static str) -> Result<()> {
    if length < LIST_MAX {
        Ok(())
    } else {
        Err(RecordError::Bad(what))
    }
}

fn some<T>(value: Option<T>, what: &'static str) -> Result<T> {
    value.ok_or(RecordError::Bad(what))
}
