//! A record at a glance: what most readers need to know to leave it at that.
//!
//! Whoever follows a whole fleet meets mostly records that are none of its business. This tells so
//! without building anything; the rest of the record is not looked at, and may be unreadable.

use crate::codec::{closing, effect, opening};
use crate::parts::{read_direction, some};
use crate::record::{BROADCAST, CLOSING, EFFECT, OPENING, WHOLE, WHOLE_CLOSING, WHOLE_OPENING};
use crate::wire::{NAME_MAX, Reader};
use crate::{Direction, Record, RecordError};

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance<'a> {
    /// It begins an entry.
    Begins(Begins<'a>),
    /// It is an effect or a closing.
    Continues {
        /// Its opening's sequence.
        opening: u64,
        /// Whether it writes state of a session.
        state: bool,
    },
    /// It is no part of an entry.
    Broadcast,
}

/// An entry that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begins<'a> {
    /// Which side of a call.
    pub direction: Direction,
    /// The service that handles it.
    pub service: &'a str,
    /// That service's version.
    pub version: &'a str,
    /// The host it runs on.
    pub host: &'a str,
    /// What is done.
    pub action: &'a str,
    /// Whether it is an action of a session.
    pub acts: bool,
    /// Whether the record writes state of a session.
    pub state: bool,
}

impl Record {
    /// Looks at the binary form of a record, and reads no more of it than it must.
    ///
    /// # Errors
    /// [`RecordError`], where it found what it was looking for not to be there. (That it found it
    /// does not say that all of it can be read.)
    pub fn glance(bytes: &[u8]) -> Result<Glance<'_>, RecordError> {
        let (kind, fields) = bytes.split_first().ok_or(RecordError::Truncated)?;
        let message = Reader::new(fields);
        match *kind {
            OPENING => Ok(Glance::Begins(begins(message)?)),
            EFFECT => continues(message, effect::OPENING, effect::STATE),
            CLOSING => continues(message, closing::OPENING, closing::STATE),
            WHOLE => whole(message),
            BROADCAST => Ok(Glance::Broadcast),
            kind => Err(RecordError::UnknownKind(kind)),
        }
    }
}

fn whole(mut message: Reader<'_>) -> Result<Glance<'_>, RecordError> {
    let (mut opening, mut state) = (None, false);
    while let Some((number, value)) = message.field()? {
        match number {
            WHOLE_OPENING => opening = Some(begins(value.message("opening")?)?),
            WHOLE_CLOSING => state = has(value.message("closing")?, closing::STATE)?,
            _ => {}
        }
    }
    let opening = some(opening, "opening")?;
    Ok(Glance::Begins(Begins { state, ..opening }))
}

fn begins(mut message: Reader<'_>) -> Result<Begins<'_>, RecordError> {
    use self::opening as f;
    let (mut direction, mut session, mut counter) = (None, false, false);
    let (mut service, mut version, mut host, mut action) = (None, None, None, None);
    while let Some((number, value)) = message.field()? {
        match number {
            f::DIRECTION => direction = Some(read_direction(value)?),
            f::SESSION => session = true,
            f::COUNTER => counter = true,
            f::SERVICE => service = Some(value.text(NAME_MAX, "service")?),
            f::VERSION => version = Some(value.text(NAME_MAX, "version")?),
            f::HOST => host = Some(value.text(NAME_MAX, "host")?),
            f::ACTION => action = Some(value.text(NAME_MAX, "action")?),
            _ => {}
        }
    }
    Ok(Begins {
        direction: some(direction, "direction")?,
        service: some(service, "service")?,
        version: some(version, "version")?,
        host: some(host, "host")?,
        action: some(action, "action")?,
        acts: session && counter,
        state: false,
    })
}

fn continues(
    mut message: Reader<'_>,
    opening_number: u32,
    state_number: u32,
) -> Result<Glance<'_>, RecordError> {
    let (mut opening, mut state) = (None, false);
    while let Some((number, value)) = message.field()? {
        if number == opening_number {
            opening = Some(value.number("opening")?);
        }
        state |= number == state_number;
    }
    let opening = some(opening, "opening")?;
    Ok(Glance::Continues { opening, state })
}

fn has(mut message: Reader<'_>, wanted: u32) -> Result<bool, RecordError> {
    while let Some((number, _)) = message.field()? {
        if number == wanted {
            return Ok(true);
        }
    }
    Ok(false)
}
