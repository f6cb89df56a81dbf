//! Which cookie slot takes an answer's token (A9).
//!
//! A browser sends several requests at once, and each answer shows a head of its own. One cookie
//! would let the answer that comes last overwrite what the others showed. So a browser has sixteen
//! slots: every answer sets one, and clears those that its request carried, since its head follows
//! theirs. What the jar holds is then the heads that nothing follows yet.
//!
//! The jar cannot be asked, and answers overtake each other on their way to it: a clearing or a
//! setting may arrive after one that was sent later. So each slot has a content, as far as is
//! known, and at most one answer at a time may change it:
//! - *live*: a request came back with this token: the jar holds it;
//! - *sent*: an answer set it, no request came back with it yet;
//! - *clearing*: an answer emptied it, and that answer's own token has not come back yet;
//! - *empty*: never set, or cleared and known to be;
//! - and *reserved*: a request is in flight whose answer will set it.
//!
//! A request reserves, of equals the slot that was used longest ago:
//! 1. a live slot that it carries itself: its answer follows what it overwrites, and is sent to a
//!    jar that is known to hold it, so nothing can be overtaken;
//! 2. an empty slot;
//! 3. a clearing one (the clearing may still arrive after the setting);
//! 4. a live one that it does not carry;
//! 5. a sent one;
//! 6. a reserved one.
//!
//! Only 3 to 6 can lose a head, and they need more than eight requests in flight or lost answers;
//! a lost head costs proof, never truth: pairs that hang on it are shown as unproven. An answer
//! clears the slots that its request carried, where they still hold that and nobody has reserved
//! them. (What is not cleared is carried once more, which is true, and cleared later.)
//!
//! The table is a hint, not a record: a gateway that has lost it (restart, several gateways) goes
//! on from what the next request carries. It forgets sessions that were idle longest.
//!
//! Pure: no clock, no randomness.

use std::collections::HashMap;
use std::hash::Hash;

use smallvec::SmallVec;

/// How many slots a browser has.
pub const SLOTS: usize = 16;

/// A token as the table remembers it: any hash of its text.
pub type Fingerprint = u64;

/// What a request carried: slots and what was in them.
pub type Carried = SmallVec<[(u8, Fingerprint); 4]>;

/// A request in flight; give it back with [`SlotTable::answered`] or [`SlotTable::abandoned`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The slot that its answer sets.
    pub slot: u8,
    carried: Carried,
}

/// The slots of the sessions that browsers are using.
#[derive(Debug)]
pub struct SlotTable<S> {
    /// Sessions in use lately, and those that were in use before: with the next turn the idle ones
    /// of these are forgotten.
    young: HashMap<S, Slots>,
    old: HashMap<S, Slots>,
    half_max: usize,
}

#[derive(Clone, Debug, Default)]
struct Slots {
    slots: [Slot; SLOTS],
    in_flight: u32,
    tick: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    content: Content,
    reserved: u16,
    used: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Content {
    #[default]
    Empty,
    Sent(Fingerprint),
    Live(Fingerprint),
    /// By the answer that brought this token.
    Clearing(Fingerprint),
}

impl<S: Copy + Eq + Hash> SlotTable<S> {
    /// A table of about `sessions_max` sessions.
    #[must_use]
    pub fn new(sessions_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half_max: (sessions_max / 2).max(1),
        }
    }

    /// A request of that session came. Slots of 16 or more are ignored.
    pub fn begin(&mut self, session: S, carried: &[(u8, Fingerprint)]) -> Ticket {
        self.session(session).begin(carried)
    }

    /// Its answer goes out. `sent`: the token it brings. Returns the slots to clear.
    pub fn answered(
        &mut self,
        session: S,
        ticket: &Ticket,
        sent: Fingerprint,
    ) -> SmallVec<[u8; 4]> {
        self.session(session).end(ticket, Some(sent))
    }

    /// It ended without a token: what it carried stays.
    pub fn abandoned(&mut self, session: S, ticket: &Ticket) {
        self.session(session).end(ticket, None);
    }

    /// How many sessions are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn session(&mut self, session: S) -> &mut Slots {
        if !self.young.contains_key(&session) {
            if self.young.len() >= self.half_max {
                let forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
                let busy = forgotten
                    .into_iter()
                    .filter(|(_, slots)| slots.in_flight > 0);
                self.young.extend(busy);
            }
            let slots = self.old.remove(&session).unwrap_or_default();
            self.young.insert(session, slots);
        }
        self.young.entry(session).or_default()
    }
}

impl Slots {
    fn begin(&mut self, carried: &[(u8, Fingerprint)]) -> Ticket {
        self.in_flight += 1;
        let in_range = carried
            .iter()
            .filter(|(slot, _)| usize::from(*slot) < SLOTS);
        let carried: Carried = in_range.copied().collect();
        let holds = |token| carried.iter().any(|(_, carried)| *carried == token);
        for slot in &mut self.slots {
            if matches!(slot.content, Content::Clearing(by) if holds(by)) {
                slot.content = Content::Empty;
            }
        }
        for &(index, token) in &carried {
            let slot = &mut self.slots[usize::from(index)];
            match slot.content {
                // Known no more, or another gateway's.
                Content::Empty => slot.content = Content::Live(token),
                Content::Sent(sent) if sent == token => slot.content = Content::Live(token),
                // The request was sent before the jar heard the latest.
                _ => {}
            }
        }
        let slot = self.choose(&carried);
        let chosen = &mut self.slots[usize::from(slot)];
        chosen.reserved = chosen.reserved.saturating_add(1);
        self.touch(slot);
        Ticket { slot, carried }
    }

    fn choose(&self, carried: &Carried) -> u8 {
        let rank = |index: usize, slot: &Slot| match slot.content {
            _ if slot.reserved > 0 => 6,
            Content::Live(token) if carried.contains(&(index as u8, token)) => 1,
            Content::Empty => 2,
            Content::Clearing(_) => 3,
            Content::Live(_) => 4,
            Content::Sent(_) => 5,
        };
        let slots = self.slots.iter().enumerate();
        let best = slots.min_by_key(|(index, slot)| (rank(*index, slot), slot.used));
        best.map_or(0, |(index, _)| index as u8)
    }

    fn end(&mut self, ticket: &Ticket, sent: Option<Fingerprint>) -> SmallVec<[u8; 4]> {
        self.in_flight = self.in_flight.saturating_sub(1);
        let own = &mut self.slots[usize::from(ticket.slot)];
        own.reserved = own.reserved.saturating_sub(1);
        let mut clear = SmallVec::new();
        let Some(sent) = sent else {
            return clear;
        };
        for &(index, token) in &ticket.carried {
            let slot = &mut self.slots[usize::from(index)];
            let unchanged = slot.content == Content::Live(token) && slot.reserved == 0;
            if index != ticket.slot && unchanged {
                slot.content = Content::Clearing(sent);
                clear.push(index);
                self.touch(index);
            }
        }
        self.slots[usize::from(ticket.slot)].content = Content::Sent(sent);
        self.touch(ticket.slot);
        clear
    }

    fn touch(&mut self, slot: u8) {
        self.tick = self.tick.wrapping_add(1);
        self.slots[usize::from(slot)].used = self.tick;
    }
}

#[cfg(test)]
mod tests;
