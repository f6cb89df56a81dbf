//! A write of a session's state: what an action left behind for those that follow it.
//!
//! It rides in its action's effect or closing, so it is as durable as they are and goes wherever
//! they go. It says itself which session it belongs to and where in its order it stands, so it is
//! understood where its opening is long forgotten; and it names the writes that it replaces, so
//! nobody needs the session's graph to know which values are left (`selvedge_session::States`).

use bytes::Bytes;
use selvedge_identity::{Position, SessionId};

use crate::parts::{name, put_position, read_position, room, some};
use crate::wire::{
    LIST_MAX, NAME_MAX, Reader, VALUE_MAX, put_bytes, put_count, put_message, put_number, put_text,
};
use crate::{RecordError, Text};

/// One value that an action gave one name of its session's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateWrite {
    /// The session.
    pub session: SessionId,
    /// The counter of the action's ordering id.
    pub counter: u64,
    /// What it is called.
    pub name: Text,
    /// The value, as JSON; `None`: it was taken away.
    pub value: Option<Bytes>,
    /// The writes of the same name that its action follows and that nothing had replaced: the
    /// positions of the records that they stand in.
    pub replaces: Vec<Position>,
    /// The value is not shown to who reads entries: it was not to be kept for that.
    pub hidden: bool,
}

impl StateWrite {
    /// The longest value, in bytes.
    pub const VALUE_BYTES_MAX: usize = VALUE_MAX;
}

mod write {
    pub(super) const SESSION: u32 = 1;
    pub(super) const COUNTER: u32 = 2;
    pub(super) const NAME: u32 = 3;
    pub(super) const VALUE: u32 = 4;
    pub(super) const REPLACES: u32 = 5;
    pub(super) const HIDDEN: u32 = 6;
}

pub(crate) fn put_states(out: &mut Vec<u8>, number: u32, writes: &[StateWrite]) {
    for write in writes.iter().take(LIST_MAX) {
        let expected = 64 + write.value.as_ref().map_or(0, Bytes::len);
        put_message(out, number, expected, |out| put_state(out, write));
    }
}

fn put_state(out: &mut Vec<u8>, write: &StateWrite) {
    use self::write as f;
    put_bytes(out, f::SESSION, write.session.as_bytes());
    put_number(out, f::COUNTER, write.counter);
    put_text(out, f::NAME, &write.name, NAME_MAX);
    if let Some(value) = &write.value {
        put_bytes(out, f::VALUE, &value[..value.len().min(VALUE_MAX)]);
    }
    for position in write.replaces.iter().take(LIST_MAX) {
        put_message(out, f::REPLACES, 32, |out| put_position(out, position));
    }
    put_count(out, f::HIDDEN, u64::from(write.hidden));
}

pub(crate) fn read_state(
    writes: &mut Vec<StateWrite>,
    mut message: Reader<'_>,
) -> Result<(), RecordError> {
    use self::write as f;
    room(writes.len(), "state")?;
    let (mut session, mut counter, mut called) = (None, None, None);
    let (mut value, mut replaces, mut hidden) = (None, Vec::new(), false);
    while let Some((number, field)) = message.field()? {
        match number {
            f::SESSION => session = SessionId::from_bytes(field.array("state's session")?),
            f::COUNTER => counter = Some(field.number("state's counter")?),
            f::NAME => called = Some(name(field, "state's name")?),
            f::VALUE => {
                let bytes = field.bytes(VALUE_MAX, "state")?;
                value = Some(Bytes::copy_from_slice(bytes));
            }
            f::REPLACES => {
                room(replaces.len(), "replaced state")?;
                replaces.push(read_position(field.message("replaced state")?)?.0);
            }
            f::HIDDEN => hidden = field.number("state")? != 0,
            _ => {}
        }
    }
    writes.push(StateWrite {
        session: some(session, "state's session")?,
        counter: some(counter, "state's counter")?,
        name: some(called, "state's name")?,
        value,
        replaces,
        hidden,
    });
    Ok(())
}
