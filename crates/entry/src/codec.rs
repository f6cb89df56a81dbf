//! The parts of records, to and from their wire form (docs/formats/entry.md).
//!
//! Each part has a `put_` and a `read_` side by side, and the field numbers stand once, in the
//! module of its name. What is longer than a limit of `wire` is cut when written (a body is then
//! marked `truncated`) and refused when read, so a record of ours can always be read back. A
//! field that comes twice counts the last time, except in lists.

use bytes::Bytes;
use selvedge_identity::{ClientId, SessionId};

use crate::parts::{
    direction_code, name, outcome_code, put_call, put_data, put_fields, put_follow, put_position,
    read_call, read_data, read_direction, read_field, read_follow, read_link, read_outcome,
    read_position, read_status, room, some,
};
use crate::state::{put_states, read_state};
use crate::wire::{
    LIST_MAX, NAME_MAX, Reader, VALUE_MAX, put_bytes, put_count, put_fixed64, put_message,
    put_number, put_text,
};
use crate::{Closing, Data, Direction, Effect, Opening, Outcome, RecordError, Text, Timestamp};

type Result<T> = std::result::Result<T, RecordError>;

pub(crate) mod opening {
    pub(crate) const DIRECTION: u32 = 1;
    pub(crate) const AT: u32 = 2;
    pub(crate) const SESSION: u32 = 3;
    pub(crate) const CLIENT: u32 = 4;
    pub(crate) const COUNTER: u32 = 5;
    pub(crate) const AFTER: u32 = 6;
    pub(crate) const UNSEEN: u32 = 7;
    pub(crate) const CALL: u32 = 8;
    pub(crate) const SERVICE: u32 = 9;
    pub(crate) const VERSION: u32 = 10;
    pub(crate) const HOST: u32 = 11;
    pub(crate) const ACTION: u32 = 12;
    pub(crate) const GENERATED: u32 = 13;
    pub(crate) const REQUEST: u32 = 14;
    pub(crate) const LINK: u32 = 15;
    pub(crate) const FLAG: u32 = 16;
    pub(crate) const ATTRIBUTE: u32 = 17;
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

pub(crate) mod effect {
    pub(crate) const OPENING: u32 = 1;
    pub(crate) const AFTER_NS: u32 = 2;
    pub(crate) const STATUS: u32 = 3;
    pub(crate) const OUTCOME: u32 = 4;
    pub(crate) const ATTRIBUTE: u32 = 5;
    pub(crate) const STATE: u32 = 6;
}

pub(crate) fn put_effect(out: &mut Vec<u8>, opening: u64, effect: &Effect) {
    use self::effect as f;
    put_number(out, f::OPENING, opening);
    put_count(out, f::AFTER_NS, effect.after_ns);
    put_count(out, f::STATUS, u64::from(effect.status));
    put_number(out, f::OUTCOME, outcome_code(effect.outcome));
    put_fields(out, f::ATTRIBUTE, &effect.attributes);
    put_states(out, f::STATE, &effect.state);
}

pub(crate) fn read_effect(mut message: Reader<'_>) -> Result<(u64, Effect)> {
    use self::effect as f;
    let (mut opening, mut outcome) = (None, None);
    let mut effect = Effect {
        after_ns: 0,
        status: 0,
        outcome: Outcome::Unknown,
        attributes: Vec::new(),
        state: Vec::new(),
    };
    while let Some((number, value)) = message.field()? {
        match number {
            f::OPENING => opening = Some(value.number("opening")?),
            f::AFTER_NS => effect.after_ns = value.number("time to the answer")?,
            f::STATUS => effect.status = read_status(value)?,
            f::OUTCOME => outcome = Some(read_outcome(value)?),
            f::ATTRIBUTE => read_field(&mut effect.attributes, value, "attribute")?,
            f::STATE => read_state(&mut effect.state, value.message("state")?)?,
            _ => {}
        }
    }
    effect.outcome = some(outcome, "outcome")?;
    Ok((some(opening, "opening")?, effect))
}

pub(crate) mod closing {
    pub(crate) const OPENING: u32 = 1;
    pub(crate) const DURATION_NS: u32 = 2;
    pub(crate) const STATUS: u32 = 3;
    pub(crate) const OUTCOME: u32 = 4;
    pub(crate) const ERROR: u32 = 5;
    pub(crate) const WORK: u32 = 6;
    pub(crate) const REQUEST_BYTES: u32 = 7;
    pub(crate) const RESPONSE_BYTES: u32 = 8;
    pub(crate) const REQUEST: u32 = 9;
    pub(crate) const RESPONSE: u32 = 10;
    pub(crate) const ATTRIBUTE: u32 = 11;
    pub(crate) const STATE: u32 = 12;
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
    put_states(out, f::STATE, &closing.state);
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
        state: Vec::new(),
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
            f::STATE => read_state(&mut closing.state, value.message("state")?)?,
            _ => {}
        }
    }
    closing.outcome = some(outcome, "outcome")?;
    Ok((opening, closing))
}
