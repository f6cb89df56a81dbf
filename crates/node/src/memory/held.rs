//! An entry as a memory holds it, and what that costs.

use bytes::Bytes;
use selvedge_entry::{Closing, Data, Effect, Entry, Fields, Opening, StateWrite};

#[derive(Debug)]
pub(super) struct Held {
    pub(super) entry: Entry,
    pub(super) bytes: usize,
    /// Everything that it follows was held when last looked at, so no look need go further.
    pub(super) complete: bool,
}

impl Held {
    /// Puts an effect into its place; returns how much the entry has grown.
    pub(super) fn effect(&mut self, sequence: u64, effect: Effect) -> usize {
        let grown = effect_bytes(&effect);
        self.entry.effect = Some((sequence, effect));
        self.bytes += grown;
        grown
    }

    /// Puts a closing into its place; returns how much the entry has grown.
    pub(super) fn closing(&mut self, sequence: u64, mut closing: Closing) -> usize {
        copy_body(&mut closing.request);
        copy_body(&mut closing.response);
        let grown = closing_bytes(&closing);
        self.entry
            .effect
            .get_or_insert_with(|| (sequence, effect_of(&closing)));
        self.entry.closing = Some(closing);
        self.bytes += grown;
        grown
    }
}

/// What a closing without an effect record says of the effect.
fn effect_of(closing: &Closing) -> Effect {
    Effect {
        after_ns: closing.duration_ns,
        status: closing.status,
        outcome: closing.outcome,
        attributes: Vec::new(),
        state: Vec::new(),
    }
}

/// A body is a slice of its whole batch, which it would keep in memory for as long as itself.
pub(super) fn copy_body(data: &mut Data) {
    if let Some(body) = &mut data.body {
        *body = Bytes::copy_from_slice(body);
    }
}

pub(super) fn opening_bytes(opening: &Opening) -> usize {
    480 + (opening.after.len() + opening.unseen.len()) * 48
        + data_bytes(&opening.request)
        + fields_bytes(&opening.attributes)
}

fn effect_bytes(effect: &Effect) -> usize {
    fields_bytes(&effect.attributes) + states_bytes(&effect.state)
}

fn closing_bytes(closing: &Closing) -> usize {
    160 + data_bytes(&closing.request)
        + data_bytes(&closing.response)
        + fields_bytes(&closing.attributes)
        + states_bytes(&closing.state)
}

fn data_bytes(data: &Data) -> usize {
    fields_bytes(&data.fields) + data.body.as_ref().map_or(0, Bytes::len)
}

fn fields_bytes(fields: &Fields) -> usize {
    fields.iter().map(|(k, v)| k.len() + v.len() + 48).sum()
}

/// Values count here as with the states, which share them: either may outlive the other.
fn states_bytes(writes: &[StateWrite]) -> usize {
    let one = |write: &StateWrite| {
        let value = write.value.as_ref().map_or(0, Bytes::len);
        112 + write.name.len() + value + 48 * write.replaces.len()
    };
    writes.iter().map(one).sum()
}
